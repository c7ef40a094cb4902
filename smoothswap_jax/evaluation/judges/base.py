"""What a judge is: an instrument from outside that measures faces, and how one is named and loaded.

A judge turns aligned faces into features, a row a face; `measures/` makes scores of the features. Each judge has a file
beside this one with a `JudgeSpec`, and `registry.py` lists them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from smoothswap_jax.evaluation.judges.conventions import IDENTITY, POSE, IdentityConvention, PoseConvention

Images = UInt8[np.ndarray, "n s s 3"]
Points = Float[np.ndarray, "n 5 2"]
Extractor = Callable[[Images, Points], Float[np.ndarray, "n d"]]
"""From aligned faces and their five points, in pixels, to a row of features a face."""
Comparison = Callable[[Images, Images], Float[np.ndarray, "n"]]
"""From two sets of images to a distance a pair."""


class JudgeError(ValueError):
    """A judge cannot be had, or must not be used; the text says why and what would do."""


@dataclass(frozen=True)
class Judge:
    """An instrument: `measure(images, points)` gives a row of features a face; rows of NaN where it sees none.

    role: identity, coefficients, pose, distribution, mesh, heads or perceptual. facts: all that decides its features;
    features are cached, and evaluations compared, by them. compare: instead of features, a distance a pair of images
    (perceptual judges). distance: its scores are given as distances of unit embeddings too, as is usual for VGGFace2's
    networks. points: whose points it aligns by, each image's 'own' or the 'target's. parts: names of its features by
    group, in their order, where they have names. slices: where shape, expression and pose lie among coefficients;
    empty for Deep3DFaceRecon's. self_judged: how it took part in training a method that it judges all
    the same; its name says so too.
    """

    name: str
    role: str
    facts: Mapping[str, str]
    measure: Extractor | None = None
    compare: Comparison | None = None
    distance: bool = False
    points: str = "own"
    identity: IdentityConvention = IDENTITY["aligned"]
    pose: PoseConvention = POSE["geodesic"]
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    slices: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    self_judged: str = ""

    @property
    def key(self) -> str:
        """Identifies all that decides its features; its name does not."""
        return json.dumps({**self.facts, "role": self.role}, sort_keys=True)


@dataclass(frozen=True)
class JudgeRequest:
    """What a judge is loaded with. name, path: as on the command line, NAME=PATH; name is '' where none was given.
    mesh: the devices it runs on."""

    name: str
    path: str
    mesh: Any
    identity: IdentityConvention = IDENTITY["aligned"]
    pose: PoseConvention = POSE["geodesic"]


@dataclass(frozen=True)
class JudgeSpec:
    """A judge that can be asked for.

    usage: how it is written on the command line. recognises: whether (name, path) of the command line means it. load:
    raises JudgeError, and ImportError where a package is missing.
    """

    name: str
    usage: str
    recognises: Callable[[str, str], bool]
    load: Callable[[JudgeRequest], Judge]

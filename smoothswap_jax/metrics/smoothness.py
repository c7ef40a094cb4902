"""How smooth an identity space is: what lies between two embeddings (Kim et al. 2022, Smooth-Swap, section 4).

Pure functions of NumPy arrays, computed in float64. Embeddings are [n, d] and need not be unit-norm: only their
directions count.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from smoothswap_jax.metrics.per_pair import TIE, unit_pairs, unit_rows

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_OPPOSITE = 1e-7  # radians short of pi: below it float32 rounding decides where the great circle runs
_SAME = 1e-12  # distance of unit vectors: below it rounding in float64 is all there is
_BLOCK = 2**24  # similarities held at once: 0.13 GB


class Interpolation(NamedTuple):
    """What a gallery holds along the great circles between p pairs of embeddings, at r ratios."""

    nearest: Int[np.ndarray, "p r"]  # gallery row nearest to z_r; of equal ones the first
    distance: Float[np.ndarray, "p r"]  # |z_r - z_c| to that row, in [0, 2]
    d_smooth: Float[np.ndarray, " p"]  # mean over r of distance / |z_a - z_b|; lower is smoother
    novelty: Int[np.ndarray, " p"]  # how many different rows were nearest, from 1 to r


def interpolation(
    z_a: Float[np.ndarray, "p d"],
    z_b: Float[np.ndarray, "p d"],
    gallery: Float[np.ndarray, "g d"],
    ratios: Sequence[float] = RATIOS,
) -> Interpolation:
    """Smoothness and novelty of Smooth-Swap: walks from `z_a` to `z_b` and looks up the nearest of the gallery.

    In the paper the pairs are of the test set and the gallery is the training set; the distances are scaled by
    the pair's own, because embedders differ in how far apart they put people. Its numbers are the means of
    `d_smooth` and `novelty`. They depend on the size of the gallery: compare only embedders of one gallery.
    Raises ValueError for unfit shapes, embeddings that are not finite or have length zero, ratios outside [0, 1],
    or a pair of one direction, by row.
    """
    a, b = unit_pairs(z_a, z_b)
    rows = unit_rows("gallery", gallery)
    if rows.shape[1] != a.shape[1]:
        raise ValueError(f"pairs and gallery must have one dimension, found {a.shape[1]} and {rows.shape[1]}")
    if len(ratios) == 0:
        raise ValueError("interpolation needs at least one ratio, found none")
    apart = np.linalg.norm(a - b, axis=1)
    if apart.min() <= _SAME:
        raise ValueError(f"there is nothing between equal embeddings; pair {int(apart.argmin())} is one direction")
    points = [slerp(a, b, ratio) for ratio in ratios]
    nearest = np.stack([_nearest(point, rows) for point in points], axis=1)
    distance = np.stack([np.linalg.norm(z - rows[c], axis=1) for z, c in zip(points, nearest.T, strict=True)], axis=1)
    ordered = np.sort(nearest, axis=1)
    novelty = 1 + np.sum(ordered[:, 1:] != ordered[:, :-1], axis=1)
    return Interpolation(nearest, distance, np.mean(distance, axis=1) / apart, novelty)


def _nearest(points: Float[np.ndarray, "p d"], gallery: Float[np.ndarray, "g d"]) -> Int[np.ndarray, " p"]:
    chunk = max(1, _BLOCK // len(gallery))
    found = []
    for start in range(0, len(points), chunk):
        similarity = points[start : start + chunk] @ gallery.T
        # The first within rounding: the products of equal rows may differ in their last bit by where they stand.
        found.append(np.argmax(similarity >= similarity.max(axis=1, keepdims=True) - TIE, axis=1))
    return np.concatenate(found)


def slerp(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"], r: Float[np.ndarray, " n"] | float
) -> Float[np.ndarray, "n d"]:
    """Spherical interpolation (Shoemake 1985): the unit vector at the share `r` of the way from `a` to `b`.

    Directions that (nearly) agree are interpolated as on a straight line. Between opposite ones, to 1e-7 radians,
    every great circle is a shortest way: the one through the coordinate axis that is furthest from `a` is taken
    (the first such axis), so that the result does not hang on rounding. Raises ValueError for unfit shapes,
    embeddings as in `metrics.cosine`, fewer than two dimensions, or `r` outside [0, 1].
    """
    a, b = unit_pairs(a, b)
    share = np.asarray(r, dtype=np.float64)
    if share.shape not in ((), (len(a),)):
        raise ValueError(f"r must be a number or have shape ({len(a)},), found {share.shape}")
    if not np.all((share >= 0) & (share <= 1)):
        raise ValueError(f"r must lie in [0, 1], found {share.min()} to {share.max()}")
    if a.shape[1] < 2:
        raise ValueError(f"slerp needs at least two dimensions, found {a.shape[1]}")
    # Kahan's angle is exact at both ends, where the arc cosine loses half the digits.
    angle = 2.0 * np.arctan2(np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1))
    opposite = np.pi - angle < _OPPOSITE
    axis = np.zeros_like(a)
    axis[np.arange(len(a)), np.abs(a).argmin(axis=1)] = 1.0
    # What b adds to a, at a right angle to it. Where the two are close its direction is lost to rounding, but its share
    # below, sin(r angle), is as small: the sum passes into a + r (b - a) without a limit at which it has to.
    aside = np.where(opposite[:, None], axis, b)
    for _ in range(2):  # the second time removes what the first rounded off
        aside -= np.sum(aside * a, axis=1, keepdims=True) * a
    length = np.linalg.norm(aside, axis=1, keepdims=True)
    aside = np.divide(aside, length, out=np.zeros_like(aside), where=length > 0)
    turn = (share * np.where(opposite, np.pi, angle))[:, None]
    between = np.cos(turn) * a + np.sin(turn) * aside
    return between / np.linalg.norm(between, axis=1, keepdims=True)

"""Identities made of others: on the way from one to another, and the mean of several."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from smoothswap_jax.metrics.per_pair import unit_rows
from smoothswap_jax.metrics.smoothness import slerp

PyTree = Any
MOST = 1000
"""Identities on one way."""


def between(first: PyTree, last: PyTree, count: int) -> PyTree:
    """`count` identities from `first` to `last`, both included, at equal steps: [count ...].

    first, last: identities of batch size 1, as of `towards`; so figure 9 of the paper goes. Raises ValueError for fewer
    than 2 or more than 1,000, and for identities that are not of batch size 1 or not of one shape.
    """
    check_count(count)
    shapes = [jax.tree.map(np.shape, z) for z in (first, last)]
    if shapes[0] != shapes[1] or any(shape[0] != 1 for shape in jax.tree.leaves(shapes[0], is_leaf=_is_shape)):
        raise ValueError(f"interpolation: found identities of shapes {shapes[0]} and {shapes[1]}; wanted [1 ...] twice")
    ways = [towards(first, last, share) for share in np.linspace(0.0, 1.0, count)]
    return concatenated(ways)


def concatenated(rows: Sequence[PyTree]) -> PyTree:
    """Identities side by side along the batch."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows)


def towards(first: PyTree, last: PyTree, share: float) -> PyTree:
    """Identities a share of the way from those of `first` to those of `last`, row by row, [b ...]: 0 is the first, 1
    the last. Vectors go along the great circle, and maps along the straight line."""

    def way(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = np.asarray(a), np.asarray(b)
        return (slerp(a, b, share) if a.ndim == 2 else (1 - share) * a + share * b).astype(a.dtype)

    return jax.tree.map(way, first, last)


def mean_identity(z: PyTree) -> PyTree:
    """The mean of several photos' identities, of batch size 1: vectors on the sphere, where the sum of their directions
    points, and maps by their numbers. Raises ValueError for vectors that have no mean direction."""

    def mean(leaf: np.ndarray) -> np.ndarray:
        leaf = np.asarray(leaf)
        if len(leaf) == 1 or leaf.ndim != 2:
            return leaf.mean(0, keepdims=True)
        total = unit_rows("identities", leaf).sum(0, keepdims=True)
        length = np.linalg.norm(total)
        if length < 1e-6:
            raise ValueError("the mean of several identities: found opposite ones; wanted photos of one person")
        return (total / length).astype(leaf.dtype)

    return jax.tree.map(mean, z)


def check_count(count: int) -> None:
    """Raises ValueError for a number of identities that `between` refuses."""
    if not 2 <= count <= MOST:
        raise ValueError(f"interpolation: found {count} identities; wanted 2 to {MOST:,}")


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple)

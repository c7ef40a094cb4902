"""Identities on the way from one to another."""

from typing import Any

import jax
import numpy as np

from smoothswap_jax.metrics.smoothness import slerp

PyTree = Any
MOST = 1000
"""Identities on one way."""


def between(first: PyTree, last: PyTree, count: int) -> PyTree:
    """`count` identities from `first` to `last`, both included, at equal steps: [count ...].

    first, last: identities of batch size 1. Their vectors go along the great circle, as in figure 9 of the paper, and
    maps along the straight line. Raises ValueError for fewer than 2 or more than 1,000, and for identities that are not
    of batch size 1 or not of one shape.
    """
    check_count(count)
    shapes = [jax.tree.map(np.shape, z) for z in (first, last)]
    if shapes[0] != shapes[1] or any(shape[0] != 1 for shape in jax.tree.leaves(shapes[0], is_leaf=_is_shape)):
        raise ValueError(f"interpolation: found identities of shapes {shapes[0]} and {shapes[1]}; wanted [1 ...] twice")
    shares = np.linspace(0.0, 1.0, count)

    def way(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = np.asarray(a), np.asarray(b)
        if a.ndim == 2:
            return np.concatenate([slerp(a, b, share) for share in shares]).astype(a.dtype)
        return np.concatenate([(1 - share) * a + share * b for share in shares]).astype(a.dtype)

    return jax.tree.map(way, first, last)


def check_count(count: int) -> None:
    """Raises ValueError for a number of identities that `between` refuses."""
    if not 2 <= count <= MOST:
        raise ValueError(f"interpolation: found {count} identities; wanted 2 to {MOST:,}")


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple)

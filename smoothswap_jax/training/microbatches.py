"""A batch in parts that are computed one after the other, to save memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any


def split_microbatches(batch: PyTree, count: int) -> PyTree:
    """[n, ...] as [count, n / count, ...]. Microbatch i takes the rows i, i + count, ...: where the batch is split over
    devices in contiguous blocks, every device then has rows in every microbatch."""
    return jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, count, *x.shape[1:]), 0, 1), batch)


def merge_microbatches(batch: PyTree) -> PyTree:
    """The inverse of `split_microbatches`."""
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]), batch)


def mean_over_microbatches(function: Callable[..., PyTree], *batches: PyTree) -> PyTree:
    """The mean of `function`'s results over microbatches, computed one at a time to save memory."""
    count = len(jax.tree.leaves(batches)[0])
    shapes = jax.eval_shape(function, *jax.tree.map(lambda x: x[0], batches))
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def add(total, microbatch):
        return jax.tree.map(lambda t, x: t + x / count, total, function(*microbatch)), None

    return jax.lax.scan(add, zeros, batches)[0]

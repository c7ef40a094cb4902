"""Runs a network on any number of faces, over all devices, with results that do not depend on the batch."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from smoothswap_jax.runtime import sharding

PyTree = Any
CAPACITY = 16
"""Most steps in one call of the compiled program. Its arrays have this size even for a single face; a larger one saves
dispatches, which cost a few per cent at 32 px."""


def batch_size(tree: PyTree) -> int:
    """The common length of all leaves' leading axes. Raises ValueError if they differ or there is none."""
    sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(tree)}
    if len(sizes) != 1 or () in sizes:
        found = [list(np.shape(leaf)) for leaf in jax.tree.leaves(tree)]
        raise ValueError(f"found arrays of shapes {found}; wanted one leading axis, the batch, for all of them")
    return sizes.pop()[0]


def tile(tree: PyTree, count: int) -> PyTree:
    """A tree of batch size 1 repeated to `count`."""
    return jax.tree.map(lambda x: np.repeat(np.asarray(x), count, axis=0), tree)


def in_steps(
    function: Callable[..., PyTree], variables: PyTree, mesh: Any, faces_at_once: int = 1
) -> Callable[..., PyTree]:
    """Makes `function(variables, *inputs)` take host arrays of any batch size, over all devices of `mesh`.

    XLA sums convolutions of different batch sizes in different orders, which changes a few of 100,000 8-bit values. So
    the batch size is fixed: each device computes `faces_at_once` faces per step, in a loop whose length is an argument
    of the one compiled program. A face gives the same result bit for bit, alone or in any batch. On CPU one face per
    step is about as fast as a large batch; on accelerators more may be faster.

    Args:
      function: pure; its inputs and result are pytrees whose leaves have the batch as leading axis.
      variables: its weights, host arrays, copied to every device once.
      faces_at_once: batch size of a device in each step; the last step is padded.

    Returns a function from host pytrees [b, ...], b >= 1, to pytrees of numpy arrays [b, ...].
    """
    if faces_at_once < 1:
        raise ValueError(f"faces_at_once: found {faces_at_once}; wanted at least 1")
    placed = sharding.replicate(variables, mesh)
    rows = mesh.size * faces_at_once
    traced_once = jax.jit(function, inline=True)  # for the shapes and for the loop: tracing takes longer than loading

    def program(variables: PyTree, count: jax.Array, inputs: PyTree) -> PyTree:
        def of_step(step: Any) -> PyTree:
            return traced_once(
                variables, *jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, step, 1, False), inputs)
            )

        def body(step: Any, done: PyTree) -> PyTree:
            put = lambda all_steps, one: jax.lax.dynamic_update_index_in_dim(all_steps, one, step, 1)
            return jax.tree.map(put, done, of_step(step))

        shapes = jax.eval_shape(of_step, 0)
        empty = jax.tree.map(lambda s: jnp.zeros((s.shape[0], CAPACITY, *s.shape[1:]), s.dtype), shapes)
        return jax.lax.fori_loop(0, count, body, empty)

    compiled = jax.jit(program, out_shardings=sharding.batched(mesh))

    def run(*inputs: PyTree) -> PyTree:
        count, results = batch_size(inputs), []
        for faces in portions(count, rows * CAPACITY):
            steps = -(-len(faces) // rows)
            found = compiled(placed, np.int32(steps), _to_steps(inputs, faces, rows, mesh))
            results.append(_from_steps(found, len(faces)))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *results)

    return run


def portions(count: int, size: int) -> Iterator[np.ndarray]:
    """0 ... count - 1 in order, in pieces of at most `size`."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def _to_steps(tree: PyTree, faces: np.ndarray, rows: int, mesh: Any) -> PyTree:
    """Leaves [b, ...] as [rows, CAPACITY, ...], rows split over devices; padded with the last face."""
    filled = np.minimum(np.arange(rows * CAPACITY) + faces[0], faces[-1]).reshape(CAPACITY, rows).T
    return jax.tree.map(lambda x: sharding.shard_rows(np.asarray(x)[filled], mesh), tree)


def _from_steps(tree: PyTree, count: int) -> PyTree:
    """The inverse of `_to_steps`: leaves [rows, CAPACITY, ...] as [count, ...], without the padding."""

    def one(x: jax.Array) -> np.ndarray:
        by_step = np.asarray(x).swapaxes(0, 1)
        return by_step.reshape(-1, *by_step.shape[2:])[:count]

    return jax.tree.map(one, tree)

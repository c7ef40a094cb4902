"""One compiled program for any number of faces, on all devices, with results that do not depend on that number."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from smoothswap_jax.runtime import sharding

PyTree = Any
CAPACITY = 16
"""Steps that one call of the program has room for. More save dispatches (a few per cent at 32 px), but every call
moves arrays of this size, even for a single face."""


def batch_size(tree: PyTree) -> int:
    """The length of the leading axis of all leaves. Raises ValueError where there is none or they differ."""
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

    Convolutions of another batch size are summed in another order, which turns a few pixels of eight bits. So every
    device computes `faces_at_once` faces per step, always, in a loop of as many steps as are needed: a face comes out
    bit for bit the same, alone or among others. On a CPU this is as fast as large batches; on an accelerator more
    faces at once may be faster, and a single face then costs as much as that many.

    Args:
      function: pure; inputs and result are pytrees whose leaves have the batch as leading axis.
      variables: its weights, host arrays; they are copied to every device, once.

    Returns a function of host pytrees [b, ...], b >= 1, that gives numpy arrays [b, ...].
    """
    if faces_at_once < 1:
        raise ValueError(f"faces_at_once: found {faces_at_once}; wanted at least 1")
    placed = sharding.replicate(variables, mesh)
    rows = mesh.size * faces_at_once

    def program(variables: PyTree, count: jax.Array, inputs: PyTree) -> PyTree:
        def of_step(step: Any) -> PyTree:
            return function(variables, *jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, step, 1, False), inputs))

        def body(step: Any, done: PyTree) -> PyTree:
            put = lambda all_steps, one: jax.lax.dynamic_update_index_in_dim(all_steps, one, step, 1)
            return jax.tree.map(put, done, of_step(step))

        shapes = jax.eval_shape(of_step, 0)
        empty = jax.tree.map(lambda s: jnp.zeros((s.shape[0], CAPACITY, *s.shape[1:]), s.dtype), shapes)
        return jax.lax.fori_loop(0, count, body, empty)

    compiled = jax.jit(program, out_shardings=sharding.batched(mesh))

    def run(*inputs: PyTree) -> PyTree:
        count, results = batch_size(inputs), []
        for faces in _portions(count, rows * CAPACITY):
            steps = -(-len(faces) // rows)
            found = compiled(placed, np.int32(steps), _to_steps(inputs, faces, rows, mesh))
            results.append(_from_steps(found, len(faces)))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *results)

    return run


def _portions(count: int, size: int) -> Iterator[np.ndarray]:
    """0 ... count - 1 in order, at most `size` at a time."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def _to_steps(tree: PyTree, faces: np.ndarray, rows: int, mesh: Any) -> PyTree:
    """Leaves [b, ...] as [rows, CAPACITY, ...] over the devices, step after step; the last face fills what is left."""
    filled = np.minimum(np.arange(rows * CAPACITY) + faces[0], faces[-1]).reshape(CAPACITY, rows).T
    return jax.tree.map(lambda x: sharding.shard_rows(np.asarray(x)[filled], mesh), tree)


def _from_steps(tree: PyTree, count: int) -> PyTree:
    """The first `count` faces of leaves [rows, CAPACITY, ...], in the order that `_to_steps` was given."""

    def one(x: jax.Array) -> np.ndarray:
        by_step = np.asarray(x).swapaxes(0, 1)
        return by_step.reshape(-1, *by_step.shape[2:])[:count]

    return jax.tree.map(one, tree)

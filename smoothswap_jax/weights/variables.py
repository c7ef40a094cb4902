"""Filling a module from a checkpoint.

`to_variables(names, state, module, *inputs)` takes tensors as a flat dict of numpy arrays and returns
{'params': ..., 'batch_stats': ...}. Which tensors are wanted follows from the module's own leaves, by a name map of
`networks/`; a checkpoint that does not fit exactly is refused with the list of names.
"""

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from smoothswap_jax.weights import registry
from smoothswap_jax.weights.inspect import strip_prefixes
from smoothswap_jax.weights.spec import NameMap
from smoothswap_jax.weights.stored_tensor import Path, Shapes, StoredTensor, WeightMismatch

_IGNORED = (r"(.*\.)?num_batches_tracked",)  # PyTorch's batch norms count batches; Flax's do not


class TooManyLayers(ValueError):
    """A network has more layers than a file has arrays."""


@contextlib.contextmanager
def at_most_layers(arrays: int) -> Iterator[None]:
    """While modules are traced: raises TooManyLayers when they have more layers than `arrays` could fill. Tracing a
    network that a hostile file describes would take any time otherwise."""
    left = 2 * arrays + 16  # blocks and the like have no arrays of their own, but several layers each

    def count(call, args, kwargs, context):
        nonlocal left
        left -= context.method_name == "__call__"
        if left < 0:
            raise TooManyLayers(f"describes a network of more layers than the {arrays} arrays that are here")
        return call(*args, **kwargs)

    with nn.intercept_methods(count):
        yield


def stored_tensors(names: str, module: nn.Module, *inputs: Any) -> tuple[dict[Path, StoredTensor], Shapes]:
    """For each leaf of `module.init(key, *inputs)`: its tensor in a checkpoint spelled as `names`, and its shape.

    names: the name of a `NameMap`. inputs: arrays or jax.ShapeDtypeStructs. Raises ValueError for an unknown name map.
    """
    tree = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    shapes = {path: tuple(leaf.shape) for path, leaf in flatten_dict(tree).items()}
    return _name_map(names).tensors(module, shapes), shapes


def _name_map(names: str) -> NameMap:
    known = registry.name_maps()
    if names not in known:
        raise ValueError(f"weights: name map is {names!r}, wanted one of {', '.join(known)}")
    return known[names]


def to_variables(names: str, state: Mapping[str, np.ndarray], module: nn.Module, *inputs: Any) -> dict[str, Any]:
    """Fill `module`'s variables from the tensors of a published checkpoint.

    names: the name of a `NameMap`. state: flat {name: array}; slashes separate the names of Flax checkpoints. inputs:
    as for `stored_tensors`. Returns nested dicts of float32 numpy arrays, for `module.apply`. Raises WeightMismatch,
    with every name concerned, when a tensor is missing, has another shape, or has no place in the network.
    """
    stored, shapes = stored_tensors(names, module, *inputs)
    ignored = (*_IGNORED, *_name_map(names).ignored)
    tensors = strip_prefixes(state)
    wanted = {tensor.name: tensor.stored_shape(shapes[path]) for path, tensor in stored.items()}
    problems = {
        "missing": [name for name in wanted if name not in tensors],
        "extra": [n for n in tensors if n not in wanted and not any(re.fullmatch(p, n) for p in ignored)],
        "misshapen": [
            f"{name}: found {tuple(tensors[name].shape)}, wanted {shape}"
            for name, shape in wanted.items()
            if name in tensors and tuple(tensors[name].shape) != shape
        ],
        "not floating-point": [
            f"{name}: {tensors[name].dtype}"
            for name in wanted
            if name in tensors and not jnp.issubdtype(tensors[name].dtype, jnp.floating)
        ],
    }
    if any(problems.values()):
        lines = [f"{what} ({len(found)}): {'; '.join(found)}" for what, found in problems.items() if found]
        raise WeightMismatch(f"{names} does not fit {type(module).__name__}. " + " | ".join(lines))
    flat = {p: np.asarray(t.convert(np.asarray(tensors[t.name])), np.float32) for p, t in stored.items()}
    return unflatten_dict(flat)


def params_digest(variables: Mapping[str, Any]) -> str:
    """SHA-256 of a network's arrays by name, as float32: the same for a checkpoint and its copies."""
    digest = hashlib.sha256()
    flat = flatten_dict(dict(variables), sep="/")
    for name in sorted(flat):
        value = np.ascontiguousarray(flat[name], np.float32)
        digest.update(f"{name}{value.shape}".encode() + value.tobytes())
    return digest.hexdigest()

"""Filling a module from a checkpoint.

`to_variables(names, state, module, *inputs)` takes tensors as a flat dict of numpy arrays and returns
{'params': ..., 'batch_stats': ...}. Which tensors are wanted follows from the module's own leaves, by a name map of
`networks/`; a checkpoint that does not fit exactly is refused with the list of names.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from smoothswap_jax.runtime.checksums import arrays_digest
from smoothswap_jax.weights import registry
from smoothswap_jax.weights.inspect import printable
from smoothswap_jax.weights.spec import NameMap
from smoothswap_jax.weights.stored_tensor import Path, Shapes, StoredTensor, WeightMismatch

_IGNORED = (r"(.*\.)?num_batches_tracked",)  # PyTorch's batch norms count batches; Flax's do not
_SHOWN = 12
"""Names of each kind of misfit in an error: enough to see what is wrong, and not the 300 of another network."""


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


class Misfit(WeightMismatch):
    """The tensors of a checkpoint against those of a network. count: how many names the message is about."""

    def __init__(self, text: str, count: int) -> None:
        super().__init__(text)
        self.count = count


def fit(names: str, state: Mapping[str, np.ndarray], module: nn.Module, *inputs: Any) -> dict[Path, StoredTensor]:
    """Which tensor of `state` fills which leaf of `module`; arguments as for `to_variables`.

    Raises Misfit, with the names, when a tensor is missing, has another shape, or has no place in the network.
    """
    stored, shapes = stored_tensors(names, module, *inputs)
    ignored = (*_IGNORED, *_name_map(names).ignored)
    wanted = {tensor.name: tensor.stored_shape(shapes[path]) for path, tensor in stored.items()}
    problems = {
        "missing": [name for name in wanted if name not in state],
        "extra": [n for n in state if n not in wanted and not any(re.fullmatch(p, n) for p in ignored)],
        "misshapen": [
            f"{name}: found {tuple(state[name].shape)}, wanted {shape}"
            for name, shape in wanted.items()
            if name in state and tuple(state[name].shape) != shape
        ],
        "not floating-point": [
            f"{name}: {state[name].dtype}"
            for name in wanted
            if name in state and not jnp.issubdtype(state[name].dtype, jnp.floating)
        ],
    }
    if any(problems.values()):
        lines = [f"{what} ({len(found)}): {_listed(found)}" for what, found in problems.items() if found]
        text = f"{names} does not fit {type(module).__name__}. " + " | ".join(lines)
        raise Misfit(text, sum(map(len, problems.values())))
    return stored


def fill(state: Mapping[str, np.ndarray], stored: Mapping[Path, StoredTensor]) -> dict[str, Any]:
    """The variables from tensors that fit. Raises WeightMismatch, with the names, for values that are not finite."""
    with np.errstate(over="ignore"):
        flat = {p: np.asarray(t.convert(np.asarray(state[t.name])), np.float32) for p, t in stored.items()}
    # Looked at in float32, because a float64 that it does not hold is infinite now.
    if problem := not_finite({stored[path].name: value for path, value in flat.items()}):
        raise WeightMismatch(problem)
    return unflatten_dict(flat)


def not_finite(flat: Mapping[str, np.ndarray]) -> str:
    """Which arrays have values that are NaN or infinite, and how many; empty where none has. 0.2 s for 100 million."""
    bad = {name: value.size - int(np.isfinite(value).sum()) for name, value in flat.items()}
    lines = [f"{name}: {count:,} of {flat[name].size:,} values" for name, count in bad.items() if count]
    advice = "the file is damaged, or its training had failed: get it again, or use an earlier checkpoint"
    return f"NaN or infinite ({len(lines)}): {_listed(lines)}; {advice}" if lines else ""


def to_variables(names: str, state: Mapping[str, np.ndarray], module: nn.Module, *inputs: Any) -> dict[str, Any]:
    """Fill `module`'s variables from the tensors of a published checkpoint.

    names: the name of a `NameMap`. state: flat {name: array}; slashes separate the names of Flax checkpoints. inputs:
    as for `stored_tensors`. Returns nested dicts of float32 numpy arrays, for `module.apply`. Raises WeightMismatch,
    with the names concerned, when a tensor is missing, has another shape or no place in the network, or is not finite.
    """
    return fill(state, fit(names, state, module, *inputs))


def _listed(names: Sequence[str]) -> str:
    more = f"; and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return "; ".join(map(printable, names[:_SHOWN])) + more


def params_digest(variables: Mapping[str, Any]) -> str:
    """SHA-256 of a network's arrays by name, as float32: the same for a checkpoint and its copies."""
    return arrays_digest(flatten_dict(dict(variables), sep="/"))

"""All that the package knows of a kind of published network, as data.

A file of `networks/` holds the `NetworkSpec`s of one family, and `registry.py` lists the files. Nothing else names a
kind: importing, loading and judging go by the fields here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.weights.inspect import Known, Shape, State
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.stored_tensor import Path, Shapes, StoredTensor

Features = Callable[[nn.Module, Mapping[str, Any], Array], Float[Array, "n d"]]


@dataclass(frozen=True)
class NameMap:
    """How checkpoints spell the leaves of a module.

    tensors: from the module and the shapes of its leaves to the checkpoint's tensor for each leaf. ignored: regular
    expressions for tensors that a checkpoint may hold and the module does not need, such as fixed filter taps.
    """

    name: str
    tensors: Callable[[Any, Shapes], dict[Path, StoredTensor]]
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """How to fill a module from one checkpoint.

    module: with the widths and depths of the checkpoint. names: the name of one of the spec's `name_maps`. state: the
    tensors to fill it with. preprocessing: None for the spec's. inputs: shapes of the module's inputs, batch 1; empty
    for one image as large as the preprocessing makes it. fresh: leaves that are initialised anew.
    """

    module: nn.Module
    names: str
    state: State
    preprocessing: Preprocessing | None = None
    inputs: tuple[Shape, ...] = ()
    fresh: tuple[str, ...] = ()


def flat_output(module: nn.Module, variables: Mapping[str, Any], x: Float[Array, "n h w 3"]) -> Float[Array, "n d"]:
    """The module's output, flattened to one row an image."""
    return jnp.asarray(module.apply(variables, x)).reshape(x.shape[0], -1)


@dataclass(frozen=True)
class NetworkSpec:
    """A kind of network that `smoothswap import` reads.

    kind: its name on the command line, in config.json and in reports. module: the class of its Flax module. plan: from
    tensors by name and the caller's keywords to a `Plan`; its docstring says which published files it takes. name_maps:
    the spellings its checkpoints come in. preprocessing: as published; None where it depends on the file.

    For judges of evaluations: role is what it judges ('identity', 'coefficients', 'pose', 'distribution' or
    'perceptual'; '' for a network that judges nothing). licence: of its weights, as reports state it. features: from
    module, variables and preprocessed images to a row of features an image; perceptual judges have none. distances:
    whether scores are also given as distances of unit embeddings.

    published: for authors whose checkpoints need more than one mapping to be read, such as averages that lie beside the
    names: from the whole tree and the keywords to the group's name and its tensors, or None for another layout.
    """

    kind: str
    module: type[nn.Module]
    plan: Callable[[State, Known], Plan]
    name_maps: tuple[NameMap, ...]
    preprocessing: Preprocessing | None = None
    role: str = ""
    licence: str = ""
    features: Features = flat_output
    distances: bool = False
    published: Callable[[Mapping[str, Any], Known], tuple[str, State] | None] | None = None


@dataclass(frozen=True)
class Network:
    """An imported network.

    variables: float32 numpy arrays for `module.apply`. inputs: the shapes of its inputs, batch 1. fresh: leaves that
    the checkpoint does not have and that were initialised, such as 'params/embed0/kernel'. notes: what its user should
    know of the import, a line each.
    """

    kind: str
    module: nn.Module
    variables: dict[str, Any]
    preprocessing: Preprocessing
    inputs: tuple[Shape, ...]
    fresh: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

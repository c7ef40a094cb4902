"""From plain config values to networks, optimisers and faces. Used where configs are read: train, swapper, demo."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict

from smoothswap_jax.data import faces as faces_lib
from smoothswap_jax.data.faces import Faces
from smoothswap_jax.models.layers import REMAT
from smoothswap_jax.models.ncsnpp import NCSNpp
from smoothswap_jax.models.resnet import IdentityEmbedder
from smoothswap_jax.models.stylegan2 import Discriminator
from smoothswap_jax.weights.folder import load_network
from smoothswap_jax.weights.torch_names import to_variables

Fields = Mapping[str, Any]
DTYPES = ("float32", "bfloat16")


class ConfigError(ValueError):
    """A config field has a value that cannot be used."""


def embedder(fields: Fields) -> IdentityEmbedder:
    """The identity embedder of a stage 1 config's `embedder` fields."""
    return IdentityEmbedder(**_module_fields("embedder", IdentityEmbedder, fields))


def generator(fields: Fields) -> NCSNpp:
    """The generator of a stage 2 config's `generator` fields."""
    return NCSNpp(**_module_fields("generator", NCSNpp, fields))


def discriminator(fields: Fields, size: int) -> Discriminator:
    """The discriminator of a stage 2 config's `discriminator` fields, for images of `size` pixels."""
    return Discriminator(resolution=size, **_module_fields("discriminator", Discriminator, fields))


def imported_params(folder: str, module: nn.Module, *inputs: jax.ShapeDtypeStruct) -> dict[str, Any]:
    """Parameters for `module` from a folder that `smoothswap import` wrote, as numpy arrays.

    Raises FolderError for a folder that is none, and WeightMismatch, with the names, when they are not `module`'s.
    """
    variables = load_network(folder).variables
    return to_variables("own", flatten_dict(variables, sep="/"), module, *inputs)["params"]


def _module_fields(name: str, module: type, fields: Fields) -> dict[str, Any]:
    """Config values as module fields: lists become tuples (JSON has none), `dtype` names become dtypes."""
    known = {field.name for field in dataclasses.fields(module)} - {"parent", "name"}
    values = {}
    for key, value in fields.items():
        if key not in known:
            raise ConfigError(f"config.{name}.{key}: no such field; {module.__name__} has {sorted(known)}")
        if key == "dtype":
            if value not in DTYPES:
                raise ConfigError(f"config.{name}.dtype is {value!r}, wanted one of {DTYPES}")
            value = jnp.dtype(value)
        if key == "remat" and value not in REMAT and not isinstance(value, bool):
            raise ConfigError(f"config.{name}.remat is {value!r}, wanted one of {tuple(REMAT)}")
        values[key] = tuple(value) if isinstance(value, list) else value
    return values


def optimizer(fields: Fields, steps: int) -> optax.GradientTransformation:
    """Adam or SGD with momentum under the named schedule; decoupled weight decay on kernels only."""
    rate = schedule(fields, steps)
    if fields["name"] == "adam":
        scale = optax.scale_by_adam(b1=fields["b1"], b2=fields["b2"])
    elif fields["name"] == "sgd":
        scale = optax.trace(decay=fields["b1"])
    else:
        raise ConfigError(f"config optimizer name is {fields['name']!r}, wanted 'adam' or 'sgd'")
    decay = optax.add_decayed_weights(fields["weight_decay"], mask=_is_kernel) if fields["weight_decay"] else None
    # SGD decays the gradient, before momentum (PyTorch); Adam decays the update (AdamW).
    parts = [decay, scale] if fields["name"] == "sgd" else [scale, decay]
    return optax.chain(*(part for part in parts if part is not None), optax.scale_by_learning_rate(rate))


def _is_kernel(params):
    return jax.tree.map(lambda x: x.ndim > 1, params)


def schedule(fields: Fields, steps: int) -> optax.Schedule:
    """Linear warm-up, then constant, cosine to 0, or constant with a linear fall to 0 over the last `decay`."""
    peak, warmup = fields["learning_rate"], fields["warmup_steps"]
    if fields["schedule"] == "constant":
        after = optax.constant_schedule(peak)
    elif fields["schedule"] == "cosine":
        after = optax.cosine_decay_schedule(peak, max(1, steps - warmup))
    elif fields["schedule"] == "linear":
        falling = max(1, int(steps * fields["decay"]))
        after = optax.linear_schedule(peak, 0.0, falling, max(0, steps - warmup - falling))
    else:
        raise ConfigError(f"config schedule is {fields['schedule']!r}, wanted 'constant', 'cosine' or 'linear'")
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def faces(fields: Fields, split: str) -> Faces:
    """The faces of a split, as the config's `data` fields say."""
    kind, size = fields["kind"], fields["size"]
    if kind == "synthetic":
        people = fields["people"] if split == "train" else fields["held_out_people"]
        return faces_lib.from_synthetic(split, size, people, fields["photos"], fields["seed"], fields["spread"])
    if kind == "folder":
        if not fields["dir"]:
            raise ConfigError("config.data.dir is not set, wanted a folder DIR/<person>/<photo> of aligned faces")
        return faces_lib.from_folder(fields["dir"], split, size, fields["held_out_people"])
    if kind == "prepared":
        from smoothswap_jax.data.prepared import from_prepared

        if not fields["dir"]:
            raise ConfigError("config.data.dir is not set, wanted a folder that `smoothswap prepare` wrote")
        folders = [folder.strip() for folder in fields["dir"].split(",")]
        weights = fields["weights"] or [1.0] * len(folders)
        return faces_lib.mixture([from_prepared(folder, split, size) for folder in folders], weights)
    if kind == "tfds":
        from smoothswap_jax.data import builders

        return builders.from_tfds(fields["name"], fields["dir"], split, size)
    raise ConfigError(f"config.data.kind is {kind!r}, wanted 'synthetic', 'prepared', 'folder' or 'tfds'")

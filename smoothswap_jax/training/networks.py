"""Networks from config fields, and the three of a swapper as pure functions."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from smoothswap_jax.config import ConfigError, Fields
from smoothswap_jax.models.embedder import IdentityEmbedder
from smoothswap_jax.models.layers import REMAT
from smoothswap_jax.models.ncsnpp import NCSNpp
from smoothswap_jax.models.stylegan2 import Discriminator
from smoothswap_jax.training import steps
from smoothswap_jax.weights.network_folder import load_network
from smoothswap_jax.weights.torch_names import to_variables

DTYPES = ("float32", "bfloat16")


def make_embedder(fields: Fields) -> IdentityEmbedder:
    """The identity embedder of a stage 1 config's `embedder` fields."""
    return IdentityEmbedder(**_module_fields("embedder", IdentityEmbedder, fields))


def make_generator(fields: Fields) -> NCSNpp:
    """The generator of a stage 2 config's `generator` fields."""
    return NCSNpp(**_module_fields("generator", NCSNpp, fields))


def make_discriminator(fields: Fields, size: int) -> Discriminator:
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


def swap(networks: steps.SwapperNetworks, variables: dict[str, Any], source: jax.Array, target: jax.Array) -> jax.Array:
    """The swap of aligned images [b size size 3] in [-1, 1]; `variables` as in `RestoredSwapper`."""
    z = networks.embed(variables["embedder"], source)
    return networks.generate(variables["generator"], target, z)


def swapper_networks(config: dict, embedder_config: dict) -> tuple[steps.SwapperNetworks, tuple[nn.Module, nn.Module]]:
    """The three networks as functions, and the (generator, discriminator) modules behind them."""
    generator = make_generator(config["generator"])
    discriminator = make_discriminator(config["discriminator"], config["data"]["size"])
    embedder = make_embedder(embedder_config)
    networks = steps.SwapperNetworks(
        generate=lambda params, target, z: jnp.asarray(generator.apply({"params": params}, target, z)),
        discriminate=lambda params, image: jnp.asarray(discriminator.apply({"params": params}, image)),
        embed=lambda variables, image: jnp.asarray(embedder.apply(variables, image, train=False)),
    )
    return networks, (generator, discriminator)

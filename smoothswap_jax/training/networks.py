"""Networks from config fields, and the three of a swapper as pure functions."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from smoothswap_jax.config.errors import ConfigError, Fields, raise_mistakes, shown, shown_line
from smoothswap_jax.config.parse import parse_fields
from smoothswap_jax.config.schema import DiscriminatorFields, EmbedderFields, GeneratorFields
from smoothswap_jax.models.embedder import NORMS, STEMS, IdentityEmbedder
from smoothswap_jax.models.injection import INJECTIONS, find_injection
from smoothswap_jax.models.layers import REMAT
from smoothswap_jax.models.ncsnpp import COMBINE, PROGRESSIVE, PROGRESSIVE_INPUT, NCSNpp
from smoothswap_jax.models.stylegan2 import FEATURES, Discriminator
from smoothswap_jax.runtime import folders
from smoothswap_jax.training.imported_embedder import (
    embed_function,
    identity_network,
    is_imported,
    variable_shapes,
)
from smoothswap_jax.training.swapper_step import SwapperNetworks
from smoothswap_jax.weights.exported import load_part
from smoothswap_jax.weights.network_folder import load_network
from smoothswap_jax.weights.stored_tensor import WeightMismatch
from smoothswap_jax.weights.variables import TooManyLayers, at_most_layers, to_variables

PyTree = Any
DTYPES = ("float32", "bfloat16")
CHOICES = {
    **{"dtype": DTYPES, "remat": REMAT, "injection": INJECTIONS, "norm": NORMS, "stem": STEMS},
    **{"progressive": PROGRESSIVE, "progressive_input": PROGRESSIVE_INPUT, "combine": COMBINE},
}
"""Fields of networks that take one of some words."""
UNFIT = (ValueError, TypeError, ArithmeticError, LookupError, flax.errors.FlaxError)
"""What modules raise when they are traced with fields or inputs that do not fit together."""
FIELDS = {"embedder": EmbedderFields, "generator": GeneratorFields, "discriminator": DiscriminatorFields}
"""Types and bounds of the fields of each network."""


def make_embedder(fields: Fields, spatial: bool = False) -> IdentityEmbedder:
    """The identity embedder of a stage 1 config's `embedder` fields. spatial: of the module. Raises ConfigError for
    fields that do not fit."""
    return IdentityEmbedder(**_module_fields("embedder", fields), spatial=spatial)


def make_generator(fields: Fields) -> NCSNpp:
    """The generator of a stage 2 config's `generator` fields. Raises ConfigError for those that do not fit."""
    return NCSNpp(**_module_fields("generator", fields))


def make_discriminator(fields: Fields, size: int) -> Discriminator:
    """The discriminator of a stage 2 config's `discriminator` fields, for images of `size` pixels. Raises ConfigError
    for fields that do not fit."""
    return Discriminator(resolution=size, **_module_fields("discriminator", fields))


def swapper_networks(
    generator: Fields, discriminator: Fields, embedder: Fields, size: int
) -> tuple[SwapperNetworks, tuple[NCSNpp, Discriminator]]:
    """The three networks as functions, and the (generator, discriminator) modules behind them, from config fields."""
    g, d = make_generator(generator), make_discriminator(discriminator, size)
    networks = SwapperNetworks(
        generate=lambda params, target, z: jnp.asarray(g.apply({"params": params}, target, z)),
        discriminate=lambda params, image, z: jnp.asarray(d.apply({"params": params}, image, z)),
        embed=embed_of(embedder, spatial=find_injection(g.injection).spatial),
        projection=d.projection,
        features=functools.partial(_deep_features, d),
    )
    return networks, (g, d)


def _deep_features(discriminator: Discriminator, params: PyTree, image: jax.Array) -> list[jax.Array]:
    one = discriminator.clone(projection=False)  # whose layer of the identity comes after the features
    _, found = one.apply({"params": params}, image, mutable=[FEATURES])
    return [h.astype(jnp.float32) for h in found[FEATURES]["deep"]]


def embed_of(fields: Fields, spatial: bool = False) -> Callable[[PyTree, jax.Array], PyTree]:
    """(variables, images [b h w 3] in [-1, 1]) -> identities, of a frozen embedder.

    fields: `embedder` of a stage 1 config, or an imported network's description. spatial: whether the generator wants
    the last feature map, too. Raises ConfigError for fields that do not fit.
    """
    if is_imported(fields):
        if spatial:
            raise ConfigError(
                "config.generator.injection is 'stylemap', wanted another with config.embedder.imported: it reads the "
                "last feature map of an embedder of our own"
            )
        return embed_function(identity_network(fields))
    module = make_embedder(fields, spatial)
    return lambda variables, image: module.apply(variables, image, train=False)


def swap(networks: SwapperNetworks, variables: dict[str, Any], source: jax.Array, target: jax.Array) -> jax.Array:
    """The swap of aligned images [b size size 3] in [-1, 1].

    variables: {'generator': params, 'embedder': {'params', 'batch_stats'}}.
    """
    z = networks.embed(variables["embedder"], source)
    return networks.generate(variables["generator"], target, z)


def with_second_embedder(networks: SwapperNetworks, fields: Fields) -> SwapperNetworks:
    """The networks with a second embedder, of these config fields, for the identity loss."""
    return dataclasses.replace(networks, embed_also=embed_of(fields))


def image_shape(rows: int, size: int) -> jax.ShapeDtypeStruct:
    """Float images [rows size size 3]."""
    return jax.ShapeDtypeStruct((rows, size, size, 3), jnp.float32)


def shapes_of(part: str, module: nn.Module, *inputs: Any, arrays: int | None = None, file: str = "") -> Any:
    """The module's variables as shapes.

    Args:
      part: of the config, and file: where it was read, for errors.
      inputs: shapes. arrays: how many were saved, for a config that may be somebody else's: tracing ends where the
        network has more layers, as that takes time.

    Raises ConfigError where the fields together make no network, such as channels that do not divide into groups.
    """
    where = f"{file}: " if file else ""
    try:
        with contextlib.nullcontext() if arrays is None else at_most_layers(arrays):
            return jax.eval_shape(module.init, jax.random.key(0), *inputs)
    except TooManyLayers as error:
        raise ConfigError(f"{where}config.{part}: {error}") from error
    except UNFIT as error:
        raise ConfigError(f"{where}config.{part}: its fields together make no network ({shown_line(error)})") from error


def embedder_shapes(fields: Fields, size: int, arrays: int | None = None, file: str = "") -> dict[str, Any]:
    """{'params', 'batch_stats'} of a frozen embedder as shapes; raises as `embed_of` and `shapes_of` do."""
    if is_imported(fields):
        network = identity_network(fields, file or "config.embedder")
        with contextlib.nullcontext() if arrays is None else at_most_layers(arrays):
            return variable_shapes(network)
    shapes = shapes_of("embedder", make_embedder(fields), image_shape(1, size), arrays=arrays, file=file)
    return {"params": shapes["params"], "batch_stats": shapes.get("batch_stats", {})}


def z_shape(networks: SwapperNetworks, embedder: Any, rows: int, size: int) -> Any:
    """What the embedder gives for `rows` images: a pytree of shapes. embedder: its variables, or their shapes."""
    return jax.eval_shape(networks.embed, embedder, image_shape(rows, size))


def init_mistakes(given: Mapping[str, str | None]) -> list[str]:
    """What is wrong with the folders that `config.init` names, by part, before anything of them is read."""
    return [
        f"config.init.{part}: {fault}"
        for part, folder in given.items()
        if folder and (fault := folders.mistake(folders.named(folder), folders.NETWORK, folders.EXPORT))
    ]


def initial_variables(
    given: str, part: str, module: nn.Module, *inputs: Any, anew: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """{'params', 'batch_stats'} for `module`, as numpy arrays, to start its training from.

    Args:
      given: a folder that `smoothswap import` or `smoothswap export` wrote, or 'default', the packaged export.
      part: 'embedder', 'generator' or 'discriminator'. inputs: shapes of what the module is called with.
      anew: parameters of layers, by name, that are taken in place of the stored ones.

    Raises FolderError or ExportError where `given` is no such folder or lacks the part, and WeightMismatch, with the
    names, when its arrays are not `module`'s.
    """
    folder = folders.named(given)
    exported = folders.kind_of(folder) == folders.EXPORT
    stored = load_part(folder, part) if exported else load_network(folder).variables
    stored = {**stored, "params": {**stored["params"], **(anew or {})}}
    try:
        variables = to_variables("own", flatten_dict(stored, sep="/"), module, *inputs)
    except WeightMismatch as error:
        raise WeightMismatch(f"config.init.{part}={given}: {error}") from error
    return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}


def field_mistakes(part: str, fields: Fields) -> list[str]:
    """What is wrong with the fields of `part` ('embedder', 'generator' or 'discriminator'), each by itself."""
    if part == "embedder" and isinstance(fields, Mapping) and is_imported(fields):
        try:
            identity_network(fields)
        except ConfigError as error:
            return [str(error)]
        return []
    values, mistakes = parse_fields(FIELDS[part], fields, part)
    return mistakes + [
        f"config.{part}.{key} is {shown(values[key])}, wanted one of {tuple(known)}"
        for key, known in CHOICES.items()
        if isinstance(values.get(key), str) and values[key] not in known
    ]


def _module_fields(part: str, fields: Fields) -> dict[str, Any]:
    """Config values as module fields: lists become tuples (JSON has none), `dtype` names become dtypes."""
    raise_mistakes(field_mistakes(part, fields))
    values, _ = parse_fields(FIELDS[part], fields, part)
    return {key: jnp.dtype(value) if key == "dtype" else value for key, value in values.items()}

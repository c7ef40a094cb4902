"""Restores a trained swapper, its networks and weights, from a run directory."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from smoothswap_jax.config.errors import ConfigError, raise_mistakes, shown
from smoothswap_jax.config.parse import parse, to_dict
from smoothswap_jax.config.schema import SwapperConfig
from smoothswap_jax.runtime import checkpoint, folders
from smoothswap_jax.runtime.paths import to_path
from smoothswap_jax.training.frozen_embedder import COPY, COPY_ALSO, KINDS, aliases_of, load_embedder
from smoothswap_jax.training.network_checks import network_mistakes
from smoothswap_jax.training.networks import (
    embedder_shapes,
    field_mistakes,
    image_shape,
    shapes_of,
    swapper_networks,
    z_shape,
)
from smoothswap_jax.training.swapper_step import SwapperNetworks
from smoothswap_jax.weights.variables import params_digest


class RestoredSwapper(NamedTuple):
    """A trained swapper: its networks as functions, and the weights they take.

    variables: {'generator': EMA params, 'embedder': {'params', 'batch_stats'}}, and 'discriminator' if requested; numpy
    arrays. config: the training config. embedder: the embedder's config fields. embedder_sha256: `params_digest` of the
    embedder that it was trained against, where the one here is that one rounded; also_sha256: of the second one.
    embedder_aliases: of embedders that the first one is but for rounding. people: `person_digest` of whom an
    export was trained on, so that evaluations pass them over; None where it does not say, and for runs.
    """

    networks: SwapperNetworks
    variables: dict[str, Any]
    config: dict
    embedder: dict
    step: int
    embedder_sha256: str | None = None
    also_sha256: str | None = None
    embedder_aliases: tuple[str, ...] = ()
    people: tuple[str, ...] | None = None

    @property
    def size(self) -> int:
        """Width and height of the aligned faces it works on, in pixels."""
        return self.config["data"]["size"]

    @property
    def trainers(self) -> tuple[str, ...]:
        """`params_digest` of the embedders that it was trained against, one or two, and of those that they are but for
        rounding; the first gives its z."""
        first = self.embedder_sha256 or params_digest(self.variables["embedder"])
        return (first, *([self.also_sha256] if self.also_sha256 else []), *self.embedder_aliases)


def build_swapper(config: dict, embedder: dict, variables: dict[str, Any], step: int) -> RestoredSwapper:
    """The networks of a training config and its embedder's config fields, with weights for them."""
    networks, _ = swapper_networks(config["generator"], config["discriminator"], embedder, config["data"]["size"])
    return RestoredSwapper(networks, variables, config, embedder, step)


def checked_swapper(
    config: Any, embedder: Any, arrays: int, file: str, discriminator: bool = False
) -> tuple[dict, dict[str, Any]]:
    """A stored training config, which may be somebody else's, and the shapes that its networks want.

    Args:
      embedder: the config fields of its embedder. arrays: how many were saved. file: where both were read.
      discriminator: whether its shapes are wanted, too; each network that is traced takes half a second.

    Returns the config under today's names, and shapes of {'generator', 'embedder'}, and 'discriminator' if wanted.
    Raises ConfigError for fields that are of a wrong type, out of bounds, or make no network.
    """
    parsed = parse(config, file)
    if not isinstance(parsed, SwapperConfig):
        raise ConfigError(f"{file}: config.stage is {parsed.stage!r}, wanted 'swapper'")
    parts: dict[str, Any] = {"generator": parsed.generator, "discriminator": parsed.discriminator, "embedder": embedder}
    mistakes = [mistake for part, fields in parts.items() for mistake in field_mistakes(part, fields)]
    raise_mistakes(mistakes or network_mistakes(parsed), f"{file}: ")
    size = parsed.data.size
    networks, modules = swapper_networks(parsed.generator, parsed.discriminator, embedder, size)
    image, shapes = image_shape(1, size), {"embedder": embedder_shapes(embedder, size, arrays, file)}
    z = z_shape(networks, shapes["embedder"], 1, size)
    for part, module in zip(("generator", "discriminator") if discriminator else ("generator",), modules, strict=False):
        shapes[part] = shapes_of(part, module, image, z, arrays=arrays, file=file)["params"]
    return to_dict(parsed), shapes


def restore_swapper(
    run: str | os.PathLike[str], step: int | None = None, *, discriminator: bool = False
) -> RestoredSwapper:
    """The swapper of a run directory of stage 2, at its newest checkpoint or at `step`.

    Raises CheckpointError when there is no such checkpoint or it is not a swapper's.
    """
    if fault := folders.mistake(run, folders.SWAPPER):
        raise checkpoint.CheckpointError(fault)
    names = ("generator_ema", *(["discriminator"] if discriminator else []))
    found: dict[str, Any] = {}

    def wanted(meta: dict, arrays: int, file: Path) -> dict[str, Any]:
        embedder = load_embedder(to_path(run) / COPY, KINDS)
        found["fields"], found["embedder"] = embedder.fields, embedder.variables
        record = meta.get("embedder")  # runs of old have none
        if isinstance(record, dict) and record.get("sha256") != embedder.sha256:
            raise checkpoint.CheckpointError(
                f"{run}/embedder: found another embedder than the run was trained against, whose SHA-256 is "
                f"{shown(record.get('sha256'))}; wanted that one"
            )
        found["aliases"] = aliases_of(record, str(file)) if isinstance(record, dict) else ()
        also = meta.get(COPY_ALSO)
        found["also"] = also.get("sha256") if isinstance(also, dict) else None
        if not isinstance(found["also"], str | None):
            raise checkpoint.CheckpointError(f"{file}: {COPY_ALSO} is {shown(also)}, wanted a SHA-256 in it")
        found["config"], shapes = checked_swapper(
            meta.get("config", {}), found["fields"], arrays, str(file), discriminator
        )
        return {name: shapes[name.removesuffix("_ema")] for name in names}

    parts, _, saved = checkpoint.load_parts(run, names, step, wanted)
    variables = {"generator": parts.pop("generator_ema"), "embedder": found["embedder"], **parts}
    swapper = build_swapper(found["config"], found["fields"], variables, saved)
    return swapper._replace(also_sha256=found["also"], embedder_aliases=found["aliases"])


def swap_function(restored: RestoredSwapper) -> Callable[[Any, Any], jax.Array]:
    """(source, target) -> swap, compiled for each batch size; aligned images [b size size 3] in [-1, 1].

    For batches of a fixed size; the results of `Swapper.generate` do not depend on the batch.
    """
    embed, generate = jax.jit(restored.networks.embed), jax.jit(restored.networks.generate)
    variables = jax.device_put({part: restored.variables[part] for part in ("embedder", "generator")})
    return lambda source, target: generate(variables["generator"], target, embed(variables["embedder"], source))

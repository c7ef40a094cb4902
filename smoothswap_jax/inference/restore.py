"""Restores a trained swapper, its networks and weights, from a run directory."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from smoothswap_jax.runtime import checkpoint, folders
from smoothswap_jax.training import steps
from smoothswap_jax.training.frozen_embedder import load_embedder
from smoothswap_jax.training.networks import swapper_networks


class RestoredSwapper(NamedTuple):
    """A trained swapper: its networks as functions, and the weights they take.

    variables: {'generator': EMA params, 'embedder': {'params', 'batch_stats'}}, and 'discriminator' if requested; numpy
    arrays. config: the training config. embedder: the embedder's config fields.
    """

    networks: steps.SwapperNetworks
    variables: dict[str, Any]
    config: dict
    embedder: dict
    step: int

    @property
    def size(self) -> int:
        """Width and height of the aligned faces it works on, in pixels."""
        return self.config["data"]["size"]


def build_swapper(config: dict, embedder: dict, variables: dict[str, Any], step: int) -> RestoredSwapper:
    """The networks of a training config and its embedder's config fields, with weights for them."""
    networks, _ = swapper_networks(config["generator"], config["discriminator"], embedder, config["data"]["size"])
    return RestoredSwapper(networks, variables, config, embedder, step)


def restore_swapper(
    run: str | os.PathLike[str], step: int | None = None, *, discriminator: bool = False
) -> RestoredSwapper:
    """The swapper of a run directory of stage 2, at its newest checkpoint or at `step`.

    Raises CheckpointError when there is no such checkpoint or it is not a swapper's.
    """
    if fault := folders.mistake(run, folders.SWAPPER):
        raise checkpoint.CheckpointError(fault)
    names = ("generator_ema", *(["discriminator"] if discriminator else []))
    parts, meta, found = checkpoint.load_parts(run, names, step)
    config = meta["config"]
    if config["stage"] != "swapper":
        raise checkpoint.CheckpointError(f"{run}: a run of stage {config['stage']!r}, wanted 'swapper'")
    embedder_config, embedder = load_embedder(Path(run) / "embedder")
    variables = {"generator": parts.pop("generator_ema"), "embedder": embedder, **parts}
    return build_swapper(config, embedder_config, variables, found)


def swap_function(restored: RestoredSwapper) -> Callable[[Any, Any], jax.Array]:
    """(source, target) -> swap, compiled for each batch size; aligned images [b size size 3] in [-1, 1].

    For batches of a fixed size; the results of `Swapper.generate` do not depend on the batch.
    """
    embed, generate = jax.jit(restored.networks.embed), jax.jit(restored.networks.generate)
    variables = jax.device_put({part: restored.variables[part] for part in ("embedder", "generator")})
    return lambda source, target: generate(variables["generator"], target, embed(variables["embedder"], source))

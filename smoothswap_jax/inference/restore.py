"""From a run directory to a swapper: networks and their weights."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from smoothswap_jax.runtime import checkpoint
from smoothswap_jax.training import steps
from smoothswap_jax.training.frozen_embedder import load_embedder
from smoothswap_jax.training.networks import swap, swapper_networks


class Trained(NamedTuple):
    """A swapper: its functions, and the weights they take.

    variables: {'generator': params (the averaged ones), 'embedder': {'params', 'batch_stats'}}, and 'discriminator'
    where it was asked for; numpy arrays. config: the training configuration. embedder: that of the embedder.
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


def make_trained(config: dict, embedder: dict, variables: dict[str, Any], step: int) -> Trained:
    """Networks of a training configuration and its embedder's fields, with weights for them."""
    networks, _ = swapper_networks(config["generator"], config["discriminator"], embedder, config["data"]["size"])
    return Trained(networks, variables, config, embedder, step)


def load_trained(run: str | os.PathLike[str], step: int | None = None, *, discriminator: bool = False) -> Trained:
    """The swapper of a run directory of stage 2, at its newest checkpoint or at `step`.

    Raises CheckpointError when there is no such checkpoint, or it is not one of a swapper.
    """
    names = ("generator_ema", *(["discriminator"] if discriminator else []))
    parts, meta, found = checkpoint.load_parts(run, names, step)
    config = meta["config"]
    if config["stage"] != "swapper":
        raise checkpoint.CheckpointError(f"{run}: a run of stage {config['stage']!r}, wanted 'swapper'")
    embedder_config, embedder = load_embedder(Path(run) / "embedder")
    variables = {"generator": parts.pop("generator_ema"), "embedder": embedder, **parts}
    return make_trained(config, embedder_config, variables, found)


def swap_function(trained: Trained) -> Callable[[Any, Any], jax.Array]:
    """(source, target) -> swap, compiled; aligned images [b size size 3] in [-1, 1]."""
    compiled = jax.jit(functools.partial(swap, trained.networks))
    return functools.partial(compiled, jax.device_put(trained.variables))

"""What training left behind, as functions: networks and their weights, read from a run directory."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from smoothswap_jax import build, checkpoint, steps


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
    networks, _ = swapper_networks(config, embedder)
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


def swap(networks: steps.SwapperNetworks, variables: dict[str, Any], source: jax.Array, target: jax.Array) -> jax.Array:
    """The swap of aligned images [b size size 3] in [-1, 1]; `variables` as in `Trained`."""
    z = networks.embed(variables["embedder"], source)
    return networks.generate(variables["generator"], target, z)


def swap_function(trained: Trained) -> Callable[[Any, Any], jax.Array]:
    """(source, target) -> swap, compiled; aligned images [b size size 3] in [-1, 1]."""
    compiled = jax.jit(functools.partial(swap, trained.networks))
    return functools.partial(compiled, jax.device_put(trained.variables))


def swapper_networks(config: dict, embedder_config: dict) -> tuple[steps.SwapperNetworks, tuple[nn.Module, nn.Module]]:
    """The three networks as functions, and the (generator, discriminator) modules behind them."""
    generator = build.generator(config["generator"])
    discriminator = build.discriminator(config["discriminator"], config["data"]["size"])
    embedder = build.embedder(embedder_config)
    networks = steps.SwapperNetworks(
        generate=lambda params, target, z: jnp.asarray(generator.apply({"params": params}, target, z)),
        discriminate=lambda params, image: jnp.asarray(discriminator.apply({"params": params}, image)),
        embed=lambda variables, image: jnp.asarray(embedder.apply(variables, image, train=False)),
    )
    return networks, (generator, discriminator)


def load_embedder(run: str | os.PathLike[str]) -> tuple[dict, Any]:
    """(config fields, variables) of the embedder saved in a run directory of stage 1."""
    parts, meta, _ = checkpoint.load_parts(run, ("params", "batch_stats"))
    config = meta["config"]
    if config["stage"] != "embedder":
        raise checkpoint.CheckpointError(f"{run}: a run of stage {config['stage']!r}, wanted 'embedder'")
    return config["embedder"], {"params": parts["params"]["embedder"], "batch_stats": parts["batch_stats"]}

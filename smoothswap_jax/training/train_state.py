"""What a run has to remember: one pytree a stage. Random streams and the data position follow from `step`. Beside it,
what else a step takes and gives."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int

PyTree = Any
Batch = Mapping[str, Array]
Metrics = dict[str, Float[Array, ""]]


@struct.dataclass
class EmbedderState:
    """Stage 1. `params` has the subtree `embedder` and, for the classification objectives, `classifier`."""

    step: Int[Array, ""]
    params: PyTree
    batch_stats: PyTree
    optimizer: optax.OptState


@struct.dataclass
class SwapperState:
    """Stage 2. The frozen embedder is no part of it: it is handed to the step as an argument."""

    step: Int[Array, ""]
    generator: PyTree
    discriminator: PyTree
    generator_ema: PyTree
    generator_optimizer: optax.OptState
    discriminator_optimizer: optax.OptState


def init_embedder_state(
    key: Array, embedder: nn.Module, optimizer: optax.GradientTransformation, size: int, classes: int = 0
) -> EmbedderState:
    """Fresh state for images [b, size, size, 3]; `classes` > 0 adds a classifier of that many identities."""
    variables = embedder.init(jax.random.fold_in(key, 0), jnp.zeros((2, size, size, 3)), train=True)
    params = {"embedder": variables["params"]}
    if classes:
        dim = jax.eval_shape(lambda: embedder.apply(variables, jnp.zeros((1, size, size, 3)), train=False)).shape[-1]
        centres = 0.01 * jax.random.normal(jax.random.fold_in(key, 1), (dim, classes))
        params["classifier"] = {"kernel": centres, "bias": jnp.zeros((classes,))}
    return EmbedderState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        optimizer=optimizer.init(params),
    )


def init_swapper_state(
    key: Array,
    generator: nn.Module,
    discriminator: nn.Module,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    size: int,
    z: PyTree,
) -> SwapperState:
    """Fresh state for images [b, size, size, 3] and identities of the shapes `z`, [1 ...].

    Call under jit: the EMA must not alias the donated parameters.
    """
    image = jnp.zeros((1, size, size, 3))
    identity = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), z)
    g = generator.init(jax.random.fold_in(key, 0), image, identity)["params"]
    d = discriminator.init(jax.random.fold_in(key, 1), image, identity)["params"]
    return SwapperState(
        step=jnp.zeros((), jnp.int32),
        generator=g,
        discriminator=d,
        generator_ema=jax.tree.map(jnp.array, g),
        generator_optimizer=generator_optimizer.init(g),
        discriminator_optimizer=discriminator_optimizer.init(d),
    )

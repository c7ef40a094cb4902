"""Stage 2 as programs: the one place where networks, losses, optimisers and placement become the swapper's step.

The training loop runs these programs, and `smoothswap bench` times and compiles the very same.
"""

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import jax
import optax

from smoothswap_jax.config.errors import Fields
from smoothswap_jax.config.schema import SwapperConfig
from smoothswap_jax.models.ncsnpp import NCSNpp
from smoothswap_jax.models.stylegan2 import Discriminator
from smoothswap_jax.runtime import sharding
from smoothswap_jax.training.networks import (
    UNFIT,
    image_shape,
    shapes_of,
    swapper_networks,
    with_second_embedder,
    z_shape,
)
from smoothswap_jax.training.optimizers import make_optimizer
from smoothswap_jax.training.stage import checked_grad_accum_steps
from smoothswap_jax.training.swapper_step import SwapperNetworks, SwapperObjective, reads_own, swapper_step
from smoothswap_jax.training.train_state import Metrics, SwapperState, init_swapper_state
from smoothswap_jax.training.transforms import Transform

PyTree = Any


@dataclass(frozen=True)
class SwapperProgram:
    """The swapper on a mesh: functions, shapes and placement, no arrays.

    modules, optimizers: of generator and discriminator. z: shapes of one identity, [1 ...]. init: makes the state, not
    compiled yet. shapes, places: of the state. step: with_r1 -> the pure step, which takes (state, frozen embedder,
    batch, seed, second frozen embedder) to (state, metrics); the last two may be left out as in `swapper_step`.
    """

    networks: SwapperNetworks
    modules: tuple[NCSNpp, Discriminator]
    optimizers: tuple[optax.GradientTransformation, optax.GradientTransformation]
    objective: SwapperObjective
    z: PyTree
    init: Callable[[], SwapperState]
    shapes: PyTree
    places: PyTree
    step: Callable[[bool], Callable[..., tuple[SwapperState, Metrics]]]
    mesh: Any

    @property
    def reads_own(self) -> bool:
        """Whether batches need another photo of each target's person."""
        return reads_own(self.networks, self.objective)

    def jitted(self, with_r1: bool) -> Any:
        """The step as `jax.jit` makes it: the state is donated, and its placement is kept."""
        out = (self.places, sharding.replicated(self.mesh))
        return jax.jit(self.step(with_r1), donate_argnums=0, out_shardings=out)

    def abstract(self) -> PyTree:
        """Shapes of the state that carry their placement."""
        return sharding.abstract_like(self.shapes, self.places)


def make_swapper_program(
    config: SwapperConfig, embedder: Fields, frozen: PyTree, mesh, also: Fields | None = None
) -> SwapperProgram:
    """The programs of a config.

    Args:
      embedder: config fields of the frozen embedder. frozen: its variables, or their shapes.
      also: config fields of the second embedder, if there is one.

    Raises ConfigError for networks, optimisers and microbatches that cannot be made.
    """
    size = config.data.size
    networks, modules = swapper_networks(config.generator, config.discriminator, embedder, size)
    if also is not None:
        networks = with_second_embedder(networks, also)
    optimizers = (
        make_optimizer(config.generator_optimizer, config.steps),
        make_optimizer(config.discriminator_optimizer, config.steps),
    )
    transform = Transform(**asdict(config.objective.transform))
    objective = SwapperObjective(**{**asdict(config.objective), "transform": transform})
    z = z_shape(networks, frozen, 1, size)
    key = jax.random.key(config.seed)
    init = functools.partial(init_swapper_state, key, *modules, *optimizers, size, z)
    try:
        shapes = jax.eval_shape(init)
    except UNFIT:
        shapes_of("generator", modules[0], image_shape(1, size), z)
        shapes_of("discriminator", modules[1], image_shape(1, size), z)
        raise
    grad_accum_steps = checked_grad_accum_steps(config, mesh)

    def step(with_r1: bool):
        return functools.partial(
            swapper_step,
            networks=networks,
            objective=objective,
            generator_optimizer=optimizers[0],
            discriminator_optimizer=optimizers[1],
            with_r1=with_r1,
            grad_accum_steps=grad_accum_steps,
        )

    places = sharding.placement(shapes, mesh, config.mesh.rules)
    return SwapperProgram(networks, modules, optimizers, objective, z, init, shapes, places, step, mesh)

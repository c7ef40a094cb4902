"""The swapper's training step at one batch size, dtype and mesh: what every bench of it times, compiles or counts."""

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from smoothswap_jax.config.errors import ConfigError, Fields
from smoothswap_jax.config.parse import parse
from smoothswap_jax.config.schema import SwapperConfig
from smoothswap_jax.runtime import sharding
from smoothswap_jax.training.networks import image_shape, make_embedder
from smoothswap_jax.training.swapper_program import SwapperProgram, make_swapper_program
from smoothswap_jax.training.train_state import Batch, SwapperState

PyTree = Any


@dataclass(frozen=True)
class Setting:
    """The swapper's program with the shapes and placement of its inputs; no arrays.

    frozen: variables of the embedder. batch: the images of a step. z: the identities of its sources.
    """

    program: SwapperProgram
    frozen: PyTree
    batch: dict[str, jax.ShapeDtypeStruct]
    z: PyTree
    dtype: str

    @property
    def mesh(self) -> Any:
        return self.program.mesh

    def state_bytes(self) -> int:
        """Bytes on each device of parameters, averages, optimiser states and the frozen embedder."""
        arrays = jax.tree.leaves((self.program.abstract(), self.frozen))
        return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in arrays)

    def lowered(self, with_r1: bool) -> Any:
        """The training step, traced and ready to be compiled."""
        return self.program.jitted(with_r1).lower(self.program.abstract(), self.frozen, self.batch)

    def init_state(self) -> SwapperState:
        return sharding.jit_init(self.program.init, self.program.places)()

    def random_state(self) -> SwapperState:
        """Random weights, about as large as initial ones, and empty optimisers; nothing is compiled for it, which on an
        accelerator can take as long as for the step."""
        shapes = self.program.shapes
        drawn = np.random.default_rng(0).standard_normal(max(x.size for x in jax.tree.leaves(shapes)), np.float32)

        def weights(path: Any, x: Any, equalised: bool = False) -> np.ndarray:
            if path[-1].key == "scale":
                return np.ones(x.shape, x.dtype)
            if len(x.shape) < 2:
                return np.zeros(x.shape, x.dtype)
            return drawn[: x.size].reshape(x.shape) / (1 if equalised else math.sqrt(x.size / x.shape[-1]))

        empty = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
        generator = jax.tree_util.tree_map_with_path(weights, shapes.generator)
        discriminator = jax.tree_util.tree_map_with_path(
            functools.partial(weights, equalised=True), shapes.discriminator
        )
        state = dataclasses.replace(empty, generator=generator, generator_ema=generator, discriminator=discriminator)
        return sharding.shard_copy(state, self.program.places)

    def random_inputs(self) -> tuple[PyTree, Batch, PyTree]:
        """Random weights of the embedder, images and identities: their values do not change the time."""
        rng = np.random.default_rng(0)
        values = jax.tree.map(lambda x: 0.05 * rng.standard_normal(x.shape, np.float32), self.frozen)
        if "batch_stats" in values:  # variances are positive
            values["batch_stats"] = jax.tree.map(np.abs, values["batch_stats"])
        image = rng.uniform(-1, 1, self.batch["source"].shape).astype(np.float32)
        z = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), self.z)
        frozen = sharding.shard(values, jax.tree.map(lambda x: x.sharding, self.frozen))
        batch = {name: sharding.shard_rows(image, self.mesh) for name in self.batch}
        return frozen, batch, jax.tree.map(lambda leaf: sharding.shard_rows(leaf, self.mesh), z)


def make_setting(config: Fields, embedder: Fields, batch: int, dtype: str, mesh: Any, remat: str = "") -> Setting:
    """The training step of a swapper config, with some of its fields replaced.

    Args:
      config: fields of a swapper config. embedder: the `embedder` fields of an embedder config.
      batch: pairs a step, over all devices. dtype: of all three networks. remat: '' is the config's.

    Raises ConfigError for another stage's config, and ValueError for a batch that the mesh does not divide.
    """
    sharding.check_batch(mesh, batch)
    replaced = {"dtype": dtype} | ({"remat": remat} if remat else {})
    networks = {part: {**config[part], **replaced} for part in ("generator", "discriminator")}
    parsed = parse({**config, **networks, "batch": batch})
    if not isinstance(parsed, SwapperConfig):
        raise ConfigError(f"config.stage is {parsed.stage!r}, wanted 'swapper'")
    embedder, size = {**embedder, "dtype": dtype}, parsed.data.size
    module = make_embedder(embedder)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((2, size, size, 3))))
    frozen = sharding.abstract_like(shapes, sharding.placement(shapes, mesh, parsed.mesh.rules))
    program = make_swapper_program(parsed, embedder, frozen, mesh)

    def of_batch(one: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, *one.shape[1:]), one.dtype, sharding=sharding.batched(mesh))

    names = ("source", "target", "real", *(["own"] if program.reads_own else []))
    images = dict.fromkeys(names, of_batch(image_shape(1, size)))
    return Setting(program, frozen, images, jax.tree.map(of_batch, program.z), dtype)

"""A tiny swapper of random weights."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from smoothswap_jax.inference.restore import RestoredSwapper, build_swapper
from smoothswap_jax.training import networks
from tests import tiny_runs


def make_swapper(seed: int = 0) -> RestoredSwapper:
    """No weight is 0, so that every one takes part in the swap."""
    config = tiny_runs.config("swapper", Path("people"))
    embedder_config = tiny_runs.config("embedder", Path("people"))["embedder"]
    generator, embedder = networks.make_generator(config["generator"]), networks.make_embedder(embedder_config)
    image, key = jnp.zeros((1, tiny_runs.SIZE, tiny_runs.SIZE, 3)), jax.random.key(seed)
    init_embedder = jax.jit(lambda key: embedder.init(key, image, train=False))
    variables = {
        "generator": jax.jit(generator.init)(key, image, jnp.zeros((1, embedder_config["dim"])))["params"],
        "embedder": dict(init_embedder(key)),
    }
    rng = np.random.default_rng(seed)
    shaken = lambda x: np.asarray(x) + 0.03 * np.abs(rng.standard_normal(x.shape)).astype(np.float32)
    return build_swapper(config, embedder_config, jax.tree.map(shaken, variables), 6)


def faces(count: int, seed: int = 0) -> np.ndarray:
    """Noise, uint8 [count size size 3]."""
    return np.random.default_rng(seed).integers(0, 256, (count, tiny_runs.SIZE, tiny_runs.SIZE, 3), np.uint8)

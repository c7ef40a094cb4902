"""Rendered faces of the synthetic world as a data set."""

import jax
import jax.numpy as jnp
import numpy as np

from smoothswap_jax.data.dataset import SPLITS, Faces, check_split
from smoothswap_jax.faces.photos import to_uint8
from smoothswap_jax.synthetic import world


def from_synthetic(split: str, size: int, people: int, photos: int, seed: int, spread: float = 1.0) -> Faces:
    """Renders `people` synthetic identities with `photos` images each; splits share no identity."""
    factors = synthetic_factors(split, people, photos, seed, spread)
    images = to_uint8(world.render_many(factors, size))
    names = [f"{split}-{i:05d}" for i in range(people)]
    files = [f"{name}/{k:03d}" for name in names for k in range(photos)]
    return Faces(size, np.arange(people + 1) * photos, names, files, images=images)


def synthetic_factors(split: str, people: int, photos: int, seed: int, spread: float = 1.0) -> world.Factors:
    """Factors of people * photos faces, sorted by identity; every photo has its own attributes.

    `spread` scales the deviation of expression, pose and light from their means, but not identity and background.
    """
    check_split(split)
    key = jax.random.fold_in(jax.random.key(seed), SPLITS.index(split))
    identity = world.sample_identity(jax.random.fold_in(key, 0), people)
    expression, pose, light, background = world.sample_attributes(jax.random.fold_in(key, 1), people * photos)
    identity = jnp.repeat(identity, photos, axis=0)
    return world.Factors(identity, spread * expression, spread * pose, spread * light, background)

"""Faces of the synthetic world as a data set: who is in which split, and how many photos each has."""

import jax
import jax.numpy as jnp
import numpy as np

from smoothswap_jax.data.dataset import SPLITS, Faces, check_split
from smoothswap_jax.faces.photos import to_uint8
from smoothswap_jax.synthetic.world import render_many


def from_synthetic(split: str, size: int, people: int, photos: int, seed: int, spread: float = 1.0) -> Faces:
    """Renders `people` synthetic identities with `photos` pictures each; splits share no identity."""
    factors = synthetic_factors(split, people, photos, seed, spread)
    images = to_uint8(render_many(factors, size))
    names = [f"{split}-{i:05d}" for i in range(people)]
    files = [f"{name}/{k:03d}" for name in names for k in range(photos)]
    return Faces(size, np.arange(people + 1) * photos, names, files, images=images)


def synthetic_factors(split: str, people: int, photos: int, seed: int, spread: float = 1.0):
    """Factors of people * photos faces, sorted by identity: every photo has attributes of its own.

    `spread` scales how far expression, pose and light stray from their means, not identities and backgrounds.
    """
    from smoothswap_jax.synthetic import world

    check_split(split)
    key = jax.random.fold_in(jax.random.key(seed), SPLITS.index(split))
    identity = world.sample_identity(jax.random.fold_in(key, 0), people)
    expression, pose, light, background = world.sample_attributes(jax.random.fold_in(key, 1), people * photos)
    identity = jnp.repeat(identity, photos, axis=0)
    return world.Factors(identity, spread * expression, spread * pose, spread * light, background)

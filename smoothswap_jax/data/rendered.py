"""Rendered faces of the synthetic world as a data set."""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from smoothswap_jax.data.dataset import SPLITS, DataError, Faces, check_split
from smoothswap_jax.faces.photos import to_uint8
from smoothswap_jax.synthetic import world

WORLD = {"held_out_people": 64, "photos": 8, "seed": 0, "spread": 1.0}
"""What decides the held-out faces of the synthetic world, by the names of a run's `data` fields, with defaults."""


def world_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `WORLD` as a run's `data` fields have them; other fields are ignored."""
    return {name: data.get(name, default) for name, default in WORLD.items()}


def too_many(people: int, photos: int, size: int) -> str:
    """Why so many faces of `size` pixels are not rendered: they would not fit into this machine's memory; '' if they
    do."""
    needed, memory = people * photos * size**2 * 3, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed <= memory:
        return ""
    return (
        f"{people:,} people x {photos:,} photos of {size} px are {needed / 1e9:,.0f} GB, wanted what fits into this "
        f"machine's {memory / 1e9:,.0f} GB"
    )


def from_synthetic(split: str, size: int, people: int, photos: int, seed: int, spread: float = 1.0) -> Faces:
    """Renders `people` synthetic identities with `photos` images each; splits share no identity. Raises DataError for
    more than fit into memory."""
    if words := too_many(people, photos, size):
        raise DataError(f"synthetic faces: {words}")
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


class RenderedSwaps(NamedTuple):
    """n swaps of held-out people of whom everything is known; every triple is (source, target, true swap)."""

    rows: Int[np.ndarray, "n 2"]  # of source and target among the held-out photos, which are sorted by person
    people: Int[np.ndarray, "n 2"]  # number of the source's and the target's person, from 0
    factors: tuple[world.Factors, world.Factors, world.Factors]
    images: tuple[Float[np.ndarray, "n s s 3"], Float[np.ndarray, "n s s 3"], Float[np.ndarray, "n s s 3"]]  # [-1, 1]


def swaps_with_truth(
    fields: Mapping[str, Any], size: int, draw: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
) -> RenderedSwaps:
    """Renders source, target and exact swap of held-out pairs of the synthetic world that `fields` (`WORLD`) describe.

    draw(labels): from the person of each held-out photo to rows of sources and targets. Raises DataError where `draw`
    finds no pair.
    """
    people, photos = fields["held_out_people"], fields["photos"]
    factors = synthetic_factors("test", people, photos, fields["seed"], fields["spread"])
    labels = np.repeat(np.arange(people), photos)
    source, target = draw(labels)
    if not len(source):
        raise DataError(f"the synthetic world has {people} held-out people; wanted at least 2")
    of_source, of_target = (world.Factors(*(f[rows] for f in factors)) for rows in (source, target))
    triple = of_source, of_target, world.swap_truth(of_source, of_target)
    of_source_image, of_target_image, truth_image = (world.render_many(one, size) for one in triple)
    return RenderedSwaps(
        np.stack([source, target], axis=1),
        np.stack([labels[source], labels[target]], axis=1),
        triple,
        (of_source_image, of_target_image, truth_image),
    )

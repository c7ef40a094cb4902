"""Rendered faces of the synthetic world as a data set."""

import functools
import io
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped, UInt8

from smoothswap_jax.data.dataset import SPLITS, DataError, Faces, check_split
from smoothswap_jax.faces.photos import to_uint8
from smoothswap_jax.runtime.files import write_atomically
from smoothswap_jax.runtime.user_folders import NoHome, expanded
from smoothswap_jax.synthetic import world

log = logging.getLogger(__name__)

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


def from_synthetic(
    split: str,
    size: int,
    people: int,
    photos: int,
    seed: int,
    spread: float = 1.0,
    cache: str | Path = "",
    look_alikes: int = 1,
) -> Faces:
    """Renders `people` synthetic identities with `photos` images each; splits share no identity.

    cache: a folder that keeps the images for the next time; "": none. look_alikes: of `synthetic_factors`, and the
    people of whom are drawn together. Raises DataError for more than fit into memory.
    """
    if words := too_many(people, photos, size):
        raise DataError(f"synthetic faces: {words}")
    images = render_kept(synthetic_factors(split, people, photos, seed, spread, look_alikes), size, cache)
    names = [f"{split}-{i:05d}" for i in range(people)]
    files = [f"{name}/{k:03d}" for name in names for k in range(photos)]
    return Faces(size, np.arange(people + 1) * photos, names, files, images=images, together=look_alikes)


def synthetic_factors(
    split: str, people: int, photos: int, seed: int, spread: float = 1.0, look_alikes: int = 1
) -> world.Factors:
    """Factors of people * photos faces, sorted by identity; every photo has its own attributes.

    `spread` scales the deviation of expression, pose and light from their means; 1 is all that portraits have.
    So many people in a row as `look_alikes` says differ in shape alone; `people` is a multiple of it.
    """
    check_split(split)
    key = jax.random.fold_in(jax.random.key(seed), SPLITS.index(split))
    identity = world.look_alikes(world.sample_identity(jax.random.fold_in(key, 0), people), look_alikes)
    return world.sample_photos(jax.random.fold_in(key, 1), jnp.repeat(identity, photos, axis=0), spread)


def render_many(factors: world.Factors, size: int, chunk: int = world.CHUNK) -> Float[np.ndarray, "n size size 3"]:
    """Any number of faces, in [-1, 1]."""
    return in_chunks(lambda some: world.render(*some, size=size), factors, chunk)


def render_bytes(factors: world.Factors, size: int) -> UInt8[np.ndarray, "n size size 3"]:
    """Any number of faces as bytes, with a fifth of the memory of `render_many` and a conversion."""
    return in_chunks(lambda some: to_uint8(np.asarray(world.render(*some, size=size))), factors)


def render_kept(factors: world.Factors, size: int, cache: str | Path) -> UInt8[np.ndarray, "n size size 3"]:
    """Any number of faces as bytes; `cache`: a folder that keeps them for the next time, or "" for none."""
    if not cache:
        return render_bytes(factors, size)
    made_of = [_renderer(), str(size), *(sha256(np.asarray(values)).hexdigest() for values in factors)]
    try:
        folder = expanded(cache)
    except NoHome as error:
        log.warning("rendered faces are not kept for the next time: %s", error)
        return render_bytes(factors, size)
    path = folder / f"{sha256(' '.join(made_of).encode()).hexdigest()[:32]}.npy"
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        log.warning("%s: is not used: %s", path, error)
    log.info("rendering %s faces of %d px, which %s keeps for the next time", f"{len(factors[0]):,}", size, path.parent)
    images = render_bytes(factors, size)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        np.save(file, images)
        write_atomically(path, file.getvalue())
    except OSError as error:
        log.warning("rendered faces are not kept for the next time: %s", error)
    return images


@functools.cache
def _renderer() -> str:
    """Identifies all that decides how factors look: the files of the world."""
    folder = package_files("smoothswap_jax.synthetic")
    contents = {part.name: part.read_bytes() for part in folder.iterdir() if part.name.endswith((".py", ".npz"))}
    return sha256(b"".join(sha256(contents[name]).digest() for name in sorted(contents))).hexdigest()


def in_chunks(
    apply: Callable[[world.Factors], Shaped[Array | np.ndarray, "k ..."]],
    factors: world.Factors,
    chunk: int = world.CHUNK,
) -> Shaped[np.ndarray, "n ..."]:
    """`apply` to any number of faces, in chunks of one size, the last of which is filled up with its last face.

    A CPU renders one image at a time, so it works on as many chunks at once as it has cores.
    """
    n = len(factors.identity)
    factors = jax.tree.map(np.asarray, factors)

    def of_chunk(start: int) -> Shaped[np.ndarray, "k ..."]:
        rows = np.minimum(np.arange(start, start + chunk), n - 1)
        return np.asarray(apply(jax.tree.map(lambda values: values[rows], factors)))

    first = of_chunk(0)  # by itself: threads that start together would all compile
    with ThreadPoolExecutor(os.cpu_count() or 1 if jax.default_backend() == "cpu" else 1) as pool:
        return np.concatenate([first, *pool.map(of_chunk, range(chunk, n, chunk))])[:n]


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
    of_source_image, of_target_image, truth_image = (render_many(one, size) for one in triple)
    return RenderedSwaps(
        np.stack([source, target], axis=1),
        np.stack([labels[source], labels[target]], axis=1),
        triple,
        (of_source_image, of_target_image, truth_image),
    )

"""A set of aligned faces sorted by identity, wherever they come from: rendered, a folder, or a tfds dataset."""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from smoothswap_jax.data.sampling import Index

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
SPLITS = ("train", "test")


class DataError(ValueError):
    """The data a config points to cannot be used as it is."""


Rows = Sequence[int] | Int[np.ndarray, "m"]


class SizeError(DataError):
    """Faces are of another size than the config says: a mistake of the config, not of one file."""


class ShardError(DataError):
    """A file of many examples is gone or broken as a whole: no others stand in for so many."""


@dataclass(frozen=True)
class Faces:
    """Aligned faces, sorted by identity, with identity i owning examples starts[i] ... starts[i + 1] - 1.

    Either `images` holds them all, uint8 [n, size, size, 3] RGB, or `read` gives the encoded files of some examples.
    `files` names the examples and `people` the identities, for reports. A mixture has the identities of several data
    sets one after the other, `sets` says how many of each, and `weights` how often each is drawn.
    """

    size: int
    starts: Int[np.ndarray, "identities_1"]
    people: Sequence[str]
    files: Sequence[str]
    images: UInt8[np.ndarray, "n h w 3"] | None = None
    read: Callable[[Rows], list[bytes]] = lambda rows: []
    sets: tuple[int, ...] = ()
    weights: tuple[float, ...] = (1.0,)

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def labels(self) -> Int[np.ndarray, "n"]:
        """Identity index of every example."""
        return np.repeat(np.arange(len(self.people), dtype=np.int32), np.diff(self.starts))

    @property
    def index(self) -> Index:
        """What sampling has to know."""
        return Index(np.asarray(self.starts), self.sets or (len(self.people),), self.weights)


def mixture(parts: Sequence[Faces], weights: Sequence[float]) -> Faces:
    """Several data sets that are read from files as one, each drawn with its weight.

    Identities of different sets count as different people. Raises DataError for weights that are not one positive
    number a set.
    """
    if len(weights) != len(parts) or min(weights) <= 0:
        raise DataError(f"data.weights {tuple(weights)}: wanted a positive number for each of {len(parts)} data sets")
    if len(parts) == 1:
        return parts[0]
    firsts = np.cumsum([0, *(len(part) for part in parts)])
    starts = np.concatenate(
        [parts[0].starts[:1], *(part.starts[1:] + first for part, first in zip(parts, firsts, strict=False))]
    )
    chained = lambda lists: Chain([len(items) for items in lists], lambda part, place: lists[part][place])

    def read(rows: Rows) -> list[bytes]:
        found: list[bytes] = [b""] * len(rows)
        owner = np.searchsorted(firsts, rows, side="right") - 1
        for number in np.unique(owner):
            places = np.flatnonzero(owner == number)
            own = np.asarray(rows)[places] - firsts[number]
            for place, data in zip(places, parts[number].read(own), strict=True):
                found[place] = data
        return found

    return Faces(
        parts[0].size,
        starts,
        chained([part.people for part in parts]),
        chained([part.files for part in parts]),
        read=read,
        sets=tuple(len(part.people) for part in parts),
        weights=tuple(float(weight) for weight in weights),
    )


class Chain(Sequence[str]):
    """Several sequences as one, without copying them: names of millions of examples are read when asked for."""

    def __init__(self, lengths: Sequence[int], get: Callable[[int, int], str]):
        self.ends = np.cumsum(lengths)
        self.get = get

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, place):
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        if not 0 <= place < len(self):
            raise IndexError(place)
        part = int(np.searchsorted(self.ends, place, side="right"))
        return self.get(part, int(place) - (int(self.ends[part - 1]) if part else 0))


def decode(data: bytes, size: int, name: str) -> UInt8[np.ndarray, "size size 3"]:
    """RGB pixels of an aligned face file. Raises DataError naming the file if it cannot be decoded or has another
    size: faces are resized once, when they are prepared."""
    try:
        image = Image.open(io.BytesIO(data)).convert("RGB")
    except Exception as error:
        raise DataError(f"{name}: not a readable image ({error})") from error
    if image.size != (size, size):
        raise SizeError(
            f"{name}: found {image.width}x{image.height} pixels, wanted {size}x{size} (config.data.size); "
            f"`smoothswap prepare --aligned --size={size}` resizes aligned faces"
        )
    return np.asarray(image)


def from_folder(root: str | Path, split: str, size: int, held_out_people: int) -> Faces:
    """Aligned photos DIR/<person>/<photo>. People, not photos, are split: the same person is never in both splits.

    The test people are the `held_out_people` ones whose names have the smallest hash, so the choice does not depend on
    the order of the disk, and adding people moves few.

    Raises:
      DataError: if the folder is missing or leaves a split without people.
    """
    check_split(split)
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f"data.dir {str(root)!r}: no such folder (want DIR/<person>/<photo> of aligned faces)")
    photos = {
        person.name: sorted(p for p in person.iterdir() if p.suffix.lower() in PHOTO_SUFFIXES)
        for person in sorted(root.iterdir())
        if person.is_dir() and not person.name.startswith(".")
    }
    photos = {person: paths for person, paths in photos.items() if paths}
    by_hash = sorted(photos, key=lambda person: hashlib.sha256(person.encode()).digest())
    chosen = set(by_hash[:held_out_people] if split == "test" else by_hash[held_out_people:])
    if not chosen:
        raise DataError(f"{root}: {len(photos)} people with photos, {held_out_people} held out: none for {split!r}")
    paths = [path for person, paths in photos.items() if person in chosen for path in paths]
    people = [person for person in photos if person in chosen]
    starts = np.cumsum([0, *(len(photos[person]) for person in people)])
    files = [f"{path.parent.name}/{path.name}" for path in paths]
    return Faces(size, starts, people, files, read=lambda chosen: [paths[i].read_bytes() for i in chosen])


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
    from smoothswap_jax.data import synthetic

    check_split(split)
    key = jax.random.fold_in(jax.random.key(seed), SPLITS.index(split))
    identity = synthetic.sample_identity(jax.random.fold_in(key, 0), people)
    expression, pose, light, background = synthetic.sample_attributes(jax.random.fold_in(key, 1), people * photos)
    identity = jnp.repeat(identity, photos, axis=0)
    return synthetic.Factors(identity, spread * expression, spread * pose, spread * light, background)


def render_many(factors, size: int, chunk: int = 64) -> Float[np.ndarray, "n size size 3"]:
    """Renders any number of faces in chunks of one compiled size."""
    from smoothswap_jax.data import synthetic

    n = len(factors.identity)
    draw = jax.jit(synthetic.render, static_argnames="size")
    parts = []
    for start in range(0, n, chunk):
        rows = np.minimum(np.arange(start, start + chunk), n - 1)
        parts.append(np.asarray(draw(*(np.asarray(f)[rows] for f in factors), size=size)))
    return np.concatenate(parts)[:n]


def to_uint8(images: Float[np.ndarray, "*b h w c"]) -> UInt8[np.ndarray, "*b h w c"]:
    """[-1, 1] to 0 ... 255, rounded and clipped."""
    return np.clip(np.rint((np.asarray(images) + 1.0) * 127.5), 0, 255).astype(np.uint8)


def to_float(images):
    """0 ... 255 to [-1, 1] float32, numpy or JAX."""
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1.0)


def check_split(split: str) -> None:
    """Raises DataError for another split than SPLITS."""
    if split not in SPLITS:
        raise DataError(f"split {split!r}: want one of {SPLITS}")

"""A set of aligned faces sorted by identity, wherever they come from: rendered, a folder, or a tfds dataset."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from smoothswap_jax.data.sampling import Index

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


def check_split(split: str) -> None:
    """Raises DataError for another split than SPLITS."""
    if split not in SPLITS:
        raise DataError(f"split {split!r}: want one of {SPLITS}")

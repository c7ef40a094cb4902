"""A set of aligned faces sorted by identity, wherever they come from: rendered, a folder, or a tfds dataset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

from smoothswap_jax.data.sampling import Index
from smoothswap_jax.faces.photos import MAX_PIXELS, PhotoError, open_image, photo_from_pil

SPLITS = ("train", "test")


class DataError(ValueError):
    """The data a config points to cannot be used as it is."""


Rows = Sequence[int] | Int[np.ndarray, "m"]


class SizeError(DataError):
    """The faces have another size than the config says: a mistake in the config, not in one file."""


class ShardError(DataError):
    """A file of many examples is missing or damaged as a whole: too many to be replaced by others."""


@dataclass(frozen=True)
class Faces:
    """Aligned faces, sorted by identity: identity i has the examples starts[i] ... starts[i + 1] - 1.

    Either `images` holds all of them, uint8 [n, size, size, 3] RGB, or `read` returns the encoded files of some rows.
    For reports, `files` names the examples and `people` the identities. A mixture concatenates the identities of
    several data sets; `sets` holds the number of each set's identities, `weights` how often each set is drawn. So many
    identities in a row as `together` says belong together.
    """

    size: int
    starts: Int[np.ndarray, "identities_1"]
    people: Sequence[str]
    files: Sequence[str]
    images: UInt8[np.ndarray, "n h w 3"] | None = None
    read: Callable[[Rows], list[bytes]] = lambda rows: []
    sets: tuple[int, ...] = ()
    weights: tuple[float, ...] = (1.0,)
    together: int = 1

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def labels(self) -> Int[np.ndarray, "n"]:
        """The identity index of every example."""
        return np.repeat(np.arange(len(self.people), dtype=np.int32), np.diff(self.starts))

    @property
    def index(self) -> Index:
        """What sampling needs to know."""
        return Index(np.asarray(self.starts), self.sets or (len(self.people),), self.weights, self.together)


def mixture(parts: Sequence[Faces], weights: Sequence[float]) -> Faces:
    """Combines data sets that are read from files into one, from which each is drawn with its weight.

    Identities of different sets count as different people. Raises DataError unless there is one positive weight per
    set.
    """
    if len(weights) != len(parts) or min(weights) <= 0:
        raise DataError(f"data.weights {tuple(weights)}: wanted a positive number for each of {len(parts)} data sets")
    if len(parts) == 1:
        return parts[0]
    firsts = np.cumsum([0, *(len(part) for part in parts)])
    starts = np.concatenate(
        [parts[0].starts[:1], *(part.starts[1:] + first for part, first in zip(parts, firsts, strict=False))]
    )

    def chained(lists: Sequence[Sequence[str]]) -> Chain:
        return Chain([len(items) for items in lists], lambda part, place: lists[part][place])

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
    """Several sequences as one, without copying them: names of millions of examples are read on demand.

    `get(part, place)` returns an element of one of them; `lengths` are theirs.
    """

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
    """RGB pixels of an aligned face file.

    Raises DataError, which names the file, if it cannot be decoded, and SizeError if it has another size: faces are
    resized once, when they are prepared.
    """
    pixels = pixels_of_file(data, name)
    height, width = pixels.shape[:2]
    if (height, width) != (size, size):
        raise SizeError(
            f"{name}: found {width}x{height} pixels, wanted {size}x{size} (config.data.size); "
            f"`smoothswap prepare --aligned --size={size}` resizes aligned faces"
        )
    return pixels


AS_STORED = ("JPEG", "PNG", "WEBP")
"""Formats of prepared faces: their values are taken as they are, without looking for profiles or turns."""
DEEP = ("I", "I;16", "I;16B", "F")
"""Pillow's modes of more than 8 bits, which its own conversion to RGB would cut off at 255."""


def pixels_of_file(data: bytes, name: str) -> UInt8[np.ndarray, "h w 3"]:
    """RGB pixels of a file of any format and size. Raises DataError, which names the file, if it cannot be decoded."""
    try:
        image = open_image(data, name)
        if image.width * image.height > MAX_PIXELS:
            raise PhotoError(f"{name}: found {image.width}x{image.height} pixels; wanted an aligned face")
        as_stored = image.format in AS_STORED and image.mode not in DEEP
        return np.asarray(image.convert("RGB")) if as_stored else photo_from_pil(image, name)
    except PhotoError as error:
        raise DataError(str(error)) from error
    except Exception as error:
        raise DataError(f"{name}: not a readable image ({error})") from error


def check_split(split: str) -> None:
    """Raises DataError for a split that is not in SPLITS."""
    if split not in SPLITS:
        raise DataError(f"split {split!r}: wanted one of {SPLITS}")

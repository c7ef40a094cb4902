"""Reading examples, and replacing unreadable ones in the same way on every host and in every run."""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Int, UInt8

from smoothswap_jax.data.dataset import DataError, Faces, Rows, ShardError, SizeError, decode
from smoothswap_jax.data.sampling import labels_of
from smoothswap_jax.faces import photos

log = logging.getLogger(__name__)
LIMIT = 100
"""So many consecutive unreadable examples mean that the data set is broken, not a few records."""


class Reader:
    """Reads examples of `faces` by row; another one replaces an example that cannot be read.

    The replacement depends only on the row: it is the next readable photo of the same person, cyclically, or of the
    people that follow. So a batch remains a function of (data, seed, step).
    """

    def __init__(self, faces: Faces):
        self.faces = faces
        self.unreadable: dict[int, str] = {}
        """Row -> reason, of all that were found so far."""

    def skip(self, row: int, reason: str) -> None:
        """Records an unreadable example; it is replaced from now on."""
        if row not in self.unreadable:
            self.unreadable[row] = reason
            count = len(self.unreadable)
            if count <= 10 or count % 100 == 0:
                log.warning("replaced an unreadable example, number %d so far: %s", count, reason)

    def read(self, rows: Rows) -> tuple[list[bytes], Int[np.ndarray, "m"]]:
        """The encoded images, and the rows that they actually come from.

        Raises DataError if LIMIT consecutive examples are unreadable, and ShardError if a shard is lost.
        """
        wanted = np.asarray(rows)
        if not any(row in self.unreadable for row in wanted.tolist()):
            with contextlib.suppress(Exception):  # one is unreadable; reading one by one finds which
                return self.faces.read(wanted), wanted
        found = [self._one(int(row), lambda data, _: data) for row in wanted]
        return [data for data, _ in found], np.array([row for _, row in found], wanted.dtype)

    def decoded(self, row: int) -> tuple[UInt8[np.ndarray, "size size 3"], int]:
        """The pixels of an example or its replacement, and the row that they actually come from."""
        return self._one(row, lambda data, row: decode(data, self.faces.size, self.name(row)))

    def name(self, row: int) -> str:
        """The example's file, or its number if even that cannot be read."""
        try:
            return self.faces.files[row]
        except Exception:
            return f"record {row}"

    def _one(self, wanted: int, use: Callable):
        for row in candidates(wanted, self.faces):
            if row in self.unreadable:
                continue
            try:
                return use(self.faces.read([row])[0], row), row
            except (SizeError, ShardError):
                raise
            except Exception as error:
                self.skip(row, str(error) if isinstance(error, DataError) else f"{self.name(row)}: {error}")
        reason = self.unreadable.get(wanted, "")
        raise DataError(f"{LIMIT} examples in a row are unreadable, from number {wanted} on ({reason})")


def candidates(row: int, faces: Faces) -> Iterator[int]:
    """The example, then its possible replacements, LIMIT in all: the person's others, then the following ones."""
    person = int(labels_of(np.array([row]), faces.starts)[0])
    start, end = int(faces.starts[person]), int(faces.starts[person + 1])
    count = min(end - start, LIMIT)
    for k in range(count):
        yield start + (row - start + k) % (end - start)
    for k in range(LIMIT - count):
        yield (end + k) % len(faces)


def in_memory(faces: Faces) -> tuple[Faces, Int[np.ndarray, "n"]]:
    """The same faces with every image decoded, and for each row the one that its image actually comes from."""
    if faces.images is not None:
        return faces, np.arange(len(faces), dtype=np.int32)
    reader = Reader(faces)
    images = np.empty((len(faces), faces.size, faces.size, 3), np.uint8)
    shown = np.empty(len(faces), np.int32)
    for row in range(len(faces)):
        images[row], shown[row] = reader.decoded(row)
    return dataclasses.replace(faces, images=images), shown


def float_images(faces: Faces, rows: np.ndarray) -> Float[np.ndarray, "n size size 3"]:
    """The images of some rows, or their replacements, in [-1, 1]."""
    if faces.images is not None:
        return photos.to_float(faces.images[rows])
    reader = Reader(faces)
    return photos.to_float(np.stack([reader.decoded(int(row))[0] for row in rows]))

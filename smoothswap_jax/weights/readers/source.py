"""The ground the readers stand on: one error, a stretch of a file that cannot be overread, a bound on memory.

A check that fails raises `Unfit(found, wanted)` where it knows no names; `naming` turns that into the
`WeightFileError` that also says which file, and which field or tensor of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

SLACK = 64 << 20
GROWTH = 16
CHUNK = 1 << 20  # bytes moved at a time where a stream is only looked at


class WeightFileError(ValueError):
    """A weight file could not be read: the text names the file, the field, what was found and what is wanted."""


class Unfit(Exception):
    """Something is not as it must be; `naming` adds where. Never leaves this package."""

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__(f"found {found}; wanted {wanted}")


@contextmanager
def naming(file: str, field: str = "") -> Iterator[None]:
    """Turns an `Unfit` into a `WeightFileError` about `field` of `file`; the innermost naming is the one told."""
    try:
        yield
    except Unfit as fault:
        raise WeightFileError(f"{file}: {field}: {fault}" if field else f"{file}: {fault}") from None


def shown(value: object) -> str:
    """A value of an untrusted file for an error text: short, printable, and never a walk through a container."""
    if isinstance(value, str | bytes):
        text = ascii(value[:100])
        return f"{text}..." if len(value) > 100 else text
    if isinstance(value, bool | float | None):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if abs(value) < 1 << 128 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, list | tuple) and len(value) <= 8 and all(isinstance(item, int) for item in value):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, list | tuple | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


class Budget:
    """How many bytes a file may still make us hold.

    Real weights take about as much memory as their file. Deflated archives, expanded (stride 0) and overlapping
    tensors can take more, a hostile file any amount, so the sum is held to `SLACK + GROWTH * file size`, and to
    the caller's `max_bytes`.
    """

    def __init__(self, file_bytes: int, max_bytes: int) -> None:
        self.limit = min(max_bytes, SLACK + GROWTH * file_bytes)
        self.left = self.limit

    def take(self, size: int) -> None:
        """Counts `size` bytes that are about to be held, or refuses them before they are."""
        if size > self.left:
            raise Unfit(
                f"contents that take more than {self.limit:,} bytes of memory",
                "less: the bound follows from the file's own size and from max_bytes",
            )
        self.left -= size


class Source:
    """`size` bytes of a file from `start` on, read forwards; nothing outside of them is ever read.

    Bytes are asked for by lengths that the file itself claims, so each length is compared with what is left
    before anything is allocated. The file is read, not mapped: a mapped file that shrinks kills the process.
    """

    def __init__(self, file: BinaryIO, start: int, size: int, budget: Budget) -> None:
        self.file, self.start, self.size, self.budget = file, start, size, budget
        self.position = 0

    @property
    def left(self) -> int:
        return self.size - self.position

    def _claim(self, size: int) -> None:
        if not 0 <= size <= self.left:
            raise Unfit(f"a claim to {shown(size)} bytes where {self.left:,} are left", "a whole, undamaged file")
        self.budget.take(size)
        self.file.seek(self.start + self.position)
        self.position += size

    def read(self, size: int) -> bytes:
        """The next `size` bytes."""
        self._claim(size)
        data = self.file.read(size)
        if len(data) != size:
            raise Unfit("a file that shrank while it was read", "a file at rest")
        return data

    def number(self, size: int) -> int:
        """The next `size` bytes as an unsigned little-endian integer."""
        return int.from_bytes(self.read(size), "little")

    def line(self, limit: int) -> bytes:
        """The next line without its end; at most `limit` bytes."""
        self.file.seek(self.start + self.position)
        line = self.file.readline(min(limit, self.left))
        self.budget.take(len(line))
        self.position += len(line)
        if not line.endswith(b"\n"):
            raise Unfit(f"a line without end within {len(line):,} bytes", "a whole, undamaged file")
        return line[:-1]

    def fill(self, array: np.ndarray) -> None:
        """Reads the next bytes into a contiguous array; the caller has checked that there are as many."""
        size = array.nbytes
        self._claim(size)
        if size and self.file.readinto(memoryview(array.reshape(-1).view(np.uint8))) != size:  # type: ignore[attr-defined]
            raise Unfit("a file that shrank while it was read", "a file at rest")

    def skip(self, size: int) -> Source:
        """The next `size` bytes as a source of their own, unread."""
        if not 0 <= size <= self.left:
            raise Unfit(f"a claim to {shown(size)} bytes where {self.left:,} are left", "a whole, undamaged file")
        part = Source(self.file, self.start + self.position, size, self.budget)
        self.position += size
        return part

    def part(self, start: int, size: int) -> Source:
        """`size` bytes from `start` (counted from this source's own) as a source of their own."""
        if not (0 <= start <= self.size and 0 <= size <= self.size - start):
            raise Unfit(
                f"a claim to {shown(size)} bytes from byte {shown(start)} on, of {self.size:,}",
                "a whole, undamaged file",
            )
        return Source(self.file, self.start + start, size, self.budget)

    def chunks(self) -> Iterator[bytes]:
        """What is left, a piece at a time; the pieces are not counted, for they are not kept."""
        while self.left:
            self.file.seek(self.start + self.position)
            data = self.file.read(min(CHUNK, self.left))
            if not data:
                raise Unfit("a file that shrank while it was read", "a file at rest")
            self.position += len(data)
            yield data

"""A stretch of a file that cannot be read past its end, and a bound on the memory that the file's contents may take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from smoothswap_jax.weights.readers.errors import Malformed, shown

SLACK = 64 << 20  # bytes
GROWTH = 16
CHUNK = 1 << 20  # bytes read at a time where contents are not kept


class Budget:
    """How many more bytes of memory a file's contents may take.

    Real weights take about as much memory as their file. Deflated archives, expanded (stride 0) and overlapping
    tensors can take more, and a hostile file any amount, so the total is limited to `SLACK + GROWTH * file size` and
    to the caller's `max_bytes`.
    """

    def __init__(self, file_bytes: int, max_bytes: int) -> None:
        self.limit = min(max_bytes, SLACK + GROWTH * file_bytes)
        self.left = self.limit

    def take(self, size: int) -> None:
        """Counts `size` bytes before they are allocated. Raises Malformed where the limit is exceeded."""
        if size > self.left:
            raise Malformed(
                f"contents that take more than {self.limit:,} bytes of memory",
                "less: the bound follows from the file's own size and from max_bytes",
            )
        self.left -= size


class ByteRange:
    """`size` bytes of a file from `start` on, read forwards; nothing outside of them is ever read.

    Lengths come from the file itself, so each is compared with what is left before anything is allocated. The file is
    read, not mapped: a mapped file that shrinks kills the process.
    """

    def __init__(self, file: BinaryIO, start: int, size: int, budget: Budget) -> None:
        self.file, self.start, self.size, self.budget = file, start, size, budget
        self.position = 0

    @property
    def left(self) -> int:
        return self.size - self.position

    def _check_left(self, size: int) -> None:
        if not 0 <= size <= self.left:
            raise Malformed(
                f"a claimed length of {shown(size)} bytes where {self.left:,} are left", "a whole, undamaged file"
            )

    def _claim(self, size: int) -> None:
        self._check_left(size)
        self.budget.take(size)
        self.file.seek(self.start + self.position)
        self.position += size

    def read(self, size: int) -> bytes:
        """The next `size` bytes."""
        self._claim(size)
        data = self.file.read(size)
        if len(data) != size:
            raise Malformed("a file that shrank while it was read", "a file that nothing writes to")
        return data

    def number(self, size: int) -> int:
        """The next `size` bytes as an unsigned little-endian integer."""
        return int.from_bytes(self.read(size), "little")

    def text(self, size: int, most: int, what: str = "text") -> str:
        """The next `size` bytes, of which there may be at most `most`, as UTF-8. what: they are, for errors."""
        if size > most:
            raise Malformed(f"a {what} of {size:,} bytes", f"at most {most:,}")
        data = self.read(size)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed(f"a {what} that is not utf-8: {shown(data)}", "an undamaged file") from None

    def line(self, limit: int) -> bytes:
        """The next line of at most `limit` bytes, without its newline."""
        self.file.seek(self.start + self.position)
        line = self.file.readline(min(limit, self.left))
        self.budget.take(len(line))
        self.position += len(line)
        if not line.endswith(b"\n"):
            raise Malformed(f"a line that does not end within {len(line):,} bytes", "a whole, undamaged file")
        return line[:-1]

    def fill(self, array: np.ndarray) -> None:
        """Reads the next bytes into a contiguous array."""
        size = array.nbytes
        self._claim(size)
        if size and self.file.readinto(memoryview(array.reshape(-1).view(np.uint8))) != size:  # type: ignore[attr-defined]
            raise Malformed("a file that shrank while it was read", "a file that nothing writes to")

    def skip(self, size: int) -> ByteRange:
        """Skips the next `size` bytes and returns them, unread, as a range of their own."""
        self._check_left(size)
        part = ByteRange(self.file, self.start + self.position, size, self.budget)
        self.position += size
        return part

    def part(self, start: int, size: int) -> ByteRange:
        """`size` bytes from `start`, counted from this range's own start, as a range of their own."""
        if not (0 <= start <= self.size and 0 <= size <= self.size - start):
            raise Malformed(
                f"a claimed range of {shown(size)} bytes from byte {shown(start)} on, of {self.size:,}",
                "a whole, undamaged file",
            )
        return ByteRange(self.file, self.start + start, size, self.budget)

    def chunks(self) -> Iterator[bytes]:
        """What is left, a piece at a time. Not counted in the budget, because callers do not keep the pieces."""
        while self.left:
            self.file.seek(self.start + self.position)
            data = self.file.read(min(CHUNK, self.left))
            if not data:
                raise Malformed("a file that shrank while it was read", "a file that nothing writes to")
            self.position += len(data)
            yield data

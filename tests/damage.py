"""Seeded damage to the bytes of photos and videos, as cards, cables and people who mean harm do it."""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator

import numpy as np

KINDS = (
    *("truncated", "flipped in the head", "flipped in the body", "zeroed", "shifted", "spliced", "lying size"),
    *("grown", "empty"),
)
HEAD = 512
"""Bytes at the start that most headers lie within."""
SIZES = (0, 1, 7, 255, 3000, 16_383, 65_535)
"""Of a side, in pixels, that a file says falsely."""


def damaged(data: bytes, kind: str, rng: np.random.Generator, other: bytes, size: tuple[int, int] = (0, 0)) -> bytes:
    """What becomes of a file.

    Args:
      other: another file, whose second half takes the place of this one's.
      size: width and height of the picture, which are looked for where the file lies of them.
    """
    place = int(rng.integers(1, len(data)))
    length = int(rng.integers(1, 200))
    if kind == "truncated":
        return data[:place]
    if kind.startswith("flipped"):
        return _flipped(data, rng, place if "body" in kind else 0)
    if kind == "zeroed":
        return data[:place] + bytes(len(data[place : place + length])) + data[place + length :]
    if kind == "shifted":  # some bytes are missing
        return data[:place] + data[place + length :]
    if kind == "spliced":
        return data[:place] + other[len(other) // 2 :]
    if kind == "lying size":
        return _of_another_size(data, rng, size)
    if kind == "grown":
        return data + rng.bytes(length) + data[:place]
    return b""


def _flipped(data: bytes, rng: np.random.Generator, begin: int) -> bytes:
    """One to eight bits are changed, of those from `begin` on or of the head."""
    changed = bytearray(data)
    last = len(data) if begin else min(HEAD, len(data))
    for place in rng.integers(begin, last, int(rng.integers(1, 9))):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _of_another_size(data: bytes, rng: np.random.Generator, size: tuple[int, int]) -> bytes:
    """Wherever the size stands, another one does; PNG's checksum is made to agree."""
    width, height = size
    new_width, new_height = (int(rng.choice((old, *SIZES))) for old in size)
    if (new_width, new_height) == size:
        new_width = 3000
    for old, new in zip(_codings(width, height), _codings(new_width, new_height), strict=True):
        data = data.replace(old, new, 1)
    if data.startswith(b"\x89PNG"):
        data = data[:29] + struct.pack(">I", zlib.crc32(data[12:29])) + data[33:]
    return data


def _codings(width: int, height: int) -> Iterator[bytes]:
    """How the headers of files write a size: JPEG, GIF and WebP, AVI and BMP, PNG and HEIF, WebP, WebP lossless, TIFF,
    MP4."""
    yield struct.pack(">HH", height, width)
    yield struct.pack("<HH", width, height)
    yield struct.pack("<II", width, height)
    yield struct.pack(">II", width, height)
    less = [max(side, 1) - 1 for side in (width, height)]
    yield b"".join(side.to_bytes(3, "little") for side in less)
    yield b"\x2f" + struct.pack("<I", (less[0] & 0x3FFF) | (less[1] & 0x3FFF) << 14)[:3]
    for tag, side in ((256, width), (257, height)):
        yield struct.pack("<HHIH", tag, 3, 1, side)
        yield struct.pack("<HHII", tag, 4, 1, side)
    yield struct.pack(">HH", width, height)


def with_lying_times(data: bytes, rng: np.random.Generator) -> bytes:
    """An MP4 whose frames take another time, or whose clocks tick otherwise, than when it was made."""
    changed = bytearray(data)
    for box, place in ((b"mvhd", 12), (b"mdhd", 12), (b"stts", 12), (b"ctts", 12)):
        at = data.find(box)
        if at >= 0 and (box == b"stts" or rng.integers(2)):
            struct.pack_into(">I", changed, at + 4 + place, int(rng.choice((0, 1, 7, 90_000, 2**31 - 1, 2**32 - 1))))
    return bytes(changed)


def without_index(data: bytes) -> bytes:
    """An MP4 whose index is lost."""
    return data.replace(b"moov", b"none")


def table(found: Counter[tuple[str, str]]) -> str:
    """How many of each kind came to which end, as lines of text."""
    ends = sorted({end for _, end in found})
    lines = [f"{'':24}" + "".join(f"{end:>14}" for end in ends)]
    for kind in dict.fromkeys(kind for kind, _ in found):
        lines.append(f"{kind:24}" + "".join(f"{found[kind, end] or '':>14}" for end in ends))
    lines.append(f"{'all':24}" + "".join(f"{sum(n for (_, one), n in found.items() if one == end):14}" for end in ends))
    return "\n".join(lines)

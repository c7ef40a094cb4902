"""The pictures of a GIF as browsers put them together (GIF89a specification).

Pillow decodes what each frame brings. Put together by Pillow, the picture would grow with a frame that reaches beyond
it, and places without a frame would have a colour of the palette where no colour is transparent.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from PIL import Image

from smoothswap_jax.faces.kinds import PILLOW_FAULTS
from smoothswap_jax.faces.photos import MAX_PIXELS

_CLEAR, _RESTORE = 2, 3
"""What becomes of a frame's place before the next is shown; else it stays."""
_EXTENSION, _FRAME, _END, _CONTROL = 0x21, 0x2C, 0x3B, 0xF9


class _Part(NamedTuple):
    """What a frame brings."""

    place: tuple[int, int]
    size: tuple[int, int]
    disposal: int
    hundredths: int
    file: bytes
    """A GIF of it alone."""


def gif_pictures(data: bytes, size: tuple[int, int]) -> Iterator[tuple[Image.Image, Fraction]]:
    """Each picture, RGBA, and for how many milliseconds it is shown. It holds until the next one comes.

    A frame that is damaged, and all after it, do not come.

    Args:
      data: the file. size: width and height of the pictures.
    """
    canvas = Image.new("RGBA", size)
    for part in _parts(data):
        try:
            new = _decoded(part)
        except PILLOW_FAULTS:
            return
        before = canvas.copy() if part.disposal == _RESTORE else None
        canvas.paste(new, part.place, new)
        yield canvas, Fraction(10 * part.hundredths)
        if before is not None:
            canvas = before
        elif part.disposal == _CLEAR:
            canvas.paste((0, 0, 0, 0), (*part.place, part.place[0] + part.size[0], part.place[1] + part.size[1]))


def _decoded(part: _Part) -> Image.Image:
    """RGBA. Raises what Pillow raises, and ValueError for a frame that is too large."""
    if part.size[0] * part.size[1] > MAX_PIXELS:
        raise ValueError(f"found a frame of {part.size[0]}x{part.size[1]} pixels")
    with Image.open(io.BytesIO(part.file)) as image:
        return image.convert("RGBA")


def _parts(data: bytes) -> Iterator[_Part]:
    """Up to where the file ends, which may be in the midst of the last."""
    start = 13 + _palette_bytes(data[10])
    control, at = bytes(4), start
    while at < len(data) and data[at] != _END:
        if data[at] == _EXTENSION:
            if data[at + 1 : at + 3] == bytes((_CONTROL, 4)) and at + 7 <= len(data):
                control = data[at + 3 : at + 7]
            at = _end_of_blocks(data, at + 2)
        elif data[at] == _FRAME and at + 11 <= len(data):
            left, top, width, height, flags = struct.unpack_from("<HHHHB", data, at + 1)
            pixels = at + 10 + _palette_bytes(flags)
            end = _end_of_blocks(data, pixels + 1)
            transparent = b"!\xf9\x04" + bytes((control[0] & 1, 0, 0, control[3])) + b"\0"
            place = struct.pack("<BHHHHB", _FRAME, 0, 0, width, height, flags)
            file = data[:6] + struct.pack("<HH", width, height) + data[10:start] + transparent + place
            (hundredths,) = struct.unpack_from("<H", control, 1)
            file += data[at + 10 : end] + b";"
            yield _Part((left, top), (width, height), control[0] >> 2 & 7, hundredths, file)
            control, at = bytes(4), end
        else:
            at += 1


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 128 else 0


def _end_of_blocks(data: bytes, at: int) -> int:
    """Behind the blocks that begin there, each of which tells its length before it."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1

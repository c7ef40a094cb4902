"""Static metadata of HDR10: the display that a film was mastered on, and how light its pictures are.

FFmpeg gives it with the frames (SMPTE ST 2086, CTA-861.3). Through PyAV an encoder takes it by its own options alone,
and a container from a stream of another file whose header has it.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

STORES = {
    "libx264": ("x264-params", "mastering-display", "cll"),
    "libx265": ("x265-params", "master-display", "max-cll"),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light"),
}
"""The encoders that store it: FFmpeg's option for the encoder's own, and the names of the two in it."""
_WAY = (*((name, 8) for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl")), (b"stsd", 16), (b"", 86))
"""The boxes of an MP4 within each other down to that of the stream's codec, and how long their own heads are."""
_MOST_LIGHT = ((1 << 32) - 1) // 10_000
"""cd/m2 that HEVC has numbers for; more than PQ's 10,000."""


class Mastering(NamedTuple):
    """What is told of all frames of a film."""

    display: tuple[Fraction, ...] = ()
    """x and y of red, green, blue and white (CIE 1931), then the least and the most light, cd/m2; empty: not told."""
    light: tuple[int, ...] = ()
    """Of the lightest pixel, and of the lightest frame on the mean, cd/m2 (0: not known); empty: not told."""
    odd: bool = False
    """Whether something is told in numbers that mean nothing, and left out here."""


def mastering_of(frame: Any) -> Mastering:
    """What PyAV's VideoFrame tells."""
    display, light = (frame.side_data.get(name) for name in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"))
    shown = () if display is None else _display(bytes(display))
    levels = () if light is None else tuple(np.frombuffer(bytes(light), np.uint32).tolist())
    bright = levels if len(levels) == 2 and max(levels) < 1 << 16 else ()
    odd = (display is not None and not shown) or (light is not None and not bright)
    return Mastering(shown, bright if any(bright) else (), odd)


def _display(data: bytes) -> tuple[Fraction, ...]:
    """`Mastering.display` of FFmpeg's AVMasteringDisplayMetadata; empty where a number means nothing.

    Its flags are not looked at: they are off for a display whose black is 0, too.
    """
    pairs = np.frombuffer(data, np.int32).reshape(-1, 2)[:10].tolist()
    if len(pairs) < 10 or any(below <= 0 for _, below in pairs):
        return ()
    *places, least, most = (Fraction(above, below) for above, below in pairs)
    fit = all(0 < place <= 1 for place in places) and 0 <= least < most <= _MOST_LIGHT
    return (*places, least, most) if fit else ()


def mastering_options(told: Mastering, encoder: str) -> dict[str, str]:
    """FFmpeg's option by which an encoder stores it; empty for encoders that do not, and where nothing is told."""
    if encoder not in STORES:
        return {}
    option, display, light = STORES[encoder]
    parts = [f"{display}={_in_words(told.display, encoder)}"] if told.display else []
    parts += [f"{light}={told.light[0]},{told.light[1]}"] if told.light else []
    return {option: ":".join(parts)} if parts else {}


def with_boxes(header: bytes, told: Mastering) -> bytes:
    """An MP4 or MOV of a single stream and without packets, as FFmpeg writes it, whose header has the metadata, too
    (boxes mdcv and clli, ISO/IEC 14496-12, 12.1.6 and 12.1.7)."""
    boxes = b""
    if told.display:
        red, green, blue, white = ([round(one * 50_000) for one in told.display[at : at + 2]] for at in range(0, 8, 2))
        least, most = (round(one * 10_000) for one in told.display[8:])
        boxes += _box(b"mdcv", struct.pack(">8H2I", *green, *blue, *red, *white, most, least))
    if told.light:
        boxes += _box(b"clli", struct.pack(">2H", *told.light))
    data, begin, end = bytearray(header), 0, len(header)
    for name, head in _WAY:
        size, found = struct.unpack_from(">I4s", data, begin)
        while name and found != name:
            begin += size
            size, found = struct.unpack_from(">I4s", data, begin)
        struct.pack_into(">I", data, begin, size + len(boxes))
        begin, end = begin + head, begin + size
    return bytes(data[:end] + boxes + data[end:])


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def _in_words(told: tuple[Fraction, ...], encoder: str) -> str:
    """A display as encoders read it: in the whole units of HEVC, or as decimal numbers."""
    if encoder == "libsvtav1":
        places, lights = ([f"{float(one):.8f}" for one in part] for part in (told[:8], told[8:]))
    else:
        places = [str(round(one * 50_000)) for one in told[:8]]
        lights = [str(round(one * 10_000)) for one in told[8:]]
    red, green, blue, white = (f"({','.join(places[at : at + 2])})" for at in range(0, 8, 2))
    return f"G{green}B{blue}R{red}WP{white}L({lights[1]},{lights[0]})"

"""ICC profiles to try files with, written here, as those of vendors may not be passed on."""

from __future__ import annotations

import struct

import numpy as np

P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
"""XYZ of red, green and blue, adapted to D50."""


def p3_profile() -> bytes:
    """Display P3: sRGB's curve with P3's primaries."""
    x = np.linspace(0, 1, 1024)
    light = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    curve = b"curv" + bytes(4) + struct.pack(">I1024H", 1024, *np.rint(light * 65535).astype(int))
    return _of_colours("Display P3", P3, curve)


def adobe_profile() -> bytes:
    """Adobe RGB (1998): a gamma of 2.2, a wider green."""
    return _of_colours("Adobe RGB", ADOBE_RGB, _gamma(563 / 256))


def _of_colours(name: str, primaries: tuple[tuple[float, ...], ...], curve: bytes) -> bytes:
    tags = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    for tag, colour in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True):
        tags[tag] = b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in colour))
    return _profile(name, b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float = 1.8) -> bytes:
    """Grey of one gamma."""
    return _profile("grey", b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _gamma(gamma)})


def inks_profile(back: bool = True) -> bytes:
    """CMYK inks whose black replaces 60% of the grey; without `back` nothing converts to them."""
    import cv2

    axis = np.linspace(0, 1, 9, dtype=np.float32)
    inks = np.stack(np.meshgrid(axis, axis, axis, axis, indexing="ij"), axis=4).reshape(-1, 4)
    lab = cv2.cvtColor(((1 - inks[:, :3]) * (1 - inks[:, 3:]))[None], cv2.COLOR_RGB2Lab)[0]
    tags = {b"A2B0": _lut(4, 9, np.stack([lab[:, 0] * 2.55, lab[:, 1] + 128, lab[:, 2] + 128], axis=1))}
    if back:
        axis = np.linspace(0, 255, 17, dtype=np.float32)
        codes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=3).reshape(-1, 3)
        lab = (codes / (2.55, 1, 1) - (0, 128, 128)).astype(np.float32)
        ink = 1 - cv2.cvtColor(lab[None], cv2.COLOR_Lab2RGB)[0].clip(0, 1)
        black = 0.6 * ink.min(1, keepdims=True)
        tags[b"B2A0"] = _lut(3, 17, np.concatenate([(ink - black) / (1 - black), black], axis=1) * 255)
    return _profile("inks", b"prtr", b"CMYK", b"Lab ", tags)


def _gamma(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _lut(inputs: int, grid: int, table: np.ndarray) -> bytes:
    """ICC's 8-bit table (mft1)."""
    outputs, straight = table.shape[1], bytes(range(256))
    head = (
        b"mft1"
        + bytes(4)
        + bytes([inputs, outputs, grid, 0])
        + struct.pack(">9i", *np.eye(3).ravel().astype(int) * 65536)
    )
    return head + straight * inputs + np.rint(np.clip(table, 0, 255)).astype(np.uint8).tobytes() + straight * outputs


def _profile(name: str, kind: bytes, space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 2.4."""
    white = struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    said = name.encode() + b"\0"
    desc = b"desc" + bytes(4) + struct.pack(">I", len(said)) + said + bytes(4 + 4 + 2 + 1 + 67)
    tags = {b"desc": desc, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": b"XYZ " + bytes(4) + white, **tags}
    tags = {key: body + bytes(-len(body) % 4) for key, body in tags.items()}
    start = 128 + 4 + 12 * len(tags)
    starts = np.cumsum([start, *map(len, tags.values())])
    table = b"".join(
        struct.pack(">4sII", key, at, len(body)) for (key, body), at in zip(tags.items(), starts, strict=False)
    )
    head = struct.pack(">I4sI4s4s4s", starts[-1], bytes(4), 0x02400000, kind, space, pcs)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(4 + 4 + 4 + 4 + 8 + 4) + white
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + b"".join(tags.values())

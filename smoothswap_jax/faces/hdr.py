"""Colours of high dynamic range (PQ, HLG) or a wide gamut (BT.2020, P3) as sRGB, which is what the networks see.

A pixel is 1 where sRGB's white is. The white of paper in HDR pictures, 203 cd/m2 (ITU-R BT.2408), is taken for that.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Float, UInt8, UInt16

PQ, HLG = "PQ", "HLG"
BT2020, P3 = "BT.2020", "P3"

_TO_BT709 = {
    # Linear light. ITU-R BT.2087, annex 2; SMPTE EG 432-1 (P3 with the white point D65).
    BT2020: ((1.660491, -0.587641, -0.072850), (-0.124550, 1.132900, -0.008349), (-0.018151, -0.100579, 1.118730)),
    P3: ((1.224940, -0.224940, 0.0), (-0.042057, 1.042057, 0.0), (-0.019638, -0.078636, 1.098274)),
}
_PAPER_WHITE, _HLG_PEAK = 203.0, 1000.0  # cd/m2
_LUMINANCE = np.array((0.2627, 0.6780, 0.0593), np.float32)  # BT.2020
_PEAK = _HLG_PEAK / _PAPER_WHITE
_KNEE = 0.3
"""Up to here tone mapping changes nothing: a face in the shade or in plain light keeps its tones."""


def hdr_to_srgb(
    rgb: UInt16[np.ndarray, "h w 3"], white: int, transfer: str, primaries: str
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture that sRGB has room for: above `_KNEE` lights are compressed (as FFmpeg's `tonemap=mobius` does), so
    that 1000 cd/m2 is white.

    Args:
      rgb: from 0 (black) to `white`, coded by `transfer`.
      transfer: PQ (SMPTE ST 2084) or HLG (ITU-R BT.2100, for a display of 1000 cd/m2).
      primaries: BT2020, P3, or another name for those of sRGB.
    """
    light = _light_of_code(transfer, white)[rgb]
    if transfer == HLG:  # what the scene emits becomes what the display emits
        light *= np.maximum(light @ _LUMINANCE, 1e-6)[..., None] ** np.float32(0.2) * np.float32(_PEAK)
    light = _in_gamut(light, primaries)
    brightest = np.maximum(light.max(axis=2, keepdims=True), 1e-6)  # all three by one factor, so that hues stay
    return _srgb(light * (_mobius(brightest) / brightest))


def wide_to_srgb(rgb: UInt16[np.ndarray, "h w 3"], white: int, primaries: str) -> UInt8[np.ndarray, "h w 3"]:
    """An ordinary picture with other primaries (BT2020 or P3), 0 to `white`; colours that sRGB lacks are clipped."""
    return _srgb(_in_gamut(_light_of_code("", white)[rgb], primaries))


def _mobius(light: np.ndarray) -> np.ndarray:
    """Identity up to the knee, then a hyperbola with the same slope there, which is 1 at the peak."""
    j, p = _KNEE, _PEAK
    a = -(j**2) * (p - 1) / (j**2 - 2 * j + p)
    b = (j**2 - 2 * j * p + p) / (p - 1)
    return np.where(light <= j, light, (b**2 + 2 * b * j + j**2) / (b - a) * (light + a) / (light + b))


def _in_gamut(light: np.ndarray, primaries: str) -> Float[np.ndarray, "h w 3"]:
    if primaries in _TO_BT709:
        light = light @ np.array(_TO_BT709[primaries], np.float32).T
    return np.maximum(light, 0.0)


@functools.cache
def _light_of_code(transfer: str, white: int) -> Float[np.ndarray, 65536]:
    """The linear light of each 16-bit code: of the display for PQ and sRGB (""), of the scene (0-1) for HLG."""
    code = np.minimum(np.arange(65536) / white, 1.0)
    if transfer == PQ:
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        root = code ** (1 / m2)
        light = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1) * 10000.0 / _PAPER_WHITE
    elif transfer == HLG:
        a = 0.17883277
        b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
        light = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    else:
        light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def _srgb(light: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    """Linear light as 8-bit sRGB (IEC 61966-2-1)."""
    light = np.clip(light, 0.0, 1.0)
    code = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(code * 255).astype(np.uint8)

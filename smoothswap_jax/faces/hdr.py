"""Colours of high dynamic range (PQ, HLG) or a wide gamut (BT.2020, P3) as sRGB, which is what the networks see.

A pixel is 1 where sRGB's white is. The white of paper in HDR pictures, 203 cd/m2 (ITU-R BT.2408), is taken for that.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Float, UInt16

PQ, HLG = "PQ", "HLG"
BT2020, P3 = "BT.2020", "P3"

_TO_BT709 = {
    # Linear light. ITU-R BT.2087, annex 2; SMPTE EG 432-1 (P3 with the white point D65).
    BT2020: ((1.660491, -0.587641, -0.072850), (-0.124550, 1.132900, -0.008349), (-0.018151, -0.100579, 1.118730)),
    P3: ((1.224940, -0.224940, 0.0), (-0.042057, 1.042057, 0.0), (-0.019638, -0.078636, 1.098274)),
}
_PQ = (2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128)
"""m1, m2, c1, c2, c3 of SMPTE ST 2084."""
_HLG = (0.17883277, 1 - 4 * 0.17883277, 0.5 - 0.17883277 * np.log(4 * 0.17883277))
"""a, b, c of ITU-R BT.2100."""
_PAPER_WHITE, _HLG_PEAK = 203.0, 1000.0  # cd/m2
_LUMINANCE = np.array((0.2627, 0.6780, 0.0593), np.float32)  # BT.2020
_PEAK = _HLG_PEAK / _PAPER_WHITE
_KNEE = 0.3
"""Up to here tone mapping changes nothing: a face in the shade or in plain light keeps its tones."""


def to_srgb(rgb: UInt16[np.ndarray, "h w 3"], white: int, transfer: str, primaries: str) -> Float[np.ndarray, "h w 3"]:
    """A picture as sRGB has room for it, 0 to 255, not rounded.

    Of high dynamic range, lights above `_KNEE` are compressed (as FFmpeg's `tonemap=mobius` does), so that 1000 cd/m2
    is white; colours that sRGB lacks are clipped.

    Args:
      rgb: from 0 (black) to `white`, coded by `transfer`.
      transfer: PQ (SMPTE ST 2084), HLG (ITU-R BT.2100, for a display of 1000 cd/m2), or '' for sRGB's curve.
      primaries: BT2020, P3, or '' for those of sRGB.
    """
    light = _light_of_code(transfer, white)[rgb]
    if transfer == HLG:  # what the scene emits becomes what the display emits
        light *= np.maximum(light @ _LUMINANCE, 1e-6)[..., None] ** np.float32(0.2) * np.float32(_PEAK)
    light = _in_gamut(light, primaries)
    if transfer:
        brightest = np.maximum(light.max(axis=2, keepdims=True), 1e-6)  # all three by one factor, so that hues stay
        light *= _mobius(brightest) / brightest
    return _srgb(light)


def from_srgb(
    picture: Float[np.ndarray, "h w 3"], white: int, transfer: str, primaries: str
) -> Float[np.ndarray, "h w 3"]:
    """The inverse of `to_srgb`: codes from 0 to `white`, not rounded, of a picture from 0 to 255."""
    code = np.clip(picture, 0, 255) / 255
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    if transfer:
        brightest = np.maximum(light.max(axis=2, keepdims=True), 1e-6)
        light = light * (_inverse_mobius(brightest) / brightest)
    if primaries in _TO_BT709:
        light = np.maximum(light @ np.linalg.inv(np.array(_TO_BT709[primaries])).T, 0)
    if transfer == PQ:
        m1, m2, c1, c2, c3 = _PQ
        power = (light * _PAPER_WHITE / 10000.0) ** m1
        return ((c1 + c2 * power) / (1 + c3 * power)) ** m2 * white
    if transfer == HLG:
        a, b, c = _HLG
        light = light / _PEAK
        light = light * np.maximum(light @ _LUMINANCE, 1e-9)[..., None] ** (1 / 1.2 - 1)
        logarithm = a * np.log(np.maximum(12 * light - b, 1e-9)) + c
        return np.where(light <= 1 / 12, np.sqrt(3 * light), logarithm) * white
    return _curve(light) * white


def _mobius(light: np.ndarray) -> np.ndarray:
    """Identity up to the knee, then a hyperbola with the same slope there, which is 1 at the peak."""
    a, b, scale = _hyperbola()
    return np.where(light <= _KNEE, light, scale * (light + a) / (light + b))


def _inverse_mobius(tone: np.ndarray) -> np.ndarray:
    a, b, scale = _hyperbola()
    tone = np.minimum(tone, 1.0)
    return np.where(tone <= _KNEE, tone, (scale * a - tone * b) / (tone - scale))


def _hyperbola() -> tuple[float, float, float]:
    j, p = _KNEE, _PEAK
    a = -(j**2) * (p - 1) / (j**2 - 2 * j + p)
    b = (j**2 - 2 * j * p + p) / (p - 1)
    return a, b, (b**2 + 2 * b * j + j**2) / (b - a)


def _in_gamut(light: np.ndarray, primaries: str) -> Float[np.ndarray, "h w 3"]:
    if primaries in _TO_BT709:
        light = light @ np.array(_TO_BT709[primaries], np.float32).T
    return np.maximum(light, 0.0)


@functools.cache
def _light_of_code(transfer: str, white: int) -> Float[np.ndarray, 65536]:
    """The linear light of each 16-bit code: of the display for PQ and sRGB (""), of the scene (0-1) for HLG."""
    code = np.minimum(np.arange(65536) / white, 1.0)
    if transfer == PQ:
        m1, m2, c1, c2, c3 = _PQ
        root = code ** (1 / m2)
        light = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1) * 10000.0 / _PAPER_WHITE
    elif transfer == HLG:
        a, b, c = _HLG
        light = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    else:
        light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def _srgb(light: np.ndarray) -> Float[np.ndarray, "h w 3"]:
    """Linear light as sRGB (IEC 61966-2-1), 0 to 255."""
    return _curve(np.clip(light, 0.0, 1.0)) * 255


def _curve(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055)

"""How sharp an aligned crop is: the energy of its fine detail relative to its coarse detail."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from PIL import Image

GRID = 64
"""Side in pixels to which a crop is reduced before it is measured; smaller crops are measured as they are."""

FINE, COARSE = (14 / 64, 26 / 64), (4 / 64, 12 / 64)
"""The two frequency bands in periods per pixel of the grid: 14-26 and 4-12 periods per crop. A Gaussian blur of 3
pixels of 256 removes three quarters of the first's amplitude and a third of the second's; JPEG artefacts of quality 30,
film grain and sensor noise lie mostly above both."""

DIRECTIONS = 4
"""Sectors of directions that are compared separately, so that motion blur, which affects only some, is noticed."""

MIN_SHARPNESS = -16.0
"""Minimum `sharpness` of a face to train on, in dB.

Measured on the London set (`bench/sharpness_gate.py`): the minimum of its 720 photos is -15.2, of JPEGs of quality 30
-15.3, of eight other portraits -14.7. Of crops blurred by a Gaussian of 1.5 pixels of 256, 99% are kept, 89% at 2, 31%
at 2.5, 1% at 3, none at 4; of those enlarged from 48 pixels 93%, from 32 none; of those with motion blur over 9 pixels
92%, over 15 pixels 1%.
"""


def sharpness(crop: UInt8[np.ndarray, "n n 3"]) -> float:
    """Energy of the fine band over that of the coarse one, in dB, in the middle of the face; -120 to 120.

    Energies are means over the frequencies of a band; the decibels are averaged over `DIRECTIONS`. Contrast and
    brightness cancel. The bands are fixed relative to the crop, so a photo has the same sharpness at every crop size of
    at least `GRID`; in smaller crops they are fixed relative to the pixels, so a small crop of a large photo is sharp.
    A Gaussian blur of 1 pixel of 256 costs 0.7 dB, of 2 pixels 3 dB, of 3 pixels 6 dB and of 4 pixels 10 dB. A flat
    crop, without any detail, has -120. Raises `ValueError` below 16 pixels.
    """
    if len(crop) < 16:
        raise ValueError(f"sharpness of a crop of {len(crop)} pixels: too few to measure; wanted at least 16")
    side = min(GRID, len(crop))
    grey = Image.fromarray(crop).convert("L").resize((side, side), Image.Resampling.LANCZOS)
    # From brows to chin and cheek to cheek: background and hair may be sharp where the face is not.
    face = np.asarray(grey, np.float64)[round(0.2 * side) : round(0.85 * side), round(0.2 * side) : round(0.8 * side)]
    window = np.outer(*(np.hanning(length + 2)[1:-1] for length in face.shape))
    face = (face - np.average(face, weights=window)) * window
    energy = np.abs(np.fft.fft2(face)) ** 2
    y, x = np.fft.fftfreq(face.shape[0])[:, None], np.fft.fftfreq(face.shape[1])[None]
    radius = np.hypot(x, y)
    sector = np.rint(np.arctan2(y, x) / np.pi * DIRECTIONS).astype(int) % DIRECTIONS
    ratios = []
    for direction in range(DIRECTIONS):
        fine, coarse = (
            energy[(sector == direction) & (low <= radius) & (radius < high)].mean() for low, high in (FINE, COARSE)
        )
        # The offset is the energy that rounding to whole grey levels leaves.
        ratios.append(10 * np.log10((fine + 1e-9) / (coarse + 1e-9)) if coarse > 1e-9 else -120.0)
    return float(np.clip(np.mean(ratios), -120.0, 120.0))

"""How sharp an aligned crop is: its fine detail against its coarse detail."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from PIL import Image

GRID = 64
"""Side of the crop when its detail is measured, in pixels; smaller crops are measured as they are."""

FINE, COARSE = (14 / 64, 26 / 64), (4 / 64, 12 / 64)
"""The two bands of detail, in periods a pixel of the grid: 14-26 and 4-12 periods over a whole crop. A blur of 3 pixels
of 256 takes three quarters of the first's amplitude and a third of the second's; JPEG of quality 30, film grain and
sensor noise lie mostly beyond both."""

DIRECTIONS = 4
"""Sectors of directions that are compared one by one, so that a blur along one of them shows (shaken cameras)."""

MIN_SHARPNESS = -16.0
"""Least `sharpness` of a face to train on, in dB.

Measured on the London set (`bench/sharpness_gate.py`): the least of its 720 photos has -15.2, of JPEGs
of quality 30 -15.3, of eight other portraits -14.7. Kept are 99% of crops blurred by 1.5 pixels of 256, 89% at 2, 31%
at 2.5, 1% at 3, none at 4; 93% of those enlarged from 48 pixels, none from 32; 92% of those smeared over 9 pixels, 1%
over 15.
"""


def sharpness(crop: UInt8[np.ndarray, "n n 3"]) -> float:
    """Energy of the fine band over that of the coarse one, in dB, in the middle of the face; -120 to 120.

    The energies are per frequency, the mean over `DIRECTIONS` is one of decibels. Contrast and brightness cancel. The
    bands are fixed relative to the crop, so one photo has one sharpness at every crop size from `GRID` on; below, they
    are fixed relative to its pixels, so a small crop of a large photo is sharp. Blurring by a Gaussian of `sigma`
    pixels of 256 takes 0.7 dB at 1 pixel, 3 at 2, 6 at 3 and 10 at 4. A flat crop has no detail: -120. Raises
    `ValueError` below 16 pixels.
    """
    if len(crop) < 16:
        raise ValueError(f"sharpness of a crop of {len(crop)} pixels: too few to tell; wanted at least 16")
    side = min(GRID, len(crop))
    grey = Image.fromarray(crop).convert("L").resize((side, side), Image.Resampling.LANCZOS)
    # From the brows to the chin, cheek to cheek: the backdrop and the hair may be sharp where the face is not.
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
        # The least energy that counts is what rounding to whole grey levels leaves.
        ratios.append(10 * np.log10((fine + 1e-9) / (coarse + 1e-9)) if coarse > 1e-9 else -120.0)
    return float(np.clip(np.mean(ratios), -120.0, 120.0))

"""Photos of one tone, grey or sepia, and changes that keep them so.

Such a photo has a colour for each brightness and no others: colour = brightness + tint(brightness). A network that was
trained on colour photos would give it pink lips and brown skin; kept to the photo's own tones, its change is one of
brightness only.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import gaussian_filter1d

from smoothswap_jax.faces.align import Patch, Quad
from smoothswap_jax.faces.photos import Photo, reduced

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Brightness of an RGB colour (ITU-R BT.601, as in JPEG and Pillow)."""
SIDE = 128
"""Photos are looked at reduced to about this many pixels, where the noise of JPEG and its coarse chroma are gone."""
GREY_SPREAD = 4
"""Photos are grey if the channels of 99 pixels of 100 differ by no more, in grey levels."""
TONE_SPREAD = 9.0
"""They have one tone if 99 pixels of 100 are no further from the colour of their brightness (`bench/photos.py`)."""

Tint = Float[np.ndarray, "256 3"]
"""Colour minus brightness, for each brightness; zeros for grey."""


def tint_of(photo: Photo, quad: Quad) -> Tint | None:
    """The tint of the grey or sepia face in `quad`; None for a face in colour.

    Nobody's face is grey by itself, so a grey face in a photo with colours elsewhere counts as grey. In brown tones a
    face alone might deceive, so the whole photo has to have them.
    """
    low, high = np.maximum(np.floor(quad.min(0)), 0).astype(int), np.maximum(np.ceil(quad.max(0)), 1).astype(int)
    face = _looked_at(photo[low[1] : high[1], low[0] : high[0]])
    if np.percentile(face.max(1) - face.min(1), 99) <= GREY_SPREAD:
        return np.zeros((256, 3), np.float32)
    tint, spread = tone_spread(photo)
    luma = face @ LUMA
    off = np.abs(face - luma[:, None] - _at(tint, luma)).max(1)
    return tint if max(spread, np.percentile(off, 99)) <= TONE_SPREAD else None


def tone_spread(photo: Photo) -> tuple[Tint, float]:
    """The photo's mean tint, and how far 99 of 100 of its pixels are from it, at most, in grey levels."""
    colours = _looked_at(photo)
    luma = colours @ LUMA
    deviations = colours - luma[:, None]
    tint = _mean_tint(luma, deviations)
    return tint, float(np.percentile(np.abs(deviations - _at(tint, luma)).max(1), 99))


def _looked_at(photo: Photo) -> UInt8[np.ndarray, "n 3"]:
    return reduced(photo, max(1, round(max(photo.shape) / SIDE))).reshape(-1, 3)


def in_tone(photo: Photo, patch: Patch, tint: Tint) -> Patch:
    """The patch with its change of brightness only, along the photo's tones."""
    before = photo[patch.rows, patch.columns] @ LUMA
    after = np.clip(before + patch.change @ LUMA, 0, 255)
    change = (after - before)[:, :, None] + _at(tint, after) - _at(tint, before)
    return patch._replace(change=change.astype(np.float32))


def _mean_tint(luma: np.ndarray, deviations: np.ndarray) -> Tint:
    """The mean deviation of each brightness, smoothed over a few levels; that of the nearest where there is none."""
    levels = np.rint(luma).astype(int)
    counts = np.bincount(levels, minlength=256).astype(float)
    sums = np.stack([np.bincount(levels, deviations[:, c], 256) for c in range(3)], axis=1)
    smooth = lambda values: gaussian_filter1d(values, 3.0, axis=0, mode="nearest")
    weights, sums = smooth(counts), smooth(sums)
    seen = np.flatnonzero(weights > 1e-3)
    means = sums[seen] / weights[seen, None]
    return np.stack([np.interp(np.arange(256), seen, means[:, c]) for c in range(3)], axis=1).astype(np.float32)


def _at(tint: Tint, luma: np.ndarray) -> np.ndarray:
    """The tint of brightnesses [...], interpolated: [..., 3]."""
    return np.stack([np.interp(luma, np.arange(256), tint[:, c]) for c in range(3)], axis=-1)

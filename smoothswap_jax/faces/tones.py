"""Photos of one tone, grey or sepia, and changes that keep them so; and faces in the tones of others.

A photo of one tone has a colour for each brightness and no others: colour = brightness + tint(brightness). A network
that was trained on colour photos would give it pink lips and brown skin; kept to the photo's own tones, its change is
one of brightness only.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

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
OVAL = ((0.5, 0.56), (0.27, 0.36))
"""Where the face is in an FFHQ crop: its middle and half its width and height, in sides of the crop."""
SOFT_LEVELS = 3
"""Standard deviation, in levels of brightness, of what smooths a photo's tint."""
STRETCH = (0.7, 1.4)
"""By how much the spread of brightness or colour is changed, at most: beards and fringes are no light."""


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


def matched(targets: Float[np.ndarray, "b n n 3"], swaps: Float[np.ndarray, "b n n 3"]) -> Float[np.ndarray, "b n n 3"]:
    """Aligned swaps whose faces have the tones of the targets': mean and spread of brightness and of both differences
    of colour, over the oval of the face (Reinhard et al. 2001, "Color transfer between images", in the space of JPEG).
    Outside of it what changed as the face did, neck and ears, goes with it. All in [-1, 1]."""
    from scipy.ndimage import gaussian_filter

    size = targets.shape[1]
    x, y = (((np.arange(size) + 0.5) / size - middle) / half for middle, half in zip(*OVAL, strict=True))
    oval = np.clip((1.15 - np.hypot(x[None], y[:, None])) / 0.3, 0, 1).astype(np.float32)[:, :, None]
    tones = [faces @ _TO_TONES.T for faces in (targets, swaps)]
    means, spreads = zip(*(_statistics(own, oval) for own in tones), strict=True)
    stretch = np.clip(spreads[0] / np.maximum(spreads[1], 1e-3), *STRETCH)
    wanted = (tones[1] - means[1]) * stretch + means[0]
    shift, change = means[1] - means[0], gaussian_filter(tones[1] - tones[0], (0, size / 32, size / 32, 0))
    likewise = np.clip((change * shift).sum(3) / np.maximum(np.square(shift).sum(3), 1e-4), 0, 1)[..., None]
    share = np.maximum(oval, likewise)
    return np.clip(swaps + share * (wanted @ np.linalg.inv(_TO_TONES).T - swaps), -1, 1).astype(np.float32)


_TO_TONES = np.stack([LUMA, (np.array([0, 0, 1]) - LUMA) / 1.772, (np.array([1, 0, 0]) - LUMA) / 1.402])
"""RGB to brightness and differences of colour (ITU-R BT.601)."""


def _statistics(
    tones: Float[np.ndarray, "b n n 3"], oval: Float[np.ndarray, "n n 1"]
) -> tuple[Float[np.ndarray, "b 1 1 3"], Float[np.ndarray, "b 1 1 3"]]:
    """Mean and standard deviation of each channel, weighted."""
    mean = (tones * oval).sum((1, 2), keepdims=True) / oval.sum()
    return mean, np.sqrt((np.square(tones - mean) * oval).sum((1, 2), keepdims=True) / oval.sum())


def _mean_tint(luma: np.ndarray, deviations: np.ndarray) -> Tint:
    """The mean deviation of each brightness, smoothed over a few levels; that of the nearest where there is none."""
    levels = np.rint(luma).astype(int)
    counts = np.bincount(levels, minlength=256).astype(float)
    sums = np.stack([np.bincount(levels, deviations[:, c], 256) for c in range(3)], axis=1)
    weights, sums = _smooth(counts), np.stack([_smooth(column) for column in sums.T], axis=1)
    seen = np.flatnonzero(weights > 1e-3)
    means = sums[seen] / weights[seen, None]
    return np.stack([np.interp(np.arange(256), seen, means[:, c]) for c in range(3)], axis=1).astype(np.float32)


def _smooth(values: np.ndarray) -> np.ndarray:
    """SciPy's gaussian_filter1d with mode="nearest"; importing it takes a tenth of the time of a photo's swap."""
    kernel = np.exp(-0.5 * np.square(np.arange(-4 * SOFT_LEVELS, 4 * SOFT_LEVELS + 1) / SOFT_LEVELS))
    return np.convolve(np.pad(values, 4 * SOFT_LEVELS, "edge"), kernel / kernel.sum(), "valid")


def _at(tint: Tint, luma: np.ndarray) -> np.ndarray:
    """The tint of brightnesses [...], interpolated: [..., 3]."""
    return np.stack([np.interp(luma, np.arange(256), tint[:, c]) for c in range(3)], axis=-1)

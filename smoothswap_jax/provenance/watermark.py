"""An invisible watermark on a swapped face: 32 bits in its brightness that outlast what strips metadata.

Spread transform dither modulation (Chen and Wornell 2001, "Quantization index modulation"): a key that is public gives
patterns of middling waves over the oval of an FFHQ crop, one for each chip of a code. What the picture has of a pattern
is moved to the nearest of equally spaced values that stand for the chip, so the picture itself is no noise to the
reader. The reader finds faces anew, and tries small moves, turns and scales around what the detector gives. Three words
of the extended Golay code (24, 12) hold a version and the bits.

Pure functions of arrays. It proves nothing against somebody who writes or removes one on purpose.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ive

from smoothswap_jax.faces.align import Patch, Quad, crop_to_photo, paste_mask, photo_to_crop
from smoothswap_jax.faces.packages import missing_package
from smoothswap_jax.faces.photos import Photo
from smoothswap_jax.faces.tones import LUMA

KEY = b"smoothswap-jax watermark 1"
BITS, VERSION = 32, 1
"""Bits that are free, and what the four before them say."""
KNOWN, CHIPS = 24, 96
"""Chips that are always the same, by which faces are aligned, and all."""
GRID = 64
"""Pixels a side of the FFHQ crop at which a face is read."""
BAND = (9.0, 20.0)
"""Waves a side of the crop, of which the patterns consist."""
OVAL = ((0.5, 0.56), (0.34, 0.40))
"""Where the patterns are: middle, and half of width and height, in sides of the crop."""
STEP = 29.0
"""Between values that stand for the same chip; grey levels times pixels of the grid, by patterns of norm 1."""
ROUNDS = 3
"""Of writing, each of which corrects what rounding, clipping and sampling did to the one before."""
SMALLEST = 64.0
"""Pixels a side of a face's FFHQ square below which it is not marked."""

SCALES, TURNS = 0.016 * np.arange(-4, 5), np.arange(-4.0, 5.0)
"""What the reader tries, as detectors see swapped faces otherwise than their targets: logarithms of scales, degrees."""
PARTS, SHIFTS = 3, 7
"""And moves by parts of a pixel of the grid, so many in each direction."""
BETWEEN = (0.0, 0.5)
"""Shares of all these steps by which all of it is moved, one after the other, until a mark is found: on sharp photos a
tenth of a pixel beside the mark the photo itself drowns it."""
GAINS = (1.06 ** np.arange(-4, 5)).astype(np.float32)
"""Contrasts."""
REACH = 1.16
"""Side of what is looked at for that, in sides of the crop."""
UNKNOWN = 0.3
"""What chips that may be 1 or -1 count, for each that is known."""
BEST, PROMISING, STARTS = 4, 48, 8
"""Alignments that are read, of each scale and turn and of all, and from how many of these the reader moves on."""
MOVES = (0.008, 0.5, 0.17, 0.17)
"""From there: of scale, turn, x and y."""
FINER = (1.0, 0.5, 0.25)
"""Shares of these."""
MOST = 40_000
"""Alignments that are tried in all, at most. A chance is over so many also where fewer were: who stops at the first
find has as many chances of a false one as who does not."""
SURE = 1e-12
"""Chance at which nothing better is looked for."""


class Reading(NamedTuple):
    """What a face reads at the likeliest alignment, by the likeliest code.

    code: 32 bits. chance: at least the probability that a face without a mark fits some code at some alignment as well.
    chips: how each chip reads, True for 1. error: the share of them that are not those of the code.
    """

    code: int
    chance: float
    chips: Bool[np.ndarray, "chips=96"]

    @property
    def error(self) -> float:
        return float((self.chips != (chips_of(self.code) > 0)).mean())


# --- the code -------------------------------------------------------------------------------------------------------


@functools.cache
def golay() -> Float[np.ndarray, "words=4096 bits=24"]:
    """The extended Golay code (24, 12, 8), word w in row w: its 12 bits, 11 of the remainder by x^11 + x^10 + x^6 +
    x^5 + x^4 + x^2 + 1, and parity; 1 for a one, -1 for a nought."""
    words = np.arange(4096) << 11
    left = words.copy()
    for place in range(22, 10, -1):
        left = np.where(left >> place & 1, left ^ 0xC75 << place - 11, left)
    bits = (words | left)[:, None] >> np.arange(22, -1, -1) & 1
    return np.concatenate([bits, bits.sum(1, keepdims=True) % 2], axis=1).astype(np.float32) * 2 - 1


def chips_of(code: int) -> Float[np.ndarray, "chips=96"]:
    """1 or -1 for each chip of 32 bits."""
    whole = VERSION << BITS | code
    words = golay()[[whole >> 24, whole >> 12 & 4095, whole & 4095]].ravel()
    return np.concatenate([np.ones(KNOWN, np.float32), words])


def decoded(soft: Float[np.ndarray, "n chips"]) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest codes [n] of chips that read from -1 to 1, and how well they fit: sums of the chips' signs."""
    known = soft[:, :KNOWN].sum(1)
    scores = soft[:, KNOWN:].reshape(-1, 3, 24).astype(np.float32) @ golay().T
    scores[:, 0, : VERSION << 8] = scores[:, 0, VERSION + 1 << 8 :] = -np.inf
    words = scores.argmax(2)
    codes = (words[:, 0] << 24 | words[:, 1] << 12 | words[:, 2]) & (1 << BITS) - 1
    return codes, known + scores.max(2).sum(1)


def chance_of(fit: float, tried: float) -> float:
    """A bound on the probability that noise fits one of all codes as well in one of so many tries.

    Of a picture without a mark chips are cosines of angles that are uniform, since the key moves each by another
    offset: Chernoff's bound on their sum, of which the moments are Bessel functions, times the number of tries.
    """
    from scipy.optimize import brentq  # which swapping, that only writes marks, need not wait for

    mean = min(fit / CHIPS, 0.999)
    if mean <= 0:
        return 1.0
    # ive(0, x) = I0(x) exp(-x), without overflow.
    slope = lambda x: ive(1, x) / ive(0, x) - mean
    x = brentq(slope, 1e-9, 2000.0)
    log = CHIPS * (np.log(ive(0, x)) + x - x * mean) + np.log(tried) + BITS * np.log(2)
    return float(np.exp(min(log, 0.0)))


# --- the patterns ---------------------------------------------------------------------------------------------------


@functools.cache
def _window() -> Float[np.ndarray, "grid grid"]:
    place = (np.arange(GRID) + 0.5) / GRID
    (x, y), (half_width, half_height) = OVAL
    radius = np.hypot((place[None] - x) / half_width, (place[:, None] - y) / half_height)
    return np.cos(np.pi / 2 * np.clip(2 * radius - 1, 0, 1)) ** 2


@functools.cache
def _inside() -> tuple[slice, slice]:
    """Rows and columns of the grid where patterns are not 0."""
    there = _window() > 0
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


@functools.cache
def patterns() -> Float[np.ndarray, "chips pixels"]:
    """Orthonormal patterns over the rows and columns of `_inside`."""
    bits = np.unpackbits(np.frombuffer(hashlib.shake_256(KEY).digest(CHIPS * GRID * GRID // 8), np.uint8))
    noise = bits.reshape(CHIPS, GRID, GRID) * 2.0 - 1
    waves = np.fft.fftfreq(GRID, 1 / GRID)
    radius = np.hypot(waves[:, None], waves[None])
    keep = 1 / (1 + np.exp(2 * (BAND[0] - radius))) / (1 + np.exp(2 * (radius - BAND[1])))
    fields = np.fft.ifft2(np.fft.fft2(noise) * keep).real * _window()
    rows, columns = _inside()
    q, r = np.linalg.qr(fields[:, rows, columns].reshape(CHIPS, -1).T)
    return np.ascontiguousarray((q * np.sign(np.diag(r))).T, np.float32)


@functools.cache
def _offsets() -> Float[np.ndarray, "chips=96"]:
    """Of each chip's values, in steps."""
    drawn = np.frombuffer(hashlib.shake_256(KEY + b" offsets").digest(4 * CHIPS), "<u4")
    return (drawn / 2**32).astype(np.float32)


def _soft(read: Float[np.ndarray, "*n chips"]) -> Float[np.ndarray, "*n chips"]:
    """How surely each chip is a one, 1, or a nought, -1."""
    return np.cos(2 * np.pi * (read / STEP - _offsets()))


# --- looking at a face ----------------------------------------------------------------------------------------------


def opencv() -> Any:
    """The package, or ImportError that says what to install."""
    try:
        import cv2
    except ImportError as error:
        raise missing_package("the invisible watermark of swapped faces", "cv2", "faces") from error
    return cv2


def _side(quad: Quad) -> float:
    return float(np.hypot(*(quad[3] - quad[0])))


def _luma(photo: Photo, quad: Quad, reach: float) -> Float[np.ndarray, "n n"]:
    """Brightness of the square `reach` times as large as a quad, at two pixels for one of the grid; softened, so that
    sampling it makes no new waves."""
    cv2 = opencv()
    size = round(2 * GRID * reach)
    quad = quad.mean(0) + (quad - quad.mean(0)) * (size / (2 * GRID))
    low = np.maximum(np.floor(quad.min(0)).astype(int) - 2, 0)
    high = np.maximum(np.ceil(quad.max(0)).astype(int) + 3, 0)
    part = photo[low[1] : high[1], low[0] : high[0]]
    if not part.size:
        return np.zeros((size, size), np.float32)
    quad = quad - low
    shrink = _side(quad) / size
    if shrink > 1:
        height, width = (max(1, round(side / shrink)) for side in part.shape[:2])
        quad = (quad + 0.5) * (width / part.shape[1], height / part.shape[0]) - 0.5
        part = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
    grey = part.astype(np.float32) @ LUMA
    seen = cv2.warpAffine(grey, photo_to_crop(quad, size), (size, size), borderMode=cv2.BORDER_REPLICATE)
    return cv2.GaussianBlur(seen, (0, 0), 1.0)


class _At(NamedTuple):
    """An alignment: logarithm of a scale, degrees, pixels of the grid."""

    scale: float = 0.0
    turn: float = 0.0
    x: float = 0.0
    y: float = 0.0


def _sampled(luma: np.ndarray, at: _At, pitch: float = 1.0, margin: int = 0) -> np.ndarray:
    """The pixels of `_inside` (and `margin` samples around) at an alignment, from what `_luma` gives; pitch: of the
    samples, in pixels of the grid."""
    cv2 = opencv()
    rows, columns = _inside()
    shape = tuple(round((s.stop - s.start) / pitch) + 2 * margin for s in (columns, rows))
    across, down = 2 * np.exp(at.scale) * np.array([np.cos(np.radians(at.turn)), np.sin(np.radians(at.turn))])
    turn = np.array([[across, -down], [down, across]])
    middle = (luma.shape[0] - 1) / 2
    start = np.array([columns.start, rows.start]) - margin * pitch - (GRID - 1) / 2 + (at.x, at.y)
    matrix = np.column_stack([turn * pitch, turn @ start + middle])
    return cv2.warpAffine(luma, matrix, shape, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


# --- writing --------------------------------------------------------------------------------------------------------


def mark_patch(photo: Photo, quad: Quad, code: int, mask: Float[np.ndarray, "n n"] | None = None) -> Patch | None:
    """What to add to a photo for a face to be read as marked, in grey levels of sRGB, the same in all channels; None
    for a face of less than `SMALLEST` pixels.

    Args:
      quad: the face's region, as the swap has it. code: 32 bits. mask: as of `align.paste_mask`: where it is 0, and
        outside of the quad, the change is 0.
    """
    cv2 = opencv()
    quad = np.asarray(quad, np.float64)
    if _side(quad) < SMALLEST:
        return None
    rows, columns, weights = paste_mask(photo.shape, quad, mask) if mask is not None else (*_around(photo, quad), None)
    there = photo[rows, columns]
    if not there.size:
        return None
    quad = quad - (columns.start, rows.start)
    out, shape = crop_to_photo(quad, GRID), (there.shape[1], there.shape[0])
    inside = _inside()
    amounts, wanted = np.zeros(CHIPS, np.float32), None
    marked, change = there, np.zeros(there.shape[:2], np.float32)
    field = np.zeros((GRID, GRID), np.float32)
    for _ in range(ROUNDS):
        read = patterns() @ _sampled(_luma(marked, quad, 1.0), _At()).ravel()
        if wanted is None:
            zero = (_offsets() + (chips_of(code) < 0) / 2) * STEP
            wanted = zero + STEP * np.rint((read - zero) / STEP)
        amounts += wanted - read
        field[inside] = (amounts @ patterns()).reshape(field[inside].shape)
        change = cv2.warpAffine(field, out, shape, flags=cv2.INTER_LINEAR)
        if weights is not None:
            change *= weights
        marked = np.rint(np.clip(there + change[:, :, None], 0, 255)).astype(np.uint8)
    return Patch(rows, columns, np.repeat(change[:, :, None], 3, axis=2))


def _around(photo: Photo, quad: Quad) -> tuple[slice, slice]:
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int) + 1
    (left, top), (right, bottom) = (np.clip(one, 0, photo.shape[1::-1]) for one in (low, high))
    return slice(int(top), int(bottom)), slice(int(left), int(right))


# --- reading --------------------------------------------------------------------------------------------------------


def read_face(photo: Photo, quad: Quad) -> Reading:
    """The likeliest mark on a face whose FFHQ square is near `quad`; judge by `chance` whether there is one."""
    luma = _luma(photo, np.asarray(quad, np.float64), REACH)
    found, tried = [], 0
    for between in BETWEEN:
        places, new = _promising(luma, between)
        tried += new + len(places)
        readings = [_read(luma, at) for at in places]
        # Where a mark is nearly hit, a wrong place often reads better, until both are moved to the best around them.
        for k in sorted(range(len(places)), key=lambda k: -readings[k].fit)[:STARTS]:
            reading, new = _moved_on(luma, places[k], readings[k], MOST - tried)
            tried += new
            found.append(reading)
            if _chance(reading) <= SURE:
                break
        if _chance(found[-1]) <= SURE:
            break
    best = max(found, key=lambda reading: reading.fit)
    return Reading(best.code, _chance(best), best.soft > 0)


class _Read(NamedTuple):
    fit: float
    code: int
    soft: Float[np.ndarray, "chips=96"]


def _chance(reading: _Read) -> float:
    return chance_of(reading.fit, MOST * len(GAINS))


def _moved_on(luma: Float[np.ndarray, "n n"], at: _At, reading: _Read, most: int) -> tuple[_Read, int]:
    """The best reading around an alignment, and how many were tried, `most` at most."""
    tried = 0
    for step in FINER:
        for move in np.array(MOVES) * step * np.concatenate([np.eye(4), -np.eye(4)]):
            while tried < most:
                moved = _At(*(np.array(at) + move))
                new = _read(luma, moved)
                tried += 1
                if new.fit <= reading.fit:
                    break
                at, reading = moved, new
    return reading, tried


def _promising(luma: Float[np.ndarray, "n n"], between: float) -> tuple[list[_At], int]:
    """The alignments that look most as if there were a mark, and how many were tried; between: of `BETWEEN`."""
    places, scores, tried = [], [], 0
    shift = between / PARTS
    for scale in SCALES + between * (SCALES[1] - SCALES[0]):
        for turn in TURNS + between * (TURNS[1] - TURNS[0]):
            read = _at_shifts(_sampled(luma, _At(scale, turn, shift, shift), 1 / PARTS, SHIFTS)) @ patterns().T
            angles = 2 * np.pi * (read / STEP - _offsets())
            # The cosine of twice the angle does not depend on the chip's sign.
            likely = np.cos(angles[:, :KNOWN]).sum(1) + UNKNOWN * np.cos(2 * angles[:, KNOWN:]).sum(1)
            tried += len(likely)
            best = np.argsort(likely)[-BEST:]
            scores.extend(likely[best])
            rows, columns = np.divmod(best, 2 * SHIFTS + 1)
            places += [
                _At(scale, turn, shift + (x - SHIFTS) / PARTS, shift + (y - SHIFTS) / PARTS)
                for x, y in zip(columns, rows, strict=True)
            ]
    return [places[k] for k in np.argsort(scores)[-PROMISING:]], tried


def _at_shifts(dense: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "shifts pixels"]:
    """The pixels of `_inside` at all moves by parts of a pixel, row by row."""
    height, width = (side - 2 * SHIFTS for side in dense.shape)
    windows = np.lib.stride_tricks.sliding_window_view(dense, (height, width))[:, :, ::PARTS, ::PARTS]
    return windows.reshape((2 * SHIFTS + 1) ** 2, -1)


def _read(luma: Float[np.ndarray, "n n"], at: _At) -> _Read:
    """By the contrast at which it fits best."""
    soft = _soft(patterns() @ _sampled(luma, at).ravel() * GAINS[:, None])
    codes, fits = decoded(soft)
    best = int(np.argmax(fits))
    return _Read(float(fits[best]), int(codes[best]), soft[best])

"""Near-duplicate crops: a perceptual hash, and a search for pairs of hashes that differ in few bits."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image
from scipy.fft import dctn

GRID = 64
"""Side of the grey image that is hashed, in pixels."""

DISTANCE = 20
"""Crops whose hashes differ in at most this many of 256 bits count as copies of one photo.

Measured on the London set (`bench/sharpness_gate.py`), with faces detected and aligned again in every copy: of copies
that were recompressed (JPEG 30-60), resized (x0.5-1.5), brightened, darkened or cut, 87% are within 20 bits (median
10), of mirrored ones 83%, of copies at a quarter of the size (crops of some 60 pixels) 61%. Most of the difference
comes from the scatter of detection. None of 255,600 pairs of photos of different people is within 20 bits (the
closest: 21), and 34 of 3240 pairs of one person are: 30 in one pose, with and without a smile, and 4 of a left and a
right view, which are mirror images of each other.
"""

SAME_DISTANCE = 6
"""The limit for photos of one person, where two expressions in the same second may be 10 bits apart: within 6 bits, it
is one file stored twice, or one photo aligned to the same pixels."""

TABLES, WINDOW, SEED = 32, 24, 2022
"""Number of orders in which the hashes are sorted, of successors that each is compared with per order, and the seed of
the orders."""


def _lowest_frequencies() -> Int[np.ndarray, "frequencies=256"]:
    """Flat indices into a `[GRID, GRID]` cosine transform of its 256 lowest frequencies but the constant, by radius."""
    y, x = np.mgrid[0:GRID, 0:GRID]
    return np.argsort((y**2 + x**2).ravel(), kind="stable")[1:257]


_FREQUENCIES = _lowest_frequencies()
_WINDOW = np.sqrt(np.outer(*[np.hanning(GRID + 2)[1:-1]] * 2))  # the face matters, and the border shifts most
_MIRROR = np.packbits(_FREQUENCIES % GRID % 2 == 1)


def perceptual_hash(crop: UInt8[np.ndarray, "n n 3"]) -> UInt8[np.ndarray, "bytes=32"]:
    """256 signs of the windowed grey crop's lowest frequencies (2-D cosine transform), from low to high.

    Like pHash (Zauner 2010), but with four times as many frequencies, because all aligned faces agree in the lowest,
    and with signs instead of comparisons with the median, so that a mirrored crop has the hash `mirrored(hash)`.
    Invariant to brightness and contrast.
    """
    grey = Image.fromarray(crop).convert("L").resize((GRID, GRID), Image.Resampling.BOX)
    pixels = np.asarray(grey, np.float64)
    return np.packbits(dctn((pixels - pixels.mean()) * _WINDOW).ravel()[_FREQUENCIES] > 0)


def mirrored(hashes: UInt8[np.ndarray, "*n 32"]) -> UInt8[np.ndarray, "*n 32"]:
    """The hashes of the mirrored crops: odd horizontal frequencies change their sign."""
    return hashes ^ _MIRROR


def near_duplicates(
    hashes: UInt8[np.ndarray, "n 32"], owners: Int[np.ndarray, " n"], distance: int = DISTANCE
) -> Int[np.ndarray, " n"]:
    """For each row the first earlier row of another owner whose hash is within `distance` bits, or -1; `int64`.

    Rows come in order of priority. Mirror images count as duplicates. A row is compared with all earlier ones, whether
    or not these are duplicates themselves, so each answer depends only on pairs.

    The search is exact for equal hashes, and for up to `WINDOW` / 2 different ones. Beyond that it sorts the hashes by
    their bytes in `TABLES` random orders and compares neighbours (Charikar 2002). Among 3.3 million hashes distributed
    like those of the London set, with 100,000 equal ones and a cluster of 50,000 near ones, it found all of 1131 real
    copies within `DISTANCE`; among a million, all of 112 isolated copies at a median of 18 bits. In the cluster 0.07%
    found no duplicate, and most found a later one than the first. Many rows of one owner around a row of another may
    hide it from each other. The large search took 4 minutes on two busy cores and 1.9 GB. The result does not depend on
    the threads.

    Raises `ValueError` for other shapes.
    """
    hashes, owners = np.ascontiguousarray(hashes, np.uint8), np.asarray(owners)
    if hashes.ndim != 2 or hashes.shape[1] != 32 or owners.shape != hashes.shape[:1]:
        raise ValueError(f"found hashes {list(hashes.shape)}, owners {list(owners.shape)}; wanted [n, 32] and [n]")
    rows = len(hashes)
    if rows == 0:
        return np.zeros(0, np.int64)
    different, group = _different(hashes)
    nearest = _Nearest(group, owners, len(different))
    entries = np.concatenate([different, mirrored(different)])
    lock = threading.Lock()

    def search(order: np.ndarray) -> None:
        for left, right in _neighbours(entries, order, distance):
            left, right = left % len(different), right % len(different)
            with lock:
                nearest.meet(left, right)
                nearest.meet(right, left)

    draw = np.random.default_rng(SEED)
    orders = [draw.permutation(32)[:8] for _ in range(TABLES if len(entries) > WINDOW else 1)]
    # numpy releases the GIL. What the threads find is merged by a minimum, so their order does not matter.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(search, orders))
    _follow(nearest, different, distance)
    return nearest.of_rows()


def _different(hashes: UInt8[np.ndarray, "n 32"]) -> tuple[UInt8[np.ndarray, "m 32"], Int[np.ndarray, " n"]]:
    """The distinct hashes, with mirror images counted as equal, and for each row the index of its own."""
    # The sign of the lowest odd frequency selects a hash or its mirror image as the representative.
    bit = int(np.argmax(np.unpackbits(_MIRROR)))
    upright = np.where((hashes[:, bit // 8] >> (7 - bit % 8) & 1)[:, None] > 0, mirrored(hashes), hashes)
    words = upright.view(np.uint64)
    order = np.lexsort(words.T)
    new = np.ones(len(words), bool)
    new[1:] = (words[order[1:]] != words[order[:-1]]).any(1)
    group = np.empty(len(words), np.int64)
    group[order] = np.cumsum(new) - 1
    return upright[order[new]], group


class _Nearest:
    """For each group of equal hashes, the two rows that can be the answer for any of its rows.

    `first` is the first row within the distance, `second` the first one whose owner is not that of `first`: whatever
    its owner, a row finds its answer among the two. The number of rows stands for none.
    """

    def __init__(self, group: np.ndarray, owners: np.ndarray, groups: int) -> None:
        self.group, self.rows = group, len(group)
        self.owners = np.append(owners, owners[-1])  # for "none": any owner will do
        row = np.arange(self.rows)
        self.own_first = np.full(groups, self.rows)
        np.minimum.at(self.own_first, group, row)
        self.own_second = np.full(groups, self.rows)
        foreign = owners != owners[self.own_first[group]]
        np.minimum.at(self.own_second, group[foreign], row[foreign])
        self.first, self.second = self.own_first.copy(), self.own_second.copy()

    def meet(self, left: np.ndarray, right: np.ndarray) -> None:
        """Updates the groups `left` with the rows of their partners in `right`."""
        seen = self.first[left], self.second[left], self.own_first[right], self.own_second[right]
        np.minimum.at(self.first, left, seen[2])
        self.second[left] = self.rows  # the first's owner may have changed
        owner = self.owners[self.first[left]]
        for rows in seen:
            other = np.flatnonzero((rows < self.rows) & (self.owners[rows] != owner))
            np.minimum.at(self.second, left[other], rows[other])

    def of_rows(self) -> np.ndarray:
        """The answer for each row."""
        first, second = self.first[self.group], self.second[self.group]
        answer = np.where(self.owners[first] == self.owners[:-1], second, first)
        return np.where(answer < np.arange(self.rows), answer, -1)


def _close(left: np.ndarray, right: np.ndarray, distance: int) -> np.ndarray:
    """Whether hashes `uint64 [4, n]` and `[4, n]` are within `distance` bits (at most 63): `bool [n]`."""
    a, b, c, d = (np.bitwise_count(left[word] ^ right[word]) for word in range(4))
    # The sum is uint8: 256 differing bits overflow to 0, but then the last word differs in all of its 64.
    return (a + b + c + d <= distance) & (d <= distance)


def _neighbours(entries: UInt8[np.ndarray, "n 32"], order: np.ndarray, distance: int, chunk: int = 32768):
    """Sorts the entries by the bytes `order`; yields pairs of close neighbours, as two arrays of indices."""
    key = np.ascontiguousarray(entries[:, order]).view(">u8")[:, 0].astype(np.uint64)
    place = np.argsort(key, kind="stable")
    for start in range(0, len(place), chunk):
        here = place[start : start + chunk + WINDOW]  # fits into the processor's cache
        words = np.ascontiguousarray(entries[here].view(np.uint64).T)
        lefts, rights = [], []
        for step in range(1, min(WINDOW, len(here) - 1) + 1):
            pair = np.flatnonzero(_close(words[:, :-step], words[:, step:], distance))
            pair = pair[pair < chunk]
            lefts.append(here[pair])
            rights.append(here[pair + step])
        if sum(map(len, lefts)):
            yield np.concatenate(lefts), np.concatenate(rights)


def _follow(nearest: _Nearest, different: UInt8[np.ndarray, "m 32"], distance: int) -> None:
    """Passes on what neighbours of neighbours found: in a cluster, few have its first row as their neighbour."""
    words = np.ascontiguousarray(different.view(np.uint64).T)
    mask = _MIRROR.view(np.uint64)[:, None]
    asking = np.arange(len(different))
    while len(asking):
        before = nearest.first[asking], nearest.second[asking]
        for row in before:
            known = row < nearest.rows
            asker, friend = asking[known], nearest.group[row[known]]
            for found in (nearest.first, nearest.second):
                there = found[friend]
                some = there < nearest.rows
                ours, theirs = asker[some], nearest.group[there[some]]
                here, far = words[:, ours], words[:, theirs]
                close = _close(here, far, distance) | _close(here, far ^ mask, distance)
                nearest.meet(ours[close], theirs[close])
        changed = (nearest.first[asking] != before[0]) | (nearest.second[asking] != before[1])
        asking = asking[changed]

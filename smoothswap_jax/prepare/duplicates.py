"""Finding crops that show one photo: a hash of a crop's looks, and a search for hashes that nearly agree."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image
from scipy.fft import dctn

GRID = 64
"""Side of the grey picture that is hashed, in pixels."""

DISTANCE = 20
"""Most bits, of 256, in which the hashes of two copies of a photo differ.

Measured on the London set (`bench/sharpness_gate.py`), every copy detected and aligned anew: of copies
recompressed (JPEG 30-60), resized (x0.5-1.5), made lighter, darker or cut, 87% are within 20 bits (median 10), of
mirrored ones 83%, of copies at a quarter of the size (crops of some 60 pixels) 61%. What parts copies is the scatter of
detection. Of pairs of photos of different people none of 255,600 is (the nearest: 21); of 3240 pairs of one person
34 are: 30 of one pose, with and without a smile, and 4 of a left and a right view, which mirror each other.
"""

SAME_DISTANCE = 6
"""The same for photos of one person, where a smile in the same second may be as near as 10 bits: what is within 6 bits
is one file stored twice, or one photo aligned to the same pixels."""

TABLES, WINDOW, SEED = 32, 24, 2022
"""In how many orders the hashes are sorted, how many followers each is compared with in each, and what draws them."""


def _lowest_frequencies() -> Int[np.ndarray, "frequencies=256"]:
    """Flat indices into a `[GRID, GRID]` cosine transform of its 256 lowest frequencies but the constant, by radius."""
    y, x = np.mgrid[0:GRID, 0:GRID]
    return np.argsort((y**2 + x**2).ravel(), kind="stable")[1:257]


_FREQUENCIES = _lowest_frequencies()
_WINDOW = np.sqrt(np.outer(*[np.hanning(GRID + 2)[1:-1]] * 2))  # the face counts, the border is what shifts most
_MIRROR = np.packbits(_FREQUENCIES % GRID % 2 == 1)


def perceptual_hash(crop: UInt8[np.ndarray, "n n 3"]) -> UInt8[np.ndarray, "bytes=32"]:
    """256 signs of the windowed grey crop's lowest frequencies (2-D cosine transform), from low to high.

    Like pHash (Zauner 2010), but of four times as many frequencies, because aligned faces agree in the lowest, and as
    signs instead of comparisons with the median, so that a mirrored crop has the hash `mirrored(hash)`. Brightness and
    contrast cancel.
    """
    grey = Image.fromarray(crop).convert("L").resize((GRID, GRID), Image.Resampling.BOX)
    pixels = np.asarray(grey, np.float64)
    return np.packbits(dctn((pixels - pixels.mean()) * _WINDOW).ravel()[_FREQUENCIES] > 0)


def mirrored(hashes: UInt8[np.ndarray, "*n 32"]) -> UInt8[np.ndarray, "*n 32"]:
    """The hashes of the mirrored crops: odd frequencies across change their sign."""
    return hashes ^ _MIRROR


def near_duplicates(
    hashes: UInt8[np.ndarray, "n 32"], owners: Int[np.ndarray, " n"], distance: int = DISTANCE
) -> Int[np.ndarray, " n"]:
    """For each row the smallest earlier row of another owner whose hash is within `distance` bits, or -1; `int64`.

    Rows come in order of priority. Mirror images are duplicates too. A row is compared with all earlier ones, whether
    those are duplicates themselves or not, so each answer depends on pairs alone.

    Equal hashes are found for certain, and so is everything among up to `WINDOW` / 2 different hashes. Beyond, the
    search sorts the hashes in `TABLES` orders of their bytes and compares neighbours (Charikar 2002). Of 1131 real
    copies within `DISTANCE`, hidden among 3.3 million hashes as skewed as those of the London set, 100,000 equal ones
    and 50,000 in one crowd, it found all, and so it did of 112 lone copies, of 18 bits in the median, among a million.
    In the crowd 0.07% found no duplicate, and most a later one than the first. Frames of one owner, crowded around a
    foreign row, may hide it from each other. That search took 4 minutes on two busy cores and 1.9 GB. The answer is a
    function of the arguments, not of threads.

    Raises `ValueError` on other shapes.
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
    # numpy lets go of Python's lock. What the threads find is merged by a minimum, in whatever order.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(search, orders))
    _follow(nearest, different, distance)
    return nearest.of_rows()


def _different(hashes: UInt8[np.ndarray, "n 32"]) -> tuple[UInt8[np.ndarray, "m 32"], Int[np.ndarray, " n"]]:
    """The different hashes, a mirror image being no different, and for each row which it has."""
    # The lowest odd frequency decides between a hash and its mirror image.
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
    """For each group of equal hashes the two rows that can be the answer for any of its rows.

    `first` is the smallest row within reach, `second` the smallest of another owner than the first's: a row of any
    owner finds its answer among the two. `rows` (one too large) stands for none.
    """

    def __init__(self, group: np.ndarray, owners: np.ndarray, groups: int) -> None:
        self.group, self.rows = group, len(group)
        self.owners = np.append(owners, owners[-1])  # of none: any
        row = np.arange(self.rows)
        self.own_first = np.full(groups, self.rows)
        np.minimum.at(self.own_first, group, row)
        self.own_second = np.full(groups, self.rows)
        foreign = owners != owners[self.own_first[group]]
        np.minimum.at(self.own_second, group[foreign], row[foreign])
        self.first, self.second = self.own_first.copy(), self.own_second.copy()

    def meet(self, left: np.ndarray, right: np.ndarray) -> None:
        """Lets each group of `left` know the rows of its partner in `right`."""
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
    """Where `uint64 [4, n]` and `[4, n]` are within `distance` bits (at most 63), `bool [n]`."""
    a, b, c, d = (np.bitwise_count(left[word] ^ right[word]) for word in range(4))
    # All 256 bits would overflow to 0; then the last word differs in all of its 64.
    return (a + b + c + d <= distance) & (d <= distance)


def _neighbours(entries: UInt8[np.ndarray, "n 32"], order: np.ndarray, distance: int, chunk: int = 32768):
    """Yields pairs of close entries, as two arrays of indices, in the order of some of their bytes."""
    key = np.ascontiguousarray(entries[:, order]).view(">u8")[:, 0].astype(np.uint64)
    place = np.argsort(key, kind="stable")
    for start in range(0, len(place), chunk):
        here = place[start : start + chunk + WINDOW]  # few enough for the processor's cache
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
    """Asks the groups that were found for what they found: in a crowd the first row is no one's neighbour."""
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

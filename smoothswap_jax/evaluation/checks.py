"""Sanity checks of swaps, before their scores are believed: alignment, channel order, value range, faces found."""

from typing import NamedTuple

import numpy as np

from smoothswap_jax.evaluation.features import Readings, unseen
from smoothswap_jax.evaluation.methods import Method
from smoothswap_jax.evaluation.pairs import Pairs

SAMPLE = 64
MAX_SHIFT = 0.04
"""Of the crop's side, 10 pixels of 256: a swap has its target's pose, so its points lie near the target's. Three
quarter views of other people scatter by 1.5%, and a crop that was
aligned differently is off by more than this."""


class Check(NamedTuple):
    """One line of the report: what was looked at, what was found, whether it is as it should be."""

    name: str
    found: str
    good: bool


def check_method(method: Method, readings: Readings, originals: Readings, pairs: Pairs) -> list[Check]:
    """The sanity checks of a method's swaps."""
    rows = np.unique(np.linspace(0, len(pairs) - 1, SAMPLE).astype(int))
    swaps, targets = method.read(rows).astype(np.float64), pairs.gallery.read(pairs.target[rows]).astype(np.float64)
    size = pairs.gallery.size
    checks = [_colours(swaps, targets), _range(swaps)]
    for judge, features in readings.features.items():
        if judge in originals.features:
            blind = int((unseen(features) & ~unseen(originals.features[judge])[pairs.target]).sum())
            if blind:
                words = f"{judge} sees nothing in {blind} of {len(pairs)} swaps though it does in the target"
                checks.append(Check("judges see", words, False))
    if pairs.known_points:
        return checks
    both = readings.found & originals.found[pairs.target]
    missed = int((~readings.found & originals.found[pairs.target]).sum())
    words = f"{missed} of {len(pairs)} swaps show none though the target does"
    checks.append(Check("faces found", words, missed == 0))
    if both.any():
        shift = np.linalg.norm(readings.points - originals.points[pairs.target], axis=2).mean(axis=1)[both] / size
        middle = float(np.median(shift))
        words = f"points {256 * middle:.1f} pixels of 256 from the target's in the median"
        checks.append(Check("alignment", words, middle < MAX_SHIFT))
    return checks


def _colours(swaps: np.ndarray, targets: np.ndarray) -> Check:
    """A swap leaves the border alone, so exchanged red and blue show there as a difference that vanishes when they are
    exchanged back."""
    edge = np.ones(swaps.shape[1:3], bool)
    width = max(1, swaps.shape[1] // 16)
    edge[width:-width, width:-width] = False
    given, turned = (np.mean(np.square(x[:, edge] - targets[:, edge])) for x in (swaps, swaps[..., ::-1]))
    good = not (turned < 0.5 * given and given > 25.0)
    words = f"border differs by {given**0.5:.1f} of 255"
    exchanged = f", with red and blue exchanged by {turned**0.5:.1f}: they look exchanged"
    return Check("order of colours", words if good else words + exchanged, good)


def _range(swaps: np.ndarray) -> Check:
    low, high = swaps.min(), swaps.max()
    spread = float(np.mean(swaps.std(axis=(1, 2, 3))))
    return Check("range", f"{low:.0f} to {high:.0f} of 0 to 255, spread {spread:.0f}", high > 64 and spread > 8)

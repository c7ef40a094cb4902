"""Confidence intervals of scores by the bootstrap over pairs or identities.

Pure functions of NumPy arrays, computed in float64.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped
from scipy.special import ndtr, stdtrit

from smoothswap_jax.metrics.agreement import rank_correlation


@dataclass(frozen=True)
class Interval:
    """A number with the ends of its confidence interval, in the unit of the number."""

    value: float
    low: float
    high: float


Verdict = Literal["better", "worse", "cannot tell"]


def bootstrap_interval(
    values: Float[np.ndarray, " n"],
    statistic: Callable[[np.ndarray], float] = np.mean,
    groups: Shaped[np.ndarray, " n"] | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Bootstrap confidence interval of `statistic(values)`.

    With `groups` (a label for each value, e.g. the source identity) whole groups are drawn with replacement:
    values that share a source are not independent, and drawing them singly makes the interval too narrow
    (cluster bootstrap, Davison and Hinkley 1997, section 3.8). The ends are percentiles of the resampled
    statistics (Efron and Tibshirani 1993), widened for few units by Hesterberg's rule (2015, "What teachers
    should know about the bootstrap", expanded percentile): alpha' = Phi(-sqrt(u / (u - 1)) t_{1 - alpha, u
    - 1}) for u units. Raises ValueError for fewer than two units, non-finite values, or a level outside (0,
    1).
    """
    values = finite("values", values)
    unit, n_units = _units(groups, len(values))
    blocks = _resample_counts(n_units, n_resamples, seed)
    if statistic is np.mean:  # the general way would build two thousand copies of the values
        total, size = np.bincount(unit, values), np.bincount(unit).astype(np.float64)
        resampled = np.concatenate([(counts @ total) / (counts @ size) for counts in blocks])
    else:
        index = np.arange(len(values))
        draws = (values[np.repeat(index, row[unit])] for counts in blocks for row in counts)
        resampled = np.array([statistic(draw) for draw in draws])
    return _percentiles(float(statistic(values)), resampled, n_units, level)


def ratio_of_means_interval(
    numerator: Float[np.ndarray, " n"],
    denominator: Float[np.ndarray, " n"],
    groups: Shaped[np.ndarray, " n"] | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Interval of `mean(numerator) / mean(denominator)` by the paired bootstrap: one draw resamples both.

    For instance MSE(swap, truth) over MSE(target, truth), pair by pair: below 1 the swap is nearer to the
    truth than leaving the target as it is. Pairs that are hard for both then cancel. `groups` and the ends
    are as in `bootstrap_interval`. Raises ValueError as it does, for unequal lengths, and when a
    denominator is not positive: a ratio whose denominator may vanish has no such interval.
    """
    top, bottom = finite("numerator", numerator), finite("denominator", denominator)
    if top.shape != bottom.shape:
        raise ValueError(f"numerator and denominator must pair up, found {len(top)} and {len(bottom)} values")
    if bottom.min() <= 0:
        raise ValueError(f"denominator must be positive, found {bottom.min()} at {int(bottom.argmin())}")
    unit, n_units = _units(groups, len(top))
    over, under = np.bincount(unit, top), np.bincount(unit, bottom)
    blocks = _resample_counts(n_units, n_resamples, seed)
    resampled = np.concatenate([(counts @ over) / (counts @ under) for counts in blocks])
    return _percentiles(float(top.mean() / bottom.mean()), resampled, n_units, level)


def paired_difference_interval(
    a: Float[np.ndarray, " n"],
    b: Float[np.ndarray, " n"],
    groups: Shaped[np.ndarray, " n"] | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Interval of `mean(a - b)`, two methods' scores of the same pairs, by the paired bootstrap.

    What is hard for both methods cancels, so it finds differences that two intervals, one a method, would hide
    by overlapping. `groups` and the ends are as in `bootstrap_interval`. Raises ValueError as it does, and for
    unequal lengths.
    """
    first, second = finite("a", a), finite("b", b)
    if first.shape != second.shape:
        raise ValueError(f"a and b must pair up, found {len(first)} and {len(second)} values")
    return bootstrap_interval(first - second, np.mean, groups, n_resamples, seed, level)


def crossed_difference_interval(
    a: Float[np.ndarray, "s n"],
    b: Float[np.ndarray, "s n"],
    groups: Shaped[np.ndarray, " n"] | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Interval of `mean(a - b)` over trainings and people at once: row s has the scores of the s-th training of each of
    two methods on the same n pairs.

    Trainings and groups are both drawn with replacement, and every training drawn is taken on every group drawn (the
    crossed bootstrap, Owen 2007), because a method's next training differs from these as the next people do. A
    bootstrap of two or three trainings cannot reach beyond the worst and the best of them, so the ends are the wider of
    its own and of Student's interval over the means of trainings (s - 1 degrees of freedom).

    Raises ValueError for unequal shapes, fewer than two trainings or groups, and values that are not finite.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"a and b must both be [trainings, pairs], found shapes {a.shape} and {b.shape}")
    trainings, pairs = a.shape
    if trainings < 2:
        raise ValueError(f"an interval over trainings needs at least two, found {trainings}")
    difference = finite("a - b", (a - b).ravel()).reshape(a.shape)
    unit, n_units = _units(groups, pairs)
    total = np.stack([np.bincount(unit, row, n_units) for row in difference])
    size = np.bincount(unit, minlength=n_units).astype(np.float64)
    rows = np.concatenate(list(_resample_counts(trainings, n_resamples, seed + 1))) / trainings
    resampled, done = [], 0
    for counts in _resample_counts(n_units, n_resamples, seed):
        weights = rows[done : done + len(counts)]
        resampled.append(np.einsum("rs,sg,rg->r", weights, total, counts, optimize=True) / (counts @ size))
        done += len(counts)
    value, means = float(difference.mean()), difference.mean(axis=1)
    drawn = _percentiles(value, np.concatenate(resampled), n_units, level)
    half = float(stdtrit(trainings - 1, (1 + level) / 2) * means.std(ddof=1) / np.sqrt(trainings))
    return Interval(value, min(drawn.low, value - half), max(drawn.high, value + half))


def rank_correlation_interval(
    a: Float[np.ndarray, " n"],
    b: Float[np.ndarray, " n"],
    groups: Shaped[np.ndarray, " n"] | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Spearman's rank correlation of two measures of the same n things, with its interval by the bootstrap.

    `groups` and the ends are as in `bootstrap_interval`; resamples in which a measure does not vary count as 0. Raises
    ValueError as it does, for unequal lengths, and where a measure does not vary.
    """
    first, second = finite("a", a), finite("b", b)
    if first.shape != second.shape:
        raise ValueError(f"a and b must pair up, found {len(first)} and {len(second)} values")
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        raise ValueError("a rank correlation needs measures that vary, found one that is the same everywhere")

    def spearman(drawn: np.ndarray) -> float:
        rows = drawn.astype(np.int64)
        return float(np.nan_to_num(rank_correlation(first[rows], second[rows])))

    return bootstrap_interval(np.arange(len(first)), spearman, groups, n_resamples, seed, level)


def verdict(difference: Interval, better: Literal["higher", "lower"]) -> Verdict:
    """What the interval of `a - b` says of `a`, where `better` scores are "higher" or "lower".

    "cannot tell" when the interval holds zero, its ends included. Raises ValueError for another `better`.
    """
    if better not in ("higher", "lower"):
        raise ValueError(f'better must be "higher" or "lower", found {better!r}')
    if difference.low > 0:
        return "better" if better == "higher" else "worse"
    if difference.high < 0:
        return "worse" if better == "higher" else "better"
    return "cannot tell"


def finite(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"{name} must be a non-empty vector, found shape {values.shape}")
    values = values.astype(np.float64)
    if not np.all(np.isfinite(values)):
        bad = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"{name} must be finite, found {values[bad]} at {bad}")
    return values


def _units(groups: np.ndarray | None, n: int) -> tuple[np.ndarray, int]:
    """For every value the number of its resampling unit, and how many units there are."""
    if groups is None:
        unit = np.arange(n)
    else:
        labels = np.asarray(groups)
        if labels.shape != (n,):
            raise ValueError(f"groups must have shape ({n},), found {labels.shape}")
        unit = np.unique(labels, return_inverse=True)[1]
    n_units = int(unit.max()) + 1
    if n_units < 2:
        raise ValueError("a bootstrap needs at least two independent values or groups, found one")
    return unit, n_units


def _resample_counts(n_units: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each resample draws each unit, in blocks [resamples, n_units] of 32 MB or one row."""
    if n_resamples < 100:
        raise ValueError(f"n_resamples must be at least 100 for an interval, found {n_resamples}")
    rng = np.random.default_rng(seed)
    block = max(1, 2**22 // n_units)
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        yield rng.multinomial(n_units, np.full(n_units, 1.0 / n_units), size=size)


def _percentiles(value: float, resampled: np.ndarray, n_units: int, level: float) -> Interval:
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), found {level}")
    t = stdtrit(n_units - 1, 1 - (1 - level) / 2)
    tail = ndtr(-np.sqrt(n_units / (n_units - 1)) * t)
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(value, float(low), float(high))

"""What a metric is, and what all metrics share.

A metric turns what one kind of judge reads from faces, or the pixels alone, into numbers; each is a `Metric` in a file
of its own, and `registry.py` lists them all. `scoring.py` runs them and charges failures.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.methods import Method
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.metrics.bootstrap import Interval, bootstrap_interval

Features = Float[np.ndarray, "n d"]

KINDS = {
    "identity": "Identity",
    "attributes": "Pose and expression",
    "truth": "Against the true swap",
    "pixels": "Change",
}
"""The kinds of measures, and the title of each one's table in the report, in their order."""


@dataclass(frozen=True)
class Measure:
    """A number for each pair. kind: a key of `KINDS`. better: 'higher', 'lower' or '' for neither. judge: whose number
    it is; '' for those of pixels. to: which original a judge compares with: source, target or truth."""

    name: str
    kind: str
    better: str
    about: str
    judge: str = ""
    to: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"measure {self.name!r}: found kind {self.kind!r}; wanted one of {', '.join(KINDS)}")


Scores = dict[str, Float[np.ndarray, "n"]]
"""Of each pair, by measure; NaN where the pair's original cannot be measured, which is the same for all methods. In a
measure with no better end also where the swap itself shows the judge nothing."""
Scored = list[tuple[Measure, Float[np.ndarray, "n"]]]


@dataclass(frozen=True)
class Metric:
    """One metric: the role of the judges it needs ('' for none), and one of four ways to be computed.

    of_features(judge, swaps [n d], originals [m d], pairs): a score for each pair from features of the swaps and of all
    faces of the gallery, both NaN in rows where the judge sees nothing. `scoring` charges failures, so this function
    must not. Every measure has a judge and a `to`.
    of_distances(judge, distances [n], pairs): from what a `compare` judge gives.
    of_pixels(method, pairs): from the pictures alone.
    of_sets(judge, swaps [n d], targets [m d]): numbers of the whole set, by name, lower is better; the features of the
    swaps and of the distinct targets. Empty where there are too few.

    of_originals(features [n d], people, recordings): how far to trust such a judge, from the original faces alone.
    """

    role: str = ""
    of_features: Callable[[Judge, Features, Features, Pairs], Scored] | None = None
    of_distances: Callable[[Judge, Float[np.ndarray, "n"], Pairs], Scored] | None = None
    of_pixels: Callable[[Method, Pairs], Scored] | None = None
    of_sets: Callable[[Judge, Features, Features], dict[str, float]] | None = None
    of_originals: Callable[[Features, list[str], list[str]], dict[str, float]] | None = None


def judge_measure(judge: Judge, name: str, kind: str, better: str, about: str, to: str) -> Measure:
    """A measure of a judge, whose name comes first."""
    return Measure(f"{judge.name}: {name}", kind, better, about, judge.name, to)


def of_finite_rows(function: Callable[..., np.ndarray], *parts: np.ndarray) -> Float[np.ndarray, "n"]:
    """`function` of the rows in which all parts are finite, NaN in the others."""
    seen = np.all([np.isfinite(part).reshape(len(part), -1).all(axis=1) for part in parts], axis=0)
    values = np.full(len(seen), np.nan)
    if seen.any():
        values[seen] = function(*(part[seen] for part in parts))
    return values


def mean(values: Float[np.ndarray, "n"]) -> float:
    """Over the pairs that can be measured; NaN if there are none."""
    seen = values[np.isfinite(values)]
    return float(seen.mean()) if len(seen) else float("nan")


def mean_interval(values: Float[np.ndarray, "n"], groups: Shaped[np.ndarray, "n"]) -> Interval | float | None:
    """The mean with its bootstrap interval over groups; the bare mean if all values are equal or of one group, and None
    if nothing can be measured."""
    seen = np.isfinite(values)
    if not seen.any():
        return None
    spread = np.ptp(values[seen]) > 0 and len(set(groups[seen])) > 1
    return bootstrap_interval(values[seen], groups=groups[seen]) if spread else mean(values)

"""From readings to scores: runs the metrics, and charges every method for its failures.

A failure is a swap in which no face is found, or in which a judge sees nothing, though its target shows one. It is
never left out: in each measure it counts the worst of what the judge reads and what a useless copy has, in this pair
and in the mean over pairs. The useless copy is the unchanged target in measures of identity, and the unchanged source
in all others. The mean counts because in a single pair that copy may be good, a frontal source for a frontal target for
instance, and then failing would pay.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from smoothswap_jax.evaluation.features import Readings, unseen
from smoothswap_jax.evaluation.galleries import recordings_of
from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.measures.base import Features, Measure, Metric, Scored, Scores, mean
from smoothswap_jax.evaluation.measures.identity import COSINE_TO_SOURCE, strangers_agreement
from smoothswap_jax.evaluation.measures.registry import METRICS
from smoothswap_jax.evaluation.methods import Method
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.metrics.agreement import rank_correlation

NO_FACE = Measure(
    "no face found",
    "attributes",
    "lower",
    "Share of swaps in which no face is found though the target shows one. They are not left out: in the measures of "
    "identity, pose, expression and shape they count the worst of what the judge reads and what the unchanged target "
    "(in identity) or source (in the others) has, in this pair and in the mean. Pixels and perceptual distances are "
    "measured as they are.",
)

FailureCosts = dict[tuple[str, str], Scored]
"""By judge and metric, the scores of the useless copies."""


STRANGERS = "strangers"
Agreement = dict[tuple[str, str], dict[str, float]]
"""By two judges of identity, Spearman's rank correlation of their cosines: over pairs of `STRANGERS` among the
originals, and over each method's swaps and their sources."""


def _metrics_of(judge: Judge) -> Iterator[tuple[str, Metric]]:
    return ((name, metric) for name, metric in METRICS.items() if metric.role == judge.role)


def failure_costs(originals: Readings, pairs: Pairs, judges: Sequence[Judge]) -> FailureCosts:
    """What failures cost: the unchanged target's scores in measures of identity, the unchanged source's in the rest."""
    costs: FailureCosts = {}
    for judge in judges:
        for name, metric in _metrics_of(judge):
            if metric.of_features is None:
                continue
            known = _blanked(originals.features[judge.name])
            sources, targets = (
                metric.of_features(judge, known[rows], known, pairs) for rows in (pairs.source, pairs.target)
            )
            both = zip(sources, targets, strict=True)
            costs[judge.name, name] = [target if target[0].kind == "identity" else source for source, target in both]
    return costs


def score(
    method: Method, readings: Readings, originals: Readings, pairs: Pairs, judges: Sequence[Judge], costs: FailureCosts
) -> tuple[Scores, list[Measure]]:
    """All scores of a method, one for each pair, by measure.

    readings: of the method's pictures, one a pair. originals: of all faces of the gallery, by row. costs: of these
    pairs, by `failure_costs`.
    """
    failed = ~readings.found & originals.found[pairs.target]
    scored: Scored = []
    for metric in METRICS.values():
        if metric.of_pixels is not None:
            scored += metric.of_pixels(method, pairs)
    for judge in judges:
        for name, metric in _metrics_of(judge):
            if metric.of_distances is not None:
                scored += metric.of_distances(judge, readings.features[judge.name][:, 0], pairs)
            if metric.of_features is not None:
                swaps, known = readings.features[judge.name], originals.features[judge.name]
                scored += _with_failures(judge, metric, swaps, known, pairs, failed, costs[judge.name, name])
    if not pairs.known_points:
        scored.append((NO_FACE, failed.astype(np.float64)))
    return {measure.name: values for measure, values in scored}, [measure for measure, _ in scored]


def _blanked(features: Features) -> Features:
    return np.where(unseen(features)[:, None], np.nan, features)


def _with_failures(
    judge: Judge,
    metric: Metric,
    swaps: Features,
    known: Features,
    pairs: Pairs,
    failed: Bool[np.ndarray, "n"],
    costs: Scored,
) -> Scored:
    """A judge's measures, failures included. Pairs whose originals show it nothing have NaN, for every method."""
    assert metric.of_features is not None
    failed, known = failed | unseen(swaps), _blanked(known)
    scored = []
    found = metric.of_features(judge, _blanked(swaps), known, pairs)
    for (measure, values), (_, useless) in zip(found, costs, strict=True):
        ends = {"source": pairs.source, "target": pairs.target, "truth": pairs.truth}[measure.to]
        shown = np.isfinite(known[ends]).all(axis=1)
        if measure.better:
            worse = np.fmax if measure.better == "lower" else np.fmin
            values = np.where(failed, worse(worse(values, useless), mean(useless)), values)
            shown &= np.isfinite(useless).any()  # if failures cost nothing, methods cannot be compared
        scored.append((measure, np.where(shown, values, np.nan)))
    return scored


def set_scores(readings: Readings, originals: Readings, pairs: Pairs, judges: Sequence[Judge]) -> dict[str, float]:
    """Numbers of the whole set of a method's swaps against the distinct targets, such as FID, by name."""
    targets = np.unique(pairs.target)
    found: dict[str, float] = {}
    for judge in judges:
        for _, metric in _metrics_of(judge):
            if metric.of_sets is not None:
                found |= metric.of_sets(judge, readings.features[judge.name], originals.features[judge.name][targets])
    return found


def judge_checks(originals: Readings, pairs: Pairs, judges: Sequence[Judge]) -> dict[str, dict[str, float]]:
    """By judge, how far its scores can be trusted on these data, from the original pictures."""
    rows = np.unique(np.concatenate([pairs.source, pairs.target]))
    people, recordings = [pairs.gallery.people[row] for row in rows], recordings_of(pairs.gallery, rows)
    found: dict[str, dict[str, float]] = {}
    for judge in judges:
        for _, metric in _metrics_of(judge):
            if metric.of_originals is not None:
                own = metric.of_originals(originals.features[judge.name][rows], people, recordings)
                found[judge.name] = found.get(judge.name, {}) | own
    return found


def judge_agreement(
    originals: Readings, pairs: Pairs, judges: Sequence[Judge], scores: Mapping[str, Scores]
) -> Agreement:
    """How much every two judges of identity agree; scores: of the methods that are no baselines, by name."""
    rows = np.unique(np.concatenate([pairs.source, pairs.target]))
    people = [pairs.gallery.people[row] for row in rows]
    found: Agreement = {}
    for first, second in itertools.combinations([judge for judge in judges if judge.role == "identity"], 2):
        features = [originals.features[judge.name][rows] for judge in (first, second)]
        of = {STRANGERS: strangers_agreement(features[0], features[1], people)}
        for method, values in scores.items():
            cosines = [values[f"{judge.name}: {COSINE_TO_SOURCE}"] for judge in (first, second)]
            of[method] = rank_correlation(*cosines)
        found[first.name, second.name] = {name: value for name, value in of.items() if np.isfinite(value)}
    return found

"""What the numbers mean, in words, so that nobody takes a copy of the source for a good swap."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from smoothswap_jax.evaluation.checks import Check
from smoothswap_jax.evaluation.measures.base import Measure, Scores, mean
from smoothswap_jax.evaluation.measures.heads import WAY
from smoothswap_jax.evaluation.measures.identity import COSINE_TO_SOURCE
from smoothswap_jax.evaluation.measures.pixels import CHANGE, ERROR
from smoothswap_jax.evaluation.measures.scoring import NO_FACE

NEAR_COPY, DISAGREE = 0.1, 0.3
"""A method whose images are this near to a baseline, relative to the distance of source and target, is called a
copy of it. Judges whose shares of the way differ by more than the second number are said to disagree."""


def verdicts(
    methods: Mapping[str, Scores],
    measures: Sequence[Measure],
    kinds: Mapping[str, str],
    checks: Mapping[str, Sequence[Check]] = MappingProxyType({}),
) -> list[str]:
    """Sentences about each method, beside the baselines of the same pairs.

    methods: scores by name. kinds: 'method' or 'baseline' by name. checks: of each method's swaps.
    """
    said = []
    for name in methods:
        if kinds[name] == "method":
            failed = [f"{name} fails the check '{c.name}': {c.found}." for c in checks.get(name, ()) if not c.good]
            said += [*failed, _copies(name, methods), *_beside_baselines(name, methods, measures)]
    return [sentence for sentence in said if sentence]


def _copies(name: str, methods: Mapping[str, Scores]) -> str:
    """Whether the method hardly changes its target, or hardly keeps it, by the change of pixels."""
    change, most = (mean(methods[one][CHANGE.name]) for one in (name, "copy source"))
    if change < NEAR_COPY * _least(methods):
        return (
            f"{name} hardly changes its targets (mean squared change {change:.3g}; copying the source: {most:.3g}): it "
            "does not swap."
        )
    if change > (1 - NEAR_COPY) * most:
        return (
            f"{name} changes its targets as much as copying the source does ({change:.3g} of {most:.3g}): whatever its "
            "identity scores say, it does not keep the target's pose, expression and background."
        )
    return ""


def _least(methods: Mapping[str, Scores]) -> float:
    """The change that a swap cannot do without: that of the truth where it is known."""
    return mean(methods["true swap" if "true swap" in methods else "copy source"][CHANGE.name])


def _beside_baselines(name: str, methods: Mapping[str, Scores], measures: Sequence[Measure]) -> list[str]:
    """Where identity and the rest stand between the baselines that are perfect in one and useless in the other."""
    sentences = []
    source, target, own = methods["copy source"], methods["copy target"], methods[name]
    truth = methods.get("true swap")
    reached = {}
    for judge, measure in _identities(measures).items():
        low, high, mine = (mean(scores[measure]) for scores in (target, source, own))
        if not (low < high and np.isfinite(mine)):  # a judge that cannot tell the copies apart, or sees nothing
            continue
        reached[judge] = (mine - low) / (high - low)
        beside = f"; the true swap {_percent((mean(truth[measure]) - low) / (high - low))}" if truth else ""
        sentences.append(
            f"By {judge}, {name} goes {_percent(reached[judge])} of the way from the target's identity to the source's "
            f"(cosine to source {mine:.2f}; unchanged target {low:.2f}, source itself {high:.2f}{beside})."
        )
    if reached and max(reached.values()) - min(reached.values()) > DISAGREE:
        sentences.append(
            "The judges disagree about identity. One that was trained on the same pictures as the method, or on as "
            "small ones, may look at the same few things that the method has learnt to change."
        )
    for way in (m for m in measures if m.name.endswith(f": {WAY}") and np.isfinite(mean(own[m.name]))):
        sentences.append(
            f"By {way.judge}, the shape of {name}'s heads goes {_percent(mean(own[way.name]))} of the way from the "
            "target's to the source's."
        )
    other = next((m for m in measures if m.kind == "attributes" and m.name != NO_FACE.name), None)
    worst = mean(source[other.name]) if other else 0.0
    if other and worst > 0 and np.isfinite(lost := mean(own[other.name]) / worst):
        least = mean(truth[other.name]) / worst if truth else 0.0  # what the judge itself is off by
        beside = f" (the true swap {_percent(least)})" if truth else ""
        words = f"{name} has {_percent(lost)} of the error that copying the source has in '{other.name}'{beside}"
        dear = lost > least + 0.8 * (1 - least)
        bought = ": its identity is bought with the target's expression and pose." if dear else "."
        sentences.append(words + bought)
    if ERROR.name in own and (most := mean(target[ERROR.name])) > 0:
        ratio = mean(own[ERROR.name]) / most
        nearer = "nearer to the true swap than" if round(ratio, 2) < 1 else "no nearer to the true swap than"
        sentences.append(f"{name} is {nearer} its unchanged target: {ratio:.2f} of its error.")
    return sentences


def _identities(measures: Sequence[Measure]) -> dict[str, str]:
    """The measure of the cosine to the source of each identity judge."""
    end = f": {COSINE_TO_SOURCE}"
    return {m.name.removesuffix(end): m.name for m in measures if m.name.endswith(end)}


def _percent(share: float) -> str:
    return f"{round(100 * share)}%"  # f"{-0.001:.0f}" would be -0

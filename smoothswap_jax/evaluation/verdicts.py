"""What the numbers say, in words: so that nobody takes a copy of the source for a good swap."""

from collections.abc import Mapping, Sequence

import numpy as np

from smoothswap_jax.evaluation.scores import Measure, Scores

NEAR_COPY = 0.1
"""A method whose pictures are this near to a baseline, relative to the distance of source and target, is called a
copy of it."""


def verdicts(methods: Mapping[str, Scores], measures: Sequence[Measure], kinds: Mapping[str, str]) -> list[str]:
    """Sentences about each method, beside the baselines of the same pairs.

    methods: scores by name. kinds: 'method' or 'baseline' by name.
    """
    said = []
    for name in methods:
        if kinds[name] == "method":
            said += [_copies(name, methods), *_beside_baselines(name, methods, measures), _failures(name, methods)]
    return [sentence for sentence in said if sentence]


def _copies(name: str, methods: Mapping[str, Scores]) -> str:
    """Whether the method hardly changes its target, or hardly keeps it, by the change of pixels."""
    change, most = (float(methods[one]["change"].mean()) for one in (name, "copy source"))
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
    return float(methods["true swap" if "true swap" in methods else "copy source"]["change"].mean())


def _beside_baselines(name: str, methods: Mapping[str, Scores], measures: Sequence[Measure]) -> list[str]:
    """Where identity and the rest stand between the baselines that are perfect in one and useless in the other."""
    sentences = []
    source, target, own = methods["copy source"], methods["copy target"], methods[name]
    identity = next((m for m in measures if m.kind == "identity" and m.name.endswith("cosine to source")), None)
    other = next((m for m in measures if m.kind == "attributes" and m.name != "no face found"), None)
    if identity:
        low, high = float(target[identity.name].mean()), float(source[identity.name].mean())
        reached = (float(own[identity.name].mean()) - low) / (high - low) if high > low else np.nan
        truth = methods.get("true swap")
        beside = f"; the true swap scores {truth[identity.name].mean():.2f}" if truth else ""
        sentences.append(
            f"{name} goes {_percent(reached)} of the way from the target's identity to the source's "
            f"({identity.name} {own[identity.name].mean():.2f}, between {low:.2f} for the unchanged target and "
            f"{high:.2f} for the source itself{beside})."
        )
    if other:
        worst = float(source[other.name].mean())
        lost = float(own[other.name].mean()) / worst if worst > 0 else np.nan
        words = f"{name} has {_percent(lost)} of the error that copying the source has in '{other.name}'"
        bought = ": its identity is bought with the target's expression and pose." if lost > 0.8 else "."
        sentences.append(words + bought)
    if "error to the true swap" in own:
        ratio = own["error to the true swap"].mean() / target["error to the true swap"].mean()
        tells = "nearer to the true swap than" if ratio < 1 else "no nearer to the true swap than"
        sentences.append(f"{name} is {tells} its unchanged target: {ratio:.2f} of its error.")
    return sentences


def _failures(name: str, methods: Mapping[str, Scores]) -> str:
    share = float(methods[name]["no face found"].mean())
    return f"No face is found in {_percent(share)} of {name}'s swaps." if share > 0 else ""


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"

"""Claims, and the rule by which scores of several trainings decide them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped

from smoothswap_jax.metrics.bootstrap import (
    Interval,
    crossed_difference_interval,
    paired_difference_interval,
    rank_correlation_interval,
    verdict,
)

FLOOR = 0.99
"""ROC AUC on unseen people below which an embedder does not do its job."""
RULE = f"""\
Each arm is trained several times, with seeds 0, 1, ...; all arms and seeds are scored on the same pairs of people that
none of them saw. A claim says that one arm's mean of a measure is higher, or lower, than another's. It is decided by
the 95% interval of the paired difference over seeds and people at once: both are drawn with replacement (2,000
resamples, seed 0), and the ends reach at least as far as Student's interval over the seeds. The interval lies on the
claim's side of zero: supported. It lies on the other: not supported. It holds zero: cannot tell. Each claim is decided
by itself: of twenty without any true difference one would be decided by chance. Where two arms rest on different
embedders and the ROC AUC of one on unseen people is below {FLOOR} in the mean over its seeds, the claim is not decided:
cannot tell, because a comparison counts only between embedders that do their job. Nor is one whose arms were trained
with one seed, as seeds may differ more than arms. Swappers that exist, and baselines,
have one row each: their intervals are over people alone, and what trained them has no floor. A prediction says that
embedders with a higher, or lower, measure train better swappers, whose mean error to the true swap is lower. It is
decided likewise, by the 95% interval of Spearman's rank correlation over all embedders, an objective drawn with all its
seeds."""

Word = Literal["supported", "not supported", "cannot tell"]
WORDS: dict[str, Word] = {"better": "supported", "worse": "not supported", "cannot tell": "cannot tell"}


@dataclass(frozen=True)
class Claim:
    """That `arm` has a better mean of `measure` than `than`. better: "higher" or "lower"."""

    text: str
    measure: str
    arm: str
    than: str
    better: Literal["higher", "lower"]


@dataclass(frozen=True)
class Prediction:
    """That a measure of embedders predicts how good the swappers are that they train. better: "higher" or "lower", the
    values of those with better swappers."""

    text: str
    measure: str
    better: Literal["higher", "lower"]


@dataclass(frozen=True)
class Outcome:
    """difference: of the arms' means, or of a prediction the rank correlation; None where it was not decided. why: in
    words."""

    text: str
    word: Word
    difference: Interval | None
    why: str


@dataclass(frozen=True)
class Rests:
    """What an arm rests on: the name of its embedder, and that one's ROC AUC on unseen people by seed."""

    embedder: str
    auc: Sequence[float]


Scores = Mapping[str, Mapping[str, Float[np.ndarray, "s n"]]]
"""measure -> arm -> a row for each seed, a column for each pair."""


def decide(claim: Claim, scores: Scores, people: Shaped[np.ndarray, " n"], rests: Mapping[str, Rests]) -> Outcome:
    """What the rule says of a claim.

    people: whom intervals are taken over, for each pair. rests: by arm, of those that were trained.
    """
    known = [rests[arm] for arm in (claim.arm, claim.than) if arm in rests]
    two = {one.embedder: float(np.mean(one.auc)) for one in known}
    low = {embedder: auc for embedder, auc in two.items() if len(two) == 2 and not auc >= FLOOR}  # NaN is low
    if low:
        found = " and ".join(f"{embedder} has ROC AUC {auc:.3f}" for embedder, auc in low.items())
        return Outcome(claim.text, "cannot tell", None, f"{found} on unseen people, below {FLOOR}")
    arm, than = (scores[claim.measure][name] for name in (claim.arm, claim.than))
    if known and min(len(arm), len(than)) == 1:
        return Outcome(claim.text, "cannot tell", None, "one seed: seeds may differ more than arms")
    if len(arm) == len(than) == 1:
        difference = paired_difference_interval(arm[0], than[0], people)
    else:
        difference = crossed_difference_interval(arm, than, people)
    word = WORDS[verdict(difference, claim.better)]
    return Outcome(claim.text, word, difference, f"{claim.measure}, {claim.arm} less {claim.than}")


def decide_prediction(
    prediction: Prediction,
    measures: Mapping[str, Float[np.ndarray, " e"]],
    errors: Float[np.ndarray, " e"],
    objectives: Shaped[np.ndarray, " e"],
) -> Outcome:
    """What the rule says of a prediction. measures: by name, of each embedder; errors: of the swappers that they
    trained; objectives: of which they are."""
    values = measures[prediction.measure]
    if not np.all(np.isfinite([values, errors])) or np.ptp(values) == 0 or np.ptp(errors) == 0:
        why = f"{prediction.measure} and the errors are not numbers that vary for all embedders"
        return Outcome(prediction.text, "cannot tell", None, why)
    found = rank_correlation_interval(values, errors, objectives)
    word = WORDS[verdict(found, "lower" if prediction.better == "higher" else "higher")]
    return Outcome(prediction.text, word, found, f"rank correlation of {prediction.measure} with the error")

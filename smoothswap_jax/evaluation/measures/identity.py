"""Whose face a swap shows, by an identity network: cosines, distances and retrieval of the source."""

import numpy as np

from smoothswap_jax.evaluation.features import unseen
from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.measures.base import Features, Metric, Scored, judge_measure, of_finite_rows
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.metrics import per_pair, verification
from smoothswap_jax.metrics.agreement import rank_correlation

COSINE_TO_SOURCE = "cosine to source"
MOST_STRANGERS = 100_000  # pairs by which two judges are compared
MOST_PAIRS = 1_000_000  # genuine and impostor pairs of the judge's own check; of more, a random choice


def _scores(judge: Judge, swaps: Features, known: Features, pairs: Pairs) -> Scored:
    source, target = known[pairs.source], known[pairs.target]
    to_source = lambda name, better, about: judge_measure(judge, name, "identity", better, about, "source")
    to_target = judge_measure(
        judge, "cosine to target", "identity", "", "cosine of embeddings; an unchanged target has 1", "target"
    )
    scored = [
        (
            to_source(COSINE_TO_SOURCE, "higher", "cosine of embeddings"),
            of_finite_rows(per_pair.cosine, swaps, source),
        ),
        (to_target, of_finite_rows(per_pair.cosine, swaps, target)),
    ]
    if judge.distance:
        about = "Euclidean distance of unit embeddings"
        distance = of_finite_rows(per_pair.distance, swaps, source)
        scored.append((to_source("distance to source", "lower", about), distance))
    place, m = _source_rank(judge, swaps, source, pairs)
    for k in (1, 5):
        if m > k:
            near = "nearest" if k == 1 else f"among the {k} nearest"
            about = (
                f"the source is {near}, beside a picture of each of the {m - 1} other source people; somebody else's "
                f"face has {k / m:.3f} by chance, an unchanged target whose person is a source too about 0"
            )
            hit = of_finite_rows(lambda x, k=k: verification.retrieved(x, k), place)
            scored.append((to_source(f"top-{k}", "higher", about), hit))
    return scored


def _source_rank(judge: Judge, swaps: Features, source: Features, pairs: Pairs) -> tuple[np.ndarray, int]:
    """The rank of each swap's source among m people, and m.

    A pair's own source competes with one picture of every other source person: the first that shows the judge a face.
    """
    shown = np.flatnonzero(np.isfinite(source).all(axis=1))
    others, first = np.unique(pairs.people[0][shown], return_index=True)
    gallery = source[shown[first]]
    row_of = {person: row for row, person in enumerate(others)}
    own = np.array([row_of.get(person, -1) for person in pairs.people[0]])
    rank = lambda swap, source, own: verification.source_rank(swap, source, gallery, own, judge.identity.normalised)
    return of_finite_rows(rank, swaps, source, own), len(others)


def people_verification(features: Features, people: list[str], recordings: list[str]) -> dict[str, float]:
    """How well an identity judge tells the people of this very data apart: what its scores are worth here.

    recordings: which recording each image is of (`galleries.recordings_of`): frames of one video and copies of one
    photo are no genuine pair, because anything can tell them from other people. Without two independent images of one
    person there is only the cosine of strangers, and without strangers there is nothing.
    """
    seen = ~unseen(features)
    if not seen.any():
        return {}
    people_seen, recordings_seen = (np.array(names)[seen] for names in (people, recordings))
    genuine, impostor = verification.pair_cosines(features[seen], people_seen, recordings_seen, MOST_PAIRS)
    result = {}
    if len(genuine):
        result["cosine, same person"] = float(genuine.mean())
    if len(impostor):
        result["cosine, strangers"] = float(impostor.mean())
    if len(genuine) and len(impostor):
        result["ROC AUC"] = verification.roc_auc(genuine, impostor)
        if len(impostor) >= 100:
            result["TAR at FAR 1%"] = verification.tar_at_far(genuine, impostor, 0.01)
    return result


def strangers_agreement(first: Features, second: Features, people: list[str]) -> float:
    """Spearman's rank correlation of two judges' cosines over the same pairs of different people: whether both find the
    same strangers alike. NaN where fewer than three pairs show both a face."""
    seen = ~(unseen(first) | unseen(second))
    shown = np.array(people)[seen]
    if len(set(shown)) < 2:
        return float("nan")
    # The choice of pairs depends on people and seed alone, so it is the same for both.
    cosines = [verification.pair_cosines(rows[seen], shown, most=MOST_STRANGERS)[1] for rows in (first, second)]
    return rank_correlation(*cosines)


IDENTITY = Metric("identity", of_features=_scores, of_originals=people_verification)

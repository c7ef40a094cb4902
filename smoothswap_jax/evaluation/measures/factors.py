"""The synthetic world's own factors, as its judge reads them from a swap and from the true swap."""

from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.judges.factor_reader import group_distance, label
from smoothswap_jax.evaluation.measures.base import Features, Metric, Scored, judge_measure, of_finite_rows
from smoothswap_jax.evaluation.pairs import Pairs


def _scores(judge: Judge, swaps: Features, known: Features, pairs: Pairs) -> Scored:
    reader, truth = judge.reader, pairs.truth
    assert reader is not None and truth is not None
    scored = []
    for group, names in reader.kept.items():
        if not names:
            continue
        about = (
            "distance of what is read from the swap and from the truth, in standard deviations of the world: "
            + label(reader, group)
        )
        kind = "identity" if group == "identity" else "attributes"
        values = of_finite_rows(lambda a, b, group=group: group_distance(reader, a, b, group), swaps, known[truth])
        scored.append((judge_measure(judge, group, kind, "lower", about, "truth"), values))
    return scored


FACTORS = Metric("factors", of_features=_scores)

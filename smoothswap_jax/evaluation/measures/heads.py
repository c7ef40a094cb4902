"""Shape, expression and pose by the parameters of this package's own head model (`judges/head_reader.py`).

The `Shp`, `Exp` and `Pose` columns of Smooth-Swap (Kim et al. 2022), and how far of the way from the target's shape to
the source's a swap goes.
"""

import numpy as np
from jaxtyping import Float

from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.judges.head_reader import GROUPS
from smoothswap_jax.evaluation.measures.base import Features, Metric, Scored, judge_measure, of_finite_rows
from smoothswap_jax.evaluation.pairs import Pairs

WAY = "way of shape"
# Distances of readings in `head_reader.UNITS`. Pieces of a shape add up to its size, units of an expression do not.
_DISTANCES = {
    "shape": (lambda a, b: np.linalg.norm(a - b, axis=1), "root mean square distance of the heads' points, mm"),
    "expression": (
        lambda a, b: np.sqrt(np.square(a - b).mean(axis=1)),
        "root mean square difference of the expression's units, in standard deviations",
    ),
    "pose": (lambda a, b: np.linalg.norm(a - b, axis=1), "L2 distance of the head's angles, degrees"),
}


def _scores(judge: Judge, swaps: Features, known: Features, pairs: Pairs) -> Scored:
    scored = []
    mine, theirs = _by_group(judge, swaps), _by_group(judge, known)
    for group, (distance, about) in _DISTANCES.items():
        if not judge.parts[group]:
            continue
        kind, to, end = (
            ("identity", "source", pairs.source) if group == "shape" else ("attributes", "target", pairs.target)
        )
        words = f"{about}, to the {to}; of {', '.join(judge.parts[group])}"
        values = of_finite_rows(distance, mine[group], theirs[group][end])
        scored.append((judge_measure(judge, group, kind, "lower", words, to), values))
    if judge.parts["shape"]:
        to, end = ("source", pairs.source) if pairs.truth is None else ("truth", pairs.truth)
        shape = theirs["shape"]
        about = (
            f"how far the shape goes from the target's (0) to the {'true swap' if to == 'truth' else to}'s (1); of a "
            "pair, its part in the mean over pairs"
        )
        values = way_of_shape(mine["shape"], shape[pairs.target], shape[end])
        scored.append((judge_measure(judge, WAY, "identity", "higher", about, to), values))
    return scored


def way_of_shape(
    swap: Float[np.ndarray, "n k"], target: Float[np.ndarray, "n k"], goal: Float[np.ndarray, "n k"]
) -> Float[np.ndarray, "n"]:
    """<swap - target, goal - target> of each pair over the mean of <goal - target, goal - target>.

    Its mean is 0 for unchanged targets, 1 for the goals and 1/2 half way. It is a ratio of means, to which pairs of
    like heads, whose own ratios would be noise, add little. NaN in pairs of which something was not seen, and in all
    if no goal differs from its target.
    """
    whole = of_finite_rows(lambda a, b: np.square(b - a).sum(axis=1), target, goal)
    gone = of_finite_rows(lambda s, a, b: ((s - a) * (b - a)).sum(axis=1), swap, target, goal)
    seen = whole[np.isfinite(whole)]
    return gone / seen.mean() if seen.any() else np.full(len(gone), np.nan)


def _by_group(judge: Judge, features: Features) -> dict[str, np.ndarray]:
    stops = np.cumsum([len(judge.parts[group]) for group in GROUPS])
    return dict(zip(GROUPS, np.split(features.astype(np.float64), stops[:-1], axis=1), strict=True))


HEADS = Metric("heads", of_features=_scores)

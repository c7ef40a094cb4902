"""Shape, expression and pose as parameters of a 3-D face model (Deep3DFaceRecon, Deng et al. 2019; 3DDFA_V2 and other
graphs).

The `Shp`, `Exp` and `Pose` columns of Smooth-Swap (Kim et al. 2022).
"""

import jax.numpy as jnp
import numpy as np

from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.measures.base import Features, Metric, Scored, judge_measure, of_finite_rows
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.metrics import per_pair
from smoothswap_jax.models.judges.deep3d import split_coefficients

# (measure, kind, original, unit)
_PARTS = (
    ("shape", "identity", "source", "to the source"),
    ("expression", "attributes", "target", "to the target"),
    ("pose", "attributes", "target", "to the target, radians"),
)


def coefficient_parts(judge: Judge, features: Features) -> dict[str, Features]:
    """What a judge's features say of shape, expression and pose, as far as it reads these."""
    if judge.slices:
        return {name: features[:, start:end] for name, (start, end) in judge.slices.items()}
    found = split_coefficients(jnp.asarray(features))
    parts = {"shape": found.identity, "expression": found.expression, "pose": found.angle}
    return {name: np.asarray(part) for name, part in parts.items()}


def pose_degrees_apart(a: Features, b: Features) -> Features:
    """The angle of the rotation between poses that are rotations, row by row: [n, 9]."""
    return per_pair.geodesic_degrees(*(x.reshape(-1, 3, 3).astype(np.float64) for x in (a, b)))


def _scores(judge: Judge, swaps: Features, known: Features, pairs: Pairs) -> Scored:
    mine, theirs = (coefficient_parts(judge, rows) for rows in (swaps, known))
    scored = []
    for part, kind, to, unit in _PARTS:
        if part not in mine:
            continue
        a, b = mine[part], theirs[part][pairs.source if to == "source" else pairs.target]
        apart, about = per_pair.parameter_distance, f"L2 distance of the 3-D face model's {part} parameters {unit}"
        if part == "pose" and a.shape[1] == 9:
            apart, about = pose_degrees_apart, "angle between the head poses of swap and target, degrees"
        scored.append((judge_measure(judge, part, kind, "lower", about, to), of_finite_rows(apart, a, b)))
    return scored


COEFFICIENTS = Metric("coefficients", of_features=_scores)

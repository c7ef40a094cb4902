"""Shape, expression and pose as parameters of a 3-D face model (Deep3DFaceRecon, Deng et al. 2019).

The `Shp`, `Exp` and `Pose` columns of Smooth-Swap (Kim et al. 2022).
"""

import jax.numpy as jnp
import numpy as np

from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.measures.base import Features, Metric, Scored, judge_measure, of_finite_rows
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.metrics import per_pair
from smoothswap_jax.models.judges.deep3d import split_coefficients

# (measure, field of the coefficients, kind, original, unit)
_PARTS = (
    ("shape", "identity", "identity", "source", "to the source"),
    ("expression", "expression", "attributes", "target", "to the target"),
    ("pose", "angle", "attributes", "target", "to the target, radians"),
)


def _scores(judge: Judge, swaps: Features, known: Features, pairs: Pairs) -> Scored:
    mine, theirs = (split_coefficients(jnp.asarray(rows)) for rows in (swaps, known))
    scored = []
    for part, field, kind, to, unit in _PARTS:
        a, b = (np.asarray(getattr(coefficients, field)) for coefficients in (mine, theirs))
        ends = pairs.source if to == "source" else pairs.target
        about = f"L2 distance of the 3-D face model's {part} parameters {unit}"
        values = of_finite_rows(per_pair.parameter_distance, a, b[ends])
        scored.append((judge_measure(judge, part, kind, "lower", about, to), values))
    return scored


COEFFICIENTS = Metric("coefficients", of_features=_scores)

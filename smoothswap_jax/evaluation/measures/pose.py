"""Head pose by Hopenet (Ruiz et al. 2018), by the convention that was asked for (`judges/conventions.py`)."""

import jax.numpy as jnp
import numpy as np

from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.measures.base import Features, Metric, Scored, judge_measure, of_finite_rows
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.metrics import per_pair
from smoothswap_jax.models.judges.hopenet import pose_degrees


def _scores(judge: Judge, swaps: Features, known: Features, pairs: Pairs) -> Scored:
    convention = judge.pose

    def error(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = (x.reshape(len(x), 3, -1).astype(np.float64) for x in (a, b))
        if convention.name == "reliableswap":
            return np.linalg.norm(a - b, axis=2).mean(axis=1) / 2
        a, b = (np.asarray(pose_degrees(jnp.asarray(x)), np.float64) for x in (a, b))
        if convention.name == "geodesic":
            return per_pair.geodesic_degrees(per_pair.hopenet_rotations(a), per_pair.hopenet_rotations(b))
        return np.linalg.norm(a - b, axis=1)

    about = f"to the target, {convention.unit}; {convention.name}: {convention.about}"
    values = of_finite_rows(error, swaps, known[pairs.target])
    return [(judge_measure(judge, "pose", "attributes", "lower", about, "target"), values)]


POSE = Metric("pose", of_features=_scores)

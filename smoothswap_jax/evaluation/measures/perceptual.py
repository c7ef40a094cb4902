"""Perceptual distance (LPIPS, Zhang et al. 2018) to the true swap, or to the target where no truth is known."""

import numpy as np
from jaxtyping import Float

from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.measures.base import Measure, Metric, Scored
from smoothswap_jax.evaluation.pairs import Pairs


def _scores(judge: Judge, distances: Float[np.ndarray, "n"], pairs: Pairs) -> Scored:
    name, kind, better = ("target", "pixels", "") if pairs.truth is None else ("true swap", "truth", "lower")
    about = f"perceptual distance to the {name}"
    return [(Measure(f"{judge.name}: to {name}", kind, better, about, judge.name), distances)]


PERCEPTUAL = Metric("perceptual", of_distances=_scores)

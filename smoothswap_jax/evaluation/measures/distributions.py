"""How far the set of swaps lies from the set of targets: FID (Heusel et al. 2017) and KID (Binkowski et al. 2018)."""

from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.measures.base import Features, Metric
from smoothswap_jax.metrics.fid import frechet_distance, kernel_distance

MIN_FACES = 10  # of each set; a Frechet distance of fewer says nothing


def _scores(judge: Judge, swaps: Features, targets: Features) -> dict[str, float]:
    if min(len(swaps), len(targets)) < MIN_FACES:
        return {}
    kid, _ = kernel_distance(swaps, targets, subset_size=None)
    return {f"{judge.name}: FID": frechet_distance(swaps, targets), f"{judge.name}: KID x 1000": 1000 * kid}


DISTRIBUTION = Metric("distribution", of_sets=_scores)

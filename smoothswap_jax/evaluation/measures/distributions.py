"""How far the set of swaps lies from the set of targets: FID (Heusel et al. 2017) and KID (Binkowski et al. 2018)."""

from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.measures.base import Features, Metric
from smoothswap_jax.metrics.fid import frechet_distance, kernel_distance

MIN_FACES = 10  # of each set; a Frechet distance of fewer says nothing
ENOUGH_FACES = 10_000
"""Of each set, as Heusel et al. ask for."""
INCEPTION_FEATURES = 2048
"""Of fewer faces the covariance has no inverse, and the distance is mostly their number's."""


def _scores(judge: Judge, swaps: Features, targets: Features) -> dict[str, float]:
    if min(len(swaps), len(targets)) < MIN_FACES:
        return {}
    kid, _ = kernel_distance(swaps, targets, subset_size=None)
    return {f"{judge.name}: FID": frechet_distance(swaps, targets), f"{judge.name}: KID x 1000": 1000 * kid}


def too_few(swaps: int, targets: int) -> list[str]:
    """What is to be said of a Frechet distance between so many faces; nothing where they are enough."""
    least = min(swaps, targets)
    if least >= ENOUGH_FACES:
        return []
    said = f"FID is of {swaps:,} swaps and {targets:,} targets, where its authors ask for {ENOUGH_FACES:,} or more"
    if least <= INCEPTION_FEATURES:
        said += (
            f": no more than Inception has features ({INCEPTION_FEATURES:,}), so that the covariance is singular and "
            "the number depends on how many there are more than on what they show. KID has no such bias"
        )
    return [f"{said}."]


DISTRIBUTION = Metric("distribution", of_sets=_scores)

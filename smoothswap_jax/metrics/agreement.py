"""How much two instruments agree on which of many things have more of something.

Pure functions of NumPy arrays; no config, path or device is seen here.
"""

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata


def rank_correlation(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """Spearman's rank correlation of two scores of the same n things, in [-1, 1]: the correlation of their ranks, ties
    sharing the mean of theirs. Things with a score that is not finite are left out. NaN where fewer than three are
    left, or where one score is the same for all.

    Raises ValueError for scores of different numbers of things.
    """
    if np.shape(a) != np.shape(b) or np.ndim(a) != 1:
        raise ValueError(f"scores must have one shape [n], found {np.shape(a)} and {np.shape(b)}")
    seen = np.isfinite(a) & np.isfinite(b)
    if np.count_nonzero(seen) < 3:
        return float("nan")
    ranks = np.stack([rankdata(scores[seen]) for scores in (a, b)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    length = np.linalg.norm(ranks, axis=1)
    if not length.all():
        return float("nan")
    return float(np.clip(ranks[0] @ ranks[1] / (length[0] * length[1]), -1, 1))

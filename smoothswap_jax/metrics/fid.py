"""Distances of two sets of images as distributions of features: Frechet (FID) and kernel (KID).

Pure functions of NumPy arrays, computed in float64. The features are whatever the caller's network gives; only
those of the 2015 Inception network's last pooling layer make the numbers that papers call FID and KID.
"""

import numpy as np
from jaxtyping import Float

_BLOCK = 8192  # rows brought to float64 at once: 8192 x 2048 are 0.13 GB


def frechet_distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
    """Squared Frechet distance of the normal distributions fitted to two sets (FID, Heusel et al. 2017); 0 is equal.

    `|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^{1/2})` with covariances A and B over n - 1 and m - 1. It falls with the
    number of samples: compare only sets of the same sizes. Raises ValueError for features that do not fit
    together, are not finite, or fewer than two of them.
    """
    a, b = _feature_sets(a, b)
    (mean_a, factor_a), (mean_b, factor_b) = _mean_and_factor(a), _mean_and_factor(b)
    # With A = F^T F and B = G^T G, A B has the non-zero eigenvalues of (F G^T)(F G^T)^T. So the trace of its root
    # is the sum of F G^T's singular values: no root of a singular matrix, and nothing complex to throw away.
    overlap = np.linalg.norm(factor_a @ factor_b.T, "nuc")
    spread = np.sum(np.square(factor_a)) + np.sum(np.square(factor_b))
    return max(0.0, float(np.sum(np.square(mean_a - mean_b)) + spread - 2.0 * overlap))


def _mean_and_factor(features: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "k d"]]:
    """The mean, and F of at most d rows with F^T F the covariance over n - 1."""
    mean = features.mean(axis=0, dtype=np.float64)
    if len(features) <= len(mean):
        return mean, (features - mean) / np.sqrt(len(features) - 1)
    covariance = np.zeros((len(mean), len(mean)))
    for start in range(0, len(features), _BLOCK):
        centred = features[start : start + _BLOCK] - mean
        covariance += centred.T @ centred / (len(features) - 1)
    try:
        return mean, np.linalg.cholesky(covariance).T
    except np.linalg.LinAlgError:  # singular, a feature that is always zero for instance
        variances, axes = np.linalg.eigh(covariance)
        return mean, np.sqrt(np.maximum(variances, 0.0))[:, None] * axes.T


def kernel_distance(
    a: Float[np.ndarray, "n d"],
    b: Float[np.ndarray, "m d"],
    subsets: int = 100,
    subset_size: int | None = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Squared maximum mean discrepancy with the kernel `(<x, y> / d + 1)^3` (KID, Binkowski et al. 2018): (mean, std).

    The mean and standard deviation over `subsets` pairs of subsets of the unbiased estimate, which is around 0, and
    may be negative, for two sets of one distribution whatever their sizes. Subsets are drawn without
    replacement; None takes 1000 or as many as both sets have. Papers often print 1000 times the mean. The deviation
    is that of a single subset, and no error of the mean. Raises ValueError as `frechet_distance` does, for fewer
    than one subset, or for a subset size below two or above what is there.
    """
    a, b = _feature_sets(a, b)
    most = min(len(a), len(b))
    size = min(most, 1000) if subset_size is None else subset_size
    if not 2 <= size <= most:
        raise ValueError(f"subset_size must lie in [2, {most}] for {len(a)} and {len(b)} features, found {size}")
    if subsets < 1:
        raise ValueError(f"subsets must be at least 1, found {subsets}")
    rng = np.random.default_rng(seed)
    draw = lambda features: features[rng.choice(len(features), size, replace=False)].astype(np.float64)
    estimates = [_unbiased_mmd2(draw(a), draw(b)) for _ in range(subsets)]
    return float(np.mean(estimates)), float(np.std(estimates))


def _unbiased_mmd2(x: Float[np.ndarray, "s d"], y: Float[np.ndarray, "s d"]) -> float:
    size = len(x)
    within = sum(np.sum(kernel) - np.trace(kernel) for kernel in (_cubic(x, x), _cubic(y, y)))
    return within / (size * (size - 1)) - 2.0 * np.mean(_cubic(x, y))


def _cubic(x: Float[np.ndarray, "s d"], y: Float[np.ndarray, "s d"]) -> Float[np.ndarray, "s s"]:
    kernel = x @ y.T / x.shape[1] + 1.0
    return kernel * kernel * kernel  # ** 3 takes the slow way, through a power of floats


def _feature_sets(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a), np.asarray(b)
    for name, features in (("a", a), ("b", b)):
        if features.ndim != 2 or len(features) < 2 or features.shape[1] == 0:
            raise ValueError(f"{name} must be at least two features [n, d], found shape {features.shape}")
        bad = ~np.isfinite(features).all(axis=1)
        if np.any(bad):
            raise ValueError(f"{name} must be finite; row {int(bad.argmax())} is not")
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"features must have one dimension, found {a.shape[1]} and {b.shape[1]}")
    return a, b

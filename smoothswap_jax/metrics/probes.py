"""What can be read off embeddings by linear probes (Alain and Bengio 2017, "Understanding intermediate layers using
linear classifier probes").

Pure functions of NumPy arrays, computed in float64.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

STRENGTHS = np.logspace(-7, 1, 17)
"""Of the ridge, as shares of the mean variance of a column of the embeddings."""
VALIDATION = 0.2
"""The share of the fit's rows, its last ones, by which strengths are chosen."""


def probe_r2(
    fit: Float[np.ndarray, "n d"],
    fit_values: Float[np.ndarray, "n k"],
    test: Float[np.ndarray, "m d"],
    test_values: Float[np.ndarray, "m k"],
) -> Float[np.ndarray, "k"]:
    """R2 of each of k values of the test rows, read by ridge regression from their embeddings.

    Each value has the strength of STRENGTHS that reads it best in the last rows of the fit, after which all rows are
    fitted. 1 is a perfect reading, 0 that of the fit's mean; it may be negative. Raises ValueError for unfit shapes,
    fewer than 10 rows to fit, numbers that are not finite and values that do not vary among the test rows.
    """
    fit, fit_values, test, test_values = (np.asarray(part, np.float64) for part in (fit, fit_values, test, test_values))
    _check(fit, fit_values, test, test_values)
    start = len(fit) - round(VALIDATION * len(fit))
    trial = _solved(fit[:start], fit_values[:start])
    missed = [_missed(trial(np.full(fit_values.shape[1], s)), fit[start:], fit_values[start:]) for s in STRENGTHS]
    read = _solved(fit, fit_values)(STRENGTHS[np.argmin(missed, axis=0)])
    spread = np.mean(np.square(test_values - fit_values.mean(0)), axis=0)
    return 1.0 - _missed(read, test, test_values) / spread


Reader = Callable[[Float[np.ndarray, "m d"]], Float[np.ndarray, "m k"]]


def _solved(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n k"]) -> Callable[[Float[np.ndarray, "k"]], Reader]:
    """From the strength for each value to the regression."""
    mean, middle = x.mean(0), y.mean(0)
    variances, axes = np.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    products = axes.T @ ((x - mean).T @ (y - middle)) / len(x)
    # An embedder that has collapsed has no variance, and no products either.
    unit = max(variances.mean(), np.finfo(np.float32).tiny)

    def reader(strengths: Float[np.ndarray, "k"]) -> Reader:
        matrix = axes @ (products / (np.maximum(variances, 0.0)[:, None] + unit * strengths))
        return lambda rows: (rows - mean) @ matrix + middle

    return reader


def _missed(read: Reader, x: Float[np.ndarray, "m d"], y: Float[np.ndarray, "m k"]) -> Float[np.ndarray, "k"]:
    return np.mean(np.square(read(x) - y), axis=0)


def _check(fit: np.ndarray, fit_values: np.ndarray, test: np.ndarray, test_values: np.ndarray) -> None:
    shapes = [list(part.shape) for part in (fit, fit_values, test, test_values)]
    if any(len(shape) != 2 for shape in shapes) or (
        (len(fit), len(test), fit.shape[1], fit_values.shape[1])
        != (len(fit_values), len(test_values), test.shape[1], test_values.shape[1])
    ):
        raise ValueError(f"wanted [n d], [n k], [m d] and [m k], found {shapes}")
    if len(fit) < 10:
        raise ValueError(f"a probe needs at least 10 rows to fit, found {len(fit)}")
    for part in (fit, fit_values, test, test_values):
        if not np.isfinite(part).all():
            raise ValueError("embeddings and values must be finite")
    if constant := np.flatnonzero(np.ptp(test_values, axis=0) == 0).tolist():
        raise ValueError(f"values {constant} are the same in all test rows: there is no R2")

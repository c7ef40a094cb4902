"""Frechet and kernel distance against closed forms and the published estimators, written out plainly."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel

from smoothswap_jax.metrics import fid


def _features(seed: int, n: int, d: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Correlated, skewed and of uneven spread, as a network's pooled features are."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(d, d)) / np.arange(1, d + 1)
    return np.maximum(scale * rng.normal(size=(n, d)) @ mixing + shift, -0.5).astype(np.float32)


# --- Frechet distance -------------------------------------------------------------------------------------


def _published_fid(a: np.ndarray, b: np.ndarray, eps: float = 1e-6) -> float:
    """As pytorch-fid has it: a matrix root, tried again with an offset where the covariances are singular."""
    cov_a, cov_b = np.cov(a.astype(np.float64), rowvar=False), np.cov(b.astype(np.float64), rowvar=False)
    root = sqrtm(cov_a @ cov_b)
    if not np.isfinite(root).all():
        offset = eps * np.eye(len(cov_a))
        root = sqrtm((cov_a + offset) @ (cov_b + offset))
    difference = a.mean(axis=0, dtype=np.float64) - b.mean(axis=0, dtype=np.float64)
    return float(difference @ difference + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(root.real))


@pytest.mark.filterwarnings("ignore:Matrix is singular")
@pytest.mark.parametrize(("n", "m", "d"), [(400, 300, 24), (24, 300, 24), (30, 20, 64), (2, 500, 16)])
def test_frechet_equals_the_published_formula(n: int, m: int, d: int) -> None:
    a, b = _features(0, n, d), _features(1, m, d, scale=1.3, shift=0.2)
    assert fid.frechet_distance(a, b) == pytest.approx(_published_fid(a, b), rel=1e-3)


def test_frechet_is_the_root_of_eigenvalues_where_roots_of_matrices_fail() -> None:
    a, b = _features(0, 30, 64), _features(1, 20, 64, scale=1.3)
    cov_a, cov_b = np.cov(a.astype(np.float64), rowvar=False), np.cov(b.astype(np.float64), rowvar=False)
    eigenvalues = np.sort(np.linalg.eigvals(cov_a @ cov_b).real)[::-1][:19]  # b has rank 19
    difference = a.mean(axis=0, dtype=np.float64) - b.mean(axis=0, dtype=np.float64)
    expected = difference @ difference + np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(eigenvalues).sum()
    assert fid.frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def _with_moments(mean: np.ndarray, root: np.ndarray, seed: int = 0, n: int = 50) -> np.ndarray:
    """Samples whose mean and covariance (over n - 1) are exactly `mean` and `root^T root`."""
    noise = np.random.default_rng(seed).normal(size=(n, len(mean)))
    orthonormal = np.linalg.qr(noise - noise.mean(axis=0))[0]
    return np.sqrt(n - 1) * orthonormal @ root + mean


def test_frechet_of_normal_distributions_by_hand() -> None:
    # Along common axes it is |mean difference|^2 + sum (s - t)^2, with standard deviations s and t.
    a = _with_moments(np.array([1.0, 2.0, 3.0]), np.diag([1.0, 2.0, 0.5]))
    b = _with_moments(np.array([1.0, 0.0, 3.5]), np.diag([3.0, 2.0, 0.0]), seed=1, n=90)
    assert fid.frechet_distance(a, b) == pytest.approx(4 + 0.25 + 4 + 0 + 0.25)
    one = fid.frechet_distance(np.array([[0.0], [2.0]]), np.array([[3.0], [7.0]]))  # s = sqrt 2, t = sqrt 8
    assert one == pytest.approx(16 + 2)


def test_frechet_turns_with_the_features() -> None:
    a, b = _features(0, 200, 12), _features(1, 150, 12, scale=0.7)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(12, 12)))[0]
    expected = fid.frechet_distance(a, b)
    assert fid.frechet_distance(a @ turn, b @ turn) == pytest.approx(expected)
    assert fid.frechet_distance(b, a) == pytest.approx(expected)


def test_frechet_of_one_set_is_zero_in_any_order() -> None:
    for n, d in ((300, 16), (10, 64)):
        a = _features(0, n, d)
        shuffled = a[np.random.default_rng(1).permutation(n)]
        for other in (a, shuffled):
            assert 0 <= fid.frechet_distance(a, other) < 1e-9
    # Without a floor, half of these would round below zero.
    assert min(fid.frechet_distance(a[:, :k], a[:, :k]) for k in range(1, 40)) >= 0
    assert fid.frechet_distance(np.ones((5, 3)), np.ones((9, 3))) == 0  # no spread at all


def test_frechet_of_singular_covariances_of_many_samples() -> None:
    a, b = _features(0, 200, 12).astype(np.float64), _features(1, 200, 12, scale=1.3).astype(np.float64)
    expected = fid.frechet_distance(a, b)
    dead, twice = np.zeros((200, 3)), lambda x: np.concatenate([x, x], axis=1) / np.sqrt(2)
    found = fid.frechet_distance(*(np.concatenate([x, dead], axis=1) for x in (a, b)))
    assert found == pytest.approx(expected, rel=1e-9)
    assert fid.frechet_distance(twice(a), twice(b)) == pytest.approx(expected, rel=1e-6)
    assert fid.frechet_distance(twice(a), twice(a)) < 1e-9


def test_frechet_is_the_same_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = _features(0, 100, 8), _features(1, 57, 8, scale=2.0)
    whole = fid.frechet_distance(a, b)
    for block in (3, 8, 50):
        monkeypatch.setattr(fid, "_BLOCK", block)
        assert fid.frechet_distance(a, b) == pytest.approx(whole, rel=1e-12)


def test_frechet_survives_a_large_mean() -> None:
    a, b = _features(0, 200, 8).astype(np.float64), _features(1, 200, 8, scale=2.0).astype(np.float64)
    assert fid.frechet_distance(a + 1e5, b + 1e5) == pytest.approx(fid.frechet_distance(a, b))


# --- kernel distance --------------------------------------------------------------------------------------


def _published_mmd2(x: np.ndarray, y: np.ndarray) -> float:
    """As torch-fidelity has it, its "unbiased" estimate, with the kernel from scikit-learn."""
    m = len(x)
    xx, yy, xy = (polynomial_kernel(s, t, degree=3, coef0=1) for s, t in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - np.diagonal(xx).sum()) + (yy.sum() - np.diagonal(yy).sum())
    return within / (m * (m - 1)) - 2 * xy.sum() / (m * m)


def test_kernel_distance_equals_the_published_estimator_on_the_same_subsets() -> None:
    a, b = _features(0, 90, 12).astype(np.float64), _features(1, 70, 12, scale=1.3).astype(np.float64)
    rng = np.random.default_rng(5)
    draws = [(rng.choice(90, 40, replace=False), rng.choice(70, 40, replace=False)) for _ in range(6)]
    expected = [_published_mmd2(a[i], b[j]) for i, j in draws]
    found = fid.kernel_distance(a, b, subsets=6, subset_size=40, seed=5)
    np.testing.assert_allclose(found, (np.mean(expected), np.std(expected)))
    assert found[1] > 0


def test_kernel_distance_of_whole_sets_has_no_spread() -> None:
    a, b = _features(0, 50, 12).astype(np.float64), _features(1, 50, 12, scale=1.3).astype(np.float64)
    mean, std = fid.kernel_distance(a, b, subsets=3, subset_size=None)
    assert mean == pytest.approx(_published_mmd2(a, b))
    assert std == pytest.approx(0, abs=1e-12)


def test_kernel_distance_by_hand() -> None:
    # x.y / 2 + 1, cubed: 1 within {0, 0}; 8 between the two of {(1, 1), (1, 1)}; 1 across.
    zeros, ones = np.zeros((2, 2)), np.ones((2, 2))
    assert fid.kernel_distance(zeros, ones, subsets=1, subset_size=2) == (1 + 8 - 2, 0)


def test_kernel_distance_is_unbiased() -> None:
    # Two samples of one distribution: the biased estimate would be some 1.5 at this size.
    found = [fid.kernel_distance(_features(2 * i, 20, 6), _features(2 * i + 1, 20, 6), 1, None)[0] for i in range(400)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 20
    assert min(found) < 0
    apart = fid.kernel_distance(_features(0, 200, 6), _features(1, 200, 6, shift=1.0), 1, None)[0]
    assert apart > 5 * np.std(found)


def test_kernel_distance_repeats_by_seed() -> None:
    a, b = _features(0, 60, 6), _features(1, 60, 6)
    first = fid.kernel_distance(a, b, 5, 20, seed=1)
    assert first == fid.kernel_distance(a, b, 5, 20, seed=1)
    assert first != fid.kernel_distance(a, b, 5, 20, seed=2)


def test_kernel_distance_refuses_larger_subsets_than_there_are_features() -> None:
    a, b = _features(0, 60, 6), _features(1, 50, 6)
    with pytest.raises(ValueError, match=r"\[2, 50\] for 60 and 50 features, found 1000"):
        fid.kernel_distance(a, b)
    with pytest.raises(ValueError, match=r"found 1$"):
        fid.kernel_distance(a, b, subset_size=1)
    with pytest.raises(ValueError, match="subsets must be at least 1, found 0"):
        fid.kernel_distance(a, b, subsets=0, subset_size=10)


@pytest.mark.parametrize("measure", [fid.frechet_distance, fid.kernel_distance])
def test_features_are_refused_by_what_is_wrong_with_them(measure) -> None:
    a = _features(0, 5, 4)
    broken = a.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="b must be finite; row 3"):
        measure(a, broken)
    with pytest.raises(ValueError, match="one dimension, found 4 and 3"):
        measure(a, a[:, :3])
    with pytest.raises(ValueError, match=r"a must be at least two .*\(1, 4\)"):
        measure(a[:1], a)

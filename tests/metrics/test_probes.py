"""Linear probes, for embeddings of which is known what they hold."""

import numpy as np
import pytest

from smoothswap_jax.metrics.probes import probe_r2


def crowd(seed: int, n: int, d: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings that hold the first value, half of the second and nothing of the third, in coordinates of very
    different variances."""
    rng = np.random.default_rng(seed)
    values = np.array([3.0, 0.1, 100.0]) * rng.normal(size=(n, 3)) + np.array([50.0, 0.0, -7.0])
    mixing = np.random.default_rng(0).normal(size=(d, d))
    hidden = rng.normal(size=(n, d)) * np.logspace(0, -2, d)
    hidden[:, -1] = (values[:, 0] - 50.0) / 100.0
    hidden[:, 5] = values[:, 1] + 0.1 * rng.normal(size=n)
    return hidden @ mixing, values


def test_r2_is_the_share_that_embeddings_hold():
    held, half, nothing = probe_r2(*crowd(1, 1000), *crowd(2, 1000))
    assert held > 0.95 and 0.4 < half < 0.6 and -0.1 < nothing < 0.05


def test_with_few_rows_a_strong_ridge_reads_no_noise():
    """Without a ridge, 100 rows of 90 numbers fit anything and read nonsense from others."""
    x, y = (np.random.default_rng(seed).normal(size=(100, 90)) for seed in (3, 4))
    others, values = (np.random.default_rng(seed).normal(size=(500, 90)) for seed in (5, 6))
    assert probe_r2(x, y[:, :5], others, values[:, :5]).mean() > -0.3


def test_each_value_has_its_own_strength():
    """Read together with values of noise, which want a strong ridge, one that wants none is read as well as alone."""
    (x, y), (others, values) = crowd(1, 200), crowd(2, 1000)
    noise = np.random.default_rng(7).normal(size=(1200, 30))
    alone = probe_r2(x, y[:, :1], others, values[:, :1])[0]
    together = probe_r2(x, np.hstack([y[:, :1], noise[:200]]), others, np.hstack([values[:, :1], noise[200:]]))
    assert together[0] == pytest.approx(alone, abs=1e-9) and together[1:].mean() < 0.05


def test_a_collapsed_embedding_holds_nothing():
    y, values = np.random.default_rng(0).normal(size=(2, 60, 4))
    np.testing.assert_allclose(probe_r2(np.ones((60, 8)), y, np.ones((60, 8)), values), 0.0, atol=0.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y, t, v: (x[:9], y[:9], t, v), "at least 10 rows"),
        (lambda x, y, t, v: (x, y[1:], t, v), "wanted .n d."),
        (lambda x, y, t, v: (x, y, t[:, 1:], v), "wanted .n d."),
        (lambda x, y, t, v: (np.where(x == x[0, 0], np.nan, x), y, t, v), "finite"),
        (lambda x, y, t, v: (x, y, t, v * [1, 0, 1]), r"values \[1\] are the same"),
    ],
)
def test_what_cannot_be_probed_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        probe_r2(*change(*crowd(1, 30), *crowd(2, 30)))

"""Spearman's rank correlation, held against SciPy's and against cases that can be told by hand."""

import numpy as np
import pytest
import scipy.stats

from smoothswap_jax.metrics.agreement import rank_correlation


def test_it_is_scipys():
    rng = np.random.default_rng(0)
    a = rng.normal(size=200)
    for b in (a + rng.normal(size=200), np.round(a), rng.normal(size=200), -np.exp(a)):
        assert rank_correlation(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic)


def test_only_the_order_counts():
    a = np.array([0.1, 0.5, 0.2, 0.9])
    assert rank_correlation(a, a**3 * 1e6) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)


def test_what_cannot_be_told_is_none():
    a = np.array([1.0, 2.0, np.nan, 4.0, 3.0])
    b = np.array([1.0, 2.0, 0.0, np.inf, 3.0])
    assert rank_correlation(a, b) == pytest.approx(1)  # of the three that both have
    assert np.isnan(rank_correlation(a[:3], b[:3]))
    assert np.isnan(rank_correlation(np.arange(5.0), np.ones(5)))
    with pytest.raises(ValueError, match=r"one shape \[n\], found \(5,\) and \(4,\)"):
        rank_correlation(a, b[:4])

"""Intervals against their promise: they cover the truth as often as they say."""

import numpy as np
import pytest

from smoothswap_jax.metrics import bootstrap


def _coverage(n_repeats: int, draw) -> float:
    """Share of repetitions whose interval holds the truth; `draw(rng, i)` returns (interval, truth)."""
    rng = np.random.default_rng(0)
    hits = [interval.low <= truth <= interval.high for interval, truth in (draw(rng, i) for i in range(n_repeats))]
    return float(np.mean(hits))


@pytest.mark.parametrize("n", [8, 50])
def test_bootstrap_covers_the_mean(n: int) -> None:
    def draw(rng: np.random.Generator, i: int):
        return bootstrap.bootstrap_interval(rng.normal(3.0, 2.0, size=n), n_resamples=1000, seed=i), 3.0

    # 600 repetitions at 0.95 have a standard deviation of 0.009. Plain percentiles give 0.90 at n = 8.
    assert 0.92 <= _coverage(600, draw) <= 0.98


def test_bootstrap_covers_at_another_level() -> None:
    def draw(rng: np.random.Generator, i: int):
        return bootstrap.bootstrap_interval(rng.normal(size=30), n_resamples=500, seed=i, level=0.5), 0.0

    assert 0.43 <= _coverage(600, draw) <= 0.57


def test_clustered_bootstrap_covers_where_the_plain_one_fails() -> None:
    groups = np.repeat(np.arange(12), 8)

    def sample(rng: np.random.Generator) -> np.ndarray:
        return rng.normal(size=12)[groups] + 0.5 * rng.normal(size=96)

    def clustered(rng: np.random.Generator, i: int):
        return bootstrap.bootstrap_interval(sample(rng), groups=groups, n_resamples=1000, seed=i), 0.0

    def plain(rng: np.random.Generator, i: int):
        return bootstrap.bootstrap_interval(sample(rng), n_resamples=1000, seed=i), 0.0

    assert 0.91 <= _coverage(400, clustered) <= 0.985
    assert _coverage(400, plain) < 0.7


def test_clustered_is_wider_only_when_groups_correlate() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat([f"id{i}" for i in range(40)], 10)
    noise, shared = rng.normal(size=400), np.repeat(rng.normal(size=40), 10)

    def widths(values: np.ndarray) -> tuple[float, float]:
        plain = bootstrap.bootstrap_interval(values)
        grouped = bootstrap.bootstrap_interval(values, groups=groups)
        return plain.high - plain.low, grouped.high - grouped.low

    plain, grouped = widths(shared + 0.3 * noise)
    assert grouped > 2 * plain
    plain, grouped = widths(noise)
    assert grouped == pytest.approx(plain, rel=0.3)


def test_bootstrap_mean_is_fast_path_of_the_general_one() -> None:
    values = np.random.default_rng(0).exponential(size=21)
    groups = np.arange(21) // 4  # of unequal size
    fast = bootstrap.bootstrap_interval(values, groups=groups, n_resamples=300)
    general = bootstrap.bootstrap_interval(values, lambda x: float(x.mean()), groups=groups, n_resamples=300)
    np.testing.assert_allclose([fast.value, fast.low, fast.high], [general.value, general.low, general.high])
    assert fast.value == pytest.approx(values.mean())


def test_bootstrap_of_a_median() -> None:
    values = np.arange(101.0)
    interval = bootstrap.bootstrap_interval(values, lambda x: float(np.median(x)), n_resamples=500)
    assert interval.value == 50
    # The median's standard error here is about 1 / (2 f sqrt(n)) = 5.
    assert 35 < interval.low < 45 and 55 < interval.high < 65


def test_bootstrap_repeats_by_seed_and_narrows_with_level() -> None:
    values = np.random.default_rng(0).normal(size=30)
    assert bootstrap.bootstrap_interval(values, seed=1) == bootstrap.bootstrap_interval(values, seed=1)
    assert bootstrap.bootstrap_interval(values, seed=1) != bootstrap.bootstrap_interval(values, seed=2)
    narrow, wide = (
        bootstrap.bootstrap_interval(values, level=0.5),
        bootstrap.bootstrap_interval(values, level=0.99),
    )
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_bootstrap_draws_are_bounded_in_memory_and_complete() -> None:
    blocks = list(bootstrap._resample_counts(2**14, 400, seed=3))
    assert [len(block) for block in blocks] == [256, 144]  # 2^22 numbers a block
    assert all(np.all(block.sum(axis=1) == 2**14) for block in blocks)


def test_bootstrap_refuses_what_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least two"):
        bootstrap.bootstrap_interval(np.ones(1))
    with pytest.raises(ValueError, match="at least two"):
        bootstrap.bootstrap_interval(np.ones(5), groups=np.zeros(5))
    with pytest.raises(ValueError, match="found nan at 1"):
        bootstrap.bootstrap_interval(np.array([0.0, np.nan, 1.0]))
    with pytest.raises(ValueError, match="level"):
        bootstrap.bootstrap_interval(np.arange(5.0), level=95)
    with pytest.raises(ValueError, match="groups"):
        bootstrap.bootstrap_interval(np.arange(5.0), groups=np.arange(4))
    with pytest.raises(ValueError, match="n_resamples"):
        bootstrap.bootstrap_interval(np.arange(5.0), n_resamples=10)


def test_ratio_by_hand_and_exact_when_proportional() -> None:
    denominator = np.random.default_rng(0).uniform(0.5, 2.0, size=20)
    interval = bootstrap.ratio_of_means_interval(0.3 * denominator, denominator)
    # Paired: every resample has the same ratio. Drawn apart, the ends would lie some 20% away.
    np.testing.assert_allclose([interval.value, interval.low, interval.high], 0.3)
    assert bootstrap.ratio_of_means_interval(np.array([1.0, 2.0]), np.array([4.0, 8.0])).value == 0.25
    uneven = bootstrap.ratio_of_means_interval(np.array([1.0, 1.0]), np.array([1.0, 3.0]))
    assert uneven.value == 0.5  # the ratio of means, not the mean of ratios 2/3


def test_ratio_covers_the_truth_with_groups() -> None:
    groups = np.repeat(np.arange(20), 4)

    def draw(rng: np.random.Generator, i: int):
        hard = rng.uniform(0.5, 1.5, size=20)[groups]
        skill = rng.uniform(0.2, 0.6, size=20)[groups]
        top = hard * skill * rng.uniform(0.8, 1.2, size=80)
        return bootstrap.ratio_of_means_interval(top, hard, groups=groups, n_resamples=1000, seed=i), 0.4

    assert 0.915 <= _coverage(400, draw) <= 0.98


def test_ratio_refuses_unpaired_values_and_a_vanishing_denominator() -> None:
    with pytest.raises(ValueError, match="pair up"):
        bootstrap.ratio_of_means_interval(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match=r"positive, found 0\.0 at 1"):
        bootstrap.ratio_of_means_interval(np.ones(3), np.array([1.0, 0.0, 1.0]))


def test_paired_difference_equals_the_interval_of_the_differences() -> None:
    rng = np.random.default_rng(0)
    a, b, groups = rng.normal(size=30), rng.normal(size=30), np.arange(30) // 3
    found = bootstrap.paired_difference_interval(a, b, groups, n_resamples=500, seed=3, level=0.9)
    assert found == bootstrap.bootstrap_interval(a - b, groups=groups, n_resamples=500, seed=3, level=0.9)
    assert found.value == pytest.approx(a.mean() - b.mean())
    back = bootstrap.paired_difference_interval(b, a, groups, n_resamples=500, seed=3, level=0.9)
    np.testing.assert_allclose([-back.value, -back.high, -back.low], [found.value, found.low, found.high])


def test_pairing_finds_a_difference_that_two_intervals_hide() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(size=100)
    a, b = hard + 0.1 + 0.1 * rng.normal(size=100), hard + 0.1 * rng.normal(size=100)
    alone = bootstrap.bootstrap_interval(a), bootstrap.bootstrap_interval(b)
    assert alone[0].low < alone[1].high
    paired = bootstrap.paired_difference_interval(a, b)
    assert bootstrap.verdict(paired, "higher") == "better"
    assert paired.high - paired.low < 0.1


def test_paired_difference_covers_zero_between_equal_methods_with_groups() -> None:
    groups = np.repeat(np.arange(15), 5)
    rng, told = np.random.default_rng(0), 0
    for i in range(400):
        taste = rng.normal(size=(2, 15))[:, groups]  # each method has its own liking for a person, on average none
        a, b = taste + 0.5 * rng.normal(size=(2, 75))
        told += bootstrap.verdict(bootstrap.paired_difference_interval(a, b, groups, 500, i), "lower") != "cannot tell"
    assert 0.015 <= told / 400 <= 0.09  # the promised 0.05, with a standard deviation of 0.011


@pytest.mark.parametrize(
    ("low", "high", "if_higher", "if_lower"),
    [
        (0.1, 0.3, "better", "worse"),
        (-0.3, -0.1, "worse", "better"),
        (-0.1, 0.2, "cannot tell", "cannot tell"),
        (0.0, 0.2, "cannot tell", "cannot tell"),
        (-0.2, 0.0, "cannot tell", "cannot tell"),
        (0.0, 0.0, "cannot tell", "cannot tell"),
    ],
)
def test_verdict(low: float, high: float, if_higher: str, if_lower: str) -> None:
    difference = bootstrap.Interval((low + high) / 2, low, high)
    assert bootstrap.verdict(difference, "higher") == if_higher
    assert bootstrap.verdict(difference, "lower") == if_lower


def test_paired_difference_refuses_unpaired_values_and_verdict_another_word() -> None:
    with pytest.raises(ValueError, match="pair up, found 3 and 1"):
        bootstrap.paired_difference_interval(np.ones(3), np.ones(1))  # would broadcast
    with pytest.raises(ValueError, match="b must be finite, found nan at 1"):
        bootstrap.paired_difference_interval(np.ones(2), np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="'up'"):
        bootstrap.verdict(bootstrap.Interval(0.0, 0.0, 0.0), "up")  # type: ignore[arg-type]


# --- over trainings and people ----------------------------------------------------------------------------------


@pytest.mark.parametrize("trainings", [2, 3, 6])
@pytest.mark.parametrize("noise", [0.05, 1.0])
def test_crossed_intervals_cover_where_those_over_people_alone_fail(trainings: int, noise: float) -> None:
    """Trainings differ by 1; what people add, much less or as much, says little of the next training."""
    groups = np.repeat(np.arange(20), 3)

    def scores(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        a, b = (rng.normal(size=(trainings, 1)) + noise * rng.normal(size=20)[groups] for _ in range(2))
        return a + 0.1 * noise * rng.normal(size=a.shape), b

    def crossed(rng: np.random.Generator, i: int):
        return bootstrap.crossed_difference_interval(*scores(rng), groups, n_resamples=300, seed=i), 0.0

    def people_alone(rng: np.random.Generator, i: int):
        a, b = scores(rng)
        return bootstrap.paired_difference_interval(a.mean(0), b.mean(0), groups, n_resamples=300, seed=i), 0.0

    assert _coverage(300, crossed) >= 0.92
    assert _coverage(300, people_alone) < 0.85


def test_two_trainings_that_differ_decide_little() -> None:
    people = np.random.default_rng(0).normal(0.0, 0.001, size=30)
    a, b = np.stack([people + 0.1, people + 0.5]), np.zeros((2, 30))
    found = bootstrap.crossed_difference_interval(a, b)
    assert found.value == pytest.approx(0.3, abs=0.001)
    assert found.low < -2 and found.high > 2  # Student's 12.7 times 0.2
    same = bootstrap.crossed_difference_interval(np.stack([people + 0.3, people + 0.3001]), b)
    assert 0.29 < same.low < 0.3 < same.high < 0.31


def test_crossed_intervals_of_equal_trainings_are_those_of_people() -> None:
    rng = np.random.default_rng(0)
    row = rng.normal(size=40)
    a, b = np.tile(row, (12, 1)), np.zeros((12, 40))
    found, wanted = bootstrap.crossed_difference_interval(a, b), bootstrap.bootstrap_interval(row)
    assert found.value == pytest.approx(wanted.value)
    assert found.high - found.low == pytest.approx(wanted.high - wanted.low, rel=0.1)


def test_crossed_intervals_refuse_what_has_none() -> None:
    scores = np.zeros((2, 5))
    with pytest.raises(ValueError, match=r"found shapes \(2, 5\) and \(2, 4\)"):
        bootstrap.crossed_difference_interval(scores, scores[:, :4])
    with pytest.raises(ValueError, match="at least two, found 1"):
        bootstrap.crossed_difference_interval(scores[:1], scores[:1])
    with pytest.raises(ValueError, match="must be finite"):
        bootstrap.crossed_difference_interval(scores + np.nan, scores)
    with pytest.raises(ValueError, match="found one"):
        bootstrap.crossed_difference_interval(scores, scores, np.zeros(5))


# --- rank correlations ------------------------------------------------------------------------------------------


def test_rank_correlations_of_unrelated_measures_hold_zero_though_groups_are_alike() -> None:
    """Six groups of three: what is drawn singly takes the groups' own differences for a relation."""
    groups = np.repeat(np.arange(6), 3)

    def of(groups: np.ndarray | None):
        def one(rng: np.random.Generator, i: int):
            a, b = (rng.normal(size=6)[np.repeat(np.arange(6), 3)] + 0.1 * rng.normal(size=18) for _ in range(2))
            return bootstrap.rank_correlation_interval(a, b, groups, n_resamples=200, seed=i), 0.0

        return one

    assert _coverage(200, of(groups)) >= 0.9
    assert _coverage(200, of(None)) < 0.8


def test_rank_correlations_see_order_alone() -> None:
    a = np.arange(12.0)
    found = bootstrap.rank_correlation_interval(a, np.exp(a))
    assert found.value == pytest.approx(1) and found.low == pytest.approx(1)
    assert bootstrap.rank_correlation_interval(a, -(a**3), np.repeat(np.arange(4), 3)).value == pytest.approx(-1)
    with pytest.raises(ValueError, match="measures that vary"):
        bootstrap.rank_correlation_interval(a, np.ones(12))
    with pytest.raises(ValueError, match="found 12 and 11 values"):
        bootstrap.rank_correlation_interval(a, a[1:])

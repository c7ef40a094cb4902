"""Sampling is exact, stateless and the same in numpy and JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.data import sampling


def one_set(starts):
    return sampling.Index(starts, (len(starts) - 1,), (1.0,))


@pytest.mark.parametrize("n", [1, 2, 3, 8, 97, 1000])
def test_shuffled_is_a_permutation_that_depends_on_its_key(n):
    orders = [sampling.shuffled(np.arange(n), n, sampling.stream(np, key)) for key in range(3)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(n))
    if n > 8:
        assert not np.array_equal(orders[0], orders[1])


def test_shuffled_mixes():
    n = 20_000
    order = sampling.shuffled(np.arange(n), n, sampling.stream(np, 5))
    assert abs(np.corrcoef(order, np.arange(n))[0, 1]) < 0.03
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.03
    # The number of fixed points of a random permutation is Poisson(1).
    assert np.sum(order == np.arange(n)) < 8


def test_an_epoch_visits_every_example_once_and_the_next_in_another_order():
    n, batch = 24, 8
    targets = np.concatenate(
        [sampling.pair_indices(0, step, batch, 1, one_set(np.arange(n + 1)))[1] for step in range(6)]
    )
    np.testing.assert_array_equal(np.sort(targets[:n]), np.arange(n))
    np.testing.assert_array_equal(np.sort(targets[n:]), np.arange(n))
    assert not np.array_equal(targets[:n], targets[n:])


@pytest.mark.parametrize("batch, self_pairs", [(1, 1), (8, 0), (8, 1), (16, 2), (20, 5)])
def test_the_first_pairs_are_self_pairs_and_the_rest_is_independent(batch, self_pairs):
    source, target = sampling.pair_indices(3, 11, batch, self_pairs, one_set(np.array([0, 10**6])))
    np.testing.assert_array_equal(source[:self_pairs], target[:self_pairs])
    assert np.all(source[self_pairs:] != target[self_pairs:])


def test_identities_and_their_photos_are_distinct_within_a_batch():
    starts = np.array([0, 2, 7, 10, 14, 16, 30])
    for step in range(20):
        rows = sampling.identity_indices(1, step, 3, 2, one_set(starts))
        labels = sampling.labels_of(rows, starts)
        assert len(set(labels)) == 3
        assert len(set(rows)) == 6
        np.testing.assert_array_equal(np.repeat(labels[::2], 2), labels)
        assert np.all((rows >= starts[labels]) & (rows < starts[labels + 1]))


def test_all_identities_come_round_in_an_epoch():
    index = one_set(np.arange(0, 22, 3))
    labels = lambda step: sampling.labels_of(sampling.identity_indices(0, step, 2, 3, index), index.starts)
    assert len({label for step in range(3) for label in labels(step)}) == 6  # 7 identities make 3 batches of 2
    # The one left over differs by epoch.
    left_over = {(set(range(7)) - {i for s in range(3) for i in labels(3 * e + s)}).pop() for e in range(20)}
    assert len(left_over) > 3


def test_identities_that_belong_together_are_drawn_together():
    index = sampling.Index(np.arange(0, 39, 3), (12,), (1.0,), together=4)
    batches = [sampling.identity_indices(0, step, 6, 2, index) // 3 for step in range(40)]
    for people in batches:
        # A whole group and half of another, each with two photos.
        assert [len(set(people[i : i + 8] // 4)) for i in (0, 8)] == [1, 1] and len(set(people)) == 6
        assert set(people[:8] % 4) == {0, 1, 2, 3}
    assert {int(people[0]) // 4 for people in batches} == {0, 1, 2}
    with pytest.raises(ValueError, match="12 identities, wanted at least the 13"):
        sampling.identity_indices(0, 0, 13, 2, index)


def test_another_photo_is_of_the_same_person():
    starts = np.array([0, 1, 3, 8])
    index, rows = one_set(starts), np.arange(8)
    drawn = np.stack([sampling.other_photos(0, step, rows, index) for step in range(200)])
    assert np.all(
        sampling.labels_of(drawn.reshape(-1), starts).reshape(drawn.shape) == sampling.labels_of(rows, starts)
    )
    assert set(drawn[:, 0]) == {0} and np.all(drawn[:, 1:] != rows[1:])
    # All others come up, about equally often, and independently of each other.
    assert np.bincount(drawn[:, 5], minlength=8)[[3, 4, 6, 7]].min() > 30
    assert 0.1 < np.mean((drawn[:, 5] - 5) % 5 == (drawn[:, 6] - 6) % 5) < 0.4


def test_too_few_identities_are_refused():
    with pytest.raises(ValueError, match="the data has 3 identities, wanted at least the 8 of a batch"):
        sampling.identity_indices(0, 0, 8, 2, one_set(np.array([0, 4, 8, 12])))


MIXED = sampling.Index(np.array([0, 40, 60, 61, 63, 66, 70]), (2, 4), (3.0, 1.0))  # 60 and 10 examples


def test_a_mixture_draws_each_set_by_its_weight_and_in_epochs_of_its_own():
    cycle = sampling.CYCLE
    targets = np.concatenate([sampling.pair_indices(5, step, 8, 1, MIXED)[1] for step in range(2 * cycle // 8)])
    for draws in (targets[:cycle], targets[cycle:]):
        assert (draws < 60).sum() == 750 and (draws >= 60).sum() == 250
    # 25 epochs of the small set and 12.5 of the large one fall into a cycle.
    times = np.bincount(targets[:cycle], minlength=70)
    assert set(times[60:]) == {25} and set(times[:60]) == {12, 13}
    assert set(np.bincount(targets, minlength=70)) == {25, 50}
    assert 10 < (targets[:100] < 60).sum() < 95  # mixed within the cycle, not one set after the other


def test_a_mixed_batch_of_identities_holds_each_sets_share():
    index = sampling.Index(MIXED.starts, (2, 4), (1.0, 2.0))
    for step in range(6):
        labels = sampling.labels_of(sampling.identity_indices(0, step, 3, 2, index), index.starts)
        assert len(set(labels)) == 3 and (labels < 2).sum() == 2
    with pytest.raises(ValueError, match="data set 0 gets none of 3 draws"):
        sampling.identity_indices(0, 0, 3, 2, sampling.Index(MIXED.starts, (2, 4), (1.0, 20.0)))


@pytest.mark.parametrize("weights, total, shares", [((1, 1), 3, [2, 1]), ((3, 1), 1000, [750, 250]), ((1,), 5, [5])])
def test_shares_add_up(weights, total, shares):
    assert sampling.Index(np.zeros(1), (1,) * len(weights), weights).shares(total) == shares


def test_uniforms_are_uniform_and_differ_by_step_and_row():
    u = np.concatenate([sampling.uniforms(0, step, np.arange(50), 7) for step in range(20)])
    assert u.min() >= 0 and u.max() < 1
    np.testing.assert_allclose(np.histogram(u, 10, (0, 1))[0] / u.size, 0.1, atol=0.015)
    assert len(np.unique(u)) > 0.99 * u.size


def test_numpy_and_jax_agree():
    starts = np.array([0, 2, 7, 10, 14, 16, 30], np.int32)
    together = sampling.Index(starts, (6,), (1.0,), together=2)
    for index in (one_set(starts), sampling.Index(starts, (2, 4), (0.4, 0.6)), together):
        for step in (0, 5, 100_000):
            on_device = jax.jit(lambda s, index=index: sampling.pair_indices(7, s, 8, 1, index, jnp))(step)
            np.testing.assert_array_equal(on_device, sampling.pair_indices(7, step, 8, 1, index))
            on_device = jax.jit(lambda s, index=index: sampling.identity_indices(7, s, 3, 2, index, jnp))(step)
            np.testing.assert_array_equal(on_device, sampling.identity_indices(7, step, 3, 2, index))
            others = jax.jit(lambda s, rows, index=index: sampling.other_photos(7, s, rows, index, jnp))(
                step, on_device
            )
            np.testing.assert_array_equal(others, sampling.other_photos(7, step, np.asarray(on_device), index))
            labels = jax.jit(lambda rows: sampling.labels_of(rows, starts, jnp))(on_device)
            np.testing.assert_array_equal(labels, sampling.labels_of(np.asarray(on_device), starts))
    for step in (0, 5, 100_000):
        on_device = jax.jit(lambda s: sampling.uniforms(7, s, jnp.arange(4), 7, jnp))(step)
        np.testing.assert_array_equal(on_device, sampling.uniforms(7, step, np.arange(4), 7))

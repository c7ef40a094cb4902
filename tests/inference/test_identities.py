"""Identities on the way from one to another, and the mean of several."""

import numpy as np
import pytest

from smoothswap_jax.inference.identities import between, mean_identity, towards
from smoothswap_jax.metrics.smoothness import slerp


def vectors(count: int = 2) -> np.ndarray:
    z = np.random.default_rng(0).normal(size=(count, 5)).astype(np.float32)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def test_the_way_starts_and_ends_at_the_two_and_keeps_the_norm():
    a, b = vectors()[:1], vectors()[1:]
    way = between(a, b, 5)
    assert way.dtype == np.float32 and way.shape == (5, 5)
    np.testing.assert_allclose(way[[0, -1]], [a[0], b[0]], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(way[2:3], slerp(a, b, 0.5), atol=1e-6)
    maps = between({"vector": a, "map": np.zeros((1, 2, 2, 3))}, {"vector": b, "map": np.ones((1, 2, 2, 3))}, 3)
    np.testing.assert_allclose(maps["map"][:, 0, 0, 0], [0, 0.5, 1])
    np.testing.assert_allclose(maps["vector"], way[::2], atol=1e-6)


@pytest.mark.parametrize("count", [-1, 0, 1, 1001])
def test_a_way_of_too_few_or_too_many_is_refused(count):
    with pytest.raises(ValueError, match=rf"interpolation: found {count} identities; wanted 2 to 1,000"):
        between(vectors()[:1], vectors()[1:], count)


def test_identities_of_other_shapes_are_refused():
    for a, b in ((vectors(), vectors()), (vectors()[:1], vectors()[1:, :4])):
        with pytest.raises(ValueError, match=r"found identities of shapes .*; wanted \[1 ...\] twice"):
            between(a, b, 3)


def test_rows_go_their_own_way():
    a, b = vectors(4)[:2], vectors(4)[2:]
    np.testing.assert_allclose(towards(a, b, 0.3), slerp(a, b, 0.3), atol=1e-6)
    np.testing.assert_allclose(towards(a, b, 0.0), a, atol=1e-6)
    np.testing.assert_allclose(towards(a, b, 1.0), b, atol=1e-6)


def test_the_mean_of_identities_lies_on_the_sphere_between_them():
    z = vectors(2)
    np.testing.assert_allclose(mean_identity(z), slerp(z[:1], z[1:], 0.5), atol=1e-6)
    np.testing.assert_allclose(mean_identity(5 * z), slerp(z[:1], z[1:], 0.5), atol=1e-6)
    np.testing.assert_array_equal(mean_identity(3 * z[:1]), 3 * z[:1])  # one photo is what it is
    both = mean_identity({"vector": z, "map": np.stack([np.zeros((2, 2, 3)), np.ones((2, 2, 3))])})
    assert both["vector"].shape == (1, 5) and np.all(both["map"] == 0.5) and both["map"].shape == (1, 2, 2, 3)
    with pytest.raises(ValueError, match="found opposite ones; wanted photos of one person"):
        mean_identity(np.stack([z[0], -z[0]]))

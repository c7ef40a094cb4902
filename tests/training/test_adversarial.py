"""Projected gradient ascent on losses whose worst images are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.training.adversarial import worst_images

RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.uniform(-1, 1, (3, 4, 4, 3)), jnp.float32)
SLOPE = jnp.asarray(RNG.normal(size=(3, 4, 4, 3)), jnp.float32)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_linear_loss_moves_each_image_to_the_edge_along_its_own_gradient(steps):
    loss = lambda x: jnp.sum(x * SLOPE * jnp.asarray([1e-6, 1.0, 1e6])[:, None, None, None])
    moved, before = worst_images(IMAGES, jax.value_and_grad(loss), steps, radius=0.05)
    np.testing.assert_allclose(before, loss(IMAGES), rtol=1e-6)
    change = np.asarray(moved - IMAGES)
    np.testing.assert_allclose(np.sqrt((change**2).mean((1, 2, 3))), 0.05, rtol=1e-4)
    along = np.asarray(SLOPE) / np.sqrt((np.asarray(SLOPE) ** 2).mean((1, 2, 3), keepdims=True))
    np.testing.assert_allclose(change, 0.05 * along, atol=1e-5)


def test_a_second_step_follows_the_gradient_where_the_first_one_led():
    """The loss bends: at the start only the first pixel counts, then the second one more and more."""

    def loss(x):
        a, b = x[:, 0, 0, 0], x[:, 0, 1, 0]
        return jnp.sum(a + 100 * a * b)

    at = jnp.zeros((1, 4, 4, 3))
    ended = [worst_images(at, jax.value_and_grad(loss), steps, radius=0.1)[0] for steps in (1, 2)]
    assert loss(ended[1]) > 1.5 * loss(ended[0]) > 0
    assert all(np.sqrt((np.asarray(x) ** 2).mean()) <= 0.1 * (1 + 1e-6) for x in ended)


def test_an_image_without_a_gradient_stays_and_no_gradient_flows_back():
    weight = jnp.asarray([1.0, 0.0, 1.0])[:, None, None, None]
    loss_of = lambda slope: jax.value_and_grad(lambda x: jnp.sum(x * weight * slope))
    moved, _ = worst_images(IMAGES, loss_of(SLOPE), 2, radius=0.1)
    np.testing.assert_array_equal(moved[1], IMAGES[1])
    assert np.all(np.any(np.asarray(moved != IMAGES), axis=(1, 2, 3)) == [True, False, True])
    gradient = jax.grad(lambda slope: jnp.sum(worst_images(IMAGES, loss_of(slope), 1, radius=0.1)[0]))(SLOPE)
    np.testing.assert_array_equal(gradient, 0)

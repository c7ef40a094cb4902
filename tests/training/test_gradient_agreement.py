"""The agreement of an embedder's gradient with the true change, for embedders whose gradient is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.models.embedder import IdentityEmbedder
from smoothswap_jax.training.gradient_agreement import agreement, cosine_gradient, local_lipschitz

RNG = np.random.default_rng(0)
SWAP = jnp.asarray(RNG.uniform(-1, 1, (3, 16, 16, 3)), jnp.float32)
PATTERN = jnp.asarray(RNG.normal(size=(16, 16, 3)), jnp.float32)
Z = {"first": jnp.ones((3, 1)), "second": jnp.zeros((3, 1, 1))}


def towards(pattern, strength=1.0):
    """An embedder whose cosine with Z rises along `pattern` wherever it is."""
    return lambda x: {"first": strength * jnp.mean(x * pattern, (1, 2, 3))[:, None], "second": jnp.ones((len(x), 1, 1))}


def agrees(embed, truth, sigma=0.0):
    return agreement(cosine_gradient(embed, SWAP, Z), truth - SWAP, sigma)


@pytest.mark.parametrize("strength", [1.0, 1e-25])
def test_it_is_the_correlation_with_the_true_change_whatever_the_lengths(strength):
    change = (
        jnp.asarray(RNG.normal(size=SWAP.shape), jnp.float32) + jnp.asarray([0, 1, -1.0])[:, None, None, None] * PATTERN
    )
    found = jax.jit(lambda truth: agrees(towards(PATTERN, strength), truth))(SWAP + 0.2 * change)
    wanted = [np.corrcoef(np.ravel(PATTERN), np.ravel(one))[0, 1] for one in change]
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert abs(found[0]) < 0.15 and found[1] > 0.5 and found[2] < -0.5


def test_a_straight_way_is_1_and_the_opposite_one_minus_1():
    for sign in (1, -1):
        truth = SWAP + sign * 0.3 * PATTERN
        np.testing.assert_allclose(agrees(towards(PATTERN), truth), sign, atol=1e-4)


def test_a_low_pass_hides_a_pattern_of_single_pixels():
    rows, columns = np.mgrid[:16, :16]
    face = np.repeat((rows[..., None] - 7.5) / 8, 3, axis=2)
    fooled = jnp.asarray(face + 3.0 * ((rows + columns) % 2 - 0.5)[..., None], jnp.float32)
    plain, seen = (agrees(towards(fooled), SWAP + 0.1 * face, sigma) for sigma in (0.0, 1.0))
    assert plain.max() < 0.45 and seen.min() > 0.95


def test_a_pair_without_a_change_or_a_gradient_has_no_correlation():
    assert np.all(np.isnan(agrees(towards(PATTERN), SWAP)))
    assert np.all(np.isnan(agrees(towards(0 * PATTERN), SWAP + PATTERN)))


def test_the_lipschitz_constant_of_a_linear_embedder_is_its_largest_singular_value():
    matrix = np.random.default_rng(0).normal(size=(2 * 4 * 3, 6)).astype(np.float32)
    images = np.random.default_rng(1).normal(size=(3, 2, 4, 3)).astype(np.float32)
    found = local_lipschitz(lambda x: x.reshape(len(x), -1) @ matrix, images, jax.random.key(0), rounds=100)
    wanted = np.linalg.svd(matrix, compute_uv=False)[0] * np.sqrt(len(matrix))  # a root mean square of 1 is so long
    np.testing.assert_allclose(found, wanted, rtol=1e-3)
    squares = local_lipschitz(lambda x: jnp.sum(x**2, (1, 2, 3))[:, None], images, jax.random.key(0), rounds=2)
    np.testing.assert_allclose(squares, 2 * np.linalg.norm(images.reshape(3, -1), axis=1) * np.sqrt(24), rtol=1e-3)
    assert np.all(local_lipschitz(lambda x: jnp.zeros((len(x), 2)), images, jax.random.key(0)) == 0)


def test_our_own_embedders_have_a_lipschitz_constant():
    """Whose convolutions have gradients of their own."""
    network = IdentityEmbedder(stage_sizes=(1,), width=4, stem="small2", norm="group", hidden=8, dim=4)
    images = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
    variables = network.init(jax.random.key(1), images)
    embed = lambda x: network.apply(variables, x)
    found = local_lipschitz(embed, images, jax.random.key(2), rounds=200)
    jacobian = jax.jacrev(embed)(images).reshape(4, -1)
    np.testing.assert_allclose(found[0], np.linalg.svd(jacobian)[1][0] * np.sqrt(8 * 8 * 3), rtol=1e-2)

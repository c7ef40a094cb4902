"""Whether an embedder's gradient points to what a swap should become, or to a perturbation that only it sees."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.models.injection import identity_vector
from smoothswap_jax.training.losses import cosine
from smoothswap_jax.training.transforms import gaussian_blur

PyTree = Any


def cosine_gradient(
    embed: Callable[[Float[Array, "b h w 3"]], PyTree], images: Float[Array, "b h w 3"], z_source: PyTree
) -> Float[Array, "b h w 3"]:
    """The gradient of cos(embed(x), z_source) at x = images.

    Args:
      embed: images -> identity z, each by itself, in inference mode; of an expectation over transformations the
        gradient is the mean of those with embedders of transformed images.
      images: where it is taken, in [-1, 1]: targets, before anything is trained, or swaps.
      z_source: identity of the sources, a pytree whose leaves have the batch as leading axis.
    """
    return jax.grad(lambda x: jnp.sum(cosine(identity_vector(embed(x)), identity_vector(z_source))))(images)


def agreement(
    gradient: Float[Array, "b h w c"], change: Float[Array, "b h w c"], sigma: float = 0.0
) -> Float[Array, "b"]:
    """Pearson's correlation, over pixels and channels of each pair, of a gradient with the true change, the true swap
    minus the image that the gradient was taken at: 1 where a small step along the gradient brings the image straight to
    the true swap, about 0 where it only fools the embedder. NaN where either is constant, as in a pair whose image is
    the true swap.

    sigma: standard deviation in pixels of a Gaussian that both are seen through; 0: none.
    """
    if sigma:
        gradient, change = gaussian_blur(gradient, sigma), gaussian_blur(change, sigma)
    return _correlation(gradient, change)


def local_lipschitz(
    embed: Callable[[Float[Array, "b h w 3"]], PyTree], images: Float[Array, "b h w 3"], key: Array, rounds: int = 10
) -> Float[Array, "b"]:
    """How far the identity of each image moves at most, per root mean square of a small change of its pixels: the
    largest singular value of the Jacobian, from below, by so many rounds of power iteration from a random change.

    embed: as of `cosine_gradient`. Identities that differ by 2 are opposite.
    """
    z, pull = jax.vjp(lambda x: identity_vector(embed(x)), images)
    # J v, by the transpose of the transpose: our convolutions have gradients of their own, and no forward mode.
    push = jax.vjp(lambda u: pull(u)[0], jnp.zeros_like(z))[1]

    def unit(x: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
        return x / jnp.maximum(jnp.sqrt(jnp.mean(jnp.square(x), axis=(1, 2, 3), keepdims=True)), 1e-12)

    once = lambda _, change: unit(pull(push(change)[0])[0])
    change = jax.lax.fori_loop(0, rounds, once, unit(jax.random.normal(key, images.shape)))
    return jnp.linalg.norm(push(change)[0], axis=-1)


def _correlation(a: Float[Array, "b h w c"], b: Float[Array, "b h w c"]) -> Float[Array, "b"]:
    def unit(x):
        x = x.reshape(len(x), -1)
        x = x / jnp.max(jnp.abs(x), axis=1, keepdims=True)  # whose squares are far from underflow
        x = x - x.mean(axis=1, keepdims=True)
        return x / jnp.linalg.norm(x, axis=1, keepdims=True)

    return jnp.sum(unit(a) * unit(b), axis=1)

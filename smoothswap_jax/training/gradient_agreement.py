"""Whether an embedder's gradient points to what a swap should become, or to a perturbation that only it sees."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.training.losses import as_vector, cosine
from smoothswap_jax.training.transforms import gaussian_blur

PyTree = Any


def gradient_agreement(
    embed: Callable[[Float[Array, "b h w 3"]], PyTree],
    swap: Float[Array, "b h w 3"],
    truth: Float[Array, "b h w 3"],
    z_source: PyTree,
    sigma: float = 0.0,
) -> Float[Array, "b"]:
    """Pearson's correlation, over pixels and channels of each pair, of the gradient of cos(embed(x), z_source) at x =
    swap with truth - swap: 1 where a small step along the gradient brings the swap straight to the true one, about 0
    where it only fools the embedder. NaN where either is constant, as in a pair whose swap is the truth.

    Args:
      embed: images -> identity z, each by itself, in inference mode; an expectation over transformations is measured by
        giving it transformed images.
      swap: where the gradient is taken, in [-1, 1]: the target, before anything is trained, or a swap.
      truth: the true swap, in [-1, 1].
      z_source: identity of the source, a pytree whose leaves have the batch as leading axis.
      sigma: standard deviation in pixels of a Gaussian that gradient and difference are seen through; 0: none.
    """
    gradient = jax.grad(lambda x: jnp.sum(cosine(as_vector(embed(x)), as_vector(z_source))))(swap)
    wanted = truth - swap
    if sigma:
        gradient, wanted = gaussian_blur(gradient, sigma), gaussian_blur(wanted, sigma)
    return _correlation(gradient, wanted)


def _correlation(a: Float[Array, "b h w c"], b: Float[Array, "b h w c"]) -> Float[Array, "b"]:
    def unit(x):
        x = x.reshape(len(x), -1)
        x = x / jnp.max(jnp.abs(x), axis=1, keepdims=True)  # whose squares are far from underflow
        x = x - x.mean(axis=1, keepdims=True)
        return x / jnp.linalg.norm(x, axis=1, keepdims=True)

    return jnp.sum(unit(a) * unit(b), axis=1)

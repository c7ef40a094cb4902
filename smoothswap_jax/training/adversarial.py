"""Images moved against a network, for adversarial training (Madry et al. 2018)."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.models.layers import l2_normalize

STRIDE = 2.5
"""Length of all steps together over the radius (Madry et al. 2018, appendix): the ball's surface is reached and can be
moved along."""


def worst_images(
    images: Float[Array, "b h w 3"],
    loss_and_gradient: Callable[[Float[Array, "b h w 3"]], tuple[Float[Array, ""], Float[Array, "b h w 3"]]],
    steps: int,
    radius: float,
) -> tuple[Float[Array, "b h w 3"], Float[Array, ""]]:
    """Images that raise a loss, by projected gradient ascent from `images`, and the loss before.

    Args:
      images: in [-1, 1]; the result may leave that range.
      loss_and_gradient: images -> (loss of the batch, its gradient by the images). All images move at once.
      steps: of ascent, at least 1.
      radius: how far an image may move: the root mean square of its change over pixels and channels, so that one value
        serves all resolutions. In L2 it is radius * sqrt(3 h w).
    """
    reach = radius * math.sqrt(images[0].size)
    moved, before = jnp.zeros_like(images), []
    for _ in range(steps):
        loss, gradient = loss_and_gradient(images + moved)
        before.append(loss)
        moved = _within(moved + STRIDE / steps * reach * _unit(gradient), reach)
    return jax.lax.stop_gradient(images + moved), before[0]


def _unit(gradient: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    # A loss is a mean over the batch, so its gradient by one image may be small; an image without any stays.
    return l2_normalize(gradient.reshape(len(gradient), -1), eps=1e-30).reshape(gradient.shape)


def _within(moved: Float[Array, "b h w 3"], reach: float) -> Float[Array, "b h w 3"]:
    length = jnp.sqrt(jnp.sum(jnp.square(moved), axis=(1, 2, 3), keepdims=True))
    return moved * (reach / jnp.maximum(length, reach))

"""Augmentation as a function of images and uniform numbers, in JAX; `pipeline.py` has the same in tf.data.

A row of uniforms is (flip, crop size, crop x, crop y, brightness, contrast, saturation). There is no strong colour
change: skin tone and hair colour count as identity here (Smooth-Swap, sec. 4.1).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

UNIFORMS = 7


@dataclass(frozen=True)
class Augmentation:
    """flip: mirror half of the images; crop: smallest side kept by a random square crop, resized back; colour: largest
    relative change of brightness, contrast and saturation."""

    flip: bool = True
    crop: float = 1.0
    colour: float = 0.0


def augment(images: Float[Array, "b h w 3"], u: Float[Array, "b 7"], how: Augmentation) -> Float[Array, "b h w 3"]:
    """Augmented images; both in [-1, 1]."""
    if how.flip:
        images = jnp.where(u[:, 0, None, None, None] < 0.5, images[:, :, ::-1], images)
    if how.crop < 1:
        images = jax.vmap(lambda image, v: _crop(image, v, how.crop))(images, u)
    if how.colour:
        images = jitter(images, 1 + how.colour * (2 * u[:, 4:7] - 1))
    return images


def _crop(image: Array, u: Array, smallest: float) -> Array:
    h, w, _ = image.shape
    side = smallest + (1 - smallest) * u[1]
    corner = jnp.stack([u[3] * (1 - side) * h, u[2] * (1 - side) * w])
    return jax.image.scale_and_translate(
        image, image.shape, (0, 1), jnp.stack([1 / side] * 2), -corner / side, "linear", antialias=False
    )


def jitter(images: Float[Array, "b h w 3"], factors: Float[Array, "b 3"]) -> Float[Array, "b h w 3"]:
    """Scales brightness, contrast and saturation (in this order) of images in [-1, 1]; clipped to that range."""
    brightness, contrast, saturation = (factors[:, i, None, None, None] for i in range(3))
    images = (images + 1) * brightness - 1
    mean = images.mean((1, 2, 3), keepdims=True)
    images = mean + (images - mean) * contrast
    grey = images.mean(3, keepdims=True)
    return (grey + (images - grey) * saturation).clip(-1, 1)

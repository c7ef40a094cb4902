"""Augmentation on the device: a pure function of images and of uniform random numbers that the caller draws.

A row of these is (flip, crop size, crop x, crop y, brightness, contrast, saturation), each in [0, 1). Colours change
only little: skin tone and hair colour are part of the identity here (Smooth-Swap, sec. 4.1).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

UNIFORMS = 7


@dataclass(frozen=True)
class Augmentation:
    """Which changes are made, and how large they may be."""

    flip: bool = True
    """Mirror half of the images."""
    crop: float = 1.0
    """Minimum side of the random square crop, which is resized to the whole image, as a fraction; 1: no crop."""
    colour: float = 0.0
    """Maximum relative change of brightness, contrast and saturation."""


def augment(images: Float[Array, "b h w 3"], u: Float[Array, "b 7"], how: Augmentation) -> Float[Array, "b h w 3"]:
    """The augmented images; `images` and result are in [-1, 1], `u` is described above."""
    if how.flip:
        images = jnp.where(u[:, 0, None, None, None] < 0.5, images[:, :, ::-1], images)
    if how.crop < 1:
        images = jax.vmap(lambda image, v: _crop(image, v, how.crop))(images, u)
    if how.colour:
        images = jitter(images, 1 + how.colour * (2 * u[:, 4:7] - 1))
    return images


def _crop(image: Float[Array, "h w 3"], u: Float[Array, "7"], min_side: float) -> Float[Array, "h w 3"]:
    h, w, _ = image.shape
    side = min_side + (1 - min_side) * u[1]
    corner = jnp.stack([u[3] * (1 - side) * h, u[2] * (1 - side) * w])
    return jax.image.scale_and_translate(
        image, image.shape, (0, 1), jnp.stack([1 / side] * 2), -corner / side, "linear", antialias=False
    )


def jitter(images: Float[Array, "b h w 3"], factors: Float[Array, "b 3"]) -> Float[Array, "b h w 3"]:
    """Scales brightness, contrast and saturation, in this order, of images in [-1, 1]; clips to that range."""
    brightness, contrast, saturation = (factors[:, i, None, None, None] for i in range(3))
    images = (images + 1) * brightness - 1
    mean = images.mean((1, 2, 3), keepdims=True)
    images = mean + (images - mean) * contrast
    grey = images.mean(3, keepdims=True)
    return (grey + (images - grey) * saturation).clip(-1, 1)

"""Random, differentiable transformations of images, drawn anew for each image and step.

An identity loss that sees its images only as they are is cheapest to lower by an adversarial perturbation: a pattern of
small changes that means something to the embedder and to nobody else. Such a pattern does not survive small shifts,
blur and noise, which faces do. So the embedder is trained on transformed pictures, and the swapper's identity loss is
an expectation over the same transformations (Athalye et al. 2018, "Synthesizing robust adversarial examples").
"""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from smoothswap_jax.models.layers import at_least_float32

STREAM = 2
"""What is folded into a run's key for its transformations; its networks are initialised from 0 and 1."""
BACKDROP_STREAM = 5
"""What is folded into an image's key for its backdrop, which came after keys had been split for the others."""
FACE_CENTRE, FACE_RADII = (0.56, 0.5), (0.38, 0.29)
"""Of an oval about brows, cheeks and chin in FFHQ's framing: (down, right), as shares of the side."""
LARGEST_OVAL, OVAL_STEEPNESS = 1.4, 20.0
"""The largest random growth of that oval, which has hair and ears in it; the steepness of its edge."""
CLOUDS = ((2, 0.8), (5, 0.4), (16, 0.2))
"""Pixels a side, and height, of the random images that are enlarged and added for a backdrop."""
TAPS = 2.5
"""Standard deviations after which the Gaussian of the blur ends."""


@dataclass(frozen=True)
class Transform:
    """The largest strength of each transformation; 0 leaves it out, and each image gets a random one up to it.

    Sides are those of the image, so that one value serves all resolutions. Transformations are made in the order of
    these fields.
    """

    backdrop: float = 0.0
    """Probability that all but the face, in FFHQ's framing, is exchanged for clouds of random colours."""
    colour: float = 0.0
    """Relative change of brightness, contrast, saturation and of each channel by itself."""
    shift: float = 0.0
    """Translation along each axis, as a share of the side; by parts of a pixel, the edge is repeated."""
    scale: float = 0.0
    """Relative change of size about the centre; the edge is repeated."""
    blur: float = 0.0
    """Share of the blurred image in its mean with the image, at most 1."""
    blur_sigma: float = 0.8
    """Standard deviation of the Gaussian of `blur`, in pixels; not random."""
    noise: float = 0.0
    """Standard deviation of Gaussian noise, of images in [-1, 1]."""
    hole: float = 0.0
    """Side of a square hole somewhere in the image, as a share of the image's, filled with its mean; not random."""

    @property
    def on(self) -> bool:
        """Whether any transformation is made."""
        return any((self.backdrop, self.colour, self.shift, self.scale, self.blur, self.noise, self.hole))


OFF = Transform()
"""Images as they are."""


def transform_keys(seed: int | Array, step: int | Array, shape: tuple[int, ...]) -> Key[Array, "*shape"]:
    """A key for each image of a step: the same on any devices, and for a batch that is computed in parts."""
    # Of JAX's generators, this one draws the same for a key whatever it is batched with.
    run = jax.random.key(seed, impl="threefry2x32")
    return jax.random.split(jax.random.fold_in(jax.random.fold_in(run, STREAM), step), shape)


def transform(images: Float[Array, "b h w 3"], keys: Key[Array, "b"], how: Transform) -> Float[Array, "b h w 3"]:
    """The images, each under transformations that its key draws; the images themselves if all strengths are 0.

    images: in [-1, 1], or a generator's, which may leave that range: nothing is clipped, as that would stop gradients.
    A strength that changes, or is switched on, leaves the draws of the other transformations as they are.
    """
    if not how.on:
        return images
    seen = jax.vmap(lambda image, key: _transformed(image, key, how))(at_least_float32(images), keys)
    return seen.astype(images.dtype)


def _transformed(image: Float[Array, "h w 3"], key: Key[Array, ""], how: Transform) -> Float[Array, "h w 3"]:
    if how.backdrop:
        image = _before_clouds(image, jax.random.fold_in(key, BACKDROP_STREAM), how.backdrop)
    for_colour, for_warp, for_blur, for_noise, for_hole = jax.random.split(key, 5)
    if how.colour:
        image = _recoloured(image, for_colour, how.colour)
    if how.shift or how.scale:
        image = _warped(image, for_warp, how.shift, how.scale)
    if how.blur:
        share = how.blur * jax.random.uniform(for_blur)
        image = (1 - share) * image + share * gaussian_blur(image, how.blur_sigma)
    if how.noise:
        strength, pattern = jax.random.split(for_noise)
        noise = jax.random.normal(pattern, image.shape, image.dtype)
        image = image + how.noise * jax.random.uniform(strength) * noise
    if how.hole:
        image = _holed(image, for_hole, how.hole)
    return image


def _before_clouds(image: Float[Array, "h w 3"], key: Key[Array, ""], probability: float) -> Float[Array, "h w 3"]:
    """The image, or its face before clouds: how much of hair and neck the soft oval leaves is random."""
    for_whether, for_size, *for_clouds = jax.random.split(key, 2 + len(CLOUDS))
    shape = image.shape[:2]
    clouds = sum(
        jax.image.resize(jax.random.uniform(k, (n, n, 3), image.dtype, -1.0), (*shape, 3), "linear") * height
        for k, (n, height) in zip(for_clouds, CLOUDS, strict=True)
    )
    growth = jax.random.uniform(for_size, minval=1.0, maxval=LARGEST_OVAL)
    (y, x), (ry, rx) = FACE_CENTRE, FACE_RADII
    rows = ((jnp.arange(shape[0]) + 0.5) / shape[0] - y) / (ry * growth)
    columns = ((jnp.arange(shape[1]) + 0.5) / shape[1] - x) / (rx * growth)
    inside = jax.nn.sigmoid(OVAL_STEEPNESS * (1 - jnp.hypot(rows[:, None], columns[None, :])))[..., None]
    seen = inside * image + (1 - inside) * clouds
    return jnp.where(jax.random.uniform(for_whether) < probability, seen, image)


def _recoloured(image: Float[Array, "h w 3"], key: Key[Array, ""], strength: float) -> Float[Array, "h w 3"]:
    factors = 1 + strength * jax.random.uniform(key, (6,), minval=-1.0)
    brightness, contrast, saturation, channels = factors[0], factors[1], factors[2], factors[3:]
    image = (image + 1) * brightness * channels - 1
    mean = image.mean()
    image = mean + (image - mean) * contrast
    grey = image.mean(2, keepdims=True)
    return grey + (image - grey) * saturation


def _warped(image: Float[Array, "h w 3"], key: Key[Array, ""], shift: float, scale: float) -> Float[Array, "h w 3"]:
    down, right, size = jax.random.uniform(key, (3,), minval=-1.0)
    rows = _resampling(image.shape[0], shift * down, 1 + scale * size)
    columns = _resampling(image.shape[1], shift * right, 1 + scale * size)
    return jnp.einsum("ij,jkc,lk->ilc", rows, image, columns, precision="highest")


def _resampling(size: int, shift: Array, scale: Array) -> Float[Array, "size size"]:
    """The matrix of linear interpolation at the places along an axis that scaling about its centre, and then a shift by
    a share of it, bring to each pixel; beyond the edge it is the edge."""
    pixels = jnp.arange(size)
    centre = (size - 1) / 2
    place = (pixels - centre - shift * size) / scale + centre
    return jnp.maximum(0, 1 - jnp.abs(place.clip(0, size - 1)[:, None] - pixels[None, :]))


def gaussian_blur(images: Float[Array, "*b h w c"], sigma: float) -> Float[Array, "*b h w c"]:
    """Images under a Gaussian of standard deviation `sigma`, in pixels; beyond the edge they are the edge."""
    radius = math.ceil(TAPS * sigma)
    taps = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    for axis in (images.ndim - 3, images.ndim - 2):
        size, margins = images.shape[axis], [(0, 0)] * images.ndim
        margins[axis] = (radius, radius)
        padded = jnp.pad(images, margins, mode="edge")
        slices = [jax.lax.slice_in_dim(padded, start, start + size, axis=axis) for start in range(len(taps))]
        weighted = [tap / sum(taps) * part for tap, part in zip(taps, slices, strict=True)]
        images = functools.reduce(jnp.add, weighted)
    return images


def _holed(image: Float[Array, "h w 3"], key: Key[Array, ""], side: float) -> Float[Array, "h w 3"]:
    inside = []
    for axis_key, size in zip(jax.random.split(key), image.shape[:2], strict=True):
        length = max(1, round(side * size))
        start = jax.random.randint(axis_key, (), 0, size - length + 1)
        inside.append((jnp.arange(size) >= start) & (jnp.arange(size) < start + length))
    hole = inside[0][:, None, None] & inside[1][None, :, None]
    return jnp.where(hole, image.mean((0, 1)), image)

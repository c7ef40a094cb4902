"""How the images of a published network are preprocessed, as data, and the function that does it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# name: antialias. Both are bilinear with half-pixel centres. PyTorch's interpolate(align_corners=False) reads two
# pixels along each axis whatever the scale; PIL widens the kernel when it shrinks, as 'bilinear_antialias' does.
INTERPOLATIONS = {"bilinear": False, "bilinear_antialias": True}
CHANNELS = ("RGB", "BGR")
CROPS = ("arcface", "sphereface", "vggface2", "deep3d", "3ddfa", "hopenet", "imagenet", "ffhq", "whole")
"""Those that an imported graph may be fed; `Preprocessing` says what they are."""


@dataclass(frozen=True)
class Preprocessing:
    """From an image in [-1, 1] RGB to a network's input: resize, scale to `low`..`high`, order, (x - mean) / std.

    size: (height, width) in pixels; None keeps the images' own, for networks that take any. crop: which part of the
    image the network was trained on, by name; the caller crops. 'imagenet': shorter side 256, central crop. 'vggface2':
    a detector's box grown by 0.3, shorter side 256, central crop. 'arcface': similarity transform to the five-point
    template of 112 x 112. 'sphereface': the same to that of 112 x 96. 'hopenet': a loose box around the head. 'deep3d':
    five points to BFM's, rescale factor 102. '3ddfa': a detector's box grown to 1.58 and lowered by .14. 'ffhq': FFHQ
    alignment. 'whole': the image as it is. mean and std: per channel, in the order of `channels` and in the units of
    `low`..`high`. Raises ValueError for an unknown order of channels or interpolation.
    """

    size: tuple[int, int] | None
    crop: str
    channels: str = "RGB"
    low: float = -1.0
    high: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: str = "bilinear_antialias"

    def __post_init__(self) -> None:
        if self.channels not in CHANNELS:
            raise ValueError(f"Preprocessing: channels is {self.channels!r}, wanted one of {CHANNELS}")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"Preprocessing: interpolation is {self.interpolation!r}, wanted one of {tuple(INTERPOLATIONS)}"
            )


IMAGENET = Preprocessing(
    (224, 224), "imagenet", low=0.0, high=1.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
"""As torchvision's classifiers were trained."""


def ffhq(size: int) -> Preprocessing:
    """FFHQ-aligned faces in [-1, 1], `size` pixels a side: what generators and discriminators see."""
    return Preprocessing((size, size), "ffhq")


def preprocess(images: Float[Array, "b h w 3"], how: Preprocessing) -> Float[Array, "b h2 w2 3"]:
    """Images in [-1, 1], RGB, cropped as `how.crop` says, to the network's input, float32."""
    x = jnp.asarray(images, jnp.float32)
    shape = (x.shape[0], *(how.size or x.shape[1:3]), x.shape[3])
    if x.shape != shape:
        x = jax.image.resize(x, shape, "linear", antialias=INTERPOLATIONS[how.interpolation])
    x = (x + 1) / 2 * (how.high - how.low) + how.low
    if how.channels == "BGR":
        x = x[..., ::-1]
    return (x - jnp.asarray(how.mean, jnp.float32)) / jnp.asarray(how.std, jnp.float32)

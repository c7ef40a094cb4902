"""The discriminator: StyleGAN2's residual network (Karras et al. 2020, section 4 and appendix B).

The arithmetic is that of `Discriminator` in rosinality/stylegan2-pytorch and of the 'resnet' architecture in NVIDIA's
code: equalised learning rate, FIR-filtered convolutions of stride 2, leaky ReLU of slope 0.2 times sqrt(2), residual
sums over sqrt(2), and minibatch standard deviation before the last convolution. As the paper has it, it is
unconditional; with `projection` it also judges whether the image fits to an identity (Miyato and Koyama 2018).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.models.injection import identity_vector
from smoothswap_jax.models.layers import (
    FIR_1331,
    EqualConv,
    EqualDense,
    minibatch_stddev,
    scaled_leaky_relu,
    with_remat,
)


class DiscriminatorBlock(nn.Module):
    """y = (act(conv2(act(conv1(x)))) + skip(x)) / sqrt(2) (rosinality/stylegan2-pytorch `ResBlock`).

    conv1 and conv2 are 3x3, skip is 1x1; conv2 and skip blur and downsample by 2; act is leaky ReLU times sqrt(2).
    """

    features: int
    fir_kernel: Sequence[float] = FIR_1331
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 features"]:
        fir, dtype = tuple(self.fir_kernel), self.dtype
        h = scaled_leaky_relu(EqualConv(x.shape[-1], 3, dtype=dtype, name="conv1")(x))
        h = EqualConv(self.features, 3, down=True, fir_kernel=fir, dtype=dtype, name="conv2")(h)
        skip = EqualConv(self.features, 1, down=True, fir_kernel=fir, use_bias=False, dtype=dtype, name="skip")(x)
        return (scaled_leaky_relu(h) + skip) / math.sqrt(2.0)


FEATURES, DEEP = "intermediates", 8
"""Flax's collection of what a module shows on request, and the largest side of the discriminator's features there."""


class Discriminator(nn.Module):
    """Images in [-1, 1] to logits, positive for real (rosinality/stylegan2-pytorch `Discriminator`).

    from_rgb, one block for each halving down to 4x4, minibatch-stddev, final_conv, final_dense, logit.

    The features of the last blocks, of up to DEEP pixels, are sown as `deep` into the collection FEATURES.

    Fields:
      resolution: of the images, a power of two from 8 up.
      channel_base, channel_max: at resolution r there are min(channel_base // r, channel_max) channels, as in NVIDIA's
        and rosinality's code (28,864,129 parameters at 256 px). channels: {r: count}, overrides of this rule.
      mbstd_group, mbstd_features: of `layers.minibatch_stddev`.
      projection: whether the logit has the term <V z, h> / sqrt(width) besides, for the identity z that the image
        should show and the last features h.
      remat: what the backward pass recomputes (`layers.with_remat`).
      dtype: of convolutions. Parameters, minibatch statistics, and the last two (dense) layers are float32.
    """

    resolution: int = 256
    channel_base: int = 32768
    channel_max: int = 512
    channels: Mapping[int, int] | None = None
    fir_kernel: Sequence[float] = FIR_1331
    mbstd_group: int | None = 4
    mbstd_features: int = 1
    projection: bool = False
    remat: str = "off"
    dtype: Any = jnp.float32

    def width(self, resolution: int) -> int:
        """Number of channels of the feature maps at `resolution`."""
        given = self.channels or {}
        return given.get(resolution, min(self.channel_base // resolution, self.channel_max))

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], z: Any = None) -> Float[Array, "b 1"]:
        """z: a pytree whose leaves have the batch as leading axis; read with `projection`.

        Raises ValueError for a resolution that is not a power of two from 8 up, for images of another size, for a batch
        that is not divisible by min(batch, mbstd_group), and where z is missing.
        """
        size = self.resolution
        if size < 8 or size & (size - 1):
            raise ValueError(f"Discriminator: resolution {size} is not a power of two from 8 up")
        if x.shape[1:3] != (size, size):
            raise ValueError(f"Discriminator: images are {x.shape[1:3]}, resolution is {size}")
        block = with_remat(DiscriminatorBlock, self.remat)
        h = scaled_leaky_relu(EqualConv(self.width(size), 1, dtype=self.dtype, name="from_rgb")(x))
        while size > 4:
            h = block(self.width(size // 2), tuple(self.fir_kernel), self.dtype, name=f"block{size}")(h)
            size //= 2
            if size <= DEEP:
                self.sow(FEATURES, "deep", h)
        h = minibatch_stddev(h.astype(jnp.float32), self.mbstd_group, self.mbstd_features)
        h = scaled_leaky_relu(EqualConv(self.width(4), 3, dtype=self.dtype, name="final_conv")(h))
        h = h.astype(jnp.float32).reshape(h.shape[0], -1)
        h = scaled_leaky_relu(EqualDense(self.width(4), name="final_dense")(h))
        logit = EqualDense(1, name="logit")(h)
        if not self.projection:
            return logit
        if z is None:
            raise ValueError("Discriminator: z is None, wanted an identity, as projection is on")
        z = identity_vector(z)
        # A unit vector has entries near 1 / sqrt(d), as in the generator.
        wanted = EqualDense(h.shape[-1], name="projection")(z * math.sqrt(z.shape[-1]))
        return logit + jnp.sum(wanted * h, axis=-1, keepdims=True) / math.sqrt(h.shape[-1])

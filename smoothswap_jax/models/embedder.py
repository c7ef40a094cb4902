"""Residual networks: the identity embedder, and the shapes that published face and image networks have.

`ResNet` covers torchvision's ResNet-50 (v1.5, He et al. 2016 with the stride on the 3x3 convolution) and
VGGFace2's (the Caffe variant: stride on the first 1x1, max-pool with ceil_mode; SE-ResNet-50 too). `IdentityEmbedder`
is Smooth-Swap's f_emb (Kim et al. 2022, 3.1): a ResNet-50 and a small head, ending on the unit sphere.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.models.convolution import convolution
from smoothswap_jax.models.layers import BatchNorm, GroupNorm, at_least_float32, l2_normalize

# name: (convolution size, its stride, pool after it). The number in a name is the total downsampling.
STEMS = {
    "imagenet": (7, 2, "max"),
    "small": (3, 1, None),
    "small2": (3, 2, None),
    "small4": (3, 2, "avg"),
}
_he_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def _norm(kind: str, x: Array, train: bool, name: str, groups: int | None = None) -> Array:
    """Batch or group normalisation by name; raises ValueError for another name."""
    if kind == "batch":
        return BatchNorm(name=name)(x, train)
    if kind == "group":
        return GroupNorm(groups, name=name)(x)
    raise ValueError(f"ResNet: norm is {kind!r}, wanted 'batch' or 'group'")


def same_conv(features: int, size: int, stride: int, dtype: Any, name: str) -> nn.Conv:
    """Bias-free convolution with PyTorch's symmetric padding of size // 2."""
    p = size // 2
    return nn.Conv(
        features,
        (size, size),
        stride,
        [(p, p), (p, p)],
        use_bias=False,
        dtype=dtype,
        kernel_init=_he_init,
        conv_general_dilated=convolution,
        name=name,
    )


def max_pool(x: Float[Array, "b h w c"], ceil_mode: bool = False) -> Float[Array, "b h2 w2 c"]:
    """3x3 max-pool of stride 2: padded by 1 (torchvision), or unpadded with PyTorch's ceil_mode (Caffe)."""
    pads = [(1, 1), (1, 1)]
    if ceil_mode:
        pads = [(0, -(-(n - 3) // 2) * 2 + 3 - n) for n in x.shape[1:3]]
    return nn.max_pool(x, (3, 3), (2, 2), pads)


def _gate(h: Float[Array, "b h w c"], reduction: int) -> Float[Array, "b 1 1 c"]:
    """Squeeze-and-excitation's factor for each channel, in (0, 1); inside of a compact module."""
    squeeze = at_least_float32(h).mean(axis=(1, 2), keepdims=True)
    low = nn.relu(nn.Conv(h.shape[-1] // reduction, (1, 1), name="se_down")(squeeze))
    return nn.sigmoid(nn.Conv(h.shape[-1], (1, 1), name="se_up")(low)).astype(h.dtype)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions, each with a norm; 4 * width output channels.

    `se_reduction` r adds squeeze-and-excitation (Hu et al. 2018) before the sum: a gate a channel, computed from
    the channels' means through 4 * width / r numbers.
    """

    width: int
    stride: int = 1
    stride_on_first: bool = False
    norm: str = "batch"
    dtype: Any = jnp.float32
    se_reduction: int | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h2 w2 d"]:
        norm = partial(_norm, self.norm, train=train)
        s1, s2 = (self.stride, 1) if self.stride_on_first else (1, self.stride)
        h = nn.relu(norm(same_conv(self.width, 1, s1, self.dtype, "conv1")(x), name="bn1"))
        h = nn.relu(norm(same_conv(self.width, 3, s2, self.dtype, "conv2")(h), name="bn2"))
        h = norm(same_conv(4 * self.width, 1, 1, self.dtype, "conv3")(h), name="bn3")
        if self.se_reduction:
            h = h * _gate(h, self.se_reduction)
        if self.stride != 1 or x.shape[-1] != 4 * self.width:
            x = norm(same_conv(4 * self.width, 1, self.stride, self.dtype, "downsample_conv")(x), name="downsample_bn")
        return nn.relu(h + x)


class ResNet(nn.Module):
    """Bottleneck ResNet: images to pooled features [b, 4 * 2^(stages-1) * width], or to `num_classes` logits.

    The value range of the images is the caller's (a published network's preprocessing). `stem`: see STEMS.
    `stride_on_first` and `ceil_mode` True give the VGGFace2/Caffe variant, with `se_reduction` 16 its SE-ResNet.
    Convolutions run in `dtype`; norms, the pooled features and the logits are float32. Raises ValueError for an
    unknown `stem` or `norm`.
    """

    stage_sizes: Sequence[int] = (3, 4, 6, 3)
    width: int = 64
    stem: str = "imagenet"
    stride_on_first: bool = False
    ceil_mode: bool = False
    norm: str = "batch"
    num_classes: int | None = None
    dtype: Any = jnp.float32
    se_reduction: int | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b d"]:
        if self.stem not in STEMS:
            raise ValueError(f"ResNet: stem is {self.stem!r}, wanted one of {tuple(STEMS)}")
        size, stride, pool = STEMS[self.stem]
        h = _norm(self.norm, same_conv(self.width, size, stride, self.dtype, "conv1")(x), train, "bn1")
        h = nn.relu(h)
        if pool == "max":
            h = max_pool(h, self.ceil_mode)
        elif pool == "avg":
            h = nn.avg_pool(h, (2, 2), (2, 2))
        for stage, blocks in enumerate(self.stage_sizes):
            for i in range(blocks):
                stride = 2 if stage and i == 0 else 1
                block = Bottleneck(
                    self.width * 2**stage, stride, self.stride_on_first, self.norm, self.dtype,
                    self.se_reduction, name=f"layer{stage + 1}_{i}",
                )  # fmt: skip
                h = block(h, train)
        h = at_least_float32(h).mean(axis=(1, 2))
        return h if self.num_classes is None else nn.Dense(self.num_classes, name="fc")(h)


class IdentityEmbedder(nn.Module):
    """f_emb: images in [-1, 1] to unit-norm identity embeddings [b, dim], float32.

    ResNet, global average, Dense(hidden), norm, LeakyReLU(0.2), Dense(dim), norm, L2: 26.13M parameters at
    the defaults. norm 'group' makes it independent of the batch: group norm in the backbone, and in the head
    one group a vector (finer groups would take most degrees of freedom from a short vector). `train` selects
    batch statistics and updates `batch_stats`.
    """

    stage_sizes: Sequence[int] = (3, 4, 6, 3)
    width: int = 64
    stem: str = "imagenet"
    norm: str = "batch"
    hidden: int = 1024
    dim: int = 512
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b dim"]:
        backbone = ResNet(
            tuple(self.stage_sizes), self.width, self.stem, norm=self.norm, dtype=self.dtype, name="backbone"
        )
        h = nn.Dense(self.hidden, name="dense0")(backbone(x, train))
        h = nn.leaky_relu(_norm(self.norm, h, train, "norm0", groups=1), 0.2)
        h = nn.Dense(self.dim, name="dense1")(h)
        return l2_normalize(_norm(self.norm, h, train, "norm1", groups=1))

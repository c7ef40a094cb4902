"""Residual networks: the identity embedder, and the variants of ResNet-50 that published weights are for.

`ResNet` covers torchvision's ResNet-50 (v1.5: He et al. 2016 with the stride on the 3x3 convolution) and VGGFace2's
(Caffe's variant: stride on the first 1x1 convolution, max-pooling with ceil_mode), also with squeeze-and-excitation.
`IdentityEmbedder` is Smooth-Swap's f_emb (Kim et al. 2022): a ResNet-50 with a small head, normalised to unit length.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.models.convolution import convolution
from smoothswap_jax.models.layers import BatchNorm, GroupNorm, at_least_float32, l2_normalize

STEMS: dict[str, tuple[int, int, str | None]] = {
    "imagenet": (7, 2, "max"),
    "small": (3, 1, None),
    "small2": (3, 2, None),
    "small4": (3, 2, "avg"),
}
"""name: (convolution size, its stride, pooling after it). The number in a name is the total downsampling."""
NORMS = ("batch", "group")
_he_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def _norm(kind: str, x: Array, train: bool, name: str, groups: int | None = None) -> Array:
    """Batch or group normalisation. Raises ValueError for another kind."""
    if kind == "batch":
        return BatchNorm(name=name)(x, train)
    if kind == "group":
        return GroupNorm(groups, name=name)(x)
    raise ValueError(f"ResNet: norm is {kind!r}, wanted one of {NORMS}")


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
    """3x3 max-pooling of stride 2: padded by 1 (torchvision), or unpadded with PyTorch's ceil_mode (Caffe)."""
    pads = [(1, 1), (1, 1)]
    if ceil_mode:
        pads = [(0, -(-(n - 3) // 2) * 2 + 3 - n) for n in x.shape[1:3]]
    return nn.max_pool(x, (3, 3), (2, 2), pads)


def _gate(h: Float[Array, "b h w c"], reduction: int) -> Float[Array, "b 1 1 c"]:
    """Squeeze-and-excitation (Hu et al. 2018): sigmoid(W_up relu(W_down mean(h))), a factor in (0, 1) for each channel.

    reduction: c / reduction is the width in between. Call it inside a compact method.
    """
    squeeze = at_least_float32(h).mean(axis=(1, 2), keepdims=True)
    low = nn.relu(nn.Conv(h.shape[-1] // reduction, (1, 1), name="se_down")(squeeze))
    return nn.sigmoid(nn.Conv(h.shape[-1], (1, 1), name="se_up")(low)).astype(h.dtype)


class Bottleneck(nn.Module):
    """Bottleneck block (He et al. 2016; torchvision `Bottleneck`).

    h = relu(bn1(conv1(x))), h = relu(bn2(conv2(h))), y = relu(bn3(conv3(h)) + shortcut(x)).

    conv1, conv2 and conv3 are 1x1, 3x3 and 1x1, with 4 * width output channels. The shortcut is a 1x1 convolution and a
    norm if the shape changes, else the identity. The stride is on conv2, or on conv1 with `stride_on_first`.
    `se_reduction` puts squeeze-and-excitation after bn3 (`_gate`).
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
    """Bottleneck ResNet: images to pooled features [b, 4 * 2^(stages-1) * width], or to `num_classes` logits; without
    `pool` to the last features [b h w c].

    Stem, stages of Bottleneck blocks that halve the resolution from the second on, global average pooling, fc. Images
    have the value range that their network's preprocessing gives. `stem`: see STEMS. `stride_on_first` and `ceil_mode`
    True give the VGGFace2 (Caffe) variant, `se_reduction` 16 its SE-ResNet. Convolutions run in `dtype`; the inside of
    norms, the pooled features and the logits are float32.

    Raises ValueError for an unknown `stem` or `norm`.
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
    pool: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b *space d"]:
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
        if not self.pool:
            return h
        h = at_least_float32(h).mean(axis=(1, 2))
        return h if self.num_classes is None else nn.Dense(self.num_classes, name="fc")(h)


class IdentityEmbedder(nn.Module):
    """f_emb of Smooth-Swap: images in [-1, 1] to unit-norm identity embeddings [b, dim], float32.

    z = l2_normalize(norm1(dense1(leaky_relu(norm0(dense0(ResNet(x))), 0.2)))), 26.13M parameters at the defaults. That
    f_emb is a ResNet-50 is the paper's; the head is what independent re-implementations agree on.

    norm 'group' makes an embedding independent of the rest of its batch: group normalisation in the backbone, and one
    group for the whole vector in the head, since finer groups would take most degrees of freedom from a short vector.
    `spatial` returns {'vector': the embedding, 'map': the backbone's last features [b h w c], float32}; the parameters
    are the same.
    `train` normalises with batch statistics and updates `batch_stats`.
    """

    stage_sizes: Sequence[int] = (3, 4, 6, 3)
    width: int = 64
    stem: str = "imagenet"
    norm: str = "batch"
    hidden: int = 1024
    dim: int = 512
    dtype: Any = jnp.float32
    spatial: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b dim"] | dict[str, Array]:
        backbone = ResNet(
            tuple(self.stage_sizes), self.width, self.stem, norm=self.norm, dtype=self.dtype, pool=False,
            name="backbone",
        )  # fmt: skip
        features = at_least_float32(backbone(x, train))
        h = nn.Dense(self.hidden, name="dense0")(features.mean(axis=(1, 2)))
        h = nn.leaky_relu(_norm(self.norm, h, train, "norm0", groups=1), 0.2)
        h = nn.Dense(self.dim, name="dense1")(h)
        z = l2_normalize(_norm(self.norm, h, train, "norm1", groups=1))
        return {"vector": z, "map": features} if self.spatial else z

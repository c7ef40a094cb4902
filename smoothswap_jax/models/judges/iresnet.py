"""IResNet, the network of ArcFace (insightface `backbones/iresnet.py`)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.models.embedder import same_conv
from smoothswap_jax.models.layers import BatchNorm, at_least_float32


class PReLU(nn.Module):
    """Leaky ReLU with a learned slope per channel (PyTorch's PReLU(c))."""

    @nn.compact
    def __call__(self, x: Float[Array, "... c"]) -> Float[Array, "... c"]:
        alpha = self.param("alpha", nn.initializers.constant(0.25), (x.shape[-1],))
        return jnp.where(x >= 0, x, alpha.astype(x.dtype) * x)


class IBasicBlock(nn.Module):
    """insightface's block: norm, 3x3, norm, PReLU, 3x3 (stride), norm; no activation after the sum."""

    features: int
    stride: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h2 w2 features"]:
        h = BatchNorm(name="bn1")(x, train)
        h = BatchNorm(name="bn2")(same_conv(self.features, 3, 1, self.dtype, "conv1")(h), train)
        h = same_conv(self.features, 3, self.stride, self.dtype, "conv2")(PReLU(name="prelu")(h))
        h = BatchNorm(name="bn3")(h, train)
        if self.stride != 1 or x.shape[-1] != self.features:
            x = same_conv(self.features, 1, self.stride, self.dtype, "downsample_conv")(x)
            x = BatchNorm(name="downsample_bn")(x, train)
        return h + x


class IResNet(nn.Module):
    """ArcFace's backbone: from aligned 112x112 faces, normally in [-1, 1], to features [b, num_features].

    The features are float32 and not normalised. stage_sizes (3, 4, 14, 3) is IResNet-50, (3, 13, 30, 3) IResNet-100.
    Dropout before the last layer is left out: these networks are not trained here.
    """

    stage_sizes: Sequence[int] = (3, 4, 14, 3)
    width: int = 64
    num_features: int = 512
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b d"]:
        h = BatchNorm(name="bn1")(same_conv(self.width, 3, 1, self.dtype, "conv1")(x), train)
        h = PReLU(name="prelu")(h)
        for stage, blocks in enumerate(self.stage_sizes):
            for i in range(blocks):
                name = f"layer{stage + 1}_{i}"
                h = IBasicBlock(self.width * 2**stage, 1 if i else 2, self.dtype, name=name)(h, train)
        h = at_least_float32(BatchNorm(name="bn2")(h, train))
        h = nn.Dense(self.num_features, name="fc")(h.reshape(h.shape[0], -1))
        return BatchNorm(name="features")(h, train)

"""SFace: the small identity network of OpenCV's model zoo (Zhong et al. 2021), a MobileNet with PReLU.

Layer names are those of the published ONNX graph, whose first two nodes (subtract 127.5, multiply by 1 / 128)
belong to the preprocessing here.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.models.convolution import convolution
from smoothswap_jax.models.judges.iresnet import PReLU
from smoothswap_jax.models.layers import BatchNorm, at_least_float32

WIDTHS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)


class _ConvNormPReLU(nn.Module):
    features: int
    size: int
    stride: int = 1
    groups: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h2 w2 features"]:
        p = self.size // 2
        h = nn.Conv(
            self.features, (self.size, self.size), self.stride, [(p, p), (p, p)],
            feature_group_count=self.groups, use_bias=False, dtype=self.dtype,
            conv_general_dilated=convolution, name="conv2d",
        )(x)  # fmt: skip
        return PReLU(name="relu")(BatchNorm(epsilon=1e-3, name="batchnorm")(h, train))


class SFace(nn.Module):
    """From aligned 112x112 faces, (x - 127.5) / 128, to identity features [b, num_features], float32, not normalised.

    widths: the channels after each layer. The first layer is a 3x3 convolution, each later one a depthwise 3x3 and a
    1x1 convolution; it has stride 2 where the channels grow, except in the second layer.
    """

    widths: Sequence[int] = WIDTHS
    num_features: int = 128
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b d"]:
        h = _ConvNormPReLU(self.widths[0], 3, dtype=self.dtype, name="conv_1")(x, train)
        for i, width in enumerate(self.widths[1:], start=2):
            c = h.shape[-1]
            stride = 2 if i > 2 and width > c else 1
            h = _ConvNormPReLU(c, 3, stride, c, self.dtype, name=f"conv_{i}_dw")(h, train)
            h = _ConvNormPReLU(width, 1, dtype=self.dtype, name=f"conv_{i}")(h, train)
        h = at_least_float32(BatchNorm(epsilon=2e-5, name="bn1")(h, train))
        h = nn.Dense(self.num_features, name="pre_fc1")(h.reshape(h.shape[0], -1))
        return BatchNorm(epsilon=2e-5, name="fc1")(h, train)

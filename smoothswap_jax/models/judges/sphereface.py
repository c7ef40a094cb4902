"""SphereFace's 20-layer network, as CosFace's published weights have it (MuggleWang/CosFace_pytorch `net.py`).

Liu et al. 2017 (architecture), Wang et al. 2018 (CosFace). No batch norm anywhere.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.models.judges.iresnet import PReLU
from smoothswap_jax.models.layers import at_least_float32

_PAD = [(1, 1), (1, 1)]  # PyTorch's padding of a 3x3 convolution, also where the stride is 2


class SphereBlock(nn.Module):
    """x + PReLU(conv(PReLU(conv(x)))), 3x3 convolutions without bias."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        h = x
        for i in (1, 2):
            conv = nn.Conv(x.shape[-1], (3, 3), padding=_PAD, use_bias=False, dtype=self.dtype, name=f"conv{i}")
            h = PReLU(name=f"prelu{i}")(conv(h))
        return x + h


class SphereFace(nn.Module):
    """From aligned faces, 112 rows by 96 columns in [-1, 1], to identity features [b, num_features], float32.

    Each stage halves the image by a convolution with bias and a PReLU, then `stage_sizes[i]` residual blocks.
    The features are not normalised. (1, 2, 4, 1) is sphere20, (3, 7, 16, 3) sphere64.
    """

    stage_sizes: Sequence[int] = (1, 2, 4, 1)
    width: int = 64
    num_features: int = 512
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b d"]:
        h = x
        for stage, blocks in enumerate(self.stage_sizes):
            name = f"layer{stage + 1}"
            conv = nn.Conv(self.width * 2**stage, (3, 3), 2, _PAD, dtype=self.dtype, name=f"{name}_conv")
            h = PReLU(name=f"{name}_prelu")(conv(h))
            for i in range(blocks):
                h = SphereBlock(self.dtype, name=f"{name}_{i}")(h)
        h = at_least_float32(h)
        return nn.Dense(self.num_features, name="fc")(h.reshape(h.shape[0], -1))

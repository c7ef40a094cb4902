"""Deep3DFaceRecon: 3DMM coefficients of a face (Deng et al. 2019, sicxu/Deep3DFaceRecon_pytorch `net_recon`)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.models.embedder import ResNet

# The published heads: identity, expression, texture, angle, illumination, translation x and y, translation z.
HEADS = (80, 64, 80, 3, 27, 2, 1)


class Coefficients(NamedTuple):
    """A face in terms of the Basel Face Model 2009, with pose and illumination, as `split_coefficients` gives them.

    `identity`, `expression`, `texture`: in standard deviations of the model's bases. `angle`: Euler angles in
    radians (pitch, yaw, roll). `illumination`: 9 spherical harmonics for each of R, G, B. `translation`: x, y, z.
    """

    identity: Float[Array, "b 80"]
    expression: Float[Array, "b 64"]
    texture: Float[Array, "b 80"]
    angle: Float[Array, "b 3"]
    illumination: Float[Array, "b 27"]
    translation: Float[Array, "b 3"]


class Deep3D(nn.Module):
    """Aligned faces in [0, 1] to the concatenated outputs of the heads, [b, 257] for the published network."""

    stage_sizes: Sequence[int] = (3, 4, 6, 3)
    width: int = 64
    heads: Sequence[int] = HEADS
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b d"]:
        h = ResNet(tuple(self.stage_sizes), self.width, dtype=self.dtype, name="backbone")(x, train)
        return jnp.concatenate([nn.Dense(n, name=f"head{i}")(h) for i, n in enumerate(self.heads)], axis=-1)


def split_coefficients(y: Float[Array, "b 257"]) -> Coefficients:
    """The published network's output by meaning. Raises ValueError for another number of coefficients."""
    if y.shape[-1] != sum(HEADS):
        raise ValueError(f"split_coefficients: {y.shape[-1]} coefficients, wanted {sum(HEADS)}")
    return Coefficients(*jnp.split(y, (80, 144, 224, 227, 254), axis=-1))

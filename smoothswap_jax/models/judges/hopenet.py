"""Hopenet: the head pose of a face (Ruiz et al. 2018, natanielruiz/deep-head-pose `hopenet.py`)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.models.embedder import ResNet

ANGLES = ("yaw", "pitch", "roll")
BIN_DEGREES, FIRST_BIN_DEGREES = 3.0, -99.0


class Hopenet(nn.Module):
    """From ImageNet-normalised faces to logits [b, 3, bins] over bins of 3 degrees; the angles are yaw, pitch, roll."""

    stage_sizes: Sequence[int] = (3, 4, 6, 3)
    width: int = 64
    bins: int = 66
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b 3 bins"]:
        h = ResNet(tuple(self.stage_sizes), self.width, dtype=self.dtype, name="backbone")(x, train)
        return jnp.stack([nn.Dense(self.bins, name=f"fc_{angle}")(h) for angle in ANGLES], axis=1)


def pose_degrees(logits: Float[Array, "b 3 bins"]) -> Float[Array, "b 3"]:
    """The expected angles, in degrees: sum_i softmax(logits)_i * i * 3 - 99."""
    index = jnp.arange(logits.shape[-1], dtype=jnp.float32)
    return jax.nn.softmax(logits.astype(jnp.float32)) @ index * BIN_DEGREES + FIRST_BIN_DEGREES

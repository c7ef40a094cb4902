"""The Inception-v3 of the Frechet Inception distance: TensorFlow's network of 2015-12-05.

Szegedy et al. 2016, as ported by mseitzer/pytorch-fid. It differs from torchvision's in three places: average pooling
does not count the padding, the last block has max pooling, and there are 1008 classes. Submodules have the published
names (`Mixed_5b/branch1x1/conv`).
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.models.layers import BatchNorm, at_least_float32

# A branch: (name, channels at full width, kernel size, stride) of each convolution in turn. Stride 1 is padded to
# keep the size, stride 2 is unpadded. Names that end in 'a' and 'b' are two convolutions of the same input.
Branch = tuple[tuple[str, int, tuple[int, int], int], ...]
_ONE, _ROW, _COLUMN, _THREE = (1, 1), (1, 7), (7, 1), (3, 3)


def _block_a() -> tuple[Branch, ...]:
    return (
        (("branch1x1", 64, _ONE, 1),),
        (("branch5x5_1", 48, _ONE, 1), ("branch5x5_2", 64, (5, 5), 1)),
        (("branch3x3dbl_1", 64, _ONE, 1), ("branch3x3dbl_2", 96, _THREE, 1), ("branch3x3dbl_3", 96, _THREE, 1)),
    )


def _block_b() -> tuple[Branch, ...]:
    return (
        (("branch3x3", 384, _THREE, 2),),
        (("branch3x3dbl_1", 64, _ONE, 1), ("branch3x3dbl_2", 96, _THREE, 1), ("branch3x3dbl_3", 96, _THREE, 2)),
    )


def _block_c(c: int) -> tuple[Branch, ...]:
    return (
        (("branch1x1", 192, _ONE, 1),),
        (("branch7x7_1", c, _ONE, 1), ("branch7x7_2", c, _ROW, 1), ("branch7x7_3", 192, _COLUMN, 1)),
        (
            ("branch7x7dbl_1", c, _ONE, 1), ("branch7x7dbl_2", c, _COLUMN, 1), ("branch7x7dbl_3", c, _ROW, 1),
            ("branch7x7dbl_4", c, _COLUMN, 1), ("branch7x7dbl_5", 192, _ROW, 1),
        ),
    )  # fmt: skip


def _block_d() -> tuple[Branch, ...]:
    return (
        (("branch3x3_1", 192, _ONE, 1), ("branch3x3_2", 320, _THREE, 2)),
        (
            ("branch7x7x3_1", 192, _ONE, 1), ("branch7x7x3_2", 192, _ROW, 1), ("branch7x7x3_3", 192, _COLUMN, 1),
            ("branch7x7x3_4", 192, _THREE, 2),
        ),
    )  # fmt: skip


def _block_e() -> tuple[Branch, ...]:
    return (
        (("branch1x1", 320, _ONE, 1),),
        (("branch3x3_1", 384, _ONE, 1), ("branch3x3_2a", 384, (1, 3), 1), ("branch3x3_2b", 384, (3, 1), 1)),
        (
            ("branch3x3dbl_1", 448, _ONE, 1), ("branch3x3dbl_2", 384, _THREE, 1),
            ("branch3x3dbl_3a", 384, (1, 3), 1), ("branch3x3dbl_3b", 384, (3, 1), 1),
        ),
    )  # fmt: skip


# name: (branches, pool, channels of the 1x1 convolution after the pool). Pool 'reduce' halves the size and has none.
BLOCKS: dict[str, tuple[tuple[Branch, ...], str, int]] = {
    "Mixed_5b": (_block_a(), "avg", 32),
    "Mixed_5c": (_block_a(), "avg", 64),
    "Mixed_5d": (_block_a(), "avg", 64),
    "Mixed_6a": (_block_b(), "reduce", 0),
    "Mixed_6b": (_block_c(128), "avg", 192),
    "Mixed_6c": (_block_c(160), "avg", 192),
    "Mixed_6d": (_block_c(160), "avg", 192),
    "Mixed_6e": (_block_c(192), "avg", 192),
    "Mixed_7a": (_block_d(), "reduce", 0),
    "Mixed_7b": (_block_e(), "avg", 192),
    "Mixed_7c": (_block_e(), "max", 192),
}
STEM_WIDTH = 32


class _ConvNorm(nn.Module):
    """Convolution without bias, batch norm (epsilon 1e-3), ReLU."""

    features: int
    size: Sequence[int]
    stride: int = 1
    pad: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 features"]:
        pads = [(s // 2, s // 2) if self.pad else (0, 0) for s in self.size]
        conv = nn.Conv(
            self.features, tuple(self.size), self.stride, pads, use_bias=False, dtype=self.dtype, name="conv"
        )
        return nn.relu(BatchNorm(epsilon=1e-3, name="bn")(conv(x), train=False))


class _Mixed(nn.Module):
    """Branches side by side, concatenated over channels; `width` 32 gives the published channel counts."""

    branches: tuple[Branch, ...]
    pool: str
    pool_features: int
    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        outputs = [h for branch in self.branches for h in self._branch(x, branch)]
        if self.pool == "reduce":
            return jnp.concatenate([*outputs, nn.max_pool(x, (3, 3), (2, 2))], axis=-1)
        if self.pool == "avg":
            h = nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)
        else:
            h = nn.max_pool(x, (3, 3), (1, 1), "SAME")
        return jnp.concatenate([*outputs, self._conv("branch_pool", self.pool_features, _ONE, 1)(h)], axis=-1)

    @nn.nowrap
    def _conv(self, name: str, features: int, size: tuple[int, int], stride: int) -> _ConvNorm:
        return _ConvNorm(features * self.width // STEM_WIDTH, size, stride, stride == 1, self.dtype, name=name)

    @nn.nowrap
    def _branch(self, x: Array, branch: Branch) -> list[Array]:
        ends = []
        for name, channels, size, stride in branch:
            y = self._conv(name, channels, size, stride)(x)
            if name[-1] in "ab" and name[-2].isdigit():
                ends.append(y)
            else:
                x = y
        return ends or [x]


class InceptionFID(nn.Module):
    """Images in [-1, 1], 299 x 299, to the pool3 features [b, 64 * width] (2048) and logits [b, num_classes].

    Inference only. Both results are float32. `width` is the stem's; all other channel counts scale with it, so it
    must be even. Under jit, logits that are not used are not computed.
    """

    width: int = STEM_WIDTH
    num_classes: int = 1008
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> tuple[Float[Array, "b d"], Float[Array, "b classes"]]:
        """Raises ValueError for an odd width."""
        if self.width % 2:
            raise ValueError(f"InceptionFID: width is {self.width}, wanted an even number")
        stem = [
            ("Conv2d_1a_3x3", 32, 3, 2, False), ("Conv2d_2a_3x3", 32, 3, 1, False), ("Conv2d_2b_3x3", 64, 3, 1, True),
            ("Conv2d_3b_1x1", 80, 1, 1, False), ("Conv2d_4a_3x3", 192, 3, 1, False),
        ]  # fmt: skip
        h = x
        for name, channels, size, stride, pad in stem:
            features = channels * self.width // STEM_WIDTH
            h = _ConvNorm(features, (size, size), stride, pad, self.dtype, name=name)(h)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                h = nn.max_pool(h, (3, 3), (2, 2))
        for name, (branches, pool, pool_features) in BLOCKS.items():
            h = _Mixed(branches, pool, pool_features, self.width, self.dtype, name=name)(h)
        pooled = at_least_float32(h).mean(axis=(1, 2))
        return pooled, nn.Dense(self.num_classes, name="fc")(pooled)

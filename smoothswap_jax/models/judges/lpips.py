"""LPIPS: how different two images look (Zhang et al. 2018, richzhang/PerceptualSimilarity v0.1)."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.models.layers import at_least_float32

# lpips' ScalingLayer for images in [-1, 1]: ImageNet's statistics, rounded as there.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPSILON = 1e-10


class Trunk(NamedTuple):
    """The part of torchvision's `features` that LPIPS uses: five slices, of which it compares the last ReLUs.

    convs: for each slice, (kernel size, stride, padding) of each convolution; a ReLU follows each. pools: the window of
    the max pooling of stride 2 that a slice starts with, 0 for none. widths: channels of each slice as published.
    least: the smallest side of an image for which the last slice has a pixel.
    """

    convs: tuple[tuple[tuple[int, int, int], ...], ...]
    pools: tuple[int, ...]
    widths: tuple[int, ...]
    least: int

    def positions(self) -> tuple[tuple[int, ...], ...]:
        """torchvision's index of each convolution, which counts pools and ReLUs too."""
        numbers, last = [], -2
        for convs, pool in zip(self.convs, self.pools, strict=True):
            first = last + (3 if pool else 2)
            numbers.append(tuple(range(first, first + 2 * len(convs), 2)))
            last = numbers[-1][-1]
        return tuple(numbers)


_THREE = (3, 1, 1)
TRUNKS = {
    "alex": Trunk(
        (((11, 4, 2),), ((5, 1, 2),), (_THREE,), (_THREE,), (_THREE,)), (0, 3, 3, 0, 0), (64, 192, 384, 256, 256), 31
    ),
    "vgg": Trunk(
        ((_THREE,) * 2, (_THREE,) * 2, (_THREE,) * 3, (_THREE,) * 3, (_THREE,) * 3),
        (0, 2, 2, 2, 2),
        (64, 128, 256, 512, 512),
        16,
    ),
}


class LPIPS(nn.Module):
    """From two batches of RGB images in [-1, 1] to their distances (eq. 1), float32: 0 for equal images, symmetric.

    net: 'alex' (relu1 to relu5 of AlexNet) or 'vgg' (relu1_2, 2_2, 3_3, 4_3, 5_3 of VGG16). widths: channels of the
    five slices, by default the published ones. Images may have any size from 31 pixels a side up (vgg: 16), but only
    distances at the same size compare, and below 64 pixels the later slices see little: the last map of alex has 3 x 3
    pixels at 64, and a single one at 32. Submodules have the published names, `features_<i>` and `lin<i>`.
    """

    net: str = "alex"
    widths: Sequence[int] | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"]) -> Float[Array, "b"]:
        """Raises ValueError for an unknown net, images of different shapes, and images that are too small."""
        if self.net not in TRUNKS:
            raise ValueError(f"LPIPS: net is {self.net!r}, wanted one of {tuple(TRUNKS)}")
        if x.shape != y.shape:
            raise ValueError(f"LPIPS: images of shapes {x.shape} and {y.shape}, wanted pairs of one shape")
        least = TRUNKS[self.net].least
        if min(x.shape[1:3]) < least:
            raise ValueError(f"LPIPS: images have {x.shape[1:3]} pixels, {self.net} needs {least} a side")
        both = (jnp.concatenate([x, y]) - jnp.asarray(SHIFT, x.dtype)) / jnp.asarray(SCALE, x.dtype)
        total = jnp.zeros((), jnp.float32)
        for i, h in enumerate(self._slices(both)):
            h = at_least_float32(h)
            h = h / (jnp.sqrt(jnp.sum(h * h, axis=-1, keepdims=True)) + EPSILON)
            first, second = jnp.split(h, 2)
            # The 1x1 convolution is linear: the mean over positions may come first.
            squares = jnp.square(first - second).mean(axis=(1, 2))
            lin = nn.Dense(1, use_bias=False, precision=jax.lax.Precision.HIGHEST, name=f"lin{i}")
            total = total + lin(squares)[:, 0]
        return total

    @nn.nowrap
    def _slices(self, h: Array) -> Iterator[Array]:
        trunk = TRUNKS[self.net]
        slices = zip(trunk.convs, trunk.pools, self.widths or trunk.widths, trunk.positions(), strict=True)
        for convs, pool, width, positions in slices:
            if pool:
                h = nn.max_pool(h, (pool, pool), (2, 2))
            for (size, stride, pad), position in zip(convs, positions, strict=True):
                pads = [(pad, pad)] * 2
                conv = nn.Conv(width, (size, size), stride, pads, dtype=self.dtype, name=f"features_{position}")
                h = nn.relu(conv(h))
            yield h

"""How the identity z enters the generator: a registry of injections.

An injection has two parts. `encode` runs once and turns z into the code that all residual blocks receive; `condition`
runs in each block, between its two convolutions, and returns normalised features. z and the code are pytrees whose
leaves have the batch as leading axis. Layers created in either belong to the module that calls it.

To add one, write a class with the two methods of `Injection` and enter it in INJECTIONS.
"""

import math
from typing import Any, Protocol

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.models.layers import GroupNorm, default_init

PyTree = Any


class Injection(Protocol):
    """The interface that NCSN++ uses. Both methods are called inside a compact method of a module."""

    def encode(self, z: PyTree, nf: int, scale: float | None) -> PyTree:
        """z -> code, once in a forward pass.

        nf: base width of the generator. scale: factor on z; None is the injection's own choice.
        """

    def condition(self, h: Float[Array, "b h w c"], code: PyTree, dtype: Any) -> Float[Array, "b h w c"]:
        """Features after the first convolution of a residual block -> conditioned and normalised features."""


class Add:
    """Smooth-Swap's: the identity takes the place of NCSN++'s time embedding and is added to the features.

    code = Dense(swish(Dense(scale z))), both 4 nf wide; condition: norm1(h + Dense(swish(code))), the same for all
    pixels (score_sde `ncsnpp.NCSNpp`, `layerspp.ResnetBlockBigGANpp`). The two dense layers of `encode` and the scale
    sqrt(d) are our defaults, not the paper's.
    """

    def encode(self, z: Float[Array, "b d"], nf: int, scale: float | None) -> Float[Array, "b nf4"]:
        # A unit vector has entries near 1 / sqrt(d), almost invisible to the first layer.
        scale = math.sqrt(z.shape[-1]) if scale is None else scale
        dense = [nn.Dense(4 * nf, kernel_init=default_init(), name=f"embed{i}") for i in range(2)]
        return dense[1](nn.swish(dense[0](z.astype(jnp.float32) * scale)))

    def condition(self, h: Float[Array, "b h w c"], code: Float[Array, "b nf4"], dtype: Any) -> Float[Array, "b h w c"]:
        dense = nn.Dense(h.shape[-1], dtype=dtype, kernel_init=default_init(), name="embed")
        return GroupNorm(name="norm1")(h + dense(nn.swish(code))[:, None, None, :])


INJECTIONS: dict[str, Injection] = {"add": Add()}


def find_injection(name: str) -> Injection:
    """The injection called `name`. Raises ValueError for an unknown one."""
    if name not in INJECTIONS:
        raise ValueError(f"NCSNpp: injection is {name!r}, wanted one of {tuple(INJECTIONS)}")
    return INJECTIONS[name]

"""How the identity z enters the generator: a registry of injections.

An injection has two parts. `encode` runs once and turns z into the code that every residual block sees; `condition`
runs in each block, between its two convolutions, and returns normalised features. z and the code are pytrees whose
leaves have the batch as leading axis. Layers that either creates become children of the calling module.
"""

import math
from typing import Any, Protocol

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.models.layers import GroupNorm, default_init

PyTree = Any


class Injection(Protocol):
    """What NCSN++ asks of an injection. Both methods are called inside the `nn.compact` method of a module."""

    def encode(self, z: PyTree, nf: int, scale: float | None) -> PyTree:
        """z -> code, once a forward pass. nf: base width of the generator. scale: factor on z; None: a fitting one."""

    def condition(self, h: Float[Array, "b h w c"], code: PyTree, dtype: Any) -> Float[Array, "b h w c"]:
        """Features of a residual block after its first convolution -> conditioned, normalised features."""


class Add:
    """The paper's (Smooth-Swap, sec. 3.2): z replaces NCSN++'s time embedding, h + Dense(swish(MLP(z)))."""

    def encode(self, z: Float[Array, "b d"], nf: int, scale: float | None) -> Float[Array, "b nf4"]:
        # The entries of a unit vector are near 1 / sqrt(d).
        scale = math.sqrt(z.shape[-1]) if scale is None else scale
        dense = [nn.Dense(4 * nf, kernel_init=default_init(), name=f"embed{i}") for i in range(2)]
        return dense[1](nn.swish(dense[0](z.astype(jnp.float32) * scale)))

    def condition(self, h: Float[Array, "b h w c"], code: Float[Array, "b nf4"], dtype: Any) -> Float[Array, "b h w c"]:
        dense = nn.Dense(h.shape[-1], dtype=dtype, kernel_init=default_init(), name="embed")
        return GroupNorm(name="norm1")(h + dense(nn.swish(code))[:, None, None, :])


INJECTIONS: dict[str, Injection] = {"add": Add()}


def find_injection(name: str) -> Injection:
    """The injection called `name`; raises ValueError, listing what there is."""
    if name not in INJECTIONS:
        raise ValueError(f"NCSNpp: injection is {name!r}, wanted one of {tuple(INJECTIONS)}")
    return INJECTIONS[name]

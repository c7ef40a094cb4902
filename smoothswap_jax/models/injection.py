"""How the identity z enters the generator: a registry of injections.

An injection has two parts. `encode` runs once and turns z into the code that all residual blocks receive; `condition`
runs in each block, between its two convolutions, and returns normalised features. z and the code are pytrees whose
leaves have the batch as leading axis. Layers created in either belong to the module that calls it.

To add one, write a class with the members of `Injection` and enter it in INJECTIONS.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.models.layers import GroupNorm, at_least_float32, default_init

PyTree = Any
READS_IDENTITY = ("embed0", "embed_vector", "embed_map", "map_norm")
"""Layers of the injections here that read z itself, and so belong to the embedder that a generator was trained with."""


class Injection(Protocol):
    """The interface that NCSN++ uses. Both methods are called inside a compact method of a module.

    spatial: whether z is {'vector': [b d], 'map': [b h w c]}, as an IdentityEmbedder gives it with `spatial`, and not
    the vector alone.
    """

    spatial: bool

    def encode(self, z: PyTree, nf: int, scale: float | None) -> PyTree:
        """z -> code, once in a forward pass.

        nf: base width of the generator. scale: factor on z; None is the injection's own choice.
        """

    def condition(self, h: Float[Array, "b h w c"], code: PyTree, dtype: Any) -> Float[Array, "b h w c"]:
        """Features after the first convolution of a residual block -> conditioned and normalised features."""


def identity_vector(z: PyTree, xp: Any = jnp) -> Any:
    """An identity z as one array [b d], of which cosines are taken: its leaf 'vector' if it has one, else all of its
    leaves, flattened and put side by side.

    xp: jax.numpy, or numpy for host arrays.
    """
    if isinstance(z, Mapping) and "vector" in z:
        return z["vector"]
    leaves = [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(z)]
    return leaves[0] if len(leaves) == 1 else xp.concatenate(leaves, axis=1)


def _scaled(z: Float[Array, "b d"], scale: float | None) -> Float[Array, "b d"]:
    """z for the first layer of `encode`, where a unit vector, with entries near 1 / sqrt(d), is almost invisible."""
    return z.astype(jnp.float32) * (math.sqrt(z.shape[-1]) if scale is None else scale)


def _two_layers(z: Float[Array, "b d"], hidden: int, features: int) -> Float[Array, "b features"]:
    first = nn.Dense(hidden, kernel_init=default_init(), name="embed0")
    return nn.Dense(features, kernel_init=default_init(), name="embed1")(nn.swish(first(z)))


def _from_code(code: Float[Array, "b *space d"], features: int, dtype: Any) -> Float[Array, "b *space features"]:
    """Dense(swish(code)), what each block makes of the code."""
    return nn.Dense(features, dtype=dtype, kernel_init=default_init(), name="embed")(nn.swish(code))


def _resized(maps: Float[Array, "b h w c"], size: tuple[int, ...]) -> Float[Array, "b h2 w2 c"]:
    """Bilinear, smoothed first where it shrinks."""
    return jax.image.resize(maps, (maps.shape[0], *size, maps.shape[-1]), "linear")


class Add:
    """Smooth-Swap's: the identity takes the place of NCSN++'s time embedding and is added to the features.

    code = Dense(swish(Dense(scale z))), both 4 nf wide; condition: norm1(h + Dense(swish(code))), the same for all
    pixels (score_sde `ncsnpp.NCSNpp`, `layerspp.ResnetBlockBigGANpp`). The two dense layers of `encode` and the scale
    sqrt(d) are our defaults, not the paper's.
    """

    spatial = False

    def encode(self, z: Float[Array, "b d"], nf: int, scale: float | None) -> Float[Array, "b nf4"]:
        return _two_layers(_scaled(z, scale), 4 * nf, 4 * nf)

    def condition(self, h: Float[Array, "b h w c"], code: Float[Array, "b nf4"], dtype: Any) -> Float[Array, "b h w c"]:
        return GroupNorm(name="norm1")(h + _from_code(code, h.shape[-1], dtype)[:, None, None, :])


class AdaGN:
    """Adaptive group normalisation (Dhariwal and Nichol 2021): norm1(h) (1 + scale) + shift, both from the code.

    The code is 2 nf wide, so that a block's layer, with twice the outputs, has as many parameters as `Add`'s.
    """

    spatial = False

    def encode(self, z: Float[Array, "b d"], nf: int, scale: float | None) -> Float[Array, "b nf2"]:
        return _two_layers(_scaled(z, scale), 4 * nf, 2 * nf)

    def condition(self, h: Float[Array, "b h w c"], code: Float[Array, "b nf2"], dtype: Any) -> Float[Array, "b h w c"]:
        gain, shift = jnp.split(_from_code(code, 2 * h.shape[-1], dtype)[:, None, None, :], 2, axis=-1)
        return self.norm()(h) * (1 + gain) + shift

    def norm(self) -> nn.Module:
        return GroupNorm(name="norm1")


class AdaLIN(AdaGN):
    """Adaptive layer-instance normalisation (U-GAT-IT, Kim et al. 2020): h is normalised once over each channel of an
    image and once over all of them, the two are mixed channel by channel with a learned share, and get scale and shift
    from the code.

    The share is sigmoid(rho), from 0.9 for the instance as in the paper, which clips it to [0, 1] after each step. The
    code is as wide as `AdaGN`'s.
    """

    def norm(self) -> nn.Module:
        return LayerInstanceNorm(name="norm1")


class LayerInstanceNorm(nn.Module):
    """share * instance norm + (1 - share) * layer norm, in float32 and returned in the input's dtype."""

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, h: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        rho = self.param("rho", nn.initializers.constant(math.log(0.9 / 0.1)), (h.shape[-1],), jnp.float32)
        share, x = nn.sigmoid(rho), at_least_float32(h)

        def normalised(axes: tuple[int, ...]) -> Array:
            centred = x - x.mean(axes, keepdims=True)
            return centred * jax.lax.rsqrt(jnp.square(centred).mean(axes, keepdims=True) + self.epsilon)

        return (share * normalised((1, 2)) + (1 - share) * normalised((1, 2, 3))).astype(h.dtype)


class Map2d:
    """The identity as a map: z is projected to 8 x 8 vectors, which each block brings to its own resolution and adds to
    the features, so that an identity may say different things of different places.

    Of the remedies that readers of Smooth-Swap proposed; the form is ours. The code is nf / 2 wide.
    """

    spatial = False
    size = 8

    def encode(self, z: Float[Array, "b d"], nf: int, scale: float | None) -> Float[Array, "b 8 8 e"]:
        width = max(1, nf // 2)
        code = _two_layers(_scaled(z, scale), 4 * nf, self.size**2 * width)
        return code.reshape(-1, self.size, self.size, width)

    def condition(
        self, h: Float[Array, "b h w c"], code: Float[Array, "b 8 8 e"], dtype: Any
    ) -> Float[Array, "b h w c"]:
        return GroupNorm(name="norm1")(h + _resized(_from_code(code, h.shape[-1], dtype), h.shape[1:3]))


class StyleMap:
    """A spatial code, as StyleMapGAN's (Kim et al. 2021), from the embedder's last feature map: each block brings it to
    its own resolution and takes scale and shift of every pixel from it: norm1(h) (1 + scale) + shift.

    StyleMapGAN's map is its encoder's output; here the vector that the identity loss sees is added at every place.
    """

    spatial = True

    def encode(self, z: dict[str, Array], nf: int, scale: float | None) -> Float[Array, "b h w nf2"]:
        dense = lambda name: nn.Dense(2 * nf, kernel_init=default_init(), name=name)
        places = dense("embed_map")(GroupNorm(1, name="map_norm")(z["map"].astype(jnp.float32)))
        return places + dense("embed_vector")(_scaled(z["vector"], scale))[:, None, None, :]

    def condition(
        self, h: Float[Array, "b h w c"], code: Float[Array, "b h2 w2 nf2"], dtype: Any
    ) -> Float[Array, "b h w c"]:
        made = _resized(_from_code(code, 2 * h.shape[-1], dtype), h.shape[1:3])
        gain, shift = jnp.split(made, 2, axis=-1)
        return GroupNorm(name="norm1")(h) * (1 + gain) + shift


INJECTIONS: dict[str, Injection] = {
    "add": Add(),
    "adagn": AdaGN(),
    "adalin": AdaLIN(),
    "map2d": Map2d(),
    "stylemap": StyleMap(),
}


def find_injection(name: str) -> Injection:
    """The injection called `name`. Raises ValueError for an unknown one."""
    if name not in INJECTIONS:
        raise ValueError(f"NCSNpp: injection is {name!r}, wanted one of {tuple(INJECTIONS)}")
    return INJECTIONS[name]

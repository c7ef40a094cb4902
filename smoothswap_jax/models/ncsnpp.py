"""The generator: NCSN++ (Song et al. 2021) conditioned on an identity instead of a noise level.

Smooth-Swap (Kim et al. 2022) changes exactly two things: the identity embedding replaces the time embedding, and the
input is added to the output. The rest follows score_sde, `models/ncsnpp.py` and `models/layerspp.py`, whose names the
modules and fields keep. Images and features are NHWC.
"""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.models.convolution import convolution, pixelwise
from smoothswap_jax.models.injection import find_injection
from smoothswap_jax.models.layers import (
    FIR_1331,
    GroupNorm,
    conv_downsample_2d,
    default_init,
    downsample_2d,
    naive_downsample_2d,
    naive_upsample_2d,
    upsample_2d,
    upsample_conv_2d,
    with_remat,
)

PROGRESSIVE = ("none", "output_skip", "residual")
PROGRESSIVE_INPUT = ("none", "input_skip", "residual")
COMBINE = ("sum", "cat")
PyTree = Any


def _conv(features: int, size: int, dtype: Any, name: str, scale: float = 1.0) -> nn.Conv:
    return nn.Conv(
        features,
        (size, size),
        dtype=dtype,
        kernel_init=default_init(scale),
        conv_general_dilated=convolution,
        name=name,
    )


def _residual(x: Array, h: Array, rescale: bool) -> Array:
    """`skip_rescale` of score_sde: the sum of two terms over sqrt(2), which keeps the variance."""
    return (x + h) / math.sqrt(2.0) if rescale else x + h


class Upsample(nn.Module):
    """Upsampling by 2 and a 3x3 convolution (score_sde `layerspp.Upsample` with with_conv=True).

    `fir` True: a transposed convolution fused with the FIR filter; False: nearest neighbour, then the convolution.
    """

    features: int
    fir: bool = True
    fir_kernel: Sequence[float] = FIR_1331
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 features"]:
        if not self.fir:
            return _conv(self.features, 3, self.dtype, "conv")(naive_upsample_2d(x))
        w, b = FirConv(self.features, name="conv")(x.shape[-1])
        y = upsample_conv_2d(x.astype(self.dtype), w.astype(self.dtype), tuple(self.fir_kernel))
        return y + b.astype(self.dtype)


class Downsample(nn.Module):
    """Downsampling by 2 and a 3x3 convolution (score_sde `layerspp.Downsample` with with_conv=True).

    `fir` True: the FIR filter, then a convolution of stride 2; False: a convolution of stride 2 alone.
    """

    features: int
    fir: bool = True
    fir_kernel: Sequence[float] = FIR_1331
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 features"]:
        if not self.fir:
            conv = nn.Conv(self.features, (3, 3), 2, dtype=self.dtype, kernel_init=default_init(), name="conv")
            return conv(x)
        w, b = FirConv(self.features, name="conv")(x.shape[-1])
        y = conv_downsample_2d(x.astype(self.dtype), w.astype(self.dtype), tuple(self.fir_kernel))
        return y + b.astype(self.dtype)


class FirConv(nn.Module):
    """Weight and bias of a 3x3 convolution, for functions that fuse it with a FIR filter."""

    features: int

    @nn.compact
    def __call__(self, channels: int) -> tuple[Float[Array, "3 3 c features"], Float[Array, "features"]]:
        w = self.param("kernel", default_init(), (3, 3, channels, self.features))
        return w, self.param("bias", nn.initializers.zeros, (self.features,))


class Combine(nn.Module):
    """Merges a level x of the input pyramid into the features y (score_sde `layerspp.Combine`).

    conv1x1(x) + y for method `sum`, [conv1x1(x), y] along channels for `cat`.
    """

    method: str = "sum"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], y: Float[Array, "b h w d"]) -> Float[Array, "b h w e"]:
        h = _conv(y.shape[-1], 1, self.dtype, "conv")(x)
        return jnp.concatenate([h, y], axis=-1) if self.method == "cat" else h + y


def attend(q: Float[Array, "b q c"], k: Float[Array, "b k c"], v: Float[Array, "b k c"]) -> Float[Array, "b q c"]:
    """softmax(q k^T / sqrt(c)) v, with logits and softmax in float32."""
    logits = jnp.einsum("bqc,bkc->bqk", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    return jnp.einsum("bqk,bkc->bqc", jax.nn.softmax(logits).astype(v.dtype), v)


class AttnBlockpp(nn.Module):
    """Single-head self-attention over all pixels (score_sde `layerspp.AttnBlockpp`).

    q, k, v = W_q n, W_k n, W_v n with n = norm(x); y = (x + W_out softmax(q k^T / sqrt(c)) v) / sqrt(2), without the
    sqrt(2) if not `skip_rescale`. Logits and softmax are float32.
    """

    skip_rescale: bool = True
    init_scale: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        b, height, width, c = x.shape

        def dense(name: str, h: Array, scale: float = 0.1) -> Array:
            return pixelwise(nn.Dense(c, dtype=self.dtype, kernel_init=default_init(scale), name=name), h)

        h = GroupNorm(name="norm")(x).reshape(b, height * width, c)
        q, k, v = dense("query", h), dense("key", h), dense("value", h)
        h = dense("out", attend(q, k, v), self.init_scale).reshape(x.shape)
        return _residual(x, h, self.skip_rescale)


class ResnetBlockBigGANpp(nn.Module):
    """BigGAN residual block conditioned on the code of the identity (score_sde `layerspp.ResnetBlockBigGANpp`).

    h = conv1(dropout(swish(condition(conv0(resample(swish(norm0(x)))), code)))),
    y = (shortcut(resample(x)) + h) / sqrt(2), without the sqrt(2) if not `skip_rescale`.

    `condition` is the injection's; with 'add' it is norm1(h + Dense(swish(code))), where score_sde's code is the time
    embedding. `resample` is 'up', 'down' or None; the shortcut is a 1x1 convolution if it resamples or changes the
    number of channels, else the identity.
    """

    features: int
    resample: str | None = None
    fir: bool = True
    fir_kernel: Sequence[float] = FIR_1331
    skip_rescale: bool = True
    init_scale: float = 0.0
    dropout: float = 0.0
    dtype: Any = jnp.float32
    injection: str = "add"

    @nn.nowrap
    def _resample(self, x: Array) -> Array:
        if self.resample is None:
            return x
        if self.resample == "up":
            return upsample_2d(x, tuple(self.fir_kernel)) if self.fir else naive_upsample_2d(x)
        return downsample_2d(x, tuple(self.fir_kernel)) if self.fir else naive_downsample_2d(x)

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], code: PyTree, train: bool = False
    ) -> Float[Array, "b h2 w2 features"]:
        h = self._resample(nn.swish(GroupNorm(name="norm0")(x)))
        h = _conv(self.features, 3, self.dtype, "conv0")(h)
        h = nn.swish(find_injection(self.injection).condition(h, code, self.dtype))
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        h = _conv(self.features, 3, self.dtype, "conv1", self.init_scale)(h)
        skip = self._resample(x)
        if x.shape[-1] != self.features or self.resample:
            skip = _conv(self.features, 1, self.dtype, "shortcut")(skip)
        return _residual(skip, h, self.skip_rescale)


class NCSNpp(nn.Module):
    """x_swap = x_tgt + net(x_tgt, z_src) (Smooth-Swap; score_sde `ncsnpp.NCSNpp`).

    Images are in [-1, 1], the output is not clamped; z is what `injection` takes. Level i has nf * ch_mult[i] channels
    and half the resolution of level i - 1. At the heights in `attn_resolutions`, attention follows each of the
    `num_res_blocks` blocks of the encoder and the last block of the decoder; one more is between the two middle blocks.

    Fields:
      progressive, progressive_input: score_sde's output and input pyramids.
      combine: how `input_skip` is merged into the features.
      init_scale: of the last layer of each block, of attention and of the output; 0 starts the network near zero, so
        that the swap is the target.
      emb_scale: factor on z; None leaves it to the injection.
      input_residual: False leaves out x_tgt + (score_sde's network).
      remat: what the backward pass recomputes (`layers.with_remat`).
      dtype: of convolutions and dense layers. Parameters, the inside of norms, attention logits, the encoding of z, the
        output pyramid and the sum with the input stay float32.

    The defaults are the `paper256` preset.
    """

    nf: int = 64
    ch_mult: Sequence[int] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    attn_resolutions: Sequence[int] = (32,)
    fir: bool = True
    fir_kernel: Sequence[float] = FIR_1331
    skip_rescale: bool = True
    progressive: str = "none"
    progressive_input: str = "none"
    combine: str = "sum"
    init_scale: float = 0.0
    dropout: float = 0.0
    emb_scale: float | None = None
    input_residual: bool = True
    remat: str = "off"
    dtype: Any = jnp.float32
    injection: str = "add"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"], z: PyTree, train: bool = False) -> Float[Array, "b h w 3"]:
        """`train` only switches dropout on (random stream 'dropout').

        Raises ValueError for an unknown option and for an image that cannot be halved evenly at each level.
        """
        self._check(x.shape[1:3])
        code = find_injection(self.injection).encode(z, self.nf, self.emb_scale)
        h, skips = self._encode(x, code, train)
        h = self._block(h.shape[-1], "mid_block0")(h, code, train)
        h = self._attention("mid_attn")(h)
        h = self._block(h.shape[-1], "mid_block1")(h, code, train)
        h = self._decode(h, skips, code, x.shape[-1], train)
        return x + h.astype(x.dtype) if self.input_residual else h.astype(x.dtype)

    @nn.nowrap
    def _check(self, size: tuple[int, ...]) -> None:
        options = {
            "progressive": PROGRESSIVE,
            "progressive_input": PROGRESSIVE_INPUT,
            "combine": COMBINE,
        }
        for field, allowed in options.items():
            if getattr(self, field) not in allowed:
                raise ValueError(f"NCSNpp: {field} is {getattr(self, field)!r}, wanted one of {allowed}")
        step = 2 ** (len(self.ch_mult) - 1)
        if size[0] % step or size[1] % step:
            raise ValueError(f"NCSNpp: image {size} is not divisible by {step} = 2^(levels - 1)")

    @nn.nowrap
    def _block(self, features: int, name: str, resample: str | None = None) -> ResnetBlockBigGANpp:
        # `train` is argument 3 of the block's call (self is 0) and must stay a Python bool under remat.
        cls = with_remat(ResnetBlockBigGANpp, self.remat, static_argnums=(3,))
        return cls(
            features, resample, self.fir, tuple(self.fir_kernel), self.skip_rescale, self.init_scale,
            self.dropout, self.dtype, self.injection, name=name,
        )  # fmt: skip

    @nn.nowrap
    def _attention(self, name: str) -> AttnBlockpp:
        return AttnBlockpp(self.skip_rescale, self.init_scale, self.dtype, name=name)

    @nn.nowrap
    def _encode(self, x: Array, code: PyTree, train: bool) -> tuple[Array, list[Array]]:
        """Returns the deepest features, and the skip connections from first to last."""
        pyramid = x
        h = _conv(self.nf, 3, self.dtype, "stem")(x)
        skips = [h]
        for level, mult in enumerate(self.ch_mult):
            for i in range(self.num_res_blocks):
                h = self._block(self.nf * mult, f"down{level}_block{i}")(h, code, train)
                if h.shape[1] in self.attn_resolutions:
                    h = self._attention(f"down{level}_attn{i}")(h)
                skips.append(h)
            if level < len(self.ch_mult) - 1:
                h = self._block(h.shape[-1], f"down{level}_resample", "down")(h, code, train)
                pyramid, h = self._input_pyramid(pyramid, h, level)
                skips.append(h)
        return h, skips

    @nn.nowrap
    def _input_pyramid(self, pyramid: Array, h: Array, level: int) -> tuple[Array, Array]:
        """The pyramid at half its size, and the features with it merged in. `input_skip`: the pyramid is the resampled
        image; `residual`: a learned downsampling of it is added to the features, and the sum is the new pyramid."""
        fir_kernel = tuple(self.fir_kernel)
        if self.progressive_input == "input_skip":
            pyramid = downsample_2d(pyramid, fir_kernel) if self.fir else naive_downsample_2d(pyramid)
            h = Combine(self.combine, self.dtype, name=f"down{level}_combine")(pyramid, h)
        elif self.progressive_input == "residual":
            down = Downsample(h.shape[-1], self.fir, fir_kernel, self.dtype, name=f"down{level}_pyramid")
            h = pyramid = _residual(down(pyramid), h, self.skip_rescale)
        return pyramid, h

    @nn.nowrap
    def _decode(self, h: Array, skips: list[Array], code: PyTree, channels: int, train: bool) -> Array:
        """The deepest features to an output of the image's size with `channels` channels."""
        pyramid: Any = None
        for level, mult in reversed(list(enumerate(self.ch_mult))):
            for i in range(self.num_res_blocks + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = self._block(self.nf * mult, f"up{level}_block{i}")(h, code, train)
            if h.shape[1] in self.attn_resolutions:
                h = self._attention(f"up{level}_attn")(h)
            pyramid, h = self._output_pyramid(pyramid, h, level, channels)
            if level:
                h = self._block(h.shape[-1], f"up{level}_resample", "up")(h, code, train)
        if self.progressive == "output_skip":
            return pyramid
        return self._head(h, "out", channels, self.init_scale)

    @nn.nowrap
    def _head(self, h: Array, name: str, channels: int, scale: float) -> Array:
        """conv(swish(norm(h)))."""
        h = nn.swish(GroupNorm(name=f"{name}_norm")(h))
        return _conv(channels, 3, self.dtype, f"{name}_conv", scale)(h)

    @nn.nowrap
    def _output_pyramid(self, pyramid: Array | None, h: Array, level: int, channels: int) -> tuple[Any, Array]:
        """The pyramid at this level, and the features for the next. `output_skip`: a sum of images, one from each level
        so far, in float32; `residual`: a learned upsampling of the pyramid is added to the features."""
        fir_kernel = tuple(self.fir_kernel)
        if self.progressive == "output_skip":
            image = self._head(h, f"up{level}", channels, self.init_scale).astype(jnp.float32)
            if pyramid is not None:
                image += upsample_2d(pyramid, fir_kernel) if self.fir else naive_upsample_2d(pyramid)
            return image, h
        if self.progressive == "residual":
            if pyramid is None:
                return self._head(h, f"up{level}", h.shape[-1], 1.0), h
            up = Upsample(h.shape[-1], self.fir, fir_kernel, self.dtype, name=f"up{level}_pyramid")
            h = _residual(up(pyramid), h, self.skip_rescale)
            return h, h
        return None, h

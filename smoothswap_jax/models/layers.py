"""Layers that more than one network uses: FIR resampling, equalised-lr layers, norms, initialisers.

Images are NHWC. Every function keeps the dtype of its input unless it says otherwise. FIR kernels are constants at
trace time, so resampling is a sum of shifted slices (polyphase): on CPU a depthwise convolution takes about seventy
times as long.

Sources: StyleGAN2 (Karras et al. 2020) `upfirdn_2d` and its port in score_sde `up_or_down_sampling.py`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from smoothswap_jax.models.convolution import NAME as CONVOLUTION
from smoothswap_jax.models.convolution import conv2d

FIR_1331 = (1.0, 3.0, 3.0, 1.0)
Block = TypeVar("Block", bound=nn.Module)
REMAT = {
    "off": None,
    "nothing_saveable": jax.checkpoint_policies.nothing_saveable,
    "dots_saveable": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.dots_saveable, jax.checkpoint_policies.save_only_these_names(CONVOLUTION)
    ),
}
"""Checkpoint policies by name: what the backward pass keeps of a block instead of recomputing it."""


def with_remat(block: type[Block], policy: str | bool, **how: Any) -> type[Block]:
    """The block with rematerialisation: 'off' keeps all activations, 'dots_saveable' only the results of convolutions
    and matrix products, 'nothing_saveable' none. Raises ValueError for another policy."""
    if isinstance(policy, bool):  # configs saved before the policies had names
        policy = "nothing_saveable" if policy else "off"
    if policy not in REMAT:
        raise ValueError(f"{block.__name__}: remat is {policy!r}, wanted one of {tuple(REMAT)}")
    return block if policy == "off" else nn.remat(block, policy=REMAT[policy], **how)


# --------------------------------------------------------------------------------------------- FIR resampling
def _weighted_sum(x: Array, terms: list[tuple[int, float]], count: int, stride: int, axis: int) -> Array:
    """Along `axis`: the sum of weight * x[i * stride + shift] over terms (shift, weight), for i < count.

    x is zero outside of its bounds.
    """
    terms = [(shift, weight) for shift, weight in terms if weight]
    if not terms:
        return jnp.zeros((*x.shape[:axis], count, *x.shape[axis + 1 :]), x.dtype)
    reach = (count - 1) * stride + 1
    first = min(shift for shift, _ in terms)
    last = max(shift for shift, _ in terms) + reach
    padding = [(0, 0, 0)] * x.ndim
    padding[axis] = (-first, last - x.shape[axis], 0)
    padded = jax.lax.pad(x, jnp.zeros((), x.dtype), padding)
    slices = [
        weight * jax.lax.slice_in_dim(padded, shift - first, shift - first + reach, stride, axis)
        for shift, weight in terms
    ]
    return sum(slices[1:], slices[0])


def _fir_axis(x: Array, taps: np.ndarray, axis: int, up: int, down: int, pad: tuple[int, int]) -> Array:
    """One axis of `upfirdn2d`: zero-insertion by `up`, padding, true convolution with `taps`, decimation."""
    flipped = [float(tap) for tap in taps[::-1]]
    n = x.shape[axis]
    length = n * up + sum(pad) - len(flipped) + 1
    if length < 1:
        raise ValueError(f"upfirdn2d: {n} samples with up {up} and pad {pad} are shorter than {len(taps)} taps")
    if up == 1:
        terms = [(t - pad[0], weight) for t, weight in enumerate(flipped)]
        return _weighted_sum(x, terms, (length - 1) // down + 1, down, axis)
    # Polyphase: in output up * i + r, tap t meets x[i + (r + t - pad0) / up] if that is whole, else a zero.
    phases = []
    for r in range(up):
        offsets = [(r + t - pad[0], weight) for t, weight in enumerate(flipped)]
        terms = [(offset // up, weight) for offset, weight in offsets if offset % up == 0]
        phases.append(_weighted_sum(x, terms, -(-length // up), 1, axis))
    y = jnp.stack(phases, axis=axis + 1).reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])
    return jax.lax.slice_in_dim(y, 0, length, down, axis)


def upfirdn2d(
    x: Float[Array, "b h w c"],
    kernel: Sequence[float] | np.ndarray,
    up: int = 1,
    down: int = 1,
    pad: tuple[int, int] = (0, 0),
) -> Float[Array, "b h2 w2 c"]:
    """Insert zeros (`up`), pad (negative: crop), convolve with `kernel`, keep every `down`-th sample.

    The convolution is a true one (flipped kernel). `kernel` is used as it is: 1-D means the outer product
    with itself, 2-D is [kh, kw]. The output has (h * up + pad0 + pad1 - kh) // down + 1 rows, and columns
    likewise. Raises ValueError when the kernel does not fit into the padded image, or is neither 1-D nor 2-D.
    """
    k = np.asarray(kernel, np.float64)
    if k.ndim == 1:
        return _fir_axis(_fir_axis(x, k, 1, up, down, pad), k, 2, up, down, pad)
    if k.ndim != 2:
        raise ValueError(f"upfirdn2d: the kernel has {k.ndim} axes, wanted 1 or 2")
    rows = np.eye(len(k))
    parts = [_fir_axis(_fir_axis(x, row, 2, up, down, pad), rows[i], 1, up, down, pad) for i, row in enumerate(k)]
    return sum(parts[1:], parts[0])


def _taps(kernel: Sequence[float] | None, factor: int, gain: float) -> np.ndarray:
    """1-D taps whose outer product sums to `gain`; None is the box of the factor's width."""
    k = np.asarray([1.0] * factor if kernel is None else kernel, np.float64)
    if k.ndim != 1:
        raise ValueError(f"FIR kernel: {k.ndim} axes, wanted 1")
    return k / k.sum() * math.sqrt(gain)


def upsample_2d(
    x: Float[Array, "b h w c"], kernel: Sequence[float] | None = None, factor: int = 2, gain: float = 1.0
) -> Float[Array, "b h2 w2 c"]:
    """FIR upsampling to (h * factor, w * factor); a constant image keeps its value times `gain`."""
    k = _taps(kernel, factor, gain * factor**2)
    p = len(k) - factor
    return upfirdn2d(x, k, up=factor, pad=((p + 1) // 2 + factor - 1, p // 2))


def downsample_2d(
    x: Float[Array, "b h w c"], kernel: Sequence[float] | None = None, factor: int = 2, gain: float = 1.0
) -> Float[Array, "b h2 w2 c"]:
    """FIR downsampling to (h / factor, w / factor); a constant image keeps its value times `gain`."""
    k = _taps(kernel, factor, gain)
    p = len(k) - factor
    return upfirdn2d(x, k, down=factor, pad=((p + 1) // 2, p // 2))


def naive_upsample_2d(x: Float[Array, "b h w c"], factor: int = 2) -> Float[Array, "b h2 w2 c"]:
    """Nearest-neighbour upsampling."""
    return jnp.repeat(jnp.repeat(x, factor, axis=1), factor, axis=2)


def naive_downsample_2d(x: Float[Array, "b h w c"], factor: int = 2) -> Float[Array, "b h2 w2 c"]:
    """Mean over factor x factor cells."""
    b, h, w, c = x.shape
    return x.reshape(b, h // factor, factor, w // factor, factor, c).mean(axis=(2, 4))


def conv_downsample_2d(
    x: Float[Array, "b h w c"],
    w: Float[Array, "k k c d"],
    kernel: Sequence[float] | None = None,
    factor: int = 2,
    gain: float = 1.0,
) -> Float[Array, "b h2 w2 d"]:
    """FIR blur, then a convolution of stride `factor`: the output is (h / factor, w / factor)."""
    if w.shape[0] == 1:
        # A 1x1 convolution reads only the pixels that decimation keeps, so decimate first.
        return conv2d(downsample_2d(x, kernel, factor, gain), w, padding="VALID")
    k = _taps(kernel, factor, gain)
    p = (len(k) - factor) + (w.shape[0] - 1)
    return conv2d(upfirdn2d(x, k, pad=((p + 1) // 2, p // 2)), w, factor, "VALID")


def upsample_conv_2d(
    x: Float[Array, "b h w c"],
    w: Float[Array, "k k c d"],
    kernel: Sequence[float] | None = None,
    factor: int = 2,
    gain: float = 1.0,
) -> Float[Array, "b h2 w2 d"]:
    """Transposed convolution of stride `factor`, then a FIR filter: the output is (h * factor, w * factor).

    Both are linear, so the filter goes first here (on the full support of their product); the sum is the same
    and a stride-2 transposed convolution, very slow on CPU, is never built.
    """
    k = _taps(kernel, factor, gain * factor**2)
    p = (len(k) - factor) - (w.shape[0] - 1)
    before = (w.shape[0] - 1) + (p + 1) // 2 + factor - 1
    after = (w.shape[0] - 1) + p // 2 + 1 - (factor - 1)
    return conv2d(upfirdn2d(x, k, up=factor, pad=(before, after)), w, padding="VALID")


# ------------------------------------------------------------------------------ initialisers, small functions
def default_init(scale: float = 1.0) -> Callable[..., Array]:
    """score_sde's initialiser: variance scaling, fan_avg, uniform. Scale 0 means 1e-10: almost dead."""
    return nn.initializers.variance_scaling(scale if scale else 1e-10, "fan_avg", "uniform")


def scaled_leaky_relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """StyleGAN2's activation: leaky ReLU of slope 0.2 times sqrt(2), which keeps the variance."""
    return nn.leaky_relu(x, 0.2) * math.sqrt(2.0)


def at_least_float32(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """bfloat16 and float16 as float32, wider types as they are: the precision of statistics and sums."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def l2_normalize(x: Float[Array, "..."], axis: int = -1, eps: float = 1e-12) -> Float[Array, "..."]:
    """x / |x| along an axis, in float32. |x|^2 is floored at eps, so that the gradient at 0 is finite."""
    x = at_least_float32(x)
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=axis, keepdims=True), eps))


def minibatch_stddev(
    x: Float[Array, "b h w c"], group_size: int | None = 4, num_features: int = 1
) -> Float[Array, "b h w c2"]:
    """Append `num_features` channels: the mean standard deviation over the group of each sample (StyleGAN2).

    With g = min(b, group_size) (None: the whole batch) the groups are the samples i, i + b/g, i + 2b/g, ...
    Statistics are float32. Raises ValueError when b is not divisible by g or c not by `num_features`.
    """
    b, h, w, c = x.shape
    g = b if group_size is None else min(b, group_size)
    if b % g:
        raise ValueError(f"minibatch_stddev: batch {b} is not divisible by its group {g} (= min(batch, group_size))")
    if c % num_features:
        raise ValueError(f"minibatch_stddev: {c} channels do not split into {num_features} features")
    y = at_least_float32(x).reshape(g, b // g, h, w, num_features, c // num_features)
    y = jnp.square(y - y.mean(axis=0)).mean(axis=0)
    y = jnp.sqrt(y + 1e-8).mean(axis=(1, 2, 4))
    y = jnp.tile(y, (g, 1))[:, None, None, :]
    return jnp.concatenate([x, jnp.broadcast_to(y, (b, h, w, num_features)).astype(x.dtype)], axis=-1)


# ----------------------------------------------------------------------------------------------- equalised lr
class EqualDense(nn.Module):
    """Dense layer with equalised learning rate (Karras et al. 2018): y = x @ (kernel * s) + bias * lr_mul.

    s = gain * lr_mul / sqrt(fan_in); the kernel starts as N(0, 1) / lr_mul, so its effective scale is
    gain / sqrt(fan_in) for any lr_mul. Parameters are float32, the product is computed in `dtype`.
    """

    features: int
    lr_mul: float = 1.0
    gain: float = 1.0
    bias_init: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b d"]) -> Float[Array, "b features"]:
        fan_in = x.shape[-1]
        w = self.param("kernel", nn.initializers.normal(1.0 / self.lr_mul), (fan_in, self.features))
        b = self.param("bias", nn.initializers.constant(self.bias_init), (self.features,))
        w = w * (self.gain * self.lr_mul / math.sqrt(fan_in))
        return x.astype(self.dtype) @ w.astype(self.dtype) + (b * self.lr_mul).astype(self.dtype)


class EqualConv(nn.Module):
    """Convolution with equalised learning rate; `down` puts StyleGAN2's blur and stride 2 into it.

    As in `EqualDense`, with fan_in = kernel_size^2 * c. Without `down` the padding is SAME.
    """

    features: int
    kernel_size: int = 3
    down: bool = False
    fir_kernel: Sequence[float] = FIR_1331
    use_bias: bool = True
    lr_mul: float = 1.0
    gain: float = 1.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 features"]:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        w = self.param("kernel", nn.initializers.normal(1.0 / self.lr_mul), shape)
        w = (w * (self.gain * self.lr_mul / math.sqrt(math.prod(shape[:3])))).astype(self.dtype)
        x = x.astype(self.dtype)
        y = conv_downsample_2d(x, w, self.fir_kernel) if self.down else conv2d(x, w)
        if self.use_bias:
            b = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + (b * self.lr_mul).astype(self.dtype)
        return y


# ------------------------------------------------------------------------------------------------------ norms
class GroupNorm(nn.Module):
    """Group normalisation, computed in float32 and returned in the input's dtype.

    `groups` None is score_sde's rule min(c // 4, 32), at least one; c must be divisible by it (flax raises).
    The variance is taken in two passes: mean(x^2) - mean(x)^2 loses it when the mean is large.
    """

    groups: int | None = None
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"]) -> Float[Array, "b *space c"]:
        groups = self.groups or max(1, min(x.shape[-1] // 4, 32))
        norm = nn.GroupNorm(groups, epsilon=self.epsilon, use_fast_variance=False, dtype=jnp.float32)
        nn.share_scope(self, norm)
        return norm(x).astype(x.dtype)


class BatchNorm(nn.Module):
    """Batch normalisation with PyTorch's running variance.

    Flax's own keeps the biased batch variance; PyTorch (and so every published checkpoint) keeps the unbiased
    one. Normalisation itself uses the biased variance in both. Statistics are float32 over all axes but the
    last, i.e. over the global batch under `jit` with a sharded batch. `train` uses and records batch
    statistics (collection `batch_stats`: mean, var), otherwise the running ones are used.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"], train: bool) -> Float[Array, "b *space c"]:
        c = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (c,))
        bias = self.param("bias", nn.initializers.zeros, (c,))
        ra_mean = self.variable("batch_stats", "mean", jnp.zeros, (c,), jnp.float32)
        ra_var = self.variable("batch_stats", "var", jnp.ones, (c,), jnp.float32)
        y = at_least_float32(x)
        if train:
            axes, n = tuple(range(x.ndim - 1)), x.size // c
            mean = y.mean(axes)
            var = jnp.square(y - mean).mean(axes)
            if not self.is_initializing():
                m = self.momentum
                ra_mean.value = m * ra_mean.value + (1 - m) * mean
                ra_var.value = m * ra_var.value + (1 - m) * var * (n / max(n - 1, 1))
        else:
            mean, var = ra_mean.value, ra_var.value
        return ((y - mean) * (jax.lax.rsqrt(var + self.epsilon) * scale) + bias).astype(x.dtype)

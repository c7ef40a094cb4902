"""Convolutions of NHWC images with HWIO weights, in the forms that are fastest on each backend.

The sums are those of `jax.lax.conv_general_dilated`; only their order differs, and so the last digits, and that padding
is multiplied with what lies beside it, so that an infinite pixel makes more NaN.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

LAYOUT = ("NHWC", "HWIO", "NHWC")
NAME = "convolution"
"""Name of convolution results for remat policies, which cannot see into functions with custom derivatives."""
CACHE = 2**23
"""Bytes of copies, of all images together, from which on weight gradients on CPU go block by block, where
blocks divide the images."""


class Window(NamedTuple):
    """How a convolution window moves over the image; pairs are (rows, columns)."""

    size: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]


def conv2d(
    x: Float[Array, "b h w c"], w: Float[Array, "kh kw c d"], stride: int = 1, padding: str = "SAME"
) -> Float[Array, "b h2 w2 d"]:
    """Plain convolution (cross-correlation)."""
    return convolution(x, w, (stride, stride), padding, dimension_numbers=LAYOUT)


def convolution(x: Array, w: Array, strides: Sequence[int], padding: Any, **how: Any) -> Float[Array, "b h2 w2 d"]:
    """`jax.lax.conv_general_dilated` of NHWC images and an HWIO weight; for `conv_general_dilated` of `nn.Conv`.

    A 1x1 convolution is computed as one matrix product over all pixels: on CPU its weight gradient is then 5 to 10
    times faster. A depthwise one is a sum over the places of its window: XLA's own is far slower on CPU. Other
    convolutions use the custom derivatives below, unless they are dilated, in groups, or have `precision` or
    `preferred_element_type`. Those have no forward mode, and follow the `jax.default_matmul_precision` in force where
    the gradient is taken.
    """
    options = {name: value for name, value in how.items() if name != "dimension_numbers" and value is not None}
    types: dict[str, Any] = {
        name: options.pop(name) for name in ("precision", "preferred_element_type") if name in options
    }
    groups = options.pop("feature_group_count", 1)
    if any(np.any(np.asarray(value) != 1) for value in options.values()):  # dilated
        return jax.lax.conv_general_dilated(x, w, strides, padding, **how)
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[1:3], w.shape[:2], strides, padding)
    if groups == x.shape[3] == w.shape[3] and not types:
        return _depthwise(x, w, strides, padding)
    if groups != 1:
        return jax.lax.conv_general_dilated(x, w, strides, padding, **how)
    (top, bottom), (left, right) = padding
    if w.shape[:2] == (1, 1) and not (top or bottom or left or right):
        return _pointwise(x, w, strides, types)
    if types:
        return jax.lax.conv_general_dilated(x, w, strides, padding, **how)
    window = Window((w.shape[0], w.shape[1]), (strides[0], strides[1]), ((top, bottom), (left, right)))
    return checkpoint_name(_convolution(x, w, window), NAME)


def _pointwise(
    x: Float[Array, "b h w c"], w: Float[Array, "1 1 c d"], strides: Sequence[int], types: dict[str, Any]
) -> Float[Array, "b h2 w2 d"]:
    """One matrix product over all pixels."""
    return pixelwise(lambda rows: jnp.matmul(rows, w[0, 0], **types), x[:, :: strides[0], :: strides[1]])


def _depthwise(
    x: Float[Array, "b h w c"], w: Float[Array, "kh kw 1 c"], strides: Sequence[int], pads: Any
) -> Float[Array, "b h2 w2 c"]:
    """Each channel with a window of its own."""
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0)))
    rows, columns = (
        [slice(place, side - size + place + 1, stride) for place in range(size)]
        for side, size, stride in zip(x.shape[1:3], w.shape[:2], strides, strict=True)
    )
    parts = (x[:, row, column] * w[i, j, 0] for i, row in enumerate(rows) for j, column in enumerate(columns))
    return functools.reduce(jnp.add, parts)


# ------------------------------------------------------------------------------------------------ derivatives
# <conv(x, w), g> is linear in each of x, w and g, so all derivatives that training and R1 need are again a convolution,
# an input gradient or a weight gradient. JAX's own second derivatives are other convolutions: the derivative of a
# strided convolution's input gradient by the weight is dilated, which is 11 to 21 times slower on CPU.
def _plain(x: Array, w: Array, window: Window) -> Array:
    return jax.lax.conv_general_dilated(x, w, window.strides, window.pads, dimension_numbers=LAYOUT)


_convolution = jax.custom_vjp(_plain, nondiff_argnums=(2,))


def _input_gradient_of(g: Array, w: Array, window: Window, height: int, width: int) -> Array:
    x = jax.ShapeDtypeStruct((g.shape[0], height, width, w.shape[2]), g.dtype)
    return jax.linear_transpose(lambda x: _plain(x, w, window), x)(g)[0]


_input_gradient = jax.custom_vjp(_input_gradient_of, nondiff_argnums=(2, 3, 4))


def _weight_gradient(x: Array, g: Array, window: Window) -> Array:
    def own(x: Array, g: Array) -> Array:
        w = jax.ShapeDtypeStruct((*window.size, x.shape[-1], g.shape[-1]), x.dtype)
        return jax.linear_transpose(lambda w: _plain(x, w, window), w)(g)[0]

    if window.strides != (1, 1):
        return own(x, g)
    return jax.lax.platform_dependent(x, g, cpu=functools.partial(weight_product, window=window), default=own)


_convolution.defvjp(
    lambda x, w, window: (_convolution(x, w, window), (x, w)),
    lambda window, given, g: (
        checkpoint_name(_input_gradient(g, given[1], window, *given[0].shape[1:3]), NAME),
        _weight_gradient(given[0], g, window),
    ),
)
_input_gradient.defvjp(
    lambda g, w, *where: (_input_gradient(g, w, *where), (g, w)),
    lambda window, height, width, given, x: (
        _convolution(x, given[1], window),
        _weight_gradient(x, given[0], window),
    ),
)


def weight_product(
    x: Float[Array, "b h w c"], g: Float[Array, "b h2 w2 d"], window: Window
) -> Float[Array, "kh kw c d"]:
    """Gradient of the weight of a convolution of stride 1, from its input and its output's gradient.

    A matrix product of the image, shifted by each column of the window, with the gradient, shifted by each row: they
    are copied kw and kh times, where im2col would copy the image kh * kw times. Large images take turns in blocks of
    rows, so that the copies stay in the processor's cache; those of a height that blocks do not divide go at once.
    """
    (rows, columns), ((top, _), (left, _)) = window.size, window.pads
    (images, h, w, c), (_, h2, w2, d) = x.shape, g.shape
    g = _pad(g, 1, rows - 1 - top, h - h2 + top)

    def copies(first: Any, count: int) -> tuple[Array, Array]:
        """`count` rows of the image, and the rows of the gradient that they meet."""
        block = jax.lax.dynamic_slice_in_dim(x, first, count, 1)
        meets = jax.lax.dynamic_slice_in_dim(g, first, count + rows - 1, 1)
        a = jnp.concatenate([_pad(block, 2, left - j, w2 - w - left + j) for j in range(columns)], -1)
        b = jnp.concatenate([meets[:, i : i + count] for i in reversed(range(rows))], -1)
        return a, b

    def add(total: Array, first: Array) -> tuple[Array, None]:
        return total + jnp.einsum("bhwc,bhwd->bcd", *copies(first, count), preferred_element_type=total.dtype), None

    count = _rows_at_once(images, h, w2, columns * c, rows * d, x.dtype.itemsize)
    if count == h:
        a, b = copies(0, h)
        product = a.reshape(-1, columns * c).T @ b.reshape(-1, rows * d)
    else:
        # A sum for each image: one sum over a batch that is split over devices would wait for all of them every block.
        nothing = jnp.zeros((images, columns * c, rows * d), jnp.promote_types(x.dtype, jnp.float32))
        product = jax.lax.scan(add, nothing, jnp.arange(0, h, count))[0].sum(0).astype(x.dtype)
    return product.reshape(columns, c, rows, d).transpose(2, 0, 1, 3)


def _rows_at_once(images: int, height: int, width: int, a: int, b: int, itemsize: int) -> int:
    """Rows in a block: all, unless copies of all would leave the cache; then as few as divide the height and give
    products of [pixels, a].T with [pixels, b] at least as many terms as rows and columns. All, too, of as many images
    as only an exported program's caller knows."""
    if not isinstance(images, int) or images * height * width * (a + b) * itemsize <= CACHE:
        return height
    return next((n for n in range(1, height) if height % n == 0 and n * width >= max(a, b)), height)


def _pad(x: Array, axis: int, low: int, high: int) -> Array:
    """Pads x with zeros along an axis; negative padding crops."""
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(low, high, 0) if i == axis else (0, 0, 0) for i in range(x.ndim)])


def pixelwise(function: Callable[[Array], Array], x: Float[Array, "b *space c"]) -> Float[Array, "b *space d"]:
    """`function` of rows [n, c], applied to all pixels as one batch."""
    y = function(x.reshape(-1, x.shape[-1]))
    return y.reshape(*x.shape[:-1], y.shape[-1])

"""Forms of a 3x3 convolution's weight gradient, compared on the CPU, where XLA loses most to PyTorch.

    python -m smoothswap_jax.bench.weight_gradients [--seconds=2]

needs PyTorch (setup.py says how to install it). First the weight gradients of convolutions of the `small64` generator
at batch 8, and of one image of 256 px, beside one matrix product of as many operations; then R1's weight gradient, a
second derivative, of convolutions of stride 2 in its discriminator. float32, milliseconds.
"""

import argparse
import functools
import importlib.util
import math
import os
import sys
from collections.abc import Callable
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from smoothswap_jax.bench.timing import timed
from smoothswap_jax.models import convolution as module
from smoothswap_jax.models.convolution import LAYOUT, Window, convolution, weight_product

WINDOW = Window((3, 3), (1, 1), ((1, 1), (1, 1)))
SHAPES = ((8, 64, 16, 16), (8, 64, 32, 32), (8, 64, 48, 16), (8, 32, 64, 64), (8, 16, 64, 64), (1, 256, 64, 64))
STRIDED = ((8, 65, 32, 64), (8, 33, 64, 128), (8, 17, 128, 128))
"""(images, size, input channels, output channels)"""


def by_xla(x: jax.Array, g: jax.Array) -> jax.Array:
    """What `jax.grad` computes."""
    convolve = lambda w: jax.lax.conv_general_dilated(x, w, (1, 1), WINDOW.pads, dimension_numbers=LAYOUT)
    return jax.linear_transpose(convolve, jax.ShapeDtypeStruct((3, 3, x.shape[-1], g.shape[-1]), x.dtype))(g)[0]


def shifted(x: jax.Array) -> list[jax.Array]:
    """The image as each of the nine taps sees it."""
    _, h, w, _ = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return [padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]


def nine_products(x: jax.Array, g: jax.Array) -> jax.Array:
    """One matrix product for each tap."""
    taps = [jnp.einsum("nhwc,nhwd->cd", image, g) for image in shifted(x)]
    return jnp.stack(taps).reshape(3, 3, x.shape[-1], g.shape[-1])


def im2col(x: jax.Array, g: jax.Array) -> jax.Array:
    """One matrix product for all taps, with nine copies of the image."""
    c, d = x.shape[-1], g.shape[-1]
    return (jnp.concatenate(shifted(x), -1).reshape(-1, 9 * c).T @ g.reshape(-1, d)).reshape(3, 3, c, d)


def at_once(x: jax.Array, g: jax.Array) -> jax.Array:
    """Ours without blocks: copies of the whole batch."""
    with mock.patch.object(module, "CACHE", math.inf):
        return weight_product(x, g, WINDOW)


FORMS: dict[str, Callable] = {
    "XLA's own": by_xla,
    "ours": lambda x, g: weight_product(x, g, WINDOW),
    "ours at once": at_once,
    "nine products": nine_products,
    "im2col": im2col,
}
"""Functions of an image and the output's gradient with the same results."""


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def first_derivative(n: int, size: int, c: int, d: int, seconds: float) -> dict[str, float]:
    from smoothswap_jax.bench.torch_convolutions import derivatives

    x, g, pixels = draw(0, n, size, size, c), draw(1, n, size, size, d), n * size * size
    programs = {name: jax.jit(form) for name, form in FORMS.items()}
    wanted = programs["XLA's own"](x, g)
    for name, program in programs.items():
        np.testing.assert_allclose(program(x, g), wanted, atol=1e-4 * np.abs(wanted).max(), err_msg=name)
    arrays = jnp.asarray(x), jnp.asarray(g)
    calls: dict[str, Callable] = {name: functools.partial(program, *arrays) for name, program in programs.items()}
    calls["PyTorch"] = derivatives(x, np.zeros((3, 3, c, d), np.float32), g, 1, 1)["weight gradient"]
    calls["a plain product"] = functools.partial(jax.jit(jnp.matmul), jnp.ones((9 * c, pixels)), jnp.ones((pixels, d)))
    return timed(calls, seconds)


def penalty(conv: Callable, w: jax.Array, x: jax.Array, g: jax.Array) -> jax.Array:
    """R1's |d<conv(x, w), g> / dx|^2, for a convolution of stride 2 without padding. Summed in float32."""
    y = lambda x: conv(x, w, (2, 2), [(0, 0), (0, 0)], dimension_numbers=LAYOUT)
    return jnp.sum(jnp.square(jax.vjp(y, x)[1](g)[0].astype(jnp.float32)))


def second_derivative(n: int, size: int, c: int, d: int, seconds: float) -> dict[str, float]:
    """The gradient of `penalty` by w."""
    from smoothswap_jax.bench.torch_convolutions import penalty_gradient

    half = (size - 1) // 2
    x, g, w = draw(0, n, size, size, c), draw(1, n, half, half, d), 0.1 * draw(2, 3, 3, c, d)

    in_torch = penalty_gradient(w, g)
    convolutions: dict[str, Callable] = {"XLA's own": jax.lax.conv_general_dilated, "ours": convolution}
    programs = {name: jax.jit(jax.grad(functools.partial(penalty, conv))) for name, conv in convolutions.items()}
    wanted = in_torch().numpy().transpose(2, 3, 1, 0)
    for name, program in programs.items():
        np.testing.assert_allclose(program(w, x, g), wanted, atol=1e-4 * np.abs(wanted).max(), err_msg=name)
    arrays = jnp.asarray(w), jnp.asarray(x), jnp.asarray(g)
    calls = {name: functools.partial(program, *arrays) for name, program in programs.items()}
    return timed({**calls, "PyTorch": in_torch}, seconds)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement")
    seconds = parser.parse_args(arguments).seconds
    if importlib.util.find_spec("torch") is None:
        sys.exit("weight_gradients compares with PyTorch, which is not installed; setup.py says how to install it")
    import torch

    print(f"{os.cpu_count()} CPU cores; jax {jax.__version__}, torch {torch.__version__}; ms")
    for title, shapes, measure in (
        ("weight gradient", SHAPES, first_derivative),
        ("R1's, stride 2", STRIDED, second_derivative),
    ):
        for shape in shapes:
            found = measure(*shape, seconds)
            if shape == shapes[0]:
                print(f"{title:20s}" + "".join(f"{name:>17s}" for name in found))
            n, size, c, d = shape
            row = f"{n}, {size} px, {c} to {d}"
            print(f"{row:20s}" + "".join(f"{1e3 * s:17.2f}" for s in found.values()), flush=True)


if __name__ == "__main__":
    main()

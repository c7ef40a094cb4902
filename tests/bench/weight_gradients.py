"""The exact forms of a 3x3 convolution's weight gradient side by side, on the CPU: where XLA loses most to PyTorch.

    python -m tests.bench.weight_gradients [--seconds=2]

from the repository's root, with PyTorch installed (setup.py says how). First convolutions of `small64`'s generator at
batch 8; the last column is one matrix product of as many operations. Then R1's weight gradient, a second derivative,
of convolutions of stride 2 in its discriminator. float32, milliseconds.
"""

import argparse
import functools
import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch

from smoothswap_jax.bench.steps import timed
from smoothswap_jax.models.convolution import LAYOUT, Window, convolution, weight_product

WINDOW = Window((3, 3), (1, 1), ((1, 1), (1, 1)))
SHAPES = ((8, 64, 32, 32), (8, 64, 64, 64), (8, 32, 64, 64), (8, 16, 64, 64), (8, 16, 128, 64))
"""Images, size, channels, features."""
STRIDED = ((8, 65, 32, 64), (8, 33, 64, 128), (8, 17, 128, 128))


def own(x: jax.Array, g: jax.Array) -> jax.Array:
    """What `jax.grad` gives."""
    convolve = lambda w: jax.lax.conv_general_dilated(x, w, (1, 1), WINDOW.pads, dimension_numbers=LAYOUT)
    return jax.linear_transpose(convolve, jax.ShapeDtypeStruct((3, 3, x.shape[-1], g.shape[-1]), x.dtype))(g)[0]


def shifted(x: jax.Array) -> list[jax.Array]:
    """The nine pictures that the nine taps see."""
    _, h, w, _ = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return [padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]


def nine_products(x: jax.Array, g: jax.Array) -> jax.Array:
    taps = [jnp.einsum("nhwc,nhwd->cd", picture, g) for picture in shifted(x)]
    return jnp.stack(taps).reshape(3, 3, x.shape[-1], g.shape[-1])


def over_patches(x: jax.Array, g: jax.Array) -> jax.Array:
    """im2col: one product over all taps at once."""
    c, d = x.shape[-1], g.shape[-1]
    return (jnp.concatenate(shifted(x), -1).reshape(-1, 9 * c).T @ g.reshape(-1, d)).reshape(3, 3, c, d)


FORMS: dict[str, Callable] = {
    "XLA's own": own,
    "ours": lambda x, g: weight_product(x, g, WINDOW),
    "nine products": nine_products,
    "patches": over_patches,
}


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def channels_first(a: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(a.transpose(0, 3, 1, 2)))


def first_derivative(n: int, size: int, c: int, d: int, seconds: float) -> dict[str, float]:
    x, g, pixels = draw(0, n, size, size, c), draw(1, n, size, size, d), n * size * size
    programs = {name: jax.jit(form) for name, form in FORMS.items()}
    for name, program in programs.items():
        np.testing.assert_allclose(program(x, g), programs["XLA's own"](x, g), atol=0.01, err_msg=name)
    given, tx, tg = (jnp.asarray(x), jnp.asarray(g)), channels_first(x), channels_first(g)
    calls: dict[str, Callable] = {name: functools.partial(program, *given) for name, program in programs.items()}
    calls["PyTorch"] = lambda: torch.ops.aten.convolution_backward(
        tg, tx, torch.zeros(d, c, 3, 3), None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [False, True, False]
    )
    calls["a plain product"] = functools.partial(jax.jit(jnp.matmul), jnp.ones((9 * c, pixels)), jnp.ones((pixels, d)))
    return timed(calls, seconds)


def second_derivative(n: int, size: int, c: int, d: int, seconds: float) -> dict[str, float]:
    """Of |dy/dx . g|^2 by the weight, with a stride of 2 and no padding."""
    half = (size - 1) // 2
    x, g, w = draw(0, n, size, size, c), draw(1, n, half, half, d), 0.1 * draw(2, 3, 3, c, d)

    def penalty(function: Callable, w: jax.Array, x: jax.Array, g: jax.Array) -> jax.Array:
        y = lambda x: function(x, w, (2, 2), [(0, 0), (0, 0)], dimension_numbers=LAYOUT)
        return jnp.sum(jax.vjp(y, x)[1](g)[0] ** 2)

    def in_torch() -> torch.Tensor:
        penalty = torch.nn.functional.conv_transpose2d(tg, tw, stride=2).square().sum()
        return torch.autograd.grad(penalty, tw)[0]

    tg, tw = channels_first(g), torch.from_numpy(np.ascontiguousarray(w.transpose(3, 2, 0, 1))).requires_grad_(True)
    programs = {
        name: jax.jit(jax.grad(functools.partial(penalty, function)))
        for name, function in {"XLA's own": jax.lax.conv_general_dilated, "ours": convolution}.items()
    }
    wanted = in_torch().numpy().transpose(2, 3, 1, 0)
    for name, program in programs.items():
        np.testing.assert_allclose(program(w, x, g), wanted, atol=1e-4 * np.abs(wanted).max(), err_msg=name)
    given = jnp.asarray(w), jnp.asarray(x), jnp.asarray(g)
    return timed({**{name: functools.partial(p, *given) for name, p in programs.items()}, "PyTorch": in_torch}, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    seconds = parser.parse_args().seconds
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
            print(
                f"{f'{n}, {size} px, {c} to {d}':20s}" + "".join(f"{1e3 * s:17.2f}" for s in found.values()), flush=True
            )


if __name__ == "__main__":
    main()

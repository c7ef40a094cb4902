"""The exact forms of FIR resampling side by side: sums of shifted slices (what `models.layers` keeps), depthwise
convolutions, and for the blur before a convolution of stride 2 also the filter folded into its kernel.

    python -m tests.bench.fir_forms [--dtype=bfloat16] [--topology=v5e:2x2]

from the repository's root, on the accelerator in question. With --topology the TPU's compiler tells the bytes that are
read and written instead (`pip install "jax[tpu]"`; no TPU is needed).
"""

import argparse
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from smoothswap_jax.bench.steps import timed
from smoothswap_jax.bench.topologies import described_devices
from smoothswap_jax.models import layers
from smoothswap_jax.models.convolution import LAYOUT
from smoothswap_jax.runtime import compilation, sharding

TAPS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
SHAPES = ((8, 256, 64, 128), (8, 64, 128, 256), (8, 16, 256, 256))
SHAPES_ON_CPU = ((8, 64, 32, 64), (8, 32, 64, 128))
"""Images, size, channels, features."""


def depthwise(x: jax.Array, gain: float, **how) -> jax.Array:
    c = x.shape[-1]
    kernel = jnp.broadcast_to(jnp.asarray(TAPS * gain, x.dtype)[:, :, None, None], (4, 4, 1, c))
    return jax.lax.conv_general_dilated(x, kernel, dimension_numbers=LAYOUT, feature_group_count=c, **how)


def folded(x: jax.Array, w: jax.Array) -> jax.Array:
    """Blur and 3x3 convolution of stride 2 as one 6x6 convolution."""
    kernel = sum(
        jnp.pad(w * tap, ((i, 3 - i), (j, 3 - j), (0, 0), (0, 0)))
        for (i, j), tap in np.ndenumerate(TAPS.astype(w.dtype))
    )
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), [(2, 2), (2, 2)], dimension_numbers=LAYOUT)


FORMS: dict[str, Callable] = {
    "down, shifts": lambda x, w: layers.downsample_2d(x, layers.FIR_1331),
    "down, depthwise": lambda x, w: depthwise(x, 1, window_strides=(2, 2), padding=[(1, 1), (1, 1)]),
    "up, shifts": lambda x, w: layers.upsample_2d(x, layers.FIR_1331),
    "up, depthwise": lambda x, w: depthwise(x, 4, window_strides=(1, 1), padding=[(2, 2), (2, 2)], lhs_dilation=(2, 2)),
    "convolution after shifts": lambda x, w: layers.conv_downsample_2d(x, w, layers.FIR_1331),
    "convolution, folded": folded,
}


def with_gradients(form: Callable) -> Callable:
    return jax.grad(lambda x, w: jnp.sum(jnp.square(form(x, w)).astype(jnp.float32)), argnums=(0, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--topology")
    args = parser.parse_args()
    on_cpu = not args.topology and jax.default_backend() == "cpu"
    for n, size, c, d in SHAPES_ON_CPU if on_cpu else SHAPES:
        shapes = (n, size, size, c), (3, 3, c, d)
        if args.topology:
            mesh = sharding.make_mesh(1, 1, described_devices(args.topology))
            place = sharding.replicated(mesh)
            given = [jax.ShapeDtypeStruct(shape, args.dtype, sharding=place) for shape in shapes]
            programs = {name: jax.jit(with_gradients(form)).lower(*given).compile() for name, form in FORMS.items()}
            found = {name: compilation.cost(program)["bytes"] for name, program in programs.items()}
        else:
            rng = np.random.default_rng(0)
            x, w = (jnp.asarray(rng.standard_normal(shape) / 30, args.dtype) for shape in shapes)
            for a, b in zip(list(FORMS)[::2], list(FORMS)[1::2], strict=True):
                same = [np.asarray(FORMS[name](x, w), np.float32) for name in (a, b)]
                np.testing.assert_allclose(*same, atol=1e-5 if args.dtype == "float32" else 0.05)
            calls = {name: functools.partial(jax.jit(with_gradients(form)), x, w) for name, form in FORMS.items()}
            found = timed(calls, 2.0)
        print(f"{n} x {size} px, {c} to {d}, {args.dtype}, with gradients")
        for name, value in found.items():
            print(f"  {name:26s}" + (f"{value / 1e6:9.1f} MB" if args.topology else f"{value * 1e3:9.2f} ms"))


if __name__ == "__main__":
    main()

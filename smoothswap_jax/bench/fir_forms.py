"""Forms of FIR resampling with the same results, compared: sums of shifted slices (which `models.layers` uses),
depthwise convolutions, and, for the blur before a convolution of stride 2, the filter folded into its kernel.

    python -m smoothswap_jax.bench.fir_forms [--dtype=bfloat16] [--topology=v5e:2x2]

on the accelerator in question. With --topology, the TPU's compiler reports the bytes read and written instead of times
(`pip install "jax[tpu]"`; no TPU is needed).
"""

import argparse
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from smoothswap_jax.bench.timing import timed
from smoothswap_jax.bench.topologies import topology_devices
from smoothswap_jax.models import layers
from smoothswap_jax.models.convolution import LAYOUT
from smoothswap_jax.runtime import compilation, sharding

TAPS = np.outer(layers.FIR_1331, layers.FIR_1331) / 64
SHAPES = ((8, 256, 64, 128), (8, 64, 128, 256), (8, 16, 256, 256))
SHAPES_ON_CPU = ((8, 64, 32, 64), (8, 32, 64, 128))
"""(images, size, input channels, output channels)"""


def depthwise(x: jax.Array, gain: float, **how) -> jax.Array:
    c = x.shape[-1]
    kernel = jnp.broadcast_to(jnp.asarray(TAPS * gain, x.dtype)[:, :, None, None], (4, 4, 1, c))
    return jax.lax.conv_general_dilated(x, kernel, dimension_numbers=LAYOUT, feature_group_count=c, **how)


def folded(x: jax.Array, w: jax.Array) -> jax.Array:
    """Blur and 3x3 convolution of stride 2 as one 6x6 convolution."""
    kernel = jnp.zeros((6, 6, *w.shape[2:]), w.dtype)
    for (i, j), tap in np.ndenumerate(TAPS.astype(w.dtype)):
        kernel += jnp.pad(w * tap, ((i, 3 - i), (j, 3 - j), (0, 0), (0, 0)))
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), [(2, 2), (2, 2)], dimension_numbers=LAYOUT)


FORMS: dict[str, dict[str, Callable]] = {
    "down": {
        "shifts": lambda x, w: layers.downsample_2d(x, layers.FIR_1331),
        "depthwise": lambda x, w: depthwise(x, 1, window_strides=(2, 2), padding=[(1, 1), (1, 1)]),
    },
    "up": {
        "shifts": lambda x, w: layers.upsample_2d(x, layers.FIR_1331),
        "depthwise": lambda x, w: depthwise(x, 4, window_strides=(1, 1), padding=[(2, 2), (2, 2)], lhs_dilation=(2, 2)),
    },
    "convolution": {
        "after shifts": lambda x, w: layers.conv_downsample_2d(x, w, layers.FIR_1331),
        "folded": folded,
    },
}
"""By operation: functions of an image and a 3x3 kernel with the same results."""
PROGRAMS = {f"{operation}, {form}": function for operation, forms in FORMS.items() for form, function in forms.items()}


def with_gradients(form: Callable) -> Callable:
    return jax.grad(lambda x, w: jnp.sum(jnp.square(form(x, w)).astype(jnp.float32)), argnums=(0, 1))


def check_same(x: jax.Array, w: jax.Array) -> None:
    """Raises AssertionError if forms of an operation differ in their results."""
    for operation, forms in FORMS.items():
        first, *others = (np.asarray(function(x, w), np.float32) for function in forms.values())
        for other in others:
            np.testing.assert_allclose(first, other, atol=1e-5 if x.dtype == "float32" else 0.05, err_msg=operation)


def seconds_of_forms(x_shape: tuple[int, ...], w_shape: tuple[int, ...], dtype: str, seconds: float) -> dict:
    rng = np.random.default_rng(0)
    x, w = (jnp.asarray(rng.standard_normal(shape) / 30, dtype) for shape in (x_shape, w_shape))
    check_same(x, w)
    calls = {name: functools.partial(jax.jit(with_gradients(form)), x, w) for name, form in PROGRAMS.items()}
    return timed(calls, seconds)


def bytes_of_forms(x_shape: tuple[int, ...], w_shape: tuple[int, ...], dtype: str, topology: str) -> dict:
    place = sharding.replicated(sharding.make_mesh(1, 1, topology_devices(topology)))
    x, w = (jax.ShapeDtypeStruct(shape, dtype, sharding=place) for shape in (x_shape, w_shape))
    programs = {name: jax.jit(with_gradients(form)).lower(x, w).compile() for name, form in PROGRAMS.items()}
    return {name: compilation.cost(program)["bytes"] for name, program in programs.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--topology", help="compile for these devices instead of timing, e.g. v5e:2x2")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement")
    args = parser.parse_args(arguments)
    on_cpu = not args.topology and jax.default_backend() == "cpu"
    for n, size, c, d in SHAPES_ON_CPU if on_cpu else SHAPES:
        print(f"{n} x {size} px, {c} to {d}, {args.dtype}, with gradients")
        shapes = (n, size, size, c), (3, 3, c, d)
        if args.topology:
            for name, count in bytes_of_forms(*shapes, args.dtype, args.topology).items():
                print(f"  {name:26s}{count / 1e6:9.1f} MB")
        else:
            for name, seconds in seconds_of_forms(*shapes, args.dtype, args.seconds).items():
                print(f"  {name:26s}{seconds * 1e3:9.2f} ms")


if __name__ == "__main__":
    main()

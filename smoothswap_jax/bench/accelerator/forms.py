"""The forms in which the networks can compute the same: each alone at a preset's shapes, and for the whole step.

The networks have no switch for forms that nobody trains with, so the step's are set by replacing the function of a
module while the step is traced.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from smoothswap_jax.bench import fir_forms, weight_gradients
from smoothswap_jax.bench.accelerator.clock import seconds_of
from smoothswap_jax.bench.accelerator.measurement import Setup
from smoothswap_jax.models import convolution, layers, ncsnpp
from smoothswap_jax.models.convolution import LAYOUT, Window

DTYPE = "bfloat16"
Calls = dict[str, Callable[[], Any]]


# --- in the whole step ------------------------------------------------------------------------------------------------


def as_convolution(x: jax.Array, w: jax.Array, strides: Any, types: dict[str, Any]) -> jax.Array:
    """In place of `convolution._pointwise`."""
    return jax.lax.conv_general_dilated(x, w, strides, "VALID", dimension_numbers=LAYOUT, **types)


def as_product(x: jax.Array, g: jax.Array, window: Window) -> jax.Array:
    """In place of `convolution._weight_gradient`: what it does on a CPU."""
    if window.strides == (1, 1):
        return convolution.weight_product(x, g, window)
    return _OWN_WEIGHT_GRADIENT(x, g, window)


_OWN_WEIGHT_GRADIENT = convolution._weight_gradient


def as_depthwise(x: jax.Array, kernel: Any, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)) -> jax.Array:
    """In place of `layers.upfirdn2d`, with 1-D kernels."""
    taps = np.outer(kernel, kernel)[::-1, ::-1]
    c = x.shape[-1]
    w = jnp.broadcast_to(jnp.asarray(taps, x.dtype)[:, :, None, None], (*taps.shape, 1, c))
    # Zeros follow the last pixel, too.
    pads = [(pad[0], pad[1] + up - 1)] * 2
    return jax.lax.conv_general_dilated(
        x, w, (down, down), pads, (up, up), dimension_numbers=LAYOUT, feature_group_count=c
    )


def fused(q: jax.Array, k: jax.Array, v: jax.Array, implementation: Literal["xla", "cudnn"] | None = None) -> jax.Array:
    """In place of `ncsnpp.attend`: one head. implementation: of `jax.nn.dot_product_attention`; None: cuDNN's on GPUs,
    XLA's elsewhere."""
    if implementation is None:
        implementation = "cudnn" if jax.default_backend() == "gpu" else "xla"
    q, k, v = (x[:, :, None] for x in (q, k, v))
    return jax.nn.dot_product_attention(q, k, v, implementation=implementation)[:, :, 0]


REPLACED: dict[str, tuple[Any, str, Any]] = {
    "1x1 as convolutions": (convolution, "_pointwise", as_convolution),
    "JAX's derivatives": (convolution, "_convolution", convolution._plain),
    "weight gradients as products": (convolution, "_weight_gradient", as_product),
    "FIR as depthwise convolutions": (layers, "upfirdn2d", as_depthwise),
    "fused attention": (ncsnpp, "attend", fused),
}
"""form: (module, function, what stands in for it)"""


@contextlib.contextmanager
def form_of_step(name: str) -> Iterator[None]:
    """While this lasts, what is traced has the form `name` of `REPLACED`; '' is the networks' own."""
    if not name:
        yield
        return
    module, function, other = REPLACED[name]
    with mock.patch.object(module, function, other):
        yield


# --- each alone -------------------------------------------------------------------------------------------------------


def shapes(preset: dict[str, Any], batch: int) -> list[tuple[int, int, int, int]]:
    """(images, size, input channels, output channels) of typical layers of a preset: at full size and at each level
    down to 1/8."""
    size, nf, mults = preset["data"]["size"], preset["generator"]["nf"], preset["generator"]["ch_mult"]
    levels = list(enumerate(mults))[:4]
    return [(batch, size >> level, nf * mult, nf * mult) for level, mult in levels]


def compare(calls: Calls, setup: Setup) -> dict[str, float | str]:
    """Milliseconds of each, or why it could not be computed."""
    works, found = {}, {}
    for name, call in calls.items():
        try:
            jax.block_until_ready(call())
            works[name] = call
        except Exception as error:  # a form that a device does not have is a result
            found[name] = f"{type(error).__name__}: {str(error)[:300]}"
    times = seconds_of(works, jax.block_until_ready, setup.seconds / 4)
    return {name: found[name] if name in found else 1e3 * times[name] for name in calls}


def _draw(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(sum(shape)).standard_normal(shape, np.float32), DTYPE)


def _jitted(functions: dict[str, Callable], *arrays: jax.Array) -> Calls:
    return {name: functools.partial(jax.jit(function), *arrays) for name, function in functions.items()}


def fir(setup: Setup, preset: str, batch: int) -> dict[str, Any]:
    """The forms of `bench.fir_forms` with their gradients, at each of the shapes."""
    found = {}
    for n, size, c, d in shapes(setup.presets[preset], batch)[:3]:
        x, w = _draw(n, size, size, c), _draw(3, 3, c, d)
        forms = {name: fir_forms.with_gradients(form) for name, form in fir_forms.PROGRAMS.items()}
        found[f"{n} x {size} px, {c} to {d}, ms"] = compare(_jitted(forms, x, w), setup)
    return found


def pointwise(setup: Setup, preset: str, batch: int) -> dict[str, Any]:
    """1x1 convolutions, forward and with gradients, as products and as convolutions."""
    ones: dict[str, Callable] = {
        "product": lambda x, w: convolution._pointwise(x, w, (1, 1), {}),
        "convolution": lambda x, w: as_convolution(x, w, (1, 1), {}),
    }
    functions = {
        **{f"forward, {name}": function for name, function in ones.items()},
        **{f"with gradients, {name}": fir_forms.with_gradients(function) for name, function in ones.items()},
    }
    return {
        f"{n} x {size} px, {c} to {d}, ms": compare(
            _jitted(functions, _draw(n, size, size, c), _draw(1, 1, c, d)), setup
        )
        for n, size, c, d in shapes(setup.presets[preset], batch)
    }


def weight(setup: Setup, preset: str, batch: int) -> dict[str, Any]:
    """The forms of a 3x3 convolution's weight gradient of `bench.weight_gradients`; and R1's, of stride 2."""
    found: dict[str, Any] = {}
    for n, size, c, d in shapes(setup.presets[preset], batch):
        x, g = _draw(n, size, size, c), _draw(n, size, size, d)
        found[f"{n} x {size} px, {c} to {d}, ms"] = compare(_jitted(weight_gradients.FORMS, x, g), setup)
    for n, size, c, d in shapes(setup.presets[preset], batch)[:2]:
        x, g, w = _draw(n, size + 1, size + 1, c), _draw(n, size // 2, size // 2, d), _draw(3, 3, c, d)
        kinds: dict[str, Callable] = {
            "XLA's own": jax.lax.conv_general_dilated,
            "ours": convolution.convolution,
        }
        forms = {name: jax.grad(functools.partial(weight_gradients.penalty, kind)) for name, kind in kinds.items()}
        found[f"R1's, stride 2: {n} x {size + 1} px, {c} to {d}, ms"] = compare(_jitted(forms, w, x, g), setup)
    return found


def attention(setup: Setup, preset: str, batch: int) -> dict[str, Any]:
    """Our attention, JAX's and cuDNN's fused one, forward and with gradients, at the preset's attention levels."""
    generator, size = setup.presets[preset]["generator"], setup.presets[preset]["data"]["size"]
    ones: dict[str, Callable] = {
        "ours": ncsnpp.attend,
        "jax.nn, XLA": functools.partial(fused, implementation="xla"),
        "jax.nn, cuDNN": functools.partial(fused, implementation="cudnn"),
    }

    def gradients(function: Callable) -> Callable:
        return jax.grad(lambda q, k, v: jnp.sum(jnp.square(function(q, k, v)).astype(jnp.float32)), (0, 1, 2))

    functions = {
        **{f"forward, {name}": function for name, function in ones.items()},
        **{f"with gradients, {name}": gradients(function) for name, function in ones.items()},
    }
    found = {}
    for level, mult in enumerate(generator["ch_mult"]):
        if size >> level in generator["attn_resolutions"]:
            shape = (batch, (size >> level) ** 2, generator["nf"] * mult)
            found[f"{batch} x {size >> level} px, {shape[-1]} channels, ms"] = compare(
                _jitted(functions, *(_draw(*shape) for _ in range(3))), setup
            )
    return found

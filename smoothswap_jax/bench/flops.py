"""Floating-point operations of a function, counted from its jaxpr: a check on the compiler's own count."""

import itertools
from collections.abc import Iterator
from math import prod
from typing import Any

import jax
from jax.interpreters.partial_eval import dce_jaxpr

ELEMENTWISE = {"add", "add_any", "sub", "mul", "div", "max", "min", "neg", "abs", "select_n", "integer_pow", "square",
               "gt", "ge", "lt", "le", "eq", "ne", "and", "or"}  # fmt: skip


def count_flops(function, *arguments, platform: str | None = None) -> int:
    """Floating-point operations of `function`, by XLA's rules.

    A multiply-add of a convolution or matrix product counts as two; elementwise arithmetic counts one for each element
    of its result, a reduction one for each element of its input, everything else nothing. A loop counts as often as it
    runs; of the branches of a `cond` the most expensive one counts; code that no result depends on does not count, and
    what remat recomputes counts again. The zeros of a convolution's padding count nothing, except where its gradient is
    a matrix product (on CPU), which multiplies them.

    Args:
      arguments: of `function`; ShapeDtypeStructs will do.
      platform: which form of `jax.lax.platform_dependent` counts; None is the default backend's.
    """
    return count_traced(jax.make_jaxpr(function)(*arguments), platform)


def count_traced(closed: Any, platform: str | None = None) -> int:
    """As `count_flops`, of a function that is traced already: a ClosedJaxpr."""
    needed, _ = dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    return _of_jaxpr(needed, platform or jax.default_backend())


def _of_jaxpr(jaxpr: Any, platform: str) -> int:
    return sum(_of_equation(equation, platform) for equation in jaxpr.eqns)


def _of_equation(equation: Any, platform: str) -> int:
    if not equation.outvars:  # a check, such as that of donated arguments
        return 0
    name, out = equation.primitive.name, equation.outvars[0].aval
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2 * prod(out.shape) * prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        return _of_convolution(equation)
    if name in ELEMENTWISE:
        return prod(out.shape)
    if name in ("reduce_sum", "reduce_max", "reduce_min"):
        return prod(equation.invars[0].aval.shape)
    if name == "scan":
        return equation.params["length"] * _of_jaxpr(equation.params["jaxpr"].jaxpr, platform)
    if name == "cond":
        branches, platforms = equation.params["branches"], equation.params.get("branches_platforms")
        if platforms:
            own = {"cuda", "rocm"} if platform == "gpu" else {platform}
            fits = [names is None or not own.isdisjoint(names) for names in platforms]
            branches = list(itertools.compress(branches, fits))[:1]
        return max(_of_jaxpr(branch.jaxpr, platform) for branch in branches)
    return sum(_of_jaxpr(inner, platform) for inner in _inner(equation.params))


def _of_convolution(equation: Any) -> int:
    """Counts only taps that meet a pixel, not the zeros of padding and dilation."""
    lhs, rhs = (variable.aval for variable in equation.invars)
    out, params = equation.outvars[0].aval, equation.params
    numbers = params["dimension_numbers"]
    axes = zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)
    taps = 1
    for axis, (lhs_axis, rhs_axis, out_axis) in enumerate(axes):
        size, kernel, results = lhs.shape[lhs_axis], rhs.shape[rhs_axis], out.shape[out_axis]
        stride, before = params["window_strides"][axis], params["padding"][axis][0]
        lhs_dilation, rhs_dilation = params["lhs_dilation"][axis], params["rhs_dilation"][axis]
        at = [i * stride - before + k * rhs_dilation for i in range(results) for k in range(kernel)]
        taps *= sum(0 <= place <= (size - 1) * lhs_dilation and place % lhs_dilation == 0 for place in at)
    features = out.shape[numbers.out_spec[1]] * rhs.shape[numbers.rhs_spec[1]]
    # A group of the batch sums over its own share of it. Feature groups are already in the kernel's shape.
    batch = out.shape[numbers.out_spec[0]] // params["batch_group_count"]
    return 2 * batch * features * taps


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    """Jaxprs among the parameters of an equation: those of a call, a remat or a custom derivative."""
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            one = getattr(one, "jaxpr", one)
            if hasattr(one, "eqns"):
                yield one

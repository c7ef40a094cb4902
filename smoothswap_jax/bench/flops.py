"""Floating-point operations of a function, counted from what it was traced to: a check on the compiler's own count."""

import itertools
from collections.abc import Iterator
from math import prod
from typing import Any

import jax
from jax.interpreters.partial_eval import dce_jaxpr

ELEMENTWISE = {"add", "add_any", "sub", "mul", "div", "max", "min", "neg", "abs", "select_n", "integer_pow", "square",
               "gt", "ge", "lt", "le", "eq", "ne", "and", "or"}  # fmt: skip


def count_flops(function, *arguments, platform: str | None = None) -> int:
    """Operations of `function`: a multiplication and addition of a convolution or matrix product as two, each number
    that elementwise arithmetic gives or a sum takes as one, as XLA counts.

    Arguments may be ShapeDtypeStructs. A loop counts as often as it runs; of branches the most expensive, of forms
    for one platform or another that of `platform` (None: the default backend's); recomputation (remat) in the backward
    pass counts again, and what no result needs not at all. Where a matrix product computes a convolution's gradient (on
    CPU) it multiplies the border's zeros too, and these count.
    """
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    needed, _ = dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return _of_jaxpr(needed, platform or jax.default_backend())


def _of_jaxpr(jaxpr: Any, platform: str) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if not equation.outvars:  # a check, such as that of donated arguments
            continue
        name, out = equation.primitive.name, equation.outvars[0].aval
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += 2 * prod(out.shape) * prod(equation.invars[0].aval.shape[axis] for axis in contracted)
        elif name == "conv_general_dilated":
            total += _of_convolution(equation)
        elif name in ELEMENTWISE:
            total += prod(out.shape)
        elif name in ("reduce_sum", "reduce_max", "reduce_min"):
            total += prod(equation.invars[0].aval.shape)
        elif name == "scan":
            total += equation.params["length"] * _of_jaxpr(equation.params["jaxpr"].jaxpr, platform)
        elif name == "cond":
            branches, platforms = equation.params["branches"], equation.params.get("branches_platforms")
            if platforms:
                own = {"cuda", "rocm"} if platform == "gpu" else {platform}
                meant = [names is None or not own.isdisjoint(names) for names in platforms]
                branches = list(itertools.compress(branches, meant))[:1]
            total += max(_of_jaxpr(branch.jaxpr, platform) for branch in branches)
        else:
            total += sum(_of_jaxpr(inner, platform) for inner in _inner(equation.params))
    return total


def _of_convolution(equation: Any) -> int:
    """Products with zeros that dilation or padding put in are none: the count is of taps that meet a pixel."""
    lhs, rhs = (variable.aval for variable in equation.invars)
    out, how = equation.outvars[0].aval, equation.params
    numbers = how["dimension_numbers"]
    places = zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)
    taps = 1
    for axis, (lhs_axis, rhs_axis, out_axis) in enumerate(places):
        size, kernel, results = lhs.shape[lhs_axis], rhs.shape[rhs_axis], out.shape[out_axis]
        stride, before = how["window_strides"][axis], how["padding"][axis][0]
        grown, spread = how["lhs_dilation"][axis], how["rhs_dilation"][axis]
        at = [i * stride - before + k * spread for i in range(results) for k in range(kernel)]
        taps *= sum(0 <= place <= (size - 1) * grown and place % grown == 0 for place in at)
    features = out.shape[numbers.out_spec[1]] * rhs.shape[numbers.rhs_spec[1]]
    # Groups of the batch divide what one result sums over; groups of features have done so in the kernel's shape.
    batch = (
        out.shape[numbers.out_spec[0]] // how["batch_group_count"]
        if how["batch_group_count"] > 1
        else out.shape[numbers.out_spec[0]]
    )
    return 2 * batch * features * taps


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    """Jaxprs among the parameters of a call, a remat or a custom derivative."""
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            one = getattr(one, "jaxpr", one)
            if hasattr(one, "eqns"):
                yield one

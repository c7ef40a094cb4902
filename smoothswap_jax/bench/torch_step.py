"""The swapper's training step and the same step in eager PyTorch, timed in turns on the CPU.

    python -m smoothswap_jax.bench.torch_step [--variant=small64] [--batch=8] [--seconds=20]

needs PyTorch (setup.py says how to install it). The networks have the same shapes, which the numbers of parameters
confirm; R1 is in every step. Then each convolution of the generator alone, in both: forward, and the gradients of its
input and weight, where XLA is slower.
"""

import argparse
import collections
import functools
import importlib.util
import json
import math
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from smoothswap_jax.bench.setting import make_setting
from smoothswap_jax.bench.table import table
from smoothswap_jax.bench.timing import timed
from smoothswap_jax.config.load import load_config
from smoothswap_jax.models.convolution import LAYOUT, convolution
from smoothswap_jax.runtime import sharding

KINDS = ("forward", "input gradient", "weight gradient")


# --- the whole step ------------------------------------------------------------------------------------------


def compare_steps(config: dict, embedder: dict, batch: int, seconds: float) -> dict:
    """Seconds of both steps, which take turns."""
    from smoothswap_jax.bench.torch_networks import TorchStep

    setting = make_setting(config, embedder, batch, "float32", sharding.make_mesh(1))
    torch_step = TorchStep(config, embedder, batch)
    shapes = setting.program.shapes
    for part, ours in (
        ("generator", shapes.generator),
        ("discriminator", shapes.discriminator),
        ("embedder", setting.frozen["params"]),
    ):
        counts = [count(jax.tree.leaves(ours)), count(getattr(torch_step, part).parameters())]
        assert counts[0] == counts[1], f"{part}: {counts[0]} parameters in JAX, {counts[1]} in PyTorch"
    program, (frozen, images, _) = setting.lowered(True).compile(), setting.random_inputs()
    state = setting.init_state()

    def step():
        nonlocal state
        state, metrics = program(state, frozen, images)
        return metrics

    times = timed({"jax": step, "torch": torch_step}, seconds)
    return {"batch": batch, "seconds": times, "jax over torch": times["jax"] / times["torch"]}


def count(arrays: Any) -> int:
    return sum(math.prod(x.shape) for x in arrays)


# --- its convolutions ----------------------------------------------------------------------------------------


class Shape(NamedTuple):
    """A convolution of square images: sizes of input and output in pixels, channels of input and output."""

    images: int
    size: int
    padding: int
    output_size: int
    channels: int
    features: int
    kernel: int
    stride: int

    def __str__(self) -> str:
        stride = f", stride {self.stride}" if self.stride > 1 else ""
        return f"{self.kernel}x{self.kernel}, {self.channels} to {self.features}, {self.size} px{stride}"


def generator_convolutions(config: dict, embedder: dict, batch: int) -> collections.Counter[Shape]:
    """How often each shape of convolution occurs in a forward pass of the generator, without FIR filters."""
    import torch

    from smoothswap_jax.bench.torch_networks import TorchStep

    step = TorchStep(config, embedder, batch)
    found: collections.Counter[Shape] = collections.Counter()

    def record(module, inputs, y):
        if isinstance(module, torch.nn.Conv2d):
            (x,), w = inputs, module.weight
            out, c, k, _ = w.shape
            found[Shape(len(x), x.shape[2], module.padding[0], y.shape[2], c, out, k, module.stride[0])] += 1

    z = step.embedder(step.source)
    with torch.nn.modules.module.register_module_forward_hook(record):
        step.generator(step.target, z)
    return found


def compare_convolution(shape: Shape, seconds: float) -> dict[str, float]:
    """Median seconds of the three computations in both."""
    from smoothswap_jax.bench.torch_convolutions import derivatives

    n, size, pad, out, c, d, k, stride = shape
    rng = np.random.default_rng(0)
    x, w, g = (rng.standard_normal(s, np.float32) for s in ((n, size, size, c), (k, k, c, d), (n, out, out, d)))
    conv = lambda x, w: convolution(x, w, (stride, stride), [(pad, pad)] * 2, dimension_numbers=LAYOUT)
    ours: dict[str, Callable] = {
        "forward": jax.jit(lambda x, w, g: conv(x, w)),
        "input gradient": jax.jit(lambda x, w, g: jax.vjp(lambda x: conv(x, w), x)[1](g)[0]),
        "weight gradient": jax.jit(lambda x, w, g: jax.vjp(lambda w: conv(x, w), w)[1](g)[0]),
    }
    arrays = [jnp.asarray(a) for a in (x, w, g)]
    calls: dict[str, Callable] = {f"jax {kind}": functools.partial(ours[kind], *arrays) for kind in KINDS}
    calls |= {f"torch {kind}": call for kind, call in derivatives(x, w, g, stride, pad).items()}
    return timed(calls, seconds)


def compare_convolutions(shapes: collections.Counter[Shape], seconds: float) -> dict:
    """Seconds of all convolutions of a forward pass, and of their gradients. seconds: for each measurement."""
    total = dict.fromkeys((f"{who} {kind}" for who in ("jax", "torch") for kind in KINDS), 0.0)
    rows = {}
    for shape, times in shapes.items():
        found = compare_convolution(shape, seconds)
        for name, value in found.items():
            total[name] += times * value
        rows[f"{times} x {shape}"] = {kind: f"{found[f'jax {kind}'] / found[f'torch {kind}']:.1f}" for kind in KINDS}
    ratio = {kind: total[f"jax {kind}"] / total[f"torch {kind}"] for kind in KINDS}
    return {"seconds of all": total, "jax over torch": ratio, "each, jax over torch": rows}


PAPERS = (
    "discriminator.projection=False",
    "objective.back=0",
    *(f"objective.transform.{name}=0" for name in ("colour", "shift", "scale", "blur", "noise", "hole")),
)
"""What the PyTorch step is: the paper's form, which our presets leave."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--variant", default="small64")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each step; a convolution gets a fortieth")
    args = parser.parse_args(arguments)
    if importlib.util.find_spec("torch") is None:
        sys.exit("torch_step compares with PyTorch, which is not installed; setup.py says how to install it")
    import torch

    config = load_config(f"swapper:{args.variant}", [f"--config.{field}" for field in PAPERS])
    embedder = load_config(f"embedder:{args.variant}", [])["embedder"]
    versions = f"{os.cpu_count()} CPU cores; jax {jax.__version__}, torch {torch.__version__}"
    result = {"hardware": versions, "step with R1": compare_steps(config, embedder, args.batch, args.seconds)}
    shapes = generator_convolutions(config, embedder, args.batch)
    result["convolutions"] = compare_convolutions(shapes, args.seconds / 40)
    print(table(result))
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""The swapper's training step beside the same step in eager PyTorch, in one run, on the CPU.

    python -m tests.bench.torch_step [--variant=small64] [--batch=8] [--seconds=20]

from the repository's root, with PyTorch installed (setup.py says how). The networks have the same shapes, which the
counts of parameters prove; R1 is in every step. Then each convolution of the step by itself, in both: forward,
gradient of its input and gradient of its weight, which is where XLA is slower.
"""

import argparse
import collections
import functools
import json
import math
import os
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from smoothswap_jax.bench.steps import Setting, timed
from smoothswap_jax.bench.table import table
from smoothswap_jax.config.load import load_config
from smoothswap_jax.models.convolution import LAYOUT, convolution
from smoothswap_jax.runtime import sharding
from tests.bench import torch_networks

KINDS = ("forward", "input gradient", "weight gradient")


class TorchStep:
    """Networks, optimisers and one training step."""

    def __init__(self, config: dict, embedder: dict, batch: int):
        torch.manual_seed(0)
        size, generator, discriminator = config["data"]["size"], config["generator"], config["discriminator"]
        self.objective, dim = config["objective"], embedder["dim"]
        fields = {key: generator[key] for key in ("nf", "ch_mult", "num_res_blocks", "attn_resolutions")}
        self.generator = torch_networks.Generator(size, dim, **fields)
        self.average = torch_networks.Generator(size, dim, **fields).requires_grad_(False)
        fields = {key: discriminator[key] for key in ("channel_base", "channel_max", "mbstd_group")}
        self.discriminator = torch_networks.Discriminator(size, **fields)
        fields = {key: embedder[key] for key in ("stage_sizes", "width", "hidden", "dim")}
        self.embedder = torch_networks.Embedder(**fields).eval().requires_grad_(False)
        adam = lambda network, rate: torch.optim.Adam(network.parameters(), rate, (0.0, 0.99))
        self.optimizers = adam(self.generator, 1e-3), adam(self.discriminator, 4e-3)
        self.source, self.target = (torch.rand(batch, 3, size, size) * 2 - 1 for _ in range(2))

    def __call__(self) -> None:
        """As `steps.swapper_step` with R1: one forward pass of the generator serves both updates."""
        o, (optimizer, d_optimizer) = self.objective, self.optimizers
        with torch.no_grad():
            z = self.embedder(self.source)
        swap = self.generator(self.target, z)
        real = self.target.clone().requires_grad_(True)
        real_logits = self.discriminator(real)
        (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
        r1 = gradient.square().sum((1, 2, 3)).mean()
        adversarial = F.softplus(self.discriminator(swap.detach())) + F.softplus(-real_logits)
        d_optimizer.zero_grad()
        (adversarial.mean() + 0.5 * o["r1_gamma"] * o["r1_interval"] * r1).backward()
        d_optimizer.step()
        self.discriminator.requires_grad_(False)
        identity = 1 - (self.embedder(swap) * z).sum(1)
        change = (swap - self.target).square().mean((1, 2, 3))
        adversarial = F.softplus(-self.discriminator(swap))[:, 0]
        optimizer.zero_grad()
        (o["identity"] * identity + o["change"] * change + o["adversarial"] * adversarial).mean().backward()
        optimizer.step()
        self.discriminator.requires_grad_(True)
        torch._foreach_lerp_(
            list(self.average.parameters()), list(self.generator.parameters()), 1 - o["ema_decay"]
        )  # fmt: skip


def count(tree) -> int:
    return sum(math.prod(x.shape) for x in tree)


def compare_steps(config: dict, embedder: dict, batch: int, seconds: float) -> dict:
    """Seconds of both steps, turn by turn."""
    mesh = sharding.make_mesh(1)
    ours, theirs = Setting(config, embedder, batch, "float32", mesh), TorchStep(config, embedder, batch)
    for part in ("generator", "discriminator"):
        a, b = count(jax.tree.leaves(getattr(ours.program.shapes, part))), count(getattr(theirs, part).parameters())
        assert a == b, f"{part}: {a} parameters in JAX, {b} in PyTorch"
    assert count(jax.tree.leaves(ours.frozen["params"])) == count(theirs.embedder.parameters())
    program, (frozen, images, _) = ours.lowered(True).compile(), ours.drawn()
    current = {"state": ours.fresh()}

    def step():
        current["state"], values = program(current["state"], frozen, images)
        return values

    times = timed({"jax": step, "torch": theirs}, seconds)
    return {"batch": batch, "seconds": times, "jax over torch": times["jax"] / times["torch"]}


class Shape(NamedTuple):
    """A convolution of square images."""

    images: int
    size: int
    padding: int
    result: int
    channels: int
    features: int
    kernel: int
    stride: int

    def __str__(self) -> str:
        stride = f", stride {self.stride}" if self.stride > 1 else ""
        return f"{self.kernel}x{self.kernel}, {self.channels} to {self.features}, {self.size} px{stride}"


def convolutions(step: TorchStep) -> collections.Counter[Shape]:
    """How often each shape of convolution is met in a forward pass of the generator; filters are left out."""
    found: collections.Counter[Shape] = collections.Counter()
    z = step.embedder(step.source)

    def seen(module, given, y):
        if isinstance(module, torch.nn.Conv2d):
            (x,), w = given, module.weight
            found[
                Shape(len(x), x.shape[2], module.padding[0], y.shape[2], *w.shape[1::-1], w.shape[2], module.stride[0])
            ] += 1

    with torch.nn.modules.module.register_module_forward_hook(seen):
        step.generator(step.target, z)
    return found


def compare_convolution(shape: Shape, seconds: float) -> dict[str, float]:
    """Median seconds of the three computations in both."""
    n, size, pad, out, c, d, k, stride = shape
    rng = np.random.default_rng(0)
    draw = lambda *s: rng.standard_normal(s, np.float32)
    x, w, g = draw(n, size, size, c), draw(k, k, c, d), draw(n, out, out, d)
    conv = lambda x, w: convolution(x, w, (stride, stride), [(pad, pad)] * 2, dimension_numbers=LAYOUT)
    ours: dict[str, Callable] = {
        "forward": jax.jit(conv),
        "input gradient": jax.jit(lambda x, w, g: jax.vjp(lambda x: conv(x, w), x)[1](g)[0]),
        "weight gradient": jax.jit(lambda x, w, g: jax.vjp(lambda w: conv(x, w), w)[1](g)[0]),
    }
    arrays = {kind: [jnp.asarray(a) for a in ((x, w) if kind == "forward" else (x, w, g))] for kind in KINDS}
    channels_first = lambda a: torch.from_numpy(np.ascontiguousarray(a.transpose(0, 3, 1, 2)))
    tx, tg, tw = channels_first(x), channels_first(g), torch.from_numpy(np.ascontiguousarray(w.transpose(3, 2, 0, 1)))
    backward = lambda *mask: torch.ops.aten.convolution_backward(
        tg, tx, tw, None, [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], 1, [*mask, False]
    )
    calls: dict[str, Callable] = {f"jax {kind}": functools.partial(ours[kind], *arrays[kind]) for kind in KINDS}
    calls |= {
        "torch forward": lambda: F.conv2d(tx, tw, None, stride, pad),
        "torch input gradient": lambda: backward(True, False),
        "torch weight gradient": lambda: backward(False, True),
    }
    return timed(calls, seconds)


def compare_convolutions(shapes: collections.Counter[Shape], seconds: float) -> dict:
    """Seconds of all convolutions of a forward pass, and of their gradients."""
    total = dict.fromkeys((f"{who} {kind}" for who in ("jax", "torch") for kind in KINDS), 0.0)
    rows = {}
    for shape, times in shapes.items():
        found = compare_convolution(shape, seconds)
        for name, value in found.items():
            total[name] += times * value
        rows[f"{times} x {shape}"] = {kind: f"{found[f'jax {kind}'] / found[f'torch {kind}']:.1f}" for kind in KINDS}
    ratio = {kind: total[f"jax {kind}"] / total[f"torch {kind}"] for kind in KINDS}
    return {"seconds of all": total, "jax over torch": ratio, "each, jax over torch": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", default="small64")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    config = load_config(f"configs/swapper.py:{args.variant}", [])
    embedder = load_config(f"configs/embedder.py:{args.variant}", [])["embedder"]
    versions = f"{os.cpu_count()} CPU cores; jax {jax.__version__}, torch {torch.__version__}"
    result = {"hardware": versions, "step with R1": compare_steps(config, embedder, args.batch, args.seconds)}
    shapes = convolutions(TorchStep(config, embedder, args.batch))
    result["convolutions"] = compare_convolutions(shapes, args.seconds / 40)
    print(table(result))
    print(json.dumps(result))


if __name__ == "__main__":
    main()

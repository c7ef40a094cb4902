"""The discriminator of StyleGAN2 (Karras et al. 2020), as rosinality/stylegan2-pytorch publishes it."""

from typing import Any

import numpy as np

from smoothswap_jax.models.layers import FIR_1331
from smoothswap_jax.models.stylegan2 import Discriminator
from smoothswap_jax.weights.inspect import Known, State, shape_of
from smoothswap_jax.weights.preprocessing import ffhq
from smoothswap_jax.weights.spec import NameMap, NetworkSpec, Plan
from smoothswap_jax.weights.stored_tensor import Path, Shapes, StoredTensor, WeightMismatch


def plan(tensors: State, known: Known) -> Plan:
    """rosinality/stylegan2-pytorch's checkpoints. Keyword `mbstd_group`: 4 there, and by default."""
    blocks = 0
    while f"convs.{blocks + 1}.conv1.0.weight" in tensors:
        blocks += 1
    size = 4 * 2**blocks
    channels = {size >> i: shape_of(tensors, f"convs.{i + 1}.conv1.0.weight", 4)[1] for i in range(blocks)}
    features, last, *_ = shape_of(tensors, "final_conv.0.weight", 4)
    for name in [name for name in tensors if name.endswith(".0.kernel")]:
        taps = np.asarray(FIR_1331) / sum(FIR_1331)
        if tensors[name].shape != (4, 4) or not np.allclose(tensors[name], np.outer(taps, taps), atol=1e-6):
            raise WeightMismatch(f"{name}: not the blur of taps {FIR_1331}")
    module = discriminator_module(size, channels | {4: features}, last - features, known)
    return Plan(module, "rosinality_discriminator", tensors, ffhq(size))


def discriminator_module(
    size: int, channels: dict[int, int], mbstd: int, known: Known, projection: bool = False
) -> Discriminator:
    """With `channel_base` and `channel_max` where these give the channels found, else with a table of channels."""
    free = known.fields(mbstd_group=int) | {"projection": projection}
    base, most = size * channels[size], max(channels.values())
    if channels == {r: min(base // r, most) for r in channels}:
        return Discriminator(size, base, most, mbstd_features=mbstd, **free)
    return Discriminator(size, channels=channels, mbstd_features=mbstd, **free)


# Positions in rosinality's ConvLayer: [blur,] convolution, activation (which has the bias).
_STYLEGAN2_BLOCK: dict[Path, str] = {
    ("conv1", "kernel"): "conv1.0.weight",
    ("conv1", "bias"): "conv1.1.bias",
    ("conv2", "kernel"): "conv2.1.weight",
    ("conv2", "bias"): "conv2.2.bias",
    ("skip", "kernel"): "skip.1.weight",
}
_STYLEGAN2_OUTER: dict[Path, str] = {
    ("from_rgb", "kernel"): "convs.0.0.weight",
    ("from_rgb", "bias"): "convs.0.1.bias",
    ("final_conv", "kernel"): "final_conv.0.weight",
    ("final_conv", "bias"): "final_conv.1.bias",
    ("final_dense", "kernel"): "final_linear.0.weight",
    ("final_dense", "bias"): "final_linear.0.bias",
    ("logit", "kernel"): "final_linear.1.weight",
    ("logit", "bias"): "final_linear.1.bias",
}


def _stylegan2_block(module: Any, shapes: Shapes) -> dict[Path, StoredTensor]:
    return {p: StoredTensor(_STYLEGAN2_BLOCK[p[-2:]], "conv" if len(s) == 4 else "same") for p, s in shapes.items()}


def _stylegan2_discriminator(module: Any, shapes: Shapes) -> dict[Path, StoredTensor]:
    sizes = sorted({int(p[1][5:]) for p in shapes if p[1].startswith("block")}, reverse=True)
    tensors = {}
    for path, shape in shapes.items():
        layout = {4: "conv", 2: "dense"}.get(len(shape), "same")
        if path[1].startswith("block"):
            prefix = f"convs.{1 + sizes.index(int(path[1][5:]))}"
            tensors[path] = StoredTensor(f"{prefix}.{_STYLEGAN2_BLOCK[path[2:]]}", layout)
        elif path[1:] == ("final_dense", "kernel"):
            tensors[path] = StoredTensor(_STYLEGAN2_OUTER[path[1:]], "dense_chw", shape[0] // 16)
        else:
            tensors[path] = StoredTensor(_STYLEGAN2_OUTER[path[1:]], layout)
    return tensors


_IGNORED = (r"(.*\.)?(conv2|skip)\.0\.kernel",)
"""The blur's taps, which the module has as a constant."""
SPECS = (
    NetworkSpec(
        "stylegan2-discriminator",
        Discriminator,
        plan,
        (
            NameMap("rosinality_discriminator", _stylegan2_discriminator, _IGNORED),
            NameMap("rosinality_block", _stylegan2_block, _IGNORED),  # one residual block by itself
        ),
    ),
)

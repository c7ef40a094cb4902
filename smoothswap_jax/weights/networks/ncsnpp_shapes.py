"""The architecture of an NCSN++ generator (Song et al. 2021), read from the names and shapes of its tensors.

score_sde numbers its modules in the order of creation (PyTorch: all of them, `all_modules.<i>`; Flax: within each
class), so the order of encoder, middle and decoder is followed here. Our own names have the levels.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smoothswap_jax.weights.inspect import shape_of
from smoothswap_jax.weights.stored_tensor import WeightMismatch

State = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Block:
    """A residual block of score_sde: its channels, and whether it changes the resolution."""

    channels: int
    resamples: bool


def _block(first: tuple[int, ...], has_shortcut: bool) -> Block:
    """first: the OIHW shape of its first convolution. With equal channels only a block that resamples has a shortcut.

    Raises WeightMismatch for another number of axes.
    """
    if len(first) != 4 or 0 in first:
        raise WeightMismatch(f"misshapen: the first convolution of a residual block has shape {first}")
    return Block(first[0], has_shortcut and first[0] == first[1])


def _levels(blocks: Sequence[Block]) -> tuple[list[int], int]:
    """The channels of each level, and residual blocks per level, from the blocks in order of creation.

    Encoder: n blocks a level, and a resampling one between levels; middle: 2; decoder: n + 1 a level, likewise.
    Raises WeightMismatch when the blocks do not come in that pattern.
    """
    resamples = sum(block.resamples for block in blocks)
    levels = resamples // 2 + 1
    each, rest = divmod(len(blocks) - resamples - 2 - levels, 2 * levels)
    pattern: list[bool] = []
    for level in range(levels):
        pattern += [False] * each + [True] * (level < levels - 1)
    pattern += [False, False]
    for level in range(levels):
        pattern += [False] * (each + 1) + [True] * (level < levels - 1)
    if rest or each < 1 or pattern != [block.resamples for block in blocks]:
        kinds = "".join("r" if block.resamples else "b" for block in blocks)
        raise WeightMismatch(
            f"ncsnpp: the residual blocks are {kinds} (r resamples), not those of NCSN++ with BigGAN blocks"
        )
    return [blocks[level * (each + 1)].channels for level in range(levels)], each


def _fields(nf: int, channels: Sequence[int], each: int, found: Mapping[str, Any]) -> dict[str, Any]:
    if any(c % nf for c in channels):
        raise WeightMismatch(f"ncsnpp: levels have {list(channels)} channels, wanted multiples of nf = {nf}")
    return {"nf": nf, "ch_mult": tuple(c // nf for c in channels), "num_res_blocks": each, **found}


def _progressive(pyramid_down: bool, combine: bool, pyramid_up: bool, heads: int) -> dict[str, str]:
    """`heads`: how many norm-and-convolution pairs lead to images (or start a residual pyramid)."""
    return {
        "progressive": "residual" if pyramid_up else "output_skip" if heads > 1 else "none",
        "progressive_input": "residual" if pyramid_down else "input_skip" if combine else "none",
    }


# ------------------------------------------------------------------------------------------ score_sde, PyTorch
def from_torch_names(state: State) -> tuple[dict[str, Any], list[int]]:
    """NCSNpp's fields, and the levels (0: full resolution) that have attention.

    Raises WeightMismatch for a network that is not NCSN++ with BigGAN blocks and a Fourier (or replaced) embedding.
    """
    modules: dict[int, dict[str, tuple[int, ...]]] = {}
    for name, value in state.items():
        if match := re.fullmatch(r"all_modules\.(\d+)\.(.+)", name):
            modules.setdefault(int(match[1]), {})[match[2]] = tuple(value.shape)
    # 0 is the Fourier embedding, 1 and 2 the dense layers after it, 3 the first convolution.
    if not {1, 2, 3} <= set(modules) or [len(modules[i].get("weight", ())) for i in (1, 2, 3)] != [2, 2, 4]:
        raise WeightMismatch("ncsnpp: all_modules.1, .2 and .3 are not two dense layers and a convolution")
    blocks: list[Block] = []
    attention: list[int] = []  # the number of blocks made before each
    combine: tuple[int, int] = (0, 0)
    pyramids: list[int] = []
    heads = 0
    for index in sorted(set(modules) - {0, 1, 2, 3}):
        names = modules[index]
        if "NIN_0.W" in names:
            attention.append(len(blocks))
        elif "Dense_0.weight" in names and "Conv_0.weight" in names:
            blocks.append(_block(names["Conv_0.weight"], "Conv_2.weight" in names))
        elif "Conv2d_0.weight" in names or names.get("Conv_0.weight", ())[2:] == (3, 3):
            pyramids.append(len(blocks))
        elif "Conv_0.weight" in names:
            following = modules.get(index + 1, {}).get("GroupNorm_0.weight", (0,))
            combine = combine if combine[0] else (names["Conv_0.weight"][0], following[0])
        elif len(names.get("weight", ())) == 1:
            heads += 1
        elif len(names.get("weight", ())) != 4:
            raise WeightMismatch(f"ncsnpp: all_modules.{index} holds {sorted(names)}, which no module of NCSN++ has")
    channels, each = _levels(blocks)
    middle = len(channels) * (each + 1) - 1  # blocks before the middle
    found: dict[str, Any] = _progressive(
        any(i <= middle for i in pyramids), bool(combine[0]), any(i > middle + 2 for i in pyramids), heads
    )
    if combine[0]:
        found["combine"] = "sum" if combine[0] == combine[1] else "cat"
    levels = sorted({i // (each + 1) for i in attention if i <= middle and i % (each + 1)})
    return _fields(modules[3]["weight"][0], channels, each, found), levels


# --------------------------------------------------------------------------------------------- score_sde, Flax
def from_flax_names(state: State) -> dict[str, Any]:
    """NCSNpp's fields except the attention resolutions, which Flax's numbering within classes does not show."""
    blocks: list[Block] = []
    while (prefix := f"ResnetBlockBigGANpp_{len(blocks)}/") + "Conv_0/kernel" in state:
        shape = shape_of(state, f"{prefix}Conv_0/kernel", 4)
        blocks.append(_block((shape[3], shape[2], *shape[:2]), f"{prefix}Conv_2/kernel" in state))
    channels, each = _levels(blocks)
    heads = sum(bool(re.fullmatch(r"GroupNorm_\d+/scale", name)) for name in state)
    has = {part: any(name.startswith(f"{part}_0/") for name in state) for part in ("Downsample", "Upsample", "Combine")}
    found: dict[str, Any] = _progressive(has["Downsample"], has["Combine"], has["Upsample"], heads)
    if has["Combine"]:
        combined = shape_of(state, "Combine_0/Conv_0/kernel", 4)[3]
        after = shape_of(state, f"ResnetBlockBigGANpp_{each + 1}/GroupNorm_0/scale", 1)[0]
        found["combine"] = "sum" if combined == after else "cat"
    return _fields(shape_of(state, "Conv_0/kernel", 4)[3], channels, each, found)


# ------------------------------------------------------------------------------------------------ our own names
def from_own_names(state: State) -> tuple[dict[str, Any], list[int]]:
    """NCSNpp's fields, and the levels that have attention, from `params/down0_block0/conv0/kernel` and the like."""
    parts = {name.split("/")[1] for name in state if name.startswith("params/")}
    numbers = [tuple(map(int, m)) for p in parts for m in re.findall(r"^down(\d+)_block(\d+)$", p)]
    if not numbers:
        raise WeightMismatch("ncsnpp: missing (1): params/down0_block0/conv0/kernel")
    levels, each = (1 + max(column) for column in zip(*numbers, strict=True))
    if len(numbers) != levels * each:
        raise WeightMismatch(f"ncsnpp: {len(numbers)} names like down<level>_block<i> for {levels} levels of {each}")
    channels = [shape_of(state, f"params/down{level}_block0/conv0/kernel", 4)[3] for level in range(levels)]
    heads = 1 if "out_conv" in parts else 2  # a skip pyramid has a head on every level, and no last convolution
    found: dict[str, Any] = _progressive(
        "down0_pyramid" in parts, "down0_combine" in parts, any(re.fullmatch(r"up\d+_pyramid", p) for p in parts), heads
    )
    if "down0_combine" in parts:
        combined = shape_of(state, "params/down0_combine/conv/kernel", 4)[3]
        after = shape_of(state, "params/down1_block0/norm0/scale", 1)[0]
        found["combine"] = "sum" if combined == after else "cat"
    attention = [level for level in range(levels) if f"down{level}_attn0" in parts]
    return _fields(shape_of(state, "params/stem/kernel", 4)[3], channels, each, found), attention

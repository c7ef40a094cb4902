"""Kinds to start a training run from: NCSN++ and StyleGAN2 as published, and our own three networks."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from smoothswap_jax.models.embedder import IdentityEmbedder
from smoothswap_jax.models.layers import FIR_1331, default_init
from smoothswap_jax.models.ncsnpp import NCSNpp
from smoothswap_jax.models.stylegan2 import Discriminator
from smoothswap_jax.weights import ncsnpp_shapes
from smoothswap_jax.weights.inspect import (
    Known,
    Plan,
    State,
    descend,
    flat_tensors,
    image_shape,
    shape_of,
    some_names,
    stages_of,
    tensors_of,
)
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.source import WeightMismatch
from smoothswap_jax.weights.torch_names import strip_prefixes

_NCSNPP_FREE = {
    **dict.fromkeys(("fir", "skip_rescale", "input_residual"), bool),
    **dict.fromkeys(("emb_scale", "dropout", "init_scale"), float),
}


def _generator_module(fields: dict[str, Any], levels: Sequence[int], size: int, known: Known) -> NCSNpp:
    attention = tuple(size >> level for level in levels)
    return NCSNpp(**fields, attn_resolutions=attention, **known.fields(**_NCSNPP_FREE))


def _faces(size: int) -> Preprocessing:
    return Preprocessing((size, size), "ffhq")


def ncsnpp(state: Mapping[str, Any], known: Known) -> Plan:
    """score_sde's checkpoints of NCSN++ with BigGAN blocks: PyTorch's checkpoint_<n>.pth, Flax's msgpack.

    `image_size` (256 for the FFHQ-256 model) is required, for Flax files also `attn_resolutions` ((16,)).
    `ema` True (default where there is one) takes the averaged weights, False the trained ones. The network was
    conditioned on Fourier features of the noise level. `dim` is the size of the identity embedding that takes their
    place: the kernel of the first dense layer is then new (score_sde's initialiser, `seed` 0 by default), and listed
    as fresh, while everything else, its bias included, is the checkpoint's. Without `dim` that kernel is kept too.
    fir and skip_rescale (True, as published), emb_scale, input_residual, dropout, init_scale: NCSNpp's fields.
    """
    size = known.take("image_size", int)
    tensors, flax = _score_sde_tensors(state, known.take("ema", bool, None))
    if flax:
        fields = ncsnpp_shapes.from_flax_names(tensors)
        resolutions = known.take("attn_resolutions", tuple)
        levels = [level for level in range(len(fields["ch_mult"])) if size >> level in resolutions]
    else:
        fields, levels = ncsnpp_shapes.from_torch_names(tensors)
    module = _generator_module(fields, levels, size, known)
    kernel, axis = ("Dense_0/kernel", 1) if flax else ("all_modules.1.weight", 0)
    shape = shape_of(tensors, kernel, 2)
    dim, seed = known.take("dim", int, None), known.take("seed", int, 0)
    if dim is not None:
        if not dim:
            raise ValueError("ncsnpp: dim is 0, wanted the size of the identity embedding")
        fresh = np.asarray(default_init()(jax.random.key(seed), (dim, shape[axis])))
        tensors[kernel] = fresh if flax else fresh.T
    names = "score_sde_ncsnpp_flax" if flax else "score_sde_ncsnpp"
    inputs = (image_shape((size, size)), (1, dim or shape[1 - axis]))
    return Plan(module, names, _faces(size), inputs, tensors, () if dim is None else ("params/embed0/kernel",))


def _score_sde_tensors(state: Mapping[str, Any], ema: bool | None) -> tuple[State, bool]:
    """The flat tensors of one set of weights, and whether they carry Flax's names."""
    if "params_ema" in state or ("optimizer" in state and "model" not in state):
        part = "optimizer" if ema is False else "params_ema"
        if not isinstance(state.get(part), Mapping):
            raise WeightMismatch(f"missing (1): {part}; found {some_names(state)}")
        return flat_tensors(descend(state[part], "target") if part == "optimizer" else state[part]), True
    if "model" in state:
        tensors = tensors_of(state["model"])
        if ema is False or (ema is None and "ema" not in state):
            return tensors, False
        if "ema" not in state:
            raise WeightMismatch(f"missing (1): ema; found {some_names(state)}")
        return _shadow(tensors, state["ema"]), False
    if ema:
        raise WeightMismatch(f"missing: 'params_ema', or 'model' and 'ema'; found {some_names(state)}")
    tensors = strip_prefixes(flat_tensors(state))
    return tensors, any(name.startswith("ResnetBlockBigGANpp_") for name in tensors)


def _shadow(model: State, ema: Mapping[str, Any]) -> State:
    """score_sde's averaged weights: a list in the order of the model's trained parameters."""
    found = ema.get("shadow_params", ())
    shadow = [np.asarray(v) for v in (found.values() if isinstance(found, Mapping) else found)]
    names = [n for n in model if not re.fullmatch(r"sigmas|all_modules\.0\.W", n)]  # a buffer, a fixed parameter
    if len(shadow) != len(names):
        raise WeightMismatch(f"ema: {len(shadow)} averaged tensors for {len(names)} parameters of the model")
    wrong = [n for n, v in zip(names, shadow, strict=True) if v.shape != model[n].shape]
    if wrong:
        raise WeightMismatch(f"misshapen ({len(wrong)}): {'; '.join(f'ema of {name}' for name in wrong)}")
    return dict(zip(names, shadow, strict=True))


def stylegan2(state: Mapping[str, Any], known: Known) -> Plan:
    """rosinality/stylegan2-pytorch's checkpoints, under 'd'. `mbstd_group` is 4 there (default)."""
    tensors = tensors_of(descend(state, "d"))
    blocks = 0
    while f"convs.{blocks + 1}.conv1.0.weight" in tensors:
        blocks += 1
    size = 4 * 2**blocks
    channels = {size >> i: shape_of(tensors, f"convs.{i + 1}.conv1.0.weight", 4)[1] for i in range(blocks)}
    features, last, *_ = shape_of(tensors, "final_conv.0.weight", 4)
    for name in [name for name in tensors if name.endswith(".0.kernel")]:
        taps = np.asarray(FIR_1331) / sum(FIR_1331)
        if tensors[name].shape != (4, 4) or not np.allclose(tensors[name], np.outer(taps, taps), atol=1e-6):
            raise WeightMismatch(f"{name}: the blur is not that of {FIR_1331}")
    module = _discriminator_module(size, channels | {4: features}, last - features, known)
    return Plan(module, "rosinality_discriminator", _faces(size), (image_shape((size, size)),), tensors)


def _discriminator_module(size: int, channels: dict[int, int], mbstd: int, known: Known) -> Discriminator:
    """By `channel_base` and `channel_max` where they give the channels found, else by the list."""
    free = known.fields(mbstd_group=int)
    base, most = size * channels[size], max(channels.values())
    if channels == {r: min(base // r, most) for r in channels}:
        return Discriminator(size, base, most, mbstd_features=mbstd, **free)
    return Discriminator(size, channels=channels, mbstd_features=mbstd, **free)


# --------------------------------------------------------------------------------------------------- our own files
def embedder(state: Mapping[str, Any], known: Known) -> Plan:
    """Our embedder. `image_size` is required; so is `stem` for a 3x3 first convolution (small, small2, small4)."""
    tensors = flat_tensors(state)
    backbone = "params/backbone/"
    stages = stages_of(tensors, backbone + r"layer(\d+)_(\d+)/")
    kernel = shape_of(tensors, f"{backbone}conv1/kernel", 4)
    batch = any(name.startswith("batch_stats/") for name in tensors)
    module = IdentityEmbedder(
        stages,
        kernel[3],
        known.take("stem", str, "imagenet") if kernel[0] == 7 else known.take("stem", str),
        "batch" if batch else "group",
        shape_of(tensors, "params/dense0/kernel", 2)[1],
        shape_of(tensors, "params/dense1/kernel", 2)[1],
    )
    size = known.take("image_size", int)
    return Plan(module, "own", _faces(size), (image_shape((size, size)),), tensors)


def generator(state: Mapping[str, Any], known: Known) -> Plan:
    """Our generator. `image_size` is required; the fields of NCSNpp that shapes do not show may be given."""
    tensors = flat_tensors(state)
    size = known.take("image_size", int)
    fields, levels = ncsnpp_shapes.from_own_names(tensors)
    module = _generator_module(fields, levels, size, known)
    dim = shape_of(tensors, "params/embed0/kernel", 2)[0]
    return Plan(module, "own", _faces(size), (image_shape((size, size)), (1, dim)), tensors)


def discriminator(state: Mapping[str, Any], known: Known) -> Plan:
    """Our discriminator."""
    tensors = flat_tensors(state)
    names = [re.fullmatch(r"params/block(\d+)/conv1/kernel", name) for name in tensors]
    channels = {int(match[1]): shape_of(tensors, match[0], 4)[2] for match in names if match}
    if not channels:
        raise WeightMismatch(f"missing: params/block<size>/conv1/kernel; found {some_names(tensors)}")
    size = max(channels)
    *_, last, features = shape_of(tensors, "params/final_conv/kernel", 4)
    module = _discriminator_module(size, channels | {4: features}, last - features, known)
    return Plan(module, "own", _faces(size), (image_shape((size, size)),), tensors)

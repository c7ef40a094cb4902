"""NCSN++ with BigGAN blocks, as score_sde (Song et al. 2021) publishes it, in PyTorch's and Flax's spelling."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from smoothswap_jax.models.layers import default_init
from smoothswap_jax.models.ncsnpp import NCSNpp
from smoothswap_jax.weights.inspect import Known, State, flat_tensors, image_shape, shape_of, some_names
from smoothswap_jax.weights.networks import ncsnpp_shapes
from smoothswap_jax.weights.preprocessing import ffhq
from smoothswap_jax.weights.spec import NameMap, NetworkSpec, Plan
from smoothswap_jax.weights.stored_tensor import Path, Shapes, StoredTensor, WeightMismatch, torch_leaf

_NCSNPP_FREE = {
    **dict.fromkeys(("fir", "skip_rescale", "input_residual"), bool),
    **dict.fromkeys(("emb_scale", "dropout", "init_scale"), float),
}


def generator_module(fields: dict[str, Any], levels: Sequence[int], size: int, known: Known) -> NCSNpp:
    attention = tuple(size >> level for level in levels)
    return NCSNpp(**fields, attn_resolutions=attention, **known.fields(**_NCSNPP_FREE))


def plan(tensors: State, known: Known) -> Plan:
    """score_sde's checkpoints of NCSN++ with BigGAN blocks: PyTorch's checkpoint_<n>.pth, Flax's msgpack.

    Keywords: `image_size` (256 for the FFHQ-256 model) is required, for Flax files also `attn_resolutions` ((16,)).
    `ema` True (default where the file has them) takes the averaged weights, False the trained ones. The network was
    conditioned on Fourier features of the noise level; `dim` is the size of the identity embedding that takes their
    place. The kernel of the first dense layer is then initialised (as score_sde does, with `seed`, 0 by default) and
    listed as fresh; everything else, that layer's bias included, is the checkpoint's. Without `dim` the kernel is kept.
    fir and skip_rescale (True, as published), emb_scale, input_residual, dropout, init_scale are fields of NCSNpp.
    """
    size = known.take("image_size", int)
    flax = any(name.startswith("ResnetBlockBigGANpp_") for name in tensors)
    if flax:
        tensors = _squeezed_norms(tensors)
        fields = ncsnpp_shapes.from_flax_names(tensors)
        resolutions = known.take("attn_resolutions", tuple)
        levels = [level for level in range(len(fields["ch_mult"])) if size >> level in resolutions]
    else:
        fields, levels = ncsnpp_shapes.from_torch_names(tensors)
    module = generator_module(fields, levels, size, known)
    kernel, axis = ("Dense_0/kernel", 1) if flax else ("all_modules.1.weight", 0)
    shape = shape_of(tensors, kernel, 2)
    dim, seed = known.take("dim", int, None), known.take("seed", int, 0)
    if dim is not None:
        if not dim:
            raise ValueError("ncsnpp: dim is 0, wanted the size of the identity embedding")
        fresh = np.asarray(default_init()(jax.random.key(seed), (dim, shape[axis])))
        tensors = tensors | {kernel: fresh if flax else fresh.T}
    names = "score_sde_ncsnpp_flax" if flax else "score_sde_ncsnpp"
    inputs = (image_shape((size, size)), (1, dim or shape[1 - axis]))
    return Plan(module, names, tensors, ffhq(size), inputs, () if dim is None else ("params/embed0/kernel",))


def _squeezed_norms(tensors: State) -> State:
    """Flax before 0.3.6, which score_sde's checkpoints were written with, kept the scale and bias of GroupNorm as
    [1, 1, 1, c] (google/flax#1721)."""
    return {
        name: value[0, 0, 0]
        if re.fullmatch(r"(.*/)?GroupNorm_\d+/(scale|bias)", name) and value.shape[:-1] == (1, 1, 1)
        else value
        for name, value in tensors.items()
    }


def published(state: Mapping[str, Any], known: Known) -> tuple[str, State] | None:
    """The averaged weights of score_sde's own checkpoints, or with `ema` False the trained ones.

    PyTorch's have the averages as a list beside the model, Flax's have them in 'params_ema'. None for other files.
    """
    ema = known.take("ema", bool, None)
    model, shadow = state.get("model"), state.get("ema")
    if isinstance(model, Mapping) and isinstance(shadow, Mapping) and "shadow_params" in shadow:
        tensors = {re.sub(r"^.*?(?=all_modules\.|sigmas$)", "", name): v for name, v in flat_tensors(model).items()}
        return ("model", tensors) if ema is False else ("ema", _shadow(tensors, shadow))
    groups = {"params_ema": state.get("params_ema"), "params": state.get("params")}
    if isinstance(optimizer := state.get("optimizer"), Mapping):
        groups["optimizer/target"] = optimizer.get("target")
    wanted = ("optimizer/target", "params") if ema is False else ("params_ema",)
    for group in wanted:
        if isinstance(found := groups.get(group), Mapping):
            return group, flat_tensors(found)
    if ema is not None and not (ema is False and isinstance(model, Mapping)):
        lacks = "'params_ema', or 'model' and 'ema'" if ema else "'optimizer/target', or 'model' and 'ema'"
        raise WeightMismatch(f"missing: {lacks}; found {some_names(state)}")
    return None


def _shadow(model: State, ema: Mapping[str, Any]) -> State:
    """score_sde's averaged weights, which it stores as a list in the order of the model's trained parameters."""
    found = ema.get("shadow_params", ())
    shadow = [np.asarray(v) for v in (found.values() if isinstance(found, Mapping) else found)]
    names = [n for n in model if not re.fullmatch(r"sigmas|all_modules\.0\.W", n)]  # a buffer and a fixed parameter
    if len(shadow) != len(names):
        raise WeightMismatch(f"ema: {len(shadow)} averaged tensors for {len(names)} parameters of the model")
    wrong = [n for n, v in zip(names, shadow, strict=True) if v.shape != model[n].shape]
    if wrong:
        raise WeightMismatch(f"misshapen ({len(wrong)}): {'; '.join(f'ema of {name}' for name in wrong)}")
    return dict(zip(names, shadow, strict=True))


# --- names ---
_BLOCK = {
    "norm0": "GroupNorm_0",
    "conv0": "Conv_0",
    "embed": "Dense_0",
    "norm1": "GroupNorm_1",
    "conv1": "Conv_1",
    "shortcut": "Conv_2",
    "norm": "GroupNorm_0",  # from here on: attention
    "query": "NIN_0",
    "key": "NIN_1",
    "value": "NIN_2",
    "out": "NIN_3",
    "conv": "Conv_0",  # Combine, and up- and downsampling without FIR
}


def _score_sde_layer(layers: list[str], fir: bool) -> str:
    """score_sde's name for the layer inside a module; empty for a module that is itself a layer."""
    if not layers:
        return ""
    return "Conv2d_0" if fir and layers[0] == "conv" else _BLOCK[layers[0]]


def _score_sde_torch_leaf(path: Path, ndim: int, prefix: str, fir: bool) -> StoredTensor:
    """The tensor of the leaf `path` inside the module of score_sde that is called `prefix`."""
    *layers, leaf = path
    layer = _score_sde_layer(layers, fir)
    name = f"{prefix}.{layer}".strip(".")
    if layer.startswith("NIN"):  # [in, out] in torch as well
        return StoredTensor(f"{name}.{'W' if leaf == 'kernel' else 'b'}")
    return torch_leaf(name, leaf, ndim)


def _score_sde_flax_leaf(path: Path, prefix: str, fir: bool) -> StoredTensor:
    *layers, leaf = path
    layer = _score_sde_layer(layers, fir)
    if layer.startswith("NIN"):
        leaf = "W" if leaf == "kernel" else "b"
    elif layer.startswith("Conv2d"):
        leaf = "w" if leaf == "kernel" else "b"
    return StoredTensor("/".join(part for part in (prefix, layer, leaf) if part))


def ncsnpp_order(names: set[str]) -> list[str]:
    """The submodules of an NCSNpp in the order in which score_sde creates them.

    Lists all names that any configuration has in that order, and keeps those in `names`. Raises ValueError for a name
    that no configuration has.
    """
    numbers = [tuple(map(int, m)) for n in names for m in re.findall(r"^(?:up|down)(\d+)_block(\d+)$", n)]
    levels, blocks = (1 + max(column) for column in zip(*numbers, strict=True))
    order = ["embed0", "embed1", "stem"]
    for level in range(levels):
        for block in range(blocks):
            order += [f"down{level}_block{block}", f"down{level}_attn{block}"]
        order += [f"down{level}_resample", f"down{level}_combine", f"down{level}_pyramid"]
    order += ["mid_block0", "mid_attn", "mid_block1"]
    for level in reversed(range(levels)):
        order += [f"up{level}_block{block}" for block in range(blocks)]
        order += [f"up{level}_{part}" for part in ("attn", "norm", "conv", "pyramid", "resample")]
    order += ["out_norm", "out_conv"]
    if unknown := names - set(order):
        raise ValueError(f"NCSNpp: no place in score_sde's order for {sorted(unknown)}")
    return [name for name in order if name in names]


def _score_sde_class(name: str) -> str:
    """The class that score_sde has for our submodule `name`; its Flax names are numbered within each class."""
    part = name.split("_")[-1]
    if name.endswith("_pyramid"):
        return "Downsample" if name.startswith("down") else "Upsample"
    if part.startswith("embed"):
        return "Dense"
    if part.startswith("block") or part == "resample":
        return "ResnetBlockBigGANpp"
    if part.startswith("attn"):
        return "AttnBlockpp"
    return {"combine": "Combine", "norm": "GroupNorm"}.get(part, "Conv")


def _ncsnpp_torch(module: Any, shapes: Shapes) -> dict[Path, StoredTensor]:
    # all_modules.0 is the noise level's Fourier embedding, which the identity embedding replaces.
    index = {name: i for i, name in enumerate(ncsnpp_order({p[1] for p in shapes}), start=1)}
    tensors = {}
    for path, shape in shapes.items():
        fir = module.fir and path[1].endswith("_pyramid")
        prefix = f"all_modules.{index[path[1]]}"
        tensors[path] = _score_sde_torch_leaf(path[2:], len(shape), prefix, fir)
    return tensors


def _ncsnpp_flax(module: Any, shapes: Shapes) -> dict[Path, StoredTensor]:
    counts: dict[str, int] = {}
    prefixes = {}
    for name in ncsnpp_order({p[1] for p in shapes}):
        cls = _score_sde_class(name)
        prefixes[name] = f"{cls}_{counts.setdefault(cls, 0)}"
        counts[cls] += 1
    return {
        path: _score_sde_flax_leaf(path[2:], prefixes[path[1]], module.fir and path[1].endswith("_pyramid"))
        for path in shapes
    }


def _score_sde_block(module: Any, shapes: Shapes) -> dict[Path, StoredTensor]:
    return {p: _score_sde_torch_leaf(p[1:], len(s), "", False) for p, s in shapes.items()}


_IGNORED = (r"sigmas", r"all_modules\.0\.W", r"GaussianFourierProjection_0/W")
"""The noise levels and the frequencies of their Fourier features."""
SPECS = (
    NetworkSpec(
        "ncsnpp",
        NCSNpp,
        plan,
        (
            NameMap("score_sde_ncsnpp", _ncsnpp_torch, _IGNORED),
            NameMap("score_sde_ncsnpp_flax", _ncsnpp_flax, _IGNORED),
            NameMap("score_sde_block", _score_sde_block),  # one module of the network by itself
        ),
        published=published,
    ),
)

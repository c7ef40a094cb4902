"""Name maps: published checkpoints' tensors -> the variable trees of `smoothswap_jax.models`.

`to_variables(kind, state, module, *inputs)` takes the tensors as a flat dict of numpy arrays (reading files
is another module's business) and returns {'params': ..., 'batch_stats': ...}. A kind is a function from the
module's own leaves to `Source`s, so the expected names follow from the module that is to be filled, and a
checkpoint that does not fit it exactly is refused with the list of names. Layouts: `source.py`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from smoothswap_jax.weights import judge_names
from smoothswap_jax.weights.source import Path, Shapes, Source, WeightMismatch, torch_leaf

# ------------------------------------------------------------------------------------------- score_sde NCSN++
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
    """score_sde's name of the layer inside of a module; empty for a module that is a layer itself."""
    if not layers:
        return ""
    return "Conv2d_0" if fir and layers[0] == "conv" else _BLOCK[layers[0]]


def _score_sde_torch_leaf(path: Path, ndim: int, prefix: str, fir: bool) -> Source:
    """`path` is the leaf inside one of score_sde's modules, which is called `prefix`."""
    *layers, leaf = path
    layer = _score_sde_layer(layers, fir)
    name = f"{prefix}.{layer}".strip(".")
    if layer.startswith("NIN"):  # [in, out] in torch as well
        return Source(f"{name}.{'W' if leaf == 'kernel' else 'b'}")
    return torch_leaf(name, leaf, ndim)


def _score_sde_flax_leaf(path: Path, prefix: str, fir: bool) -> Source:
    *layers, leaf = path
    layer = _score_sde_layer(layers, fir)
    if layer.startswith("NIN"):
        leaf = "W" if leaf == "kernel" else "b"
    elif layer.startswith("Conv2d"):
        leaf = "w" if leaf == "kernel" else "b"
    return Source("/".join(part for part in (prefix, layer, leaf) if part))


def ncsnpp_order(names: set[str]) -> list[str]:
    """The submodules of an NCSNpp in the order in which score_sde creates its own.

    All names that any configuration could have are walked in that order, and those in `names` are kept.
    Raises ValueError for a name that the walk does not know.
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
    """The class score_sde uses for our submodule `name`: its Flax names count within a class."""
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


def _ncsnpp_torch(module: Any, shapes: Shapes) -> dict[Path, Source]:
    # all_modules.0 is the noise level's Fourier embedding, which the identity embedding replaces.
    index = {name: i for i, name in enumerate(ncsnpp_order({p[1] for p in shapes}), start=1)}
    sources = {}
    for path, shape in shapes.items():
        fir = module.fir and path[1].endswith("_pyramid")
        prefix = f"all_modules.{index[path[1]]}"
        sources[path] = _score_sde_torch_leaf(path[2:], len(shape), prefix, fir)
    return sources


def _ncsnpp_flax(module: Any, shapes: Shapes) -> dict[Path, Source]:
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


def _score_sde_block(module: Any, shapes: Shapes) -> dict[Path, Source]:
    return {p: _score_sde_torch_leaf(p[1:], len(s), "", False) for p, s in shapes.items()}


# ------------------------------------------------------------------------------------ StyleGAN2 discriminator
# Sequential positions in rosinality's ConvLayer: [blur,] convolution, activation (which owns the bias).
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


def _stylegan2_block(module: Any, shapes: Shapes) -> dict[Path, Source]:
    return {p: Source(_STYLEGAN2_BLOCK[p[-2:]], "conv" if len(s) == 4 else "same") for p, s in shapes.items()}


def _stylegan2_discriminator(module: Any, shapes: Shapes) -> dict[Path, Source]:
    sizes = sorted({int(p[1][5:]) for p in shapes if p[1].startswith("block")}, reverse=True)
    sources = {}
    for path, shape in shapes.items():
        layout = {4: "conv", 2: "dense"}.get(len(shape), "same")
        if path[1].startswith("block"):
            prefix = f"convs.{1 + sizes.index(int(path[1][5:]))}"
            sources[path] = Source(f"{prefix}.{_STYLEGAN2_BLOCK[path[2:]]}", layout)
        elif path[1:] == ("final_dense", "kernel"):
            sources[path] = Source(_STYLEGAN2_OUTER[path[1:]], "dense_chw", shape[0] // 16)
        else:
            sources[path] = Source(_STYLEGAN2_OUTER[path[1:]], layout)
    return sources


def _own(module: Any, shapes: Shapes) -> dict[Path, Source]:
    """Our own names: the path of the leaf, as the exported files spell it."""
    return {path: Source("/".join(path)) for path in shapes}


KINDS: dict[str, Callable[[Any, Shapes], dict[Path, Source]]] = {
    "score_sde_ncsnpp": _ncsnpp_torch,
    "score_sde_ncsnpp_flax": _ncsnpp_flax,
    "score_sde_block": _score_sde_block,
    "rosinality_discriminator": _stylegan2_discriminator,
    "rosinality_block": _stylegan2_block,
    **judge_names.KINDS,
    "own": _own,
}
# Tensors a checkpoint may hold that are no weights of the network, or whose part we replaced.
_IGNORED = (
    r"(.*\.)?num_batches_tracked",
    r"sigmas",
    r"all_modules\.0\.W",
    r"GaussianFourierProjection_0/W",
    r"(.*\.)?(conv2|skip)\.0\.kernel",  # FIR taps
)
_PREFIXES = ("module.", "net.", "_orig_mod.")


# ------------------------------------------------------------------------------------------------- conversion
def source_map(kind: str, module: nn.Module, *inputs: Any) -> tuple[dict[Path, Source], Shapes]:
    """For each leaf of `module.init(key, *inputs)`: its Source in a checkpoint of `kind`, and its shape.

    `inputs` are arrays or jax.ShapeDtypeStructs. Raises ValueError for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"weights: kind is {kind!r}, wanted one of {sorted(KINDS)}")
    tree = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    shapes = {path: tuple(leaf.shape) for path, leaf in flatten_dict(tree).items()}
    return KINDS[kind](module, shapes), shapes


def strip_prefixes(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Drop wrappers' prefixes (DataParallel's 'module.' and the like) that all names share."""
    names = dict(state)
    while names and (prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in names)), "")):
        names = {name[len(prefix) :]: value for name, value in names.items()}
    return names


def to_variables(kind: str, state: Mapping[str, np.ndarray], module: nn.Module, *inputs: Any) -> dict[str, Any]:
    """Fill `module`'s variables from the tensors of a published checkpoint.

    kind: a key of KINDS. state: flat {name: array}; slashes separate the names of Flax kinds. inputs: as for
    `source_map`. Returns nested dicts of float32 numpy arrays, for `module.apply`. Raises WeightMismatch,
    with every name concerned, when a tensor is missing, has another shape, or has no place in the network.
    """
    sources, shapes = source_map(kind, module, *inputs)
    tensors = strip_prefixes(state)
    wanted = {source.name: source.source_shape(shapes[path]) for path, source in sources.items()}
    extra = [n for n in tensors if n not in wanted and not any(re.fullmatch(p, n) for p in _IGNORED)]
    problems = {
        "missing": [name for name in wanted if name not in tensors],
        "extra": extra,
        "misshapen": [
            f"{name}: found {tuple(tensors[name].shape)}, wanted {shape}"
            for name, shape in wanted.items()
            if name in tensors and tuple(tensors[name].shape) != shape
        ],
        "not floating-point": [
            f"{name}: {tensors[name].dtype}"
            for name in wanted
            if name in tensors and not jnp.issubdtype(tensors[name].dtype, jnp.floating)
        ],
    }
    if any(problems.values()):
        lines = [f"{what} ({len(names)}): {'; '.join(names)}" for what, names in problems.items() if names]
        raise WeightMismatch(f"{kind} does not fit {type(module).__name__}. " + " | ".join(lines))
    flat = {p: np.asarray(s.convert(np.asarray(tensors[s.name])), np.float32) for p, s in sources.items()}
    return unflatten_dict(flat)

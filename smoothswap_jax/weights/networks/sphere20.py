"""SphereFace's 20-layer network with CosFace's weights, as MuggleWang/CosFace_pytorch publishes it."""

import re
from dataclasses import replace
from typing import Any

from smoothswap_jax.models.judges.sphereface import SphereFace
from smoothswap_jax.weights.inspect import Known, State, published_depth, shape_of, stages_of
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.spec import NameMap, NetworkSpec, Plan
from smoothswap_jax.weights.stored_tensor import Path, Shapes, StoredTensor, torch_leaf

_PREPROCESSING = Preprocessing((112, 96), "sphereface")


def plan(tensors: State, known: Known) -> Plan:
    """CosFace_pytorch's *_checkpoint.pth."""
    stages = published_depth(known, tuple(size - 2 for size in stages_of(tensors)), (1, 2, 4, 1))
    width = shape_of(tensors, "layer1.0.weight", 4)[0]
    features, flat = shape_of(tensors, "fc.weight", 2)
    cells = flat // (width * 2 ** (len(stages) - 1))
    rows, columns = round((cells * 7 / 6) ** 0.5), round((cells * 6 / 7) ** 0.5)
    size = (rows * 2 ** len(stages), columns * 2 ** len(stages))
    how = replace(_PREPROCESSING, size=size)
    return Plan(SphereFace(stages, width, features), "sphereface", tensors, how)


def _tensors(module: Any, shapes: Shapes) -> dict[Path, StoredTensor]:
    """layer1.0 is the convolution, layer1.1 its PReLU, and the blocks start at layer1.2."""
    tensors = {}
    for path, shape in shapes.items():
        name = re.sub(r"^(layer\d+)_(\d+)", lambda m: f"{m[1]}.{int(m[2]) + 2}", ".".join(path[1:-1]))
        name = name.replace("_conv", ".0").replace("_prelu", ".1")
        tensors[path] = torch_leaf(name, path[-1], len(shape))
    channels = module.width * 2 ** (len(module.stage_sizes) - 1)
    tensors[("params", "fc", "kernel")] = StoredTensor("fc.weight", "dense_chw", channels)
    return tensors


SPECS = (
    NetworkSpec(
        "cosface-sphere20",
        SphereFace,
        plan,
        (NameMap("sphereface", _tensors),),
        _PREPROCESSING,
        role="identity",
        licence="see the file's authors",
    ),
)

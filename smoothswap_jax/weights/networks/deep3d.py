"""The coefficient network of Deep3DFaceRecon_pytorch (Deng et al. 2019)."""

from typing import Any

from smoothswap_jax.models.judges.deep3d import Deep3D
from smoothswap_jax.weights.inspect import Known, State, shape_of, stages_of
from smoothswap_jax.weights.networks.torchvision_resnet import torchvision_name
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.spec import NameMap, NetworkSpec, Plan
from smoothswap_jax.weights.stored_tensor import Path, Shapes, StoredTensor, torch_leaf


def plan(tensors: State, known: Known) -> Plan:
    """Deep3DFaceRecon_pytorch's epoch_20.pth."""
    heads: list[int] = []
    while f"final_layers.{len(heads)}.weight" in tensors:
        heads.append(shape_of(tensors, f"final_layers.{len(heads)}.weight", 4)[0])
    stages = stages_of(tensors, r"backbone\.layer(\d+)\.(\d+)\.")
    module = Deep3D(stages, shape_of(tensors, "backbone.conv1.weight", 4)[0], tuple(heads))
    return Plan(module, "deep3d", tensors)


def _tensors(module: Any, shapes: Shapes) -> dict[Path, StoredTensor]:
    """backbone.<torchvision's name>, and the heads as 1x1 convolutions final_layers.<i>."""
    tensors = {}
    for path, shape in shapes.items():
        if path[1] == "backbone":
            tensors[path] = torch_leaf(f"backbone.{torchvision_name(path[2:-1])}", path[-1], len(shape))
        else:
            prefix = path[1].replace("head", "final_layers.")
            kernel = StoredTensor(f"{prefix}.weight", "dense_1x1")
            tensors[path] = kernel if path[-1] == "kernel" else StoredTensor(f"{prefix}.bias")
    return tensors


SPECS = (
    NetworkSpec(
        "deep3d",
        Deep3D,
        plan,
        (NameMap("deep3d", _tensors),),
        Preprocessing((224, 224), "deep3d", low=0.0, high=1.0),
        role="coefficients",
        licence="MIT; the Basel face model's licence is non-commercial",
    ),
)

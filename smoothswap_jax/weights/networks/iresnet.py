"""IResNet-50 and -100, as ArcFace (Deng et al. 2019) publishes them in insightface."""

from dataclasses import replace
from functools import partial
from typing import Any

from smoothswap_jax.models.judges.iresnet import IResNet
from smoothswap_jax.weights.inspect import Known, State, published_depth, shape_of, stages_of
from smoothswap_jax.weights.networks.torchvision_resnet import torchvision_tensors
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.spec import NameMap, NetworkSpec, Plan
from smoothswap_jax.weights.stored_tensor import Path, Shapes, StoredTensor

_PREPROCESSING = Preprocessing((112, 112), "arcface")


def plan(tensors: State, known: Known, depths: tuple[int, ...]) -> Plan:
    """insightface arcface_torch's backbone.pth, or checkpoint_gpu_<i>.pt."""
    stages = published_depth(known, stages_of(tensors), depths)
    width = shape_of(tensors, "conv1.weight", 4)[0]
    features, flat = shape_of(tensors, "fc.weight", 2)
    side = 2 ** len(stages) * round((flat / shape_of(tensors, "bn2.weight", 1)[0]) ** 0.5)
    how = replace(_PREPROCESSING, size=(side, side))
    return Plan(IResNet(stages, width, features), "iresnet", tensors, how)


def _tensors(module: Any, shapes: Shapes) -> dict[Path, StoredTensor]:
    channels = shapes[("params", "bn2", "scale")][0]
    return torchvision_tensors(module, shapes) | {
        ("params", "fc", "kernel"): StoredTensor("fc.weight", "dense_chw", channels)
    }


SPECS = tuple(
    NetworkSpec(
        kind,
        IResNet,
        partial(plan, depths=depths),
        (NameMap("iresnet", _tensors),),
        _PREPROCESSING,
        role="identity",
        licence="insightface: non-commercial research only",
    )
    for kind, depths in (("iresnet50", (3, 4, 14, 3)), ("iresnet100", (3, 13, 30, 3)))
)

"""ResNet-50 of torchvision, and the spelling of residual networks that others share with it."""

import re
from typing import Any

from smoothswap_jax.models.embedder import ResNet
from smoothswap_jax.weights.inspect import Known, State, published_depth, shape_of, stages_of
from smoothswap_jax.weights.preprocessing import IMAGENET
from smoothswap_jax.weights.spec import NameMap, NetworkSpec, Plan
from smoothswap_jax.weights.stored_tensor import Path, Shapes, StoredTensor, torch_leaf


def plan(tensors: State, known: Known) -> Plan:
    """torchvision's resnet50-*.pth (v1.5)."""
    module = ResNet(
        published_depth(known, stages_of(tensors), (3, 4, 6, 3)),
        shape_of(tensors, "conv1.weight", 4)[0],
        num_classes=shape_of(tensors, "fc.weight", 2)[0] if "fc.weight" in tensors else None,
    )
    return Plan(module, "torchvision_resnet", tensors)


def torchvision_name(layers: Path) -> str:
    """torchvision's name for a layer of ours: (layer1_0, downsample_conv) -> layer1.0.downsample.0"""
    name = re.sub(r"^(layer\d+)_", r"\1.", ".".join(layers))
    for ours, theirs in (("conv", "0"), ("bn", "1")):
        name = name.replace(f"downsample_{ours}", f"downsample.{theirs}")
    # VGGFace2-pytorch calls the two convolutions of squeeze-and-excitation conv4 and conv5.
    return name.replace("se_down", "conv4").replace("se_up", "conv5")


def torchvision_tensors(module: Any, shapes: Shapes) -> dict[Path, StoredTensor]:
    """torchvision's spelling, which VGGFace2-pytorch and insightface share: layer1.0.downsample.0.weight."""
    return {p: torch_leaf(torchvision_name(p[1:-1]), p[-1], len(s)) for p, s in shapes.items()}


SPECS = (NetworkSpec("resnet50", ResNet, plan, (NameMap("torchvision_resnet", torchvision_tensors),), IMAGENET),)

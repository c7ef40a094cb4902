"""Hopenet (Ruiz et al. 2018), as natanielruiz/deep-head-pose publishes it."""

from dataclasses import replace
from typing import Any

from smoothswap_jax.models.judges.hopenet import ANGLES, Hopenet
from smoothswap_jax.weights.inspect import Known, State, shape_of, stages_of
from smoothswap_jax.weights.networks.torchvision_resnet import torchvision_name
from smoothswap_jax.weights.preprocessing import IMAGENET
from smoothswap_jax.weights.spec import NameMap, NetworkSpec, Plan
from smoothswap_jax.weights.stored_tensor import Path, Shapes, StoredTensor, torch_leaf


def plan(tensors: State, known: Known) -> Plan:
    """deep-head-pose's hopenet_*.pkl, without `fc_finetune`, which only training used."""
    tensors = {name: value for name, value in tensors.items() if not name.startswith("fc_finetune.")}
    bins = shape_of(tensors, f"fc_{ANGLES[0]}.weight", 2)[0]
    module = Hopenet(stages_of(tensors), shape_of(tensors, "conv1.weight", 4)[0], bins)
    return Plan(module, "hopenet", tensors)


def _tensors(module: Any, shapes: Shapes) -> dict[Path, StoredTensor]:
    """torchvision's names beside fc_yaw, fc_pitch and fc_roll: the backbone is not a module of its own there."""
    layers = {p: p[2:-1] if p[1] == "backbone" else p[1:-1] for p in shapes}
    return {p: torch_leaf(torchvision_name(layers[p]), p[-1], len(s)) for p, s in shapes.items()}


SPECS = (
    NetworkSpec(
        "hopenet",
        Hopenet,
        plan,
        (NameMap("hopenet", _tensors),),
        replace(IMAGENET, crop="hopenet"),
        role="pose",
        licence="Apache-2.0",
    ),
)

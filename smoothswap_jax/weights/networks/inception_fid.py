"""The Inception-v3 of the Frechet Inception distance, as mseitzer/pytorch-fid publishes it."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from smoothswap_jax.models.judges.inception_fid import InceptionFID
from smoothswap_jax.weights.inspect import Known, State, shape_of
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.spec import NameMap, NetworkSpec, Plan
from smoothswap_jax.weights.stored_tensor import Path, Shapes, StoredTensor, torch_leaf


def plan(tensors: State, known: Known) -> Plan:
    """pytorch-fid's pt_inception-2015-12-05-*.pth."""
    width = shape_of(tensors, "Conv2d_1a_3x3.conv.weight", 4)[0]
    module = InceptionFID(width, shape_of(tensors, "fc.weight", 2)[0])
    return Plan(module, "inception_fid", tensors)


def _tensors(module: Any, shapes: Shapes) -> dict[Path, StoredTensor]:
    return {p: torch_leaf(".".join(p[1:-1]), p[-1], len(s)) for p, s in shapes.items()}


def _pool3(module: nn.Module, variables: Mapping[str, Any], x: Float[Array, "n h w 3"]) -> Float[Array, "n d"]:
    """The pooled features, without the logits."""
    features, _ = module.apply(variables, x)
    return features


SPECS = (
    NetworkSpec(
        "inception-fid",
        InceptionFID,
        plan,
        (NameMap("inception_fid", _tensors),),
        Preprocessing((299, 299), "whole", interpolation="bilinear"),
        role="distribution",
        licence="Apache-2.0",
        features=_pool3,
    ),
)

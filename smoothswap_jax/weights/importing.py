"""From a checkpoint's tensors to a network: its module, its variables and its preprocessing.

Widths, depths and heads are read from names and shapes. `known` is for what these do not show; which keywords a kind
takes is in the docstring of its `plan` in `networks/`, and in `smoothswap import --help`.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from smoothswap_jax.weights.inspect import Known, Shape, image_shape
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.registry import find_spec
from smoothswap_jax.weights.spec import Network, NetworkSpec, Plan
from smoothswap_jax.weights.stored_tensor import WeightMismatch
from smoothswap_jax.weights.variables import to_variables


def import_network(kind: str, state: Mapping[str, Any], **known: Any) -> Network:
    """The network that a checkpoint holds.

    kind: one of `registry.kinds()`. state: what its file holds, names to arrays (numpy or CPU torch tensors), flat or
    nested as the training code saved it, with or without DataParallel's prefixes. known: what names and shapes do not
    show. Raises ValueError for an unknown kind (the message lists them) and for missing or useless keywords, and
    WeightMismatch, with the names, for tensors that do not fit exactly.
    """
    spec = find_spec(kind)
    if not isinstance(state, Mapping):
        raise WeightMismatch(
            f"not a checkpoint of kind {kind}: found a {type(state).__name__}, wanted names with tensors"
        )
    keywords = Known(kind, known)
    try:
        plan = spec.plan(state, keywords)
        how, inputs = _preprocessing_and_inputs(spec, plan)
    except WeightMismatch as error:
        raise WeightMismatch(f"not a checkpoint of kind {kind}: {error}") from error
    except (ArithmeticError, LookupError, TypeError) as error:
        raise _no_network(kind, error) from error
    keywords.finish()
    shapes = [jax.ShapeDtypeStruct(shape, np.float32) for shape in inputs]
    try:
        variables = to_variables(plan.names, plan.state, plan.module, *shapes)
    except (ArithmeticError, LookupError, TypeError) as error:  # widths and sizes that no layer can have
        raise _no_network(kind, error) from error
    return Network(kind, plan.module, variables, how, inputs, plan.fresh)


def _preprocessing_and_inputs(spec: NetworkSpec, plan: Plan) -> tuple[Preprocessing, tuple[Shape, ...]]:
    """Those of the plan, and what they are by default."""
    how = plan.preprocessing or spec.preprocessing
    if how is None:
        raise ValueError(f"{spec.kind}: neither its spec nor its plan gives a preprocessing")
    if plan.inputs:
        return how, plan.inputs
    if how.size is None:
        raise ValueError(f"{spec.kind}: takes images of any size, so its plan must give the shapes of its inputs")
    return how, (image_shape(how.size),)


def _no_network(kind: str, error: Exception) -> WeightMismatch:
    return WeightMismatch(f"not a checkpoint of kind {kind}: no network has tensors of these shapes ({error})")


def from_torch(kind: str, state_dict: Mapping[str, Any], **known: Any) -> tuple[nn.Module, dict[str, Any]]:
    """`import_network` in short: the module and its variables, for `module.apply(variables, x)`."""
    network = import_network(kind, state_dict, **known)
    return network.module, network.variables

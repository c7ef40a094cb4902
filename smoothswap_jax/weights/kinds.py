"""Published networks by kind: from a checkpoint's tensors to a module, its variables and its preprocessing.

`from_torch(kind, state, **known)` is the short form, `import_network` the one that tells everything. Widths, depths
and heads are read from names and shapes; `known` is for what these cannot tell (`smoothswap import --help` and the
docstrings in `judge_kinds.py` and `training_kinds.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from smoothswap_jax.weights import judge_kinds, training_kinds
from smoothswap_jax.weights.inspect import Known, Plan, Shape
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.source import WeightMismatch
from smoothswap_jax.weights.torch_names import to_variables


@dataclass(frozen=True)
class Network:
    """An imported network.

    variables: float32 numpy arrays for `module.apply`. inputs: the shapes of its inputs, batch 1. fresh: leaves
    that are not the checkpoint's but newly initialised, as 'params/embed0/kernel'.
    """

    kind: str
    module: nn.Module
    variables: dict[str, Any]
    preprocessing: Preprocessing
    inputs: tuple[Shape, ...]
    fresh: tuple[str, ...] = ()


KINDS: dict[str, Callable[[Mapping[str, Any], Known], Plan]] = {
    "resnet50": judge_kinds.resnet50,
    "vggface2-resnet50": partial(judge_kinds.vggface2, se=False),
    "vggface2-senet50": partial(judge_kinds.vggface2, se=True),
    "iresnet50": partial(judge_kinds.iresnet, depths=(3, 4, 14, 3)),
    "iresnet100": partial(judge_kinds.iresnet, depths=(3, 13, 30, 3)),
    "cosface-sphere20": judge_kinds.sphere20,
    "hopenet": judge_kinds.hopenet,
    "deep3d": judge_kinds.deep3d,
    "inception-fid": judge_kinds.inception,
    "lpips": judge_kinds.lpips,
    "sface": judge_kinds.sface,
    "ncsnpp": training_kinds.ncsnpp,
    "stylegan2-discriminator": training_kinds.stylegan2,
    "embedder": training_kinds.embedder,
    "generator": training_kinds.generator,
    "discriminator": training_kinds.discriminator,
}


def check_kind(kind: str) -> None:
    """Raises ValueError for an unknown kind; the message lists the known ones."""
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, wanted one of {', '.join(KINDS)}")


def import_network(kind: str, state: Mapping[str, Any], **known: Any) -> Network:
    """The network that a checkpoint holds.

    kind: a key of KINDS. state: what its file holds, names to arrays (numpy or CPU torch tensors), flat or nested as
    the training code saved it; DataParallel's prefixes may be there. known: what names and shapes cannot tell; which
    ones a kind takes is in the docstring of its function. Raises ValueError for an unknown kind (the message lists
    them), for missing or useless keywords, and WeightMismatch, with the names, for tensors that do not fit exactly.
    """
    check_kind(kind)
    if not isinstance(state, Mapping):
        raise WeightMismatch(f"this is no {kind} checkpoint: found a {type(state).__name__}, wanted names with tensors")
    words = Known(kind, known)
    try:
        plan = KINDS[kind](state, words)
    except WeightMismatch as error:
        raise WeightMismatch(f"this is no {kind} checkpoint: {error}") from error
    except (ArithmeticError, LookupError, TypeError) as error:
        raise WeightMismatch(f"this is no {kind} checkpoint: its shapes make no network ({error})") from error
    words.finish()
    inputs = [jax.ShapeDtypeStruct(shape, np.float32) for shape in plan.inputs]
    try:
        variables = to_variables(plan.names, plan.state, plan.module, *inputs)
    except (ArithmeticError, LookupError, TypeError) as error:  # widths and sizes that no layer can have
        raise WeightMismatch(f"this is no {kind} checkpoint: its shapes make no network ({error})") from error
    return Network(kind, plan.module, variables, plan.preprocessing, plan.inputs, plan.fresh)


def from_torch(kind: str, state_dict: Mapping[str, Any], **known: Any) -> tuple[nn.Module, dict[str, Any]]:
    """`import_network` without the rest: the module and its variables, for `module.apply(variables, x)`."""
    network = import_network(kind, state_dict, **known)
    return network.module, network.variables

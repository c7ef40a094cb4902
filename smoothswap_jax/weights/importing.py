"""From a checkpoint's tensors to a network: its module, its variables and its preprocessing.

Widths, depths and heads are read from names and shapes. `known` is for what these do not show; which keywords a kind
takes is in the docstring of its `plan` in `networks/`, and in `smoothswap import --help`. Where the network lies in
the checkpoint is found by trying (`readings.py`), or chosen with the keywords `group` and `prefix`.
"""

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from smoothswap_jax.weights.inspect import Known, Shape, State, image_shape, printable, some_names
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.readings import MAX_READINGS, Reading, groups_shown, known_reading, readings
from smoothswap_jax.weights.registry import find_spec
from smoothswap_jax.weights.spec import Network, NetworkSpec, Plan
from smoothswap_jax.weights.stored_tensor import Absent, Path, StoredTensor, WeightMismatch
from smoothswap_jax.weights.variables import Misfit, fill, fit

_MAX_FITS = 8


@dataclass(frozen=True)
class _Fit:
    """A reading of a checkpoint that fits to the last tensor. reading: None for a published layout's own group."""

    group: str
    plan: Plan
    how: Preprocessing
    inputs: tuple[Shape, ...]
    stored: dict[Path, StoredTensor]
    reading: Reading | None = None


def import_network(kind: str, state: Mapping[str, Any], **known: Any) -> Network:
    """The network that a checkpoint holds.

    kind: one of `registry.kinds()`. state: what its file holds, names to arrays (numpy or CPU torch tensors), flat or
    nested as the training code saved it. known: what names and shapes do not show; `group` and `prefix` choose one of
    several networks, such as the trained and the averaged weights. Raises ValueError for an unknown kind (the message
    lists them) and for missing or useless keywords, and WeightMismatch, with the names, for tensors that do not fit
    exactly or are not finite, and where several networks of the checkpoint fit.
    """
    spec = find_spec(kind)
    if not isinstance(state, Mapping):
        raise WeightMismatch(
            f"not a checkpoint of kind {kind}: found a {type(state).__name__}, wanted names with tensors"
        )
    group, prefix = (_text(kind, name, known.pop(name, None)) for name in ("group", "prefix"))
    prefix = f"{prefix}." if prefix and not prefix.endswith((".", "/")) else prefix
    keywords = Known(kind, known)
    try:
        chosen = _published(spec, state, keywords) if group is None and prefix is None else None
        chosen = chosen or _only_fit(spec, state, keywords, group, prefix)
    except WeightMismatch as error:
        raise WeightMismatch(f"not a checkpoint of kind {kind}: {error}") from error
    variables = fill(chosen.plan.state, chosen.stored)
    return Network(
        kind, chosen.plan.module, variables, chosen.how, chosen.inputs, chosen.plan.fresh, _reading_notes(chosen)
    )


@functools.cache
def packaged_network(kind: str, file: str | os.PathLike[str]) -> Network:
    """The network in a weight file that comes with a package: read once in a process, for all who use it. Raises as
    `read_checkpoint` and `import_network` do."""
    from smoothswap_jax.weights.readers.checkpoint import read_checkpoint

    tree: Any = read_checkpoint(file)  # import_network refuses what is not a dict
    return import_network(kind, tree)


def from_torch(kind: str, state_dict: Mapping[str, Any], **known: Any) -> tuple[nn.Module, dict[str, Any]]:
    """`import_network` in short: the module and its variables, for `module.apply(variables, x)`."""
    network = import_network(kind, state_dict, **known)
    return network.module, network.variables


def _text(kind: str, name: str, value: Any) -> str | None:
    if not isinstance(value, str | None):
        raise ValueError(f"{kind}: {name} is {value!r}, wanted a name")
    return value


# ------------------------------------------------------------------------------------------------- choosing one
def _published(spec: NetworkSpec, state: Mapping[str, Any], keywords: Known) -> _Fit | None:
    """The network of a checkpoint in the layout that the kind's authors publish, where the kind has one of its own."""
    found = spec.published(state, keywords) if spec.published else None
    if found is None:
        return None
    group, tensors = found
    return _attempt(spec, group, tensors, keywords)


def _only_fit(
    spec: NetworkSpec, state: Mapping[str, Any], keywords: Known, group: str | None, prefix: str | None
) -> _Fit:
    """The only reading that fits. Raises WeightMismatch where there is none, or more than one."""
    candidates = readings(state, group, prefix)
    if not candidates:
        wanted = "tensors" if group is None and prefix is None else _chosen(group, prefix)
        raise WeightMismatch(f"it has no {wanted}; groups and their numbers of tensors: {groups_shown(state)}")
    fits: list[_Fit] = []
    failures: list[tuple[Reading, WeightMismatch]] = []
    for reading in candidates:
        if any(fit.reading.covers(reading) for fit in fits if fit.reading):
            continue
        try:
            fits.append(_attempt(spec, reading.group, reading.tensors(), keywords.anew(), reading))
        except WeightMismatch as error:
            failures.append((reading, error))
        if len(fits) == _MAX_FITS:
            break
    if not fits:
        raise WeightMismatch(_nearest(state, failures)) from None
    if len(fits) > 1:
        offers = [known_reading(fit.group, fit.reading.prefix) for fit in fits if fit.reading]
        raise WeightMismatch(f"{len(fits)} networks of it fit; choose one with {' or '.join(offers)}")
    return fits[0]


def _attempt(spec: NetworkSpec, group: str, tensors: State, keywords: Known, reading: Reading | None = None) -> _Fit:
    """Raises WeightMismatch where these tensors are not the network, and ValueError for the caller's keywords."""
    try:
        plan = spec.plan(tensors, keywords)
        how, inputs = _preprocessing_and_inputs(spec, plan)
        shapes = [jax.ShapeDtypeStruct(shape, np.float32) for shape in inputs]
        stored = fit(plan.names, plan.state, plan.module, *shapes)
    except (ArithmeticError, LookupError, TypeError) as error:  # widths and sizes that no layer can have
        raise WeightMismatch(f"no network has tensors of these shapes ({error})") from error
    keywords.finish()
    return _Fit(group, plan, how, inputs, stored, reading)


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


# ------------------------------------------------------------------------------------------------ telling of it
def _reading_notes(chosen: _Fit) -> tuple[str, ...]:
    """What was read and what was left aside, unless the file is the network and nothing else."""
    prefix = chosen.reading.prefix if chosen.reading else ""
    if not chosen.group and not prefix:
        return ()
    notes = [f"read {_chosen(chosen.group or None, prefix or None)}"]
    if chosen.reading and (outside := chosen.reading.outside()):
        notes.append(f"left aside, without this prefix: {some_names(outside)}")
    return tuple(notes)


def _chosen(group: str | None, prefix: str | None) -> str:
    return ", ".join(
        f"{name} '{printable(value)}'" for name, value in (("group", group), ("prefix", prefix)) if value is not None
    )


def _nearest(state: Mapping[str, Any], failures: Sequence[tuple[Reading, WeightMismatch]]) -> str:
    """Why the reading that comes nearest to a network is none, and which others there are."""

    def distance(failure: tuple[Reading, WeightMismatch]) -> tuple[int, int, int]:
        reading, error = failure
        if isinstance(error, Misfit):
            return 0, error.count, 0
        return (2 if isinstance(error, Absent) else 1), -reading.size * (not reading.nested), len(reading.prefix)

    reading, error = min(failures, key=distance)
    place = _chosen(reading.group or None, reading.prefix or None)
    text = f"{error} (in {place}, which comes nearest)" if place else str(error)
    if reading.group:
        text += f"; groups and their numbers of tensors: {groups_shown(state)}"
        text += ", to be chosen with --known group=... prefix=..."
    if len(failures) >= MAX_READINGS:
        text += f"; only the {MAX_READINGS} largest of its groups and prefixes were tried"
    return text

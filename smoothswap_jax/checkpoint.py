"""Checkpoints: the only importer of orbax. A run directory holds `checkpoints/<step>/{state, meta}`.

`state` is a pytree of arrays, `meta` a JSON object that carries the config, so that a checkpoint can be used without
the command that made it. Orbax writes under a temporary name and renames, so a killed save leaves the previous step.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

PyTree = Any
FOLDER = "checkpoints"


class CheckpointError(ValueError):
    """A checkpoint is missing, or is not what the caller asked for."""


def open_manager(run: str | os.PathLike[str], keep: int | None = None) -> ocp.CheckpointManager:
    """A manager of the run's checkpoints that saves asynchronously and keeps the newest `keep` (None: all)."""
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, create=True, cleanup_tmp_directories=True, enable_async_checkpointing=True
    )
    return ocp.CheckpointManager(Path(run).resolve() / FOLDER, options=options)


def save(manager: ocp.CheckpointManager, step: int, state: PyTree, meta: dict[str, Any]) -> None:
    """Starts saving `state` as `step`; arrays are copied before the call returns. Does nothing if it exists."""
    if step in manager.all_steps():
        return
    items = ocp.args.Composite(state=ocp.args.StandardSave(as_dict(state)), meta=ocp.args.JsonSave(meta))
    manager.save(step, args=items, force=True)


def restore(manager: ocp.CheckpointManager, step: int, abstract: PyTree) -> PyTree:
    """The state saved as `step`, placed as the ShapeDtypeStructs in `abstract` say, in their container types.

    Raises:
      CheckpointError: if the saved tree does not fit, naming the directory.
    """
    try:
        args = ocp.args.Composite(state=ocp.args.StandardRestore(as_dict(abstract)))
        found = manager.restore(step, args=args)["state"]
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"{manager.directory}/{step} does not fit this config's networks: {error}") from error
    return found if isinstance(abstract, dict) else type(abstract)(**found)


def as_dict(state: PyTree) -> dict[str, Any]:
    """The top-level fields of a state, so that parts can be restored by name without its class."""
    if not dataclasses.is_dataclass(state):
        return state
    return {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}


def load_parts(run: str | os.PathLike[str], names: tuple[str, ...], step: int | None = None) -> tuple[dict, dict, int]:
    """The named top-level parts of a checkpoint as numpy arrays, with its meta and step: nothing else is read.

    Args:
      run: a directory that holds `checkpoints/`.
      step: which checkpoint, the newest by default.

    Raises:
      CheckpointError: if there is no such checkpoint, or it lacks one of the parts.
    """
    root = Path(run).resolve()
    if not (root / FOLDER).is_dir():
        raise CheckpointError(f"{root}: no checkpoint here (want a run directory that holds {FOLDER}/)")
    with ocp.CheckpointManager(root / FOLDER, item_names=("state", "meta")) as manager:
        steps = manager.all_steps()
        step = max(steps, default=None) if step is None else step
        if step is None or step not in steps:
            raise CheckpointError(f"{root}/{FOLDER}: no finished checkpoint {step}; found {sorted(steps)}")
        meta = manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]
    if not names:
        return {}, meta, step
    path = root / FOLDER / str(step) / "state"
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        saved = reader.metadata(path).item_metadata.tree
        missing = [name for name in names if name not in saved]
        if missing:
            raise CheckpointError(f"{path} lacks {missing}; it holds {sorted(saved)}")
        wanted = {name: saved[name] for name in names}
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        arguments = ocp.args.PyTreeRestore(item=wanted, restore_args=as_numpy, partial_restore=True)
        parts = reader.restore(path, arguments)
    return parts, meta, step

"""Checkpoints: the only importer of orbax. A run directory holds `checkpoints/<step>/{state, meta}`.

`state` is a pytree of arrays, `meta` a JSON object that carries the config, so that a checkpoint can be used without
the command that made it. Orbax writes under a temporary name and renames, so a killed save leaves the previous step.
Before a step gets its final name, the checksums of its files are written to `checksums/<step>.json`. A step whose files
no longer match them is moved to `broken/`, and the step before is used.
"""

import contextlib
import dataclasses
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict
from orbax.checkpoint import checkpoint_managers

from smoothswap_jax.config.errors import ConfigError, shown, shown_line
from smoothswap_jax.config.renamed import with_current_names
from smoothswap_jax.runtime import checksums, sharding
from smoothswap_jax.runtime.json_files import JsonError, read_json, read_json_object

log = logging.getLogger(__name__)
PyTree = Any
FOLDER, CHECKSUMS, BROKEN = "checkpoints", "checksums", "broken"
META = "meta/metadata"
Wanted = Callable[[dict[str, Any], int, Path], PyTree]


class CheckpointError(ValueError):
    """A checkpoint is missing, broken, or not what the caller asked for."""


def open_manager(
    run: str | os.PathLike[str], max_to_keep: int | None = None, keep_every: int = 0, best: str = ""
) -> ocp.CheckpointManager:
    """A manager of the run's checkpoints that saves asynchronously.

    It keeps the newest `max_to_keep` (None: all), those of steps that `keep_every` divides (0: none), and the one with
    the best metric: `best` is its name, with a minus before it where lower is better ('': none). Raises
    CheckpointError for `max_to_keep` below 1.
    """
    if max_to_keep is not None and max_to_keep < 1:
        raise CheckpointError(f"config.max_to_keep is {max_to_keep}; wanted at least 1, the newest checkpoint")
    policies: list[Any] = [checkpoint_managers.LatestN(max_to_keep)]
    if keep_every:
        policies.append(checkpoint_managers.EveryNSteps(keep_every))
    worth = None
    if best:
        sign, name = (-1.0, best[1:]) if best.startswith("-") else (1.0, best)
        worth = lambda metrics: sign * metrics.get(name, -sign * np.inf)
        policies.append(checkpoint_managers.BestN(get_metric_fn=worth, n=1, keep_checkpoints_without_metrics=False))
    folder = Path(run).resolve() / FOLDER
    options = ocp.CheckpointManagerOptions(
        create=True,
        cleanup_tmp_directories=True,
        enable_async_checkpointing=True,
        preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
        best_fn=worth,  # without it Orbax does not write metrics, and the best is forgotten at the next start
        best_mode="max",
        async_options=ocp.AsyncOptions(post_finalization_callback=lambda: _seal_coming(folder)),
    )
    return ocp.CheckpointManager(folder, options=options)


def save(
    manager: ocp.CheckpointManager,
    step: int,
    state: PyTree,
    meta: dict[str, Any],
    metrics: Mapping[str, float] | None = None,
) -> None:
    """Starts saving `state` as `step`; arrays are copied before the call returns. Does nothing if it exists.

    metrics: of the last evaluation; the best step is kept by one of them. Raises CheckpointError when this save or the
    previous one fails, for instance on a full disk.
    """
    if sharding.broadcast_from_main(np.bool_(step in manager.all_steps())):
        return
    items = ocp.args.Composite(state=ocp.args.StandardSave(as_dict(state)), meta=ocp.args.JsonSave(meta))
    with _named_failure(manager, step):
        manager.save(step, args=items, metrics=dict(metrics or {}), force=True)


def finish(manager: ocp.CheckpointManager) -> None:
    """Waits until all saves are on disk; raises as `save` does."""
    with _named_failure(manager, manager.latest_step()):
        manager.wait_until_finished()


def close(manager: ocp.CheckpointManager) -> None:
    """Waits for all saves and ends the manager's threads; raises as `save` does."""
    with _named_failure(manager, manager.latest_step()):
        manager.close()


@contextlib.contextmanager
def _named_failure(manager: ocp.CheckpointManager, step: int | None) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{manager.directory}: a checkpoint up to step {step} could not be written ({error}); those before are "
            "intact"
        ) from error


def _seal_coming(folder: Path) -> None:
    """Records checksums of steps that Orbax has written completely and is about to rename; removes records of deleted
    steps."""
    if not sharding.is_main():
        return
    records, steps = folder.parent / CHECKSUMS, set()
    for path in folder.iterdir():
        step, _, rest = path.name.partition(".")
        if step.isdigit():
            steps.add(step)
            if rest:  # its temporary name
                checksums.seal(path, records / f"{step}.json")
    for record in records.glob("*.json"):
        if record.stem not in steps:
            record.unlink()


def newest_intact(manager: ocp.CheckpointManager) -> int | None:
    """The newest step whose files match their checksums, None without checkpoints. Broken steps go to `broken/`.

    Raises CheckpointError if there are checkpoints and all of them are broken.
    """
    folder, found = Path(manager.directory), -1
    if sharding.is_main():
        records, broken = folder.parent / CHECKSUMS, folder.parent / BROKEN
        for step in sorted(manager.all_steps(), reverse=True):
            fault = _fault(folder / str(step), records, step)
            if not fault:
                found = step
                break
            broken.mkdir(exist_ok=True)
            aside = next(p for p in (broken / f"{step}.{i}" for i in itertools.count()) if not p.exists())
            (folder / str(step)).rename(aside)
            log.error("checkpoint %d is broken (%s); it is now %s, and the one before is used", step, fault, aside)
            found = -2
    found = int(sharding.broadcast_from_main(np.int32(found)))
    manager.reload()
    if found == -2:
        raise CheckpointError(
            f"{folder}: all checkpoints are broken, and now in {folder.parent / BROKEN}; the same command would start "
            "from scratch"
        )
    return None if found < 0 else found


def _fault(step_folder: Path, records: Path, step: int) -> str:
    record = records / f"{step}.json"
    if record.exists():
        return checksums.fault(step_folder, record)
    # Runs that were started before there were checksums have none at all.
    return "it has no checksums" if any(records.glob("*.json")) else ""


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


def read_meta(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    """The JSON object that was saved with `step`, its config under today's field names. Raises CheckpointError."""
    return _meta(Path(manager.directory) / str(step))


def _meta(step_folder: Path) -> dict[str, Any]:
    file = step_folder / META
    try:
        meta = read_json_object(file)
    except JsonError as error:
        raise CheckpointError(str(error)) from error
    if "config" not in meta:
        return meta
    if not isinstance(meta["config"], Mapping):
        raise CheckpointError(f"{file}: config is {shown(meta['config'])}, wanted a group of fields")
    return meta | {"config": with_current_names(meta["config"])}


def as_dict(state: PyTree) -> dict[str, Any]:
    """The top-level fields of a state, so that parts can be restored by name without its class."""
    if not dataclasses.is_dataclass(state):
        return state
    return {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}


def load_parts(
    run: str | os.PathLike[str], names: tuple[str, ...], step: int | None = None, wanted: Wanted | None = None
) -> tuple[dict, dict, int]:
    """The named top-level parts of a checkpoint as numpy arrays, with its meta and step: nothing else is read.

    Args:
      run: a directory that holds `checkpoints/`. It may be somebody else's.
      step: which checkpoint, the newest by default.
      wanted: the shapes to read of each part, from the meta, the number of arrays that are saved, and the file that
        holds the meta. They are compared with those that are saved before memory is taken.

    Raises:
      CheckpointError: if there is no such checkpoint, its files are not what was written, it lacks one of the parts, or
        arrays have other shapes. Whatever `wanted` raises.
    """
    root = Path(run).resolve()
    if not (root / FOLDER).is_dir():
        raise CheckpointError(f"{root}: no checkpoint here (want a run directory that holds {FOLDER}/)")
    with _readable(root / FOLDER), ocp.CheckpointManager(root / FOLDER, item_names=("state", "meta")) as manager:
        steps = manager.all_steps()
    step = max(steps, default=None) if step is None else step
    if step is None or step not in steps:
        raise CheckpointError(f"{root}/{FOLDER}: no finished checkpoint {step}; found {sorted(steps)}")
    folder = root / FOLDER / str(step)
    if names and (fault := _fault(folder, root / CHECKSUMS, step)):
        others = [known for known in sorted(steps) if known != step]
        raise CheckpointError(f"{root}: checkpoint {step} is broken ({fault}); others here: {others}")
    meta = _meta(folder)
    return _parts(folder, names, meta, wanted) if names else {}, meta, step


def _parts(folder: Path, names: tuple[str, ...], meta: dict[str, Any], wanted: Wanted | None) -> dict[str, Any]:
    """The named parts of the state of a step, those arrays of them that `wanted` says, or all."""
    path = folder / "state"
    _check_notes(folder)
    with _readable(path), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        notes = reader.metadata(path).item_metadata
        if notes is None:
            raise CheckpointError(f"{path}: what it says of its arrays cannot be read: damaged or changed")
        saved = dict(notes.tree)
        if missing := [name for name in names if name not in saved]:
            raise CheckpointError(f"{path} lacks {missing}; it holds {sorted(map(str, saved))}")
        chosen = {name: saved[name] for name in names}
        if wanted is not None:
            arrays = len(jax.tree.leaves(saved))
            chosen = _fitting(path, chosen, wanted(meta, arrays, folder / META))
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), chosen)
        arguments = ocp.args.PyTreeRestore(item=chosen, restore_args=as_numpy, partial_restore=True)
        return reader.restore(path, arguments)


def _check_notes(folder: Path) -> None:
    """Reads the JSON that Orbax keeps beside arrays, within limits that Orbax does not have."""
    notes = ("_CHECKPOINT_METADATA", "state/_METADATA", "state/_sharding", "state/array_metadatas/*")
    try:
        for file in (file for note in notes for file in folder.glob(note)):
            read_json(file)
    except JsonError as error:
        raise CheckpointError(str(error)) from error


def _fitting(path: Path, saved: dict[str, Any], wanted: PyTree) -> dict[str, Any]:
    """Those of the `saved` arrays that are wanted. Raises CheckpointError where one is missing or has another shape."""
    found, shapes = flatten_dict(saved), flatten_dict(wanted)
    for name, shape in shapes.items():
        if name not in found:
            raise CheckpointError(f"{path}: lacks {'/'.join(name)}, which its config wants")
        chunk = getattr(found[name].storage, "chunk_shape", None) or ()
        if any(part > size for part, size in zip(chunk, shape.shape, strict=False)):  # it is decoded as a whole
            raise CheckpointError(f"{path}: {'/'.join(name)} is stored in parts of {list(chunk)}, wanted smaller ones")
        if tuple(found[name].shape) != tuple(shape.shape) or not np.issubdtype(found[name].dtype, np.floating):
            raise CheckpointError(
                f"{path}: {'/'.join(name)} is {found[name].dtype} {list(found[name].shape)}, and its config wants "
                f"numbers of shape {list(shape.shape)}"
            )
    return unflatten_dict({name: found[name] for name in shapes}) | {name: {} for name in saved if not wanted[name]}


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Orbax raises whatever its parsers meet in a damaged folder."""
    try:
        yield
    except (CheckpointError, ConfigError):
        raise
    except Exception as error:
        raise CheckpointError(f"{path}: cannot be read ({type(error).__name__}: {shown_line(error)})") from error

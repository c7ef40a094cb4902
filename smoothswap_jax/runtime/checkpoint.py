"""Checkpoints: the only importer of orbax. A run directory holds `checkpoints/<step>/{state, meta}`.

`state` is a pytree of arrays, `meta` a JSON object that carries the config, so that a checkpoint can be used without
the command that made it. Orbax writes under a temporary name and renames, or ends with a file that says so where there
are no renames (gs://), so a killed save leaves the previous step. Before that, the checksums of its files are written
to `checksums/<step>.json`. A step whose files no longer match them is moved to `broken/`, and the step before is used.
"""

import contextlib
import dataclasses
import itertools
import logging
import os
import re
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict
from orbax.checkpoint import checkpoint_managers

from smoothswap_jax.config.errors import ConfigError, shown, shown_line
from smoothswap_jax.config.renamed import with_current_names
from smoothswap_jax.runtime import checksums, files, sharding
from smoothswap_jax.runtime.folders import is_finished_step
from smoothswap_jax.runtime.json_files import JsonError, read_json, read_json_object
from smoothswap_jax.runtime.paths import resolved, to_path

log = logging.getLogger(__name__)
PyTree = Any
FOLDER, CHECKSUMS, BROKEN = "checkpoints", "checksums", "broken"
FULL = re.compile("No space left|Disk quota exceeded")
LONGEST_REASON = 200
"""Characters of an error of Orbax; what happened is at its end."""
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
    folder = resolved(to_path(run)) / FOLDER
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
    _sizes[manager] = sum(leaf.nbytes for leaf in jax.tree.leaves(as_dict(state)))
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


_sizes: weakref.WeakKeyDictionary[ocp.CheckpointManager, int] = weakref.WeakKeyDictionary()
"""Bytes of the state that each manager saved last."""


@contextlib.contextmanager
def _named_failure(manager: ocp.CheckpointManager, step: int | None) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        folder = to_path(manager.directory)
        whole = max(steps_of(folder.parent), default=None)
        intact = "there is none before it" if whole is None else f"checkpoint {whole}, the one before, is intact"
        raise CheckpointError(
            f"{folder}: a checkpoint up to step {step} could not be written: {_reason(error, manager)}; {intact}, and "
            "the same command goes on from there"
        ) from error


def _reason(error: BaseException, manager: ocp.CheckpointManager) -> str:
    """Why a checkpoint was not written; Orbax's own text has a page of it."""
    text = " ".join(str(error).split())
    if FULL.search(text):
        free = files.in_words(shutil.disk_usage(manager.directory).free)
        needed = f", and it takes about {files.in_words(_sizes[manager])}" if manager in _sizes else ""
        return f"the disk or its quota is full ({free} are free{needed}); make room"
    return text if len(text) <= LONGEST_REASON else f"... {text[-LONGEST_REASON:]}"


def _seal_coming(folder: Path) -> None:
    """Records checksums of steps that Orbax has written completely and is about to rename; removes records of deleted
    steps."""
    if not sharding.is_main():
        return
    records, steps = folder.parent / CHECKSUMS, set()
    for path in folder.iterdir():
        step = path.name.partition(".")[0]
        if step.isdigit():
            steps.add(step)
            if not is_finished_step(path):
                checksums.seal(path, records / f"{step}.json")
    for record in records.glob("*.json"):
        if record.stem not in steps:
            record.unlink()


def steps_of(run: str | os.PathLike[str]) -> list[int]:
    """The steps that a run directory has checkpoints of, whole or broken, newest first."""
    found = (to_path(run) / FOLDER).glob("*")
    return sorted((int(path.name) for path in found if is_finished_step(path)), reverse=True)


class Found(NamedTuple):
    """What a run directory holds. step: the newest checkpoint whose files match their checksums, None where there is
    none. broken: the newer ones that do not, with what is wrong, newest first."""

    step: int | None
    broken: dict[int, str]


def find_intact(run: str | os.PathLike[str]) -> Found:
    """Looks for the newest intact checkpoint of a run, and changes nothing. All processes get the same answer; only the
    first knows what is wrong with the broken ones."""
    root, step, broken = resolved(to_path(run)), -1, {}
    if sharding.is_main():
        for found in steps_of(run):
            fault = _fault(root / FOLDER / str(found), root / CHECKSUMS, found)
            if not fault:
                step = found
                break
            broken[found] = fault
    step = int(sharding.broadcast_from_main(np.int32(step)))
    return Found(step if step >= 0 else None, broken)


def set_aside(manager: ocp.CheckpointManager, found: Found) -> None:
    """Moves the broken checkpoints to `broken/`. Raises CheckpointError if no other is left."""
    if not sharding.broadcast_from_main(np.bool_(found.broken)):
        return
    folder = to_path(manager.directory)
    aside = folder.parent / BROKEN
    if sharding.is_main():
        for step, fault in found.broken.items():
            aside.mkdir(exist_ok=True)
            place = next(p for p in (aside / f"{step}.{i}" for i in itertools.count()) if not p.exists())
            (folder / str(step)).rename(place)
            log.error("checkpoint %d is broken (%s); it is now %s, and the one before is used", step, fault, place)
    sharding.barrier("broken checkpoints are moved")
    manager.reload()
    if found.step is None:
        raise CheckpointError(
            f"{folder}: all checkpoints are broken, and now in {aside}; the same command would start from scratch"
        )


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
    return _meta(to_path(manager.directory) / str(step))


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
    root = resolved(to_path(run))
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
    handler = ocp.PyTreeCheckpointHandler()
    with _readable(path), ocp.Checkpointer(handler) as reader:
        # The reader itself would look in `state` for notes on the whole step, which lie above it, and warn.
        saved = dict(handler.metadata(path).tree)
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

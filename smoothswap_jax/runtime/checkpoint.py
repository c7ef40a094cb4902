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
import re
import shutil
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from smoothswap_jax.config.renamed import with_current_names
from smoothswap_jax.runtime import checksums, files, sharding

log = logging.getLogger(__name__)
PyTree = Any
FOLDER, CHECKSUMS, BROKEN = "checkpoints", "checksums", "broken"
FULL = re.compile("No space left|Disk quota exceeded")
LONGEST_REASON = 200
"""Characters of an error of Orbax; what happened is at its end."""


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
        folder = Path(manager.directory)
        whole = max((int(path.name) for path in folder.glob("*") if path.name.isdecimal()), default=None)
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
        step, _, rest = path.name.partition(".")
        if step.isdigit():
            steps.add(step)
            if rest:  # its temporary name
                checksums.seal(path, records / f"{step}.json")
    for record in records.glob("*.json"):
        if record.stem not in steps:
            record.unlink()


def steps_of(run: str | os.PathLike[str]) -> list[int]:
    """The steps that a run directory has checkpoints of, whole or broken, newest first."""
    return sorted((int(p.name) for p in (Path(run) / FOLDER).glob("*") if p.name.isdigit()), reverse=True)


class Found(NamedTuple):
    """What a run directory holds. step: the newest checkpoint whose files match their checksums, None where there is
    none. broken: the newer ones that do not, with what is wrong, newest first."""

    step: int | None
    broken: dict[int, str]


def find_intact(run: str | os.PathLike[str]) -> Found:
    """Looks for the newest intact checkpoint of a run, and changes nothing. All processes get the same answer; only the
    first knows what is wrong with the broken ones."""
    root, step, broken = Path(run).resolve(), -1, {}
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
    folder = Path(manager.directory)
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
    """The JSON object that was saved with `step`, its config under today's field names."""
    meta = manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]
    return meta | {"config": with_current_names(meta["config"])} if "config" in meta else meta


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
      CheckpointError: if there is no such checkpoint, its files are not what was written, or it lacks one of the parts.
    """
    root = Path(run).resolve()
    if not (root / FOLDER).is_dir():
        raise CheckpointError(f"{root}: no checkpoint here (want a run directory that holds {FOLDER}/)")
    with ocp.CheckpointManager(root / FOLDER, item_names=("state", "meta")) as manager:
        steps = manager.all_steps()
        step = max(steps, default=None) if step is None else step
        if step is None or step not in steps:
            raise CheckpointError(f"{root}/{FOLDER}: no finished checkpoint {step}; found {sorted(steps)}")
        if names and (fault := _fault(root / FOLDER / str(step), root / CHECKSUMS, step)):
            others = [known for known in sorted(steps) if known != step]
            raise CheckpointError(f"{root}: checkpoint {step} is broken ({fault}); others here: {others}")
        meta = read_meta(manager, step)
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

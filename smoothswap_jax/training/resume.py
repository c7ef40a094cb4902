"""Which changes of the config a run may be resumed with."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flax.traverse_util import flatten_dict

from smoothswap_jax.config.schema import STAGES
from smoothswap_jax.runtime import checkpoint, files, metric_log
from smoothswap_jax.runtime.json_files import JsonError, read_json
from smoothswap_jax.runtime.paths import in_bucket, resolved, to_path
from smoothswap_jax.runtime.user_folders import expanded
from smoothswap_jax.training.frozen_embedder import COPY, COPY_ALSO

FIXED = (
    "stage",
    "seed",
    "batch",
    "images_per_identity",
    "self_pair_fraction",
    "grad_accum_steps",
    "embedder",
    "generator",
    "discriminator",
    "data",
    "augment",
    "objective/transform",
    "objective/transform_samples",
    "objective/adversarial_steps",
    "objective/adversarial_radius",
)
"""Fields, and groups of them, that decide the model and the examples of each step: they must not change."""
KINDS = ("objective/kind", "optimizer/name", "generator_optimizer/name", "discriminator_optimizer/name")
"""Fields that decide which arrays a state has."""
FREE = (
    "embedder/checkpoint",
    "embedder/also",
    "embedder/imported",
    "data/feed",
    "data/dir",
    "generator/remat",
    "discriminator/remat",
)
"""Exceptions below FIXED: paths, and fields that change how a step is computed but not its result."""


class ResumeError(ValueError):
    """The run was started with another model or other data; the text lists the fields."""


class Before(NamedTuple):
    """What a run directory holds before a start: its checkpoints, and what was saved with the newest intact one."""

    found: checkpoint.Found
    meta: dict[str, Any] | None


FOLDERS = {"checkpoints", "checksums", "broken", COPY, COPY_ALSO, "images", "profile", "tensorboard"}
FILES = {"config.json", metric_log.NAME, metric_log.PARAMETERS, files.LOCK}
"""What a run writes into its directory."""


def check_place(workdir: Path, data_dir: str | None) -> None:
    """Raises ResumeError for a folder in which a run cannot lie, or should not: among faces, or other folders."""
    for one in filter(None, map(str.strip, (data_dir or "").split(","))):
        data = to_path(one) if in_bucket(one) else expanded(one)
        if resolved(workdir) == resolved(data):
            raise ResumeError(f"{workdir}: is config.data.dir, the faces to train on; wanted another --workdir")
    if workdir.exists() and not workdir.is_dir():
        raise ResumeError(f"{workdir}: is a file; wanted a new folder, or a run directory")
    there = {path.name: path.is_dir() for path in workdir.iterdir()} if workdir.is_dir() else {}
    for name in sorted(there.keys() & (FOLDERS | FILES)):
        if there[name] != (name in FOLDERS):
            found, wanted = ("file", "folder") if name in FOLDERS else ("folder", "file")
            raise ResumeError(f"{workdir / name}: is a {found}; wanted the run's {wanted}, or a new --workdir")
    others = sorted(name for name, folder in there.items() if folder and name not in FOLDERS and name[0] != ".")
    if others and not there.keys() & (FOLDERS | FILES):
        raise ResumeError(f"{workdir}: holds other folders ({others[0]}); wanted a run directory, or a new one")


def look(workdir: Path) -> Before:
    """Looks into a run directory, which need not be there yet; changes nothing."""
    found = checkpoint.find_intact(workdir)
    return Before(found, None if found.step is None else checkpoint.load_parts(workdir, (), found.step)[1])


def check_config(before: Before, config: Mapping[str, Any], workdir: Path) -> list[str]:
    """Raises ResumeError if the run in `workdir` is another one than `config` describes; returns the changes that are
    allowed, in words."""
    if before.meta is None:
        _check_folder(config["stage"], workdir)
        return []
    was, now = (flatten_dict(dict(c), keep_empty_nodes=True, sep="/") for c in (before.meta["config"], config))
    _check_stage(was.get("stage"), now["stage"], workdir)
    changed = [key for key in sorted({*was, *now}) if was.get(key) != now.get(key)]
    change = lambda key: f"config.{key.replace('/', '.')} was {was.get(key)!r} and is {now.get(key)!r}"
    below = lambda key: any(f"{key}/".startswith(f"{name}/") for name in FIXED)
    fixed = lambda key: (below(key) and key not in FREE) or key in KINDS
    _refuse([change(key) for key in changed if fixed(key)], workdir)
    return [change(key) for key in changed if key not in FREE]


def check_data(before: Before, data: Mapping[str, int], workdir: Path) -> None:
    """Raises ResumeError if the data have other sizes than those that the run was started with."""
    counted = (before.meta or {}).get("data", data)
    _refuse([f"the data have {data[k]} {k} and had {counted[k]}" for k in data if data[k] != counted[k]], workdir)


def _refuse(differences: list[str], workdir: Path) -> None:
    if differences:
        raise ResumeError(
            f"{workdir}: was started as another run: {'; '.join(differences)}; wanted the same, or a new --workdir"
        )


def _check_stage(was: Any, now: str, workdir: Path) -> None:
    if was != now:
        raise ResumeError(
            f"{workdir}: this folder holds a run of stage {was}; wanted one of stage {now}, or a new --workdir"
        )


def _check_folder(stage: str, workdir: Path) -> None:
    """A folder without checkpoints may still hold a run that has just begun, or an export: both have a config.json."""
    file = workdir / "config.json"
    if not file.exists() and not os.path.lexists(file):
        return
    try:
        config = read_json(file)
    except JsonError:
        config = None
    was = config.get("stage") if isinstance(config, dict) else None
    if was not in STAGES:
        raise ResumeError(f"{workdir}: holds a config.json that is no run's; wanted a run directory, or a new one")
    _check_stage(was, stage, workdir)

"""What a folder is, by the files in it: for errors that say what was found, and which folder was probably meant."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smoothswap_jax.runtime.files import fetched
from smoothswap_jax.runtime.json_files import read_json
from smoothswap_jax.runtime.paths import entries_of, in_bucket, to_path

SWAPPER, EMBEDDER = "a run of stage swapper", "a run of stage embedder"
EXPORT, NETWORK, GRAPH = "an export", "an imported network", "an imported graph"
PREPARED, EVALUATION, DEMO = "a prepared set", "an evaluation", "what `smoothswap demo` wrote"
COMMITTED = "commit_success.txt"
"""The last file that Orbax writes into a step in a bucket."""
MOST_FOLDERS = 200
"""That are looked at to find the one that was meant."""
DEFAULT, PHOTOGRAPHS = "default", "photographs"
PACKAGED = {name: Path(__file__).parents[1] / "inference" / name for name in (DEFAULT, PHOTOGRAPHS)}
"""Swappers that come with the package, exports as `smoothswap export` writes them, by the words for them wherever a run
or an export is taken; a folder of such a name is ./default. The first is for rendered people."""


def named(given: str | os.PathLike[str]) -> Path:
    """The folder that a user named, who may say a word of `PACKAGED`. Of an export or a network in a bucket it is a
    copy on the disk; runs are read where they are."""
    if given in PACKAGED:
        return PACKAGED[given]
    folder = to_path(given)
    return fetched(folder) if in_bucket(folder) and kind_of(folder) in (EXPORT, NETWORK, GRAPH) else folder


def kind_of(folder: str | os.PathLike[str]) -> str:
    """What a folder is, in words ('a run of stage swapper'); '' for one that this package did not write.

    Only small JSON files are read, and what cannot be read is no kind; never raises.
    """
    folder = to_path(folder)
    if _newest(folder):
        stage = _fields(training_config(folder)).get("stage")
        return {"swapper": SWAPPER, "embedder": EMBEDDER}.get(stage if isinstance(stage, str) else "", "")
    if _is_file(folder / "params.safetensors"):
        return NETWORK if "module" in _fields(_json(folder / "config.json")) else EXPORT
    if "graph" in _fields(_json(folder / "config.json")):
        return GRAPH
    if _is_file(folder / "manifest.json") and _is_file(folder / "dataset_info.json"):
        return PREPARED
    if _is_file(folder / "swapper" / "config.json") and _is_file(folder / "judge" / "config.json"):
        return DEMO
    return EVALUATION if _is_file(folder / "pairs.csv") else ""


def training_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The training config of a run with a checkpoint, or of an export, as it was written; {} where there is none."""
    folder = to_path(folder)
    if newest := _newest(folder):
        return _fields(_fields(_json(newest / "meta" / "metadata")).get("config"))
    return _fields(_fields(_json(folder / "config.json")).get("training"))


def mistake(folder: str | os.PathLike[str], *wanted: str) -> str:
    """What is wrong with a folder that should be one of the kinds `wanted`, with those nearby that would do; '' where
    it is one of them."""
    folder = to_path(folder)
    found = kind_of(folder)
    if found in wanted or (not found and _newest(folder)):  # a checkpoint that cannot be read is for others to name
        return ""
    what = f"is {found}" if found else _why_nothing(folder)
    return f"{folder}: {what}; wanted {' or '.join(wanted)}{_meant(folder, wanted)}"


def _why_nothing(folder: Path) -> str:
    if not folder.exists():
        return "found no such folder"
    if not folder.is_dir():
        return "is a file"
    if _is_file(folder / "config.json") and (folder / "checkpoints").is_dir():
        return "is a run that has no checkpoint yet"
    return "found neither checkpoints nor an export in it"


def _meant(folder: Path, wanted: Sequence[str]) -> str:
    """'; did you mean A or B?': folders in this one, else around and beside it, that are what was wanted.
    Buckets are not searched: each look is a request."""
    if in_bucket(folder):
        return ""
    inside = [path for path in _folders(folder) if kind_of(path) in wanted]
    beside = [path for path in _folders(folder.parent) if kind_of(path) in wanted] if not inside else []
    if beside and not folder.exists():
        beside = [folder.with_name(name) for name in difflib.get_close_matches(folder.name, [b.name for b in beside])]
    around = [folder.parent] if kind_of(folder.parent) in wanted else []
    near = [os.fspath(path) for path in (inside or around or beside)[:3]]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _folders(folder: Path, most: int | None = MOST_FOLDERS) -> list[Path]:
    try:
        entries = entries_of(folder) if in_bucket(folder) else os.scandir(folder)
        found = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except (OSError, ValueError):
        return []
    return [folder / name for name in sorted(found)[:most]]


def is_finished_step(folder: Path) -> bool:
    """Whether a folder of checkpoints holds one that Orbax has written completely: by its name, and in a bucket, where
    nothing is renamed, by the file that comes last."""
    return folder.name.isdecimal() and (not in_bucket(folder) or (folder / COMMITTED).exists())


def _newest(run: Path) -> Path | None:
    """The folder of a run's newest checkpoint."""
    steps = [path for path in _folders(run / "checkpoints", most=None) if is_finished_step(path)]
    return max(steps, key=lambda path: int(path.name), default=None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

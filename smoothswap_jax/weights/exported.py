"""The files of an export that are read without building its networks. What writes them: inference/export/.

Flax is imported only by what gives nested variables: the programs of an export need none of it.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.export  # is no part of `jax` before it is imported
import numpy as np

from smoothswap_jax.runtime.files import sha256_of
from smoothswap_jax.runtime.json_files import JsonError, read_json_object
from smoothswap_jax.runtime.paths import to_path
from smoothswap_jax.weights.readers.errors import shown

PARAMS, CONFIG, SUMS = "params.safetensors", "config.json", "SHA256SUMS"
EMBEDDER_RUN = "embedder_run"
"""The field of config.json with `config` and `step` of the run that trained the embedder."""
COLLECTIONS = ("params", "batch_stats")
LARGEST_STEP = 1 << 40
MAX_SUMS = 1 << 16
"""Bytes of SHA256SUMS."""


class ExportError(ValueError):
    """An exported file differs from the checkpoint, is damaged, or cannot be written."""


class ExportedProgram(NamedTuple):
    """function: (weights, *inputs) -> outputs, for any batch size. weights: those that it takes, by their flat names,
    numpy arrays as they are stored."""

    function: Any
    weights: dict[str, np.ndarray]


def is_export(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is an export rather than a run directory."""
    return (to_path(folder) / PARAMS).is_file()


def load_programs(folder: str | Path, names: tuple[str, ...]) -> tuple[dict[str, ExportedProgram], dict[str, Any]]:
    """The programs of an export by name ('embed', 'generate', 'swap'), and its config.json.

    They are StableHLO, which can call whatever is in this process: only for an export that is trusted as code is.
    Raises ExportError for a damaged one.
    """
    from safetensors.numpy import load_file

    folder = Path(folder)
    check_sums(folder)
    weights, found = load_file(folder / PARAMS), {}
    for name in names:
        exported = jax.export.deserialize(bytearray((folder / f"{name}.stablehlo").read_bytes()))
        (wanted, *_), _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
        found[name] = ExportedProgram(exported.call, {key: weights[key] for key in wanted})
    return found, read_json_object(folder / CONFIG)


def load_part(folder: str | Path, part: str) -> dict[str, Any]:
    """One network of an export, as float32 numpy arrays: {'params', and 'batch_stats' where it has them}.

    part: 'embedder', 'generator' or 'discriminator'. Raises ExportError for a damaged export, and for one without the
    part.
    """
    from smoothswap_jax.weights.network_folder import load_variables

    check_sums(folder)
    file = Path(folder) / PARAMS
    parts = load_variables(file)
    if part not in parts:
        raise ExportError(f"{file}: has no {part}, only {', '.join(sorted(parts))}; wanted an export with it")
    found = parts[part] if part == "embedder" else {"params": parts[part]}
    if not isinstance(found, dict) or not all(isinstance(found.get(name, {}), dict) for name in COLLECTIONS):
        raise ExportError(f"{file}: {part} is an array; wanted arrays below {part}/params/")
    if "params" not in found or not found.keys() <= set(COLLECTIONS):
        raise ExportError(f"{file}: {part} has {', '.join(sorted(found))}; wanted {' and '.join(COLLECTIONS)}")
    return found


def load_embedder(folder: str | Path) -> tuple[dict[str, Any], dict[str, Any], int, tuple[str, ...], Path]:
    """The embedder of an export: its arrays as `load_part` gives them, what its checkpoint remembered ('config': the
    training config of its run, which nothing has looked at yet), the step, digests of the embedders that it is but for
    rounding, and the file that says so.

    Raises ExportError as `load_part` does, and for an export that does not say how its embedder was trained.
    """
    file = Path(folder) / CONFIG
    arrays = load_part(folder, "embedder")
    try:
        config = read_json_object(file)
    except JsonError as error:
        raise ExportError(str(error)) from error
    described, run = config.get("embedder"), config.get(EMBEDDER_RUN)
    if isinstance(described, dict) and "imported" in described:
        raise ExportError(
            f"{file}: its embedder is a published network; wanted config.embedder.imported, and what `smoothswap "
            "import` wrote of it"
        )
    if not isinstance(run, dict) or not isinstance(run.get("config"), dict):
        raise ExportError(
            f"{file}: {EMBEDDER_RUN} is {shown(run)}: the export does not say how its embedder was trained, as older "
            "ones do not; wanted one that was exported anew, or the embedder's run directory"
        )
    step = run.get("step")
    if type(step) is not int or not 0 <= step <= LARGEST_STEP:
        raise ExportError(f"{file}: {EMBEDDER_RUN}.step is {shown(step)}, wanted a whole number from 0 up")
    return arrays, {"config": run["config"]}, step, known_digests(config, file), file


def known_digests(config: dict[str, Any], file: Path) -> tuple[str, ...]:
    """Those of an export's config.json by which its embedder was known before it was rounded. Raises ExportError."""
    first, more = config.get("embedder_sha256"), config.get("embedder_aliases", [])
    if not isinstance(first, str | None) or not isinstance(more, list) or not all(isinstance(one, str) for one in more):
        raise ExportError(f"{file}: embedder_sha256 and embedder_aliases are {shown([first, more])}, wanted SHA-256")
    return tuple(dict.fromkeys([*([first] if first else []), *more]))


def check_sums(folder: str | Path) -> None:
    """Compares all files that SHA256SUMS lists with it. Raises ExportError for the first that differs."""
    folder = Path(folder)
    if not (folder / SUMS).is_file():
        raise ExportError(f"{folder}: lacks {SUMS}, wanted a folder that `smoothswap export` wrote")
    if (folder / SUMS).stat().st_size > MAX_SUMS:
        raise ExportError(f"{folder / SUMS}: found more than {MAX_SUMS:,} bytes, wanted a line for each file")
    lines = (folder / SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines if line.strip())}
    for name in dict.fromkeys((CONFIG, PARAMS, *listed)):
        file = folder / name
        if not name or Path(name).name != name or not name.isprintable():
            raise ExportError(f"{folder / SUMS}: lists {shown(name)}, wanted names of files in this folder")
        if not file.is_file():
            raise ExportError(f"{folder}: lacks {name}, which {SUMS} lists; wanted the whole folder")
        if sha256_of(file) != listed.get(name):
            raise ExportError(f"{file}: its SHA-256 is not the one in {SUMS}: damaged or changed")

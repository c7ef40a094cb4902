"""The files of an export that are read without building its networks. What writes them: inference/export/."""

from pathlib import Path
from typing import Any

from smoothswap_jax.runtime.files import sha256_of
from smoothswap_jax.runtime.json_files import JsonError, read_json_object
from smoothswap_jax.weights.network_folder import load_variables
from smoothswap_jax.weights.readers.errors import shown

PARAMS, CONFIG, SUMS = "params.safetensors", "config.json", "SHA256SUMS"
EMBEDDER_RUN = "embedder_run"
"""The field of config.json with `config` and `step` of the run that trained the embedder."""
MAX_SUMS = 1 << 16
"""Bytes of SHA256SUMS."""


class ExportError(ValueError):
    """An exported file differs from the checkpoint, is damaged, or cannot be written."""


def load_part(folder: str | Path, part: str) -> dict[str, Any]:
    """One network of an export, as float32 numpy arrays: {'params', and 'batch_stats' where it has them}.

    part: 'embedder', 'generator' or 'discriminator'. Raises ExportError for a damaged export, and for one without the
    part.
    """
    check_sums(folder)
    file = Path(folder) / PARAMS
    parts = load_variables(file)
    if part not in parts:
        raise ExportError(f"{file}: has no {part}, only {', '.join(sorted(parts))}; wanted an export with it")
    return parts[part] if part == "embedder" else {"params": parts[part]}


def load_embedder(folder: str | Path) -> tuple[dict[str, Any], dict[str, Any], int, Path]:
    """The embedder of an export: its arrays as `load_part` gives them, what its checkpoint remembered ('config': the
    training config of its run, which nothing has looked at yet), the step, and the file that says so.

    Raises ExportError as `load_part` does, and for an export that does not say how its embedder was trained.
    """
    file = Path(folder) / CONFIG
    arrays = load_part(folder, "embedder")
    try:
        run = read_json_object(file).get(EMBEDDER_RUN)
    except JsonError as error:
        raise ExportError(str(error)) from error
    if not isinstance(run, dict) or not isinstance(run.get("config"), dict) or type(run.get("step")) is not int:
        raise ExportError(
            f"{file}: {EMBEDDER_RUN} is {shown(run)}: the export does not say how its embedder was trained, as older "
            "ones do not; wanted one that was exported anew, or the embedder's run directory"
        )
    return arrays, {"config": run["config"]}, run["step"], file


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

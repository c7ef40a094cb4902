"""Writes and reads exports: folders that hold a trained swapper for use without this package.

`swap.stablehlo`, `embed.stablehlo` and `generate.stablehlo` are the programs (`programs.make_programs`); older exports
lack the last, which nothing here reads. `params.safetensors` has float32 arrays by flat names: `generator/...` (the
averaged one), `embedder/params/...`, `embedder/batch_stats/...`, and `discriminator/...` if it was asked for.
`config.json` says how to build the networks and holds the training configuration; `SHA256SUMS` covers every other
file.
"""

import importlib.metadata
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from smoothswap_jax.config.renamed import with_current_names
from smoothswap_jax.inference.export import programs
from smoothswap_jax.inference.export.card import model_card
from smoothswap_jax.inference.export.programs import ExportError
from smoothswap_jax.inference.restore import RestoredSwapper, build_swapper, restore_swapper
from smoothswap_jax.runtime import metric_log
from smoothswap_jax.runtime.files import check_new_folder, check_place, new_folder, sha256_of
from smoothswap_jax.weights.network_folder import load_variables, save_variables

FORMAT = 1
PARAMS, CONFIG, CARD, SUMS = "params.safetensors", "config.json", "MODEL_CARD.md", "SHA256SUMS"
TOLERANCE = 1e-4
"""Largest difference of a reloaded program from the jitted function: XLA may fuse the two differently."""

Flat = dict[str, jax.Array]


def export_swapper(
    run: str | Path,
    out: str | Path,
    *,
    step: int | None = None,
    with_discriminator: bool = False,
    onnx: bool = False,
    evaluation: str | Path | None = None,
    overwrite: bool = False,
) -> dict[str, float]:
    """Exports a swapper's run directory to the folder `out`, and compares what was written with the checkpoint.

    Args:
      step: which checkpoint, the newest by default.
      with_discriminator: also save the discriminator's weights, to train on from.
      onnx: also write the programs as .onnx.
      evaluation: a JSON report to copy beside the model card, as evaluation.json.
      overwrite: whether `out` may be an export that is there already; it is replaced when the new one is whole.

    Returns each file's largest difference from the checkpoint. Needs one host and no accelerator; the checkpoint may
    come from any mesh.

    Raises:
      CheckpointError: no such checkpoint. OSError: `out` exists and is not empty, or cannot be written to.
      ExportError: what was written differs from the checkpoint; nothing is left behind.
    """
    check_new_folder(out, overwrite, (PARAMS, SUMS))
    report = None if evaluation is None else _json(Path(evaluation))
    restored = restore_swapper(run, step, discriminator=with_discriminator)
    # Once, because every call of a program would copy numpy arrays to the device again.
    restored = restored._replace(variables=jax.device_put(restored.variables, jax.devices("cpu")[0]))
    weights = flatten_dict(restored.variables, sep="/")
    config = _config(restored, weights)
    logged = _last_evaluation(Path(run), restored.step)
    size = sum(value.nbytes for value in weights.values())
    check_place(out, 3 * size if onnx else size)
    with new_folder(out, overwrite, (PARAMS, SUMS)) as folder:
        save_variables(folder / PARAMS, restored.variables)
        checks = {PARAMS: _check_weights(folder / PARAMS, weights)}
        for name, program in programs.make_programs(restored).items():
            checks |= _write_program(folder, name, program, program.weights(weights), onnx)
        _write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
        if report is not None:
            _write_text(folder / "evaluation.json", json.dumps(report, indent=2) + "\n")
        _write_text(folder / CARD, model_card(config, logged, checks))
        sums = [f"{sha256_of(file)}  {file.name}\n" for file in sorted(folder.iterdir())]
        _write_text(folder / SUMS, "".join(sums))
    return checks


def _write_program(folder: Path, name: str, program: programs.Program, weights: Flat, onnx: bool) -> dict[str, float]:
    """Writes one program in its formats; returns their differences from the jitted function."""
    wanted = jax.device_get(jax.jit(program.function)(weights, *program.example))
    file = folder / f"{name}.stablehlo"
    file.write_bytes(programs.to_stablehlo(program, weights))
    reloaded = jax.export.deserialize(bytearray(file.read_bytes()))
    found = jax.jit(reloaded.call)(weights, *program.example)
    checks = {file.name: programs.check(file.name, found, wanted, TOLERANCE)}
    if onnx:
        file = folder / f"{name}.onnx"
        programs.to_onnx(file, program, weights)
        found = programs.run_onnx(file, program.example)
        checks[file.name] = programs.check(file.name, found, wanted, programs.ONNX_TOLERANCE, "; export without --onnx")
    return checks


def _check_weights(path: Path, weights: Flat) -> float:
    """Reads the file back, one array at a time, and compares it bit for bit; returns 0.0, or raises ExportError."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        if set(file.keys()) != set(weights):
            raise ExportError(f"{path.name}: its array names are not the ones that were written")
        for name, value in weights.items():
            found = file.get_tensor(name)
            if (
                found.dtype != value.dtype
                or found.shape != value.shape
                or found.tobytes() != np.asarray(value).tobytes()
            ):
                raise ExportError(f"{path.name}: {name} is not what was written")
    return 0.0


def _config(restored: RestoredSwapper, weights: Flat) -> dict[str, Any]:
    training = restored.config
    parts = sorted({name.split("/")[0] for name in weights})
    # Running statistics are not parameters.
    counted = {name: value.size for name, value in weights.items() if "/batch_stats/" not in name}
    return {
        "format": FORMAT,
        "kind": "smoothswap",
        "version": importlib.metadata.version("smoothswap-jax"),
        "jax": jax.__version__,
        "step": restored.step,
        "size": training["data"]["size"],
        "parameters": {part: sum(n for name, n in counted.items() if name.startswith(f"{part}/")) for part in parts},
        "generator": training["generator"],
        "embedder": restored.embedder,
        "training": training,
    }


def _last_evaluation(run: Path, step: int) -> dict[str, float]:
    """The last evaluation that the run logged at or before `step`; empty without a log."""
    log = run / metric_log.NAME
    rows = metric_log.read_metrics(log) if log.is_file() else []
    rows = [row for row in rows if row["step"] <= step and any(key.startswith("eval/") for key in row)]
    return {key: value for key, value in rows[-1].items() if key.startswith("eval/")} if rows else {}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ExportError(f"{path}: not a JSON file ({error})") from error


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


# --------------------------------------------------------------------------------------------------------- reading
def is_export(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is an export rather than a run directory."""
    return (Path(folder) / PARAMS).is_file()


def load_export(folder: str | os.PathLike[str]) -> RestoredSwapper:
    """The networks of an export and their weights.

    Raises ExportError when a file is missing, of another format, or not the one that SHA256SUMS names.
    """
    folder = Path(folder)
    _check_sums(folder)
    config = _json(folder / CONFIG)
    if not isinstance(config, Mapping) or config.get("format") != FORMAT or config.get("kind") != "smoothswap":
        raise ExportError(f"{folder / CONFIG}: not an export of format {FORMAT}")
    variables = load_variables(folder / PARAMS)
    return build_swapper(with_current_names(config["training"]), config["embedder"], variables, config["step"])


def _check_sums(folder: Path) -> None:
    """Compares the files that `load_export` reads with SHA256SUMS."""
    if not (folder / SUMS).is_file():
        raise ExportError(f"{folder}: lacks {SUMS}, wanted a folder that `smoothswap export` wrote")
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in (CONFIG, PARAMS):
        if not (folder / name).is_file():
            raise ExportError(f"{folder}: lacks {name}")
        if sha256_of(folder / name) != listed.get(name):
            raise ExportError(f"{folder / name}: its SHA-256 is not the one in {SUMS}: damaged or changed")

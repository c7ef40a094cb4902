"""Writing an export and reading it again.

`params.safetensors` has float32 arrays by flat names: `generator/...` (the averaged one), `embedder/params/...`,
`embedder/batch_stats/...`, and `discriminator/...` if it was asked for. `config.json` says how to build the networks,
and holds the training configuration; `SHA256SUMS` covers every other file.
"""

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from smoothswap_jax.inference.export import programs
from smoothswap_jax.inference.export.card import model_card
from smoothswap_jax.inference.export.programs import ExportError
from smoothswap_jax.inference.restore import Trained, load_trained, make_trained
from smoothswap_jax.runtime import metric_log
from smoothswap_jax.runtime.files import new_folder, refuse_full
from smoothswap_jax.weights.network_folder import load_variables, save_variables

FORMAT = 1
PARAMS, CONFIG, CARD, SUMS = "params.safetensors", "config.json", "MODEL_CARD.md", "SHA256SUMS"
SWAP, EMBED = "swap.stablehlo", "embed.stablehlo"
TOLERANCE = 1e-4
"""Largest difference of a reloaded program from the jitted function: XLA may fuse the two in different ways."""

Flat = dict[str, jax.Array]


def export_swapper(
    run: str | Path,
    out: str | Path,
    *,
    step: int | None = None,
    with_discriminator: bool = False,
    onnx: bool = False,
    evaluation: str | Path | None = None,
) -> dict[str, float]:
    """Writes the folder `out` from a swapper's run directory, and compares what was written with the checkpoint.

    Args:
      step: which checkpoint, the newest by default.
      with_discriminator: also save the discriminator's weights, to train on from.
      onnx: also write swap.onnx and embed.onnx.
      evaluation: a JSON report to put beside the model card, as evaluation.json.

    Returns the largest difference of each file from the checkpoint. One host suffices, no accelerator is needed, and
    the checkpoint may come from any mesh.

    Raises:
      CheckpointError: no such checkpoint. FileExistsError: `out` is there and not empty.
      ExportError: what was written does not do what the checkpoint does; nothing is left behind.
    """
    refuse_full(out)
    report = None if evaluation is None else _json(Path(evaluation))
    trained = load_trained(run, step, discriminator=with_discriminator)
    # On the device once: every call of a program would make a copy of numpy arrays.
    trained = trained._replace(variables=jax.device_put(trained.variables, jax.devices("cpu")[0]))
    weights = flatten_dict(trained.variables, sep="/")
    config = _config(trained, weights)
    logged = _last_evaluation(Path(run), trained.step)
    with new_folder(out) as folder:
        save_variables(folder / PARAMS, trained.variables)
        checks = {PARAMS: _check_weights(folder / PARAMS, weights)}
        for name, program, prefixes, images in (
            (SWAP, programs.swap_program(trained), ("generator/", "embedder/"), 2),
            (EMBED, programs.embed_program(trained), ("embedder/",), 1),
        ):
            part = {key: value for key, value in weights.items() if key.startswith(prefixes)}
            checks |= _write_program(folder, name, program, part, config["size"], images, onnx)
        _write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
        if report is not None:
            _write_text(folder / "evaluation.json", json.dumps(report, indent=2) + "\n")
        _write_text(folder / CARD, model_card(config, logged, checks))
        sums = [f"{_digest(file)}  {file.name}\n" for file in sorted(folder.iterdir())]
        _write_text(folder / SUMS, "".join(sums))
    return checks


def _write_program(
    folder: Path, name: str, program: Callable, weights: Flat, size: int, images: int, onnx: bool
) -> dict[str, float]:
    """Writes one program in its formats; returns their differences from the jitted function."""
    given = programs.example_images(1, size, images)  # at 256 px a pair's features outweigh the weights
    wanted = np.asarray(jax.jit(program)(weights, *given))
    (folder / name).write_bytes(programs.to_stablehlo(program, weights, size, images))
    reloaded = jax.export.deserialize(bytearray((folder / name).read_bytes()))
    checks = {name: programs.compare(name, jax.jit(reloaded.call)(weights, *given), wanted, TOLERANCE)}
    if onnx:
        file = folder / f"{Path(name).stem}.onnx"
        programs.to_onnx(file, program, weights, size, images)
        checks[file.name] = programs.onnx_difference(file, wanted, *given)
        if not checks[file.name] <= programs.ONNX_TOLERANCE:
            raise ExportError(
                f"{file.name}: differs from the checkpoint by {checks[file.name]:.2e}, wanted at most "
                f"{programs.ONNX_TOLERANCE:.0e}; export without --onnx"
            )
    return checks


def _check_weights(path: Path, weights: Flat) -> float:
    """Reads the file again, one array at a time, and compares it bit for bit; 0.0 if it is the same."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        if set(file.keys()) != set(weights):
            raise ExportError(f"{path.name}: found other names than were written")
        for name, value in weights.items():
            found = file.get_tensor(name)
            if (
                found.dtype != value.dtype
                or found.shape != value.shape
                or found.tobytes() != np.asarray(value).tobytes()
            ):
                raise ExportError(f"{path.name}: {name} is not what was written")
    return 0.0


def _config(trained: Trained, weights: Flat) -> dict[str, Any]:
    training = trained.config
    parts = sorted({name.split("/")[0] for name in weights})
    # Running statistics are no parameters.
    counted = {name: value.size for name, value in weights.items() if "/batch_stats/" not in name}
    return {
        "format": FORMAT,
        "kind": "smoothswap",
        "version": importlib.metadata.version("smoothswap-jax"),
        "jax": jax.__version__,
        "step": trained.step,
        "size": training["data"]["size"],
        "parameters": {part: sum(n for name, n in counted.items() if name.startswith(f"{part}/")) for part in parts},
        "generator": training["generator"],
        "embedder": trained.embedder,
        "training": training,
    }


def _last_evaluation(run: Path, step: int) -> dict[str, float]:
    """The last evaluation that the run logged up to `step`; empty without a log."""
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


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --------------------------------------------------------------------------------------------------------- reading
def is_export(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is an export rather than a run directory."""
    return (Path(folder) / PARAMS).is_file()


def load_export(folder: str | os.PathLike[str]) -> Trained:
    """The networks of an export and their weights.

    Raises ExportError when a file is missing, of another format, or not the one that SHA256SUMS names.
    """
    folder = Path(folder)
    _check_sums(folder)
    config = _json(folder / CONFIG)
    if not isinstance(config, Mapping) or config.get("format") != FORMAT or config.get("kind") != "smoothswap":
        raise ExportError(f"{folder / CONFIG}: not an export of format {FORMAT}")
    variables = load_variables(folder / PARAMS)
    return make_trained(config["training"], config["embedder"], variables, config["step"])


def _check_sums(folder: Path) -> None:
    """Compares the files that `load_export` reads with SHA256SUMS."""
    if not (folder / SUMS).is_file():
        raise ExportError(f"{folder}: lacks {SUMS}, wanted a folder that `smoothswap export` wrote")
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in (CONFIG, PARAMS):
        if not (folder / name).is_file():
            raise ExportError(f"{folder}: lacks {name}")
        if _digest(folder / name) != listed.get(name):
            raise ExportError(f"{folder / name}: its SHA-256 is not the one in {SUMS}: damaged or changed")

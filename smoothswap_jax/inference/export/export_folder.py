"""Writes and reads exports: folders that hold a trained swapper for use without this package.

`swap.stablehlo`, `embed.stablehlo` and `generate.stablehlo` are the programs (`programs.make_programs`); older exports
lack the last, which nothing here reads. `params.safetensors` has float32 or float16 arrays by flat names:
`generator/...` (the averaged one), `embedder/params/...`, `embedder/batch_stats/...`, and `discriminator/...` if it was
asked for.
`config.json` says how to build the networks and holds the training configuration; `SHA256SUMS` covers every other
file.
"""

import importlib.metadata
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from smoothswap_jax.config.errors import shown
from smoothswap_jax.config.parse import parse, to_dict
from smoothswap_jax.config.schema import LARGEST
from smoothswap_jax.data.dataset import DataError
from smoothswap_jax.data.sources import training_people
from smoothswap_jax.inference.export import programs
from smoothswap_jax.inference.export.card import model_card
from smoothswap_jax.inference.restore import RestoredSwapper, build_swapper, checked_swapper, restore_swapper
from smoothswap_jax.runtime import metric_log
from smoothswap_jax.runtime.files import check_new_folder, check_place, new_folder, sha256_of
from smoothswap_jax.runtime.json_files import JsonError, read_json
from smoothswap_jax.runtime.paths import to_path
from smoothswap_jax.training.frozen_embedder import COPY, KINDS, load_embedder
from smoothswap_jax.training.imported_embedder import is_imported
from smoothswap_jax.weights.exported import CONFIG, EMBEDDER_RUN, PARAMS, SUMS, ExportError, check_sums, known_digests
from smoothswap_jax.weights.network_folder import load_variables, save_variables, variable_shapes

FORMAT = 1
CARD, PEOPLE = "MODEL_CARD.md", "people"
TOLERANCE = 1e-4
"""Largest difference of a reloaded program from the jitted function: XLA may fuse the two differently."""

DTYPES = ("float32", "float16")
"""Of stored weights. bfloat16 has no advantage here: it keeps 3 bits less, trained weights need no larger range than
float16's, and safetensors has no numpy arrays of it."""

Flat = dict[str, jax.Array]

log = logging.getLogger(__name__)


def export_swapper(
    run: str | Path,
    out: str | Path,
    *,
    step: int | None = None,
    dtype: str = "float32",
    with_discriminator: bool = False,
    onnx: bool = False,
    evaluation: str | Path | None = None,
    about: str | Path | None = None,
    overwrite: bool = False,
) -> dict[str, float]:
    """Exports a swapper's run directory to the folder `out`, and compares what was written with the checkpoint.

    Args:
      step: which checkpoint, the newest by default.
      dtype: of the stored weights, float32 or float16, which takes half the room and is computed with in
        float32. ONNX models hold float32.
      with_discriminator: also save the discriminator's weights, to train on from.
      onnx: also write the programs as .onnx.
      evaluation: a JSON report to copy beside the model card, as evaluation.json.
      about: a Markdown file for the model card: what its owner has to say, such as the hardware and the licence.
      overwrite: whether `out` may be an export that is there already; it is replaced when the new one is whole.

    Returns each file's largest difference from the checkpoint: of the weights, and of the programs' outputs. Needs one
    host and no accelerator; the checkpoint may come from any mesh.

    Raises:
      CheckpointError: no such checkpoint. OSError: `out` exists and is not empty, or cannot be written to.
      ExportError: what was written differs from the checkpoint by more than the dtype's rounding, or weights exceed
        the dtype; nothing is left behind.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype: found {dtype!r}; wanted one of {', '.join(DTYPES)}")
    check_new_folder(out, overwrite, (PARAMS, SUMS))
    report = None if evaluation is None else _json(Path(evaluation))
    told = "" if about is None else Path(about).read_text(encoding="utf-8").strip()
    restored = restore_swapper(run, step, discriminator=with_discriminator)
    # Once, because every call of a program would copy numpy arrays to the device again.
    restored = restored._replace(variables=jax.device_put(restored.variables, jax.devices("cpu")[0]))
    weights = flatten_dict(restored.variables, sep="/")
    stored = _as_stored(weights, dtype)
    told_of_others = {EMBEDDER_RUN: _embedder_run(to_path(run)), PEOPLE: _people(restored.config["data"])}
    config = _config(restored, weights, dtype) | told_of_others
    logged = _last_evaluation(to_path(run), restored.step)
    size = sum(value.nbytes for value in weights.values())
    check_place(out, 3 * size if onnx else size)
    with new_folder(out, overwrite, (PARAMS, SUMS)) as folder:
        save_variables(folder / PARAMS, restored.variables, dtype)
        _check_weights(folder / PARAMS, stored)
        checks = {PARAMS: programs.difference(_as_float32(stored), weights)}
        for name, program in programs.make_programs(restored).items():
            checks |= _write_program(folder, name, program, program.weights(stored), program.weights(weights), onnx)
        _write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
        if report is not None:
            _write_text(folder / "evaluation.json", json.dumps(report, indent=2) + "\n")
        _write_text(folder / CARD, model_card(config, logged, checks, told))
        sums = [f"{sha256_of(file)}  {file.name}\n" for file in sorted(folder.iterdir())]
        _write_text(folder / SUMS, "".join(sums))
    return checks


def _as_stored(weights: Flat, dtype: str) -> Flat:
    """The weights rounded to `dtype`. Raises ExportError for values that it does not hold, with the name."""
    stored = {name: value.astype(dtype) for name, value in weights.items()}
    if lost := [name for name, value in weights.items() if (jnp.isfinite(value) & jnp.isinf(stored[name])).any()]:
        raise ExportError(f"{lost[0]}: found values beyond {jnp.finfo(dtype).max:g}; wanted --dtype=float32")
    return stored


def _as_float32(stored: Flat) -> Flat:
    return {name: value.astype(jnp.float32) for name, value in stored.items()}


def _write_program(
    folder: Path, name: str, program: programs.Program, stored: Flat, weights: Flat, onnx: bool
) -> dict[str, float]:
    """Writes one program for the weights as they are stored, in its formats. Compares it with the jitted function of
    the same weights, and returns the differences from that of the checkpoint's."""
    function = jax.jit(program.function)
    wanted = jax.device_get(function(_as_float32(stored), *program.example))
    exact = jax.device_get(function(weights, *program.example))
    file = folder / f"{name}.stablehlo"
    file.write_bytes(programs.to_stablehlo(program, stored))
    reloaded = jax.export.deserialize(bytearray(file.read_bytes()))
    found = jax.jit(reloaded.call)(stored, *program.example)
    programs.check(file.name, found, wanted, TOLERANCE)
    checks = {file.name: programs.difference(found, exact)}
    if onnx:
        file = folder / f"{name}.onnx"
        programs.to_onnx(file, program, _as_float32(stored))
        found = programs.run_onnx(file, program.example)
        programs.check(file.name, found, wanted, programs.ONNX_TOLERANCE, "; export without --onnx")
        checks[file.name] = programs.difference(found, exact)
    return checks


def _check_weights(path: Path, weights: Flat) -> None:
    """Reads the file back, one array at a time, and compares it bit for bit. Raises ExportError where it differs."""
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


def _config(restored: RestoredSwapper, weights: Flat, dtype: str) -> dict[str, Any]:
    training = _for_others(restored.config)
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
        "dtype": dtype,
        "embedder_sha256": restored.trainers[0],
        "embedder_aliases": list(restored.embedder_aliases),
        "also_sha256": restored.also_sha256,
        "parameters": {part: sum(n for name, n in counted.items() if name.startswith(f"{part}/")) for part in parts},
        "generator": training["generator"],
        "embedder": restored.embedder,
        "training": training,
    }


def _embedder_run(run: Path) -> dict[str, Any] | None:
    """How the embedder of a swapper's run was trained, so that others can train a swapper against it; None for a
    published one."""
    found = load_embedder(run / COPY, KINDS)
    if is_imported(found.fields):
        return None
    return {"config": _for_others(to_dict(parse(found.meta["config"]))), "step": found.step}


def _people(data: Mapping[str, Any]) -> list[str] | None:
    """Digests of whom it was trained on, since the data stays where it is; None, with a warning, where it cannot be
    read."""
    try:
        return training_people(data)
    except DataError as error:
        log.warning("the export does not say whom it was trained on, so evaluations may judge it by them: %s", error)
        return None


def _for_others(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A training config without the absolute paths of weights and caches, which may say whose machine it was, and which
    others do not have. That of the data stays: it says what it was."""
    made: dict[str, Any] = {}
    for name, value in fields.items():
        made[name] = _for_others(value) if isinstance(value, Mapping) else value
        if name != "dir" and isinstance(value, str) and Path(value).is_absolute():
            made[name] = "" if name.endswith("_cache") else Path(value).name
    return made


def _last_evaluation(run: Path, step: int) -> dict[str, float]:
    """The last evaluation that the run logged at or before `step`; empty without a log."""
    log = run / metric_log.NAME
    rows = metric_log.read_metrics(log) if log.is_file() else []
    rows = [row for row in rows if row["step"] <= step and any(key.startswith("eval/") for key in row)]
    return {key: value for key, value in rows[-1].items() if key.startswith("eval/")} if rows else {}


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except JsonError as error:
        raise ExportError(str(error)) from error


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


# --------------------------------------------------------------------------------------------------------- reading
def load_export(folder: str | os.PathLike[str]) -> RestoredSwapper:
    """The networks of an export, which may be somebody else's, and their weights.

    Its config is checked, and its arrays are compared with it, before anything is built or read into memory.

    Raises:
      ExportError: a file is missing, of another format, or not the one that SHA256SUMS names; or arrays do not fit.
      ConfigError: fields that are of a wrong type, out of bounds, or make no network.
    """
    folder = Path(folder)
    check_sums(folder)
    file = folder / CONFIG
    config = _json(file)
    if not isinstance(config, Mapping) or config.get("format") != FORMAT or config.get("kind") != "smoothswap":
        raise ExportError(f"{file}: not an export of format {FORMAT}")
    step = config.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step <= LARGEST:
        raise ExportError(f"{file}: step is {shown(step)}, wanted a whole number from 0 up")
    digests: dict[str, Any] = {name: config.get(name) for name in ("embedder_sha256", "also_sha256")}  # or none, of old
    for name, digest in digests.items():
        if not isinstance(digest, str | None):
            raise ExportError(f"{file}: {name} is {shown(digest)}, wanted a SHA-256")
    stored = variable_shapes(folder / PARAMS)
    also = any(name.startswith("discriminator/") for name in stored)
    training, wanted = checked_swapper(config.get("training"), config.get("embedder"), len(stored), str(file), also)
    for name, value in (("size", training["data"]["size"]), ("generator", config["training"]["generator"])):
        if config.get(name, value) != value:
            raise ExportError(f"{file}: {name} is {shown(config[name])}, and training says {shown(value)}")
    _check_fit(folder / PARAMS, stored, wanted)
    swapper = build_swapper(training, dict(config["embedder"]), load_variables(folder / PARAMS), step)
    people = config.get(PEOPLE)  # exports of old do not say
    if not (people is None or (isinstance(people, list) and all(isinstance(person, str) for person in people))):
        raise ExportError(f"{file}: {PEOPLE} is {shown(people)}, wanted a list of digests")
    aliases = tuple(one for one in known_digests(dict(config), file) if one != digests["embedder_sha256"])
    return swapper._replace(**digests, embedder_aliases=aliases, people=None if people is None else tuple(people))


def _check_fit(path: Path, stored: Mapping[str, tuple[int, ...]], wanted: Mapping[str, Any]) -> None:
    """Raises ExportError unless `path` has the wanted arrays and no others."""
    shapes = {name: tuple(leaf.shape) for name, leaf in flatten_dict(dict(wanted), sep="/").items()}
    for name in [*shapes, *stored]:
        found, fits = (str(list(of[name])) if name in of else "none" for of in (stored, shapes))
        if found != fits:
            raise ExportError(f"{path}: {shown(name)} has shape {found}, and {CONFIG} wants {fits}")

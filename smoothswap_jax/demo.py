"""The demo: swaps with the packaged swapper, then trains an embedder and a swapper on a laptop and measures both."""

import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from smoothswap_jax.config.load import load_config
from smoothswap_jax.data.dataset import SPLITS
from smoothswap_jax.data.records import from_prepared
from smoothswap_jax.evaluation.evaluate import judge_swaps
from smoothswap_jax.evaluation.report.document import Curve, write_report
from smoothswap_jax.evaluation.results import Result, how_it_was_made, machine_facts, make_report, write_scores
from smoothswap_jax.evaluation.settings import EvaluationSettings
from smoothswap_jax.inference.load import swapper_folder
from smoothswap_jax.prepare.crops import PrepareSettings
from smoothswap_jax.prepare.run import Summary, prepare
from smoothswap_jax.runtime import metric_log
from smoothswap_jax.runtime.checkpoint import steps_of
from smoothswap_jax.runtime.files import check_place
from smoothswap_jax.runtime.folders import DEFAULT
from smoothswap_jax.runtime.paths import on_disk
from smoothswap_jax.training.loop import train

VARIANT, SIZE = "tiny32", 32
RUNS = ("embedder", "swapper")
"""What is trained, in this order; the folders of OUT."""
TEST_SHARE = 0.2
FIRST_PAIRS = 64
"""On which the packaged swapper is shown, in a minute; in the end it is judged on all pairs beside the trained one."""
OURS = ("default", "faces", *RUNS)
"""Folders of which an unfinished demo has one."""
JUDGES = ("heads", "sface")
"""Neither took part in any training of ours."""


def demo(
    out: str | Path,
    photos: str | Path | None = None,
    seed: int = 0,
    effort: float = 1.0,
    paired_views: bool = False,
) -> Path:
    """Trains, measures and reports; returns the path of report.html. The same call goes on with what was stopped.

    With synthetic faces, what the packaged swapper makes of the same pairs is reported first, in OUT/default.

    Args:
      out: folder for everything that is written.
      photos: train on DIR/<person>/<photo> instead of synthetic faces; a fifth of the people is held out.
      seed: of the swapper and its embedder.
      effort: factor on the number of training steps of both.
      paired_views: photos with the same file name show the same pose, expression and light (as in the London set), so
        the source's photo with the target's file name is the true swap.

    Raises Stopped when a signal stops one of the trainings: nothing else is begun then. ValueError if `out` holds a
    demo that this effort does not fit.
    """
    out, began = on_disk(out, "a demo"), time.monotonic()
    _check_place(out, None if photos is None else Path(photos), effort)
    _check_effort(out, effort)
    out.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    if photos is None:
        _show_default(out / "default", seconds)
    data = _aligned_photos(Path(photos), out / "faces", seconds) if photos else {}
    configs = {stage: _config(stage, seed, effort, data) for stage in RUNS}
    configs["swapper"]["embedder"]["checkpoint"] = str(out / "embedder")
    for name, config in configs.items():
        start = time.monotonic()
        _say(f"training the {name}: {config['steps']} steps")
        train(config, out / name)
        seconds[f"train {name}"] = time.monotonic() - start
    start = time.monotonic()
    _say("swapping and measuring held-out people")
    methods = {"default": swapper_folder(DEFAULT), "swap": out / "swapper"}
    result = _measure(out, methods, Path(photos) if photos else None, paired_views)
    seconds["measure"] = time.monotonic() - start
    seconds["total"] = time.monotonic() - began
    title = "Smooth-Swap demo: " + ("photographs" if photos else "synthetic faces")
    facts = _facts(result, seed, effort, configs, seconds)
    return write_report(out, make_report(result, facts, title, _curves(out)), machine_facts(result, out))


def _check_place(out: Path, photos: Path | None, effort: float) -> None:
    """Raises ValueError and OSError for what cannot be used, before any work."""
    if not (math.isfinite(effort) and effort > 0):
        raise ValueError(f"--effort is {effort:g}; wanted a number above 0, 1 for the usual number of steps")
    check_place(out)
    if photos is not None and not photos.is_dir():
        raise ValueError(f"--photos={photos}: found no such folder; wanted DIR/<person>/<photo>")
    found = [path.name for path in out.iterdir() if not path.name.startswith(".")] if out.is_dir() else []
    if found and not any(name in found for name in OURS):
        raise ValueError(
            f"--out={out}: holds other files ({found[0]}); wanted a new folder, or that of a demo to go on with"
        )


def _say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


def _check_effort(out: Path, effort: float) -> None:
    """Refuses an effort with which some networks in `out` have too many steps, or the embedder would be trained on
    although a swapper has been trained against it already."""
    wanted = {name: _steps(name, effort) for name in RUNS}
    found = {name: next(iter(steps_of(out / name)), None) for name in RUNS}
    further = [name for name in RUNS if (found[name] or 0) > wanted[name]]
    fixed = found["swapper"] is not None and (found["embedder"] or 0) < wanted["embedder"]
    if further or fixed:
        steps = lambda of: ", ".join(f"{name} {of[name] or 0}" for name in RUNS)
        raise ValueError(
            f"{out}: holds a demo of another effort (steps {steps(found)}); --effort={effort:g} wants {steps(wanted)}: "
            "give that of before, or a new --out"
        )


def _steps(stage: str, effort: float) -> int:
    return max(1, round(load_config(f"{stage}:{VARIANT}", [])["steps"] * effort))


def _config(stage: str, seed: int, effort: float, data: dict) -> dict:
    """The stage's shipped config at the demo's variant, as plain dicts. data: fields of `config.data` to replace."""
    name = f"{stage}:{VARIANT}"
    usual = load_config(name, [])
    fields = {"seed": seed, "steps": _steps(stage, effort)}
    fields |= {f"data.{field}": value for field, value in data.items() if field != "people"}
    if data and stage == "embedder":  # the people of a batch are all different
        fields["batch"] = min(usual["batch"], usual["images_per_identity"] * data["people"])
    config = load_config(name, [f"--config.{field}={value}" for field, value in fields.items()])
    if data:  # recorded only: a prepared set has its own people
        config["data"]["people"] = data["people"]
    return config


def _aligned_photos(photos: Path, faces: Path, seconds: dict[str, float]) -> dict:
    """Aligns the photos into folder `faces`; returns the fields of `config.data` that read them."""
    start = time.monotonic()
    _say(f"aligning the photos of {photos}")
    summary = prepare(
        photos,
        faces,
        PrepareSettings(size=SIZE, test_share=TEST_SHARE),
        layout="people",
        progress=metric_log.files_progress("demo: photos"),
    )
    _say(f"{summary.pictures - summary.rejected} faces aligned, {summary.rejected} photos left out; see {faces}")
    _check_people(photos, faces, summary)
    seconds["align"] = time.monotonic() - start
    return {"kind": "prepared", "dir": str(faces), "people": summary.people["train"]}


def _check_people(photos: Path, faces: Path, summary: Summary) -> None:
    """Raises ValueError, with what was found and what is needed, where there are too few people or photos of each."""
    train, test = (summary.people.get(split, 0) for split in ("train", "test"))
    needs = (
        "the demo wants at least 4 people, 2 to train on and 2 held out, each in a folder DIR/<person>/, with two or "
        "more photos of each that show the face well; 20 people and more make sense"
    )
    if min(train, test) < 2:
        left = "".join(f", {gate} {count}" for gate, count in summary.gates.items())
        raise ValueError(
            f"{photos}: found {train + test} people with a usable face, in {summary.pictures} photos of which "
            f"{summary.rejected} were left out{left}; {needs}"
        )
    several = {split: int((np.diff(from_prepared(str(faces), split, SIZE).starts) > 1).sum()) for split in SPLITS}
    if min(several.values()) == 0:
        raise ValueError(
            f"{photos}: found two usable photos of {several['train']} of {train} people to train on and of "
            f"{several['test']} of {test} held out; {needs}"
        )


# --- measuring ---------------------------------------------------------------------------------------------


def _show_default(folder: Path, seconds: dict[str, float]) -> None:
    """What the packaged swapper makes of the held-out pairs of its world."""
    start = time.monotonic()
    _say("swapping held-out people with the default swapper")
    result = _measure(folder, {"default": swapper_folder(DEFAULT)}, options={"pairs": str(FIRST_PAIRS)})
    seconds["default"] = time.monotonic() - start
    facts = how_it_was_made(result, list(JUDGES), seconds["default"])
    report = make_report(result, facts, "Smooth-Swap demo: the default swapper")
    _say(f"see {write_report(folder, report, machine_facts(result, folder))}")


def _measure(
    out: Path,
    methods: dict[str, Path],
    photos: Path | None = None,
    paired_views: bool = False,
    options: Mapping[str, str] = MappingProxyType({}),
) -> Result:
    """Swaps and judges the held-out pairs. options: of the protocol."""
    protocol = "held-out" if photos else "synthetic-truth"
    if photos and paired_views:
        protocol = "london-truth" if any(photos.glob("*/neutral_front.jpg")) else "paired-views"
    data = photos if paired_views else out / "faces" if photos else None
    settings = EvaluationSettings(protocol, out, data, methods, judges=list(JUDGES), options=options)
    result = judge_swaps(settings, lambda name: metric_log.files_progress(f"demo: {name}"))
    write_scores(out, result)
    return result


def _curves(out: Path) -> list[Curve]:
    """What embedder and swapper logged during training."""
    swapper = metric_log.read_metrics(out / "swapper" / metric_log.NAME)
    embedder = metric_log.read_metrics(out / "embedder" / metric_log.NAME)

    def series(rows: list[dict], **names: str) -> dict:
        picked = {label: [(r["step"], r[key]) for r in rows if key in r] for label, key in names.items()}
        return {label.replace("_", " "): tuple(np.array(points).T) for label, points in picked.items() if points}

    curves = [
        Curve(
            "Identity of held-out swaps during training",
            series(swapper, to_source="eval/cosine_to_source", to_target="eval/cosine_to_target"),
            "step",
            "cosine",
            "By the embedder that trains the swapper. If swaps are copies of their targets, 'to target' stays at 1.",
        ),
        Curve(
            "Losses of the swapper",
            series(
                swapper,
                identity="train/identity_loss",
                change="train/change_loss",
                discriminator="train/d_loss",
            ),
            "step",
            "loss",
        ),
        Curve(
            "Embedder: verification of held-out people",
            series(embedder, ROC_AUC="eval/auc", rank_1="eval/rank1"),
            "step",
            "score",
        ),
    ]
    error = series(swapper, swap="eval/mse_over_copy_target")
    if error:
        curves.insert(1, Curve("Error to the true swap, over that of copying the target", error, "step", "ratio"))
    return curves


def _facts(result: Result, seed: int, effort: float, configs: dict, seconds: dict[str, float]) -> dict[str, Any]:
    return {
        **how_it_was_made(result, [judge.name for judge in result.judges], seconds["total"]),
        "seed": seed,
        "effort": effort,
        "steps": ", ".join(f"{name} {config['steps']}" for name, config in configs.items()),
        **{f"seconds: {name}": round(value, 1) for name, value in seconds.items()},
    }

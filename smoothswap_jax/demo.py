"""The whole job on a laptop: faces in, embedder, judge and swapper trained, held-out people swapped and measured."""

import datetime
import importlib.metadata
import importlib.util
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from smoothswap_jax import build, runlog, sharding, stages, trained
from smoothswap_jax.data.preparation.crops import Settings
from smoothswap_jax.data.preparation.run import Summary, prepare
from smoothswap_jax.evaluation.grids import image_grid, swap_grid
from smoothswap_jax.evaluation.protocols import score_methods, score_table
from smoothswap_jax.evaluation.report import Curve, Picture, Report, write_report
from smoothswap_jax.train import train

VARIANT, SIZE = "tiny32", 32
JUDGE_SEED = 1000  # added to the run's seed
PAIRS = 256
TEST_SHARE = 0.2
GRID = 6


def demo(
    out: str | Path,
    photos: str | Path | None = None,
    seed: int = 0,
    effort: float = 1.0,
    paired_views: bool = False,
) -> Path:
    """Trains, measures and reports; returns the path of report.html. A run that was stopped is continued.

    Args:
      out: everything is written below this folder.
      photos: train on DIR/<person>/<photo> instead of synthetic faces, a fifth of the people held out.
      seed: of the swapper and its embedder; the judge has another.
      effort: factor on all numbers of training steps.
      paired_views: photos of the same file name show the same pose, expression and light (as in the London set), so
        the source's own photo of the target's name is the true swap.
    """
    out, began = Path(out), time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    data = _aligned_photos(Path(photos), out / "faces", seconds) if photos else {}
    configs = {
        "embedder": _config("embedder", seed, effort, data),
        "judge": _config("embedder", seed + JUDGE_SEED, effort, data),
        "swapper": _config("swapper", seed, effort, data),
    }
    configs["swapper"]["embedder"]["checkpoint"] = str(out / "embedder")
    for name, config in configs.items():
        start = time.monotonic()
        _say(f"training the {name}: {config['steps']} steps")
        train(config, out / name)
        seconds[f"train {name}"] = time.monotonic() - start
    start = time.monotonic()
    _say("swapping and measuring held-out people")
    pairs = _eval_pairs(configs["swapper"], paired_views)
    report = _measure(out, configs, pairs, photos)
    seconds["measure"] = time.monotonic() - start
    seconds["total"] = time.monotonic() - began
    facts = _facts(seed, effort, configs, seconds)
    return write_report(out, Report(**report, facts=facts))


def _say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


def _config(stage: str, seed: int, effort: float, data: dict) -> dict:
    """The stage's config file at the demo's variant, as plain dicts."""
    path = Path(__file__).parents[1] / "configs" / f"{stage}.py"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found; the demo runs from a clone of the repository")
    spec = importlib.util.spec_from_file_location(f"demo_config_{stage}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(VARIANT)
    config.seed = seed
    config.steps = max(1, round(config.steps * effort))
    config.data.update(data)
    if data and stage == "embedder":
        config.batch = min(config.batch, config.photos * data["people"])
    return config.to_dict()


def _aligned_photos(photos: Path, faces: Path, seconds: dict[str, float]) -> dict:
    """Aligns the photos; returns the config's data fields for them."""
    start = time.monotonic()
    _say(f"aligning the photos of {photos}")
    summary = prepare(
        photos,
        faces,
        Settings(size=SIZE, test_share=TEST_SHARE),
        layout="people",
        progress=runlog.files_progress("demo: photos"),
    )
    _say(f"{summary.pictures - summary.rejected} faces aligned, {summary.rejected} photos left out; see {faces}")
    _check_people(photos, summary)
    seconds["align"] = time.monotonic() - start
    return {"kind": "prepared", "dir": str(faces), "people": summary.people["train"]}


def _check_people(photos: Path, summary: Summary) -> None:
    train, test = (summary.people.get(split, 0) for split in ("train", "test"))
    if min(train, test) < 2:
        raise ValueError(
            f"{photos}: {train} people with a usable face to train on and {test} held out; the demo wants at least "
            "2 of each, so some 20 people or more"
        )


# --- measuring ---------------------------------------------------------------------------------------------


def _eval_pairs(config: dict, paired_views: bool) -> stages.EvalPairs:
    config = config | {"eval_images": PAIRS}
    if not paired_views:
        return stages.eval_pairs(config)
    return stages.paired_view_pairs(build.faces(config["data"], "test"), PAIRS)


def _measure(out: Path, configs: dict, pairs: stages.EvalPairs, photos) -> dict:
    """Swaps the held-out pairs and scores them; returns the report's parts."""
    mesh = sharding.make_mesh()
    swap = stages.in_chunks(trained.swap_function(trained.load_trained(out / "swapper")), mesh)
    embedder_config, variables = trained.load_embedder(out / "judge")
    judge = lambda images: stages.make_embed(build.embedder(embedder_config), mesh)(variables, images)
    swapped = swap(pairs.source, pairs.target)
    methods = {"swap": swapped, "copy target": pairs.target, "copy source": pairs.source}
    if pairs.truth is not None:
        methods["true swap"] = pairs.truth
    scores = score_methods(methods, pairs.source, pairs.target, pairs.truth, judge)
    caption = (
        f"{len(swapped)} pairs of held-out people. Cosines are those of a judge: an embedder of another seed that did "
        "not train the swapper. Change and error are mean squared differences of pixels in [-1, 1], to the target and "
        "to the true swap. Brackets: 95% bootstrap intervals over source people."
    )
    return dict(
        title="Smooth-Swap demo: " + ("photographs" if photos else "synthetic faces"),
        intro=[
            "An identity embedder, then a face swapper trained against it, from nothing, on this machine. Everyone "
            "shown and measured here was held out of all training."
        ],
        tables=[score_table(scores, pairs.people[:, 0], "Held-out swaps", caption)],
        pictures=_pictures(pairs, swapped, swap),
        curves=_curves(out),
    )


def _pictures(pairs: stages.EvalPairs, swapped: np.ndarray, swap: Callable) -> list[Picture]:
    """A grid of sources x targets, and some measured pairs in rows."""
    scale = max(1, 96 // swapped.shape[1])
    source, target = (
        _first_of_each(images, ids) for images, ids in zip((pairs.source, pairs.target), pairs.people.T, strict=True)
    )
    rows, columns = np.divmod(np.arange(len(source) * len(target)), len(target))
    swaps = swap(source[rows], target[columns]).reshape(len(source), len(target), *swapped.shape[1:])
    show = [pairs.source, pairs.target, swapped, *([] if pairs.truth is None else [pairs.truth])]
    labels = ["source", "target", "swap", "true swap"][: len(show)]
    triples = image_grid(
        [[image for image in images[:8]] for images in show],
        row_labels=labels,
        scale=scale,
        resample="lanczos",
    )
    return [
        Picture(
            "Sources x targets",
            swap_grid(source, target, swaps, scale=scale, resample="lanczos"),
            "Sources down the left, targets along the top. A swap should have the source's identity and the target's "
            "pose, expression, light and background.",
        ),
        Picture("Measured pairs", triples, "One pair a column, the first eight of the table's."),
    ]


def _first_of_each(images: np.ndarray, people: np.ndarray) -> np.ndarray:
    """One image of each of up to GRID different people."""
    _, first = np.unique(people, return_index=True)
    return images[np.sort(first)[:GRID]]


def _curves(out: Path) -> list[Curve]:
    """What the runs logged."""
    swapper = runlog.read_metrics(out / "swapper" / runlog.NAME)
    embedder = runlog.read_metrics(out / "embedder" / runlog.NAME)

    def series(rows: list[dict], **names: str) -> dict:
        picked = {label: [(r["step"], r[key]) for r in rows if key in r] for label, key in names.items()}
        return {label.replace("_", " "): tuple(np.array(points).T) for label, points in picked.items() if points}

    curves = [
        Curve(
            "Identity of held-out swaps during training",
            series(swapper, to_source="eval/cosine_to_source", to_target="eval/cosine_to_target"),
            "step",
            "cosine",
            "By the embedder that trains the swapper. A swapper that collapses onto its target stays at 'to target' 1.",
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


def _facts(seed: int, effort: float, configs: dict, seconds: dict[str, float]) -> dict[str, str | float]:
    versions = {name: importlib.metadata.version(name) for name in ("smoothswap-jax", "jax", "flax", "optax")}
    device = jax.devices()[0]
    return {
        "command": shlex.join(["smoothswap", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "hardware": f"{device.platform} x {jax.device_count()} ({device.device_kind}), {os.cpu_count()} CPU cores, "
        f"{platform.machine()}",
        "seed": seed,
        "judge seed": seed + JUDGE_SEED,
        "effort": effort,
        "steps": ", ".join(f"{name} {config['steps']}" for name, config in configs.items()),
        "python": platform.python_version(),
        **versions,
        **{f"seconds: {name}": round(value, 1) for name, value in seconds.items()},
    }

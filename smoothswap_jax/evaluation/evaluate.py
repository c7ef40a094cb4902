"""`smoothswap evaluate`: a protocol's pairs, everyone's swaps of them, what the judges see, and a report of it all."""

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from smoothswap_jax.data.sources import from_folder as people_folder
from smoothswap_jax.evaluation import methods, scores
from smoothswap_jax.evaluation.cache import open_cache
from smoothswap_jax.evaluation.checks import Check, check_method
from smoothswap_jax.evaluation.features import Readings, read_faces
from smoothswap_jax.evaluation.galleries import recordings_of
from smoothswap_jax.evaluation.judges.registry import (
    FACTORS,
    Judge,
    check_judges,
    factor_judge,
    load_judge,
    named,
    params_digest,
    refuse_self_judges,
)
from smoothswap_jax.evaluation.methods import Method, MethodError
from smoothswap_jax.evaluation.pairs import PAIRS, Pairs, manifest
from smoothswap_jax.evaluation.protocols.registry import WORLD, Protocol, Request, find_protocol
from smoothswap_jax.evaluation.report import figures
from smoothswap_jax.evaluation.report.document import Picture, write_report
from smoothswap_jax.evaluation.results import Result, how_it_was_made, machine_facts, make_report, write_scores
from smoothswap_jax.evaluation.scores import Measure, Scores
from smoothswap_jax.faces.photos import save_photo, to_float
from smoothswap_jax.inference import restore
from smoothswap_jax.inference.load import load_swapper
from smoothswap_jax.metrics.fid import frechet_distance, kernel_distance
from smoothswap_jax.runtime import sharding
from smoothswap_jax.runtime.files import write_atomically

Progress = Callable[[str], Callable[[int, int], None]]
"""From the name of a piece of work to what shows how far it is."""
CACHE, SWAPS = "cache.sqlite", "swaps"
MIN_FID = 10  # pictures; a Frechet distance of fewer says nothing


@dataclass(frozen=True)
class Settings:
    """What `smoothswap evaluate` was asked for.

    checkpoints and swaps: name -> folder. judges: specs of `judges.load_judge`. trained_with: names or SHA-256 of
    judges that trained another's method. size: of the aligned faces; None: the checkpoint's or the data's own, or 256.
    """

    protocol: str
    out: Path
    data: Path | None = None
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    swaps: Mapping[str, Path] = field(default_factory=dict)
    judges: Sequence[str] = ()
    identity: str = "aligned"
    pose: str = "geodesic"
    size: int | None = None
    aligned: bool = False
    compression: str = "c23"
    split: str = "all"
    trained_with: Sequence[str] = ()
    allow_self_judge: bool = False
    devices: int | None = None


def evaluate(settings: Settings, progress: Progress | None = None) -> Path:
    """Runs an evaluation and writes its report; returns the path of report.html.

    Also written below `out`: pairs.csv, scores.csv (a row a method and pair), the swaps of checkpoints, and the cache
    by which a run that was stopped goes on.

    Raises ProtocolError, JudgeError, MethodError, and what loading checkpoints and data raises.
    """
    began = time.monotonic()
    result = run(settings, progress)
    write_scores(settings.out, result)
    facts = how_it_was_made(result, settings.judges, time.monotonic() - began)
    return write_report(settings.out, make_report(result, facts), machine_facts(result, settings.out))


def run(settings: Settings, progress: Progress | None = None) -> Result:
    """The evaluation itself; raises as `evaluate` does."""
    protocol = find_protocol(settings.protocol)
    if not settings.checkpoints and not settings.swaps:
        raise MethodError("found no method; wanted --checkpoint=DIR or --swaps=DIR")
    _check_names([*settings.checkpoints, *settings.swaps])
    mesh = sharding.make_mesh(settings.devices)
    swappers = {name: load_swapper(path) for name, path in settings.checkpoints.items()}
    read_world = settings.protocol.partition("@")[0] == "synthetic-truth"
    specs = [spec for spec in settings.judges if not (read_world and named(spec)[1] == FACTORS)]
    judges = [load_judge(spec, mesh, settings.identity, settings.pose) for spec in specs]
    check_judges(judges)
    trainers = {
        params_digest(swapper.variables["embedder"]): f"the embedder that trained {name}"
        for name, swapper in swappers.items()
    }
    judges = refuse_self_judges(judges, trainers, settings.trained_with, settings.allow_self_judge)
    pairs = make_pairs(settings, protocol, swappers, progress)
    judges += [_factor_judge(spec, settings, pairs, progress) for spec in settings.judges if spec not in specs]
    check_judges(judges)
    everyone = [*_methods(settings, swappers, pairs, mesh, progress), *methods.baselines(pairs)]
    return judge_methods(settings, protocol, pairs, everyone, judges, _grids(swappers, pairs, mesh), progress)


def write_pairs(settings: Settings, progress: Progress | None = None) -> Path:
    """Only the list of the protocol's pairs, for others to make swaps of; with the pictures where they are rendered."""
    _check_names([*settings.checkpoints, *settings.swaps])
    swappers = {name: load_swapper(path) for name, path in settings.checkpoints.items()}
    pairs = make_pairs(settings, find_protocol(settings.protocol), swappers, progress)
    if pairs.known_points:
        for row in np.unique([pairs.source, pairs.target]):
            name = pairs.gallery.names[row]
            path = settings.out / "faces" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_photo(path, pairs.gallery.read(np.array([row]))[0])
    return settings.out / PAIRS


def _check_names(names: Sequence[str]) -> None:
    """Names of methods become folders and rows: they must be free and different."""
    for name in names:
        if names.count(name) > 1 or name in (*methods.BASELINES, "", ".", "..") or "/" in name:
            wanted = f"wanted different names without '/' that are no baseline's ({', '.join(methods.BASELINES)})"
            raise MethodError(f"method {name!r}: {wanted}; give NAME=DIR")


# --- its parts --------------------------------------------------------------------------------------------------


def make_pairs(
    settings: Settings, protocol: Protocol, swappers: Mapping[str, restore.RestoredSwapper], progress: Progress | None
) -> Pairs:
    """The protocol's pairs; pairs.csv and the cache are made in `settings.out`."""
    for name, folder in settings.swaps.items():
        if not folder.is_dir():
            raise MethodError(f"--swaps={name}={folder}: found no such folder")
    if protocol.name != "faceforensics" and (settings.split, settings.compression) != ("all", "c23"):
        raise MethodError(f"--split, --compression: are of faceforensics; found protocol {protocol.name}")
    settings.out.mkdir(parents=True, exist_ok=True)
    sizes = {name: swapper.size for name, swapper in swappers.items()}
    if len(set(sizes.values())) > 1:
        raise MethodError(f"checkpoints work on faces of different sizes, {sizes}; wanted one size, judge them apart")
    size = settings.size or next(iter(sizes.values()), None)
    if sizes and size not in sizes.values():
        raise MethodError(f"--size={size}: the checkpoints work on faces of {next(iter(sizes.values()))} pixels")
    configs = [swapper.config["data"] for swapper in swappers.values()]
    request = Request(
        settings.data,
        size,
        open_cache(settings.out / CACHE),
        _world(swappers),
        {person for config in configs for person in _training_people(config)},
        settings.compression,
        settings.split,
        progress("aligning files") if progress else None,
    )
    pairs = methods.in_all_videos(protocol.pairs(request), settings.data, settings.swaps)
    write_atomically(settings.out / PAIRS, manifest(pairs))
    return pairs


def _world(swappers: Mapping[str, restore.RestoredSwapper]) -> Mapping[str, Any] | None:
    """The synthetic world that the checkpoints were trained in; they must agree, for only one can be judged."""
    configs = {name: swapper.config["data"] for name, swapper in swappers.items()}
    worlds = {
        name: {key: config.get(key, value) for key, value in WORLD.items()}
        for name, config in configs.items()
        if config["kind"] == "synthetic"
    }
    if any(world != next(iter(worlds.values())) for world in worlds.values()):
        raise MethodError(f"checkpoints were trained in different synthetic worlds, {worlds}; judge them apart")
    return next(iter(worlds.values()), None)


def _training_people(config: Mapping[str, Any]) -> list[str]:
    """The people a method was trained on, as far as its data can still be read."""
    from smoothswap_jax.data.dataset import DataError
    from smoothswap_jax.data.records import people_of

    try:
        if config["kind"] == "prepared":
            return [person for folder in config["dir"].split(",") for person in people_of(folder.strip(), "train")]
        if config["kind"] == "folder":
            return list(people_folder(config["dir"], "train", config["size"], config["held_out_people"]).people)
    except DataError as error:
        print(f"evaluate: cannot tell whom the method was trained on: {error}", file=sys.stderr)
    return []


def _factor_judge(spec: str, settings: Settings, pairs: Pairs, progress: Progress | None) -> Judge:
    """It is fitted to a world like the judged one, which is known when the pairs are."""
    world, cache = pairs.gallery.facts, open_cache(settings.out / CACHE)
    show = progress("fitting the judge of factors") if progress else None
    name = named(spec)[0] or FACTORS
    return factor_judge(name, pairs.gallery.size, float(world["spread"]), int(world["seed"]), cache, show)


def _methods(settings: Settings, swappers, pairs: Pairs, mesh, progress: Progress | None) -> list[Method]:
    # Those that may be faulty first: making swaps takes hours.
    given = [methods.from_folder(name, path, pairs, settings.aligned) for name, path in settings.swaps.items()]
    for method in given:
        method.read(np.arange(1))
    made = []
    for name, swapper in swappers.items():
        show = progress(f"{name}: swapping") if progress else None
        made.append(methods.from_checkpoint(name, swapper, pairs, settings.out / SWAPS / name, mesh, show))
    return [*made, *given]


def _grids(swappers: Mapping[str, restore.RestoredSwapper], pairs: Pairs, mesh) -> list[Picture]:
    """The source x target picture of each checkpoint; others' swaps are only known for their pairs."""
    pictures = []
    source, target = figures.ends(pairs)
    rows, columns = np.divmod(np.arange(len(source) * len(target)), len(target))
    sources, targets = pairs.gallery.read(source), pairs.gallery.read(target)
    for name, swapper in swappers.items():
        swap = sharding.in_chunks(restore.swap_function(swapper), mesh)
        swaps = swap(to_float(sources)[rows], to_float(targets)[columns])
        grid = swaps.reshape(len(source), len(target), *swaps.shape[1:])
        pictures.append(figures.source_target_grid(name, sources, targets, grid))
    return pictures


def judge_methods(
    settings: Settings,
    protocol: Protocol,
    pairs: Pairs,
    everyone: Sequence[Method],
    judges: Sequence[Judge],
    grids: Sequence[Picture] = (),
    progress: Progress | None = None,
) -> Result:
    """Scores every method with every judge."""
    cache = open_cache(settings.out / CACHE)
    gallery = pairs.gallery
    show = lambda name: progress(name) if progress else None
    originals = _originals(pairs, judges, cache, show("originals"))
    copies = scores.useless_copies(originals, pairs, judges)
    result_scores: dict[str, Scores] = {}
    checks: dict[str, list[Check]] = {}
    distributions: dict[str, dict[str, float]] = {}
    measures: list[Measure] = []
    for method in everyone:
        readings = _readings(method, originals, pairs, judges, cache, show(f"{method.name}: judging"))
        if not method.baseline:
            checks[method.name] = check_method(method, readings, originals, pairs)
        result_scores[method.name], measures = scores.score(method, readings, originals, pairs, judges, copies)
        distributions[method.name] = _distribution(readings, originals, pairs, judges)
    rows = np.unique(np.concatenate([pairs.source, pairs.target]))
    people, recordings = [gallery.people[row] for row in rows], recordings_of(gallery, rows)
    found = {
        judge.name: scores.people_verification(originals.features[judge.name][rows], people, recordings)
        for judge in judges
        if judge.role == "identity"
    }
    return Result(
        protocol, pairs, {method.name: method for method in everyone}, result_scores, measures, judges, checks,
        distributions, found, grids,
    )  # fmt: skip


def _readings(method: Method, originals: Readings, pairs: Pairs, judges: Sequence[Judge], cache, progress) -> Readings:
    """What the judges see in a method's pictures, one a pair; those of baselines have been read already."""
    targets = originals.points[pairs.target]
    expected = pairs.gallery.points[pairs.truth] if pairs.known_points else targets
    end = pairs.target if pairs.truth is None else pairs.truth
    against = lambda positions: pairs.gallery.read(end[positions])
    read = lambda chosen: read_faces(
        method.read, len(pairs), chosen, cache, expected, pairs.known_points, targets, against, progress
    )
    if method.rows is None:
        return read(judges)
    readings = originals.take(method.rows)
    beside = [
        judge for judge in judges if judge.compare or judge.points == "target"
    ]  # what they see depends on the pair
    if not beside:
        return readings
    return dataclasses.replace(readings, features={**readings.features, **read(beside).features})


def _originals(pairs: Pairs, judges: Sequence[Judge], cache, progress) -> Readings:
    """The readings of all faces of the gallery that the pairs use, by row of the gallery."""
    ends = [pairs.source, pairs.target, *([] if pairs.truth is None else [pairs.truth])]
    rows = np.unique(np.concatenate(ends))
    read = lambda positions: pairs.gallery.read(rows[positions])
    found = read_faces(
        read, len(rows), judges, cache, pairs.gallery.points[rows], pairs.known_points, progress=progress
    )
    place = np.zeros(len(pairs.gallery), np.int64)
    place[rows] = np.arange(len(rows))
    return found.take(place)


def _distribution(readings: Readings, originals: Readings, pairs: Pairs, judges: Sequence[Judge]) -> dict[str, float]:
    """FID and KID of the swaps against the distinct targets."""
    values: dict[str, float] = {}
    targets = np.unique(pairs.target)
    for judge in judges:
        if judge.role == "distribution" and min(len(targets), len(pairs)) >= MIN_FID:
            swaps, real = readings.features[judge.name], originals.features[judge.name][targets]
            values[f"{judge.name}: FID"] = frechet_distance(swaps, real)
            mean, _ = kernel_distance(swaps, real, subset_size=None)
            values[f"{judge.name}: KID x 1000"] = 1000 * mean
    return values

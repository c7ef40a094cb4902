"""`smoothswap evaluate`: a protocol's pairs, everyone's swaps of them, what the judges see, and a report of it all."""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from smoothswap_jax.data.dataset import DataError
from smoothswap_jax.data.sources import training_people
from smoothswap_jax.evaluation import methods
from smoothswap_jax.evaluation.cache import CACHE, open_cache
from smoothswap_jax.evaluation.checks import Check, check_method
from smoothswap_jax.evaluation.features import read_originals, read_swaps
from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.judges.registry import (
    check_judges,
    check_wanted,
    judges_to_have,
    load_judge,
    refuse_self_judges,
)
from smoothswap_jax.evaluation.measures import scoring
from smoothswap_jax.evaluation.measures.base import Measure, Scores
from smoothswap_jax.evaluation.methods import Method, MethodError
from smoothswap_jax.evaluation.pairs import PAIRS, Pairs, manifest
from smoothswap_jax.evaluation.progress import StartProgress, started
from smoothswap_jax.evaluation.protocols.base import Protocol, ProtocolError, Request
from smoothswap_jax.evaluation.protocols.registry import check_options, find_protocol
from smoothswap_jax.evaluation.report import figures
from smoothswap_jax.evaluation.report.document import Picture, write_report
from smoothswap_jax.evaluation.results import Result, how_it_was_made, machine_facts, make_report, write_scores
from smoothswap_jax.evaluation.settings import EvaluationSettings, check_out, record_command
from smoothswap_jax.faces.photos import save_photo, to_float
from smoothswap_jax.inference import restore
from smoothswap_jax.inference.load import load_swapper
from smoothswap_jax.runtime import sharding
from smoothswap_jax.runtime.files import write_atomically

log = logging.getLogger(__name__)
SWAPS = "swaps"


def evaluate(settings: EvaluationSettings, progress: StartProgress | None = None) -> Path:
    """Runs an evaluation and writes its report; returns the path of report.html.

    Also written below `out`: pairs.csv, scores.csv (a row for each method and pair), the swaps of checkpoints, and the
    cache from which a run that was stopped continues.

    Raises ProtocolError, JudgeError, MethodError, FileExistsError for an `out` that holds something else (`check_out`),
    and what loading checkpoints and data raises.
    """
    protocol = find_protocol(settings.protocol)
    check_options(protocol, settings.options, settings.data)
    check_out(settings)
    page = _judged(settings, progress) if protocol.run is None else protocol.run(settings, progress)
    record_command(settings)
    return page


def _judged(settings: EvaluationSettings, progress: StartProgress | None) -> Path:
    """The report of a protocol that judges swaps."""
    began = time.monotonic()
    if not settings.judges:
        log.warning(
            "no --judge is given: only pixels are compared, and nothing says whose face it is; there are: %s",
            judges_to_have(),
        )
    result = judge_swaps(settings, progress)
    write_scores(settings.out, result)
    facts = how_it_was_made(result, settings.judges, time.monotonic() - began)
    return write_report(settings.out, make_report(result, facts), machine_facts(result, settings.out))


def judge_swaps(settings: EvaluationSettings, progress: StartProgress | None = None) -> Result:
    """Makes the pairs and the checkpoints' swaps, and scores every method with every judge; raises as `evaluate`."""
    protocol = _protocol_of_swaps(settings)
    if not settings.checkpoints and not settings.swaps:
        raise MethodError("found no method; wanted --checkpoint=DIR or --swaps=DIR")
    _check_methods(settings)
    check_wanted(settings.judges, settings.identity, settings.pose)
    mesh = sharding.make_mesh(settings.devices)
    swappers = {name: load_swapper(path) for name, path in settings.checkpoints.items()}
    judges = [load_judge(text, mesh, settings.identity, settings.pose) for text in settings.judges]
    check_judges(judges)
    trainers = {
        digest: f"the embedder that trained {name}" for name, swapper in swappers.items() for digest in swapper.trainers
    }
    judges = refuse_self_judges(judges, trainers, settings.trained_with, settings.allow_self_judge)
    pairs = make_pairs(settings, protocol, swappers, progress)
    everyone = [*_methods(settings, swappers, pairs, mesh, progress), *methods.baselines(pairs)]
    return score_methods(settings, protocol, pairs, everyone, judges, _grids(swappers, pairs, mesh), progress)


def write_pairs(settings: EvaluationSettings, progress: StartProgress | None = None) -> Path:
    """Only the list of the protocol's pairs, for others to make swaps of; with the pictures where they are rendered."""
    protocol = _protocol_of_swaps(settings)
    check_out(settings)
    _check_methods(settings)
    swappers = {name: load_swapper(path) for name, path in settings.checkpoints.items()}
    pairs = make_pairs(settings, protocol, swappers, progress)
    if pairs.known_points:
        for row in np.unique([pairs.source, pairs.target]):
            name = pairs.gallery.names[row]
            path = settings.out / "faces" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_photo(path, pairs.gallery.read(np.array([row]))[0])
    return settings.out / PAIRS


def _protocol_of_swaps(settings: EvaluationSettings) -> Protocol:
    protocol = find_protocol(settings.protocol)
    if protocol.pairs is None:
        raise ProtocolError(f"protocol {protocol.title}: has no pairs to swap; wanted a protocol that judges swaps")
    check_options(protocol, settings.options, settings.data)
    return protocol


def _check_methods(settings: EvaluationSettings) -> None:
    """Before anything is loaded: folders of swaps must be there; names of methods become folders and rows, so they must
    be different and not taken."""
    for name, folder in settings.swaps.items():
        if not folder.is_dir():
            raise MethodError(f"--swaps={name}={folder}: found no such folder")
    names = [*settings.checkpoints, *settings.swaps]
    for name in names:
        if names.count(name) > 1 or name in (*methods.BASELINES, "", ".", "..") or "/" in name:
            wanted = f"wanted different names without '/' that are no baseline's ({', '.join(methods.BASELINES)})"
            raise MethodError(f"method {name!r}: {wanted}; give NAME=DIR")


# --- its parts --------------------------------------------------------------------------------------------------


def make_pairs(
    settings: EvaluationSettings,
    protocol: Protocol,
    swappers: Mapping[str, restore.RestoredSwapper],
    progress: StartProgress | None,
) -> Pairs:
    """The protocol's pairs; pairs.csv and the cache are made in `settings.out`."""
    assert protocol.pairs is not None
    settings.out.mkdir(parents=True, exist_ok=True)
    trained_in = {name: swapper.config["data"] for name, swapper in swappers.items()}
    request = Request(
        settings.data,
        _size(settings, swappers),
        open_cache(settings.out / CACHE),
        trained_in,
        {person for swapper in swappers.values() for person in _training_people(swapper)},
        settings.options,
        started(progress, "aligning files"),
    )
    print(f"evaluate: making the pairs of {settings.protocol}", file=sys.stderr, flush=True)
    pairs = methods.in_all_videos(protocol.pairs(request), settings.data, settings.swaps)
    write_atomically(settings.out / PAIRS, manifest(pairs))
    return pairs


def _size(settings: EvaluationSettings, swappers: Mapping[str, restore.RestoredSwapper]) -> int | None:
    """The side of the aligned faces that are judged, pixels: the largest of the checkpoints' sizes unless one is asked
    for; None leaves it to the data."""
    return settings.size or max((swapper.size for swapper in swappers.values()), default=None)


def _training_people(swapper: restore.RestoredSwapper) -> list[str]:
    """Digests of the people a method was trained on, as its export says or as far as its data can still be read."""
    if swapper.people is not None:
        return list(swapper.people)
    try:
        return training_people(swapper.config["data"])
    except DataError as error:
        print(f"evaluate: cannot tell whom the method was trained on: {error}", file=sys.stderr)
    return []


def _methods(
    settings: EvaluationSettings,
    swappers: Mapping[str, restore.RestoredSwapper],
    pairs: Pairs,
    mesh,
    progress: StartProgress | None,
) -> list[Method]:
    # The given ones first, since they may be faulty: making swaps takes hours.
    given = [methods.swaps_of_folder(name, path, pairs, settings.aligned) for name, path in settings.swaps.items()]
    for method in given:
        method.read(np.arange(1))
    made = []
    for name, swapper in swappers.items():
        show = started(progress, f"{name}: swapping")
        made.append(methods.swaps_of_checkpoint(name, swapper, pairs, settings.out / SWAPS / name, mesh, show))
    return [*made, *given]


def _grids(swappers: Mapping[str, restore.RestoredSwapper], pairs: Pairs, mesh) -> list[Picture]:
    """The source x target picture of each checkpoint; others' swaps exist only for the pairs."""
    pictures = []
    source, target = figures.ends(pairs)
    rows, columns = np.divmod(np.arange(len(source) * len(target)), len(target))
    sources, targets = pairs.gallery.read(source), pairs.gallery.read(target)
    for name, swapper in swappers.items():
        swaps = to_float(methods.swaps_by(swapper, pairs.gallery.size, mesh)(sources[rows], targets[columns]))
        grid = swaps.reshape(len(source), len(target), *swaps.shape[1:])
        pictures.append(figures.source_target_grid(name, sources, targets, grid))
    return pictures


def score_methods(
    settings: EvaluationSettings,
    protocol: Protocol,
    pairs: Pairs,
    everyone: Sequence[Method],
    judges: Sequence[Judge],
    grids: Sequence[Picture] = (),
    progress: StartProgress | None = None,
) -> Result:
    """Scores every method with every judge."""
    cache = open_cache(settings.out / CACHE)
    originals = read_originals(pairs, judges, cache, started(progress, "originals"))
    costs = scoring.failure_costs(originals, pairs, judges)
    scores: dict[str, Scores] = {}
    checks: dict[str, list[Check]] = {}
    distributions: dict[str, dict[str, float]] = {}
    measures: list[Measure] = []
    for method in everyone:
        readings = read_swaps(method, originals, pairs, judges, cache, started(progress, f"{method.name}: judging"))
        if not method.baseline:
            checks[method.name] = check_method(method, readings, originals, pairs)
        scores[method.name], measures = scoring.score(method, readings, originals, pairs, judges, costs)
        distributions[method.name] = scoring.set_scores(readings, originals, pairs, judges)
    return Result(
        protocol=protocol,
        pairs=pairs,
        methods={method.name: method for method in everyone},
        scores=scores,
        measures=measures,
        judges=judges,
        checks=checks,
        distributions=distributions,
        verification=scoring.judge_checks(originals, pairs, judges),
        agreement=scoring.judge_agreement(
            originals, pairs, judges, {method.name: scores[method.name] for method in everyone if not method.baseline}
        ),
        grids=grids,
    )

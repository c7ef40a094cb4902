"""Trains an experiment's runs, measures them, decides its claims and writes one page."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from smoothswap_jax.evaluation.judges.registry import check_judges, load_judge
from smoothswap_jax.evaluation.progress import StartProgress
from smoothswap_jax.evaluation.report.document import Block, Report, Table, Text, write_report
from smoothswap_jax.evaluation.report.surroundings import surroundings
from smoothswap_jax.reproduce.claims import RULE, Outcome, decide, decide_prediction
from smoothswap_jax.reproduce.experiments import EXPERIMENTS, JUDGES, SCALES, Experiment
from smoothswap_jax.reproduce.plan import FILE, Plan, Run, check_same, described, keep, trained_before
from smoothswap_jax.runtime import metric_log
from smoothswap_jax.runtime.checkpoint import steps_of
from smoothswap_jax.runtime.files import InUse, check_place, held
from smoothswap_jax.runtime.sharding import make_mesh
from smoothswap_jax.training.loop import train

RUNS, TAKEN = "runs", "at_work"
"""Folders of OUT: of trainings, and of what processes are at."""
WAIT = 5.0
"""Seconds between two looks at what others are at."""


def reproduce(
    experiment: str,
    scale: str,
    out: str | Path,
    checkpoints: Mapping[str, str] | None = None,
    progress: StartProgress | None = None,
) -> Path:
    """Runs an experiment; returns the path of `out`/EXPERIMENT/report.html. The same call goes on with what was
    stopped, and several processes that make it at once share the trainings.

    Args:
      experiment, scale: of `experiments.EXPERIMENTS` and `SCALES`.
      out: a new folder, or that of experiments of this scale, whose trainings are used again: runs/ is for all of them.
      checkpoints: name -> folder of swappers that exist, for the experiment 'comparison'.

    Raises ValueError for an unknown experiment or scale, for an `out` that holds something else, and for checkpoints
    that the experiment does not take; what `load_swapper` raises; Stopped when a
    signal stops one of the trainings.
    """
    for name, value, known in (("experiment", experiment, EXPERIMENTS), ("scale", scale, SCALES)):
        if value not in known:
            raise ValueError(f"--{name}: found {value!r}; wanted one of {', '.join(known)}")
    out, began, chosen = Path(out), time.monotonic(), EXPERIMENTS[experiment]
    if checkpoints and experiment != "comparison":
        raise ValueError(f"--checkpoint: found with --experiment={experiment}; wanted none, or --experiment=comparison")
    methods = {name: described(folder) for name, folder in (checkpoints or {}).items()}
    plan, own = chosen.plan(scale, SCALES[scale], methods), out / experiment
    check_place(out)
    others = (
        [path.name for path in out.iterdir() if path.name not in (RUNS, TAKEN, *EXPERIMENTS)] if out.is_dir() else []
    )
    if others:
        raise ValueError(f"{out}: holds {others[0]}; wanted a new folder, or one of experiments to go on with")
    own.mkdir(parents=True, exist_ok=True)
    keep(plan, own, [run.name for run in plan.runs if _is_trained(run, out / RUNS)])
    _say(f"plan and rule, {own / FILE}: SHA-256 {plan.digest}")
    if plan.pairs:
        check_judges([load_judge(name, make_mesh()) for name in JUDGES])  # not after an hour of training
    _train_all(plan, out)
    try:
        with _taken(out, f"measuring-{experiment}"):
            _say("measuring")
            page = _write_page(plan, chosen, out, progress or _progress, began)
    except InUse:
        _say("another process is measuring, and writes the page")
        page = own / "report.html"
    _say(f"plan and rule, {own / FILE}: SHA-256 {plan.digest}")
    return page


def _write_page(plan: Plan, experiment: Experiment, out: Path, progress: StartProgress, began: float) -> Path:
    own = out / plan.experiment
    measured = experiment.measure(plan, out / RUNS, own, progress)
    outcomes = [decide(claim, measured.scores, measured.people, measured.rests) for claim in plan.claims]
    if points := measured.points:
        outcomes += [decide_prediction(one, points.of, points.errors, points.objectives) for one in plan.predictions]
    facts = surroundings(f"reproduce {plan.experiment}, {plan.scale}", [], time.monotonic() - began)
    report = _report(plan, outcomes, measured.blocks, facts, before=trained_before(own))
    return write_report(own, report, _for_programs(plan, outcomes))


def _say(text: str) -> None:
    print(f"reproduce: {text}", file=sys.stderr, flush=True)


def _progress(name: str):
    return metric_log.files_progress(f"reproduce: {name}")


def _train_all(plan: Plan, out: Path) -> None:
    """Trains what is not trained yet, and says how long the rest will take by what took place in this call.

    Several processes with the same `out` share the work: each takes what no other one is at, and waits for what the
    others took.
    """
    runs = out / RUNS
    left, seconds = list(plan.runs), dict[str, list[float]]()
    while left:
        for run in list(left):
            if any(run.against == other.name for other in left):
                continue  # its embedder is at work elsewhere
            with contextlib.suppress(InUse), _taken(out, run.name):
                check_same(run, runs)
                if not _is_trained(run, runs):
                    number, rest = plan.runs.index(run) + 1, [one for one in left if not _is_trained(one, runs)]
                    _say(f"training {number} of {len(plan.runs)}: {run.name}{_time_left(rest, seconds)}")
                    start = time.monotonic()
                    train(run.config(runs), runs / run.name)
                    seconds.setdefault(run.stage, []).append(time.monotonic() - start)
                left.remove(run)
        if left:
            time.sleep(WAIT)


def _is_trained(run: Run, runs: Path) -> bool:
    return next(iter(steps_of(runs / run.name)), -1) >= run.config(runs)["steps"]


@contextlib.contextmanager
def _taken(out: Path, work: str) -> Iterator[None]:
    """Keeps a piece of work for this process. Raises InUse where another one has it."""
    place = out / TAKEN / work
    place.mkdir(parents=True, exist_ok=True)
    with held(place):
        yield


def _time_left(left: Sequence[Run], seconds: dict[str, list[float]]) -> str:
    """'; about 12 min of training left', of the stages that are known already."""
    known = [sum(seconds[run.stage]) / len(seconds[run.stage]) for run in left if run.stage in seconds]
    if not known:
        return ""
    more = "" if len(known) == len(left) else f", and {len(left) - len(known)} trainings of the other stage"
    return f"; about {sum(known) / 60:.0f} min of training left{more}"


def _report(
    plan: Plan, outcomes: Sequence[Outcome], blocks: Sequence[Block], facts: dict, before: Sequence[str]
) -> Report:
    verdicts = [f"{outcome.word.upper()}: {outcome.text}" for outcome in outcomes]
    claims = Table(
        "Claims",
        ["claim", "verdict", "difference", "of"],
        [[outcome.text, outcome.word, outcome.difference, outcome.why] for outcome in outcomes],
        "By the rule below. Differences are of the arms' means, with 95% intervals over seeds and people; of "
        "predictions they are rank correlations.",
    )
    trained = Table(
        "What was trained",
        ["run", "stage", "variant", "fields that differ from it", "trained"],
        [
            [run.name, run.stage, run.variant, _fields(run), "for another experiment" if run.name in before else ""]
            for run in plan.runs
        ],
        "What was trained for another experiment was there before this plan was written.",
    )
    given = Table(
        "What was given",
        ["swapper", "folder", "generator sha256"],
        [[name, *of.values()] for name, of in plan.methods.items()],
    )
    rule = Text(
        "The rule, fixed before the first training", [RULE, f"SHA-256 of plan and rule ({FILE}): {plan.digest}"]
    )
    shown: list[Block] = [claims] if outcomes else []
    return Report(
        f"Reproduction: {plan.experiment}, at the scale of a {plan.scale}",
        [plan.about],
        facts,
        blocks=[*shown, *blocks, *([trained] if plan.runs else []), *([given] if plan.methods else []), rule],
        verdicts=verdicts,
    )


def _fields(run: Run) -> str:
    against = [f"embedder of {run.against}"] if run.against else []
    return ", ".join([*(f"{name}={value}" for name, value in run.fields.items()), *against])


def _for_programs(plan: Plan, outcomes: Sequence[Outcome]) -> dict:
    return {
        "plan": {"file": FILE, "sha256": plan.digest},
        "claims": [
            {
                "text": outcome.text,
                "verdict": outcome.word,
                "difference": None if outcome.difference is None else vars(outcome.difference),
                "why": outcome.why,
            }
            for outcome in outcomes
        ],
    }

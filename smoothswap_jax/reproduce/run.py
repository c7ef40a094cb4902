"""Trains an experiment's runs, measures them, decides its claims and writes one page."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from smoothswap_jax.evaluation.judges.registry import check_judges, load_judge
from smoothswap_jax.evaluation.progress import StartProgress
from smoothswap_jax.evaluation.report.document import Block, Report, Table, Text, write_report
from smoothswap_jax.evaluation.report.surroundings import surroundings
from smoothswap_jax.reproduce.claims import RULE, Outcome, decide
from smoothswap_jax.reproduce.experiments import EXPERIMENTS, JUDGES, SCALES, Experiment
from smoothswap_jax.reproduce.plan import FILE, Plan, Run, keep
from smoothswap_jax.runtime import metric_log
from smoothswap_jax.runtime.checkpoint import steps_of
from smoothswap_jax.runtime.files import InUse, check_place, held
from smoothswap_jax.runtime.sharding import make_mesh
from smoothswap_jax.training.loop import train

TAKEN, WAIT = "at_work", 5.0
"""Folder of what processes are at, and seconds between two looks at what others are at."""


def reproduce(experiment: str, scale: str, out: str | Path, progress: StartProgress | None = None) -> Path:
    """Runs an experiment; returns the path of report.html. The same call goes on with what was stopped;
    several processes that make it at once share the trainings.

    Args:
      experiment, scale: of `experiments.EXPERIMENTS` and `SCALES`.
      out: a new folder, or that of the same experiment to go on with.

    Raises ValueError for an unknown experiment or scale, and for an `out` that holds something else; Stopped when a
    signal stops one of the trainings.
    """
    for name, value, known in (("experiment", experiment, EXPERIMENTS), ("scale", scale, SCALES)):
        if value not in known:
            raise ValueError(f"--{name}: found {value!r}; wanted one of {', '.join(known)}")
    out, began, chosen = Path(out), time.monotonic(), EXPERIMENTS[experiment]
    plan = chosen.plan(scale, SCALES[scale])
    check_place(out)
    if out.is_dir() and any(out.iterdir()) and not (out / FILE).is_file():
        raise ValueError(f"{out}: holds other files; wanted a new folder, or that of this experiment to go on with")
    out.mkdir(parents=True, exist_ok=True)
    keep(plan, out)
    _say(f"plan and rule, {out / FILE}: SHA-256 {plan.digest}")
    if plan.of("swapper"):
        check_judges([load_judge(name, make_mesh()) for name in JUDGES])  # not after an hour of training
    _train_all(plan, out)
    try:
        with _taken(out, "measuring"):
            _say("measuring")
            page = _write_page(plan, chosen, out, progress or _progress, began)
    except InUse:
        _say("another process is measuring, and writes the page")
        page = out / "report.html"
    _say(f"plan and rule, {out / FILE}: SHA-256 {plan.digest}")
    return page


def _write_page(plan: Plan, experiment: Experiment, out: Path, progress: StartProgress, began: float) -> Path:
    measured = experiment.measure(plan, out, progress)
    outcomes = [decide(claim, measured.scores, measured.people, measured.rests) for claim in plan.claims]
    facts = surroundings(f"reproduce {plan.experiment}, {plan.scale}", [], time.monotonic() - began)
    return write_report(out, _report(plan, outcomes, measured.blocks, facts), _for_programs(plan, outcomes))


def _say(text: str) -> None:
    print(f"reproduce: {text}", file=sys.stderr, flush=True)


def _progress(name: str):
    return metric_log.files_progress(f"reproduce: {name}")


def _train_all(plan: Plan, out: Path) -> None:
    """Trains what is not trained yet, and says how long the rest will take by what took place in this call.

    Several processes with the same `out` share the work: each takes what no other one is at, and waits for what the
    others took.
    """
    configs = {run.name: run.config(out / "runs") for run in plan.runs}
    trained = lambda run: next(iter(steps_of(out / "runs" / run.name)), -1) >= configs[run.name]["steps"]
    left, seconds = list(plan.runs), dict[str, list[float]]()
    while left:
        for run in list(left):
            if any(run.against == other.name for other in left):
                continue  # its embedder is at work elsewhere
            with contextlib.suppress(InUse), _taken(out, run.name):
                if not trained(run):
                    number, rest = plan.runs.index(run) + 1, [one for one in left if not trained(one)]
                    _say(f"training {number} of {len(plan.runs)}: {run.name}{_time_left(rest, seconds)}")
                    start = time.monotonic()
                    train(configs[run.name], out / "runs" / run.name)
                    seconds.setdefault(run.stage, []).append(time.monotonic() - start)
                left.remove(run)
        if left:
            time.sleep(WAIT)


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


def _report(plan: Plan, outcomes: Sequence[Outcome], blocks: Sequence[Block], facts: dict) -> Report:
    verdicts = [f"{outcome.word.upper()}: {outcome.claim.text}" for outcome in outcomes]
    claims = Table(
        "Claims",
        ["claim", "verdict", "difference", "of"],
        [[outcome.claim.text, outcome.word, outcome.difference, outcome.why] for outcome in outcomes],
        "By the rule below. Differences are of the arms' means, with 95% intervals over seeds and people.",
    )
    arms = Table(
        "What was trained",
        ["run", "stage", "variant", "fields that differ from it"],
        [[run.name, run.stage, run.variant, _fields(run)] for run in plan.runs],
    )
    rule = Text(
        "The rule, fixed before the first training", [RULE, f"SHA-256 of plan and rule ({FILE}): {plan.digest}"]
    )
    shown: list[Block] = [claims] if outcomes else []
    return Report(
        f"Reproduction: {plan.experiment}, at the scale of a {plan.scale}",
        [plan.about],
        facts,
        blocks=[*shown, *blocks, arms, rule],
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
                "text": outcome.claim.text,
                "verdict": outcome.word,
                "difference": None if outcome.difference is None else vars(outcome.difference),
                "why": outcome.why,
            }
            for outcome in outcomes
        ],
    }

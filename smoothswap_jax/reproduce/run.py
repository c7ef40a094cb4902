"""Trains an experiment's runs, measures them, decides its claims and writes one page."""

import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from smoothswap_jax.evaluation.judges.registry import JudgeError, check_judges, load_judge, refuse_self_judges
from smoothswap_jax.evaluation.methods import BASELINES
from smoothswap_jax.evaluation.progress import StartProgress
from smoothswap_jax.evaluation.report.document import Block, Report, Table, Text, write_report
from smoothswap_jax.evaluation.report.surroundings import surroundings
from smoothswap_jax.inference.load import load_swapper
from smoothswap_jax.reproduce.claims import RULE, Outcome, decide, decide_prediction
from smoothswap_jax.reproduce.common import SCALES, Experiment
from smoothswap_jax.reproduce.experiments import EXPERIMENTS
from smoothswap_jax.reproduce.plan import (
    FILE,
    Plan,
    Run,
    begun_before,
    check_kept,
    check_same,
    described,
    keep,
)
from smoothswap_jax.reproduce.swappers import JUDGES
from smoothswap_jax.runtime import metric_log
from smoothswap_jax.runtime.checkpoint import find_intact
from smoothswap_jax.runtime.files import InUse, check_place, held
from smoothswap_jax.runtime.folders import DEFAULT
from smoothswap_jax.runtime.paths import on_disk
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

    Raises ValueError for an unknown experiment or scale, for an `out` that holds something else or another plan, and
    for checkpoints that the experiment does not take; what `load_swapper` raises; Stopped when a signal stops one of
    the trainings.
    """
    for name, value, known in (("experiment", experiment, EXPERIMENTS), ("scale", scale, SCALES)):
        if value not in known:
            raise ValueError(f"--{name}: found {value!r}; wanted one of {', '.join(known)}")
    out, began, chosen = on_disk(out, "an experiment"), time.monotonic(), EXPERIMENTS[experiment]
    if checkpoints and experiment != "comparison":
        raise ValueError(f"--checkpoint: found with --experiment={experiment}; wanted none, or --experiment=comparison")
    if taken := {DEFAULT, *BASELINES} & {*(checkpoints or {})}:
        raise ValueError(
            f"--checkpoint: found the name {min(taken)!r}, which is there already; wanted NAME=DIR with another"
        )
    methods = {name: described(folder) for name, folder in (checkpoints or {}).items()}
    plan, own, runs = chosen.plan(scale, SCALES[scale], methods), out / experiment, out / RUNS
    check_place(out)
    ours = [RUNS, *(f"{name}/{FILE}" for name in EXPERIMENTS)]
    if out.is_dir() and any(out.iterdir()) and not any((out / name).exists() for name in ours):
        raise ValueError(f"{out}: holds other files; wanted a new folder, or one of experiments to go on with")
    # All that can be seen now, before the plan is written that must not change and before hours of training.
    kept = check_kept(plan, own)
    for run in plan.runs:
        check_same(run, runs)
    if plan.pairs:
        _check_judges(plan)
    if not kept:
        keep(plan, own, {run.name: step for run in plan.runs if (step := _step(run, runs)) is not None})
    _say(f"plan and rule, {own / FILE}: SHA-256 {plan.digest}")
    _train_all(plan, runs, out / TAKEN)
    page = _measure(plan, chosen, own, runs, out / TAKEN, progress or _progress, began)
    _say(f"plan and rule, {own / FILE}: SHA-256 {plan.digest}")
    return page


def _check_judges(plan: Plan) -> None:
    """Raises JudgeError for judges that cannot work here, and ValueError for a given swapper that one trained."""
    judges = [load_judge(name, make_mesh()) for name in JUDGES]
    check_judges(judges)
    for name, method in plan.methods.items():
        trainers = {digest: "the network that trained it" for digest in load_swapper(method["folder"]).trainers}
        try:
            refuse_self_judges(judges, trainers, (), False)
        except JudgeError as error:
            raise ValueError(
                f"--checkpoint={name}: is judged by {' and '.join(JUDGES)}, of which one trained it ({error}); wanted "
                "another swapper, or `smoothswap evaluate` with other judges"
            ) from error


def _measure(
    plan: Plan, experiment: Experiment, own: Path, runs: Path, taken: Path, progress: StartProgress, began: float
) -> Path:
    """Measures and writes the page, unless another process does, which is waited for."""
    page, waited = own / "report.html", False
    while True:
        with contextlib.ExitStack() as stack:
            if not _take(taken / f"measuring-{plan.experiment}", stack):
                if not waited:
                    _say("another process is measuring; waiting for its page")
                waited = True
            elif waited and page.is_file() and page.stat().st_mtime > time.time() - (time.monotonic() - began):
                return page
            else:
                _say("measuring")
                return _write_page(plan, experiment, own, runs, progress, began)
        time.sleep(WAIT)


def _write_page(
    plan: Plan, experiment: Experiment, own: Path, runs: Path, progress: StartProgress, began: float
) -> Path:
    measured = experiment.measure(plan, runs, own, progress)
    outcomes = [decide(claim, measured.scores, measured.people, measured.rests) for claim in plan.claims]
    if points := measured.points:
        outcomes += [decide_prediction(one, points.of, points.errors, points.objectives) for one in plan.predictions]
    facts = surroundings(f"reproduce {plan.experiment}, {plan.scale}", [], time.monotonic() - began)
    report = _report(plan, outcomes, measured.blocks, facts, begun=begun_before(own))
    return write_report(own, report, _for_programs(plan, outcomes))


def _say(text: str) -> None:
    print(f"reproduce: {text}", file=sys.stderr, flush=True)


def _progress(name: str):
    return metric_log.files_progress(f"reproduce: {name}")


def _train_all(plan: Plan, runs: Path, taken: Path) -> None:
    """Trains what is not trained yet, and says how long the rest will take by what took place in this call.

    Several processes with the same folders share the work: each takes what no other one is at, and waits for what the
    others took.
    """
    left, said, seconds = list(plan.runs), "", dict[str, list[float]]()
    while left:
        for run in list(left):
            with contextlib.ExitStack() as stack:
                needed = any(run.against == other.name for other in left)  # its embedder is at work elsewhere
                if needed or not _take(taken / run.name, stack):
                    continue
                if not _is_trained(run, runs):
                    number, rest = plan.runs.index(run) + 1, [one for one in left if not _is_trained(one, runs)]
                    _say(f"training {number} of {len(plan.runs)}: {run.name}{_time_left(rest, seconds)}")
                    start = time.monotonic()
                    train(run.config(runs), runs / run.name)
                    seconds.setdefault(run.stage, []).append(time.monotonic() - start)
                left.remove(run)
        if left and said != (waiting := ", ".join(run.name for run in left)):
            said = waiting
            _say(f"waiting for what other processes are at: {waiting}")
        if left:
            time.sleep(WAIT)


def _step(run: Run, runs: Path) -> int | None:
    """The newest whole checkpoint of a run."""
    return find_intact(runs / run.name).step


def _is_trained(run: Run, runs: Path) -> bool:
    step = _step(run, runs)
    return step is not None and step >= run.config(runs)["steps"]


def _take(place: Path, stack: contextlib.ExitStack) -> bool:
    """Keeps a piece of work for this process until the stack ends; False where another one has it."""
    place.mkdir(parents=True, exist_ok=True)
    try:
        stack.enter_context(held(place))
    except InUse:
        return False
    return True


def _time_left(left: Sequence[Run], seconds: dict[str, list[float]]) -> str:
    """'; about 12 min of training left', of the stages that are known already."""
    known = [sum(seconds[run.stage]) / len(seconds[run.stage]) for run in left if run.stage in seconds]
    if not known:
        return ""
    more = "" if len(known) == len(left) else f", and {len(left) - len(known)} trainings of the other stage"
    return f"; about {sum(known) / 60:.0f} min of training left{more}"


def _report(
    plan: Plan, outcomes: Sequence[Outcome], blocks: Sequence[Block], facts: dict, begun: Mapping[str, int]
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
        ["run", "stage", "variant", "fields that differ from it", "begun before"],
        [
            [run.name, run.stage, run.variant, _fields(run), f"step {begun[run.name]:,}" if run.name in begun else ""]
            for run in plan.runs
        ],
        "What was begun before, for another experiment, had that step when this plan was written.",
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

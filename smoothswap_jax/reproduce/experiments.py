"""The experiments: what each trains, measures and claims."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from smoothswap_jax.bench.embedding import bench_embedding
from smoothswap_jax.evaluation.evaluate import judge_swaps
from smoothswap_jax.evaluation.methods import BASELINES
from smoothswap_jax.evaluation.progress import StartProgress
from smoothswap_jax.evaluation.protocols.smoothness import measure_smoothness, smoothness_blocks
from smoothswap_jax.evaluation.report.document import Block, Curve, Picture, Table
from smoothswap_jax.evaluation.report.numbers import Cell
from smoothswap_jax.evaluation.results import Result, score_tables, write_scores
from smoothswap_jax.evaluation.settings import EvaluationSettings
from smoothswap_jax.inference.load import swapper_folder
from smoothswap_jax.metrics.bootstrap import bootstrap_interval
from smoothswap_jax.models.injection import INJECTIONS
from smoothswap_jax.reproduce.claims import Claim, Prediction, Rests, Scores
from smoothswap_jax.reproduce.plan import Methods, Plan, Run, described
from smoothswap_jax.reproduce.zoo import EMBEDDERS, NETWORK, PLAIN, RATES
from smoothswap_jax.runtime import metric_log
from smoothswap_jax.runtime.folders import DEFAULT

COPY_TARGET = BASELINES[0]
JUDGES = ("heads", "sface")
"""Neither took part in any training of ours."""


@dataclass(frozen=True)
class Scale:
    """What a machine can do: the variant of both configs, steps, seeds of embedders and of swappers, pairs.

    tuning_steps: of an embedder that is only a candidate of the tuning: a quarter of the usual. weights: of the
    identity loss, in the ablation.
    """

    variant: str
    tuning_steps: int
    embedder_steps: int
    swapper_steps: int
    seeds: tuple[int, int]
    pairs: int
    weights: tuple[float, ...] = (1.0, 4.0, 16.0)


_LAPTOP = Scale("tiny32", 500, 2000, 1000, (3, 3), 200)
SCALES = {
    "laptop": _LAPTOP,
    # The trainings of a laptop, whose runs it shares, at the paper's weight of the identity loss alone.
    "short": dataclasses.replace(_LAPTOP, weights=(4.0,)),
    "gpu": Scale("small64", 5000, 20_000, 30_000, (3, 3), 500),
}


@dataclass(frozen=True)
class Points:
    """For predictions, of each embedder: its measures by name, the error of the swapper that it trained, and its
    objective."""

    of: Mapping[str, np.ndarray]
    errors: np.ndarray
    objectives: np.ndarray


@dataclass(frozen=True)
class Measured:
    """What came out: blocks of the report, and for claims the scores, people, and what each arm rests on."""

    blocks: Sequence[Block]
    scores: Scores
    people: np.ndarray
    rests: Mapping[str, Rests]
    points: Points | None = None


@dataclass(frozen=True)
class Experiment:
    about: str
    plan: Callable[[str, Scale, Methods], Plan]
    measure: Callable[[Plan, Path, Path, StartProgress | None], Measured]


def _embedders(scale: Scale, names: Sequence[str]) -> list[Run]:
    """One for each name and seed."""
    return [
        Run(f"{name}-{seed}", name, "embedder", scale.variant, seed,
            {**PLAIN, **NETWORK, "steps": scale.embedder_steps, **EMBEDDERS[name].fields})
        for name, seed in itertools.product(names, range(scale.seeds[0]))
    ]  # fmt: skip


# --- how smooth embedders are -----------------------------------------------------------------------------------


def _smoothness_plan(name: str, scale: Scale, methods: Methods) -> Plan:
    others = [other for other in EMBEDDERS if other != "contrastive"]
    claims = [
        Claim(f"The contrastive embedder is smoother than {other}.", "d_smooth", "contrastive", other, "lower")
        for other in others
    ]
    claims += [
        Claim(f"It shows more different faces on the way than {other}.", "novelty", "contrastive", other, "higher")
        for other in others
    ]
    return Plan("smoothness", name, SMOOTHNESS.about, _embedders(scale, list(EMBEDDERS)), claims)


def _measure_smoothness(plan: Plan, runs: Path, out: Path, progress: StartProgress | None) -> Measured:
    folders = {run.name: runs / run.name for run in plan.runs}
    found = measure_smoothness(EvaluationSettings("smoothness", out / "embedders", checkpoints=folders), progress)
    by_run = {embedder.judge.name: embedder for embedder in found.embedders}
    of_arms = lambda of: {
        arm: [of(by_run[run.name]) for run in plan.runs if run.arm == arm] for arm in _arms(plan.runs)
    }
    scores = {
        "d_smooth": of_arms(lambda embedder: embedder.found.d_smooth.astype(np.float64)),
        "novelty": of_arms(lambda embedder: embedder.found.novelty.astype(np.float64)),
    }
    auc = of_arms(lambda embedder: float(embedder.verification["ROC AUC"]))
    rests = {arm: Rests(arm, values) for arm, values in auc.items()}
    stacked = {measure: {arm: np.stack(rows) for arm, rows in of.items()} for measure, of in scores.items()}
    table = _means_table(
        "Embedders, means over seeds", stacked, found.people, rests, {"d_smooth": "lower", "novelty": "higher"}
    )
    return Measured([table, *smoothness_blocks(found)], stacked, found.people, rests)


def _arms(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(run.arm for run in runs))


def _means_table(
    title: str, scores: Scores, people: np.ndarray, rests: Mapping[str, Rests], better: Mapping[str, str]
) -> Table:
    """An arm a row: the mean over its seeds of each measure, with intervals over people."""
    arms = list(next(iter(scores.values())))
    mean = lambda rows: bootstrap_interval(np.mean(rows, axis=0), groups=people)
    rows: list[list[Cell]] = [
        [arm, *(mean(of[arm]) for of in scores.values()), f"{np.mean(rests[arm].auc):.4f}", len(rests[arm].auc)]
        for arm in arms
    ]
    caption = "Brackets are 95% intervals over people of the mean over seeds; claims take seeds into account, too."
    return Table(title, ["arm", *scores, "embedder: ROC AUC", "seeds"], rows, caption, better)


# --- swappers by embedder and weight of the identity loss ------------------------------------------------------

ABLATED = ("contrastive", "arcface")
ERROR, SHAPE, IDENTITY = "error to the true swap", "heads: way of shape", "sface: cosine to source"
EXPRESSION, POSE = "heads: expression", "heads: pose"
MEASURES: dict[str, Literal["lower", "higher"]] = {
    ERROR: "lower",
    SHAPE: "higher",
    IDENTITY: "higher",
    EXPRESSION: "lower",
    POSE: "lower",
}
PAPER = {
    **PLAIN,
    "discriminator.projection": False,
    "objective.back": 0.0,
    "objective.identity_warmup_steps": 0,
}
"""A swapper of the paper's form: what ours adds is off."""


def _ablation_plan(name: str, scale: Scale, methods: Methods) -> Plan:
    embedders = [run for run in _embedders(scale, ABLATED) if run.seed < scale.seeds[1]]
    swappers = [
        Run(f"{arm}-lambda-{weight:g}-{seed}", f"{arm}, lambda {weight:g}", "swapper", scale.variant, seed,
            {**PAPER, "steps": scale.swapper_steps, "objective.identity": weight}, against=f"{arm}-{seed}")
        for arm, weight, seed in itertools.product(ABLATED, scale.weights, range(scale.seeds[1]))
    ]  # fmt: skip
    claims = [
        Claim(
            f"At lambda {weight:g} the contrastive embedder trains the better swapper, by {measure}.",
            measure, f"contrastive, lambda {weight:g}", f"arcface, lambda {weight:g}", MEASURES[measure],
        )
        for weight, measure in itertools.product(scale.weights, (ERROR, SHAPE, IDENTITY))
    ]  # fmt: skip
    return Plan("ablation", name, ABLATION.about, [*embedders, *swappers], claims, scale.pairs)


def _tradeoff_plan(name: str, scale: Scale, methods: Methods) -> Plan:
    embedders = [run for run in _embedders(scale, ["contrastive"]) if run.seed < scale.seeds[1]]
    swappers = [
        Run(f"contrastive-lambda-{weight:g}-{seed}", f"lambda {weight:g}", "swapper", scale.variant, seed,
            {**PAPER, "steps": scale.swapper_steps, "objective.identity": weight}, against=f"contrastive-{seed}")
        for weight, seed in itertools.product((1.0, 2.0, 4.0, 8.0, 16.0), range(scale.seeds[1]))
    ]  # fmt: skip
    most, least = "lambda 16", "lambda 1"
    claims = [
        Claim("More weight of the identity loss brings swaps nearer to the source.", IDENTITY, most, least, "higher"),
        Claim("It moves the shape of the head further.", SHAPE, most, least, "higher"),
        Claim("Less weight keeps more of the expression.", EXPRESSION, least, most, "lower"),
        Claim("Less weight keeps more of the pose.", POSE, least, most, "lower"),
    ]
    return Plan("tradeoff", name, TRADEOFF.about, [*embedders, *swappers], claims, scale.pairs)


def _remedies_plan(name: str, scale: Scale, methods: Methods) -> Plan:
    robust = [
        Run(f"robust-{seed}", "robust", "embedder", scale.variant, seed, {"steps": scale.embedder_steps})
        for seed in range(scale.seeds[1])
    ]
    arms: dict[str, dict[str, Any]] = {injection: {"generator.injection": injection} for injection in INJECTIONS}
    arms["feature matching"] = {"objective.feature_matching": 10.0}
    swappers = [
        Run(f"{arm.replace(' ', '-')}-{seed}", arm, "swapper", scale.variant, seed,
            {"steps": scale.swapper_steps, **fields}, against=f"robust-{seed}")
        for (arm, fields), seed in itertools.product(arms.items(), range(scale.seeds[1]))
    ]  # fmt: skip
    claims = [
        Claim(f"{arm} is better than add by {measure}.", measure, arm, "add", MEASURES[measure])
        for arm, measure in itertools.product(arms, MEASURES)
        if arm != "add"
    ]
    return Plan("remedies", name, REMEDIES.about, [*robust, *swappers], claims, scale.pairs)


def _judged(checkpoints: Mapping[str, Path], pairs: int, out: Path, progress: StartProgress | None) -> Result:
    settings = EvaluationSettings(
        "synthetic-truth", out / "swaps", checkpoints=checkpoints, judges=list(JUDGES), size=64,
        options={"pairs": str(pairs)},
    )  # fmt: skip
    settings.out.mkdir(parents=True, exist_ok=True)
    result = judge_swaps(settings, progress)
    write_scores(settings.out, result)
    return result


def _measure_swappers(plan: Plan, runs: Path, out: Path, progress: StartProgress | None) -> Measured:
    swappers = plan.of("swapper")
    result = _judged({run.name: runs / run.name for run in swappers}, plan.pairs, out, progress)
    people = np.array(result.pairs.people[0])
    scores = {
        measure: {
            arm: np.stack([np.asarray(result.scores[run.name][measure]) for run in swappers if run.arm == arm])
            for arm in _arms(swappers)
        }
        for measure in MEASURES
    }
    embedder_of = {run.name: run.arm for run in plan.of("embedder")}
    rests = {
        arm: Rests(
            embedder_of[next(run.against for run in swappers if run.arm == arm)],
            [_auc(runs / run.against) for run in swappers if run.arm == arm],
        )
        for arm in _arms(swappers)
    }
    table = _means_table("Swappers, means over seeds", scores, people, rests, MEASURES)
    return Measured([table, *_curves(plan, runs), *_grids(plan, runs), *score_tables(result)], scores, people, rests)


def _auc(run: Path) -> float:
    """The newest ROC AUC on unseen people that an embedder's training logged."""
    rows = [row["eval/auc"] for row in metric_log.read_metrics(run / metric_log.NAME) if "eval/auc" in row]
    return float(rows[-1])


def _curves(plan: Plan, runs: Path) -> list[Curve]:
    """Figure 7: identity and change loss of the first seed during training."""
    shown = [run for run in plan.of("swapper") if run.seed == 0]
    rows = {run.arm: metric_log.read_metrics(runs / run.name / metric_log.NAME) for run in shown}

    def series(key: str) -> dict[str, tuple[Any, Any]]:
        points = {arm: [(row["step"], row[key]) for row in of if key in row] for arm, of in rows.items()}
        return {arm: tuple(np.array(found).T) for arm, found in points.items() if found}

    return [
        Curve(title, series(key), "step", label, "The first seed of each arm.")
        for title, key, label in (
            ("Identity loss during training", "train/identity_loss", "1 - cosine, by the arm's own embedder"),
            ("Change loss during training", "train/change_loss", "mean squared change"),
            ("Error to the true swap, over that of copying the target", "eval/mse_over_copy_target", "ratio"),
        )
        if series(key)
    ]


def _grids(plan: Plan, runs: Path) -> list[Picture]:
    """Figure 8: the last grid of swaps of each arm's first seed."""
    shown = [run for run in plan.of("swapper") if run.seed == 0]
    pictures = []
    for run in shown:
        images = sorted((runs / run.name / "images").glob("*.png"))
        caption = f"Sources left, targets above, after step {int(images[-1].stem):,}." if images else ""
        pictures += [Picture(f"Swaps of {run.arm}", image, caption) for image in images[-1:]]
    return pictures


# --- what of an embedder predicts its swapper --------------------------------------------------------------------

MEASURED_OF_EMBEDDERS: dict[str, tuple[Literal["higher", "lower"], Callable[[Any], float]]] = {
    "ROC AUC": ("higher", lambda found: found["verification"]["roc auc"]),
    "shape components: R2": ("higher", lambda found: found["probes"]["shape components"]["mean"]),
    "gradient: agreement with the true swap": (
        "higher",
        lambda found: found["gradient"]["plain"]["true swap"]["low-pass 0 px"],
    ),
    "gradient: agreement along the way": (
        "higher",
        lambda found: found["smoothness"]["gradients of neighbours, correlation"],
    ),
    "Lipschitz constant": ("lower", lambda found: found["smoothness"]["Lipschitz constant"]),
    "linear between people": ("higher", lambda found: found["linear"]["between people"]),
    "linear within people": ("higher", lambda found: found["linear"]["within people"]),
}
"""Measures of `bench --what=embedding`: what those with better swappers should have, and where it stands."""
BENCH_PEOPLE = 512


def _mechanism_plan(name: str, scale: Scale, methods: Methods) -> Plan:
    embedders = _embedders(scale, list(EMBEDDERS))
    swappers = [
        Run(f"{run.arm}-lambda-4-{run.seed}", f"{run.arm}, lambda 4", "swapper", scale.variant, run.seed,
            {**PAPER, "steps": scale.swapper_steps, "objective.identity": 4.0}, against=run.name)
        for run in embedders
    ]  # fmt: skip
    known = {**{measure: better for measure, (better, _) in MEASURED_OF_EMBEDDERS.items()}, "d_smooth": "lower"}
    predictions = [
        Prediction(f"Embedders with {better} {measure} train better swappers.", measure, better)
        for measure, better in known.items()
    ]
    return Plan("mechanism", name, MECHANISM.about, [*embedders, *swappers], [], scale.pairs, predictions)


def _measure_mechanism(plan: Plan, runs: Path, out: Path, progress: StartProgress | None) -> Measured:
    judged = _measure_swappers(plan, runs, out, progress)
    embedders, swappers = plan.of("embedder"), plan.of("swapper")
    found = bench_embedding([str(runs / run.name) for run in embedders], BENCH_PEOPLE)["runs"]
    smooth = measure_smoothness(
        EvaluationSettings(
            "smoothness", out / "embedders", checkpoints={run.name: runs / run.name for run in embedders}
        ),
        progress,
    )
    d_smooth = {one.judge.name: float(np.mean(one.found.d_smooth)) for one in smooth.embedders}
    of = {
        measure: np.array([get(found[str(runs / run.name)]) for run in embedders])
        for measure, (_, get) in MEASURED_OF_EMBEDDERS.items()
    }
    of["d_smooth"] = np.array([d_smooth[run.name] for run in embedders])
    trained = {run.against: float(np.mean(judged.scores[ERROR][run.arm][run.seed])) for run in swappers}
    errors = np.array([trained[run.name] for run in embedders])
    table = Table(
        "Embedders, and the swappers that they trained",
        ["embedder", *of, ERROR],
        [
            [run.name, *(f"{values[i]:.4g}" for values in of.values()), f"{errors[i]:.4g}"]
            for i, run in enumerate(embedders)
        ],
        f"The first columns as `smoothswap bench --what=embedding --people={BENCH_PEOPLE}` measures them.",
    )
    points = Points(of, errors, np.array([run.arm for run in embedders]))
    return dataclasses.replace(judged, blocks=[table, *judged.blocks], points=points)


# --- swappers that exist ---------------------------------------------------------------------------------------


def _comparison_plan(name: str, scale: Scale, methods: Methods) -> Plan:
    methods = {DEFAULT: described(DEFAULT), **methods}
    claims = [
        Claim(f"{method} has a better {measure} than the unchanged target.", measure, method, COPY_TARGET, better)
        for method, (measure, better) in itertools.product(methods, list(MEASURES.items())[:3])
    ] + [
        Claim(f"{method} has a better {measure} than {DEFAULT}.", measure, method, DEFAULT, better)
        for method, (measure, better) in itertools.product(methods, MEASURES.items())
        if method != DEFAULT
    ]
    return Plan("comparison", name, COMPARISON.about, [], claims, scale.pairs, methods=methods)


def _measure_comparison(plan: Plan, runs: Path, out: Path, progress: StartProgress | None) -> Measured:
    folders = {method: swapper_folder(known["folder"]) for method, known in plan.methods.items()}
    result = _judged(folders, plan.pairs, out, progress)
    people = np.array(result.pairs.people[0])
    scores = {
        measure: {name: np.asarray(of[measure])[None] for name, of in result.scores.items()} for measure in MEASURES
    }
    return Measured([*score_tables(result), *result.grids], scores, people, {})


# --- how objectives were tuned ----------------------------------------------------------------------------------


def _tuning_plan(name: str, scale: Scale, methods: Methods) -> Plan:
    runs = [
        Run(f"{arm}-{value:g}-{rate:g}", arm, "embedder", scale.variant, 0,
            {**PLAIN, **NETWORK, "steps": scale.tuning_steps, "data.seed": 1, **embedder.fields,
             f"objective.{embedder.constant}": value, "optimizer.learning_rate": rate})
        for arm, embedder in EMBEDDERS.items()
        for value, rate in itertools.product(embedder.values, RATES)
    ]  # fmt: skip
    return Plan("tuning", name, TUNING.about, runs, [])


def _measure_tuning(plan: Plan, runs: Path, out: Path, progress: StartProgress | None) -> Measured:
    auc = [_auc(runs / run.name) for run in plan.runs]
    best = {arm: max(value for run, value in zip(plan.runs, auc, strict=True) if run.arm == arm) for arm in EMBEDDERS}
    rows: list[list[Cell]] = [
        [run.arm, EMBEDDERS[run.arm].constant, run.fields[f"objective.{EMBEDDERS[run.arm].constant}"],
         f"{run.fields['optimizer.learning_rate']:g}", f"{value:.4f}", "best" if value == best[run.arm] else ""]
        for run, value in zip(plan.runs, auc, strict=True)
    ]  # fmt: skip
    columns = ["objective", "constant", "value", "learning rate", "ROC AUC", ""]
    table = Table("Candidates", columns, rows, "ROC AUC on 100 people of the tuning's own world, which no other "
                  "experiment trains or judges on.")  # fmt: skip
    return Measured([table], {}, np.array([]), {})


SMOOTHNESS = Experiment(
    "How smooth embedders are, by what lies between two faces (section 3.1, figure 9): the whole zoo, trained equally.",
    _smoothness_plan,
    _measure_smoothness,
)
ABLATION = Experiment(
    "Swappers in the paper's form against a contrastive embedder and ArcFace, by the weight of the identity loss "
    "(figures 7 and 8), judged against the true swap.",
    _ablation_plan,
    _measure_swappers,
)
TUNING = Experiment(
    "What learning rate and constant suit each objective: six candidates each, on people of a world of their own.",
    _tuning_plan,
    _measure_tuning,
)
TRADEOFF = Experiment(
    "What the weight of the identity loss buys, and what it costs in expression and pose, in the paper's form.",
    _tradeoff_plan,
    _measure_swappers,
)
REMEDIES = Experiment(
    "Ways for the identity to enter the generator, of one budget, and a loss, that were proposed for expression and "
    "pose; everything else as in our presets, all against the same embedders.",
    _remedies_plan,
    _measure_swappers,
)
MECHANISM = Experiment(
    "What of an embedder predicts how well a swapper trains against it: the whole zoo with a swapper each, in the "
    "paper's form.",
    _mechanism_plan,
    _measure_mechanism,
)
COMPARISON = Experiment(
    "Swappers that exist, the default and others that are given, beside the unchanged target and the unchanged source.",
    _comparison_plan,
    _measure_comparison,
)
EXPERIMENTS = {
    "tuning": TUNING,
    "smoothness": SMOOTHNESS,
    "ablation": ABLATION,
    "tradeoff": TRADEOFF,
    "remedies": REMEDIES,
    "mechanism": MECHANISM,
    "comparison": COMPARISON,
}

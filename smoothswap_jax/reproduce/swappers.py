"""Swappers that are judged against the true swap: by embedder, by weight of the identity loss, and by remedy."""

import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from smoothswap_jax.evaluation.evaluate import judge_swaps
from smoothswap_jax.evaluation.progress import StartProgress
from smoothswap_jax.evaluation.report.document import Curve, Picture
from smoothswap_jax.evaluation.results import Result, score_tables, write_scores
from smoothswap_jax.evaluation.settings import EvaluationSettings
from smoothswap_jax.models.injection import INJECTIONS
from smoothswap_jax.reproduce.claims import Claim, Rests
from smoothswap_jax.reproduce.common import Experiment, Measured, Scale, arms_of, embedder_runs, means_table, newest_auc
from smoothswap_jax.reproduce.plan import Methods, Plan, Run
from smoothswap_jax.reproduce.zoo import PLAIN
from smoothswap_jax.runtime import metric_log

JUDGES = ("heads", "sface")
"""Neither took part in any training of ours."""

ERROR, SHAPE, IDENTITY = "error to the true swap", "heads: way of shape", "sface: cosine to source"
EXPRESSION, POSE = "heads: expression", "heads: pose"
MEASURES: dict[str, Literal["lower", "higher"]] = {
    ERROR: "lower",
    SHAPE: "higher",
    IDENTITY: "higher",
    EXPRESSION: "lower",
    POSE: "lower",
}

ABLATED = ("contrastive", "arcface")
ADD = "add"
"""The paper's injection."""
PAPER = {
    **PLAIN,
    "discriminator.projection": False,
    "objective.back": 0.0,
    "objective.identity_warmup_steps": 0,
}
"""A swapper of the paper's form: what ours adds is off."""


def _ablation_plan(name: str, scale: Scale, methods: Methods) -> Plan:
    embedders = [run for run in embedder_runs(scale, ABLATED) if run.seed < scale.seeds[1]]
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
    embedders = [run for run in embedder_runs(scale, ["contrastive"]) if run.seed < scale.seeds[1]]
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
    arms = {injection: {"generator.injection": injection} for injection in INJECTIONS}
    return _beside_add(Plan("remedies", name, REMEDIES.about, [], [], scale.pairs), scale, arms)


def _matching_plan(name: str, scale: Scale, methods: Methods) -> Plan:
    arms: dict[str, dict[str, Any]] = {
        ADD: {"generator.injection": ADD},
        "feature matching": {"objective.feature_matching": 10.0},
    }
    return _beside_add(Plan("matching", name, MATCHING.about, [], [], scale.pairs), scale, arms)


def _beside_add(plan: Plan, scale: Scale, arms: Mapping[str, Mapping[str, Any]]) -> Plan:
    """The plan with swappers in the form of our presets but for the fields of their arms, and claims that each is
    better than `ADD`."""
    robust = [
        Run(f"robust-{seed}", "robust", "embedder", scale.variant, seed, {"steps": scale.embedder_steps})
        for seed in range(scale.seeds[1])
    ]
    swappers = [
        Run(f"{arm.replace(' ', '-')}-{seed}", arm, "swapper", scale.variant, seed,
            {"steps": scale.swapper_steps, **fields}, against=f"robust-{seed}")
        for (arm, fields), seed in itertools.product(arms.items(), range(scale.seeds[1]))
    ]  # fmt: skip
    claims = [
        Claim(f"{arm} is better than {ADD} by {measure}.", measure, arm, ADD, MEASURES[measure])
        for arm, measure in itertools.product(arms, MEASURES)
        if arm != ADD
    ]
    return dataclasses.replace(plan, runs=[*robust, *swappers], claims=claims)


def judged(checkpoints: Mapping[str, Path], pairs: int, out: Path, progress: StartProgress | None) -> Result:
    settings = EvaluationSettings(
        "synthetic-truth", out / "swaps", checkpoints=checkpoints, judges=list(JUDGES), size=64,
        options={"pairs": str(pairs)},
    )  # fmt: skip
    settings.out.mkdir(parents=True, exist_ok=True)
    result = judge_swaps(settings, progress)
    write_scores(settings.out, result)
    return result


def measure_swappers(plan: Plan, runs: Path, out: Path, progress: StartProgress | None) -> Measured:
    swappers = plan.of("swapper")
    result = judged({run.name: runs / run.name for run in swappers}, plan.pairs, out, progress)
    people = np.array(result.pairs.people[0])
    scores = {
        measure: {
            arm: np.stack([np.asarray(result.scores[run.name][measure]) for run in swappers if run.arm == arm])
            for arm in arms_of(swappers)
        }
        for measure in MEASURES
    }
    embedder_of = {run.name: run.arm for run in plan.of("embedder")}
    rests = {
        arm: Rests(
            embedder_of[next(run.against for run in swappers if run.arm == arm)],
            [newest_auc(runs / run.against) for run in swappers if run.arm == arm],
        )
        for arm in arms_of(swappers)
    }
    table = means_table("Swappers, means over seeds", scores, people, rests, MEASURES)
    return Measured([table, *_curves(plan, runs), *_grids(plan, runs), *score_tables(result)], scores, people, rests)


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


ABLATION = Experiment(
    "Swappers in the paper's form against a contrastive embedder and ArcFace, by the weight of the identity loss "
    "(figures 7 and 8), judged against the true swap.",
    _ablation_plan,
    measure_swappers,
)
TRADEOFF = Experiment(
    "What the weight of the identity loss buys, and what it costs in expression and pose, in the paper's form.",
    _tradeoff_plan,
    measure_swappers,
)
REMEDIES = Experiment(
    "Ways for the identity to enter the generator, of one budget, that were proposed for expression and pose; "
    "everything else as in our presets, all against the same embedders.",
    _remedies_plan,
    measure_swappers,
)
MATCHING = Experiment(
    "A loss that was proposed for expression and pose, SimSwap's weak feature matching, beside our presets without it.",
    _matching_plan,
    measure_swappers,
)

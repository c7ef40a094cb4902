"""What of an embedder predicts its swapper."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from smoothswap_jax.bench.embedding import bench_embedding
from smoothswap_jax.evaluation.progress import StartProgress
from smoothswap_jax.evaluation.protocols.smoothness import measure_smoothness
from smoothswap_jax.evaluation.report.document import Table
from smoothswap_jax.evaluation.settings import EvaluationSettings
from smoothswap_jax.reproduce.claims import Prediction
from smoothswap_jax.reproduce.common import Experiment, Measured, Points, Scale, embedder_runs
from smoothswap_jax.reproduce.plan import Methods, Plan, Run
from smoothswap_jax.reproduce.swappers import ERROR, PAPER, measure_swappers
from smoothswap_jax.reproduce.zoo import EMBEDDERS

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
    embedders = embedder_runs(scale, list(EMBEDDERS))
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
    judged = measure_swappers(plan, runs, out, progress)
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
    of["d_smooth"] = np.array([d_smooth.get(run.name, np.nan) for run in embedders])  # NaN: it has collapsed
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


MECHANISM = Experiment(
    "What of an embedder predicts how well a swapper trains against it: the whole zoo with a swapper each, in the "
    "paper's form.",
    _mechanism_plan,
    _measure_mechanism,
)

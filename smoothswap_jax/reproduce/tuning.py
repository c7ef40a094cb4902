"""How objectives were tuned."""

import itertools
from pathlib import Path

import numpy as np

from smoothswap_jax.evaluation.progress import StartProgress
from smoothswap_jax.evaluation.report.document import Table
from smoothswap_jax.evaluation.report.numbers import Cell
from smoothswap_jax.reproduce.common import Experiment, Measured, Scale, newest_auc
from smoothswap_jax.reproduce.plan import Methods, Plan, Run
from smoothswap_jax.reproduce.zoo import EMBEDDERS, NETWORK, PLAIN, RATES


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
    auc = [newest_auc(runs / run.name) for run in plan.runs]
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


TUNING = Experiment(
    "What learning rate and constant suit each objective: six candidates each, on people of a world of their own.",
    _tuning_plan,
    _measure_tuning,
)

"""How smooth embedders are, by what lies between two faces."""

from pathlib import Path

import numpy as np

from smoothswap_jax.evaluation.progress import StartProgress
from smoothswap_jax.evaluation.protocols.smoothness import measure_smoothness, smoothness_blocks
from smoothswap_jax.evaluation.report.document import Text
from smoothswap_jax.evaluation.settings import EvaluationSettings
from smoothswap_jax.reproduce.claims import Claim, Rests
from smoothswap_jax.reproduce.common import Experiment, Measured, Scale, arms_of, embedder_runs, means_table, newest_auc
from smoothswap_jax.reproduce.plan import Methods, Plan
from smoothswap_jax.reproduce.zoo import EMBEDDERS


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
    return Plan("smoothness", name, SMOOTHNESS.about, embedder_runs(scale, list(EMBEDDERS)), claims)


def _measure_smoothness(plan: Plan, runs: Path, out: Path, progress: StartProgress | None) -> Measured:
    folders = {run.name: runs / run.name for run in plan.runs}
    found = measure_smoothness(EvaluationSettings("smoothness", out / "embedders", checkpoints=folders), progress)
    by_run = {embedder.judge.name: embedder for embedder in found.embedders}
    whole = [run for run in plan.runs if run.name not in found.collapsed]
    of_arms = lambda of: {arm: [of(by_run[run.name]) for run in whole if run.arm == arm] for arm in arms_of(whole)}
    scores = {
        "d_smooth": of_arms(lambda embedder: embedder.found.d_smooth.astype(np.float64)),
        "novelty": of_arms(lambda embedder: embedder.found.novelty.astype(np.float64)),
    }
    auc = {
        run.name: float(by_run[run.name].verification["ROC AUC"]) if run in whole else newest_auc(runs / run.name)
        for run in plan.runs
    }
    rests = {arm: Rests(arm, [auc[run.name] for run in plan.runs if run.arm == arm]) for arm in arms_of(plan.runs)}
    stacked = {measure: {arm: np.stack(rows) for arm, rows in of.items()} for measure, of in scores.items()}
    table = means_table(
        "Embedders, means over seeds", stacked, found.people, rests, {"d_smooth": "lower", "novelty": "higher"}
    )
    left_out = [f"{name}: {why}." for name, why in found.collapsed.items()]
    collapsed = [Text("Collapsed embedders, which the table leaves out", left_out)] if left_out else []
    return Measured([table, *collapsed, *smoothness_blocks(found)], stacked, found.people, rests)


SMOOTHNESS = Experiment(
    "How smooth embedders are, by what lies between two faces (section 3.1, figure 9): the whole zoo, trained equally.",
    _smoothness_plan,
    _measure_smoothness,
)

"""What experiments have in common: scales, what they measure, and tables of arms."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smoothswap_jax.evaluation.progress import StartProgress
from smoothswap_jax.evaluation.report.document import Block, Table
from smoothswap_jax.evaluation.report.numbers import Cell
from smoothswap_jax.metrics.bootstrap import bootstrap_interval
from smoothswap_jax.reproduce.claims import Rests, Scores
from smoothswap_jax.reproduce.plan import Methods, Plan, Run
from smoothswap_jax.reproduce.zoo import EMBEDDERS, NETWORK, PLAIN
from smoothswap_jax.runtime import metric_log


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


_LAPTOP = Scale("tiny32", 500, 2000, 1000, (3, 2), 200)
SCALES = {
    "laptop": _LAPTOP,
    # The trainings of a laptop, whose runs it shares, at the paper's weight of the identity loss alone; a seed more.
    "short": dataclasses.replace(_LAPTOP, weights=(4.0,), seeds=(3, 3)),
    # Swappers of the paper's form hardly move in a laptop's steps: at the paper's weight alone, four times as many.
    "long": dataclasses.replace(_LAPTOP, weights=(4.0,), swapper_steps=4000, seeds=(3, 3)),
    # Predictions need many embedders rather than many seeds.
    "single": dataclasses.replace(_LAPTOP, weights=(4.0,), swapper_steps=3000, seeds=(1, 1)),
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


def embedder_runs(scale: Scale, names: Sequence[str]) -> list[Run]:
    """One for each name and seed."""
    return [
        Run(f"{name}-{seed}", name, "embedder", scale.variant, seed,
            {**PLAIN, **NETWORK, "steps": scale.embedder_steps, **EMBEDDERS[name].fields})
        for name, seed in itertools.product(names, range(scale.seeds[0]))
    ]  # fmt: skip


def arms_of(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(run.arm for run in runs))


def means_table(
    title: str, scores: Scores, people: np.ndarray, rests: Mapping[str, Rests], better: Mapping[str, str]
) -> Table:
    """An arm a row: the mean over its seeds of each measure, with intervals over people."""
    first = next(iter(scores.values()))
    mean = lambda rows: bootstrap_interval(np.mean(rows, axis=0), groups=people)
    rows: list[list[Cell]] = [
        [arm, *(mean(of[arm]) for of in scores.values()), f"{np.mean(rests[arm].auc):.4f}", len(first[arm])]
        for arm in first
    ]
    caption = "Brackets are 95% intervals over people of the mean over seeds; claims take seeds into account, too."
    return Table(title, ["arm", *scores, "embedder: ROC AUC", "seeds"], rows, caption, better)


def newest_auc(run: Path) -> float:
    """The newest ROC AUC on unseen people that an embedder's training logged."""
    rows = [row["eval/auc"] for row in metric_log.read_metrics(run / metric_log.NAME) if "eval/auc" in row]
    return float(rows[-1])

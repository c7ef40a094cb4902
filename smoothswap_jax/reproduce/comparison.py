"""Swappers that exist."""

import itertools
from pathlib import Path

import numpy as np

from smoothswap_jax.evaluation.methods import BASELINES
from smoothswap_jax.evaluation.progress import StartProgress
from smoothswap_jax.evaluation.results import score_tables
from smoothswap_jax.inference.load import swapper_folder
from smoothswap_jax.reproduce.claims import Claim
from smoothswap_jax.reproduce.common import Experiment, Measured, Scale
from smoothswap_jax.reproduce.plan import Methods, Plan, described
from smoothswap_jax.reproduce.swappers import MEASURES, judged
from smoothswap_jax.runtime.folders import DEFAULT

COPY_TARGET = BASELINES[0]


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
    result = judged(folders, plan.pairs, out, progress)
    people = np.array(result.pairs.people[0])
    scores = {
        measure: {name: np.asarray(of[measure])[None] for name, of in result.scores.items()} for measure in MEASURES
    }
    return Measured([*score_tables(result), *result.grids], scores, people, {})


COMPARISON = Experiment(
    "Swappers that exist, the default and others that are given, beside the unchanged target and the unchanged source.",
    _comparison_plan,
    _measure_comparison,
)

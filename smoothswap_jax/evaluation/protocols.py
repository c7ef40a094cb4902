"""Evaluation protocols: which judge, which numbers. Scores are kept per pair, so that they can be resampled."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from smoothswap_jax.evaluation import intervals, metrics
from smoothswap_jax.evaluation.intervals import Interval
from smoothswap_jax.evaluation.report import Table

Images = Float[np.ndarray, "n h w 3"]
Embed = Callable[[Images], Float[np.ndarray, "n d"]]


@dataclass(frozen=True)
class PairScores:
    """Scores of one method on n pairs. Errors to the truth are None where no truth is known."""

    cosine_to_source: Float[np.ndarray, "n"]
    cosine_to_target: Float[np.ndarray, "n"]
    change: Float[np.ndarray, "n"]
    error: Float[np.ndarray, "n"] | None


def score_methods(
    methods: Mapping[str, Images], source: Images, target: Images, truth: Images | None, judge: Embed
) -> dict[str, PairScores]:
    """Scores each method's images of the same pairs.

    Args:
      methods: name -> swapped images; add the baselines as methods ("copy target": target, ...).
      judge: embedder that did not train any of the methods.

    All images lie in [-1, 1]; `change` is the mean squared difference to the target, `error` that to the truth.
    """
    z_source, z_target = judge(source), judge(target)
    scores = {}
    for name, images in methods.items():
        z = judge(images)
        scores[name] = PairScores(
            metrics.cosine(z, z_source),
            metrics.cosine(z, z_target),
            metrics.mse(images, target),
            None if truth is None else metrics.mse(images, truth),
        )
    return scores


def score_table(scores: Mapping[str, PairScores], groups: Int[np.ndarray, "n"], title: str, caption: str) -> Table:
    """Means with 95% bootstrap intervals over groups (source identities), one row a method.

    With a truth, the last column is the error over that of the method called "copy target".
    """
    mean = lambda values: intervals.bootstrap_interval(values, groups=groups)
    columns = ["method", "cosine to source", "cosine to target", "change"]
    better = {"cosine to source": "higher"}
    copied = scores["copy target"].error
    if copied is not None:
        columns += ["error to the true swap", "error / copy target"]
        better |= {"error to the true swap": "lower", "error / copy target": "lower"}
    rows: list[list[str | Interval]] = []
    for name, score in scores.items():
        row: list[str | Interval] = [
            name,
            mean(score.cosine_to_source),
            mean(score.cosine_to_target),
            mean(score.change),
        ]
        if copied is not None and score.error is not None:
            row += [mean(score.error), intervals.ratio_of_means_interval(score.error, copied, groups=groups)]
        rows.append(row)
    return Table(title, columns, rows, caption, better)

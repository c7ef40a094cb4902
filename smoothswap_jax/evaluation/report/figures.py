"""The pictures and plots of an evaluation's report."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from smoothswap_jax.evaluation.measures.base import Measure, Scores, mean_interval
from smoothswap_jax.evaluation.measures.identity import COSINE_TO_SOURCE
from smoothswap_jax.evaluation.methods import Method
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.evaluation.report.document import Picture
from smoothswap_jax.evaluation.report.plots import Point, Scatter
from smoothswap_jax.faces.grid import image_grid, swap_grid
from smoothswap_jax.metrics.bootstrap import Interval

Kind = Literal["method", "baseline"]
GRID, SHOWN = 6, 5
SIDE = 96  # of a face in a picture, pixels at least


def scale_of(size: int) -> int:
    """The factor by which a face is enlarged in the report."""
    return max(1, SIDE // size)


def ends(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Gallery rows of a few sources and targets of different people, for the source x target picture."""
    picked = []
    for rows, people in zip((pairs.source, pairs.target), pairs.people, strict=True):
        _, first = np.unique(people, return_index=True)
        picked.append(rows[np.sort(first)[:GRID]])
    return picked[0], picked[1]


def source_target_grid(name: str, sources, targets, swaps) -> Picture:
    """`swaps[i, j]` of source i into target j; all uint8 or floats in [-1, 1]."""
    picture = swap_grid(sources, targets, swaps, scale=scale_of(sources.shape[1]), resample="lanczos")
    return Picture(
        f"{name}: sources x targets",
        picture,
        "Sources down the left, targets along the top. A swap should have the source's identity and the target's pose, "
        "expression, light and background.",
    )


def best_and_worst(method: Method, pairs: Pairs, scores: Scores, by: Measure) -> Picture:
    """The best, median and worst swaps of a method by a measure, with their source, target and truth."""
    values = scores[by.name]
    order = np.argsort(-values if by.better == "higher" else values, kind="stable")
    order = order[np.isfinite(values[order])] if np.isfinite(values).any() else order
    first, last = ("best", "worst") if by.better else ("least", "most")
    n = len(order)
    shown = min(SHOWN, n // 3) or 1
    middle = (n - shown) // 2
    parts = [(first, order[:shown]), ("median", order[middle : middle + shown]), (last, order[n - shown :])]
    read = pairs.gallery.read
    rows, labels = [], []
    for word, chosen in parts:
        block = {"source": read(pairs.source[chosen]), "target": read(pairs.target[chosen])}
        block[method.name] = method.read(chosen)
        if pairs.truth is not None:
            block["truth"] = read(pairs.truth[chosen])
        rows += [list(images) for images in block.values()]
        labels += [f"{word}: {kind}" if kind == "source" else kind for kind in block]
    picture = image_grid(rows, row_labels=labels, scale=scale_of(pairs.gallery.size), resample="lanczos")
    return Picture(
        f"{method.name}: {first}, median and {last}",
        picture,
        f"A pair a column, in the order of '{by.name}'. The pictures are what is scored: nothing is chosen by eye.",
    )


def trade_off(
    methods: Mapping[str, Scores], kinds: Mapping[str, Kind], x: Measure, y: Measure, groups: np.ndarray
) -> Scatter | None:
    """Every method in the plane of identity and a measure of what should be kept; None where one cannot be measured."""
    seen = {name: np.isfinite(scores[x.name]) & np.isfinite(scores[y.name]) for name, scores in methods.items()}
    if not all(rows.any() for rows in seen.values()):
        return None

    def interval(name: str, measure: Measure) -> Interval | float:
        value = mean_interval(methods[name][measure.name][seen[name]], groups[seen[name]])
        assert value is not None
        return value

    points: list[Point] = [(name, interval(name, x), interval(name, y), kinds[name]) for name in methods]
    clouds = {
        name: (scores[x.name][seen[name]], scores[y.name][seen[name]])
        for name, scores in methods.items()
        if kinds[name] == "method"
    }
    return Scatter(
        "Trade-off of identity and what should be kept",
        points,
        x.name,
        y.name,
        "Identity to the right; a good swap is far right and keeps the target. Copying the source is perfect in the "
        "first and useless in the second, copying the target the other way round. Crosses are 95% intervals.",
        x_better=x.better or None,
        y_better=y.better or None,
        clouds=clouds,
    )


def trade_off_measures(measures: Sequence[Measure]) -> tuple[Measure, Measure] | None:
    """The measures of the trade-off: the first judge's cosine to the source, and an expression measure, else pose, else
    the error to the truth, else the change outside the face."""
    identity = next((m for m in measures if m.kind == "identity" and m.name.endswith(COSINE_TO_SOURCE)), None)
    wanted = ("expression (blendshapes)", "expression", "pose", "error outside", "change outside")
    kept = next((m for word in wanted for m in measures if word in m.name and m.kind != "identity"), None)
    return (identity, kept) if identity and kept else None

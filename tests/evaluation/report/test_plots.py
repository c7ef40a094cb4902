"""Curves and scatters: marks, axes and names lie where the numbers say."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smoothswap_jax.evaluation.report import plots
from smoothswap_jax.evaluation.report.document import (
    Report,
    Scatter,
    write_report,
)
from tests.evaluation.report.sample_reports import plane, sample_report
from tests.html_page import Page


def test_curve_lies_where_its_numbers_say(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path / "out", sample_report(tmp_path)).read_text("utf-8"))
    assert [a["class"] for a in page.all("svg")] == ["wide", "narrow"]
    lines = [np.array([point.split(",") for point in a["points"].split()], float) for a in page.all("polyline")]
    assert len(lines) == 4
    g, d = lines[:2]
    assert np.ptp(lines[2][:, 0]) < 330 < np.ptp(g[:, 0])
    assert len(g) == len(d) == 3
    # y grows downwards: 3.0 is highest; 2.0 lies two thirds of the way from 1.5 up to 3.0.
    drop = g[:, 1] - g[0, 1]
    assert drop[1] / drop[2] == pytest.approx(1.0 / 1.5, abs=0.01)
    assert np.ptp(d[:, 1]) == 0 and d[0, 1] > g[2, 1]
    assert g[1, 0] - g[0, 0] == pytest.approx(g[2, 0] - g[1, 0], abs=0.2)
    assert page.texts("li") == ["G", "D"]
    assert {"step", "loss", "0", "20", "3.0"} <= set(page.texts("text"))


@pytest.mark.parametrize(
    ("low", "high", "log", "texts"),
    [
        (0.0, 3000.0, False, ["0", "1,000", "2,000", "3,000"]),
        (0.31, 0.42, False, ["0.30", "0.35", "0.40"]),  # 0.45 would be far out
        (0.31, 0.44, False, ["0.30", "0.35", "0.40", "0.45"]),
        (-1.0, 1.0, False, ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
        (5.0, 5.0, False, ["3", "4", "5", "6", "7"]),
        (-3.0, 0.0, True, ["0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]),
        (-6.0, 0.0, True, ["1e-06", "1e-05", "0.0001", "0.001", "0.01", "0.1", "1"]),
        (np.log10(0.32), np.log10(0.41), True, ["0.32", "0.34", "0.36", "0.38", "0.40", "0.42"]),
    ],
)
def test_ticks_are_round_and_the_axis_encloses_the_data(low: float, high: float, log: bool, texts: list[str]) -> None:
    ticks, (start, end) = plots._axis([np.array([low, high])], log=log)
    assert [text for _, text in ticks] == texts
    assert start <= low + 1e-9 and end >= high - 1e-9
    for position, text in ticks:
        value = float(text.replace(",", ""))
        assert (10**position if log else position) == pytest.approx(value, rel=0.01, abs=1e-9)


def test_thinning_keeps_the_spike_and_the_order() -> None:
    x, y = np.arange(10_000.0), np.zeros(10_000)
    y[4321] = 9.0
    thin_x, thin_y = plots._thin(x, y, 600)
    assert len(thin_x) <= 600
    assert thin_y.max() == 9.0 and thin_x[thin_y.argmax()] == 4321
    assert np.all(np.diff(thin_x) > 0)


# --- scatters ---------------------------------------------------------------------------------------------


def _drawing(scatter: Scatter, size: int = 0) -> dict[str, Any]:
    return plots.scatter_view(scatter)["drawings"][size]


@pytest.mark.parametrize("size", [0, 1])
def test_points_and_bars_lie_where_their_numbers_say(size: int) -> None:
    drawing = _drawing(plane(), size)
    ours, theirs, copy = drawing["marks"]
    wide = drawing["right"] - drawing["left"]
    (x0, x1), (y0, y1) = drawing["ends"]
    assert ours["x"] == pytest.approx(drawing["left"] + (0.6 - x0) / (x1 - x0) * wide)
    assert ours["y"] == pytest.approx(drawing["bottom"] - (4 - y0) / (y1 - y0) * (drawing["bottom"] - drawing["top"]))
    assert ours["y"] < theirs["y"] < copy["y"] and copy["x"] < theirs["x"] < ours["x"]
    low, high = ours["x_bar"]
    assert ours["x"] - low == pytest.approx(high - ours["x"]) == pytest.approx(0.1 / (x1 - x0) * wide)
    top, bottom = ours["y_bar"]
    assert top < ours["y"] < bottom
    assert theirs["x_bar"] is theirs["y_bar"] is copy["x_bar"] is None and copy["y_bar"] is not None
    for mark in drawing["marks"]:
        assert drawing["left"] <= mark["x"] <= drawing["right"] and drawing["top"] <= mark["y"] <= drawing["bottom"]


def test_the_page_draws_a_scatter_with_hollow_baselines_and_arrows(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, Report("r", blocks=(plane(),))).read_text("utf-8"))
    assert page.texts("text").count("theirs <i>") == 2  # on the wide page and on the narrow one
    assert page.texts("tspan") == ["better →", "better ↓"] * 2
    assert {"identity", "expression"} <= set(page.texts("text"))
    marks = page.kinds("g", "mark")
    assert ["hollow" in mark["class"] for mark in marks] == [False, False, True] * 2
    assert [re.findall(r"--s\w+\b", mark["style"])[-1] for mark in marks] == ["--s0", "--s1", "--soft"] * 2
    assert len(page.kinds("line", "bar")) == 2 * 3 and not page.kinds("path", "cloud")
    assert page.texts("title")[1:4] == ["ours: 0.6 [0.5, 0.7]; 4 [3, 5]", "theirs <i>: 0.2; 2", "copy: 0; 1 [0.5, 1.5]"]
    turned = Page(write_report(tmp_path, Report("r", blocks=(plane(x_better="lower", y_better=None),))).read_text())
    assert turned.texts("tspan") == ["← better"] * 2


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("spread", [0.0, 0.01, 0.2])
def test_names_do_not_lie_on_each_other(size: int, spread: float) -> None:
    angles = np.arange(10)
    points = [(f"Method {i}", 0.5 + spread * np.cos(i), 0.5 + spread * np.sin(i), "method") for i in angles]
    drawing = _drawing(Scatter("Crowd", [*points, ("far", 0.0, 0.0, "method"), ("right", 1.0, 1.0, "method")]), size)
    areas = [mark["label"]["area"] for mark in drawing["marks"]]
    for i, a in enumerate(areas):
        assert a[0] >= 0 and a[2] <= drawing["width"], "a name is cut off"
        for b in areas[:i]:
            assert plots._shared(a, b) == 0
    lonely = drawing["marks"][10]["label"]
    assert abs(lonely["shift"]) <= 7 and not lonely["leader"]
    assert drawing["marks"][11]["label"]["anchor"] == "end"


def test_clouds_are_thinned_and_their_strays_counted() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.6, 0.05, 5000), rng.normal(4.0, 0.5, 5000)
    x[:7] = 50.0
    view = plots.scatter_view(plane(clouds={"ours": (x, y)}))
    drawing = view["drawings"][0]
    (cloud,) = drawing["clouds"]
    dots = np.array(re.findall(r"M([\d.]+) ([\d.]+)h0", cloud["path"]), float)
    assert len(dots) == 300 and cloud["colour"] == 0
    assert dots[:, 0].min() >= drawing["left"] and dots[:, 0].max() <= drawing["right"] + 0.05
    (x0, x1), (y0, y1) = drawing["ends"]
    assert x1 < 2
    outside = int(np.sum((x < x0) | (x > x1) | (y < y0) | (y > y1)))
    assert outside >= 7
    assert view["captions"][1] == f"Dots: single pairs, at most 300 a method; {outside} of 5,000 lie outside the frame."
    few = plots.scatter_view(plane(clouds={"ours": ([0.5, 0.7], [3.0, 5.0])}))
    assert few["captions"] == ["Trade-off.", "Dots: single pairs."]
    assert plots.scatter_view(plane())["captions"] == ["Trade-off."]

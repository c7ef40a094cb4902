"""The plots of a report: checked numbers for its JSON, and positions in pixels for its template to draw as SVG.

A drawing is laid out twice, for a wide page and for a phone, so that its text has the size of text on both;
the page shows the one that fits.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smoothswap_jax.metrics.bootstrap import Interval

Values = Sequence[float] | np.ndarray
Point = tuple[str, Interval | float, Interval | float, str]  # name, x, y, "method" or "baseline"
Area = tuple[float, float, float, float]  # left, top, right, bottom

_SIZES = {"wide": (720, 380), "narrow": (360, 340)}
_LETTER, _BOLD_LETTER, _LINE = 7.0, 8.0, 14.0  # about the width and height of the plots' text, in a wide font
_FOOT, _HEAD = 44.0, 30.0  # below the frame: ticks and the x label; above it: the y label
_MAX_DOTS = 300  # of one drawn cloud
_BETTER = {
    "x": {"higher": "better →", "lower": "← better"},
    "y": {"higher": "better ↑", "lower": "better ↓"},
}


@dataclass(frozen=True)
class Curve:
    """One plot of several series, `name -> (x, y)` with equally long sequences; `log_y` needs positive y."""

    title: str
    series: Mapping[str, tuple[Values, Values]]
    x_label: str = ""
    y_label: str = ""
    caption: str = ""
    log_y: bool = False


@dataclass(frozen=True)
class Scatter:
    """Named points (name, x, y, kind) in a plane: what a method gains in x against what it loses in y.

    An `Interval` is drawn as an error bar, a "baseline" hollow. `x_better` and `y_better`, "higher" or
    "lower", put an arrow beside the axis label. `clouds` lays the single values behind a point under it as
    faint dots, `name of the point -> (x, y)`.
    """

    title: str
    points: Sequence[Point]
    x_label: str = ""
    y_label: str = ""
    caption: str = ""
    x_better: str | None = None
    y_better: str | None = None
    clouds: Mapping[str, tuple[Values, Values]] = field(default_factory=dict)


# --- numbers ----------------------------------------------------------------------------------------------


def curve_content(curve: Curve) -> dict[str, Any]:
    """The JSON value of a curve; ValueError for one that cannot be drawn."""
    if not curve.series:
        raise ValueError(f"curve {curve.title!r} has no series")
    for name, (x, y) in curve.series.items():
        _check_pairs(f"curve {curve.title!r}: series {name!r}", x, y)
        if curve.log_y and min(y) <= 0:
            raise ValueError(f"curve {curve.title!r}: series {name!r} must be positive on a log axis, found {min(y)}")
    return {
        "title": curve.title, "caption": curve.caption, "x_label": curve.x_label, "y_label": curve.y_label,
        "log_y": curve.log_y, "series": _pairs_content(curve.series),
    }  # fmt: skip


def scatter_content(scatter: Scatter) -> dict[str, Any]:
    """The JSON value of a scatter; ValueError for one that cannot be drawn."""
    where = f"scatter {scatter.title!r}"
    names = [name for name, *_ in scatter.points]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"{where}: needs points of different names, found {names}")
    for name, x, y, kind in scatter.points:
        if kind not in ("method", "baseline"):
            raise ValueError(f"{where}: point {name!r} must be a method or a baseline, found {kind!r}")
        for value in (x, y):
            if isinstance(value, str | bool) or not isinstance(value, Interval | int | float | np.number):
                raise ValueError(f"{where}: point {name!r} needs numbers or intervals, found {value!r}")
    for axis, better in (("x", scatter.x_better), ("y", scatter.y_better)):
        if better is not None and better not in _BETTER[axis]:
            raise ValueError(f"{where}: {axis}_better must be 'higher' or 'lower', found {better!r}")
    for name, (xs, ys) in scatter.clouds.items():
        if name not in names:
            raise ValueError(f"{where}: no point is named {name!r}, found the cloud of one")
        _check_pairs(f"{where}: cloud {name!r}", xs, ys)
    return {
        "title": scatter.title, "caption": scatter.caption, "x_label": scatter.x_label, "y_label": scatter.y_label,
        "x_better": scatter.x_better, "y_better": scatter.y_better,
        "points": [{"name": name, "x": x, "y": y, "kind": kind} for name, x, y, kind in scatter.points],
        "clouds": _pairs_content(scatter.clouds),
    }  # fmt: skip


def _check_pairs(where: str, x: Values, y: Values) -> None:
    if any(np.asarray(values).dtype.kind not in "iuf" for values in (x, y)):
        raise ValueError(f"{where} must be numbers")
    if np.ndim(x) != 1 or np.shape(x) != np.shape(y) or len(x) == 0:
        raise ValueError(f"{where} has {len(x)} x for {len(y)} y values")


def _pairs_content(pairs: Mapping[str, tuple[Values, Values]]) -> dict[str, Any]:
    return {name: {"x": np.asarray(x).tolist(), "y": np.asarray(y).tolist()} for name, (x, y) in pairs.items()}


# --- curves -----------------------------------------------------------------------------------------------


def curve_view(curve: Curve) -> dict[str, Any]:
    """What the template draws of a curve: a drawing for each size of page, and the legend's names."""
    return {
        "title": curve.title, "captions": _texts(curve.caption), "names": list(curve.series),
        "drawings": [_curve_drawing(curve, name) for name in _SIZES],
    }  # fmt: skip


def _texts(*texts: str) -> list[str]:
    return [text for text in texts if text]


def _curve_drawing(curve: Curve, size: str) -> dict[str, Any]:
    scale = np.log10 if curve.log_y else np.asarray
    series = [(np.asarray(x, np.float64), scale(np.asarray(y, np.float64))) for x, y in curve.series.values()]
    frame, place = _frame(size, [x for x, _ in series], [y for _, y in series], log_y=curve.log_y)
    lines = [[(f"{x:.1f}", f"{y:.1f}") for x, y in place(*_thin(*line, _SIZES[size][0]))] for line in series]
    labels = {"x_label": curve.x_label, "y_label": curve.y_label, "x_arrow": "", "y_arrow": ""}
    return {**frame, **labels, "lines": lines}


def _thin(x: np.ndarray, y: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `most` points, about one a pixel, that keep every spike: each stretch's lowest and highest."""
    if len(x) <= most:
        return x, y
    parts = np.array_split(np.arange(len(x)), most // 2)
    keep = np.unique([i for part in parts for i in (part[y[part].argmin()], part[y[part].argmax()])])
    return x[keep], y[keep]


# --- scatters ---------------------------------------------------------------------------------------------


def scatter_view(scatter: Scatter) -> dict[str, Any]:
    """What the template draws of a scatter: a drawing for each size of page."""
    drawings = [_scatter_drawing(scatter, name) for name in _SIZES]
    return {
        "title": scatter.title, "captions": _texts(scatter.caption, _about_dots(scatter)), "drawings": drawings,
    }  # fmt: skip


def _about_dots(scatter: Scatter) -> str:
    """A note on the dots, not all of which are drawn."""
    if not scatter.clouds:
        return ""
    ends = [_axis([values], log=False)[1] for values in _in_sight(scatter)]
    outside = sum(_drawn_cloud(x, y, ends)[1] for x, y in scatter.clouds.values())
    sizes = [len(x) for x, _ in scatter.clouds.values()]
    text = "Dots: single pairs"
    if max(sizes) > _MAX_DOTS:
        text += f", at most {_MAX_DOTS} a method"
    return text + (f"; {outside:,} of {sum(sizes):,} lie outside the frame." if outside else ".")


def _in_sight(scatter: Scatter) -> list[np.ndarray]:
    """The x, and the y, that the frame must hold: every point with its bars, and 98 of 100 dots of each cloud.

    The last few dots would press all points into a corner.
    """
    seen = []
    for axis, of_points in enumerate(zip(*((x, y) for _, x, y, _ in scatter.points), strict=True)):
        values = [part for value in of_points for part in _parts(value)]
        for cloud in scatter.clouds.values():
            values += np.quantile(np.asarray(cloud[axis], np.float64), [0.01, 0.99], method="nearest").tolist()
        seen.append(np.array(values))
    return seen


def _parts(value: Interval | float) -> tuple[float, float, float]:
    if isinstance(value, Interval):
        return float(value.value), float(value.low), float(value.high)
    return (float(value),) * 3


def _drawn_cloud(x: Values, y: Values, ends: Sequence[tuple[float, float]]) -> tuple[np.ndarray, int]:
    """At most `_MAX_DOTS` dots [n, 2] inside the frame, evenly taken, and how many lie outside."""
    dots = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1)
    low, high = np.transpose(ends)
    inside = dots[np.all((dots >= low) & (dots <= high), axis=1)]
    keep = np.unique(np.linspace(0, len(inside) - 1, min(len(inside), _MAX_DOTS)).round().astype(int))
    return inside[keep], len(dots) - len(inside)


def _scatter_drawing(scatter: Scatter, size: str) -> dict[str, Any]:
    x, y = _in_sight(scatter)
    frame, place = _frame(size, [x], [y])
    colours = _colours(scatter.points)
    marks = [_mark(point, place) for point in scatter.points]
    labels = _place_labels(marks, (frame["left"], frame["top"], frame["width"], frame["bottom"]))
    clouds = []
    for name, cloud in scatter.clouds.items():
        dots = place(*_drawn_cloud(*cloud, frame["ends"])[0].T)
        clouds.append({"colour": colours[name], "path": "".join(f"M{x:.1f} {y:.1f}h0" for x, y in dots)})
    return {
        **frame, "clouds": clouds,
        "x_label": scatter.x_label, "x_arrow": _BETTER["x"].get(scatter.x_better or "", ""),
        "y_label": scatter.y_label, "y_arrow": _BETTER["y"].get(scatter.y_better or "", ""),
        "marks": [
            {**mark, "label": label, "colour": colours[mark["name"]]}
            for mark, label in zip(marks, labels, strict=True)
        ],
    }  # fmt: skip


def _colours(points: Sequence[Point]) -> dict[str, int | None]:
    """A colour's number for each method; baselines have none."""
    methods = [name for name, _, _, kind in points if kind == "method"]
    return {name: methods.index(name) if name in methods else None for name, *_ in points}


def _mark(point: Point, place: Callable[..., np.ndarray]) -> dict[str, Any]:
    name, x, y, kind = point
    centre, low, high = (place(*pair)[0].tolist() for pair in zip(_parts(x), _parts(y), strict=True))
    say = lambda value: (
        "{:.3g}".format(*_parts(value))
        + (" [{1:.3g}, {2:.3g}]".format(*_parts(value)) if isinstance(value, Interval) else "")
    )
    return {
        "name": name, "baseline": kind == "baseline", "says": f"{name}: {say(x)}; {say(y)}",
        "x": centre[0], "y": centre[1],
        "x_bar": (low[0], high[0]) if isinstance(x, Interval) else None,
        "y_bar": (high[1], low[1]) if isinstance(y, Interval) else None,  # pixels count downwards
    }  # fmt: skip


def _place_labels(marks: Sequence[dict[str, Any]], page: Area) -> list[dict[str, Any]]:
    """Where each name stands: beside its point, moved up or down as far as it must to hide little.

    One name after the other takes the place that costs least, so a few dozen points are no trouble and the
    same points always give the same picture.
    """
    things: list[tuple[float, Area]] = []  # how bad it is to cover a pixel, and of what
    for mark in marks:
        x, y = mark["x"], mark["y"]
        things.append((3.0, (x - 6, y - 6, x + 6, y + 6)))
        if mark["x_bar"]:
            things.append((1.0, (mark["x_bar"][0], y - 1, mark["x_bar"][1], y + 1)))
        if mark["y_bar"]:
            things.append((1.0, (x - 1, mark["y_bar"][0], x + 1, mark["y_bar"][1])))
    labels = []
    shifts = sorted((sign * step * _LINE / 2 for step in range(17) for sign in (-1, 1)), key=abs)
    for mark in marks:
        wide = len(mark["name"]) * _BOLD_LETTER
        places = [_label(mark, side, shift, wide) for shift in shifts for side in ("start", "end")]
        label = min(places, key=lambda place: _cost(place, things, page))
        things.append((3.0, label["area"]))
        labels.append(label)
    return labels


def _label(mark: dict[str, Any], side: str, shift: float, wide: float) -> dict[str, Any]:
    x, y = mark["x"] + (10 if side == "start" else -10), mark["y"] + shift
    area = (x, y - _LINE / 2, x + wide, y + _LINE / 2) if side == "start" else (x - wide, y - 7, x, y + 7)
    far = abs(shift) > 0.8 * _LINE  # a line leads from the point to a name that does not touch it
    return {"x": x, "y": y, "anchor": side, "shift": shift, "area": area, "leader": far}


def _cost(label: dict[str, Any], things: Sequence[tuple[float, Area]], page: Area) -> float:
    area = label["area"]
    beyond = (area[2] - area[0]) * (area[3] - area[1]) - _shared(area, page)
    covered = sum(weight * _shared(area, other) for weight, other in things)
    return 10 * beyond + covered + 1.5 * abs(label["shift"]) + (2 if label["anchor"] == "end" else 0)


def _shared(a: Area, b: Area) -> float:
    """How many pixels two rectangles share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


# --- frames and axes --------------------------------------------------------------------------------------


def _frame(
    size: str, x: Sequence[np.ndarray], y: Sequence[np.ndarray], log_y: bool = False
) -> tuple[dict[str, Any], Callable[..., np.ndarray]]:
    """Frame and ticks around data (log data come as exponents), and the map from data to pixels [n, 2]."""
    width, height = _SIZES[size]
    x_ticks, (x0, x1) = _axis(x, log=False)
    y_ticks, (y0, y1) = _axis(y, log=log_y)
    left = 10 + _LETTER * max(len(text) for _, text in y_ticks)
    right = width - max(8.0, _LETTER / 2 * len(x_ticks[-1][1]))
    top, bottom = _HEAD, height - _FOOT

    def place(x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
        across, up = (np.atleast_1d(x) - x0) / (x1 - x0), (np.atleast_1d(y) - y0) / (y1 - y0)
        return np.stack([left + across * (right - left), bottom - up * (bottom - top)], axis=1)

    columns = [(place(at, y0)[0, 0].round(1).item(), text) for at, text in x_ticks]
    rows = [(place(x0, at)[0, 1].round(1).item(), text) for at, text in y_ticks]
    # On a narrow page long numbers would run into each other: every second one, or third, is left out.
    needed = (max(len(text) for _, text in columns) + 1.5) * _LETTER
    step = math.ceil(needed / (columns[1][0] - columns[0][0])) if len(columns) > 1 else 1
    columns = [(at, text if i % step == 0 else "") for i, (at, text) in enumerate(columns)]
    frame = {
        "size": size, "width": width, "height": height, "left": left, "right": right, "top": top, "bottom": bottom,
        "ends": ((x0, x1), (y0, y1)), "x_ticks": columns, "y_ticks": rows,
    }  # fmt: skip
    return frame, place


def _axis(data: Sequence[np.ndarray], log: bool) -> tuple[list[tuple[float, str]], tuple[float, float]]:
    """Ticks (position, text) at round numbers, and the ends of the axis; log data come as exponents."""
    low, high = float(min(d.min() for d in data)), float(max(d.max() for d in data))
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # a constant: give it an axis to lie in the middle of
        margin = 0.5 * abs(low) or 0.5
        low, high = low - margin, high + margin
    if not log:
        return _snug(_round_numbers(low, high), low, high)
    decades = range(math.floor(low), math.ceil(high) + 1)
    steps = (1, 2, 5) if high - low < 4 else (1,)
    marks = [(d + math.log10(m), f"{m * 10.0**d:g}") for d in decades for m in steps]
    marks = [(t, text) for t, text in marks if low <= t <= high]
    if len(marks) < 3:  # within one decade evenly spaced numbers are the rounder ones
        marks = [(math.log10(v), text) for v, text in _round_numbers(10.0**low, 10.0**high) if v > 0]
        low, high = min(low, marks[0][0]), max(high, marks[-1][0])
    return marks, (low, high)


def _snug(
    ticks: list[tuple[float, str]], low: float, high: float
) -> tuple[list[tuple[float, str]], tuple[float, float]]:
    """The axis ends at its outer ticks, or near the data where these are far: empty room makes small what matters."""
    step, margin = ticks[1][0] - ticks[0][0], 0.03 * (high - low)
    start, end = ticks[0][0], ticks[-1][0]
    if low - start > 0.4 * step and len(ticks) > 3:
        ticks, start = ticks[1:], low - margin
    if end - high > 0.4 * step and len(ticks) > 3:
        ticks, end = ticks[:-1], high + margin
    return ticks, (start, end)


def _round_numbers(low: float, high: float) -> list[tuple[float, str]]:
    """About five multiples of 1, 2 or 5 times a power of ten that enclose [low, high], with their texts."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    plain = decimals <= 4 and max(abs(first), abs(last)) * step < 1e7
    numbers = [i * step for i in range(first, last + 1)]
    return [(n, f"{n:z,.{decimals}f}" if plain else f"{n:.4g}") for n in numbers]

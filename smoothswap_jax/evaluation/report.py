"""A report: `report.json` for programs and `report.html` for people, from one set of plain values.

The page is one file that needs nothing else: pictures are embedded, curves are inline SVG drawn by the
template, and a content security policy forbids every request. The JSON holds each number the page shows.
Only `jinja2` (the `eval` extra) is needed beyond the core, and only by `write_report`.
"""

import base64
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from smoothswap_jax.evaluation.grids import image_grid, swap_grid, to_uint8
from smoothswap_jax.evaluation.intervals import Interval
from smoothswap_jax.files import write_atomically

__all__ = [
    "Curve",
    "Interval",
    "Picture",
    "Report",
    "Table",
    "image_grid",
    "swap_grid",
    "to_uint8",
    "write_report",
]

Number = int | float | bool | np.integer | np.floating
Cell = str | Number | Interval | None
_ARROWS = {"lower": "↓", "higher": "↑"}
_PLOT = {"width": 640, "height": 300, "left": 64, "right": 30, "top": 12, "bottom": 44}
_MAX_POINTS = 600  # of one drawn line: about one a pixel


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns; a cell is text, a number, an `Interval`, or None (a dash).

    `better` maps a column to "lower" or "higher" and puts the arrow into its heading; `digits` are
    significant.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    better: Mapping[str, str] = field(default_factory=dict)
    digits: int = 3


@dataclass(frozen=True)
class Picture:
    """A uint8 image [h, w, 3] or [h, w], or the path of a PNG, shown `zoom` times its size.

    `pixelated` keeps hard pixel edges when the browser enlarges it; use it for small images.
    """

    title: str
    image: UInt8[np.ndarray, "h w *c"] | Path
    caption: str = ""
    pixelated: bool = False
    zoom: int = 1


@dataclass(frozen=True)
class Curve:
    """One plot of several series, `name -> (x, y)` with equally long sequences; `log_y` needs positive y."""

    title: str
    series: Mapping[str, tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]]
    x_label: str = ""
    y_label: str = ""
    caption: str = ""
    log_y: bool = False


@dataclass(frozen=True)
class Report:
    """All a report says. `facts` is how it came about: command, seed, date, versions, hardware, durations."""

    title: str
    intro: Sequence[str] = ()
    facts: Mapping[str, str | Number] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    curves: Sequence[Curve] = ()
    notes: Sequence[str] = ()


def write_report(out_dir: str | Path, report: Report) -> Path:
    """Write `report.html`, `report.json` and `pictures/*.png` into `out_dir`; returns the path of the page.

    Everything is checked and drawn before the first file is touched, each file appears by rename, and
    `report.json` comes last: a fresh folder that has it has the whole report. Raises ValueError naming the
    key for a NaN, an infinity or an unfit row, curve or picture, TypeError for a value of another kind, and
    ImportError naming the extra when jinja2 is missing.
    """
    jinja2 = _jinja2()
    files = [_png(picture) for picture in report.pictures]
    names = [f"pictures/{i:02d}-{_slug(p.title)}.png" for i, p in enumerate(report.pictures, start=1)]
    content = _content(report, names)
    template = resources.files("smoothswap_jax.evaluation").joinpath("report.html.jinja").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(template).render(
        report=report,
        tables=[_table_view(table) for table in report.tables],
        facts={key: _text(value, None, 6) for key, value in report.facts.items()},
        pictures=[_picture_view(*pair) for pair in zip(report.pictures, files, strict=True)],
        plots=[_plot(curve) for curve in report.curves],
    )
    out = Path(out_dir)
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    for name, data in zip(names, files, strict=True):
        write_atomically(out / name, data)
    write_atomically(out / "report.html", page.encode("utf-8"))
    write_atomically(out / "report.json", (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode("utf-8"))
    return out / "report.html"


def _jinja2() -> ModuleType:
    try:
        import jinja2
    except ImportError as error:
        message = "writing a report needs jinja2: install the `eval` extra, pip install 'smoothswap-jax[eval]'"
        raise ImportError(message) from error
    return jinja2


# --- numbers ----------------------------------------------------------------------------------------------


def _content(report: Report, picture_names: Sequence[str]) -> dict[str, Any]:
    """The JSON value of a report: plain types only, every float finite."""
    raw = {
        "title": report.title,
        "intro": list(report.intro),
        "facts": dict(report.facts),
        "tables": [_table_content(table) for table in report.tables],
        "curves": [_curve_content(curve) for curve in report.curves],
        "pictures": [
            {"title": picture.title, "caption": picture.caption, "file": name}
            for picture, name in zip(report.pictures, picture_names, strict=True)
        ],
        "notes": list(report.notes),
    }
    return _plain(raw, "report")


def _table_content(table: Table) -> dict[str, Any]:
    columns = list(table.columns)
    if len(set(columns)) != len(columns):
        raise ValueError(f"table {table.title!r}: column names must differ, found {columns}")
    for column, direction in table.better.items():
        if column not in columns or direction not in _ARROWS:
            raise ValueError(f"table {table.title!r}: better[{column!r}] = {direction!r} fits no column or arrow")
    for i, row in enumerate(table.rows):
        if len(row) != len(columns):
            raise ValueError(f"table {table.title!r}: row {i} has {len(row)} cells for {len(columns)} columns")
    rows = [dict(zip(columns, row, strict=True)) for row in table.rows]
    return {
        "title": table.title, "caption": table.caption, "columns": columns, "better": dict(table.better),
        "rows": rows,
    }  # fmt: skip


def _curve_content(curve: Curve) -> dict[str, Any]:
    if not curve.series:
        raise ValueError(f"curve {curve.title!r} has no series")
    for name, (x, y) in curve.series.items():
        if any(np.asarray(values).dtype.kind not in "iuf" for values in (x, y)):
            raise ValueError(f"curve {curve.title!r}: series {name!r} must be numbers")
        if np.ndim(x) != 1 or np.shape(x) != np.shape(y) or len(x) == 0:
            raise ValueError(f"curve {curve.title!r}: series {name!r} has {len(x)} x for {len(y)} y values")
        if curve.log_y and min(y) <= 0:
            raise ValueError(f"curve {curve.title!r}: series {name!r} must be positive on a log axis, found {min(y)}")
    series = {name: {"x": np.asarray(x).tolist(), "y": np.asarray(y).tolist()} for name, (x, y) in curve.series.items()}
    return {
        "title": curve.title, "caption": curve.caption, "x_label": curve.x_label, "y_label": curve.y_label,
        "log_y": curve.log_y, "series": series,
    }  # fmt: skip


def _plain(value: Any, key: str) -> Any:
    """`value` in the types JSON knows; `key` is its path, for the error message."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, np.bool_ | np.integer | np.floating) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return _plain(value.item(), key)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{key} must be a finite number, found {value}")
        return value
    if isinstance(value, Interval):
        parts = {"value": value.value, "low": value.low, "high": value.high}
        return {name: _plain(part, f"{key}.{name}") for name, part in parts.items()}
    if isinstance(value, Mapping):
        return {str(name): _plain(part, f"{key}.{name}") for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, f"{key}[{i}]") for i, part in enumerate(value)]
    raise TypeError(f"{key} must be text, a number or an interval, found {type(value).__name__}")


def _decimals(cells: Sequence[Cell], digits: int) -> int | None:
    """Decimals for a whole column, so that its points align; None where one number cannot suit all.

    The largest number gets `digits` significant digits, and one decimal more where a smaller one needs it.
    """
    sizes = [size for cell in cells for size in _sizes(cell) if size > 0]
    if not sizes:
        return 0
    # Intervals count by their centre: an end that happens to be near zero needs no digits of its own.
    large, small = (math.floor(math.log10(size)) for size in (max(sizes), min(sizes)))
    if large > 6 or small < -6 or large - small > 4:
        return None
    return max(0, min(digits - 1 - small, digits - large))


def _sizes(cell: Cell) -> list[float]:
    if isinstance(cell, Interval):
        return [abs(float(cell.value))]
    return [abs(float(cell))] if isinstance(cell, float | np.floating) else []


def _text(cell: Cell, decimals: int | None, digits: int) -> str:
    """A cell as people read it: `0.312`, `0.312 [0.290, 0.334]`, text as it is, None as a dash."""
    if cell is None:
        return "–"
    if isinstance(cell, Interval):
        value, low, high = (_text(float(x), decimals, digits) for x in (cell.value, cell.low, cell.high))
        return f"{value} [{low}, {high}]"
    if isinstance(cell, bool | np.bool_):
        return "yes" if cell else "no"
    if isinstance(cell, float | np.floating):
        return f"{cell:.{digits}g}" if decimals is None else f"{cell:z.{decimals}f}"
    return str(cell)


# --- the page ---------------------------------------------------------------------------------------------


def _table_view(table: Table) -> dict[str, Any]:
    decimals = [_decimals(column, table.digits) for column in zip(*table.rows, strict=True)]
    rows = [
        [
            {"text": _text(cell, places, table.digits), "number": not isinstance(cell, str)}
            for cell, places in zip(row, decimals, strict=True)
        ]
        for row in table.rows
    ]
    heads = [
        {
            "text": column,
            "better": table.better.get(column),
            "arrow": _ARROWS.get(table.better.get(column, "")),
            # A heading stands over its column: right over numbers, left over text.
            "number": bool(rows) and all(row[i]["number"] for row in rows),
        }
        for i, column in enumerate(table.columns)
    ]
    return {"title": table.title, "caption": table.caption, "heads": heads, "rows": rows}


def _png(picture: Picture) -> bytes:
    """The PNG bytes of a picture; raises ValueError for another dtype, shape or file format."""
    if isinstance(picture.image, np.ndarray):
        image = picture.image
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
            wanted = "uint8 [h, w, 3] or [h, w]"
            raise ValueError(f"picture {picture.title!r} must be {wanted}, found {image.dtype}{list(image.shape)}")
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="PNG", optimize=True)
        return buffer.getvalue()
    data = Path(picture.image).read_bytes()
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError(f"picture {picture.title!r}: {picture.image} is not a PNG file")
    return data


def _picture_view(picture: Picture, data: bytes) -> dict[str, Any]:
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    return {
        "title": picture.title, "caption": picture.caption, "pixelated": picture.pixelated,
        "width": width * picture.zoom, "height": height * picture.zoom,
        "data": base64.b64encode(data).decode("ascii"),
    }  # fmt: skip


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40] or "picture"


def _plot(curve: Curve) -> dict[str, Any]:
    """Pixel positions of a plot's lines and ticks in a 640 x 300 box, for the template to draw."""
    left, bottom = _PLOT["left"], _PLOT["height"] - _PLOT["bottom"]
    wide, tall = _PLOT["width"] - left - _PLOT["right"], bottom - _PLOT["top"]
    scale = np.log10 if curve.log_y else np.asarray
    series = {n: (np.asarray(x, np.float64), scale(np.asarray(y, np.float64))) for n, (x, y) in curve.series.items()}
    x_ticks, (x0, x1) = _axis([x for x, _ in series.values()], log=False)
    y_ticks, (y0, y1) = _axis([y for _, y in series.values()], log=curve.log_y)
    lines = []
    for name, (x, y) in series.items():
        x, y = _thin(x, y)
        points = np.stack([left + (x - x0) / (x1 - x0) * wide, bottom - (y - y0) / (y1 - y0) * tall], axis=1)
        lines.append({"name": name, "points": [(f"{px:.1f}", f"{py:.1f}") for px, py in points]})
    return {
        "title": curve.title, "caption": curve.caption, "x_label": curve.x_label, "y_label": curve.y_label,
        "box": _PLOT, "lines": lines,
        "x_ticks": [(f"{left + (t - x0) / (x1 - x0) * wide:.1f}", text) for t, text in x_ticks],
        "y_ticks": [(f"{bottom - (t - y0) / (y1 - y0) * tall:.1f}", text) for t, text in y_ticks],
    }  # fmt: skip


def _axis(data: Sequence[np.ndarray], log: bool) -> tuple[list[tuple[float, str]], tuple[float, float]]:
    """Ticks (position, text) at round numbers, and the ends of the axis; log data come as exponents."""
    low, high = float(min(d.min() for d in data)), float(max(d.max() for d in data))
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # a constant: give it an axis to lie in the middle of
        margin = 0.5 * abs(low) or 0.5
        low, high = low - margin, high + margin
    if not log:
        ticks = _round_numbers(low, high)
        return ticks, (ticks[0][0], ticks[-1][0])
    decades = range(math.floor(low), math.ceil(high) + 1)
    steps = (1, 2, 5) if high - low < 4 else (1,)
    marks = [(d + math.log10(m), f"{m * 10.0**d:g}") for d in decades for m in steps]
    marks = [(t, text) for t, text in marks if low <= t <= high]
    if len(marks) < 3:  # within one decade evenly spaced numbers are the rounder ones
        marks = [(math.log10(v), text) for v, text in _round_numbers(10.0**low, 10.0**high) if v > 0]
        low, high = min(low, marks[0][0]), max(high, marks[-1][0])
    return marks, (low, high)


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


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `_MAX_POINTS` points that keep every spike: each stretch's lowest and highest."""
    if len(x) <= _MAX_POINTS:
        return x, y
    parts = np.array_split(np.arange(len(x)), _MAX_POINTS // 2)
    keep = np.unique([i for part in parts for i in (part[y[part].argmin()], part[y[part].argmax()])])
    return x[keep], y[keep]

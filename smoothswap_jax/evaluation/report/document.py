"""A report: `report.json` for programs and `report.html` for people, from one set of plain values.

The page is one file that needs nothing else: pictures are embedded, plots are inline SVG drawn by the
template, and a content security policy forbids every request and every script but the one that sorts
tables. The JSON holds each number the page shows; docs/report_schema.md says what its keys mean. Only
`jinja2` (the `eval` extra) is needed beyond the core, and only by `write_report`.
"""

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from smoothswap_jax.evaluation.report.numbers import Cell, Number, cell_text, column_decimals, plain
from smoothswap_jax.evaluation.report.plots import (
    Curve,
    Scatter,
    curve_content,
    curve_view,
    scatter_content,
    scatter_view,
)
from smoothswap_jax.faces.grid import image_grid, swap_grid, to_uint8
from smoothswap_jax.metrics.bootstrap import Interval
from smoothswap_jax.runtime.files import write_atomically
from smoothswap_jax.runtime.templates import render_page

__all__ = [
    "Curve",
    "Interval",
    "Picture",
    "Report",
    "Scatter",
    "Table",
    "Text",
    "image_grid",
    "swap_grid",
    "to_uint8",
    "write_report",
]

_ARROWS = {"lower": "↓", "higher": "↑"}
SCHEMA = "smoothswap-report/2"  # of report.json


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns; a cell is text, a number, an `Interval`, or None (a dash).

    `better` maps a column to "lower" or "higher": an arrow in its heading, and the best value in bold.
    `baselines` names rows, by their first cell, that bound the methods instead of competing (a copy, the
    truth): they stand back and are never best. `notes` are lines below the caption, for instance on marks
    that names carry ("SimSwap †"). `digits` are significant.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    better: Mapping[str, str] = field(default_factory=dict)
    digits: int = 3
    baselines: Sequence[str] = ()
    notes: Sequence[str] = ()


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
class Text:
    """Paragraphs under a heading of their own."""

    title: str
    paragraphs: Sequence[str]


Block = Table | Picture | Curve | Scatter | Text
_KINDS: dict[type, str] = {Table: "table", Picture: "picture", Curve: "curve", Scatter: "scatter", Text: "text"}


@dataclass(frozen=True)
class Report:
    """All a report says. `facts` is how it came about: command, seed, date, versions, hardware, durations.

    `verdicts` are sentences that say in words what was found; they come first. The page shows tables, then
    pictures, then curves; a report that wants another order, scatters or texts gives `blocks` instead.
    """

    title: str
    intro: Sequence[str] = ()
    facts: Mapping[str, str | Number] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    curves: Sequence[Curve] = ()
    notes: Sequence[str] = ()
    blocks: Sequence[Block] = ()
    verdicts: Sequence[str] = ()


def write_report(out_dir: str | Path, report: Report, extra: Mapping[str, Any] = MappingProxyType({})) -> Path:
    """Write `report.html`, `report.json` and `pictures/*.png` into `out_dir`; returns the path of the page.

    `extra` is for programs: its keys (protocol, judges, hashes, ...) go beside the report's own at the top
    of `report.json`. Everything is checked and drawn before the first file is touched, each file appears by
    rename, and `report.json` comes last: a fresh folder that has it has the whole report. Raises ValueError
    naming the key for a NaN, an infinity, an unfit row, plot or picture, or a key of `extra` that the report
    has itself, TypeError for a value of another kind, and ImportError naming the extra when jinja2 is
    missing.
    """
    blocks = _blocks(report)
    pictures = [block for block in blocks if isinstance(block, Picture)]
    files = [_png(picture) for picture in pictures]
    names = [f"pictures/{i:02d}-{_slug(p.title)}.png" for i, p in enumerate(pictures, start=1)]
    content = _content(report, blocks, names, extra)
    facts = {key: cell_text(value, None, 6) for key, value in report.facts.items()}
    page = render_page(
        "smoothswap_jax.evaluation.report",
        "report.html.jinja",
        {"report": report, "blocks": _views(blocks, files), "facts": facts},
        user="writing a report",
        extra="eval",
        filters={"source_hash": _source_hash},
    )
    out = Path(out_dir)
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    for name, data in zip(names, files, strict=True):
        write_atomically(out / name, data)
    write_atomically(out / "report.html", page.encode("utf-8"))
    write_atomically(out / "report.json", (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode("utf-8"))
    return out / "report.html"


def _blocks(report: Report) -> Sequence[Block]:
    """The report's parts in the order of the page."""
    parts: list[Block] = [*report.tables, *report.pictures, *report.curves]
    if report.blocks and parts:
        raise ValueError("a report has either blocks, or tables, pictures and curves, which go in this order")
    for i, block in enumerate(report.blocks):
        if type(block) not in _KINDS:
            kinds = ", ".join(kind.__name__ for kind in _KINDS)
            raise TypeError(f"report.blocks[{i}] must be one of {kinds}, found {type(block).__name__}")
    return report.blocks or parts


# --- numbers ----------------------------------------------------------------------------------------------


def _content(
    report: Report, blocks: Sequence[Block], picture_names: Sequence[str], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """The JSON value of a report: plain types only, every float finite.

    Each kind of block has its own list, where programs find it; `blocks` holds the order of the page.
    """
    lists: dict[str, list[dict[str, Any]]] = {f"{kind}s": [] for kind in _KINDS.values()}
    order, names = [], iter(picture_names)
    for block in blocks:
        kind = _KINDS[type(block)]
        order.append({"type": kind, "index": len(lists[f"{kind}s"])})
        lists[f"{kind}s"].append(_block_content(block, names))
    raw = {
        "schema": SCHEMA,
        "title": report.title,
        "intro": list(report.intro),
        "verdicts": list(report.verdicts),
        "facts": dict(report.facts),
        "blocks": order,
        **lists,
        "notes": list(report.notes),
    }
    if taken := sorted(raw.keys() & extra.keys()):
        raise ValueError(f"extra has keys that a report has itself: {', '.join(taken)}")
    return plain(raw, "report") | plain(extra, "extra")


def _block_content(block: Block, picture_names: Iterator[str]) -> dict[str, Any]:
    if isinstance(block, Table):
        return _table_content(block)
    if isinstance(block, Curve):
        return curve_content(block)
    if isinstance(block, Scatter):
        return scatter_content(block)
    if isinstance(block, Picture):
        return {"title": block.title, "caption": block.caption, "file": next(picture_names)}
    return {"title": block.title, "paragraphs": list(block.paragraphs)}


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
    if unknown := sorted(set(table.baselines) - {row[0] for row in table.rows if isinstance(row[0], str)}):
        raise ValueError(f"table {table.title!r}: no row is named like the baselines {unknown}")
    rows = [dict(zip(columns, row, strict=True)) for row in table.rows]
    return {
        "title": table.title, "caption": table.caption, "columns": columns, "better": dict(table.better),
        "baselines": list(table.baselines), "rows": rows, "notes": list(table.notes),
    }  # fmt: skip


# --- the page ---------------------------------------------------------------------------------------------


def _source_hash(script: str) -> str:
    """The source expression by which a content security policy allows exactly this inline script."""
    digest = hashlib.sha256(str(script).encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _views(blocks: Sequence[Block], files: Sequence[bytes]) -> list[dict[str, Any]]:
    """What the template shows of each block, with its kind and an id to link to."""
    views: list[dict[str, Any]] = []
    data = iter(files)
    for block in blocks:
        kind = _KINDS[type(block)]
        number = 1 + sum(view["type"] == kind for view in views)
        views.append({**_block_view(block, data), "type": kind, "id": f"{kind}-{number}"})
    return views


def _block_view(block: Block, files: Iterator[bytes]) -> dict[str, Any]:
    if isinstance(block, Table):
        return _table_view(block)
    if isinstance(block, Curve):
        return curve_view(block)
    if isinstance(block, Scatter):
        return scatter_view(block)
    if isinstance(block, Picture):
        return _picture_view(block, next(files))
    return {"title": block.title, "paragraphs": block.paragraphs}


def _table_view(table: Table) -> dict[str, Any]:
    decimals = [column_decimals(column, table.digits) for column in zip(*table.rows, strict=True)]
    cells = [
        [_cell_view(cell, places, table.digits) for cell, places in zip(row, decimals, strict=True)]
        for row in table.rows
    ]
    baseline = [bool(row) and isinstance(row[0], str) and row[0] in table.baselines for row in table.rows]
    for i, column in enumerate(table.columns):
        if column in table.better:
            rivals = [row[i] for row, apart in zip(cells, baseline, strict=True) if not apart]
            _mark_best([cell for cell in rivals if cell["value"] is not None], table.better[column])
    heads = [
        {
            "text": column,
            "better": table.better.get(column),
            "arrow": _ARROWS.get(table.better.get(column, "")),
            # Numbers stand right, with their heading and whatever takes their place; a column of text left.
            "number": any(not isinstance(row[i], str) for row in table.rows),
        }
        for i, column in enumerate(table.columns)
    ]
    rows = [{"cells": row, "baseline": apart} for row, apart in zip(cells, baseline, strict=True)]
    captions = [text for text in (table.caption, *table.notes) if text]
    return {"title": table.title, "captions": captions, "heads": heads, "rows": rows}


def _cell_view(cell: Cell, decimals: int | None, digits: int) -> dict[str, Any]:
    """A cell's text, with an interval's ends apart, and the number it sorts by (None: it has none)."""
    centre, ends = cell, ""
    if isinstance(cell, Interval):
        centre = float(cell.value)
        ends = cell_text(cell, decimals, digits).removeprefix(cell_text(centre, decimals, digits)).strip()
    value = None if centre is None or isinstance(centre, str) else plain(centre, "cell") + 0  # True sorts as 1
    return {
        "text": cell_text(centre, decimals, digits), "ends": ends, "value": value, "dash": cell is None, "best": False,
        "is_text": isinstance(cell, str),
    }  # fmt: skip


def _mark_best(cells: Sequence[dict[str, Any]], better: str) -> None:
    """Marks the best of two or more cells, and those that look the same: what differs unseen is no better."""
    if len(cells) > 1:
        best = (max if better == "higher" else min)(cells, key=lambda cell: cell["value"])
        for cell in cells:
            cell["best"] = cell["text"] == best["text"]


def _png(picture: Picture) -> bytes:
    """The PNG bytes of a picture; raises ValueError for another dtype, shape or file format."""
    if isinstance(picture.image, np.ndarray):
        image = picture.image
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
            wanted = "uint8 [h, w, 3] or [h, w]"
            raise ValueError(f"picture {picture.title!r} must be {wanted}, found {image.dtype}{list(image.shape)}")
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="PNG")
        return buffer.getvalue()
    data = Path(picture.image).read_bytes()
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError(f"picture {picture.title!r}: {picture.image} is not a PNG file")
    return data


def _picture_view(picture: Picture, data: bytes) -> dict[str, Any]:
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    return {
        "title": picture.title, "captions": [picture.caption] if picture.caption else [],
        "pixelated": picture.pixelated, "width": width * picture.zoom, "height": height * picture.zoom,
        "data": base64.b64encode(data).decode("ascii"),
    }  # fmt: skip


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40] or "picture"

"""The cells of a report: as plain JSON values, and as text that people read."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from smoothswap_jax.metrics.bootstrap import Interval

Number = int | float | bool | np.integer | np.floating
Cell = str | Number | Interval | None


def plain(value: Any, key: str) -> Any:
    """`value` in the types JSON knows; `key` is its path, for the error message."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, np.bool_ | np.integer | np.floating) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return plain(value.item(), key)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{key} must be a finite number, found {value}")
        return value
    if isinstance(value, Interval):
        parts = {"value": value.value, "low": value.low, "high": value.high}
        return {name: plain(part, f"{key}.{name}") for name, part in parts.items()}
    if isinstance(value, Mapping):
        return {str(name): plain(part, f"{key}.{name}") for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part, f"{key}[{i}]") for i, part in enumerate(value)]
    raise TypeError(f"{key} must be text, a number or an interval, found {type(value).__name__}")


def column_decimals(cells: Sequence[Cell], digits: int) -> int | None:
    """Decimals for a whole column, so that its points align; None where one number cannot suit all.

    The largest number gets `digits` significant digits, and one decimal more where a smaller one needs it.
    """
    # Intervals count by their centre: an end that happens to be near zero needs no digits of its own.
    ends = [abs(float(end)) for cell in cells if isinstance(cell, Interval) for end in (cell.low, cell.high)]
    sizes = [size for cell in cells for size in _sizes(cell) if size > 0] or [max(ends, default=0.0)]
    if sizes == [0.0]:
        return 0
    large, small = (math.floor(math.log10(size)) for size in (max(sizes), min(sizes)))
    if large > 6 or small < -6 or large - small > 4:
        return None
    return max(0, min(digits - 1 - small, digits - large))


def _sizes(cell: Cell) -> list[float]:
    if isinstance(cell, Interval):
        return [abs(float(cell.value))]
    return [abs(float(cell))] if isinstance(cell, float | np.floating) else []


def cell_text(cell: Cell, decimals: int | None, digits: int) -> str:
    """A cell as people read it: `0.312`, `0.312 [0.290, 0.334]`, text as it is, None as a dash."""
    if cell is None:
        return "–"
    if isinstance(cell, Interval):
        value, low, high = (cell_text(float(x), decimals, digits) for x in (cell.value, cell.low, cell.high))
        return f"{value} [{low}, {high}]"
    if isinstance(cell, bool | np.bool_):
        return "yes" if cell else "no"
    if isinstance(cell, float | np.floating):
        return f"{cell:.{digits}g}" if decimals is None else f"{cell:z.{decimals}f}"
    return str(cell)

"""One page of all benches of this machine: `smoothswap bench --what=all --out=DIR`.

Each part is a process of its own, so that none finds what another compiled, and its numbers are kept in DIR/PART.json:
the same command goes on after the last one that was finished.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from smoothswap_jax.evaluation.report.document import Report, Table, write_report
from smoothswap_jax.evaluation.report.numbers import Cell
from smoothswap_jax.evaluation.report.surroundings import surroundings
from smoothswap_jax.runtime.files import write_atomically
from smoothswap_jax.runtime.json_files import read_json_object

BENCH = ("smoothswap_jax", "bench")
PARTS: dict[str, tuple[str, ...]] = {
    "start": (*BENCH, "--what=start"),
    "data": (*BENCH, "--what=data"),
    "evaluate": (*BENCH, "--what=evaluate", "--pairs=200"),
    "steps": (*BENCH, "--what=steps"),
    "torch_step": ("smoothswap_jax.bench.torch_step",),
    "scaling": (*BENCH, "--what=scaling"),
    "video": (*BENCH, "--what=video", "--frames=100"),
    "world": (*BENCH, "--what=world", "--people=50"),
}
"""Modules with their arguments; each prints JSON as its last line. `memory` asks compilers only, and `embedding`
trained embedders."""
PAGE, PICTURES = "report.html", "pictures"


def bench_all(out: Path, parts: Mapping[str, tuple[str, ...]] = PARTS) -> Path:
    """Measures what is not measured yet and writes the page; returns its path. A part that fails is named there, with
    the last line that it said, and is tried again by the next call; so is one whose kept numbers cannot be read.

    Raises ValueError for a folder that holds other files, or what is ours as another kind.
    """
    ours = {PAGE, "report.json", PICTURES, *(f"{part}.json" for part in parts)}
    there = {path.name: path for path in out.iterdir() if path.name[0] != "."} if out.exists() else {}
    if others := sorted(
        name for name, path in there.items() if name not in ours or path.is_dir() != (name == PICTURES)
    ):
        raise ValueError(f"--out={out}: found {others[0]} there; wanted a new folder, or one of this bench")
    out.mkdir(parents=True, exist_ok=True)
    began, found, failed = time.monotonic(), dict[str, Any](), dict[str, str]()
    for part, command in parts.items():
        kept = out / f"{part}.json"
        with contextlib.suppress(ValueError):
            found[part] = _finite(read_json_object(kept))
            continue
        print(f"bench: {part}", file=sys.stderr, flush=True)
        try:
            found[part] = _measured(command)
            write_atomically(kept, json.dumps(found[part]).encode())
        except RuntimeError as error:
            failed[part] = str(error)
    facts = surroundings("bench", [], time.monotonic() - began)
    return write_report(out, _report(found, failed, parts, facts), {"parts": found, "failed": failed})


def _measured(command: tuple[str, ...]) -> dict[str, Any]:
    """Raises RuntimeError for a command that fails, or prints no numbers."""
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode < 0:
        raise RuntimeError(f"was ended by signal {-done.returncode}")
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1])
    last = (done.stdout.splitlines() or [""])[-1]
    try:
        return _finite(json.loads(last))
    except ValueError:
        raise RuntimeError(f"its last line is {last[:100]!r}; wanted an object of finite numbers, as JSON") from None


def _finite(numbers: Any) -> dict[str, Any]:
    """The object itself. Raises ValueError for another value, and for NaN or infinity in it."""
    if not isinstance(numbers, dict):
        raise ValueError(f"found {type(numbers).__name__}")
    json.dumps(numbers, allow_nan=False)
    return numbers


def _report(
    found: Mapping[str, Mapping[str, Any]],
    failed: Mapping[str, str],
    parts: Mapping[str, tuple[str, ...]],
    facts: Mapping[str, Any],
) -> Report:
    lines = {part: dict(_lines(numbers)) for part, numbers in found.items()}
    ratios = [
        [part, name, value]
        for part, some in lines.items()
        for name, value in some.items()
        if (" / " in name or " over " in name) and isinstance(value, int | float)
    ]
    tables = [Table("Ratios", ["of", "which", "ratio"], ratios, "Of what was measured in one run, in turns.")]
    for part, some in lines.items():
        command = " ".join(["python -m", *parts[part]])
        tables.append(Table(part, ["what", "found"], [[name, value] for name, value in some.items()], command))
    if failed:
        rows = [[part, text] for part, text in failed.items()]
        tables.append(Table("Not measured", ["part", "it said"], rows, "The same command tries these again."))
    return Report("What this machine does", ["All of `smoothswap bench`, ratios first."], dict(facts), tables)


def _lines(numbers: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Cell]]:
    """Nested numbers as lines of one name each; lists as text."""
    for name, value in numbers.items():
        place = f"{above}, {name}" if above else name
        if isinstance(value, dict):
            yield from _lines(value, place)
        else:
            yield place, value if isinstance(value, int | float | str) else json.dumps(value)

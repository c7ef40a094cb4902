"""One page of all benches of this machine: `smoothswap bench --what=all --out=DIR`.

Each part is a process of its own, so that none finds what another compiled, and its numbers are kept in DIR/PART.json:
the same command goes on after the last one that was finished.
"""

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
PAGE = "report.html"


def bench_all(out: Path, parts: Mapping[str, tuple[str, ...]] = PARTS) -> Path:
    """Measures what is not measured yet and writes the page; returns its path. A part that fails is named there, with
    the last line that it said, and is tried again by the next call.

    Raises ValueError for a folder that holds other files.
    """
    ours = {PAGE, "report.json", "pictures", *(f"{part}.json" for part in parts)}
    if out.exists() and (others := sorted(path.name for path in out.iterdir() if path.name not in ours)):
        raise ValueError(f"--out={out}: found {others[0]} there; wanted a new folder, or one of this bench")
    out.mkdir(parents=True, exist_ok=True)
    began, failed = time.monotonic(), dict[str, str]()
    for part, command in parts.items():
        if (out / f"{part}.json").is_file():
            continue
        print(f"bench: {part}", file=sys.stderr, flush=True)
        try:
            write_atomically(out / f"{part}.json", json.dumps(_measured(command)).encode())
        except RuntimeError as error:
            failed[part] = str(error)
    found = {part: read_json_object(out / f"{part}.json") for part in parts if part not in failed}
    facts = surroundings("bench", [], time.monotonic() - began)
    return write_report(out, _report(found, failed, parts, facts), {"parts": found, "failed": failed})


def _measured(command: tuple[str, ...]) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1])
    return json.loads(done.stdout.splitlines()[-1])


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

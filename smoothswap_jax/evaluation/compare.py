"""`smoothswap compare`: methods of one or several evaluations, pair by pair."""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from smoothswap_jax.config.errors import shown, shown_line
from smoothswap_jax.evaluation.measures.base import mean
from smoothswap_jax.evaluation.report.document import Block, Cell, Report, Table, Text, write_report
from smoothswap_jax.metrics.bootstrap import Interval, paired_difference_interval, verdict
from smoothswap_jax.runtime.files import check_new_folder
from smoothswap_jax.runtime.folders import EVALUATION, kind_of
from smoothswap_jax.runtime.json_files import JsonError, read_json_object

PARTS: dict[str, Any] = {
    "protocol": {"name": str, "version": int, "about": str},
    "pairs": {"count": int, "sha256": str, "size": int, "data": dict},
    "judges": [{"name": str, "facts": dict}],
    "methods": [{"name": str, "kind": str}],
    "measures": [{"name": str, "better": (str, type(None))}],
    "scores": {"file": str, "sha256": str},
}
"""What is read of a report.json, which may be somebody else's, with its types; a list has any number of them."""


class CompareError(ValueError):
    """Evaluations that cannot be compared; the text says what differs."""


class Judged(NamedTuple):
    """One method's scores as an evaluation wrote them."""

    name: str
    kind: str
    pairs: list[str]
    people: np.ndarray
    scores: dict[str, np.ndarray]


class Difference(NamedTuple):
    """`first` minus `second` in a measure, and what it means for `first`: "cannot tell" where there is no interval."""

    first: str
    second: str
    measure: str
    difference: Interval | float
    verdict: str


def compare(folders: Sequence[str | Path], baselines: bool = False) -> tuple[list[Difference], dict[str, Any]]:
    """Every two methods of the evaluations in `folders`, in every measure that has a better end.

    Pairs are resampled by source person, both methods at once, so what is hard for both cancels. Returns the
    differences, and the facts that all evaluations share.

    Raises CompareError for fewer than two methods, for evaluations of other protocols, pairs, judges or measures, and
    for a folder whose files are not of one evaluation.
    """
    reports = [_report(Path(folder)) for folder in folders]
    for folder, report in zip(folders[1:], reports[1:], strict=True):
        _same(folders[0], reports[0], folder, report)
    found: dict[str, Judged] = {}
    for folder, report in zip(folders, reports, strict=True):
        for judged in _judged(Path(folder), report):
            if judged.kind == "method" and judged.name in found:
                raise CompareError(
                    f"{folder}: a second method is called {judged.name!r}; wanted NAME=DIR to tell them apart"
                )
            _agree(found.setdefault(judged.name, judged), judged, folder)
    chosen = [judged for judged in found.values() if baselines or judged.kind == "method"]
    if len(chosen) < 2:
        raise CompareError(f"{', '.join(map(str, folders))}: found {len(chosen)} methods; wanted two to compare")
    for judged in chosen:
        if judged.pairs != chosen[0].pairs:
            raise CompareError(f"{judged.name} and {chosen[0].name}: found other pairs, or in another order")
    better = {m["name"]: m["better"] for m in reports[0]["measures"] if m["better"]}
    differences = []
    for a, b in combinations(chosen, 2):
        for measure, direction in better.items():
            seen = np.isfinite(a.scores[measure]) & np.isfinite(b.scores[measure])  # NaN: the target cannot be measured
            if not seen.any():
                continue
            mine, theirs, people = a.scores[measure][seen], b.scores[measure][seen], a.people[seen]
            if len(set(people)) == 1:
                difference = Difference(a.name, b.name, measure, float((mine - theirs).mean()), "cannot tell")
            else:
                interval = paired_difference_interval(mine, theirs, people)
                difference = Difference(a.name, b.name, measure, interval, verdict(interval, direction))
            differences.append(difference)
    return differences, {key: reports[0][key] for key in ("protocol", "pairs")}


def _report(folder: Path) -> dict[str, Any]:
    file = folder / "report.json"
    try:
        report = read_json_object(file)
    except JsonError as error:
        raise CompareError(
            f"{folder}: found no finished evaluation ({error}); wanted one of `smoothswap evaluate`"
        ) from error
    if missing := [key for key in PARTS if key not in report]:
        raise CompareError(f"{file}: found no {missing[0]!r}; wanted a report of `smoothswap evaluate`")
    for part, wanted in PARTS.items():
        found = report[part] if isinstance(wanted, list) else [report[part]]
        fields = wanted[0] if isinstance(wanted, list) else wanted
        if not isinstance(found, list):
            raise CompareError(f"{file}: {part} is {shown(found)}, wanted a list")
        for one in found:
            _check_part(file, part, one, fields)
    return report


def _check_part(file: Path, part: str, found: Any, fields: Mapping[str, type | tuple[type, ...]]) -> None:
    """Raises CompareError unless `found` has the `fields`, by name and type."""
    if not isinstance(found, dict):
        raise CompareError(f"{file}: {part} has {shown(found)}, wanted an object with {', '.join(fields)}")
    for name, kind in fields.items():
        if name not in found or not isinstance(found[name], kind):
            raise CompareError(
                f"{file}: {part}.{name} is {shown(found.get(name))}, wanted what `smoothswap evaluate` writes there"
            )


def _same(first: Any, a: Mapping[str, Any], second: Any, b: Mapping[str, Any]) -> None:
    """Raises CompareError, naming the field, unless scores of the two mean the same."""
    facts = lambda report: {
        "protocol": f"{report['protocol']['name']}@{report['protocol']['version']}",
        "pairs": report["pairs"]["sha256"],
        "size": report["pairs"]["size"],
        "data": {key: value for key, value in report["pairs"]["data"].items() if key != "data"},
        "judges": {judge["name"]: judge["facts"] for judge in report["judges"]},
        "measures": report["measures"],
    }
    for key, value in facts(a).items():
        if facts(b)[key] != value:
            raise CompareError(
                f"{first} and {second} cannot be compared: {_difference(key, value, facts(b)[key])}; wanted "
                "the same protocol, pairs and judges"
            )


SHOWN = 60
"""Characters of a value in an error."""


def _difference(name: str, a: Any, b: Any) -> str:
    """What of two unequal values differs, in a line that a person reads: of groups and lists only the parts that do."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for missing, there, where in ((a, b, "second"), (b, a, "first")):
            if only := [key for key in there if key not in missing]:
                return f"{name}: only the {where} has {', '.join(map(str, only))}"
        return "; ".join(_difference(f"{name}: {key}", a[key], b[key]) for key in a if a[key] != b[key])
    if isinstance(a, list) and isinstance(b, list):
        named = [{item["name"]: item for item in items} for items in (a, b)]
        return _difference(name, *named) if named[0] != named[1] else f"{name} are in another order"
    return f"{name} is {_shown(a)} and {_shown(b)}"


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


BASELINE = 1e-3
"""Baselines are the same images in every evaluation of the same pairs: means that differ by more than this, relative to
1 or to themselves if larger, show that something was measured differently."""


def _agree(first: Judged, second: Judged, folder: Any) -> None:
    for measure, values in first.scores.items():
        a, b = mean(values), mean(second.scores[measure])
        if np.isfinite(a) != np.isfinite(b) or abs(a - b) > BASELINE * max(1.0, abs(a)):
            raise CompareError(
                f"{folder}: {first.name!r} has {b:.4g} in {measure!r}, and {a:.4g} in the evaluation before; the same "
                "pictures were measured in different ways"
            )


def _judged(folder: Path, report: Mapping[str, Any]) -> list[Judged]:
    kinds = {method["name"]: method["kind"] for method in report["methods"]}
    measures = [measure["name"] for measure in report["measures"]]
    path = folder / report["scores"]["file"]
    if path.parent != folder or not path.is_file():
        raise CompareError(f"{path}: found no such file; wanted the scores that `smoothswap evaluate` wrote")
    if hashlib.sha256(path.read_bytes()).hexdigest() != report["scores"]["sha256"]:
        raise CompareError(f"{path}: is not the file that report.json was made with; run `smoothswap evaluate` again")
    try:
        return _rows(path, kinds, measures)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise CompareError(
            f"{path}: found {shown_line(error)}; wanted a row for each method and pair, with all measures"
        ) from error


def _rows(path: Path, kinds: Mapping[str, str], measures: Sequence[str]) -> list[Judged]:
    rows: dict[str, list[dict[str, str]]] = {name: [] for name in kinds}
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        for row in csv.DictReader(file):
            rows[row["method"]].append(row)
    return [
        Judged(
            name,
            kinds[name],
            [row["pair"] for row in found],
            np.array([row["source_person"] for row in found]),
            {measure: np.array([float(row[measure]) for row in found]) for measure in measures},
        )
        for name, found in rows.items()
    ]


def check_out(out: str | Path, overwrite: bool = False) -> None:
    """Raises OSError unless a comparison can be written to `out`: a new folder or, with `overwrite`, that of another
    comparison."""
    if kind_of(out) == EVALUATION:
        raise FileExistsError(f"{out}: holds {EVALUATION}, which a comparison must not replace; choose a new folder")
    check_new_folder(out, overwrite, ("report.html", "report.json"))


def write_comparison(out: str | Path, differences: Sequence[Difference], facts: Mapping[str, Any]) -> Path:
    """The comparison as report.html and report.json in `out`; returns the page's path."""
    blocks: list[Block] = []
    couples = list(dict.fromkeys((d.first, d.second) for d in differences))
    words = []
    for first, second in couples:
        own = [d for d in differences if (d.first, d.second) == (first, second)]
        rows: list[list[Cell]] = [[d.measure, d.difference, d.verdict] for d in own]
        blocks.append(Table(f"{first} against {second}", ["measure", f"{first} - {second}", f"{first} is"], rows))
        count = {word: sum(d.verdict == word for d in own) for word in ("better", "worse", "cannot tell")}
        words.append(
            f"{first} is better than {second} in {count['better']} of {len(own)} measures, worse in {count['worse']}, "
            f"and in {count['cannot tell']} one cannot tell."
        )
    protocol, pairs = facts["protocol"], facts["pairs"]
    blocks.append(
        Text(
            "How to read this",
            [
                "Differences are means over pairs, in the unit of the measure, with 95% intervals of the paired "
                "bootstrap over source people. 'Cannot tell' means that the interval holds 0, or that there is none "
                "because all sources are one person.",
                "Many comparisons at once: of twenty without any true difference, about one is called better or worse.",
            ],
        )
    )
    report = Report(
        "Methods compared",
        [f"Protocol {protocol['name']}@{protocol['version']}, {pairs['count']} pairs. {protocol['about']}"],
        {"pairs sha256": pairs["sha256"]},
        blocks=blocks,
        verdicts=words,
    )
    found = [
        {**d._asdict(), "difference": dict(zip(("value", "low", "high"), _bounds(d), strict=True))} for d in differences
    ]
    return write_report(out, report, {"differences": found, **facts})


def as_text(differences: Sequence[Difference]) -> str:
    """The comparison for a terminal, a line for each measure."""
    line = "{0.first} - {0.second}  {0.measure}: {1:.4g} [{2:.4g}, {3:.4g}]  {0.verdict}"
    alone = "{0.first} - {0.second}  {0.measure}: {1:.4g}  {0.verdict}"
    return "\n".join((line if _bounds(d)[1] is not None else alone).format(d, *_bounds(d)) for d in differences)


def _bounds(difference: Difference) -> tuple[float, float | None, float | None]:
    """The difference and the ends of its interval, None without one."""
    found = difference.difference
    return (found.value, found.low, found.high) if isinstance(found, Interval) else (found, None, None)

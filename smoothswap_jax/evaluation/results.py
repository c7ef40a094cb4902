"""The result of an evaluation, and what is written of it: the page, scores.csv, and the facts for programs."""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smoothswap_jax.evaluation.checks import Check
from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.measures.base import KINDS, Measure, Scores, mean, mean_interval
from smoothswap_jax.evaluation.measures.distributions import too_few
from smoothswap_jax.evaluation.measures.identity import COSINE_TO_SOURCE
from smoothswap_jax.evaluation.measures.pixels import CHANGE, ERROR
from smoothswap_jax.evaluation.measures.scoring import STRANGERS
from smoothswap_jax.evaluation.methods import Method
from smoothswap_jax.evaluation.pairs import PAIRS, SCORES, Pairs, manifest_digest
from smoothswap_jax.evaluation.protocols.base import Protocol
from smoothswap_jax.evaluation.report import figures
from smoothswap_jax.evaluation.report.document import Block, Cell, Picture, Report, Table, Text
from smoothswap_jax.evaluation.report.summary import verdicts
from smoothswap_jax.evaluation.report.surroundings import surroundings
from smoothswap_jax.faces.detection.registry import detector_facts
from smoothswap_jax.metrics.bootstrap import ratio_of_means_interval
from smoothswap_jax.runtime.files import write_atomically


@dataclass(frozen=True)
class Result:
    """Everything that an evaluation found."""

    protocol: Protocol
    pairs: Pairs
    methods: Mapping[str, Method]
    scores: Mapping[str, Scores]
    measures: Sequence[Measure]
    judges: Sequence[Judge]
    checks: Mapping[str, Sequence[Check]]
    distributions: Mapping[str, Mapping[str, float]]
    verification: Mapping[str, Mapping[str, float]]
    agreement: Mapping[tuple[str, str], Mapping[str, float]]
    grids: Sequence[Picture] = ()

    @property
    def kinds(self) -> dict[str, figures.Kind]:
        """'method' or 'baseline' by name."""
        return {name: "baseline" if method.baseline else "method" for name, method in self.methods.items()}


# --- the report -------------------------------------------------------------------------------------------------


def make_report(result: Result, facts: Mapping[str, Any], title: str = "", more: Sequence[Block] = ()) -> Report:
    """The page: in words, tables, trade-off, pictures, checks, definitions. `more` stands before the checks."""
    pairs = result.pairs
    people = len(set(pairs.people[0]) | set(pairs.people[1]))
    intro = [
        f"Protocol {result.protocol.title}. {result.protocol.about}",
        f"{len(pairs)} pairs of {people} people, faces of {pairs.gallery.size} pixels. Brackets are 95% bootstrap "
        "intervals over source people.",
        *pairs.notes,
    ]
    intro += [
        f"{judge.name}: it is {judge.self_judged}. Such scores say nothing about identity."
        for judge in result.judges
        if judge.self_judged
    ]
    blocks: list[Block] = score_tables(result)
    if any(result.distributions.values()):
        blocks.append(_distribution_table(result))
    groups = pairs.people[0]
    measures = figures.trade_off_measures(result.measures)
    if measures and (scatter := figures.trade_off(result.scores, result.kinds, *measures, groups)):
        blocks.append(scatter)
    blocks += result.grids
    by = _order_of_pictures(result.measures)
    for method in result.methods.values():
        if not method.baseline:
            blocks.append(figures.best_and_worst(method, pairs, result.scores[method.name], by))
    blocks += [*more, _checks_table(result), *_judge_tables(result), _definitions(result)]
    return Report(
        title or f"Face swaps judged: {', '.join(n for n, kind in result.kinds.items() if kind == 'method')}",
        intro,
        facts,
        blocks=blocks,
        verdicts=verdicts(result.scores, result.measures, result.kinds, result.checks),
    )


def _order_of_pictures(measures: Sequence[Measure]) -> Measure:
    wanted = (ERROR.name, COSINE_TO_SOURCE, CHANGE.name)
    return next(m for word in wanted for m in measures if word in m.name)


def score_tables(result: Result) -> list[Block]:
    """A table for each kind of measure, and for identity one for each judge: together they would not fit the page."""
    tables: dict[str, list[Measure]] = {}
    for kind, title in KINDS.items():
        for measure in result.measures:
            if measure.kind == kind:
                named = f"{title} by {measure.judge}" if kind == "identity" else title
                tables.setdefault(named, []).append(measure)
    return [_table(result, title, chosen) for title, chosen in tables.items()]


def _table(result: Result, title: str, chosen: Sequence[Measure]) -> Table:
    """Means with intervals, a row for each method."""
    groups = result.pairs.people[0]
    interval = lambda values: mean_interval(values, groups)
    columns = ["method", *(m.name for m in chosen)]
    better = {m.name: m.better for m in chosen if m.better}
    rows: list[list[Cell]] = [[name, *(interval(s[m.name]) for m in chosen)] for name, s in result.scores.items()]
    caption = ""
    copied = result.scores["copy target"].get(ERROR.name)
    if chosen[0].kind == "truth" and copied is not None and (wrong := copied > 0).any():
        # Pairs that are hard for both cancel in this ratio.
        columns.insert(2, "error / copy target")
        better["error / copy target"] = "lower"
        if not wrong.all():
            caption = f"The ratio leaves out {np.sum(~wrong)} pairs whose target is the true swap itself."
        for row, values in zip(rows, result.scores.values(), strict=True):
            row.insert(2, _ratio(values[ERROR.name][wrong], copied[wrong], groups[wrong]))
    baselines = [name for name, found in result.kinds.items() if found == "baseline"]
    return Table(title, columns, rows, caption, better=better, baselines=baselines)


def _ratio(error: np.ndarray, copied: np.ndarray, groups: np.ndarray) -> Cell:
    if len(set(groups)) == 1:  # one person has no interval
        return float(error.mean() / copied.mean())
    return ratio_of_means_interval(error, copied, groups=groups)


def _distribution_table(result: Result) -> Table:
    columns = list(next(iter(result.distributions.values())))
    rows: list[list[Cell]] = [[name, *(values[c] for c in columns)] for name, values in result.distributions.items()]
    baselines = [name for name, found in result.kinds.items() if found == "baseline"]
    caption = (
        f"Against the {len(set(result.pairs.target))} targets. The Frechet distance of few images is biased upward: "
        "compare it only between methods of this table. Both compare swaps with the pictures they are made from, "
        "which favours changing little: the unchanged target has the best value, below 0 in KID."
    )
    frechet = any(column.endswith(": FID") for column in columns)
    notes = too_few(len(result.pairs), len(set(result.pairs.target))) if frechet else []
    return Table("Distribution", ["method", *columns], rows, caption, dict.fromkeys(columns, "lower"),
                 notes=notes, baselines=baselines)  # fmt: skip


def _checks_table(result: Result) -> Table:
    rows: list[list[Cell]] = [
        [name, check.name, check.found, "ok" if check.good else "LOOK AT THIS"]
        for name, checks in result.checks.items()
        for check in checks
    ]
    for name, values in result.scores["copy target"].items():
        if count := int(np.isnan(values).sum()):
            rows.append(
                ["data", name, f"{count} originals show the judge nothing; left out for every method", "counted"]
            )
    if result.pairs.known_points:
        rows.append(["data", "faces found", "not searched for: where the faces are is known", "counted"])
    left_out = result.pairs.gallery.left_out
    rows += [["data", "left out", f"{name}: {reason}", "counted"] for name, reason in list(left_out.items())[:10]]
    if len(left_out) > 10:
        rows.append(["data", "left out", f"{len(left_out) - 10} more", "counted"])
    return Table("Sanity checks", ["of", "check", "found", ""], rows)


def _judge_tables(result: Result) -> list[Block]:
    blocks: list[Block] = []
    columns = list(dict.fromkeys(key for values in result.verification.values() for key in values))
    if columns:
        rows: list[list[Cell]] = [
            [name, *(values.get(column) for column in columns)] for name, values in result.verification.items()
        ]
        caption = (
            "How well each identity judge tells the people of this very data apart, on their original pictures. One "
            "that cannot do that says little about swaps of them."
        )
        if "ROC AUC" not in columns:
            caption += " Here that cannot be measured: nobody is shown in two independent pictures."
        blocks.append(Table("What the judges are worth here", ["judge", *columns], rows, caption))
    if result.agreement:
        blocks.append(_agreement_table(result))
    if result.judges:
        keys = (
            "kind",
            "runtime",
            "source",
            "file sha256",
            "sha256",
            "params sha256",
            "licence",
            "preprocessing",
            "convention",
        )
        described = lambda judge: "; ".join(f"{key}: {judge.facts[key]}" for key in keys if judge.facts.get(key))
        blocks.append(Text("Judges", [f"{judge.name} ({judge.role}): {described(judge)}" for judge in result.judges]))
    return blocks


def _agreement_table(result: Result) -> Table:
    columns = list(dict.fromkeys(key for values in result.agreement.values() for key in values))
    rows: list[list[Cell]] = [
        [" and ".join(pair), *(values.get(column) for column in columns)] for pair, values in result.agreement.items()
    ]
    caption = (
        "Spearman's rank correlation of two judges' cosines: over pairs of strangers among the originals, and over "
        "each method's swaps and their sources. Judges that learnt from the same pictures err alike: where they agree, "
        "several of them are little more than one witness."
    )
    return Table("How much the judges agree", ["judges", *columns], rows, caption)


def _definitions(result: Result) -> Text:
    arrow = {"higher": " (higher is better)", "lower": " (lower is better)", "": ""}
    return Text("What is measured", [f"{m.name}{arrow[m.better]}: {m.about}" for m in result.measures])


def how_it_was_made(result: Result, judges: Sequence[str], seconds: float) -> dict[str, Any]:
    """Command, date, hardware, versions and hashes, for the report's last section."""
    return {
        **surroundings(result.protocol.title, judges, seconds),
        "pairs sha256": manifest_digest(result.pairs),
        **{f"data: {key}": value for key, value in result.pairs.gallery.facts.items() if key != "data"},
    }


def machine_facts(result: Result, out: Path) -> dict[str, Any]:
    """What programs need of an evaluation (docs/report_schema.md)."""
    return {
        "protocol": {"name": result.protocol.name, "version": result.protocol.version, "about": result.protocol.about},
        "pairs": {
            "count": len(result.pairs),
            "sha256": manifest_digest(result.pairs),
            "file": PAIRS,
            "size": result.pairs.gallery.size,
            "data": dict(result.pairs.gallery.facts) | _search(result.pairs),
            "left_out": dict(result.pairs.gallery.left_out),
        },
        "judges": [
            {
                "name": judge.name,
                "role": judge.role,
                "self_judged": bool(judge.self_judged),
                "facts": dict(judge.facts),
                "verification": dict(result.verification.get(judge.name, {})),
                "agreement": {
                    other: values[STRANGERS]
                    for pair, values in result.agreement.items()
                    for own, other in (pair, pair[::-1])
                    if own == judge.name and STRANGERS in values
                },
            }
            for judge in result.judges
        ],
        "methods": [
            {
                "name": name,
                "kind": result.kinds[name],
                "facts": method.facts,
                "means": {
                    measure: mean(values) for measure, values in result.scores[name].items() if any(values == values)
                },
                "distribution": dict(result.distributions[name]),
                "checks": [{"name": c.name, "found": c.found, "good": c.good} for c in result.checks.get(name, ())],
            }
            for name, method in result.methods.items()
        ],
        "measures": [{"name": m.name, "kind": m.kind, "better": m.better, "about": m.about} for m in result.measures],
        "scores": {"file": SCORES, "sha256": hashlib.sha256((out / SCORES).read_bytes()).hexdigest()},
    }


def _search(pairs: Pairs) -> dict[str, str]:
    """Which detector looked for faces in the swaps."""
    return {} if pairs.known_points else {"swaps searched by YuNet": detector_facts("yunet")["sha256"]}


def write_scores(out: Path, result: Result) -> None:
    """scores.csv: a row for each method and pair, a column for each measure."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = [measure.name for measure in result.measures]
    writer.writerow(["method", "pair", "source_person", "target_person", *names])
    sources, targets = result.pairs.people
    for method, values in result.scores.items():
        columns = [values[name] for name in names]
        for i, pair in enumerate(result.pairs.names):
            writer.writerow([method, pair, sources[i], targets[i], *(repr(float(column[i])) for column in columns)])
    write_atomically(out / SCORES, file.getvalue().encode("utf-8", "surrogateescape"))

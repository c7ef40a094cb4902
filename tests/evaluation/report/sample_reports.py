"""Reports with a little of everything."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smoothswap_jax.evaluation.report.document import (
    Curve,
    Interval,
    Picture,
    Report,
    Scatter,
    Table,
    Text,
)


def sample_picture(seed: int = 0) -> np.ndarray:
    """Noise, `uint8 [12, 20, 3]`."""
    return np.random.default_rng(seed).integers(0, 256, size=(12, 20, 3), dtype=np.uint8)


def sample_report(tmp_path: Path) -> Report:
    """Names that would be markup, a table, two pictures of which one is a file in `tmp_path`, and a curve."""
    Image.fromarray(sample_picture(1)).save(tmp_path / "given.png")
    table = Table(
        "Scores & more",
        ("method", "MSE", "n", "cosine"),
        [
            ("swap", Interval(0.0183, 0.0161, 0.0209), 64, np.float32(0.5)),
            ("copy <b>", 0.1998, np.int64(64), None),
        ],
        caption="lower MSE",
        better={"MSE": "lower", "cosine": "higher"},
    )
    curve = Curve("Loss", {"G": ([0, 10, 20], [3.0, 2.0, 1.5]), "D": (np.arange(3), np.ones(3))}, "step", "loss")
    return Report(
        "A <script>alert(1)</script> report",
        intro=("First & only paragraph, see https://example.org.",),
        facts={"seed": 7, "lr": 1e-3, "hardware": "2 x \"CPU\"", "bf16": False},
        tables=(table,),
        pictures=(Picture("Swaps", sample_picture(), "made", True, zoom=3), Picture("Given", tmp_path / "given.png")),
        curves=(curve,),
        notes=("Mind the gap.",),
    )  # fmt: skip


def plane(**changes: Any) -> Scatter:
    """A scatter of two methods and a baseline, with some fields changed."""
    points = (
        ("ours", Interval(0.6, 0.5, 0.7), Interval(4.0, 3.0, 5.0), "method"),
        ("theirs <i>", 0.2, 2.0, "method"),
        ("copy", 0.0, Interval(1.0, 0.5, 1.5), "baseline"),
    )
    given = dict(points=points, x_label="identity", y_label="expression", caption="Trade-off.")
    return Scatter("Plane", **given | dict(x_better="higher", y_better="lower") | changes)  # type: ignore[arg-type]


def full_report(tmp_path: Path) -> Report:
    """A report in which every key of the schema has a value."""
    sample = sample_report(tmp_path)
    table = Table("Marked", ("who", "n"), [("a †", 1), ("b", None)], "c", {"n": "higher"}, 3, ("b",), ("† Marked.",))
    scatter = plane(clouds={"ours": ([0.5, 0.7], [3.0, 5.0])})
    bare = Scatter("Bare", (("a", 1.0, 2.0, "method"),))
    text = Text("Words", ("One & only.", "Two."))
    blocks = (scatter, *sample.curves, text, *sample.pictures, bare, *sample.tables, table)
    return Report("Full", ("i",), sample.facts, notes=("n",), blocks=blocks, verdicts=("First.", "Second <b>."))

"""The report page and its JSON: complete, self-contained, escaped, finite, and never half-written."""

import base64
import hashlib
import io
import json
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.evaluation.report import document as report_module
from smoothswap_jax.evaluation.report import plots
from smoothswap_jax.evaluation.report.document import (
    Curve,
    Interval,
    Picture,
    Report,
    Scatter,
    Table,
    Text,
    write_report,
)
from tests.evaluation.report.schema import SCHEMA_DOC, documented_keys, keys_of

NAN, INF = float("nan"), float("inf")
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Checks that tags nest, and keeps tags with their attributes and the text of each tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.text: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == [], f"unclosed {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open:
            self.text.append((self.open[-1], data.strip()))

    def all(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def texts(self, tag: str) -> list[str]:
        return [text for name, text in self.text if name == tag]

    def kinds(self, tag: str, kind: str) -> list[dict[str, Any]]:
        """The elements of a class."""
        return [attributes for attributes in self.all(tag) if kind in (attributes.get("class") or "").split()]


def _image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=(12, 20, 3), dtype=np.uint8)


def _sample(tmp_path: Path) -> Report:
    Image.fromarray(_image(1)).save(tmp_path / "given.png")
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
        pictures=(Picture("Swaps", _image(), "made", True, zoom=3), Picture("Given", tmp_path / "given.png")),
        curves=(curve,),
        notes=("Mind the gap.",),
    )  # fmt: skip


def _scatter(**changes: Any) -> Scatter:
    points = (
        ("ours", Interval(0.6, 0.5, 0.7), Interval(4.0, 3.0, 5.0), "method"),
        ("theirs <i>", 0.2, 2.0, "method"),
        ("copy", 0.0, Interval(1.0, 0.5, 1.5), "baseline"),
    )
    given = dict(points=points, x_label="identity", y_label="expression", caption="Trade-off.")
    return Scatter("Plane", **given | dict(x_better="higher", y_better="lower") | changes)  # type: ignore[arg-type]


def _full(tmp_path: Path) -> Report:
    """A report in which every key of the schema has a value."""
    sample = _sample(tmp_path)
    table = Table("Marked", ("who", "n"), [("a †", 1), ("b", None)], "c", {"n": "higher"}, 3, ("b",), ("† Marked.",))
    scatter = _scatter(clouds={"ours": ([0.5, 0.7], [3.0, 5.0])})
    bare = Scatter("Bare", (("a", 1.0, 2.0, "method"),))
    text = Text("Words", ("One & only.", "Two."))
    blocks = (scatter, *sample.curves, text, *sample.pictures, bare, *sample.tables, table)
    return Report("Full", ("i",), sample.facts, notes=("n",), blocks=blocks, verdicts=("First.", "Second <b>."))


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Page, dict[str, Any]]:
    page = write_report(tmp_path / "out", _sample(tmp_path))
    assert page == tmp_path / "out" / "report.html"
    content = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    return tmp_path / "out", Page(page.read_text("utf-8")), content


# --- the page ---------------------------------------------------------------------------------------------


def test_page_parses_and_shows_every_part(written) -> None:
    _, page, _ = written
    assert not page.kinds("section", "verdicts")
    assert page.texts("h1") == ["A <script>alert(1)</script> report"]
    assert page.texts("h2") == ["Scores & more", "Swaps", "Given", "Loss", "Notes", "How this was made"]
    assert "First & only paragraph, see https://example.org." in page.texts("p")
    assert "Mind the gap." in page.texts("p")
    assert dict(zip(page.texts("dt"), page.texts("dd"), strict=True)) == {
        "seed": "7", "lr": "0.001", "hardware": '2 x "CPU"', "bf16": "no"
    }  # fmt: skip


def test_table_cells_arrows_and_headings(written) -> None:
    _, page, _ = written
    assert page.texts("th") == ["method", "MSE", "n", "cosine"]
    assert [page.texts("span")[i] for i in (2, 4)] == ["swap", "copy <b>"]
    assert page.texts("strong") == ["0.0183"]
    assert page.texts("td") == ["64", "0.500", "0.1998", "64", "–"]
    assert page.texts("span")[3] == "[0.0161, 0.0209]"
    arrows = [a["aria-label"] for a in page.all("span") if a.get("class") == "arrow"]
    assert arrows == ["(lower is better)", "(higher is better)"]
    assert page.texts("span")[:2] == ["↓", "↑"]
    assert [a.get("class") for a in page.all("td")] == ["number"] * 6
    assert [a.get("class") for a in page.all("th")] == [None, "number", "number", "number", None, None]


def test_page_embeds_every_picture_and_keeps_the_files(written) -> None:
    out, page, content = written
    embedded = page.all("img")
    assert len(embedded) == 2
    for number, (attributes, entry) in enumerate(zip(embedded, content["pictures"], strict=True)):
        data = base64.b64decode(attributes["src"].removeprefix("data:image/png;base64,"), validate=True)
        assert data == (out / entry["file"]).read_bytes()
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), _image(number))
    assert (embedded[0]["width"], embedded[0]["height"], embedded[0]["class"]) == ("60", "36", "pixelated")
    assert (embedded[1]["width"], embedded[1].get("class")) == ("20", None)
    assert all(attributes["alt"] for attributes in embedded)


def test_page_loads_nothing(written) -> None:
    _, page, _ = written
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        for name, value in attributes.items():
            assert "http://" not in (value or "") and "https://" not in (value or ""), (tag, name)
            assert not name.startswith("on")
            if name in {"src", "href", "srcset", "xlink:href"}:
                assert value.startswith("data:")
    style = "".join(text for tag, text in page.text if tag == "style")
    assert "url(" not in style and "@import" not in style and "@font-face" not in style
    assert any(a.get("name") == "viewport" for a in page.all("meta"))


def test_the_policy_allows_the_one_script_and_no_other(written) -> None:
    out, page, _ = written
    html = (out / "report.html").read_text("utf-8")
    assert page.all("script") == [{}] and html.count("<script") == 1
    script = html.split("<script>")[1].split("</script>")[0]
    assert "&" not in script.replace("&&", ""), "escaped: no browser would run it"
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    assert parts == {
        "default-src": "'none'", "base-uri": "'none'", "form-action": "'none'", "img-src": "data:",
        "style-src": "'unsafe-inline'", "script-src": f"'sha256-{digest}'",
    }  # fmt: skip


def test_blocks_stand_in_the_order_given(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, _full(tmp_path)).read_text("utf-8"))
    titles = ["Plane", "Loss", "Words", "Swaps", "Given", "Bare", "Scores & more", "Marked"]
    assert page.texts("h2") == ["In words", *titles, "Notes", "How this was made"]
    ids = [a["id"] for a in page.all("section") if "id" in a]
    assert ids == ["scatter-1", "curve-1", "text-1", "picture-1", "picture-2", "scatter-2", "table-1", "table-2"]
    assert {"One & only.", "Two.", "† Marked.", "Trade-off."} <= set(page.texts("p"))
    assert page.texts("p").index("Second <b>.") < page.texts("p").index("One & only.")


def test_the_best_is_bold_among_the_methods(tmp_path: Path) -> None:
    columns = ("who", "up", "down", "plain", "alone")
    rows = [
        ("a", Interval(0.5, 0.4, 0.6), 3.0, 9.0, 1.0),
        ("b", 0.50004, 2.0, 1.0, None),
        ("c", 0.4, "n/a", 2.0, None),
        ("copy", 1.0, 0.0, 0.0, 2.0),
    ]
    better = {"up": "higher", "down": "lower", "alone": "higher"}
    table = Table("t", columns, rows, better=better, baselines=("copy",))
    page = Page(write_report(tmp_path, Report("r", tables=(table,))).read_text("utf-8"))
    assert page.texts("strong") == ["0.500", "0.500", "2.00"]  # what looks the same is equally good
    assert [a.get("class") for a in page.all("tr")] == [None, None, None, None, "baseline"]
    view = report_module._table_view(Table("t", columns, rows, better=better))
    assert [[cell["text"] for cell in row["cells"] if cell["best"]] for row in view["rows"]] == [
        [], [], [], ["1.000", "0.00", "2.00"]
    ]  # fmt: skip


def test_cells_carry_the_number_they_sort_by(tmp_path: Path) -> None:
    values = (np.float32(0.1), Interval(0.123456789, 0.0, 1.0), True, np.int64(12345), None, "10 px")
    table = Table("t", tuple("abcdef"), [values])
    cells = Page(write_report(tmp_path, Report("r", tables=(table,))).read_text("utf-8")).all("td")
    assert [a.get("data-value") for a in cells] == [
        str(float(np.float32(0.1))),
        "0.123456789",
        "1",
        "12345",
        None,
        None,
    ]
    assert [a.get("class") for a in cells] == ["number"] * 5 + [None]
    mixed = Table("t", ("who", "n", "say"), [("a", "n/a", "x"), ("b", 1, "y")])
    cells_of_mixed = Page(write_report(tmp_path, Report("r", tables=(mixed,))).read_text("utf-8")).all("td")
    assert [a.get("class") for a in cells_of_mixed] == ["number", None] * 2
    assert ["data-dash" in a for a in cells] == [False] * 4 + [True, False]


def test_curve_lies_where_its_numbers_say(written) -> None:
    _, page, _ = written
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


def test_an_empty_report_is_a_page(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, Report("Nothing yet")).read_text("utf-8"))
    assert page.texts("h1") == ["Nothing yet"]
    assert page.texts("h2") == []


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        ([0.018, 0.056, 0.1998], ["0.0180", "0.0560", "0.1998"]),
        ([0.984, 0.06, 1.0], ["0.984", "0.060", "1.000"]),
        ([1234.5, 7.0], ["1234", "7"]),
        ([1e-7, 3.0], ["1e-07", "3"]),
        ([0.0, 0.0], ["0", "0"]),
        ([-0.0001, 1.0], ["0.000", "1.000"]),  # at most one decimal more than the largest number needs
        ([Interval(0.0, -0.1, 0.1)], ["0.000 [-0.100, 0.100]"]),  # its ends where the centre has no size
        ([Interval(0.0, 0.0, 0.0)], ["0 [0, 0]"]),
        ([Interval(0.5, -0.00001, 1.0)], ["0.500 [0.000, 1.000]"]),
    ],
)
def test_numbers_of_a_column_align(column: list, texts: list[str]) -> None:
    view = report_module._table_view(Table("t", ("a",), [(cell,) for cell in column]))
    cells = [row["cells"][0] for row in view["rows"]]
    assert [f"{cell['text']} {cell['ends']}".strip() for cell in cells] == texts


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
    drawing = _drawing(_scatter(), size)
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
    page = Page(write_report(tmp_path, Report("r", blocks=(_scatter(),))).read_text("utf-8"))
    assert page.texts("text").count("theirs <i>") == 2  # on the wide page and on the narrow one
    assert page.texts("tspan") == ["better →", "better ↓"] * 2
    assert {"identity", "expression"} <= set(page.texts("text"))
    marks = page.kinds("g", "mark")
    assert ["hollow" in mark["class"] for mark in marks] == [False, False, True] * 2
    assert [re.findall(r"--s\w+\b", mark["style"])[-1] for mark in marks] == ["--s0", "--s1", "--soft"] * 2
    assert len(page.kinds("line", "bar")) == 2 * 3 and not page.kinds("path", "cloud")
    assert page.texts("title")[1:4] == ["ours: 0.6 [0.5, 0.7]; 4 [3, 5]", "theirs <i>: 0.2; 2", "copy: 0; 1 [0.5, 1.5]"]
    turned = Page(write_report(tmp_path, Report("r", blocks=(_scatter(x_better="lower", y_better=None),))).read_text())
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
    view = plots.scatter_view(_scatter(clouds={"ours": (x, y)}))
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
    few = plots.scatter_view(_scatter(clouds={"ours": ([0.5, 0.7], [3.0, 5.0])}))
    assert few["captions"] == ["Trade-off.", "Dots: single pairs."]
    assert plots.scatter_view(_scatter())["captions"] == ["Trade-off."]


# --- the JSON ---------------------------------------------------------------------------------------------


def test_json_holds_every_number_and_no_picture_data(written) -> None:
    _, _, content = written
    assert content["facts"] == {"seed": 7, "lr": 1e-3, "hardware": '2 x "CPU"', "bf16": False}
    (table,) = content["tables"]
    assert table["columns"] == ["method", "MSE", "n", "cosine"]
    assert table["rows"] == [
        {"method": "swap", "MSE": {"value": 0.0183, "low": 0.0161, "high": 0.0209}, "n": 64, "cosine": 0.5},
        {"method": "copy <b>", "MSE": 0.1998, "n": 64, "cosine": None},
    ]
    assert table["better"] == {"MSE": "lower", "cosine": "higher"}
    (curve,) = content["curves"]
    assert curve["series"]["G"] == {"x": [0, 10, 20], "y": [3.0, 2.0, 1.5]}
    assert curve["series"]["D"] == {"x": [0, 1, 2], "y": [1.0, 1.0, 1.0]}
    assert [picture["file"] for picture in content["pictures"]] == [
        "pictures/01-swaps.png",
        "pictures/02-given.png",
    ]
    assert "base64" not in json.dumps(content)


def test_json_has_exactly_the_documented_keys(tmp_path: Path) -> None:
    write_report(tmp_path, _full(tmp_path))
    content = json.loads((tmp_path / "report.json").read_text("utf-8"))
    documented = documented_keys(0)
    found = keys_of(content, "", set(documented))
    assert {key for key, _ in found} == set(documented)
    assert [(key, kind) for key, kind in found if kind not in documented[key]] == []
    assert content["schema"] == report_module.SCHEMA
    assert f"`{content['schema']}`" in SCHEMA_DOC.read_text("utf-8").splitlines()[0]
    write_report(tmp_path, Report("Empty"))
    empty = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert empty.keys() == content.keys()


def test_json_blocks_point_at_what_they_are(tmp_path: Path) -> None:
    write_report(tmp_path, _full(tmp_path))
    content = json.loads((tmp_path / "report.json").read_text("utf-8"))
    titles = [content[block["type"] + "s"][block["index"]]["title"] for block in content["blocks"]]
    assert titles == ["Plane", "Loss", "Words", "Swaps", "Given", "Bare", "Scores & more", "Marked"]
    write_report(tmp_path, _sample(tmp_path))
    content = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert [(block["type"], block["index"]) for block in content["blocks"]] == [
        ("table", 0), ("picture", 0), ("picture", 1), ("curve", 0)
    ]  # fmt: skip


def test_extra_facts_stand_beside_the_reports_own(tmp_path: Path) -> None:
    extra = {
        "protocol": {"name": "ffpp", "pairs": np.int64(256)},
        "judges": [{"kind": "sface", "score": Interval(1, 0, 2)}],
    }
    write_report(tmp_path, Report("r"), extra)
    content = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert content["protocol"] == {"name": "ffpp", "pairs": 256}
    assert content["judges"] == [{"kind": "sface", "score": {"value": 1, "low": 0, "high": 2}}]
    assert content["title"] == "r"
    out = tmp_path / "refused"
    with pytest.raises(ValueError, match="extra has keys that a report has itself: schema, tables"):
        write_report(out, Report("r"), {"tables": [], "protocol": 1, "schema": "x"})
    with pytest.raises(ValueError, match=r"extra\.a\.b must be a finite number, found nan"):
        write_report(out, Report("r"), {"a": {"b": NAN}})
    with pytest.raises(TypeError, match=r"extra\.a\[0\] .* found PosixPath"):
        write_report(out, Report("r"), {"a": [Path("x")]})
    assert not out.exists()


def test_json_keeps_long_curves_whole(tmp_path: Path) -> None:
    x = np.arange(5000)
    write_report(tmp_path, Report("r", curves=(Curve("c", {"s": (x, x * 0.1)}),)))
    series = json.loads((tmp_path / "report.json").read_text("utf-8"))["curves"][0]["series"]["s"]
    assert series["x"] == x.tolist()
    assert series["y"] == (x * 0.1).tolist()


@pytest.mark.parametrize(
    ("report", "key"),
    [
        (Report("r", facts={"loss": NAN}), r"report\.facts\.loss must be a finite number, found nan"),
        (
            Report("r", tables=[Table("t", ("a", "b"), [(1, 2), (3, INF)])]),
            r"tables\[0\]\.rows\[1\]\.b .* inf",
        ),
        (Report("r", tables=[Table("t", ("a",), [(Interval(1.0, NAN, 2.0),)])]), r"rows\[0\]\.a\.low"),
        (Report("r", tables=[Table("t", ("a",), [(np.float32(NAN),)])]), r"rows\[0\]\.a "),
        (Report("r", curves=[Curve("c", {"G": ([0, 1], [1.0, NAN])})]), r"curves\[0\]\.series\.G\.y\[1\]"),
        (Report("r", tables=[Table("t", ("a", "b"), [(1,)])]), "row 0 has 1 cells for 2 columns"),
        (Report("r", tables=[Table("t", ("a", "a"), [])]), "must differ"),
        (Report("r", tables=[Table("t", ("a",), [], better={"b": "lower"})]), "better"),
        (Report("r", tables=[Table("t", ("a",), [], better={"a": "up"})]), "better"),
        (Report("r", curves=[Curve("c", {"G": ([0, 1], [1.0])})]), "'G' has 2 x for 1 y"),
        (Report("r", curves=[Curve("c", {"G": ([], [])})]), "'G' must be numbers|'G' has 0"),
        (Report("r", curves=[Curve("c", {"G": ([0, 1], [1.0, None])})]), "'G' must be numbers"),
        (Report("r", curves=[Curve("c", {"G": ([0, 1], [1.0, 0.0])}, log_y=True)]), "positive on a log axis"),
        (Report("r", curves=[Curve("c", {})]), "no series"),
        (
            Report("r", tables=[Table("t", ("a", "b"), [("x", 1)], baselines=("y",))]),
            r"named like the baselines \['y'\]",
        ),
        (Report("r", tables=[Table("t", ("a",), [])], blocks=[Text("t", ())]), "either blocks, or tables"),
        (Report("r", blocks=[_scatter(points=())]), "needs points of different names"),
        (Report("r", blocks=[_scatter(points=[("a", 1.0, 2.0, "method")] * 2)]), "needs points of different names"),
        (Report("r", blocks=[_scatter(points=[("a", 1.0, 2.0, "bound")])]), "a method or a baseline, found 'bound'"),
        (
            Report("r", blocks=[_scatter(points=[("a", 1.0, None, "method")])]),
            "'a' needs numbers or intervals, found None",
        ),
        (Report("r", blocks=[_scatter(x_better="up")]), "x_better must be 'higher' or 'lower', found 'up'"),
        (Report("r", blocks=[_scatter(clouds={"x": ([1], [1])})]), "no point is named 'x'"),
        (Report("r", blocks=[_scatter(clouds={"copy": ([1, 2], [1])})]), "cloud 'copy' has 2 x for 1 y"),
        (Report("r", blocks=[_scatter(clouds={"copy": ([1, 2], [1, INF])})]), r"scatters\[0\]\.clouds\.copy\.y\[1\]"),
        (Report("r", blocks=[_scatter(points=[("a", 1.0, Interval(1, NAN, 2), "method")])]), r"points\[0\]\.y\.low"),
        (Report("r", pictures=[Picture("p", np.zeros((4, 4, 3)))]), r"uint8 .* float64\[4, 4, 3\]"),
        (Report("r", pictures=[Picture("p", np.zeros((4, 4, 4), np.uint8))]), r"uint8 .*\[4, 4, 4\]"),
    ],
)
def test_unfit_values_are_refused_by_name_before_anything_is_written(tmp_path: Path, report, key: str) -> None:
    with pytest.raises(ValueError, match=key):
        write_report(tmp_path / "out", report)
    assert not (tmp_path / "out").exists()


def test_unknown_kinds_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"report\.facts\.path .* found PosixPath"):
        write_report(tmp_path, Report("r", facts={"path": Path("x")}))  # type: ignore[dict-item]
    with pytest.raises(TypeError, match=r"blocks\[0\] must be one of Table, .* found str"):
        write_report(tmp_path, Report("r", blocks=("a table",)))  # type: ignore[arg-type]
    (tmp_path / "fake.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"fake\.png is not a PNG"):
        write_report(tmp_path, Report("r", pictures=[Picture("p", tmp_path / "fake.png")]))


# --- writing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["write", "rename"])
def test_a_failed_write_leaves_the_old_files(tmp_path: Path, monkeypatch, moment: str) -> None:
    write_report(tmp_path, Report("old"))
    before = {path.name: path.read_bytes() for path in tmp_path.glob("report.*")}
    assert len(before) == 2

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "chmod" if moment == "write" else "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(tmp_path, Report("new"))
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    write_report(tmp_path, Report("new"))
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["title"] == "new"


def test_missing_jinja2_names_the_extra(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"smoothswap-jax\[eval\]"):
        write_report(tmp_path / "out", Report("r"))
    assert not (tmp_path / "out").exists()

"""The report page and its JSON: complete, self-contained, escaped, finite, and never half-written."""

import base64
import hashlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.evaluation.report import document as report_module
from smoothswap_jax.evaluation.report.document import (
    Curve,
    Interval,
    Picture,
    Report,
    Table,
    Text,
    write_report,
)
from tests.evaluation.report.sample_reports import full_report, plane, sample_picture, sample_report
from tests.evaluation.report.schema import SCHEMA_DOC, documented_keys, keys_of
from tests.html_page import Page

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Page, dict[str, Any]]:
    page = write_report(tmp_path / "out", sample_report(tmp_path))
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
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), sample_picture(number))
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
    page = Page(write_report(tmp_path, full_report(tmp_path)).read_text("utf-8"))
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
    write_report(tmp_path, full_report(tmp_path))
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
    write_report(tmp_path, full_report(tmp_path))
    content = json.loads((tmp_path / "report.json").read_text("utf-8"))
    titles = [content[block["type"] + "s"][block["index"]]["title"] for block in content["blocks"]]
    assert titles == ["Plane", "Loss", "Words", "Swaps", "Given", "Bare", "Scores & more", "Marked"]
    write_report(tmp_path, sample_report(tmp_path))
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
        (Report("r", blocks=[plane(points=())]), "needs points of different names"),
        (
            Report("r", blocks=[plane(points=[("a", 1.0, 2.0, "method")] * 2)]),
            "needs points of different names",
        ),
        (
            Report("r", blocks=[plane(points=[("a", 1.0, 2.0, "bound")])]),
            "a method or a baseline, found 'bound'",
        ),
        (
            Report("r", blocks=[plane(points=[("a", 1.0, None, "method")])]),
            "'a' needs numbers or intervals, found None",
        ),
        (Report("r", blocks=[plane(x_better="up")]), "x_better must be 'higher' or 'lower', found 'up'"),
        (Report("r", blocks=[plane(clouds={"x": ([1], [1])})]), "no point is named 'x'"),
        (Report("r", blocks=[plane(clouds={"copy": ([1, 2], [1])})]), "cloud 'copy' has 2 x for 1 y"),
        (
            Report("r", blocks=[plane(clouds={"copy": ([1, 2], [1, INF])})]),
            r"scatters\[0\]\.clouds\.copy\.y\[1\]",
        ),
        (
            Report("r", blocks=[plane(points=[("a", 1.0, Interval(1, NAN, 2), "method")])]),
            r"points\[0\]\.y\.low",
        ),
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

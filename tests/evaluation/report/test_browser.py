"""The report in a browser: it sorts, fits a phone, shows its pictures, asks for nothing, and logs no complaint."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.evaluation.report.document import (
    Curve,
    Interval,
    Picture,
    Report,
    Scatter,
    Table,
    Text,
    image_grid,
    write_report,
)
from tests.evaluation.report.browser import BrowserError, View, browser, needs_browser

pytestmark = needs_browser

PHONE, DESK = (390, 844), (1280, 900)
ROWS = "[...document.querySelectorAll('#table-1 tbody tr')].map((row) => row.cells[{}].textContent)"
SORTS = "[...document.querySelectorAll('#table-1 thead th')].map((head) => head.ariaSort)"
WRITTEN = ["Zebra 10", "zebra 9", "Åsa", "copy", "Émile"]


def _report() -> Report:
    """What is wide is wide: long words, many columns, a large picture."""
    at = lambda value: Interval(value, value - 0.1, value + 0.1)
    rows = [
        ("Zebra 10", at(0.9), 100, None, "b"),
        ("zebra 9", at(-0.5), 20, 3.0, "a"),
        ("Åsa", at(0.25), 3, 1e-7, "c"),
        ("copy", at(1.0), 4, 0.0, "d"),
        ("Émile", at(0.3), None, "n/a", "e"),
    ]
    table = Table(
        "Scores",
        ("name", "identity", "swaps a second", "error", "group"),
        rows,
        better={"identity": "higher", "error": "lower"},
        baselines=("copy",),
    )
    many = tuple(f"a column of number {i}" for i in range(12))
    wide = Table("Wide", ("name", *many), [("A" * 60, *[at(i / 7) for i in range(12)])] * 2)
    scatter = Scatter(
        "Plane",
        [(f"Method {i} of long name", at(i / 9), at((i * 5 % 7) / 7), "method") for i in range(8)],
        "identity", "expression", "c", "higher", "lower", {"Method 1 of long name": (np.linspace(0, 1, 999),) * 2},
    )  # fmt: skip
    face = np.full((128, 128, 3), 90, np.uint8)
    return Report(
        "A report with a Wordthatisfartoolongtofitthewidthofanyphoneinthewholeworld in its title",
        ("https://example.org/" + "x" * 90,),
        {"command": "smoothswap evaluate --out=" + "y" * 120},
        blocks=(
            table, Text("Words", ("Some. " * 40,)), scatter, wide, Picture("Large", image_grid([[face] * 12] * 2)),
            Picture("Small", face[:8, :8], pixelated=True, zoom=4), Curve("Loss", {"G": (range(5000), np.ones(5000))}),
        ),
        verdicts=("One method is better than another. " * 5,),
        notes=("z" * 100,),
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    return write_report(tmp_path_factory.mktemp("report"), _report())


@pytest.fixture(scope="module")
def shared(page: Path) -> Iterator[View]:
    with browser(page, *DESK) as view:
        yield view


def test_nothing_is_asked_for_and_nothing_complains(shared: View, page: Path) -> None:
    shared.evaluate("Promise.all([...document.images].map((image) => image.decode()))")
    assert shared.evaluate("[...document.images].map((image) => image.naturalWidth > 0)") == [True, True]
    assert [url for url in shared.requests if not url.startswith("data:image/png")] == [page.as_uri()]
    assert shared.console == []


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_page_is_never_wider_than_the_window(page: Path, size: tuple[int, int]) -> None:
    with browser(page, *size) as view:
        assert view.evaluate("innerWidth") == size[0]
        assert view.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert view.evaluate("document.querySelector('#table-2 .scroll').scrollWidth") > size[0]
        assert view.evaluate("document.querySelector('#table-2 .scroll').clientWidth") <= size[0]
        shown = "[...document.querySelectorAll('svg')].filter((e) => e.checkVisibility()).map((e) => e.classList[0])"
        assert view.evaluate(shown) == ["narrow" if size == PHONE else "wide"] * 2


def test_text_in_plots_is_as_large_as_text(page: Path) -> None:
    letters = "[...document.querySelectorAll('svg text')].filter((e) => e.checkVisibility()).map("
    letters += "(e) => e.getBoundingClientRect().height)"
    for size in (PHONE, DESK):
        with browser(page, *size) as view:
            assert min(view.evaluate(letters)) > 12 and max(view.evaluate(letters)) < 20


def test_names_stay_in_sight_when_a_table_moves(page: Path) -> None:
    with browser(page, *PHONE) as view:
        region = "document.querySelector('#table-2 .scroll')"
        left = f"{region}.querySelector('tbody tr :first-child').getBoundingClientRect().x"
        before = view.evaluate(left)
        view.evaluate(f"{region}.scrollLeft = 500")
        assert view.evaluate(f"{region}.scrollLeft") == 500
        assert view.evaluate(left) == before
        assert view.evaluate(
            f"new Promise((done) => setTimeout(() => done({region}.classList.contains('moved')), 300))"
        )
        narrow = f"{region}.querySelector('tbody tr :first-child').getBoundingClientRect().width"
        assert view.evaluate(narrow) < 0.5 * PHONE[0]


@pytest.mark.parametrize(
    ("column", "first", "order"),
    [
        (1, "ascending", ["Åsa", "copy", "Émile", "zebra 9", "Zebra 10"]),
        (2, "descending", ["copy", "Zebra 10", "Émile", "Åsa", "zebra 9"]),  # by the centre; higher is better
        (3, "ascending", ["Åsa", "copy", "zebra 9", "Zebra 10", "Émile"]),  # by value, the dash last
        (4, "ascending", ["copy", "Åsa", "zebra 9", "Émile", "Zebra 10"]),  # text after numbers, the dash last
    ],
)
def test_headings_sort(page: Path, column: int, first: str, order: list[str]) -> None:
    dashes = {3: 1, 4: 1}.get(column, 0)
    with browser(page, *DESK) as view:
        assert view.evaluate(ROWS.format(0)) == WRITTEN
        assert view.evaluate(SORTS) == ["none"] * 5
        heading = f"#table-1 th:nth-child({column}) button"
        view.click(heading)
        assert view.evaluate(ROWS.format(0)) == order
        assert view.evaluate(SORTS) == [first if i == column else "none" for i in range(1, 6)]
        view.click(heading)
        assert view.evaluate(SORTS)[column - 1] == {"ascending": "descending", "descending": "ascending"}[first]
        kept = {4: order[3:]}.get(column, order[len(order) - dashes :])
        turned = order[: len(order) - len(kept)][::-1] + kept
        assert view.evaluate(ROWS.format(0)) == turned
        view.click(heading)
        assert view.evaluate(ROWS.format(0)) == WRITTEN
        assert view.evaluate(SORTS) == ["none"] * 5
        assert view.console == []


def test_another_heading_starts_from_the_written_order(page: Path) -> None:
    with browser(page, *DESK) as view:
        for column in (5, 4, 4):
            view.click(f"#table-1 th:nth-child({column}) button")
        assert view.evaluate(SORTS) == ["none", "none", "none", "descending", "none"]
        view.click("#table-1 th:nth-child(5) button")
        assert view.evaluate(ROWS.format(4)) == list("abcde")
        assert view.evaluate(SORTS) == ["none", "none", "none", "none", "ascending"]


def test_headings_sort_by_keys(page: Path) -> None:
    with browser(page, *DESK) as view:
        view.evaluate("document.querySelector('#table-1 th:nth-child(2) button').focus()")
        view.press("Tab")
        assert view.evaluate("document.activeElement.textContent") == "swaps a second"
        view.press("Enter")
        assert view.evaluate(ROWS.format(2)) == ["3", "4", "20", "100", "–"]
        view.press(" ")
        assert view.evaluate(ROWS.format(2)) == ["100", "20", "4", "3", "–"]


def test_without_scripts_the_page_reads(page: Path) -> None:
    with browser(page, *PHONE, scripts=False) as view:
        assert view.evaluate("document.querySelectorAll('button').length") == 0
        assert view.evaluate(ROWS.format(0)) == WRITTEN
        assert view.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


def test_dark_and_light_follow_the_system(page: Path) -> None:
    seen = []
    for dark in (False, True):
        with browser(page, *PHONE, dark=dark) as view:
            colours = view.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
            ink, paper = (sum(int(n) for n in colour[4:-1].split(",")) for colour in colours)
            seen.append(ink > paper)
    assert seen == [False, True]


# --- the driver -------------------------------------------------------------------------------------------


def test_a_script_that_the_policy_forbids_is_noticed(page: Path, tmp_path: Path) -> None:
    html = page.read_text("utf-8").replace('"use strict";', '"use  strict";')
    (tmp_path / "other.html").write_text(
        html.replace("</main>", '<img src="https://example.org/x.png"></main>'), "utf-8"
    )
    with browser(tmp_path / "other.html") as view:
        assert view.evaluate("document.querySelectorAll('button').length") == 0
        complaints = [line for line in view.console if "Content Security Policy" in line]
        assert any("script" in line for line in complaints) and any("example.org" in line for line in complaints)


def test_the_driver_sees_and_reports(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        "<p style='height: 2000px'>a</p><script>console.error('oh', 1); oops()</script>"
    )
    with browser(tmp_path / "page.html", 300, 200) as view:
        assert view.console[0] == "error: oh 1"
        assert "oops is not defined" in view.console[1]
        assert view.evaluate("Promise.resolve([innerWidth, innerHeight])") == [300, 200]
        view.resize(400, 100)
        assert view.evaluate("[innerWidth, innerHeight]") == [400, 100]
        with pytest.raises(BrowserError, match="nothing is not defined"):
            view.evaluate("nothing")
        with pytest.raises(BrowserError, match="no element fits 'button'"):
            view.click("button")
        view.screenshot(tmp_path / "whole.png")
        view.screenshot(tmp_path / "window.png", whole=False)

    with Image.open(tmp_path / "whole.png") as whole, Image.open(tmp_path / "window.png") as window:
        assert window.size == (400, 100)
        assert whole.size[0] == 400 and whole.size[1] > 2000

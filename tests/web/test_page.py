"""The page in a browser: Debian's or another Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from smoothswap_jax.inference import first_look
from tests.inference import painted_videos as videos

sync_api = pytest.importorskip("playwright.sync_api")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
shown = sync_api.expect
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs a Chromium")
SIZES = {"phone": (390, 844), "desk": (1280, 900)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


def visit(browser: Any, port: int, size: str = "desk") -> Any:
    """The page, whose errors end the test."""
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(30_000)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
    page.faults = faults
    page.goto(f"http://127.0.0.1:{port}/")
    return page


def choose(page: Any, source: Any, target: Any) -> None:
    page.set_input_files("#source-file", [str(source)])
    page.wait_for_selector("#sources img")
    page.set_input_files("#target-file", str(target))
    page.wait_for_selector("#faces button")


@pytest.mark.parametrize("size", SIZES)
def test_a_photo_from_choosing_to_downloading(browser, serve, faces, tmp_path, size):
    page = visit(browser, serve().port, size)
    assert page.is_disabled("#swap") and page.is_hidden("#result")
    choose(page, faces["source"], faces["both"])
    assert "160 × 96, photo; 2 faces." in page.inner_text("#target-words")
    assert page.locator("#faces button").count() == 4
    page.click("#faces button:nth-child(4)")
    assert page.get_attribute("#faces button:nth-child(4)", "aria-checked") == "true"
    page.fill("#strength", "80")
    assert page.inner_text("#strength-value") == "80%"
    page.click("#swap")
    page.wait_for_selector("#result:not([hidden])")
    page.fill("#divider", "25")
    assert page.evaluate("getComputedStyle(document.getElementById('after')).clipPath") == "inset(0px 0px 0px 75%)"
    assert page.evaluate("document.getElementById('after').naturalWidth") == 160
    with page.expect_download() as got:
        page.click("#download")
    assert got.value.suggested_filename == "swapped.png"
    got.value.save_as(tmp_path / "got.png")
    assert (tmp_path / "got.png").read_bytes().startswith(b"\x89PNG")
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]  # nothing sticks out
    assert page.faults == []
    page.close()


def test_a_video_and_cancelling_it(browser, serve, faces, monkeypatch):
    monkeypatch.setattr(first_look, "identities", lambda _, found: np.eye(128, dtype=np.float32)[: len(found)])
    served = serve()
    page = visit(browser, served.port)
    choose(page, faces["source"], faces["film"])
    assert f"{videos.COUNT} frames; 2 faces in the first frame." in page.inner_text("#target-words")
    page.click("#faces button[value=all]")
    served.waits.clear()
    page.click("#swap")
    page.wait_for_selector("#working:not([hidden])")
    assert page.is_disabled("#swap")
    shown(page.locator("#stage")).to_contain_text(" of ")
    page.click("#cancel")
    served.waits.set()
    shown(page.locator("#message")).to_have_text("Cancelled.")
    assert page.is_enabled("#swap") and page.is_hidden("#result")
    page.click("#swap")
    page.wait_for_selector("#video:not([hidden])")
    shown(page.locator("#video")).to_have_js_property("videoWidth", videos.WIDTH)
    assert page.faults == []
    page.close()


def test_mistakes_are_shown_where_they_are_made(browser, serve, faces, tmp_path):
    page = visit(browser, serve(megabytes=0.05).port)
    (tmp_path / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    (tmp_path / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 100_000)
    for given, said in (
        (tmp_path / "drawing.svg", "drawing.svg: found neither a photo nor a video"),
        (tmp_path / "large.png", "large.png: found a file of more than 0.05 MB"),
        (faces["none"], "none.png: found no face in it"),
    ):
        page.set_input_files("#source-file", [str(given)])
        shown(page.locator("#message")).to_contain_text(said)
        assert page.locator("#sources img").count() == 0
    page.set_input_files("#source-file", [str(faces["source"])])
    page.wait_for_selector("#sources img")
    page.click("#sources .remove")
    assert page.locator("#sources img").count() == 0 and page.is_disabled("#swap")
    assert page.faults == []
    page.close()


def test_two_users_at_once(browser, serve, faces):
    served = serve()
    pages = [visit(browser, served.port), visit(browser, served.port)]
    for page in pages:
        choose(page, faces["source"], faces["both"])
    pages[0].click("#faces button[value='0']")
    pages[1].click("#faces button[value='1']")
    for page in pages:
        page.click("#swap")
    for page in pages:
        page.wait_for_selector("#result:not([hidden])")
    links = [page.get_attribute("#download", "href") for page in pages]
    assert links[0] != links[1]
    assert served.ask("GET", links[0]).body != served.ask("GET", links[1]).body
    for page in pages:
        page.close()

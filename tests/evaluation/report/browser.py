"""Chromium without a window, to see what a page does: clicks, keys, pictures, what scripts say.

    with browser(page, 390, 844) as view:
        assert view.evaluate("document.documentElement.scrollWidth") <= 390
        view.click("th:nth-child(2) button")
        view.screenshot("page.png")

It speaks the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/) over two pipes, one JSON value
after the other with a NUL between, and so needs no library.
"""

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BINARY = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(BINARY is None, reason="neither chromium nor google-chrome is on the PATH")
PATIENCE = 60.0  # seconds for one answer, on a busy machine

# Quiet and offline: no updates, no first-run pages, no reports home.
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--no-default-browser-check", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-quic", "--disable-extensions", "--metrics-recording-only", "--mute-audio"),
)
# Chromium reads commands from descriptor 3 and answers on 4; subprocess hands descriptors on under their own numbers.
LAUNCH = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3]]
os.dup2(ends[0], 3)
os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
# name -> code, key code, and the text it types
KEYS = {"Enter": ("Enter", 13, "\r"), " ": ("Space", 32, " "), "Tab": ("Tab", 9, "")}


class BrowserError(Exception):
    """The browser ended, kept silent, or refused a command."""


class View:
    """One page of a running browser.

    `console` holds what scripts, the security policy and the network logged, as "level: text"; `requests` every
    address the page asked for; both grow as long as it is open.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self.console: list[str] = []
        self.requests: list[str] = []
        self._commands, self._answers = commands, answers
        self._ids = itertools.count(1)
        self._buffer = b""
        self._loaded = False
        self._session: str | None = None

    def open(self, page: str | Path, width: int, height: int, dark: bool, scripts: bool) -> None:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        if not scripts:
            self._call("Emulation.setScriptExecutionDisabled", value=True)
        address = page if "://" in str(page) else Path(page).resolve().as_uri()
        self._loaded = False
        failed = self._call("Page.navigate", url=str(address)).get("errorText")
        if failed:
            raise BrowserError(f"{address}: {failed}")
        while not self._loaded:
            self._event()

    def resize(self, width: int, height: int) -> None:
        """Another size of the window, in CSS pixels."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression, as plain types; promises are awaited, exceptions raised."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(_exception(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """A press of the mouse in the middle of the first element that fits, scrolled to if need be."""
        middle = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " if (!e) return null; e.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        if middle is None:
            raise BrowserError(f"no element fits {selector!r}")
        at = {"x": middle[0], "y": middle[1], "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, **at)

    def press(self, key: str) -> None:
        """A key of `KEYS`, to whatever has the focus."""
        code, number, text = KEYS[key]
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            self._call("Input.dispatchKeyEvent", type=kind, key=key, code=code, windowsVirtualKeyCode=number, **typed)

    def screenshot(self, path: str | Path, whole: bool = True) -> None:
        """A PNG of the whole page, or of what the window shows."""
        data = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole))
        Path(path).write_bytes(base64.b64decode(data["data"]))

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self._call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        command = {"id": number, "method": method, "params": params}
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self._event()
            if message.get("id") == number:
                if "error" in message:
                    raise BrowserError(f"{method}: {message['error']['message']}")
                return message["result"]

    def _event(self) -> dict[str, Any]:
        """The next message, noted if it is one that this class keeps."""
        message = self._read()
        method, params = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.consoleAPICalled":
            said = " ".join(str(part.get("value", part.get("description", ""))) for part in params["args"])
            self.console.append(f"{params['type']}: {said}")
        elif method == "Runtime.exceptionThrown":
            self.console.append(f"error: {_exception(params['exceptionDetails'])}")
        elif method == "Log.entryAdded":
            self.console.append(f"{params['entry']['level']}: {params['entry']['text']}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        return message

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._answers, 1 << 20) if ready else None
            if not data:
                raise BrowserError("the browser ended" if data == b"" else f"no answer for {PATIENCE:.0f} seconds")
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)


def _exception(details: dict[str, Any]) -> str:
    return details.get("exception", {}).get("description") or details["text"]


@contextlib.contextmanager
def browser(
    page: str | Path, width: int = 1280, height: int = 900, dark: bool = False, scripts: bool = True
) -> Iterator[View]:
    """A page (a path or an address) in a window of CSS pixels, loaded; `scripts=False` is a browser without them."""
    assert BINARY is not None, "mark the test with needs_browser"
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as folder:
        launch = [sys.executable, "-I", "-S", "-c", LAUNCH, str(commands_out), str(answers_in), BINARY]
        process = subprocess.Popen(
            [*launch, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={folder}"],
            pass_fds=(commands_out, answers_in),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            os.close(commands_out)
            os.close(answers_in)
            view = View(commands_in, answers_out)
            view.open(page, width, height, dark, scripts)
            yield view
        finally:
            # Its helpers share the session it was started in, and nobody else's processes do.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(commands_in)
            os.close(answers_out)

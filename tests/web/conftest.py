"""The page's server, listening, with a toy swapper and painted faces."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smoothswap_jax.faces.photos import save_photo
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.web.limits import Limits
from tests.inference import painted_videos as videos

uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("starlette")


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A server that listens, and what its user does."""

    port: int
    folder: Path
    own: Any
    """The application."""
    waits: threading.Event = field(default_factory=threading.Event)
    """Jobs go on only while it is set."""

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        data = json.dumps(body).encode() if isinstance(body, dict | list) else body
        connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        found = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        return found

    @property
    def workshop(self) -> Any:
        return self.own.workshop

    def send(self, path: Path) -> dict[str, Any]:
        answer = self.ask("POST", "/files", path.read_bytes())
        assert answer.status == 200, answer.body
        return answer.told

    def swap(self, source: Path, target: Path, **wish: Any) -> dict[str, Any]:
        sent = {"sources": [self.send(source)["id"]], "target": self.send(target)["id"], **wish}
        answer = self.ask("POST", "/jobs", sent)
        assert answer.status == 200, answer.body
        return self.until_over(answer.told["id"])

    def wait_for_files(self, count: int) -> None:
        """Until the folder holds so many."""
        for _ in range(200):
            if len(found := list(self.folder.iterdir())) == count:
                return
            time.sleep(0.1)
        raise AssertionError(f"the folder still holds {found}; wanted {count}")

    def until_over(self, job: str) -> dict[str, Any]:
        for _ in range(300):
            told = self.ask("GET", f"/jobs/{job}").told
            if told["state"] not in ("waiting", "running"):
                return told
            time.sleep(0.1)
        raise AssertionError(f"the job is still {told}")


@pytest.fixture
def serve(tmp_path) -> Iterator[Callable[..., Served]]:
    from smoothswap_jax.web.server import make_app

    running = []

    def start(**limits: Any) -> Served:
        folder = tmp_path / f"kept{len(running)}"
        folder.mkdir()
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        go = threading.Event()
        go.set()

        def network(source: np.ndarray, target: np.ndarray) -> np.ndarray:
            go.wait(20)
            return videos.brighter(source, target)

        plain = videos.pixel_swapper(network, 32, videos.spotted)
        swapper = Swapper(plain.embed_aligned, plain.generate_aligned, 32, videos.spotted)
        app = make_app(swapper, folder, [f"127.0.0.1:{port}", f"localhost:{port}"], Limits(**limits))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        running.append((server, thread, go))
        while not server.started:
            time.sleep(0.02)
        return Served(port, folder, app, go)

    yield start
    for server, thread, go in running:
        go.set()
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def faces(tmp_path) -> dict[str, Path]:
    """A source, a target with two faces, a picture without any, and a video."""
    save_photo(tmp_path / "source.png", videos.painted({videos.MAGENTA: (80, 45)}, grey=200))
    both = {videos.MAGENTA: (40, 45), videos.CYAN: (120, 50)}
    save_photo(tmp_path / "both.png", videos.painted(both))
    save_photo(tmp_path / "none.png", videos.painted({}))
    return {name: tmp_path / f"{name}.png" for name in ("source", "both", "none")} | {
        "film": videos.film(tmp_path / "film.mp4")
    }

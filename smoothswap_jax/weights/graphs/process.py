"""Graphs are run in a process of their own, with bounded memory and time: runtimes trust their files too much."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from jaxtyping import Float

WORKER = Path(__file__).with_name("worker.py")
RUNTIMES = {"onnx": ("onnxruntime", "onnxruntime"), "tflite": ("ai_edge_litert", "ai-edge-litert")}
"""Of each kind of graph: module and distribution."""
EXTRA = "judges"
START_SECONDS, BATCH_SECONDS = 120.0, 60.0
"""To load a graph, and for one batch. ResNet-100 takes half a second for an image on one core."""
MEMORY, PER_BYTE = 4 << 30, 4
"""Address space that a process may have, in bytes, and how much more for each byte of its graph."""
ENDS_SECONDS = 2.0
"""Within which a process that no longer answers has ended."""
MAX_THREADS = 8
MAX_ANSWER = 1 << 26


class GraphError(ValueError):
    """A graph could not be run: it is not what its runtime wants, or took too much time or memory. Names the file."""


class GraphProcess:
    """A graph that runs in a process of its own, which ends with this object.

    Args:
      kind: 'onnx' or 'tflite'. data: the graph's bytes, which have been looked at (`readers.graph`). name: for errors.
      outputs: names of the outputs that are wanted, in this order.

    Raises ImportError where the runtime is not installed, and GraphError where the graph cannot be loaded. `runtime` is
    what runs it, with its version.
    """

    def __init__(
        self,
        kind: str,
        data: bytes,
        name: str,
        outputs: Sequence[str],
        memory: int = MEMORY,
        start_seconds: float = START_SECONDS,
        batch_seconds: float = BATCH_SECONDS,
    ) -> None:
        check_runtime(kind, name)
        self.data, self.name = data, name
        self.start_seconds, self.batch_seconds = start_seconds, batch_seconds
        self.memory = memory + PER_BYTE * len(data)
        self.settings = {
            "kind": kind,
            "outputs": list(outputs),
            "memory": self.memory,
            "threads": min(os.cpu_count() or 1, MAX_THREADS),
            "seconds": batch_seconds,
        }
        self.lock = threading.Lock()
        self.started: tuple[subprocess.Popen, Connection, Connection] | None = None
        self.runtime = ""
        self._start()

    def run(self, images: Float[np.ndarray, "b ..."]) -> list[np.ndarray]:
        """The outputs for one batch of the shape that the graph takes, float32.

        Raises GraphError, after which the process has ended; the next call starts another.
        """
        with self.lock:
            if self.started is None:
                self._start()
            assert self.started is not None
            process, to, back = self.started
            with self._within(process, self.batch_seconds):
                to.send_bytes(json.dumps(images.shape).encode())
                to.send_bytes(np.ascontiguousarray(images, "<f4").tobytes())
                shapes = self._answer(back)["shapes"]
                return [np.frombuffer(back.recv_bytes(MAX_ANSWER), "<f4").reshape(shape) for shape in shapes]

    def _start(self) -> None:
        read, to_worker = os.pipe()
        from_worker, write = os.pipe()
        to, back = Connection(to_worker, readable=False), Connection(from_worker, writable=False)
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER), str(read), str(write)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(read, write),
                env=environment,
            )
        finally:
            os.close(read)
            os.close(write)
        self.started = process, to, back
        weakref.finalize(self, _end, process, to, back)
        with self._within(process, self.start_seconds):
            to.send_bytes(json.dumps(self.settings).encode())
            to.send_bytes(self.data)
            self.runtime = self._answer(back)["version"]

    def _answer(self, back: Connection) -> dict:
        answer = json.loads(back.recv_bytes(MAX_ANSWER))
        if "error" in answer:
            said = answer["error"] if answer["error"].isprintable() else ascii(answer["error"])[1:-1]
            raise GraphError(f"{self.name}: cannot be run ({said}); wanted a network that its runtime takes")
        return answer

    @contextlib.contextmanager
    def _within(self, process: subprocess.Popen, seconds: float) -> Iterator[None]:
        """Ends the process after `seconds`, or with any error. What it says of itself is raised as GraphError."""
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()
        try:
            yield
        except BaseException as error:
            if isinstance(error, OSError | EOFError):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(ENDS_SECONDS)  # it is about to have a code of its own
            code = process.poll()
            assert self.started is not None
            _end(*self.started)
            self.started = None
            if late.is_set():
                raise GraphError(f"{self.name}: did not end within {seconds:g} s; wanted a quicker network") from error
            if isinstance(error, OSError | EOFError | ValueError | KeyError | TypeError) and not isinstance(
                error, GraphError
            ):
                raise GraphError(f"{self.name}: {_of_the_end(code, self.memory)}") from error
            raise
        finally:
            timer.cancel()


def check_runtime(kind: str, name: str) -> None:
    """Raises ImportError where the runtime of a kind of graph is not installed; `name` says who needs it."""
    module, package = RUNTIMES[kind]
    if importlib.util.find_spec(module) is None:
        raise ImportError(
            f'running {name} needs {package}, which is not installed: pip install "smoothswap-jax[{EXTRA}]"'
        )


def _of_the_end(code: int | None, memory: int) -> str:
    """Why there is no answer, as far as the code of the process tells. code: None while it still runs."""
    limits = f"its memory is limited to {memory >> 20:,} MiB, and it may open no files"
    if code is None:
        return "the process that ran it gave an answer that means nothing"
    if code == -signal.SIGKILL:
        return f"the process that ran it ended by signal 9: perhaps from outside, or for lack of memory; {limits}"
    return f"the process that ran it ended {f'by signal {-code}' if code < 0 else f'with {code}'}; {limits}"


def _end(process: subprocess.Popen, *ends: Connection) -> None:
    for end in ends:
        end.close()
    process.kill()
    process.wait()

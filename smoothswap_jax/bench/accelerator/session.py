"""Runs measurements in worker processes, within a time, and keeps the record of them in one JSON file.

The file is written anew after each measurement, so that whatever ends the session, what was measured is there.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

from smoothswap_jax.bench.accelerator.measurement import Fields, Measurement
from smoothswap_jax.bench.accelerator.ratios import ratios
from smoothswap_jax.bench.accelerator.worker import work
from smoothswap_jax.runtime.files import write_atomically

FORMAT = 1
MARGIN = 5.0
"""Seconds that ending the session takes."""
ENVIRONMENT = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9", "TF_CPP_MIN_LOG_LEVEL": "2"}
"""Of workers, where the user has set nothing else."""


class Worker:
    """A process for the measurements of one library."""

    def __init__(self, library: str, presets: dict[str, Fields], embedder: Fields):
        context = multiprocessing.get_context("spawn")
        self.library = library
        self.connection, other = context.Pipe()
        self.process = context.Process(target=work, args=(other, library, presets, embedder))
        self.process.start()
        other.close()

    def run(self, measurement: Measurement, limit: float) -> dict[str, Any]:
        """The record of a measurement. limit: seconds after which the process is ended."""
        try:
            self.connection.send(measurement)
            if self.connection.poll(max(0.0, limit)):
                return self.connection.recv()
        except (EOFError, OSError):
            self.process.join(MARGIN)
            return {"status": "failed", "error": f"the process ended with {self.process.exitcode}"}
        return {"status": "out of time", "error": f"not done after {limit:.0f} s"}

    def end(self, hangs: bool = False) -> None:
        """Ends the process, and what it has started; if it does not hang it may give its memory back by itself."""
        self.connection.close()
        if not hangs:
            self.process.join(MARGIN)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.kill()
        self.process.join()


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Gives workers ENVIRONMENT and a cache of compiled programs, empty at first, in which XLA also keeps for the next
    worker which algorithms it has found fastest. What the user has set stays."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = {**ENVIRONMENT, "JAX_COMPILATION_CACHE_DIR": folder}
        with mock.patch.dict(os.environ, {name: value for name, value in wanted.items() if name not in os.environ}):
            yield


@contextlib.contextmanager
def _workers(presets: dict[str, Fields], embedder: Fields) -> Iterator[Callable[[str], Worker]]:
    """One worker at a time: asked for another library, or after one has ended, a new one."""
    alive: list[Worker] = []

    def for_library(library: str) -> Worker:
        if alive and (alive[0].library != library or not alive[0].process.is_alive()):
            alive.pop().end()
        if not alive:
            alive.append(Worker(library, presets, embedder))
        return alive[0]

    try:
        yield for_library
    finally:
        for worker in alive:
            worker.end()


def run_session(
    measurements: list[Measurement],
    out: Path,
    seconds: float,
    each: float,
    presets: dict[str, Fields],
    embedder: Fields,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Runs measurements in their order, until the time is over, and writes the record of all of them to `out`.

    seconds: of the whole session. each: most seconds of one measurement, after which its process is ended and the next
    one begins in another. report: is told of each.

    Whatever a measurement fails of, memory, time or an error, is in its record; those that the time did not reach are
    recorded as skipped.
    """
    begun = time.monotonic()
    record: dict[str, Any] = {
        "format": FORMAT,
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "compilation cache": os.environ.get("JAX_COMPILATION_CACHE_DIR", "empty at first"),
        "ratios": {},
        "measurements": {one.name: {"status": "skipped", "error": "the time was over"} for one in measurements},
    }
    absent: set[str] = set()
    with _environment(), _workers(presets, embedder) as worker_of:
        for one in measurements:
            start = time.monotonic()
            left = seconds - MARGIN - (start - begun)
            if left <= 0:
                break
            found: dict[str, Any]
            if one.library in absent:
                found = {"status": "not installed", "error": f"{one.library} is not installed"}
            else:
                worker = worker_of(one.library)
                found = worker.run(one, min(left, each))
                if found["status"] == "out of time":
                    worker.end(hangs=True)
                elif found["status"] == "not installed":
                    absent.add(one.library)
            found["whole s"] = round(time.monotonic() - start, 1)
            record["measurements"][one.name] = {"library": one.library, "arguments": one.arguments, **found}
            _write(out, record, begun)
            report(f"{time.monotonic() - begun:5.0f} s  {one.name}: {found['status']}")
    _write(out, record, begun)
    return record


def _write(out: Path, record: dict[str, Any], begun: float) -> None:
    record["took s"] = round(time.monotonic() - begun, 1)
    record["ratios"] = ratios(record["measurements"])
    write_atomically(out, (json.dumps(record, indent=1, allow_nan=False, default=str) + "\n").encode())

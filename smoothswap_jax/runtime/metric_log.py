"""What a run writes beside its checkpoints: metrics.jsonl, TensorBoard summaries, a progress line.

`metrics.jsonl` holds only values that are determined by config and seed, one JSON object per step with sorted keys, so
that the file of a run that was killed and resumed equals that of an uninterrupted one. Speeds go to TensorBoard only.
"""

import importlib.util
import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from smoothswap_jax.runtime import files
from smoothswap_jax.runtime.paths import in_bucket

log = logging.getLogger(__name__)
NAME, PARAMETERS = "metrics.jsonl", "parameters.txt"


class RunLog:
    """Writer of one run directory; `first_step` is the step that the run starts or resumes at."""

    def __init__(self, workdir: Path, first_step: int, writes: bool = True):
        self.writes = writes
        if not writes:
            return
        path = workdir / NAME
        keep_before(path, first_step)
        self._lines = _BucketLines(path) if in_bucket(path) else path.open("a", encoding="utf-8")
        self._summaries = _tensorboard(workdir)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """One line of metrics.jsonl, and scalars in TensorBoard."""
        if not self.writes or not values:
            return
        with files.named_errors(self._lines.name):
            self._lines.write(json.dumps({"step": step, **values}, sort_keys=True) + "\n")
            self._lines.flush()
        self._scalars(step, values)

    def save(self) -> None:
        """Writes what a bucket has not got yet. Call it before a checkpoint: the run goes on from there, and has to
        have all lines before it."""
        if self.writes and isinstance(self._lines, _BucketLines):
            self._lines.save()

    def speed(self, step: int, images_per_second: float, input_wait: float) -> None:
        """TensorBoard only, since it differs from run to run. input_wait: share of the time spent waiting for input."""
        if self.writes:
            self._scalars(step, {"perf/images_per_second": images_per_second, "perf/input_wait": input_wait})

    def picture(self, step: int, name: str, image) -> None:
        """A uint8 image [h, w, 3] in TensorBoard."""
        if self.writes and self._summaries:
            self._summaries.write_images(step, {name: image[None]})

    def close(self) -> None:
        if self.writes:
            self._lines.close()
            if self._summaries:
                self._summaries.close()

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        if self._summaries:
            self._summaries.write_scalars(step, dict(values))


class _BucketLines:
    """Lines of an object in a bucket, which cannot grow: the whole is written again, every half minute at most."""

    EVERY = 30.0

    def __init__(self, path: Path):
        self.path, self.name = path, str(path)
        self.text = path.read_text(encoding="utf-8") if path.exists() else ""
        self.saved = time.monotonic()

    def write(self, line: str) -> None:
        self.text += line

    def flush(self) -> None:
        if time.monotonic() - self.saved >= self.EVERY:
            self.save()

    def save(self) -> None:
        files.write_atomically(self.path, self.text.encode())
        self.saved = time.monotonic()

    def close(self) -> None:
        self.save()


def _tensorboard(workdir: Path):
    if importlib.util.find_spec("clu") is None or importlib.util.find_spec("tensorflow") is None:
        log.warning("clu or TensorFlow is not installed: metrics go to %s only, not to TensorBoard", NAME)
        return None
    from clu import metric_writers

    return metric_writers.AsyncWriter(metric_writers.SummaryWriter(str(workdir / "tensorboard")))


def describe_parameters(parameters: Mapping[str, Any]) -> str:
    """Logs a line with the size of each network; returns a table of all its parameters, '' without clu. The leaves are
    arrays or their shapes."""
    for name, tree in parameters.items():
        leaves = jax.tree.leaves(tree)
        count, size = sum(x.size for x in leaves), sum(x.size * x.dtype.itemsize for x in leaves)
        log.info("%s: %s parameters in %d arrays, %.1f MB", name, f"{count:,}", len(leaves), size / 1e6)
    if importlib.util.find_spec("clu") is None:
        return ""
    from clu import parameter_overview

    table = lambda tree: parameter_overview.get_parameter_overview(tree, include_stats=False)
    return "\n\n".join(f"{name}:\n{table(tree)}" for name, tree in parameters.items()) + "\n"


def evaluation_at(path: Path, step: int) -> dict[str, float]:
    """The evaluation that a metrics file has of `step`; {} if it has none."""
    rows = read_metrics(path) if path.exists() else []
    return {k: v for row in rows if row["step"] == step for k, v in row.items() if k.startswith("eval/")}


def keep_before(path: Path, step: int) -> None:
    """Drops the lines of `path` from `step` on, which the resumed run writes again, and those that are not whole."""
    if not path.exists():
        return
    kept = [json.dumps(row, sort_keys=True) for row in read_metrics(path) if row["step"] < step]
    files.write_atomically(path, "".join(line + "\n" for line in kept).encode())


def _row(line: str) -> dict:
    row = json.loads(line)
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        raise ValueError
    return row


def read_metrics(path: Path) -> list[dict]:
    """All whole lines of a metrics file; others, such as one that a killed run left unfinished, are said."""
    rows, damaged = [], []
    for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1):
        try:
            rows.append(_row(line))
        except (ValueError, RecursionError):
            damaged.append(str(number))
    if damaged:
        log.warning("%s: left out what is unfinished or damaged, line %s", path, ", ".join(damaged))
    return rows


class Progress:
    """A line on stderr with step, images/s and time left: rewritten on a terminal, every 10 s elsewhere."""

    def __init__(self, name: str, first_step: int, steps: int, images_per_step: int, unit: str = "images"):
        self.name, self.steps, self.images_per_step, self.unit = name, steps, images_per_step, unit
        self.terminal = sys.stderr.isatty()
        self.every = 0.5 if self.terminal else 10.0
        self.since = self.shown = time.monotonic()
        self.since_step = first_step
        self.rate = math.nan

    def update(self, step: int, values: Mapping[str, float], force: bool = False) -> None:
        """Shows the line when it is due."""
        now = time.monotonic()
        if not force and now - self.shown < self.every:
            return
        self.shown = now
        if step > self.since_step:
            self.rate = (step - self.since_step) / (now - self.since)
        left = _clock((self.steps - step) / self.rate) if self.rate > 0 else "--:--"
        numbers = "  ".join(f"{key.split('/')[-1]} {value:.3f}" for key, value in values.items())
        speed = "-" if math.isnan(self.rate) else _rounded(self.rate * self.images_per_step)
        line = f"{self.name} {step}/{self.steps}  {speed} {self.unit}/s  {left} left  {numbers}"
        width = os.get_terminal_size(sys.stderr.fileno()).columns - 1 if self.terminal else None
        print(
            "\r\x1b[K" + line[:width] if self.terminal else line,
            end="" if self.terminal else "\n",
            file=sys.stderr,
        )
        sys.stderr.flush()

    def restart_clock(self, step: int) -> None:
        """Leaves what happened so far (compilation, evaluation) out of the rate."""
        self.since, self.since_step = time.monotonic(), step

    def close(self) -> None:
        if self.terminal:
            print(file=sys.stderr)


def files_progress(name: str, unit: str = "images") -> Callable[[int, int], None]:
    """A callback (done, total) that shows a progress line of files, or of frames."""
    lines: list[Progress] = []

    def show(done: int, total: int) -> None:
        if not lines:
            lines.append(Progress(name, done, total, 1, unit))
        lines[0].update(done, {}, force=done == total)
        if done == total:
            lines[0].close()

    return show


def _rounded(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"

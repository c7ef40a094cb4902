"""The training loop, one for both stages: eval -> save -> next batch -> step -> log the previous step.

In this order state, data position and step always agree, so a run that is stopped anywhere continues bit for bit.
"""

import contextlib
import json
import logging
import math
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from smoothswap_jax import checkpoint, files, resuming, sharding, stages
from smoothswap_jax.data.photos import save_photo
from smoothswap_jax.runlog import Progress, RunLog

log = logging.getLogger(__name__)


class NotFiniteError(FloatingPointError):
    """A loss, gradient norm or evaluation became NaN or infinite."""


def train(config: Mapping[str, Any], workdir: str | Path, devices: int | None = None) -> dict[str, float]:
    """Trains, or resumes, the run in `workdir`; returns the last evaluation.

    Args:
      config: a config as plain nested dicts (see configs/).
      workdir: run directory; if it holds checkpoints, the run continues from the newest.
      devices: how many devices to use, all by default.

    Raises:
      NotFiniteError: naming the step, when a metric is NaN or infinite. Earlier checkpoints stay.
      ValueError: for a config, data or checkpoint that cannot be used.
    """
    workdir = Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    config = dict(json.loads(json.dumps(config)))  # as a checkpoint will give it back
    mesh = sharding.make_mesh(devices, config["mesh"]["fsdp"])
    sharding.check_batch(mesh, config["batch"])
    stage = stages.make_stage(config, mesh, workdir)
    keep = (config["keep"], config["keep_every_steps"], config["keep_best"])
    with contextlib.closing(checkpoint.open_manager(workdir, *keep)) as manager:
        current, first_step = _start(stage, config, manager)
        if sharding.is_main():
            files.write_atomically(workdir / "config.json", json.dumps(config, indent=2).encode())
        return _loop(stage, config, manager, workdir, current, first_step)


def _start(stage: stages.Stage, config: dict, manager) -> tuple[Any, int]:
    """The state and step to go on from: the newest checkpoint that is intact, else a fresh one."""
    newest = checkpoint.newest_intact(manager)
    if newest is None:
        return stage.init(), 0
    meta = checkpoint.read_meta(manager, newest)
    resuming.check_same_run(meta, config, stage.data, str(manager.directory))
    log.info("resuming %s at step %d", manager.directory, newest)
    return checkpoint.restore(manager, newest, stage.abstract), newest


def _loop(stage, config, manager, workdir: Path, current, first_step: int) -> dict[str, float]:
    steps, meta = config["steps"], {"config": config, "data": stage.data}
    run_log = RunLog(workdir, first_step, writes=sharding.is_main())
    progress = Progress(config["stage"], first_step, steps, stage.images_per_step)
    pending: tuple[int, dict] | None = None
    evaluation: dict[str, float] = {}

    def log_pending() -> None:
        """Reads the metrics of the step before, which the device has finished while the next one was sent."""
        nonlocal pending
        if pending is not None:
            step, values = pending[0], {k: float(v) for k, v in jax.device_get(pending[1]).items()}
            _check_finite(step, values)
            if step % config["log_steps"] == 0:
                run_log.metrics(step, values)
                run_log.speed(step, progress.rate * stage.images_per_step)
            progress.update(step + 1, {k: values[k] for k in stage.headline}, force=step == first_step)
            if step == first_step:
                progress.restart_clock(step + 1)
            pending = None

    with _stop_signal() as stop, contextlib.closing(stage.batches(first_step)) as batches:
        for step in range(first_step, steps + 1):
            last, due = step == steps, _due(config, step)
            stopping = stop.is_set() or sharding.preempted(step)
            if due["eval"] or due["images"] or due["checkpoint"] or last or stopping:
                log_pending()
            if due["eval"] or last:
                evaluation = stage.evaluate(current)
                _check_finite(step, evaluation)
                run_log.metrics(step, evaluation)
            if due["images"] or (last and config["log_images_steps"]):
                picture = stage.picture(current)  # by all processes
                if sharding.is_main():
                    _write_picture(picture, workdir, step, run_log)
            if due["checkpoint"] or last or stopping:
                checkpoint.save(manager, step, current, meta, evaluation if due["eval"] or last else None)
            if last or stopping:
                break
            batch = next(batches)
            with sharding.no_transfers():
                current, values = stage.step(step, current, batch)
            log_pending()
            pending = (step, values)
    checkpoint.finish(manager)
    run_log.close()
    progress.close()
    if step < steps:
        log.warning("stopped by a signal at step %d of %d; the same command resumes it", step, steps)
    return evaluation


def _due(config: dict, step: int) -> dict[str, bool]:
    """Which periodic jobs fall on a step. A checkpoint of step 0 would hold nothing worth keeping."""
    every = {
        "eval": config["eval_steps"],
        "images": config["log_images_steps"],
        "checkpoint": config["checkpoint_steps"],
    }
    due = {name: bool(period) and step % period == 0 for name, period in every.items()}
    return due | {"checkpoint": due["checkpoint"] and step > 0}


def _check_finite(step: int, values: Mapping[str, float]) -> None:
    bad = {name: value for name, value in values.items() if not math.isfinite(value)}
    if bad:
        raise NotFiniteError(f"step {step}: {bad}; the checkpoints before this step are intact")


def _write_picture(image: np.ndarray | None, workdir: Path, step: int, run_log: RunLog) -> None:
    if image is None:
        return
    (workdir / "images").mkdir(exist_ok=True)
    save_photo(workdir / "images" / f"{step:07d}.png", image)
    run_log.picture(step, "swaps", image)


@contextlib.contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM or SIGINT sets, so that the loop saves and ends; a second signal ends it at once. With
    several processes JAX takes SIGTERM and tells all of them (`sharding.preempted`)."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread() or jax.process_count() > 1:
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number, _frame):
        stop.set()
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

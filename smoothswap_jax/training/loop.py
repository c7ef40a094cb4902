"""The training loop, one for both stages: eval -> save -> next batch -> step -> log the previous step.

In this order state, data position and step always agree, so a run that is stopped anywhere continues bit for bit.
"""

import contextlib
import json
import logging
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from smoothswap_jax.config.parse import as_stored, parse
from smoothswap_jax.config.schema import EmbedderConfig, RunConfig, SwapperConfig
from smoothswap_jax.faces.photos import save_photo
from smoothswap_jax.runtime import checkpoint, files, metric_log, sharding
from smoothswap_jax.runtime.metric_log import Progress, RunLog
from smoothswap_jax.runtime.paths import on_disk, to_path
from smoothswap_jax.runtime.program_cache import keep_programs
from smoothswap_jax.runtime.stopping import Stopped, StopSignal, stop_signal
from smoothswap_jax.training import monitors, resume
from smoothswap_jax.training.checks import check_run
from smoothswap_jax.training.embedder_stage import embedder_stage
from smoothswap_jax.training.frozen_embedder import frozen_embedders, keep_copy
from smoothswap_jax.training.stage import Stage
from smoothswap_jax.training.swapper_stage import swapper_stage

log = logging.getLogger(__name__)


class NotFiniteError(FloatingPointError):
    """A loss, gradient norm, evaluation or parameter is NaN or infinite; `made_by` is the step that made it so."""

    def __init__(self, step: int, text: str, made_by: int | None = None):
        super().__init__(f"step {step}: {text}")
        self.step, self.text, self.made_by = step, text, step if made_by is None else made_by


def train(
    config: Mapping[str, Any] | EmbedderConfig | SwapperConfig,
    workdir: str | Path,
    devices: int | None = None,
    profile: tuple[int, int] | None = None,
) -> dict[str, float]:
    """Trains, or resumes, the run in `workdir`; returns the last evaluation.

    A run that has its steps already is left as it is, and a start that is refused leaves the folder as it was.

    Args:
      config: what `parse` or `load_config` gives (see configs/).
      workdir: run directory, which may lie in a bucket (gs://); if it holds checkpoints, the run continues from the
        newest.
      devices: how many devices to use, all by default.
      profile: (first step, number of steps) to write a trace of, for TensorBoard or Perfetto, to `workdir`/profile.

    Raises:
      Stopped: when SIGTERM or SIGINT came: the step that was reached is saved, and the same call goes on from there.
      ConfigError: for a config that cannot be used.
      NotFiniteError: when a metric or the state is NaN or infinite, naming the step, the arrays and the last good
        checkpoint. With `config.debug_nans` the step is run again and the operation named.
      ValueError: for data or a checkpoint that cannot be used.
    """
    config = parse(config) if isinstance(config, Mapping) else config
    check_run(config, devices or jax.device_count())
    workdir = to_path(workdir)
    if profile is not None:
        on_disk(workdir, "a run that is traced (JAX's profiler writes to the disk only)")
    resume.check_place(workdir, config.data.dir)
    keep_programs(config.compilation_cache)
    mesh = sharding.make_mesh(devices, config.mesh.fsdp)
    written = as_stored(config)
    with contextlib.ExitStack() as stack:
        begun = bool(sharding.broadcast_from_main(np.bool_((workdir / files.LOCK).exists())))
        if begun:
            _hold(workdir, stack)
        # Everything is checked before anything is written.
        before = resume.look(workdir)
        changes = resume.check_config(before, written, workdir)
        if before.found.step is not None and before.found.step >= config.steps:
            return _already_there(config, workdir, before)
        stage = make_stage(config, mesh, workdir, before.meta)
        resume.check_data(before, stage.data, workdir)
        meta = {"config": written, "data": stage.data}
        meta |= {name: embedder.record for name, embedder in stage.embedders.items()}
        fresh = stage.init() if before.meta is None and not before.found.broken else None
        if not begun:
            workdir.mkdir(parents=True, exist_ok=True)
            _hold(workdir, stack)
            if checkpoint.find_intact(workdir) != before.found:
                raise ValueError(f"{workdir}: another process has begun a run here; the same command resumes it")
        manager = checkpoint.open_manager(workdir, config.max_to_keep, config.keep_every_steps, config.keep_best)
        stack.callback(checkpoint.close, manager)
        checkpoint.set_aside(manager, before.found)
        current, first_step = _start(stage, before, changes, fresh, manager)
        _write_facts(stage, meta, workdir)
        try:
            return _loop(stage, config, meta, manager, workdir, current, first_step, profile)
        except NotFiniteError as error:
            checkpoint.finish(manager)
            operation = _rerun(stage, manager, error.made_by) if config.debug_nans else ""
            last = manager.latest_step()
            good = (
                f"the last good checkpoint is step {last}" if last is not None else "there is no checkpoint before it"
            )
            raise NotFiniteError(error.step, f"{error.text}{operation}; {good}", error.made_by) from error


def make_stage(
    config: EmbedderConfig | SwapperConfig, mesh, workdir: Path, before: Mapping[str, Any] | None = None
) -> Stage:
    """The stage that a config describes. Writes nothing.

    before: what was saved with the newest checkpoint in `workdir`.
    """
    if isinstance(config, EmbedderConfig):
        return embedder_stage(config, mesh, before)
    return swapper_stage(config, mesh, workdir, before)


def _hold(workdir: Path, stack: contextlib.ExitStack) -> None:
    if sharding.is_main():
        stack.enter_context(files.held(workdir))


def _already_there(config: EmbedderConfig | SwapperConfig, workdir: Path, before: resume.Before) -> dict[str, float]:
    """Says that the run has its steps already; returns the evaluation of its newest checkpoint."""
    if isinstance(config, SwapperConfig):
        frozen_embedders(config.embedder, workdir, before.meta)  # refuses another one
    step = before.found.step or 0
    log.log(
        logging.WARNING if step > config.steps else logging.INFO,
        "%s: already at step %d of %d: nothing is trained, and no file changed", workdir, step, config.steps,
    )  # fmt: skip
    return metric_log.evaluation_at(workdir / metric_log.NAME, step)


def _start(stage: Stage, before: resume.Before, changes: list[str], fresh: Any, manager) -> tuple[Any, int]:
    """The state and step to start at: the newest checkpoint that is intact, else the state `fresh`."""
    step = before.found.step
    if step is None:
        return fresh, 0
    for change in changes:
        log.warning("resuming with another value: %s", change)
    log.info("resuming %s at step %d", manager.directory, step)
    return checkpoint.restore(manager, step, stage.abstract), step


def _write_facts(stage: Stage, meta: dict, workdir: Path) -> None:
    """What a run directory holds besides the training itself: its config, its networks' parameters, its embedders."""
    for name, embedder in stage.embedders.items():
        keep_copy(embedder, workdir, name)
    if sharding.is_main():
        table = metric_log.describe_parameters(stage.parameters)
        if table:
            files.write_atomically(workdir / metric_log.PARAMETERS, table.encode())
        files.write_atomically(workdir / "config.json", json.dumps(meta["config"], indent=2).encode())


def _rerun(stage: Stage, manager, bad_step: int) -> str:
    """Continues from the newest checkpoint up to the step that failed and runs that one without jit; names the first
    operation that gives NaN or infinity, and where it is called."""
    newest = manager.latest_step()
    current = stage.init() if newest is None else checkpoint.restore(manager, newest, stage.abstract)
    for step, batch in enumerate(stage.batches(newest or 0), newest or 0):
        bad = step == bad_step
        try:
            with jax.debug_nans(bad), jax.debug_infs(bad), jax.disable_jit(bad):
                current, _ = stage.step(step, current, batch)
        except FloatingPointError as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [frame for frame in frames if f"{Path(__file__).parents[1]}/" in frame.filename] or frames
            return f"; run again, step {step} fails in {own[-1].filename}:{own[-1].lineno} ({own[-1].line}): {error}"
        if bad:
            break
    return f"; run again, step {bad_step} has no operation that gives NaN or infinity"


def _loop(
    stage: Stage, config: RunConfig, meta: dict, manager, workdir: Path, current, first_step: int, profile
) -> dict[str, float]:
    steps = config.steps
    run_log = RunLog(workdir, first_step, writes=sharding.is_main())
    progress = Progress(config.stage, first_step, steps, config.batch)
    pending: tuple[int, dict] | None = None
    evaluation: dict[str, float] = {}
    alarms, meter = monitors.Alarms(), monitors.InputMeter()

    def log_pending() -> None:
        """Reads the metrics of the previous step, which the device has finished while the next one was dispatched."""
        nonlocal pending
        if pending is not None:
            step, values = pending[0], {k: float(v) for k, v in jax.device_get(pending[1]).items()}
            _check_finite(step, values, current)
            alarms.look(step, values)
            if step % config.log_steps == 0:
                run_log.metrics(step, values)
                run_log.speed(step, progress.rate * config.batch, meter.share())
            if step == first_step:
                progress.restart_clock(step + 1)
            progress.update(step + 1, {k: values[k] for k in stage.headline}, force=step == first_step)
            pending = None

    with (
        _stop_signal() as stop,
        monitors.watchdog(config.watchdog_seconds) as alive,
        contextlib.closing(stage.batches(first_step)) as batches,
        _tracing(profile, workdir / "profile") as trace,
    ):
        for step in range(first_step, steps + 1):
            alive()
            trace(step)
            last, due = step == steps, _due(config, step)
            if sharding.preempted(step):
                stop.number = signal.SIGTERM
            stopping = stop.number is not None
            if due["eval"] or due["images"] or due["checkpoint"] or last or stopping:
                log_pending()
            if due["eval"] or last:
                _check_state(step, current)
                evaluation = stage.evaluate(current)
                _check_finite(step, evaluation, current)
                alarms.look(step, evaluation, last)
                run_log.metrics(step, evaluation)
            if due["images"] or (last and config.log_images_steps):
                picture = stage.picture(current)  # by all processes
                if sharding.is_main():
                    _write_picture(picture, workdir, step, run_log)
            if due["checkpoint"] or last or stopping:
                _check_state(step, current)
                run_log.save()
                checkpoint.save(manager, step, current, meta, evaluation if due["eval"] or last else None)
            if last or stopping:
                break
            with meter.waiting():
                batch = next(batches)
            with sharding.no_transfers(), jax.profiler.StepTraceAnnotation("train", step_num=step):
                current, values = stage.step(step, current, batch)
            log_pending()
            pending = (step, values)
        checkpoint.finish(manager)  # while a signal does not end the process
    run_log.close()
    progress.close()
    if stop.number is not None:
        raise Stopped(workdir, step, steps, stop.number)
    return evaluation


@contextlib.contextmanager
def _tracing(profile: tuple[int, int] | None, folder: Path) -> Iterator[Callable[[int], None]]:
    """Gives a function to call before each step: it starts and ends the trace."""
    running = False

    def trace(step: int) -> None:
        nonlocal running
        if profile is None or running == (profile[0] <= step < sum(profile)):
            return
        if running:
            jax.profiler.stop_trace()
            log.info("wrote the trace of steps %d to %d to %s", profile[0], step - 1, folder)
        else:
            jax.profiler.start_trace(str(folder))
        running = not running

    try:
        yield trace
    finally:
        if running:
            jax.profiler.stop_trace()


def _due(config: RunConfig, step: int) -> dict[str, bool]:
    """Which periodic jobs fall on a step. A checkpoint of step 0 would hold nothing worth saving."""
    every = {
        "eval": config.eval_steps,
        "images": config.log_images_steps,
        "checkpoint": config.checkpoint_steps,
    }
    due = {name: bool(period) and step % period == 0 for name, period in every.items()}
    return due | {"checkpoint": due["checkpoint"] and step > 0}


def _check_finite(step: int, values: Mapping[str, float], current) -> None:
    if bad := monitors.nonfinite_values(values):
        raise NotFiniteError(step, f"{bad}{_named_arrays(current)}")


def _check_state(step: int, current) -> None:
    """Refuses to save a state with NaN or infinite parameters, optimiser states or averages."""
    if words := _named_arrays(current):
        raise NotFiniteError(step, words.removeprefix("; "), made_by=step - 1)


def _named_arrays(current) -> str:
    paths = monitors.nonfinite_paths(current)
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return f"; not finite: {', '.join(paths[:5])}{more}" if paths else ""


def _write_picture(image: np.ndarray | None, workdir: Path, step: int, run_log: RunLog) -> None:
    if image is None:
        return
    (workdir / "images").mkdir(exist_ok=True)
    with files.local_file(workdir / "images" / f"{step:07d}.png") as file:
        save_photo(file, image)
    run_log.picture(step, "swaps", image)


def _stop_signal() -> contextlib.AbstractContextManager[StopSignal]:
    """With several processes JAX takes SIGTERM and tells all of them (`sharding.preempted`)."""
    return stop_signal() if jax.process_count() == 1 else contextlib.nullcontext(StopSignal())

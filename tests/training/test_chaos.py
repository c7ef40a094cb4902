"""Twenty kills at random moments, while training, in the middle of saves and shortly after them, change nothing."""

import signal

import jax
import numpy as np
import pytest

from smoothswap_jax.runtime import checkpoint, metric_log
from tests import tiny_runs

KILLS, STEPS, EVERY = 20, 200, 5
LATER = """
import os, signal, threading
from smoothswap_jax.runtime import checkpoint
original = checkpoint.save
def killed(*args):
    original(*args)
    if args[1] >= {step}:
        threading.Timer({delay}, os.kill, (os.getpid(), signal.SIGKILL)).start()
checkpoint.save = killed
"""


def accident(rng: np.random.Generator, newest: int) -> str:
    """Python that kills its process within the next steps."""
    kind = rng.integers(3)
    next_save = newest + EVERY
    if kind == 0:  # between saves
        step = newest + int(rng.integers(1, EVERY + 5))
        return tiny_runs.KILL.format(
            module="runtime.metric_log", function="RunLog.metrics", step=step, signal="SIGKILL"
        )
    if kind == 1:  # in a save, whose files a thread is writing
        return tiny_runs.KILL.format(module="runtime.checkpoint", function="save", step=next_save, signal="SIGKILL")
    return LATER.format(step=next_save, delay=float(rng.uniform(0, 0.1)))  # in it, or shortly after


@pytest.mark.slow
def test_twenty_random_kills_end_with_the_metrics_and_state_of_a_calm_run(people, tmp_path):
    fields = {"steps": STEPS, "checkpoint_steps": EVERY, "eval_steps": 40, "log_images_steps": 0, "max_to_keep": 3}
    arguments = [a for a in tiny_runs.overrides("embedder", people, **fields) if "log_images" not in a]
    calm, chaos = tmp_path / "calm", tmp_path / "chaos"
    assert tiny_runs.run_train("embedder", calm, arguments).returncode == 0
    rng = np.random.default_rng(0)
    for _ in range(KILLS):
        done = tiny_runs.run_train("embedder", chaos, arguments, prelude=accident(rng, tiny_runs.newest_step(chaos)))
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    done = tiny_runs.run_train("embedder", chaos, arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (chaos / metric_log.NAME).read_bytes() == (calm / metric_log.NAME).read_bytes()
    assert not (chaos / "broken").exists()
    states = [checkpoint.load_parts(run, ("params", "batch_stats", "optimizer"))[0] for run in (calm, chaos)]
    jax.tree.map(np.testing.assert_array_equal, *states)

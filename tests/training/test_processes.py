"""Training with several processes is the same training: losses, stops and resumption on other numbers of them."""

import functools
import shutil
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from smoothswap_jax.runtime import checkpoint, metric_log
from smoothswap_jax.training import loop as train_lib
from tests import tiny_runs
from tests.tiny_runs import NO_TENSORBOARD, rows

SGD = {"name": "sgd", "learning_rate": 0.002, "warmup_steps": 0, "schedule": "constant"}
CALM = {
    "embedder": {f"optimizer.{field}": value for field, value in SGD.items()} | {"objective.temperature": 1.0},
    "swapper": {f"{part}_optimizer.{field}": value for part in ("generator", "discriminator")
                for field, value in SGD.items()} | {"objective.identity_warmup_steps": 0},
}  # fmt: skip
"""Problems whose training does not enlarge rounding and does not depend on how many steps follow. Adam's first steps
turn the rounding of a near-zero gradient into a full step; the contrastive loss at temperature 0.07, with eight faces a
batch, makes a hundredth of it in ten steps."""


QUIET = {number: NO_TENSORBOARD for number in range(4)}
PARTS = {"embedder": ("params", "batch_stats"), "swapper": ("generator", "generator_ema")}


def ended_well(processes):
    for process in processes:
        assert process.returncode == 0, process.stderr[-3000:]


def agree(found: list[dict], wanted: list[dict], **tolerance):
    """The two runs' lines have the same steps and numbers."""
    assert [row.keys() for row in found] == [row.keys() for row in wanted]
    for a, b in zip(found, wanted, strict=True):
        for key in a:
            assert a[key] == pytest.approx(b[key], **tolerance), f"step {a['step']}: {key}"


@pytest.mark.parametrize(
    "stage, devices",
    [
        ("embedder", [1, 1]),
        pytest.param("embedder", [1, 1, 1, 1], marks=pytest.mark.slow),
        pytest.param("swapper", [2, 2], marks=pytest.mark.slow),
        pytest.param("swapper", [1, 1, 1, 1], marks=pytest.mark.slow),
    ],
)
def test_several_processes_train_as_one_does(stage, devices, people, embedder, tmp_path):
    fields = {"data.feed": "tf", "mesh.fsdp": 2, **CALM[stage]}
    train_lib.train(tiny_runs.config(stage, people, embedder, steps=4, **fields), tmp_path / "one", devices=2)
    arguments = tiny_runs.overrides(stage, people, embedder, steps=4, **fields)
    ended_well(tiny_runs.run_processes(stage, tmp_path / "several", arguments, devices))
    agree(rows(tmp_path / "several"), rows(tmp_path / "one"), rel=2e-4, abs=1e-4)
    assert len(list((tmp_path / "several" / "tensorboard").iterdir())) == 1  # the first process alone writes


LONG = {"steps": 40, "eval_steps": 0, "checkpoint_steps": 0}
"""Long enough for a signal to reach all processes before the end."""


@pytest.fixture(scope="module")
def calm(people, embedder, tmp_path_factory):
    """Runs of two processes that nothing disturbs, trained when a stage is first asked for."""

    @functools.cache
    def run(stage: str) -> Path:
        found = tmp_path_factory.mktemp("calm") / stage
        arguments = tiny_runs.overrides(stage, people, embedder, **LONG, **CALM[stage])
        ended_well(tiny_runs.run_processes(stage, found, arguments, [1, 1], QUIET))
        return found

    return run


@pytest.mark.parametrize("stage", ["embedder", pytest.param("swapper", marks=pytest.mark.slow)])
def test_sigterm_to_one_saves_the_same_step_in_all_and_the_run_goes_on_as_any_other(
    stage, calm, people, embedder, tmp_path
):
    fields = {**LONG, **CALM[stage]}
    arguments = tiny_runs.overrides(stage, people, embedder, **fields)
    run = tmp_path / "run"
    stopped = tiny_runs.run_processes(
        stage, run, arguments, [1, 1], QUIET | {1: NO_TENSORBOARD + stopped_at(3, "SIGTERM")}
    )
    ended_well(stopped)
    assert all("stopped by a signal at step" in process.stderr for process in stopped)
    (saved,) = (int(path.name) for path in (run / "checkpoints").iterdir())
    assert 3 <= saved < 40
    for name in ("two", "eight"):
        shutil.copytree(run, tmp_path / name)
    ended_well(tiny_runs.run_processes(stage, run, arguments, [1, 1], QUIET))
    assert (run / metric_log.NAME).read_bytes() == (calm(stage) / metric_log.NAME).read_bytes()
    names = PARTS[stage]
    jax.tree.map(np.testing.assert_array_equal, *(checkpoint.load_parts(path, names)[0] for path in (calm(stage), run)))
    # On other meshes sums round otherwise, and sooner or later an activation falls on the other side of 0, from where
    # on gradients differ by one unit's share: eight steps more, not all.
    for name, devices in (("two", 2), ("eight", 8)):
        config = tiny_runs.config(stage, people, embedder, **fields | {"steps": saved + 8})
        train_lib.train(config, tmp_path / name, devices=devices)
        short = [row for row in rows(tmp_path / name) if not any(key.startswith("eval/") for key in row)]
        agree(short, rows(run)[: len(short)], rel=2e-4, abs=1e-4)
    two, eight = (checkpoint.load_parts(tmp_path / name, names)[0] for name in ("two", "eight"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), two, eight)


@pytest.mark.slow
def test_sigkill_of_one_ends_all_and_the_run_goes_on(calm, people, embedder, tmp_path):
    fields = LONG | CALM["embedder"] | {"checkpoint_steps": 15}
    arguments, run = tiny_runs.overrides("embedder", people, **fields), tmp_path / "run"
    killed = QUIET | {1: NO_TENSORBOARD + stopped_at(20, "SIGKILL")}
    died = tiny_runs.run_processes("embedder", run, arguments, [1, 1], killed)
    assert died[1].returncode == -signal.SIGKILL and died[0].returncode != 0
    ended_well(tiny_runs.run_processes("embedder", run, arguments, [1, 1], QUIET))
    assert (run / metric_log.NAME).read_bytes() == (calm("embedder") / metric_log.NAME).read_bytes()


def stopped_at(step: int, name: str) -> str:
    """Python that sends its process the signal `name` when the metrics of a step have been checked."""
    text = tiny_runs.KILL.format(module="training.loop", function="_check_finite", step=step, signal=name)
    return text.replace(f"args[1] == {step}", f"args[0] == {step}")

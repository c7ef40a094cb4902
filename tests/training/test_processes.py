"""Training with several processes is the same training: losses, stops and resumption on other numbers of them."""

import shutil
import signal

import jax
import numpy as np
import pytest

from smoothswap_jax.runtime import checkpoint, metric_log
from smoothswap_jax.training import loop as train_lib
from tests import tiny_runs
from tests.tiny_runs import NO_TENSORBOARD, rows

CALM = {
    "embedder": {"optimizer.name": "sgd", "optimizer.learning_rate": 0.002, "objective.temperature": 1.0},
    "swapper": {
        f"{part}_optimizer.{field}": value
        for part in ("generator", "discriminator")
        for field, value in (("name", "sgd"), ("learning_rate", 0.002))
    },
}
"""Problems whose training does not enlarge rounding. Adam's first steps turn that of a near-zero gradient into a full
step; the contrastive loss at temperature 0.07, with eight faces a batch, makes a hundredth of it in ten steps."""


QUIET = {number: NO_TENSORBOARD for number in range(4)}
PARTS = {"embedder": ("params", "batch_stats"), "swapper": ("generator", "generator_ema")}


def ended_well(processes):
    for process in processes:
        assert process.returncode == 0, process.stderr[-3000:]


def agree(run, other, **tolerance):
    """The two runs logged the same steps and numbers."""
    found, wanted = rows(run), rows(other)
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
    arguments = tiny_runs.overrides(stage, people, embedder, steps=4, **fields)
    ended_well([tiny_runs.run_train(stage, tmp_path / "one", arguments, NO_TENSORBOARD)])
    ended_well(tiny_runs.run_processes(stage, tmp_path / "several", arguments, devices))
    agree(tmp_path / "several", tmp_path / "one", rel=2e-4, abs=1e-4)
    assert len(list((tmp_path / "several" / "tensorboard").iterdir())) == 1  # the first process alone writes


@pytest.mark.parametrize("stage", ["embedder", pytest.param("swapper", marks=pytest.mark.slow)])
def test_sigterm_to_one_saves_the_same_step_in_all_and_the_run_goes_on_as_any_other(stage, people, embedder, tmp_path):
    fields = {"checkpoint_steps": 0, "steps": 40, "eval_steps": 0, **CALM[stage]}
    arguments = tiny_runs.overrides(stage, people, embedder, **fields)
    calm = tmp_path / "calm"
    ended_well(tiny_runs.run_processes(stage, calm, arguments, [1, 1], QUIET))
    terminated = tiny_runs.KILL.format(
        module="training.loop", function="_check_finite", step=3, signal="SIGTERM"
    ).replace("args[1] == 3", "args[0] == 3")
    run = tmp_path / "run"
    stopped = tiny_runs.run_processes(stage, run, arguments, [1, 1], QUIET | {1: NO_TENSORBOARD + terminated})
    ended_well(stopped)
    assert all("stopped by a signal at step" in process.stderr for process in stopped)
    (saved,) = (int(path.name) for path in (run / "checkpoints").iterdir())
    assert 3 <= saved < 40
    for name in ("again", "short", "alone", "eight"):
        shutil.copytree(run, tmp_path / name)
    ended_well(tiny_runs.run_processes(stage, tmp_path / "again", arguments, [1, 1], QUIET))
    assert (tmp_path / "again" / metric_log.NAME).read_bytes() == (calm / metric_log.NAME).read_bytes()
    # On other meshes sums round otherwise, and sooner or later an activation falls on the other side of 0, from where
    # on gradients differ by one unit's share: eight steps more, not all.
    fields["steps"] = saved + 8
    arguments = tiny_runs.overrides(stage, people, embedder, **fields)
    ended_well(tiny_runs.run_processes(stage, tmp_path / "short", arguments, [1, 1], QUIET))
    ended_well([tiny_runs.run_train(stage, tmp_path / "alone", arguments, NO_TENSORBOARD)])
    train_lib.train(tiny_runs.config(stage, people, embedder, **fields), tmp_path / "eight", devices=8)
    parts = {name: checkpoint.load_parts(tmp_path / name, PARTS[stage])[0] for name in
             ("calm", "again", "short", "alone", "eight")}  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, parts["calm"], parts["again"])
    for name in ("alone", "eight"):
        agree(tmp_path / name, tmp_path / "short", rel=2e-4, abs=1e-4)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), parts["short"], parts[name])


def test_sigkill_of_one_ends_all_and_the_run_goes_on(people, embedder, tmp_path):
    arguments = tiny_runs.overrides("embedder", people, checkpoint_steps=2, **CALM["embedder"])
    calm, run = tmp_path / "calm", tmp_path / "run"
    ended_well(tiny_runs.run_processes("embedder", calm, arguments, [1, 1], QUIET))
    killed = tiny_runs.KILL.format(module="training.loop", function="_check_finite", step=4, signal="SIGKILL").replace(
        "args[1] == 4", "args[0] == 4"
    )
    died = tiny_runs.run_processes("embedder", run, arguments, [1, 1], QUIET | {1: NO_TENSORBOARD + killed})
    assert died[1].returncode == -signal.SIGKILL and died[0].returncode != 0
    ended_well(tiny_runs.run_processes("embedder", run, arguments, [1, 1], QUIET))
    assert (run / metric_log.NAME).read_bytes() == (calm / metric_log.NAME).read_bytes()

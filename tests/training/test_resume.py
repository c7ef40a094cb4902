"""Resuming is exact after any kind of stop, and refused for another run."""

import shutil
import signal

import jax
import numpy as np
import pytest

from smoothswap_jax.config.parse import parse
from smoothswap_jax.runtime import checkpoint, files, metric_log, sharding
from smoothswap_jax.runtime.checkpoint import CheckpointError
from smoothswap_jax.training import loop as train_lib
from smoothswap_jax.training.loop import make_stage
from smoothswap_jax.training.resume import ResumeError
from tests import tiny_runs
from tests.tiny_runs import NO_TENSORBOARD

BETWEEN_SAVES = tiny_runs.KILL.format(module="runtime.metric_log", function="RunLog.metrics", step=3, signal="SIGKILL")
# save() returns while a background thread still writes the files.
IN_MID_SAVE = tiny_runs.KILL.format(module="runtime.checkpoint", function="save", step=4, signal="SIGKILL")
NO_TENSORFLOW = "import sys\nfor name in ('tensorflow', 'tensorflow_datasets', 'clu'):\n    sys.modules[name] = None\n"
TERMINATED = tiny_runs.KILL.format(module="runtime.metric_log", function="RunLog.metrics", step=3, signal="SIGTERM")


@pytest.mark.parametrize("stage", ["embedder", "swapper"])
def test_a_killed_run_resumes_to_the_same_metrics_and_state(stage, people, embedder, swapper, tmp_path):
    arguments = tiny_runs.overrides(stage, people, embedder)
    calm, killed = {"embedder": embedder, "swapper": swapper}[stage], tmp_path / "killed"
    for accident in (BETWEEN_SAVES, IN_MID_SAVE)[stage == "swapper" :]:  # which is slow to start
        died = tiny_runs.run_train(stage, killed, arguments, prelude=NO_TENSORBOARD + accident)
        assert died.returncode == -signal.SIGKILL, died.stderr
    assert max(int(p.name) for p in (killed / "checkpoints").iterdir() if p.name.isdigit()) < 6
    train_lib.train(tiny_runs.config(stage, people, embedder), killed, devices=2)
    assert (killed / metric_log.NAME).read_bytes() == (calm / metric_log.NAME).read_bytes()
    assert [row["step"] for row in tiny_runs.rows(calm) if "train/gradient_norm" in row or "train/g_loss" in row] == [
        *range(6)
    ]
    names = ("params", "batch_stats", "optimizer") if stage == "embedder" else ("generator", "generator_ema")
    states = [checkpoint.load_parts(run, names)[0] for run in (calm, killed)]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_sigterm_saves_at_once_and_the_run_continues_bit_for_bit(people, embedder, swapper, tmp_path):
    """Without TensorFlow, which training from memory does not need."""
    fields = {"checkpoint_steps": 0}
    arguments = tiny_runs.overrides("swapper", people, embedder, **fields)
    stopped = tiny_runs.run_train("swapper", tmp_path / "run", arguments, prelude=NO_TENSORFLOW + TERMINATED)
    assert stopped.returncode == 0, stopped.stderr
    assert "stopped by a signal at step" in stopped.stderr and "clu or TensorFlow is not installed" in stopped.stderr
    saved = [int(p.name) for p in (tmp_path / "run" / "checkpoints").iterdir()]
    assert len(saved) == 1 and 3 <= saved[0] < 6
    train_lib.train(tiny_runs.config("swapper", people, embedder, **fields), tmp_path / "run", devices=2)
    steps = lambda run: [row for row in tiny_runs.rows(run) if "train/g_loss" in row]
    assert steps(tmp_path / "run") == steps(swapper)


def test_two_runs_in_one_folder_are_refused(people, tmp_path):
    config = tiny_runs.config("embedder", people, steps=0)
    with files.held(tmp_path), pytest.raises(ValueError, match="another process is using it"):
        train_lib.train(config, tmp_path)
    train_lib.train(config, tmp_path)
    train_lib.train(config, tmp_path)  # the first let go of it


def test_a_run_is_not_resumed_as_another_run(people, tmp_path, caplog):
    """Fields of model and data are refused, all of them listed; others are allowed, and said."""
    first = tiny_runs.config("embedder", people, steps=1)
    train_lib.train(first, tmp_path, devices=1)
    other = tiny_runs.config("embedder", people, steps=2, seed=3, **{"embedder.dim": 12})
    with pytest.raises(ResumeError, match=r"config.embedder.dim was 8 and is 12; config.seed was 0 and is 3; wanted"):
        train_lib.train(other, tmp_path, devices=1)
    fewer = shutil.copytree(people, tmp_path / "people")
    shutil.rmtree(fewer / "person0")
    with pytest.raises(ResumeError, match="the data have 21 examples and had 24; the data have 7 people and had 8"):
        train_lib.train(tiny_runs.config("embedder", fewer, steps=2), tmp_path, devices=1)
    hardened = {"objective.transform.shift": 0.25, "objective.adversarial_steps": 1}
    said = r"config.objective.adversarial_steps was 0 and is 1; config.objective.transform.shift was 0.0 and is 0.25"
    with pytest.raises(ResumeError, match=f"{said}; wanted the same"):
        train_lib.train(tiny_runs.config("embedder", people, steps=2, **hardened), tmp_path, devices=1)
    caplog.clear()
    moved = shutil.copytree(people, tmp_path / "moved")
    train_lib.train(tiny_runs.config("embedder", moved, steps=2, **{"optimizer.b1": 0.8}), tmp_path, devices=2)
    assert "resuming with another value: config.optimizer.b1 was" in caplog.text and "data.dir" not in caplog.text
    assert tiny_runs.rows(tmp_path)[-1]["step"] == 2


def test_a_run_whose_config_leaves_out_a_field_of_a_network_is_resumed(people, embedder, tmp_path, caplog):
    """As runs do whose config file is older than the field."""
    config = tiny_runs.config("swapper", people, embedder, steps=0)
    del config["generator"]["injection"]
    train_lib.train(config, tmp_path, devices=2)
    train_lib.train(config, tmp_path, devices=2)
    assert "resuming with another value" not in caplog.text


def test_a_checkpoint_whose_networks_do_not_fit_is_refused(people, tmp_path):
    config = tiny_runs.config("embedder", people, steps=1)
    train_lib.train(config, tmp_path, devices=1)
    stage = make_stage(
        parse(tiny_runs.config("embedder", people, **{"embedder.dim": 12})), sharding.make_mesh(1), tmp_path
    )
    manager = checkpoint.open_manager(tmp_path)
    with pytest.raises(CheckpointError, match="does not fit this config's networks"):
        checkpoint.restore(manager, 1, stage.abstract)
    manager.close()

"""The loop: exact resume after any kind of stop, clear aborts. (test_train_meshes.py: the same on any devices.)"""

import contextlib
import errno
import json
import logging
import re
import shutil
import signal
import subprocess

import jax
import numpy as np
import pytest

from smoothswap_jax.cli.main import main
from smoothswap_jax.config import ConfigError
from smoothswap_jax.faces.photos import load_photo, save_photo
from smoothswap_jax.inference import restore
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.runtime import checkpoint, files, metric_log, sharding
from smoothswap_jax.runtime.checkpoint import CheckpointError
from smoothswap_jax.training import frozen_embedder
from smoothswap_jax.training import loop as train_lib
from smoothswap_jax.training import networks as networks_lib
from smoothswap_jax.training.loop import make_stage
from smoothswap_jax.training.resume import ResumeError
from smoothswap_jax.weights import network_folder
from smoothswap_jax.weights.kinds import import_network
from smoothswap_jax.weights.source import WeightMismatch
from tests import tiny_runs


def rows(run):
    return metric_log.read_metrics(run / metric_log.NAME)


KILL = """
import os, signal
from smoothswap_jax import {module} as module
original = module.{function}
def killed(*args):
    original(*args)
    if args[1] == {step}:
        os.kill(os.getpid(), signal.{signal})
module.{function} = killed
"""
BETWEEN_SAVES = KILL.format(module="runlog", function="RunLog.metrics", step=3, signal="SIGKILL")
# save() returns while a background thread still writes the files.
IN_MID_SAVE = KILL.format(module="checkpoint", function="save", step=4, signal="SIGKILL")
TERMINATED = KILL.format(module="runlog", function="RunLog.metrics", step=3, signal="SIGTERM")


@pytest.mark.parametrize("stage", ["embedder", "swapper"])
def test_a_killed_run_resumes_to_the_same_metrics_and_state(stage, people, embedder, tmp_path):
    arguments = tiny_runs.overrides(stage, people, embedder)
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    done = tiny_runs.run_train(stage, calm, arguments)
    assert done.returncode == 0, done.stderr
    for accident in (BETWEEN_SAVES, IN_MID_SAVE):
        died = tiny_runs.run_train(stage, killed, arguments, prelude=accident)
        assert died.returncode == -signal.SIGKILL, died.stderr
    assert max(int(p.name) for p in (killed / "checkpoints").iterdir() if p.name.isdigit()) < 6
    resumed = tiny_runs.run_train(stage, killed, arguments)
    assert resumed.returncode == 0, resumed.stderr
    assert (killed / metric_log.NAME).read_bytes() == (calm / metric_log.NAME).read_bytes()
    assert [row["step"] for row in rows(calm) if "train/gradient_norm" in row or "train/g_loss" in row] == [*range(6)]
    names = ("params", "batch_stats", "optimizer") if stage == "embedder" else ("generator", "generator_ema")
    states = [checkpoint.load_parts(run, names)[0] for run in (calm, killed)]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_sigterm_saves_at_once_and_the_run_continues_bit_for_bit(people, embedder, tmp_path):
    arguments = tiny_runs.overrides("swapper", people, embedder, checkpoint_steps=0)
    stopped = tiny_runs.run_train("swapper", tmp_path / "run", arguments, prelude=TERMINATED)
    assert stopped.returncode == 0, stopped.stderr
    assert "stopped by a signal at step" in stopped.stderr
    saved = [int(p.name) for p in (tmp_path / "run" / "checkpoints").iterdir()]
    assert len(saved) == 1 and 3 <= saved[0] < 6
    assert tiny_runs.run_train("swapper", tmp_path / "run", arguments).returncode == 0
    assert tiny_runs.run_train("swapper", tmp_path / "calm", arguments).returncode == 0
    steps = lambda run: [row for row in rows(tmp_path / run) if "train/g_loss" in row]
    assert steps("run") == steps("calm")


def test_a_run_writes_config_metrics_pictures_and_a_copy_of_its_embedder(people, embedder, tmp_path):
    evaluation = train_lib.train(tiny_runs.config("swapper", people, embedder), tmp_path, devices=1)
    assert {p.name for p in (tmp_path / "images").iterdir()} == {f"{s:07d}.png" for s in (0, 3, 6)}
    assert json.loads((tmp_path / "config.json").read_text())["generator"]["nf"] == 8
    assert list((tmp_path / "tensorboard").iterdir())
    assert rows(tmp_path)[0]["eval/cosine_to_target"] == pytest.approx(1.0)  # G(x, z) == x before training
    assert rows(tmp_path)[-1]["eval/cosine_to_source"] == evaluation["eval/cosine_to_source"]
    original, copy = frozen_embedder.load_embedder(embedder), frozen_embedder.load_embedder(tmp_path / "embedder")
    assert original[0] == copy[0]
    jax.tree.map(np.testing.assert_array_equal, original[1], copy[1])


def test_the_frozen_embedder_is_the_trained_one_and_the_average_is_served(people, embedder, tmp_path):
    train_lib.train(tiny_runs.config("swapper", people, embedder), tmp_path, devices=1)
    found = restore.restore_swapper(tmp_path)
    swap, size = restore.swap_function(found), found.size
    images = np.random.default_rng(0).uniform(-1, 1, (2, size, size, 3)).astype(np.float32)
    parts, meta, step = checkpoint.load_parts(tmp_path, ("generator", "generator_ema"))
    networks, _ = networks_lib.swapper_networks(meta["config"], frozen_embedder.load_embedder(embedder)[0])
    z = networks.embed(frozen_embedder.load_embedder(embedder)[1], images[:1])
    outputs = {name: networks.generate(parts[name], images[1:], z) for name in parts}
    np.testing.assert_allclose(swap(images[:1], images[1:]), outputs["generator_ema"], atol=1e-5)
    assert np.abs(outputs["generator"] - outputs["generator_ema"]).max() > 1e-4
    assert step == 6
    swapper = Swapper.load(tmp_path)
    assert swapper.size == size
    np.testing.assert_allclose(
        swapper.generate_aligned(images[1:], swapper.embed_aligned(images[:1])), outputs["generator_ema"], atol=1e-5
    )


def test_the_command_line_swaps_a_face_in_a_photo(people, embedder, tmp_path, capsys):
    astronaut = pytest.importorskip("skimage.data").astronaut()
    pytest.importorskip("cv2")
    strong = {"generator_optimizer.learning_rate": 0.03}  # six steps must show in eight bits
    train_lib.train(tiny_runs.config("swapper", people, embedder, **strong), tmp_path / "run", devices=1)
    photo, out = tmp_path / "a.png", tmp_path / "out.png"
    save_photo(photo, astronaut)
    arguments = ["swap", f"--checkpoint={tmp_path / 'run'}", f"--source={photo}", f"--output={out}"]
    assert main([*arguments, f"--target={photo}"]) == 0
    swapped = load_photo(out)
    assert swapped.shape == astronaut.shape and np.any(swapped != astronaut)
    np.testing.assert_array_equal(swapped[300:], astronaut[300:])  # her face ends far above
    assert main([*arguments, f"--target={tmp_path / 'missing.jpg'}"]) == 1
    assert "missing.jpg" in capsys.readouterr().err


def test_nan_stops_the_run_naming_the_step_and_keeps_earlier_checkpoints(people, tmp_path):
    config = tiny_runs.config("embedder", people, **{"optimizer.learning_rate": 1e30, "optimizer.warmup_steps": 0})
    with pytest.raises(train_lib.NotFiniteError) as caught:
        train_lib.train(config | {"checkpoint_steps": 1}, tmp_path, devices=1)
    saved = [int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()]
    said = str(caught.value)
    assert saved and f"the last good checkpoint is step {max(saved)}" in said
    assert re.match(r"step \d: .*not finite: .*(params|optimizer)/.* more", said)
    parts, *_ = checkpoint.load_parts(tmp_path, ("params",))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(parts))  # what is not finite is never saved
    with pytest.raises(train_lib.NotFiniteError, match=r"run again, step \d fails in .*/smoothswap_jax/.*\.py:\d+ \("):
        train_lib.train(config | {"debug_nans": True}, tmp_path, devices=1)


@pytest.mark.parametrize(
    "fields, error, message",
    [
        ({"embedder.norm": "bach"}, ValueError, "norm is 'bach'"),
        ({"embedder.dtype": "float8"}, ConfigError, "config.embedder.dtype is 'float8'"),
        ({"objective.kind": "triplet"}, ValueError, "triplet"),
        ({"optimizer.name": "lion"}, ConfigError, "'lion'"),
        ({"optimizer.schedule": "step"}, ConfigError, "'step'"),
        ({"data.kind": "lmdb"}, ConfigError, "config.data.kind is 'lmdb'"),
        ({"data.feed": "disk"}, ConfigError, "config.data.feed is 'disk'"),
        ({"batch": 6}, ValueError, "batch size 6 is not a multiple of the mesh's 4 devices"),
        ({"grad_accum_steps": 4}, ConfigError, "config.grad_accum_steps is 4; wanted a divisor of the 2 rows"),
    ],
)
def test_unusable_config_values_are_named(fields, error, message, people, tmp_path):
    with pytest.raises(error, match=message):
        train_lib.train(tiny_runs.config("embedder", people, **fields), tmp_path, devices=4)


def test_two_runs_in_one_folder_are_refused(people, tmp_path):
    config = tiny_runs.config("embedder", people, steps=0)
    with files.held(tmp_path), pytest.raises(ValueError, match="another process is at work in it"):
        train_lib.train(config, tmp_path)
    train_lib.train(config, tmp_path)
    train_lib.train(config, tmp_path)  # the first let go of it


def test_an_unknown_stage_is_named(people, tmp_path):
    with pytest.raises(ConfigError, match="is 'judge'"):
        train_lib.train(tiny_runs.config("embedder", people) | {"stage": "judge"}, tmp_path, devices=1)


def test_a_swapper_needs_a_run_of_an_embedder(people, embedder, tmp_path):
    with pytest.raises(ConfigError, match=r"config.embedder.checkpoint is not set"):
        train_lib.train(tiny_runs.config("swapper", people) | {"embedder": {"checkpoint": None}}, tmp_path, devices=1)
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        train_lib.train(tiny_runs.config("swapper", people, tmp_path / "no"), tmp_path / "a", devices=1)


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
    caplog.clear()
    moved = shutil.copytree(people, tmp_path / "moved")
    train_lib.train(tiny_runs.config("embedder", moved, steps=2, **{"optimizer.b1": 0.8}), tmp_path, devices=2)
    assert "resuming with another value: config.optimizer.b1 was" in caplog.text and "data.dir" not in caplog.text
    assert rows(tmp_path)[-1]["step"] == 2


def test_a_checkpoint_whose_networks_do_not_fit_is_refused(people, tmp_path):
    config = tiny_runs.config("embedder", people, steps=1)
    train_lib.train(config, tmp_path, devices=1)
    stage = make_stage(tiny_runs.config("embedder", people, **{"embedder.dim": 12}), sharding.make_mesh(1), tmp_path)
    manager = checkpoint.open_manager(tmp_path)
    with pytest.raises(CheckpointError, match="does not fit this config's networks"):
        checkpoint.restore(manager, 1, stage.abstract)
    manager.close()


@pytest.mark.parametrize("spoil", ["truncate", "change", "remove"])
def test_a_broken_newest_checkpoint_is_told_and_the_one_before_is_used(spoil, people, tmp_path, caplog):
    config = tiny_runs.config("embedder", people)
    train_lib.train(config, tmp_path / "calm", devices=1)
    run = shutil.copytree(tmp_path / "calm", tmp_path / "run")
    victim = max((run / "checkpoints" / "6" / "state").rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
    content = victim.read_bytes()
    spoilt = {"truncate": content[:-7], "change": content[:-1] + bytes([content[-1] ^ 1])}
    victim.write_bytes(spoilt[spoil]) if spoil in spoilt else victim.unlink()
    said = {"truncate": "bytes, wanted", "change": "its SHA-256 is not", "remove": "found no such file"}[spoil]
    with pytest.raises(CheckpointError, match=rf"checkpoint 6 is broken .*{said}.*; others here: \[2, 4\]"):
        checkpoint.load_parts(run, ("params",))
    with caplog.at_level(logging.INFO):
        train_lib.train(config, run, devices=1)
    assert "checkpoint 6 is broken" in caplog.text and said in caplog.text and "at step 4" in caplog.text
    assert (run / "broken" / "6.0" / "state").is_dir()
    assert (run / metric_log.NAME).read_bytes() == (tmp_path / "calm" / metric_log.NAME).read_bytes()
    states = [checkpoint.load_parts(tmp_path / name, ("params", "optimizer"))[0] for name in ("calm", "run")]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_a_checkpoint_that_was_removed_by_hand_may_be_written_again(people, tmp_path, caplog):
    config = tiny_runs.config("embedder", people, steps=4, **{"optimizer.learning_rate": 0.01})
    train_lib.train(config, tmp_path, devices=1)
    shutil.rmtree(tmp_path / "checkpoints" / "4")
    config["optimizer"]["learning_rate"] = 0.02  # other contents under the same name
    train_lib.train(config, tmp_path, devices=1)
    train_lib.train(config, tmp_path, devices=1)
    assert "broken" not in caplog.text and not (tmp_path / "broken").exists()


def test_the_best_and_every_so_many_are_kept_beside_the_newest(tmp_path):
    with contextlib.closing(checkpoint.open_manager(tmp_path, 1, keep_every=4, best="-loss")) as manager:
        for step, loss in enumerate([5.0, 1.0, 3.0, 4.0, 4.0, 4.0], start=1):
            checkpoint.save(manager, step, {"x": np.arange(3)}, {}, {"loss": loss})
            checkpoint.finish(manager)
            # The newest has its checksums as soon as it has its name.
            assert (tmp_path / "checksums" / f"{step}.json").exists()
        assert sorted(manager.all_steps()) == [2, 4, 6]
    with contextlib.closing(checkpoint.open_manager(tmp_path, 1, keep_every=4, best="-loss")) as manager:
        checkpoint.save(manager, 7, {"x": np.arange(3)}, {}, {"loss": 2.0})
        checkpoint.finish(manager)
        assert sorted(manager.all_steps()) == [2, 4, 7]  # the best is known at the next start too
        checkpoint.save(manager, 9, {"x": np.arange(3)}, {})
        checkpoint.finish(manager)
        assert sorted(manager.all_steps()) == [2, 4, 9]
    assert {2, 4, 9} <= {int(path.stem) for path in (tmp_path / "checksums").iterdir()}
    with pytest.raises(CheckpointError, match=r"config\.keep is 0; wanted at least 1"):
        checkpoint.open_manager(tmp_path, 0)


def test_a_run_whose_checkpoints_are_all_broken_does_not_begin_anew_by_itself(people, tmp_path):
    config = tiny_runs.config("embedder", people, steps=2)
    train_lib.train(config, tmp_path, devices=1)
    logged = (tmp_path / metric_log.NAME).read_bytes()
    (tmp_path / "checksums" / "2.json").rename(tmp_path / "checksums" / "1.json")  # one without a record among others
    with pytest.raises(CheckpointError, match=r"all checkpoints are broken, and now in .*/broken; the same command"):
        train_lib.train(config, tmp_path, devices=1)
    assert (tmp_path / "broken" / "2.0").is_dir() and (tmp_path / metric_log.NAME).read_bytes() == logged


def test_a_full_disk_is_said_and_earlier_checkpoints_stay(people, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        config = tiny_runs.config("embedder", people, checkpoint_steps=1, max_to_keep=100, **{"embedder.width": 8})
        with pytest.raises(CheckpointError, match=r"could not be written .*; those before are intact"):
            train_lib.train(config | {"steps": 40}, disk, devices=1)
        steps = [int(path.name) for path in (disk / "checkpoints").iterdir() if path.name.isdigit()]
        assert steps
        parts, _, step = checkpoint.load_parts(disk, ("params",))
        assert step == max(steps) and parts["params"]
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


def test_a_save_that_fails_is_said_when_the_manager_is_closed(tmp_path, monkeypatch):
    def full_disk(folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "_seal_coming", full_disk)
    manager = checkpoint.open_manager(tmp_path)
    checkpoint.save(manager, 1, {"x": np.arange(3)}, {})
    with pytest.raises(CheckpointError, match=r"could not be written .*No space left.*; those before are intact"):
        checkpoint.close(manager)


@pytest.mark.parametrize("kind", ["arcface", "cosface", "softmax"])
def test_classification_objectives_train(kind, people, tmp_path):
    config = tiny_runs.config("embedder", people, steps=2, **{"objective.kind": kind, "objective.scale": 16.0})
    evaluation = train_lib.train(config, tmp_path, devices=1)
    assert 0 <= evaluation["eval/auc"] <= 1
    parts, _, _ = checkpoint.load_parts(tmp_path, ("params",))
    assert parts["params"]["classifier"]["kernel"].shape == (8, 8)  # 8 training people


def test_training_from_memory_needs_no_tensorflow(people, embedder, tmp_path):
    blocked = "import sys\nfor name in ('tensorflow', 'tensorflow_datasets', 'clu'):\n    sys.modules[name] = None"
    done = tiny_runs.run_train("swapper", tmp_path / "run", tiny_runs.overrides("swapper", people, embedder), blocked)
    assert done.returncode == 0, done.stderr
    assert "clu or TensorFlow is not installed" in done.stderr
    assert rows(tmp_path / "run")[-1]["step"] == 6


def test_a_run_starts_from_imported_weights(people, embedder, tmp_path):
    rng = np.random.default_rng(0)
    swapper = tiny_runs.config("swapper", people, embedder)
    _, (generator, discriminator) = networks_lib.swapper_networks(swapper, frozen_embedder.load_embedder(embedder)[0])
    image, z = np.zeros((1, tiny_runs.SIZE, tiny_runs.SIZE, 3), np.float32), np.zeros((1, 8), np.float32)
    given = {}
    for kind, module, inputs, known in (
        ("generator", generator, (image, z), {"image_size": tiny_runs.SIZE}),
        ("discriminator", discriminator, (image,), {}),
    ):
        shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
        given[kind] = jax.tree.map(lambda x: rng.normal(0, 0.1, x.shape).astype(np.float32), shapes)
        network_folder.save_network(tmp_path / kind, import_network(kind, given[kind], **known), {})
    folders = {f"init.{kind}": tmp_path / kind for kind in given}
    train_lib.train(tiny_runs.config("swapper", people, embedder, **folders, steps=1), tmp_path / "run", devices=2)
    plain = tiny_runs.config("swapper", people, embedder, **folders, steps=0)
    train_lib.train(plain, tmp_path / "fresh", devices=2)
    parts, *_ = checkpoint.load_parts(tmp_path / "fresh", ("generator", "generator_ema", "discriminator"))
    jax.tree.map(np.testing.assert_array_equal, parts["generator"], given["generator"]["params"])
    jax.tree.map(np.testing.assert_array_equal, parts["generator_ema"], given["generator"]["params"])
    jax.tree.map(np.testing.assert_array_equal, parts["discriminator"], given["discriminator"]["params"])
    wider = tiny_runs.config("swapper", people, embedder, **folders, **{"generator.nf": 16})
    with pytest.raises(WeightMismatch, match="misshapen"):
        train_lib.train(wider, tmp_path / "wider", devices=2)

"""Checkpoints: which are kept, broken ones, full disks."""

import contextlib
import errno
import logging
import shutil
import subprocess

import jax
import numpy as np
import pytest

from smoothswap_jax.runtime import checkpoint, metric_log
from smoothswap_jax.runtime.checkpoint import CheckpointError
from smoothswap_jax.training import loop as train_lib
from tests import tiny_runs


@pytest.fixture(scope="module")
def calm(people, tmp_path_factory):
    """A run that nothing disturbs."""
    run = tmp_path_factory.mktemp("calm")
    train_lib.train(tiny_runs.config("embedder", people), run, devices=1)
    return run


@pytest.mark.parametrize("spoil", ["truncate", "change", "remove"])
def test_a_broken_newest_checkpoint_is_told_and_the_one_before_is_used(spoil, calm, people, tmp_path, caplog):
    config = tiny_runs.config("embedder", people)
    run = shutil.copytree(calm, tmp_path / "run")
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
    assert (run / metric_log.NAME).read_bytes() == (calm / metric_log.NAME).read_bytes()
    states = [checkpoint.load_parts(one, ("params", "optimizer"))[0] for one in (calm, run)]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_parts_are_read_without_a_warning(calm, caplog):
    with caplog.at_level(logging.WARNING):
        parts, _, _ = checkpoint.load_parts(calm, ("params", "batch_stats"))
    assert parts.keys() == {"params", "batch_stats"} and caplog.messages == []


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
    with pytest.raises(CheckpointError, match=r"config\.max_to_keep is 0; wanted at least 1"):
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
        said = (
            r"quota is full \(.* are free, and it takes about .*B\); make room; checkpoint \d+, the one before, is in"
        )
        with pytest.raises(CheckpointError, match=said) as raised:
            train_lib.train(config | {"steps": 40}, disk, devices=1)
        steps = [int(path.name) for path in (disk / "checkpoints").iterdir() if path.name.isdigit()]
        assert f"checkpoint {max(steps)}, the one before" in str(raised.value) and len(str(raised.value)) < 500
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
    with pytest.raises(
        CheckpointError, match=r"could not be written: the disk or its quota is full \(.*; there is none"
    ):
        checkpoint.close(manager)

"""metrics.jsonl survives kills, and files are written whole or not at all."""

import json
import os

import numpy as np
import pytest

from smoothswap_jax.runtime import files, metric_log
from smoothswap_jax.training import optimizers


def test_resuming_drops_later_lines_and_a_half_written_one(tmp_path):
    path = tmp_path / metric_log.NAME
    lines = [json.dumps({"step": s, "train/loss": s / 7}, sort_keys=True) for s in (0, 1, 2, 3)]
    path.write_text("\n".join(lines) + '\n{"step": 4, "tra')
    metric_log.keep_before(path, 2)
    assert path.read_text() == "\n".join(lines[:2]) + "\n"


def test_a_written_number_reads_back_the_same(tmp_path):
    log = metric_log.RunLog(tmp_path, 0)
    log.metrics(3, {"a": 0.1 + 0.2, "b": 1e-30})
    log.close()
    assert metric_log.read_metrics(tmp_path / metric_log.NAME) == [{"step": 3, "a": 0.1 + 0.2, "b": 1e-30}]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write_atomically(path, b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_progress_tells_rate_and_time_left(capsys, monkeypatch):
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(metric_log.time, "monotonic", lambda: next(clock))
    progress = metric_log.Progress("swapper", 100, 700, images_per_step=16)
    progress.update(200, {"train/loss": 0.5})
    assert "swapper 200/700  80 images/s  1:40 left  loss 0.500" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, points",
    [
        ("constant", {0: 0.0, 5: 0.5, 10: 1.0, 100: 1.0}),
        ("cosine", {0: 0.0, 10: 1.0, 55: 0.5, 100: 0.0}),
        ("linear", {5: 0.5, 10: 1.0, 80: 1.0, 90: 0.5, 100: 0.0}),
    ],
)
def test_schedules_warm_up_hold_and_fall(name, points):
    fields = {"learning_rate": 1.0, "warmup_steps": 10, "schedule": name, "decay": 0.2}
    rate = optimizers.make_schedule(fields, steps=100)
    np.testing.assert_allclose([rate(s) for s in points], list(points.values()), atol=1e-6)


def test_weight_decay_spares_biases_and_norms():
    import jax.numpy as jnp

    fields = {"name": "adam", "learning_rate": 0.1, "b1": 0.9, "b2": 0.99, "weight_decay": 0.5}
    optimizer = optimizers.make_optimizer(fields | {"warmup_steps": 0, "schedule": "constant"}, steps=10)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    updates, _ = optimizer.update({"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}, optimizer.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.05 * np.ones((2, 2)), rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], np.zeros(2))


def test_files_progress_shows_the_start_and_the_end(capsys):
    show = metric_log.files_progress("prepare")
    show(0, 9)
    show(4, 9)
    show(9, 9)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("prepare 9/9  ") and "nan" not in "".join(lines)

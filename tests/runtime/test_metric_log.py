"""metrics.jsonl survives kills, and files are written whole or not at all."""

import json
import os

import pytest

from smoothswap_jax.runtime import files, metric_log


def test_resuming_drops_later_lines_and_a_half_written_one(tmp_path):
    path = tmp_path / metric_log.NAME
    lines = [json.dumps({"step": s, "train/loss": s / 7}, sort_keys=True) for s in (0, 1, 2, 3)]
    path.write_text("\n".join(lines) + '\n{"step": 4, "tra')
    metric_log.keep_before(path, 2)
    assert path.read_text() == "\n".join(lines[:2]) + "\n"


def test_a_damaged_line_costs_no_other(tmp_path, caplog):
    path = tmp_path / metric_log.NAME
    lines = [json.dumps({"step": s}) for s in range(5)]
    path.write_text("\n".join([*lines[:2], '{"st\x00', "[1]", *lines[2:]]) + "\n")
    metric_log.keep_before(path, 4)
    assert path.read_text().splitlines() == lines[:4]
    assert "left out what is unfinished or damaged, line 3, 4" in caplog.text


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


def test_files_progress_shows_the_start_and_the_end(capsys):
    show = metric_log.files_progress("prepare")
    show(0, 9)
    show(4, 9)
    show(9, 9)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("prepare 9/9  ") and "nan" not in "".join(lines)

"""One page of all benches: what was measured is kept, what failed is named and tried again."""

import json

import pytest

from smoothswap_jax.bench import everything
from smoothswap_jax.cli.main import main

PARTS: dict[str, tuple[str, ...]] = {
    "start": ("some.bench",),
    "video": (*everything.BENCH, "--what=video", "--frames=3"),
}


def test_what_is_measured_is_kept_and_what_failed_is_tried_again(tmp_path, monkeypatch):
    pytest.importorskip("jinja2")
    asked: list[str] = []

    def measured(command):
        asked.append(command[0])
        if command == PARTS["video"] and len(asked) < 3:
            raise RuntimeError("found 3 frames")
        return {
            "whole": {"warm / cold": 0.25, "warm, s": 2.5, "jax over torch": 1.25, "name over name": "a"},
            "sizes": [1, 2],
        }

    monkeypatch.setattr(everything, "_measured", measured)
    page = everything.bench_all(tmp_path / "out", PARTS).read_text()
    assert "Not measured" in page and "found 3 frames" in page and "whole, warm / cold" in page
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert told["parts"]["start"]["sizes"] == [1, 2] and told["failed"] == {"video": "found 3 frames"}
    page = everything.bench_all(tmp_path / "out", PARTS).read_text()
    assert asked == ["some.bench", "smoothswap_jax", "smoothswap_jax"] and "Not measured" not in page
    for name, times in {"warm / cold": 4, "jax over torch": 4, "warm, s": 2, "name over name": 2}.items():
        assert page.count(name) == times, name  # in each part's table, and of ratios in the first one, too


def test_a_part_that_fails_says_its_last_line():
    with pytest.raises(RuntimeError, match="found 3; wanted 100 or more"):
        everything._measured(PARTS["video"])


@pytest.mark.parametrize(
    "code, words",
    [
        ("pass", "its last line is ''; wanted an object"),
        ("print('{}\\nhello')", "its last line is 'hello'"),
        ("print('[1]')", r"its last line is '\[1\]'"),
        ('print(\'{"a": {"b": NaN}}\')', "wanted an object of finite numbers"),
        ("import sys; sys.stdout.buffer.write(bytes([255]))", "wanted an object"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by signal 9"),
    ],
)
def test_a_part_without_numbers_fails(tmp_path, monkeypatch, code, words):
    (tmp_path / "some_bench.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=words):
        everything._measured(("some_bench",))


@pytest.mark.parametrize("kept", ["{nope", "", "[1]", '{"a": NaN}'])
def test_a_kept_part_that_cannot_be_read_is_measured_again(tmp_path, monkeypatch, kept):
    pytest.importorskip("jinja2")
    asked: list[str] = []
    monkeypatch.setattr(everything, "_measured", lambda command: asked.append(command[0]) or {"s": 1.0})
    (tmp_path / "start.json").write_text(kept)
    (tmp_path / ".start.json.abc.tmp").write_text("of a write that was killed")
    everything.bench_all(tmp_path, PARTS)
    assert asked == ["some.bench", "smoothswap_jax"] and json.loads((tmp_path / "start.json").read_text()) == {"s": 1.0}


def test_out_is_of_this_bench_alone(tmp_path, capsys):
    (tmp_path / "letter.txt").write_text("dear")
    assert main(["bench", "--what=all", f"--out={tmp_path}"]) != 0
    assert "found letter.txt there" in capsys.readouterr().err
    (tmp_path / "letter.txt").unlink()
    (tmp_path / "data.json").mkdir()
    assert main(["bench", "--what=all", f"--out={tmp_path}"]) != 0
    assert "found data.json there" in capsys.readouterr().err
    assert main(["bench", "--what=all", "--out=gs://bucket/out"]) != 0
    assert "cannot lie in a bucket" in capsys.readouterr().err
    for wrong in (["--what=all"], ["--what=start", f"--out={tmp_path}"]):
        assert main(["bench", *wrong]) != 0
        assert "--out: is for --what=all" in capsys.readouterr().err

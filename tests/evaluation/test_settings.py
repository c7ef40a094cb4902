"""Which folder an evaluation may be written to: a new one, or its own to go on with."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from smoothswap_jax.evaluation.cache import CACHE, open_cache, put
from smoothswap_jax.evaluation.settings import COMMAND, REPORT, EvaluationSettings, check_out, record_command


@pytest.fixture
def asked(tmp_path):
    """Settings of an evaluation that is finished in their folder."""
    out = tmp_path / "out"
    out.mkdir()
    settings = EvaluationSettings("held-out", out, Path("data"), {"a": Path("runs/a")}, judges=["sface"])
    for name in (CACHE, REPORT, "pairs.csv"):
        (out / name).touch()
    record_command(settings)
    return settings


def test_a_new_folder_and_the_same_command_and_more_are_taken(asked, tmp_path):
    check_out(dataclasses.replace(asked, out=tmp_path / "new"))
    check_out(asked)
    check_out(dataclasses.replace(asked, judges=["sface", "dlib"], swaps={"b": Path("b")}))


@pytest.mark.parametrize(
    "change, said",
    [
        ({"protocol": "ffhq"}, "protocol was 'held-out' and is 'ffhq'"),
        ({"judges": ["dlib"]}, "judge sface is missing or another one"),
        ({"checkpoints": {"a": Path("runs/b")}}, "checkpoint a is missing or another one"),
        ({"pose": "casia", "size": 64}, "pose was 'geodesic' and is 'casia'; size was None and is 64"),
    ],
)
def test_the_report_of_another_command_is_replaced_only_if_asked(asked, change, said):
    other = dataclasses.replace(asked, **change)
    with pytest.raises(FileExistsError, match="or --overwrite to replace the report") as raised:
        check_out(other)
    assert said in str(raised.value)
    check_out(dataclasses.replace(other, overwrite=True))
    (asked.out / REPORT).unlink()  # a run that was stopped has no report to lose
    check_out(other)


def test_folders_of_others_are_refused_whatever_is_asked(asked, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="holds other files than an evaluation's"):
        check_out(dataclasses.replace(asked, out=tmp_path, overwrite=True))
    for part in ("judge", "swapper"):
        (tmp_path / "demo" / part).mkdir(parents=True)
        (tmp_path / "demo" / part / "config.json").write_text("{}")
    (tmp_path / "demo" / CACHE).touch()
    with pytest.raises(FileExistsError, match="holds what `smoothswap demo` wrote"):
        check_out(dataclasses.replace(asked, out=tmp_path / "demo", overwrite=True))
    with pytest.raises(NotADirectoryError, match="is a file"):
        check_out(dataclasses.replace(asked, out=tmp_path / "thesis.tex" / "out"))


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"judges": 3}), "[" * 100_000])
def test_a_damaged_note_is_no_leave_to_replace(asked, text):
    (asked.out / COMMAND).write_text(text)
    with pytest.raises(FileExistsError, match=r"wanted .*--overwrite"):
        check_out(asked)


def test_a_cache_that_cannot_be_written_is_one_error_of_the_system(tmp_path):
    cache = open_cache(tmp_path / CACHE)
    cache.execute("PRAGMA query_only = ON")
    with pytest.raises(OSError, match=r"cache.sqlite: cannot be written \(attempt to write a readonly database\)"):
        put(cache, [("key", np.zeros(3))])

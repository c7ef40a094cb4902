"""The demo end to end, with a handful of steps: slow for its compilations."""

import json
import os
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from smoothswap_jax import demo as demo_lib
from smoothswap_jax.cli.main import main
from smoothswap_jax.prepare.run import Summary
from smoothswap_jax.runtime.stopping import Stopped
from tests.places import ROOT


@pytest.mark.slow
def test_the_demo_trains_measures_and_reports(tmp_path):
    page = demo_lib.demo(tmp_path, effort=0.002)
    report = json.loads((tmp_path / "report.json").read_text())
    means = {method["name"]: method["means"] for method in report["methods"]}
    assert (tmp_path / "default" / "report.html").is_file() and means["default"].keys() == means["swap"].keys()
    assert means["true swap"]["error to the true swap"] == 0
    assert means["copy source"]["sface: cosine to source"] == pytest.approx(1)
    copied = means["copy target"]["error to the true swap"]
    assert means["swap"]["error to the true swap"] == pytest.approx(copied, rel=0.1)  # nothing learnt in 9 steps
    assert any("hardly changes its targets" in sentence for sentence in report["verdicts"])
    assert page.read_text().count("data:image/png;base64,") == 2


@pytest.mark.parametrize(
    "kept, people, said",
    [
        (
            {"train": 3},
            {"train": 3},
            "found 3 people with a usable face, in 7 photos of which 4 were left out, no face 4",
        ),
        (
            {"train": 2, "test": 2},
            {"train": 2, "test": 2},
            "two usable photos of 0 of 2 people to train on and of 0 of 2",
        ),
    ],
)
def test_too_few_people_and_photos_are_refused_with_what_is_needed(kept, people, said, tmp_path, monkeypatch):
    summary = Summary(sum(kept.values()) + 4, kept, people, gates={"no face": 4})
    monkeypatch.setattr(demo_lib, "prepare", lambda *_, **__: summary)
    monkeypatch.setattr(demo_lib, "from_prepared", lambda *_: SimpleNamespace(starts=np.arange(3)))
    (tmp_path / "photos").mkdir()
    with pytest.raises(ValueError, match="wants at least 4 people, 2 to train on and 2 held out") as raised:
        demo_lib.demo(tmp_path / "out", photos=tmp_path / "photos")
    assert said in str(raised.value)


@pytest.mark.parametrize("effort", [0, -1, float("nan"), float("inf")])
def test_an_effort_that_is_none_is_refused_before_anything_is_made(effort, tmp_path):
    with pytest.raises(ValueError, match=r"--effort is .*; wanted a number above 0"):
        demo_lib.demo(tmp_path / "out", effort=effort)
    assert not (tmp_path / "out").exists()


def test_places_are_looked_at_before_the_work(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"holds other files \(thesis.tex\); wanted a new folder"):
        demo_lib.demo(tmp_path)
    with pytest.raises(ValueError, match="nowhere: found no such folder; wanted DIR/<person>/<photo>"):
        demo_lib.demo(tmp_path / "out", photos=tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match=r"thesis.tex is a file"):
        demo_lib.demo(tmp_path / "thesis.tex" / "out")


def test_a_demo_that_is_stopped_begins_nothing_else_says_so_and_goes_on(tmp_path, monkeypatch, capsys):
    trained = []

    def train(config, workdir):
        trained.append(workdir.name)
        if len(trained) == 1:
            raise Stopped(workdir, 29, config["steps"], signal.SIGINT)

    monkeypatch.setattr(demo_lib, "_show_default", lambda *_: None)
    monkeypatch.setattr(demo_lib, "train", train)
    monkeypatch.setattr(demo_lib, "_measure", lambda *_: (_ for _ in ()).throw(ValueError("measured")))
    arguments = ["demo", f"--out={tmp_path}"]
    assert main(arguments) == 130 and trained == ["embedder"]
    said = capsys.readouterr().err
    assert said.endswith(
        f"{tmp_path}/embedder: stopped by a signal at step 29 of 1000; the same command goes on from there\n"
    )
    assert "swapper:" not in said and "and measuring" not in said
    assert main(arguments) == 1 and trained == ["embedder", "embedder", "swapper"]
    assert "measured" in capsys.readouterr().err


@pytest.mark.parametrize(
    "found, effort, fits",
    [
        ({}, 1, True),
        ({"embedder": 1000, "swapper": 1000}, 1, True),
        ({"embedder": 1000, "swapper": 1000}, 0.5, False),
        ({"embedder": 500, "swapper": 500}, 1, False),  # the swapper is trained against those 500 steps
        ({"embedder": 500}, 1, True),
        ({"embedder": 500}, 0.25, False),
    ],
)
def test_an_effort_that_does_not_fit_what_is_there_is_refused(found, effort, fits, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_lib, "_show_default", lambda *_: None)
    monkeypatch.setattr(demo_lib, "train", lambda *_: (_ for _ in ()).throw(Stopped("run", 1, 2, signal.SIGINT)))
    for name, step in found.items():
        (tmp_path / name / "checkpoints" / str(step)).mkdir(parents=True)
    wanted = (Stopped, "run") if fits else (ValueError, f"holds a demo of another effort .*; --effort={effort:g} wants")
    with pytest.raises(wanted[0], match=wanted[1]):
        demo_lib.demo(tmp_path, effort=effort)


@pytest.mark.slow
def test_ctrl_c_in_a_demo_ends_it_and_nothing_else_is_begun(tmp_path):
    command = [sys.executable, "-m", "smoothswap_jax", "demo", f"--out={tmp_path}", "--effort=0.05"]
    environment = {**os.environ, "XLA_FLAGS": ""}  # one device compiles sooner
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("embedder 1/50"):
                process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert re.fullmatch(r"smoothswap demo: .*/embedder: stopped by a signal at step \d+ of 50; .*\n", lines[-1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["default", "embedder"]
    assert all(
        line.startswith(("demo: ", "smoothswap demo: ", "INFO ", "embedder 1/50", "SIGINT: ", "\n")) for line in lines
    )

"""The demo end to end, with a handful of steps: slow for its compilations."""

import json
import os
import re
import signal
import subprocess
import sys

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
    assert means["true swap"]["error to the true swap"] == 0
    assert means["copy source"]["judge: cosine to source"] == pytest.approx(1)
    copied = means["copy target"]["error to the true swap"]
    assert means["swap"]["error to the true swap"] == pytest.approx(copied, rel=0.1)  # nothing learnt in 9 steps
    assert any("hardly changes its targets" in sentence for sentence in report["verdicts"])
    assert page.read_text().count("data:image/png;base64,") == 2


def test_a_demo_that_is_stopped_begins_nothing_else_says_so_and_goes_on(tmp_path, monkeypatch, capsys):
    trained = []

    def train(config, workdir):
        trained.append(workdir.name)
        if len(trained) == 1:
            raise Stopped(workdir, 29, config["steps"], signal.SIGINT)

    monkeypatch.setattr(demo_lib, "train", train)
    monkeypatch.setattr(demo_lib, "_measure", lambda *_: (_ for _ in ()).throw(ValueError("measured")))
    arguments = ["demo", f"--out={tmp_path}"]
    assert main(arguments) == 130 and trained == ["embedder"]
    said = capsys.readouterr().err
    assert said.endswith(
        f"{tmp_path}/embedder: stopped by a signal at step 29 of 800; the same command goes on from there\n"
    )
    assert "judge" not in said and "measuring" not in said
    assert main(arguments) == 1 and trained == ["embedder", "embedder", "judge", "swapper"]
    assert "measured" in capsys.readouterr().err


@pytest.mark.parametrize(
    "found, effort, fits",
    [
        ({}, 1, True),
        ({"embedder": 800, "judge": 800, "swapper": 2500}, 1, True),
        ({"embedder": 800, "judge": 800, "swapper": 2500}, 0.5, False),
        ({"embedder": 400, "judge": 400, "swapper": 1250}, 1, False),  # the swapper is trained against those 400 steps
        ({"embedder": 400, "judge": 400}, 1, True),
        ({"embedder": 400}, 0.25, False),
    ],
)
def test_an_effort_that_does_not_fit_what_is_there_is_refused(found, effort, fits, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_lib, "train", lambda *_: (_ for _ in ()).throw(Stopped("run", 1, 2, signal.SIGINT)))
    for name, step in found.items():
        (tmp_path / name / "checkpoints" / str(step)).mkdir(parents=True)
    wanted = (Stopped, "run") if fits else (ValueError, f"holds a demo of another effort .*; --effort={effort:g} wants")
    with pytest.raises(wanted[0], match=wanted[1]):
        demo_lib.demo(tmp_path, effort=effort)


def test_too_few_people_are_refused(tmp_path, monkeypatch):
    summary = Summary(pictures=5, kept={"train": 4, "test": 1}, people={"train": 4, "test": 1}, gates={})
    monkeypatch.setattr(demo_lib, "prepare", lambda *_, **__: summary)
    with pytest.raises(ValueError, match="4 people with a usable face to train on and 1 held out"):
        demo_lib.demo(tmp_path, photos=tmp_path / "photos")


@pytest.mark.slow
def test_ctrl_c_in_a_demo_ends_it_and_nothing_else_is_begun(tmp_path):
    command = [sys.executable, "-m", "smoothswap_jax", "demo", f"--out={tmp_path}", "--effort=0.05"]
    environment = {**os.environ, "XLA_FLAGS": ""}  # one device compiles sooner
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("embedder 1/40"):
                process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert re.fullmatch(r"smoothswap demo: .*/embedder: stopped by a signal at step \d+ of 40; .*\n", lines[-1])
    assert [path.name for path in tmp_path.iterdir()] == ["embedder"]
    assert all(
        line.startswith(("demo: ", "smoothswap demo: ", "INFO ", "embedder 1/40", "SIGINT: ", "\n")) for line in lines
    )

"""`smoothswap train`: from the command line to training.loop.train."""

import signal
from pathlib import Path

import pytest

from smoothswap_jax.cli.main import main
from smoothswap_jax.runtime.stopping import Stopped
from smoothswap_jax.training import loop
from tests.places import ROOT


@pytest.fixture
def trained(monkeypatch):
    """What train was called with; it reaches step 5, where a signal comes if that is not the last one."""
    calls = []

    def train(config, workdir, devices, profile):
        calls.append((config, workdir, devices, profile))
        (Path(workdir) / "checkpoints" / "5").mkdir(parents=True, exist_ok=True)
        if config["steps"] != 5 or config["seed"] == 9:
            raise Stopped(workdir, 5, config["steps"], signal.SIGTERM)
        return {"eval/auc": 0.98765}

    monkeypatch.setattr(loop, "train", train)
    return calls


def test_config_and_options_reach_the_loop(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--workdir=run", "--devices=2", "--profile=100:5"]
    assert main(["train", "--config=swapper:tiny32", *options, "--config.steps=5", "--config.batch", "3"]) == 0
    ((config, *rest),) = trained
    assert (config["stage"], config["steps"], config["batch"]) == ("swapper", 5, 3)
    assert rest == ["run", 2, (100, 5)]


def test_a_finished_run_says_how_good_it_is_where_it_lies_and_what_is_next(trained, tmp_path, capsys):
    assert main(["train", "--config=embedder:tiny32", f"--workdir={tmp_path}", "--config.steps=5"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path}: embedder at step 5: auc 0.988; checkpoint {tmp_path}/checkpoints/5; next: ")
    assert line.endswith(f"--config.embedder.checkpoint={tmp_path}")


def test_a_run_that_was_stopped_ends_with_the_code_asked_for(trained, tmp_path, capsys):
    arguments = ["train", "--config=embedder:tiny32", f"--workdir={tmp_path}", "--stopped-code=75"]
    assert main([*arguments, "--config.steps=6"]) == 75
    said = f"smoothswap train: {tmp_path}: stopped by a signal at step 5 of 6; the same command goes on from there\n"
    assert capsys.readouterr() == ("", said)
    assert main([*arguments, "--config.steps=5", "--config.seed=9"]) == 0  # the signal came when it was done
    assert main([*arguments, "--config.steps=5"]) == 0
    assert main([*arguments[:-1], "--config.steps=6"]) == 0


@pytest.mark.parametrize("profile", ["3", "3:0", "a:2", "3:2:1"])
def test_profile_wants_start_and_count(profile, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--config=embedder", "--workdir=w", f"--profile={profile}"])
    assert exit_.value.code == 2 and "wanted START:COUNT" in capsys.readouterr().err


@pytest.mark.parametrize(
    "config, overrides, message",
    [
        ("configs/swapper.py:huge", [], "wanted one of tiny32"),
        ("configs/nothing.py", [], "nothing.py"),
        ("configs/swapper.py", ["--config.generator.width=3"], "no field generator.width"),
        (
            "configs/swapper.py",
            ["--config.optimizer.name=adam"],
            "did you mean generator_optimizer?",
        ),
        ("configs/swapper.py", ["--config.batch=many"], "config.batch is 'many'"),
        ("configs/swapper.py", ["stray"], "stray"),
    ],
)
def test_mistakes_are_one_line_that_names_them(config, overrides, message, capsys, tmp_path):
    code = main(["train", f"--config={ROOT}/{config}", f"--workdir={tmp_path / 'run'}", *overrides])
    error = capsys.readouterr().err
    assert code == 1
    assert message in error
    assert error.count("\n") == 1 and "Traceback" not in error
    assert not (tmp_path / "run").exists()

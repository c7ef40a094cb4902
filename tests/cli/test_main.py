"""The command line: what it accepts, and what it says of mistakes."""

import pytest

from smoothswap_jax.cli import main as main_lib
from smoothswap_jax.config.load import load_config
from tests.tiny_runs import ROOT

VERBS = ("train", "swap", "prepare", "import", "export", "bench", "demo")


@pytest.mark.parametrize("arguments", [["--help"], *([verb, "--help"] for verb in VERBS)])
def test_help_answers(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main_lib.main(arguments)
    assert exit_.value.code == 0
    assert "usage: smoothswap" in capsys.readouterr().out


def test_overrides_reach_nested_fields_with_their_types():
    path = f"{ROOT}/configs/swapper.py:small64"
    config = load_config(
        path, ["--config.objective.change=2.5", "--config.batch=4", "--config.generator.ch_mult=(1,2)"]
    )
    assert (config["objective"]["change"], config["batch"], config["generator"]["ch_mult"]) == (2.5, 4, (1, 2))
    assert config["generator"]["nf"] == 32


@pytest.mark.parametrize("stage", ["embedder", "swapper"])
def test_every_preset_builds_its_networks(stage):
    from smoothswap_jax.training import networks, optimizers

    variants = ["tiny32", "small64", "paper256", *(["ncsnpp256"] if stage == "swapper" else [])]
    for variant in variants:
        config = load_config(f"{ROOT}/configs/{stage}.py:{variant}", [])
        if stage == "embedder":
            networks.make_embedder(config["embedder"])
            optimizers.make_optimizer(config["optimizer"], config["steps"])
        else:
            networks.make_generator(config["generator"])
            networks.make_discriminator(config["discriminator"], config["data"]["size"])
            optimizers.make_optimizer(config["generator_optimizer"], config["steps"])


@pytest.mark.parametrize(
    "config, overrides, message",
    [
        ("configs/swapper.py:huge", [], "want one of"),
        ("configs/nothing.py", [], "nothing.py"),
        ("configs/swapper.py", ["--config.generator.width=3"], "width"),
        ("configs/swapper.py", ["--config.batch=many"], "many"),
        ("configs/swapper.py", ["stray"], "stray"),
    ],
)
def test_mistakes_are_one_line_that_names_them(config, overrides, message, capsys, tmp_path):
    code = main_lib.main(["train", f"--config={ROOT}/{config}", f"--workdir={tmp_path / 'run'}", *overrides])
    error = capsys.readouterr().err
    assert code == 1
    assert message in error
    assert error.count("\n") == 1 and "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_only_train_takes_config_overrides(capsys):
    with pytest.raises(SystemExit):
        main_lib.main(["demo", "--config.batch=3"])
    assert "unrecognised arguments: --config.batch=3" in capsys.readouterr().err

"""`smoothswap evaluate`: how checkpoints and swaps are named, and which function a protocol calls."""

from pathlib import Path

import pytest

from smoothswap_jax.cli.evaluate import named
from smoothswap_jax.cli.main import main
from smoothswap_jax.evaluation import evaluate
from smoothswap_jax.runtime import folders


def test_methods_are_named_by_hand_or_by_their_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["a=runs/x", "runs/b", "runs/lr=3/c", "d=runs/lr=3", "."]
    assert named(given, "--swaps") == {
        "a": "runs/x",
        "b": "runs/b",
        "c": "runs/lr=3/c",
        "d": "runs/lr=3",
        tmp_path.name: ".",
    }
    with pytest.raises(ValueError, match="--swaps: found 'b' twice; wanted NAME=DIR"):
        named(["runs/b", "other/b"], "--swaps")


@pytest.mark.parametrize(
    "options, called",
    [
        (["--protocol=ffhq"], "evaluate"),
        (["--protocol=ffhq@1", "--pairs-only"], "write_pairs"),
        (["--protocol=smoothness@1"], "evaluate"),
    ],
)
def test_settings_reach_the_function(options, called, monkeypatch, tmp_path):
    calls = []
    for name in ("evaluate", "write_pairs"):
        monkeypatch.setattr(evaluate, name, lambda settings, progress, name=name: calls.append((name, settings)))
    given = ["--checkpoint=a=A", "--checkpoint=B", "--judge=sface", "--judge=x=Y", f"--out={tmp_path}", "--devices=1"]
    assert main(["evaluate", *options, *given]) == 0
    ((name, settings),) = calls
    assert name == called and settings.protocol == options[0].partition("=")[2]
    assert settings.checkpoints == {"a": Path("A"), "B": Path("B")} and settings.judges == ["sface", "x=Y"]
    assert settings.options == {"compression": "c23", "split": "all", "pairs": "500"}
    assert (settings.out, settings.data, settings.swaps, settings.devices) == (tmp_path, None, {}, 1)


def test_the_default_swapper_may_be_a_method(monkeypatch, tmp_path):
    (tmp_path / "packaged").mkdir()
    (tmp_path / "packaged" / "params.safetensors").touch()
    monkeypatch.setitem(folders.PACKAGED, "default", tmp_path / "packaged")
    asked = []
    monkeypatch.setattr(evaluate, "evaluate", lambda settings, progress: asked.append(settings.checkpoints))
    common = ["evaluate", "--protocol=ffhq", f"--out={tmp_path}"]
    assert main([*common, "--checkpoint=default", "--checkpoint=mine=runs/s", "--checkpoint=theirs=./default"]) == 0
    assert asked == [{"default": tmp_path / "packaged", "mine": Path("runs/s"), "theirs": Path("default")}]


def test_smoothness_has_no_pairs(capsys, tmp_path):
    assert main(["evaluate", "--protocol=smoothness", "--pairs-only", f"--out={tmp_path}"]) == 1
    assert "protocol smoothness@1: has no pairs to swap" in capsys.readouterr().err

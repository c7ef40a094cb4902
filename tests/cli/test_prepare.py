"""`smoothswap prepare`: options that are given reach the settings, others keep their defaults."""

from smoothswap_jax.cli.main import main
from smoothswap_jax.prepare import crops, run


def test_options_reach_the_settings(monkeypatch, capsys):
    calls = []
    done = run.Summary(pictures=5, kept={"train": 3, "test": 1}, people={"train": 2, "test": 1}, gates={"size": 1})

    def prepare(*places, **how):
        calls.append((places, how))
        return done

    monkeypatch.setattr(run, "prepare", prepare)
    options = ["--size=128", "--keep-duplicates", "--min-side=32", "--several=box", "--workers=2", "--layout=flat"]
    assert main(["prepare", "--source=s", "--out=o", *options, "--beam_options=--a=1 --b='x y'"]) == 0
    (((source, out, settings), how),) = calls
    assert (source, out) == ("s", "o")
    assert settings == crops.PrepareSettings(size=128, duplicates=False, min_side=32, several="box")
    assert (how["several"], how["workers"], how["layout"]) == ("box", 2, "flat")
    assert how["beam_options"] == ["--a=1", "--b=x y"]
    assert "o/preview.html" in capsys.readouterr().out

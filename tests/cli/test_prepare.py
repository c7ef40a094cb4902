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
    said = capsys.readouterr().out
    assert "o/preview.html" in said and "held out" not in said


def test_a_set_without_a_test_split_is_said_to_be_one(monkeypatch, capsys):
    done = run.Summary(pictures=5, kept={"train": 5}, people={"train": 3}, gates={})
    monkeypatch.setattr(run, "prepare", lambda *_, **__: done)
    assert main(["prepare", "--source=s", "--out=o"]) == 0
    said = capsys.readouterr().out
    assert (
        "nobody is held out: found 3 people with a usable face; training wants 4 or more, 2 of them to test on" in said
    )
    assert main(["prepare", "--source=s", "--out=o", "--test-share=0"]) == 0
    assert "nobody is held out" not in capsys.readouterr().out

"""`smoothswap prepare`: options that are given reach the settings, others keep their defaults."""

import pytest

from smoothswap_jax.cli.main import main
from smoothswap_jax.prepare import crops, run


def test_options_reach_the_settings(monkeypatch, capsys):
    calls = []
    done = run.Summary(pictures=5, kept={"train": 3, "test": 1}, people={"train": 2, "test": 2}, gates={"size": 1})

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
    assert "o/preview.html" in said and "held out" not in said and "in part" not in said


def test_videos_used_in_part_are_not_among_the_pictures_left_out(monkeypatch, capsys):
    kept = {"train": 3, "test": 1}
    done = run.Summary(pictures=5, kept=kept, people={"train": 2, "test": 2}, gates={"size": 1}, used_in_part=2)
    monkeypatch.setattr(run, "prepare", lambda *_, **__: done)
    assert main(["prepare", "--source=s", "--out=o"]) == 0
    assert "; 1 left out, size 1; 2 videos used in part\n" in capsys.readouterr().out


@pytest.mark.parametrize("people, said", [({"train": 3}, "nobody of 3"), ({"train": 4, "test": 1}, "1 of 5")])
def test_a_set_without_a_test_split_is_said_to_be_one(people, said, monkeypatch, capsys):
    """Or with one of a single person, when duplicates were all that others had."""
    wanted = f"{said} people with a usable face is held out; training wants 4 people or more, 2 of them to test on"
    done = run.Summary(pictures=5, kept=people, people=people, gates={})
    monkeypatch.setattr(run, "prepare", lambda *_, **__: done)
    assert main(["prepare", "--source=s", "--out=o"]) == 0
    assert wanted in capsys.readouterr().out
    assert main(["prepare", "--source=s", "--out=o", "--test-share=0"]) == 0
    assert "held out" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "option, said",
    [
        ("--min-side=nan", "min_side: found nan; wanted 0 pixels or more"),
        ("--max-yaw=inf", "max_yaw: found inf; wanted 0 to 180 degrees"),
        ("--min-sharpness=nan", "min_sharpness: found nan; wanted a number of dB"),
        ("--size=100000", "size: found 100000; wanted 16 to 4096 pixels"),
        ("--max-megapixels=1e400", "max_megapixels: found inf; wanted more than 0, at most 10,000"),
        ("--workers=0", "workers: found 0; wanted at least 1"),
    ],
)
def test_numbers_that_would_switch_a_gate_off_or_break_are_refused(option, said, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    assert main(["prepare", f"--source={tmp_path / 'photos'}", f"--out={tmp_path / 'out'}", option]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

"""`smoothswap swap`: from the command line to inference.files.swap_files."""

import json
import signal

import numpy as np
import pytest

from smoothswap_jax.cli.main import MISTAKE, main
from smoothswap_jax.faces.photos import save_photo
from smoothswap_jax.inference import files, swapper
from smoothswap_jax.inference.occlusion import keep_occluders
from tests.faces.make_videos import write_animation


@pytest.mark.parametrize(
    "options, wanted",
    [
        ([], {"source_face": "largest", "target_face": "largest", "paste": "change"}),
        (["--strength=0.5"], {"strength": 0.5}),
        (["--source-face=1", "--target-face=all", "--paste=pixels"], {"source_face": 1, "target_face": "all"}),
    ],
)
def test_options_reach_the_swapper(options, wanted, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(swapper.Swapper, "load", lambda path, **_: f"loaded {path}")
    monkeypatch.setattr(files, "check_files", lambda *_: None)
    monkeypatch.setattr(files, "swap_files", lambda *given, **how: calls.append((given, how)) or ())
    assert main(["swap", "--checkpoint=c", "--source=a", "--target=b", "--output=o.png", *options]) == 0
    ((given, how),) = calls
    assert given == ("loaded c", ["a"], "b", "o.png") and how.items() >= wanted.items()
    assert capsys.readouterr().out == "o.png\n"


def test_what_the_user_should_know_is_a_line_each(monkeypatch, capsys):
    loaded = []
    monkeypatch.setattr(swapper.Swapper, "load", lambda _, **how: loaded.append((how["max_pixels"], how["tiles"])))
    monkeypatch.setattr(files, "check_files", lambda *_: None)
    monkeypatch.setattr(files, "swap_files", lambda *given, **how: ("one", "two") if how["color"] == "free" else ())
    options = [
        "--checkpoint=c",
        "--source=a",
        "--target=b",
        "--output=o.jpg",
        "--color=free",
        "--tiles",
        "--max-megapixels=1.5",
    ]
    assert main(["swap", *options]) == 0
    said = capsys.readouterr()
    assert said.out == "o.jpg\n" and said.err == "smoothswap swap: o.jpg: one\nsmoothswap swap: o.jpg: two\n"
    assert loaded == [(1_500_000, True)]
    assert main(["swap", *options, "--strength=1.5"]) == MISTAKE
    assert "strength: found 1.5; wanted 0, the face's own identity, to 1" in capsys.readouterr().err
    assert main(["swap", *options[:-1], "--max-megapixels=0"]) != 0
    assert "--max-megapixels: found 0; wanted more than 0" in capsys.readouterr().err


def test_what_covers_faces_is_kept_only_where_that_is_asked_for(monkeypatch):
    masks = []
    monkeypatch.setattr(swapper.Swapper, "load", lambda _, **how: masks.append(how["mask"]))
    monkeypatch.setattr(files, "check_files", lambda *_: None)
    monkeypatch.setattr(files, "swap_files", lambda *given, **how: ())
    for options in ([], ["--occluders=swap"], ["--occluders=keep"]):
        assert main(["swap", "--checkpoint=c", "--source=a", "--target=b", "--output=o.jpg", *options]) == 0
    assert masks == [None, None, keep_occluders]


def test_the_output_is_looked_at_before_anything_is_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(swapper.Swapper, "load", None)
    (tmp_path / "o.png").write_text("old")
    save_photo(tmp_path / "b.jpg", np.zeros((8, 8, 3), np.uint8))
    arguments = ["swap", "--checkpoint=c", "--source=a", f"--target={tmp_path}/b.jpg"]
    for output, said in (
        (tmp_path / "o.png", "exists already; wanted another name, or --overwrite"),
        (tmp_path / "o.gif", "found suffix '.gif'"),
        ("/proc/o.png", "/proc cannot be written to"),
    ):
        assert main([*arguments, f"--output={output}"]) == MISTAKE
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    assert (tmp_path / "o.png").read_text() == "old"


@pytest.mark.parametrize(
    "target, output, said",
    [
        ("photos", "o.gif", "o.gif: found suffix '.gif'; wanted a folder, as photos is one"),
        ("photos", "o.mp4", "o.mp4: found suffix '.mp4'; wanted a folder, as photos is one"),
        ("photos", "o.MKV", "o.MKV: found suffix '.MKV'; wanted a folder, as photos is one"),
        ("none.gif", "o.gif", "none.gif: found no such file; wanted a photo, a video or a folder"),
        ("none.gif", "o.mp4", "none.gif: found no such file; wanted a photo, a video or a folder"),
        ("none.mp4", "o.gif", "none.mp4: found no such file; wanted a photo, a video or a folder"),
        ("none", "o", "none: found no such file; wanted a photo, a video or a folder"),
        ("a.gif", "o.avif", "o.avif: found suffix '.avif' for a picture that moves; wanted one of .gif, .webp, .apng"),
        ("one.gif", "o.avif", "o.avif: found suffix '.avif' for a picture that moves; wanted one of .gif, .webp"),
    ],
)
def test_an_output_that_does_not_suit_the_target_is_refused_for_the_right_reason(
    target, output, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(swapper.Swapper, "load", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    pictures = [np.full((8, 8, 3), 80 * k, np.uint8) for k in range(3)]
    write_animation(tmp_path / "a.gif", pictures)
    write_animation(tmp_path / "one.gif", pictures[:1])
    assert main(["swap", "--source=a", f"--target={target}", f"--output={output}"]) == MISTAKE
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / output).exists()
    if target.endswith("a.gif"):
        assert ".mp4" in error


@pytest.mark.parametrize(
    "option",
    ["--start=0", "--end=3", "--preview=2", "--encoder=ffv1", "--quality=0", "--quality=20", "--pixel-format="],
)
def test_options_of_videos_are_refused_elsewhere_whatever_their_value(option, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(swapper.Swapper, "load", None)
    monkeypatch.setattr(files, "check_files", lambda *_: None)
    assert main(["swap", "--source=a", "--target=b.png", "--output=o.png", option]) == MISTAKE
    assert f"{option.split('=')[0]}: found " in capsys.readouterr().err


@pytest.mark.parametrize(
    "target, output, goes_on",
    [("a.png", "o.png", False), ("a.gif", "o.gif", False), ("a.gif", "o.mp4", True), (".", "o", True)],
)
def test_a_command_that_is_stopped_says_that_it_goes_on_only_where_it_does(
    target, output, goes_on, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(swapper.Swapper, "load", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(files, "check_files", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    write_animation(tmp_path / "a.gif", [np.full((8, 8, 3), 80 * k, np.uint8) for k in range(3)])
    assert main(["swap", "--source=a", f"--target={target}", f"--output={output}"]) == 130
    assert ("the same command goes on where it was" in capsys.readouterr().err) == goes_on


@pytest.mark.parametrize("kind, said", [("synthetic", "trained on rendered faces of 32 pixels"), ("prepared", "")])
def test_a_network_of_synthetic_faces_says_so(kind, said, monkeypatch, capsys, tmp_path):
    (tmp_path / "params.safetensors").touch()
    (tmp_path / "config.json").write_text(json.dumps({"training": {"data": {"kind": kind, "size": 32}}}))
    monkeypatch.setattr(swapper.Swapper, "load", lambda path, **_: None)
    monkeypatch.setattr(files, "check_files", lambda *_: None)
    monkeypatch.setattr(files, "swap_files", lambda *given, **how: ())
    output = f"--output={tmp_path}/o.png"
    assert main(["swap", f"--checkpoint={tmp_path}", "--source=a", "--target=b", output]) == 0
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == bool(said)


def test_a_trail_is_on_unless_a_reason_is_given_and_looked_at_before_anything_is_loaded(tmp_path, monkeypatch, capsys):
    loaded = []
    monkeypatch.setattr(swapper.Swapper, "load", lambda _, **how: loaded.append(how["provenance"]))
    monkeypatch.setattr(files, "check_files", lambda *_: None)
    monkeypatch.setattr(files, "swap_files", lambda *given, **how: ())
    arguments = ["swap", "--checkpoint=c", "--source=a", "--target=b", "--output=o.jpg"]
    assert main(arguments) == 0
    assert main([*arguments, "--no-provenance=a test set"]) == 0
    assert [how.off for how in loaded] == [None, "a test set"]
    for option, said in (
        ("--no-provenance=", "--no-provenance: found an empty reason; wanted why"),
        ("--signing-key=k.pem", "k.pem alone; wanted a chain of certificates and a key"),
        ("--signing-chain=c.pem", "c.pem alone; wanted a chain of certificates and a key"),
    ):
        assert main([*arguments, option]) == MISTAKE
        assert said in capsys.readouterr().err
    assert len(loaded) == 2

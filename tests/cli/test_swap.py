"""`smoothswap swap`: from the command line to inference.swapper.swap_files."""

import pytest

from smoothswap_jax.cli.main import main
from smoothswap_jax.inference import swapper
from tests.faces.make_videos import frames_of, write_animation


@pytest.mark.parametrize(
    "options, wanted",
    [
        ([], {"source_face": "largest", "target_face": "largest", "paste": "change"}),
        (["--source-face=1", "--target-face=all", "--paste=pixels"], {"source_face": 1, "target_face": "all"}),
    ],
)
def test_options_reach_the_swapper(options, wanted, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(swapper.Swapper, "load", lambda path: f"loaded {path}")
    monkeypatch.setattr(swapper, "swap_files", lambda *files, **how: calls.append((files, how)))
    assert main(["swap", "--checkpoint=c", "--source=a", "--target=b", "--output=o.png", *options]) == 0
    ((files, how),) = calls
    assert files == ("loaded c", "a", "b", "o.png") and how.items() >= wanted.items()
    assert capsys.readouterr().out == "o.png\n"


def test_of_pictures_that_move_it_says_that_the_first_was_used(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(swapper.Swapper, "load", lambda path, **_: None)
    monkeypatch.setattr(swapper, "swap_files", lambda *_, **__: [])
    still, moving = str(tmp_path / "still.gif"), str(tmp_path / "moving.gif")
    for path, count in ((still, 1), (moving, 2)):
        write_animation(tmp_path / path, frames_of(count))
    for source, target in ((still, still), (still, moving)):
        assert main(["swap", "--checkpoint=c", f"--source={source}", f"--target={target}", "--output=o.png"]) == 0
        said = capsys.readouterr().err
        assert said.count("moving.gif: found several pictures in it; only the first was used") == (target == moving)
        assert "still.gif" not in said

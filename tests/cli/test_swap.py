"""`smoothswap swap`: from the command line to inference.swapper.swap_files."""

import pytest

from smoothswap_jax.cli.main import main
from smoothswap_jax.inference import swapper


@pytest.mark.parametrize(
    "options, wanted",
    [
        ([], {"source_face": "largest", "target_face": "largest", "paste": "change"}),
        (["--source-face=1", "--target-face=all", "--paste=pixels"], {"source_face": 1, "target_face": "all"}),
    ],
)
def test_options_reach_the_swapper(options, wanted, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(swapper.Swapper, "load", lambda path, max_pixels: f"loaded {path}")
    monkeypatch.setattr(swapper, "swap_files", lambda *files, **how: calls.append((files, how)) or ())
    assert main(["swap", "--checkpoint=c", "--source=a", "--target=b", "--output=o.png", *options]) == 0
    ((files, how),) = calls
    assert files == ("loaded c", "a", "b", "o.png") and how.items() >= wanted.items()
    assert capsys.readouterr().out == "o.png\n"

"""The bench of photos returns what it promises."""

from smoothswap_jax.bench import photos as bench
from smoothswap_jax.faces.tones import TONE_SPREAD
from tests.faces.make_photos import picture


def test_figures_of_a_drawn_photo():
    again = bench.written_again([picture()])
    assert len(again) == len(bench.SAMPLINGS) * len(bench.QUALITIES)
    assert all(0 < found["same"] <= 1 and found["all within"] < 60 for found in again.values())
    spreads = bench.tone_spreads([picture()])
    assert spreads["most in sepia, JPEG of quality 75"] < TONE_SPREAD < spreads["least in colour"]

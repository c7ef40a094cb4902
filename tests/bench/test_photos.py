"""The bench of photos returns what it promises."""

from smoothswap_jax.bench import formats
from smoothswap_jax.bench import photos as bench
from smoothswap_jax.faces.photos import save_photo
from smoothswap_jax.faces.tones import TONE_SPREAD
from tests.faces.make_photos import picture
from tests.inference.pixel_swappers import brighten, toy


def test_figures_of_a_drawn_photo():
    again = bench.written_again([picture()])
    assert len(again) == len(bench.SAMPLINGS) * len(bench.QUALITIES)
    assert all(0 < found["same"] <= 1 and found["all within"] < 60 for found in again.values())
    spreads = bench.tone_spreads([picture()])
    assert spreads["most in sepia, JPEG of quality 75"] < TONE_SPREAD < spreads["least in colour"]


def test_the_table_of_formats_has_what_is_kept_of_each(tmp_path):
    save_photo(tmp_path / "who.png", picture(160, 260, seed=9))
    table = formats.formats_table(toy(brighten), tmp_path / "who.png", picture(160, 260))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert len(rows) == len(formats.kinds())
    for before, after, kept, alpha, same, said in rows:
        form, bits = before.split()[0], before.split(" bits")[0].split()[-1]
        assert ("not" in kept) == (form == "TIFF" and bits == "16") == ("EXIF is left out" in said), before
        assert "EXIF" in kept and "XMP" in kept and ("DPI" in kept) == (form in ("JPEG", "TIFF", "PNG")), before
        assert ("JPEG's tables" in kept) == (form == "JPEG") and alpha == ("kept" if "RGBA" in before else ""), before
        assert f" {bits} bits" in after or after == "the same", before
        assert same == "all" or form in ("JPEG", "WEBP"), before
    assert sum(after == "the same" for _, after, *_ in rows) >= 15

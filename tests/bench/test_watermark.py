"""The bench of the watermark measures what its table says, of pictures in which a toy sees faces."""

import numpy as np
import pytest

from smoothswap_jax.bench import watermark as bench
from smoothswap_jax.faces.align import ffhq_quad
from smoothswap_jax.faces.photos import save_photo
from tests.inference.pixel_swappers import marked
from tests.provenance.test_watermark import textured

pytest.importorskip("cv2")
pytest.importorskip("av")


@pytest.fixture(autouse=True)
def found(monkeypatch):
    detect = marked((210, 160, 3.0))
    monkeypatch.setattr(bench, "find_faces", detect)
    return ffhq_quad(detect(textured(0))[0].points)


def test_marks_are_found_where_they_are_and_lost_where_faces_are(found):
    attacks = {name: bench.ATTACKS[name] for name in ("none", "JPEG 75", "H.264 23")}
    told = bench.of_ours([(textured(0), found)], {**attacks, "moved": lambda photo: photo[40:]}, seed=0)
    for name in attacks:
        chips, bits, share, chance = told[name].split()
        assert (bits, share) == ("0.00%", "100.0%") and float(chips[:-1]) < 5 and float(chance) < 1e-12, name
    assert told["moved"].split()[2] == "0.0%"
    assert 42 < float(told["PSNR of the square, dB"].split(",")[0]) < 46


def test_clean_photos_and_sizes(found, tmp_path):
    save_photo(tmp_path / "a.png", textured(1))
    told = bench.on_clean([tmp_path / "a.png"])
    assert (told["photos"], told["faces"], told["chance <= 1e-06"]) == (1, 1, 0) and told["least chance"] > 1e-3
    small, quad = bench.of_side(textured(1), found, 100)
    assert abs(np.hypot(*(quad[3] - quad[0])) - 100) < 0.5 and small.shape[0] < 400

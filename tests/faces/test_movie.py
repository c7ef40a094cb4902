"""Videos that are written: what is read back of them."""

import numpy as np
import pytest

from smoothswap_jax.faces.movie import mp4_bytes
from smoothswap_jax.faces.videos import read_frames
from tests.faces.drawn_points import waves


def test_colours_sides_and_times_come_back(tmp_path):
    photos = [waves(61, 43, number) // 2 + np.uint8(60) for number in (20, 30, 40)]  # odd sides
    (tmp_path / "out.mp4").write_bytes(mp4_bytes(photos, 0.04))
    frames = list(read_frames(str(tmp_path / "out.mp4")))
    assert [float(frame.time) for frame in frames] == pytest.approx([0.0, 0.04, 0.08], abs=1e-3)
    for frame, photo in zip(frames, photos, strict=True):
        assert frame.picture.shape == (62, 44, 3)
        np.testing.assert_array_less(np.abs(frame.picture[:61, :43].astype(int) - photo).mean(), 4)
    for colour in ((200, 40, 40), (40, 160, 60), (30, 60, 210), (128, 128, 128)):
        flat = np.full((32, 32, 3), colour, np.uint8)
        (tmp_path / "flat.mp4").write_bytes(mp4_bytes([flat] * 2, 0.5))
        found = next(iter(read_frames(str(tmp_path / "flat.mp4")))).picture[8:24, 8:24].reshape(-1, 3).mean(0)
        np.testing.assert_allclose(found, colour, atol=3)


def test_what_is_no_video_is_refused():
    with pytest.raises(ValueError, match="found none"):
        mp4_bytes([], 0.1)
    with pytest.raises(ValueError, match=r"photo 1: found the shape \(16, 18, 3\); wanted \(16, 16, 3\)"):
        mp4_bytes([np.zeros((16, 16, 3), np.uint8), np.zeros((16, 18, 3), np.uint8)], 0.1)

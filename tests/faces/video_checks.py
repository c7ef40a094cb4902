"""What tests of videos share: the pictures that `make_videos` writes, and what is read of them."""

from pathlib import Path

import numpy as np
import pytest

from smoothswap_jax.faces.video_survey import survey
from smoothswap_jax.faces.videos import Fault, Frame, read_frames, sampled_frames
from tests.faces import make_videos
from tests.faces.make_videos import frames_of

FRAMES = frames_of()
TURNS = {
    (0, 1, -1, 0): lambda picture: np.rot90(picture, -1),
    (-1, 0, 0, -1): lambda picture: np.rot90(picture, 2),
    (0, -1, 1, 0): lambda picture: np.rot90(picture, 1),
    (-1, 0, 0, 1): lambda picture: picture[:, ::-1],
    (1, 0, 0, -1): lambda picture: picture[::-1],
    (0, 1, 1, 0): lambda picture: np.swapaxes(picture, 0, 1),
}


def faults(path: Path, count: int = 5) -> list[str]:
    return [one.reason for one in sampled_frames(str(path), count) if isinstance(one, Fault)]


def numbers(path: Path, count: int = 5) -> list[int]:
    return [one.number for one in sampled_frames(str(path), count) if isinstance(one, Frame)]


def check_pictures(path: Path, count: int, atol: int = 10, late: int = 0) -> None:
    """The first `count` frames come, each with its own picture and its time.

    late: how many frames may be missing in between, as those are that a cut has taken from before the last one.
    """
    found = list(read_frames(str(path)))
    assert [frame.number for frame in found] == list(range(count)) == list(range(survey(str(path)).frames))
    for frame in found:
        assert frame.picture.dtype == np.uint8
        shown = round(frame.time * make_videos.RATE)
        assert float(frame.time) == pytest.approx(shown / make_videos.RATE, abs=0.002)
        assert 0 <= shown - frame.number <= late
        np.testing.assert_allclose(frame.picture, FRAMES[shown].astype(float), atol=atol)

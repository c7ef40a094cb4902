"""A video, for tests that read one."""

from pathlib import Path

import pytest

from tests.faces.make_videos import write_video
from tests.faces.video_checks import FRAMES


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """40 frames of 64x48 pixels in MPEG-4."""
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    write_video(path, FRAMES)
    return path

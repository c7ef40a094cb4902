"""Faces and videos for the tests of evaluation, made of the one public photo that is installed with scikit-image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces.photos import Photo
from tests.faces import make_videos
from tests.places import SHARED

FACES = SHARED / "faces"


def astronaut(side: int = 256) -> Photo:
    """Eileen Collins, of NASA; public domain. The face fills a third of the picture's side."""
    photo = pytest.importorskip("skimage.data").astronaut()[:256, 96:352]
    return np.asarray(Image.fromarray(photo).resize((side, side), Image.Resampling.LANCZOS))


def stranger(side: int = 256) -> Photo:
    """The negative: detectors see a face as before, SFace another person (a cosine of 0.01)."""
    return 255 - astronaut(side)


def moved(photo: Photo, right: int, down: int) -> Photo:
    """The picture moved by a few pixels, as by a camera in the hand."""
    pad = max(abs(right), abs(down))
    height, width = photo.shape[:2]
    wide = np.pad(photo, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    return wide[pad - down : pad - down + height, pad - right : pad - right + width]


def face_mask(side: int) -> np.ndarray:
    """Where the face is in `astronaut(side)`: bool [side, side, 1]."""
    y, x = np.mgrid[:side, :side] / side
    return (((x - 0.505) / 0.15) ** 2 + ((y - 0.49) / 0.2) ** 2 < 1)[:, :, None]


def write_video(path: Path, frames: Sequence[Photo], rate: int = 25) -> Path:
    """MPEG-4 in .mp4; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    make_videos.write_video(path, frames, rate)
    return path

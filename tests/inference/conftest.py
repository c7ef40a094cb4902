"""A source of painted videos, and who is who in them."""

from pathlib import Path

import numpy as np
import pytest

from smoothswap_jax.faces.photos import save_photo
from smoothswap_jax.inference import first_look, video
from tests.inference.painted_videos import MAGENTA, painted, spotted


@pytest.fixture
def source(tmp_path) -> Path:
    save_photo(tmp_path / "bright.png", painted({MAGENTA: (80, 45)}, grey=200))
    save_photo(tmp_path / "dark.png", painted({MAGENTA: (80, 45)}, grey=10))
    return tmp_path / "bright.png"


@pytest.fixture
def known_people(monkeypatch):
    """Who is who is told by the spot's colour, in the place of SFace."""

    def identify(photo, faces):
        vectors = np.zeros((len(faces), 128), np.float32)
        for row, face in zip(vectors, faces, strict=True):
            x, y = np.rint(face.points[2]).astype(int)
            row[0 if photo[y, x, 0] > photo[y, x, 1] else 1] = 1
        return vectors

    monkeypatch.setattr(first_look, "identities", identify)
    monkeypatch.setattr(video, "find_faces", spotted)  # so that a job knows its detector again

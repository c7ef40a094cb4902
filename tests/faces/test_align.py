"""Alignment against the FFHQ formulas and drawings."""

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces.align import (
    FEATHER,
    align_face,
    crop_to_photo,
    ffhq_quad,
    paste_back,
    paste_change,
    paste_mask,
    photo_to_crop,
)
from smoothswap_jax.faces.photos import PhotoError
from tests.faces.drawn_points import POINTS, side, turned, waves


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
    photo[:, ::2] = 200  # one-pixel stripes must average to grey, not alias to a coarse pattern
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


def ffhq_by_the_book(photo: np.ndarray, quad: np.ndarray, size: int) -> np.ndarray:
    """The published procedure for a quad well inside the photo: a 4096-pixel bilinear transform, then an antialiased
    resize."""
    corners = tuple((quad + 0.5).ravel())
    fine = Image.fromarray(photo).transform((4096, 4096), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    return np.asarray(fine.resize((size, size), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("degrees", [0, 12])
@pytest.mark.parametrize("size", [128, 256])
def test_crops_are_those_of_the_ffhq_procedure(size, degrees):
    photo = pytest.importorskip("skimage.data").astronaut()
    quad = turned(np.array([[130, 60], [130, 300], [370, 300], [370, 60.0]]), degrees, (250, 180))
    difference = align_face(photo, quad, size).astype(float) - ffhq_by_the_book(photo, quad, size)
    assert 10 * np.log10(255**2 / np.mean(difference**2)) > 40  # decibels


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

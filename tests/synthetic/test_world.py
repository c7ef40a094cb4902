"""The synthetic face world. One compiled size and batch shape serves almost all tests: compiling is the cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.synthetic import world
from smoothswap_jax.synthetic.factors import EXPRESSION_RANGES, IDENTITY_RANGES, decode
from smoothswap_jax.synthetic.world import (
    BACKGROUND_DIM,
    EXPRESSION_DIM,
    EXPRESSION_FIELDS,
    IDENTITY_DIM,
    IDENTITY_FIELDS,
    LIGHT_DIM,
    POSE_DIM,
    Factors,
    landmarks,
    render,
    sample_factors,
    swap_truth,
)

SIZE, BATCH = 64, 16
DIMS = Factors(IDENTITY_DIM, EXPRESSION_DIM, POSE_DIM, LIGHT_DIM, BACKGROUND_DIM)


def plain(n: int = BATCH) -> Factors:
    """Average faces that look straight ahead: every factor in the middle of its range."""
    return Factors(*(np.zeros((n, d), np.float32) for d in DIMS))


def put(factors: Factors, part: str, name: str, value) -> Factors:
    fields = {"identity": IDENTITY_FIELDS, "expression": EXPRESSION_FIELDS, "pose": world.POSE_FIELDS}[part]
    array = np.array(getattr(factors, part))
    array[:, fields.index(name)] = value
    return factors._replace(**{part: array})


def bald(factors: Factors) -> Factors:
    """Without hair and marks, whose patterns are not mirror symmetric."""
    for name in ("hair_volume", "hair_length", "beard", "freckles", "mole_size"):
        factors = put(factors, "identity", name, -5.0)
    return factors


def draw(factors: Factors, size: int = SIZE) -> np.ndarray:
    """Images of any number of factors, rendered in batches of one shape."""
    n = len(factors.pose)
    pad = -n % BATCH
    padded = [np.concatenate([a, np.repeat(a[:1], pad, axis=0)]) for a in map(np.asarray, factors)]
    parts = [render(*(a[i : i + BATCH] for a in padded), size) for i in range(0, n + pad, BATCH)]
    return np.concatenate([np.asarray(p) for p in parts])[:n]


@pytest.fixture(scope="module")
def crowd() -> Factors:
    return sample_factors(jax.random.key(0), BATCH)


@pytest.fixture(scope="module")
def pictures(crowd) -> np.ndarray:
    return draw(crowd)


def test_shapes_follow_the_requested_size_without_drawing():
    for size in (32, 256):
        assert jax.eval_shape(lambda f, s=size: render(*f, s), plain(2)).shape == (2, size, size, 3)
    with pytest.raises(ValueError, match="multiple of 8"):
        render(*plain(2), 36)


def test_pictures_use_the_range_and_are_finite(pictures):
    assert pictures.dtype == np.float32
    assert np.isfinite(pictures).all()
    assert pictures.min() >= -1.0 and pictures.max() <= 1.0
    assert pictures.min() < -0.8 and pictures.max() > 0.8


def test_extreme_factors_are_finite():
    wild = sample_factors(jax.random.key(9), BATCH)
    wild = Factors(*(3.0 * a if a is not wild.pose else a for a in wild))
    assert np.isfinite(draw(wild)).all()


def test_drawing_is_deterministic_and_each_picture_depends_on_its_own_factors(crowd, pictures):
    np.testing.assert_array_equal(draw(crowd), pictures)
    rolled = Factors(*(np.roll(a, 5, axis=0) for a in crowd))
    np.testing.assert_allclose(draw(rolled), np.roll(pictures, 5, axis=0), atol=1e-5)
    alone = Factors(*(np.repeat(np.asarray(a)[3:4], BATCH, axis=0) for a in crowd))
    np.testing.assert_allclose(draw(alone)[0], pictures[3], atol=1e-5)


def test_samples_are_independent_of_each_other_and_of_the_batch():
    faces = sample_factors(jax.random.key(1), 400)
    table = np.concatenate([np.asarray(a) for a in faces], axis=1)
    correlation = np.corrcoef(table, rowvar=False) - np.eye(table.shape[1])
    assert np.abs(correlation).max() < 0.3
    assert np.abs(np.asarray(faces.pose)[:, 0]).max() <= world.MAX_YAW
    low, high = IDENTITY_RANGES["jaw_width"]
    widths = jax.vmap(lambda v: decode(v, IDENTITY_RANGES)["jaw_width"])(faces.identity)
    assert low < widths.min() < low + 0.1 * (high - low) and high > widths.max() > high - 0.1 * (high - low)


def test_swap_truth_takes_the_identity_and_leaves_the_rest(crowd, pictures):
    target = sample_factors(jax.random.key(2), BATCH)
    truth = swap_truth(crowd, target)
    for name in Factors._fields:
        wanted = crowd if name == "identity" else target
        np.testing.assert_array_equal(getattr(truth, name), getattr(wanted, name))
    np.testing.assert_array_equal(draw(swap_truth(crowd, crowd)), pictures)
    assert np.abs(draw(truth) - pictures).mean() > 0.1


def test_identity_does_not_reach_the_background(crowd):
    faces = plain()._replace(identity=crowd.identity, background=np.repeat(crowd.background[:1], BATCH, 0))
    drawn = draw(faces)
    for corner in (drawn[:, :6, :6], drawn[:, :6, -6:]):
        np.testing.assert_allclose(corner, np.repeat(corner[:1], BATCH, axis=0), atol=1e-6)
    assert np.abs(drawn[1:] - drawn[:1]).mean(axis=(1, 2, 3)).min() > 0.05


@pytest.mark.parametrize("part", ["identity", "expression"])
def test_each_entry_changes_the_picture(part):
    fields = IDENTITY_FIELDS if part == "identity" else EXPRESSION_FIELDS
    low, high = (put(plain(len(fields)), "identity", "mole_size", 1.0) for _ in range(2))
    for i in range(len(fields)):
        getattr(low, part)[i, i], getattr(high, part)[i, i] = -2.0, 2.0
    change = np.abs(draw(high) - draw(low)).max(axis=-1)
    seen = (change > 0.08).sum(axis=(1, 2))
    silent = [name for name, pixels in zip(fields, seen, strict=True) if pixels < 4]
    assert not silent


@pytest.mark.parametrize(
    ("name", "rows"),
    [("mouth_open", (42, 56)), ("smile", (42, 54)), ("gaze_x", (26, 36)), ("eye_open", (22, 36))],
)
def test_expression_acts_where_it_should(name, rows):
    low, high = (draw(put(bald(plain(1)), "expression", name, v))[0] for v in (-2.0, 2.0))
    change = np.abs(high - low).mean(axis=-1)
    region = np.zeros_like(change, dtype=bool)
    region[slice(*rows), 18:46] = True
    assert change[region].mean() > 4.0 * change[~region].mean()


def test_yaw_turns_the_nose_to_the_right_of_the_picture():
    turned = {yaw: put(bald(plain(1)), "pose", "yaw", yaw) for yaw in (-0.5, 0.5)}
    centres, columns = {}, np.arange(SIZE) + 0.5
    for yaw, face in turned.items():
        long_nose = draw(put(face, "identity", "nose_tip", 2.0))[0]
        change = np.abs(long_nose - draw(put(face, "identity", "nose_tip", -2.0))[0]).sum(axis=(0, 2))
        centres[yaw] = (change * columns).sum() / change.sum()
        x = np.asarray(landmarks(face.identity, face.expression, face.pose, SIZE))[0, :, 0]
        assert (x[2] - x[:2].mean()) * np.sign(yaw) > 3.0
    assert centres[0.5] > SIZE / 2 + 0.5 and centres[-0.5] < SIZE / 2 - 0.5


def test_the_mirror_image_of_a_symmetric_face_is_the_face_of_opposite_yaw():
    right = draw(put(bald(plain(1)), "pose", "yaw", 0.4))[0]
    left = draw(put(bald(plain(1)), "pose", "yaw", -0.4))[0]
    assert np.abs(left[:, ::-1] - right).mean() < 0.008
    assert np.abs(left - right).mean() > 0.08


def test_the_head_hides_its_far_ear():
    face = bald(plain(1))

    def ear_change(yaw):
        turned = put(face, "pose", "yaw", yaw)
        big, small = (draw(put(turned, "identity", "ear_size", v))[0] for v in (2.0, -2.0))
        change = np.abs(big - small).sum(axis=(0, 2))
        return change[: SIZE // 2].sum(), change[SIZE // 2 :].sum()

    near_left, far_right = ear_change(0.6)
    front_left, front_right = ear_change(0.0)
    assert front_right > 0.5 * front_left
    assert near_left > 1.0 and far_right < 0.05 * near_left


@pytest.mark.slow
def test_one_world_at_every_size(crowd, pictures):
    large = np.asarray(render(*(a[:1] for a in crowd), 4 * SIZE))
    shrunk = large.reshape(1, SIZE, 4, SIZE, 4, 3).mean(axis=(2, 4))
    assert np.abs(shrunk[0] - pictures[0]).mean() < 0.015
    assert np.abs(shrunk[0] - pictures[1]).mean() > 0.15


def test_pupils_are_at_the_eye_landmarks(crowd):
    """The darkest spot near each eye landmark is on it, and the white of the eye is beside it."""
    faces = plain()._replace(identity=crowd.identity, pose=put(plain(), "pose", "yaw", 0.3).pose)
    faces = put(faces, "expression", "eye_open", 2.0)
    grey = draw(faces).mean(axis=-1)
    points = np.asarray(landmarks(faces.identity, faces.expression, faces.pose, SIZE))
    for picture, eyes in zip(grey, points[:, :2], strict=True):
        for x, y in eyes:
            row, column = int(y), int(x)
            middle = picture[row - 1 : row + 1, column - 1 : column + 2].min()
            assert middle < picture[row - 1 : row + 2, column - 5 : column + 6].max() - 0.35


def test_landmarks_obey_the_ffhq_crop_at_every_yaw_and_pitch(crowd):
    pose = np.array(crowd.pose)
    pose[:, 2] = 0.0
    points = np.asarray(landmarks(crowd.identity, crowd.expression, pose, 1024))
    eyes, mouth = points[:, :2].mean(axis=1), points[:, 3:].mean(axis=1)
    centre = eyes + 0.1 * (mouth - eyes)
    distance = np.linalg.norm(points[:, 1] - points[:, 0], axis=1)
    half = np.maximum(2.0 * distance, 1.8 * np.linalg.norm(mouth - eyes, axis=1))
    np.testing.assert_allclose(centre, 512.0, atol=1.0)
    np.testing.assert_allclose(half, 512.0, rtol=0.005)
    np.testing.assert_array_less(points[:, 0, 0], points[:, 1, 0])
    np.testing.assert_array_less(points[:, 2, 1], points[:, 3, 1])


def test_roll_tilts_the_landmarks_by_its_angle():
    face = put(plain(1), "pose", "roll", 0.05)
    (left, right), *_ = np.split(np.asarray(landmarks(face.identity, face.expression, face.pose, 64))[0], [2])
    angle = np.arctan2(left[1] - right[1], right[0] - left[0])
    assert angle == pytest.approx(0.05, abs=1e-4)


def test_decoded_values_stay_inside_their_ranges():
    for ranges in (IDENTITY_RANGES, EXPRESSION_RANGES):
        for sign in (-1.0, 1.0):
            values = decode(sign * 9.0 * jnp.ones(len(ranges)), ranges)
            for name, (low, high) in ranges.items():
                assert float(values[name]) == pytest.approx(high if sign > 0 else low, abs=1e-5)

"""The world of people as a whole: images, their truth, landmarks and parts. Few shapes, as compiling is the cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.data.rendered import render_many
from smoothswap_jax.synthetic import rendering, world
from smoothswap_jax.synthetic.heads import LANDMARK_NAMES
from smoothswap_jax.synthetic.raster import oversized
from smoothswap_jax.synthetic.rendering import FRAME, HAIR, PARTS, load_assets, topology
from smoothswap_jax.synthetic.world import (
    FIELDS,
    Factors,
    all_landmarks,
    landmarks,
    parts,
    render,
    sample_factors,
    sample_photos,
    swap_truth,
)

pytestmark = pytest.mark.slow  # compiling takes most of a minute

SIZE, BATCH = 64, 8


def put(factors: Factors, group: str, **values: float) -> Factors:
    array = np.array(getattr(factors, group))
    for name, value in values.items():
        array[:, FIELDS[group].index(name)] = value
    return factors._replace(**{group: array})


def draw(factors: Factors) -> np.ndarray:
    """Images of any number of factors, rendered in batches of one shape."""
    return render_many(factors, SIZE, chunk=BATCH)


def rows(factors: Factors, which) -> Factors:
    return Factors(*(np.asarray(values)[which] for values in factors))


@pytest.fixture(scope="module")
def crowd() -> Factors:
    return rows(sample_factors(jax.random.key(0), BATCH), slice(None))


@pytest.fixture(scope="module")
def pictures(crowd) -> np.ndarray:
    return draw(crowd)


@pytest.fixture(scope="module")
def frontal(crowd) -> Factors:
    """The crowd looking straight ahead, shorn, shaven and without glasses, in plain light."""
    calm = crowd._replace(pose=0 * crowd.pose, expression=0 * crowd.expression)
    calm = put(
        calm, "style", hair_length=0.0, fringe=0.0, beard_density=0.0, beard_length=0.0, glasses=0.0, hair_tied=0.0
    )
    return put(calm, "light", azimuth=0.0, elevation=0.3, lamp=1.0, softness=0.7, warmth=0.0, ambient=0.5)


def test_a_size_out_of_range_is_refused(crowd):
    for size in (4, 1024):
        with pytest.raises(ValueError, match=f"size must be 8 ... 512, found {size}"):
            render(*crowd, size=size)
    assert jax.eval_shape(lambda *f: render(*f, size=36), *crowd).shape == (BATCH, 36, 36, 3)


def test_pictures_use_the_range_and_are_finite(pictures):
    assert pictures.dtype == np.float32 and np.isfinite(pictures).all()
    assert pictures.min() >= -1.0 and pictures.max() <= 1.0
    assert np.ptp(pictures, axis=(1, 2, 3)).min() > 1.0


def test_drawing_is_deterministic_and_each_picture_depends_on_its_own_factors(crowd, pictures):
    np.testing.assert_array_equal(draw(crowd), pictures)
    np.testing.assert_allclose(draw(rows(crowd, np.roll(np.arange(BATCH), 3))), np.roll(pictures, 3, axis=0), atol=1e-5)
    np.testing.assert_allclose(draw(rows(crowd, [5])), pictures[5:6], atol=1e-5)


def test_extreme_factors_are_finite(crowd):
    ends = np.random.default_rng(0)
    wild = sample_factors(jax.random.key(9), BATCH)
    wild = Factors(*(np.asarray(v) + 0.5 * np.asarray(v).std(0) * ends.normal(size=v.shape) for v in wild))
    assert np.isfinite(draw(Factors(*(v.astype(np.float32) for v in wild)))).all()


def test_no_triangle_is_too_large_to_draw(crowd):
    assets = jax.tree.map(jnp.asarray, load_assets())
    side = rendering.SUPERSAMPLING * rendering.MOST_PIXELS

    def one(row):
        factors, vertices = row
        values = rendering.named(factors)
        figure = rendering.figure_of(assets, values, vertices)
        camera = rendering.camera_of(assets.heads, values, vertices, factors.pose)
        return oversized(rendering.on_screen(figure, camera, side), jnp.asarray(topology().triangles), side)

    count = jax.jit(lambda factors: jax.lax.map(one, (factors, world._vertices(assets, factors))))(crowd)
    np.testing.assert_array_equal(count, 0)


def test_swap_truth_takes_the_identity_and_leaves_the_rest(crowd, pictures):
    target = sample_factors(jax.random.key(2), BATCH)
    truth = swap_truth(crowd, target)
    for name in Factors._fields:
        np.testing.assert_array_equal(getattr(truth, name), getattr(crowd if name == "identity" else target, name))
    assert np.abs(draw(truth) - pictures).mean() > 0.1


def test_identity_does_not_reach_the_background_and_style_not_the_shape(crowd, frontal):
    behind = rows(frontal, np.zeros(BATCH, int))._replace(identity=crowd.identity)
    drawn = draw(behind)
    for corner in (drawn[:, :6, :6], drawn[:, :6, -6:]):
        np.testing.assert_allclose(corner, np.repeat(corner[:1], BATCH, axis=0), atol=1e-6)
    assert np.abs(drawn[1:] - drawn[:1]).mean(axis=(1, 2, 3)).min() > 0.05
    np.testing.assert_array_equal(
        all_landmarks(behind, SIZE), all_landmarks(put(behind, "style", hair_length=2.5), SIZE)
    )


def test_photos_of_a_person_differ_in_all_but_the_identity(crowd):
    first, second = (sample_photos(jax.random.key(i), crowd.identity) for i in (5, 6))
    for name in Factors._fields:
        a, b = np.asarray(getattr(first, name)), np.asarray(getattr(second, name))
        assert (a == b).all() if name == "identity" else (np.abs(a - b).max(axis=1) > 0).all()


def test_the_world_may_be_a_part_of_a_larger_program():
    """Compiler options, with which its own programs are compiled, are refused there."""
    key = jax.random.key(3)
    both = lambda key: world.sample_photos(key, world.sample_identity(key, 2))
    apart, together = both(key), jax.jit(both)(key)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), apart, together)


def test_spread_scales_expression_pose_and_light(crowd):
    whole, half, none = (sample_photos(jax.random.key(3), crowd.identity, spread) for spread in (1.0, 0.5, 0.0))
    np.testing.assert_allclose(half.pose, 0.5 * whole.pose, rtol=1e-6)
    np.testing.assert_allclose(half.expression, 0.5 * whole.expression, rtol=1e-6)
    assert np.ptp(none.light, axis=0).max() < 1e-6
    np.testing.assert_allclose(half.light - none.light, 0.5 * (whole.light - none.light), atol=1e-6)
    np.testing.assert_array_equal(half.style, whole.style)


@pytest.mark.parametrize(
    ("group", "name", "low", "high", "box"),
    [
        ("expression", "jawOpen", 0.0, 0.6, (38, 64, 14, 50)),
        ("expression", "browInnerUp", 0.0, 0.9, (12, 36, 12, 52)),
        ("expression", "gaze_x", -0.4, 0.4, (26, 38, 14, 50)),
        ("expression", "eyeBlinkRight", 0.0, 0.9, (24, 38, 14, 34)),
        ("identity", "nose-scale-horiz", -0.7, 0.7, (28, 48, 22, 42)),
        ("identity", "iris_melanin", 0.0, 1.0, (26, 38, 14, 50)),
    ],
)
def test_a_factor_acts_where_it_should(frontal, group, name, low, high, box):
    """Where the edges of a face move, single pixels change much anywhere; most of the change is in its place."""
    change = np.abs(draw(put(frontal, group, **{name: high})) - draw(put(frontal, group, **{name: low}))).mean((0, 3))
    region = np.zeros_like(change, dtype=bool)
    region[box[0] : box[1], box[2] : box[3]] = True
    assert change[region].mean() > 2.5 * change[~region].mean()


def test_hair_and_glasses_come_and_go(frontal):
    shown = lambda factors, part: (np.asarray(parts(factors, SIZE)) == part).mean(axis=(1, 2))
    long = put(frontal, "style", hair_length=2.2, hair_volume=0.15, sides=0.7)
    assert shown(frontal, HAIR).max() == 0.0 and shown(long, HAIR).min() > 0.05
    worn = put(frontal, "style", glasses=1.0)
    assert shown(frontal, FRAME).max() == 0.0 and shown(worn, FRAME).min() > 0.005


def test_parts_lie_where_the_landmarks_are(frontal):
    shown = np.asarray(parts(frontal, SIZE))
    points = np.floor(np.asarray(landmarks(frontal, SIZE))).astype(int)
    for picture, (right, left, nose, *_) in zip(shown, points, strict=True):
        assert PARTS[picture[nose[1], nose[0]]] == "skin"
        assert PARTS[picture[right[1], right[0]]] == "right_eye" and PARTS[picture[left[1], left[0]]] == "left_eye"
    assert (shown[:, 0] == -1).mean() > 0.5


def test_landmarks_obey_the_ffhq_crop_at_every_yaw_and_pitch(crowd):
    level = put(crowd, "pose", roll=0.0)
    points = np.asarray(landmarks(level, 1024))
    eyes, mouth = points[:, :2].mean(axis=1), points[:, 3:].mean(axis=1)
    distance = np.linalg.norm(points[:, 1] - points[:, 0], axis=1)
    half = np.maximum(2.0 * distance, 1.8 * np.linalg.norm(mouth - eyes, axis=1))
    np.testing.assert_allclose(eyes + 0.1 * (mouth - eyes), 512.0, atol=1.0)
    np.testing.assert_allclose(half, 512.0, rtol=0.005)


def test_the_nose_turns_to_the_right_with_positive_yaw(frontal):
    for yaw in (-0.6, 0.6):
        points = np.asarray(landmarks(put(frontal, "pose", yaw=yaw), SIZE))
        assert (np.sign(yaw) * (points[:, 2, 0] - points[:, :2, 0].mean(1)) > 1.5).all()


def test_the_pupils_are_where_the_eyes_are(frontal):
    """The darkest spot near each eye is near its landmark."""
    dark = put(put(frontal, "identity", iris_melanin=1.0), "light", lamp=1.5)
    grey = draw(dark).mean(-1)
    for picture, eyes in zip(grey, np.asarray(landmarks(dark, SIZE))[:, :2], strict=True):
        for x, y in np.floor(eyes).astype(int):
            middle = picture[y - 2 : y + 3, x - 2 : x + 3]
            around = picture[y - 5 : y + 6, x - 7 : x + 8]
            assert middle.min() < around.mean() - 0.2


@pytest.mark.slow
def test_one_world_at_every_size(crowd, pictures):
    large = render_many(rows(crowd, slice(2)), 4 * SIZE, chunk=2)
    shrunk = large.reshape(2, SIZE, 4, SIZE, 4, 3).mean(axis=(2, 4))
    assert np.abs(shrunk - pictures[:2]).mean() < 0.05
    assert np.abs(shrunk - pictures[[1, 0]]).mean() > 0.15


def test_names_are_distinct_and_fit_the_vectors(crowd):
    names = [name for group in FIELDS.values() for name in group]
    assert len(set(names)) == len(names)
    assert [len(fields) for fields in FIELDS.values()] == [values.shape[1] for values in crowd]
    assert np.asarray(all_landmarks(crowd, SIZE)).shape == (BATCH, len(LANDMARK_NAMES), 2)

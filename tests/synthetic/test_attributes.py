"""Expressions, poses and cameras: what differs between photos of one person."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.synthetic.attributes import (
    CAMERA_FIELDS,
    EXPRESSION_FIELDS,
    EXPRESSIONS,
    POSE_FIELDS,
    PROTOTYPES,
    STEMS,
    STYLE_FIELDS,
    Attributes,
    sample_attributes,
)
from smoothswap_jax.synthetic.heads import EXPRESSION_UNITS
from smoothswap_jax.synthetic.population import named, sample_identity

pytestmark = pytest.mark.slow  # compiling takes most of a minute

PHOTOS = 3000
FIELDS = Attributes(EXPRESSION_FIELDS, POSE_FIELDS, CAMERA_FIELDS, STYLE_FIELDS)


@pytest.fixture(scope="module")
def identity():
    return sample_identity(jax.random.key(0), PHOTOS)


@pytest.fixture(scope="module")
def photos(identity) -> Attributes:
    """Of each part a mapping of names to values."""
    drawn = sample_attributes(jax.random.key(1), PHOTOS, identity)
    return Attributes(
        *({name: np.asarray(v) for name, v in named(*pair).items()} for pair in zip(drawn, FIELDS, strict=True))
    )


def test_values_lie_within_their_bounds(photos):
    for part, fields in zip(photos, FIELDS, strict=True):
        for name, (low, high) in fields.items():
            assert (part[name] >= low - 1e-6).all() and (part[name] <= high + 1e-6).all(), name


def test_the_key_decides_and_photos_of_one_person_differ(identity):
    same = jnp.repeat(identity[:1], 6, axis=0)
    first, again = (sample_attributes(jax.random.key(5), 6, same) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
        assert len(np.unique(np.asarray(a), axis=0)) == 6


def test_expressions_are_made_of_units_that_exist():
    names = {name for _, units in EXPRESSIONS.values() for name in units}
    assert names <= set(STEMS)
    assert sum(odds for odds, _ in EXPRESSIONS.values()) > 0.99
    smile = PROTOTYPES[list(EXPRESSIONS).index("smile")]
    left, right = (smile[EXPRESSION_UNITS.index(f"mouthSmile{side}")] for side in ("Left", "Right"))
    assert left == right == pytest.approx(0.7)


def test_left_and_right_are_nearly_equal_and_not_quite(photos):
    left, right = (photos.expression[f"mouthSmile{side}"] for side in ("Left", "Right"))
    smiling = left > 0.3
    ratio = left[smiling] / right[smiling]
    assert 0.03 < np.abs(np.log(ratio)).mean() < 0.12
    assert np.abs(np.log(ratio)).max() < 0.4


def test_half_of_all_people_smile_and_some_mouths_are_open(photos):
    assert 0.3 < (photos.expression["mouthSmileLeft"] > 0.25).mean() < 0.6
    assert 0.05 < (photos.expression["jawOpen"] > 0.15).mean() < 0.3
    assert (photos.expression["tongueOut"] == 0).all()


def test_units_do_not_contradict_each_other(photos):
    unit = photos.expression
    assert (unit["mouthClose"] <= unit["jawOpen"] + 1e-6).all(), "lips close only what the jaw has opened"
    assert (unit["mouthClose"] > 0.1).any()
    for side in ("Left", "Right"):
        shut = unit[f"eyeBlink{side}"] + 0.5 * unit[f"eyeSquint{side}"]
        assert (shut <= 1 + 1e-6).all(), "lids do not cross"
        assert (unit[f"eyeWide{side}"][shut > 0.6] < 0.3).all()
        assert np.minimum(unit[f"mouthSmile{side}"], unit[f"mouthFrown{side}"]).max() < 0.4


def test_poses_are_mostly_frontal(photos):
    yaw, pitch, roll = (np.degrees(photos.pose[name]) for name in ("yaw", "pitch", "roll"))
    assert (np.abs(yaw) < 25).mean() > 0.85
    assert (np.abs(yaw) > 30).mean() > 0.02
    assert 6 < pitch.std() < 11 and 1 < roll.std() < 2.2
    assert np.abs(np.mean([yaw.mean(), pitch.mean(), roll.mean()])) < 1


def test_most_eyes_look_at_the_camera(photos):
    """The gaze is in the head: it makes up for the pose as far as eyes turn."""
    off = np.hypot(photos.expression["gaze_x"] + photos.pose["yaw"], photos.expression["gaze_y"] + photos.pose["pitch"])
    assert 0.6 < (off < np.radians(3)).mean() < 0.85


def test_cameras_are_from_half_a_metre_to_two(photos):
    distance = photos.camera["distance"]
    assert distance.min() > 4.5 and distance.max() <= 20
    assert 9 < np.median(distance) < 11

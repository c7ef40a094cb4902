"""Pose and expression measures against hand-computed values, scipy and scikit-image."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation
from skimage.transform import SimilarityTransform

from smoothswap_jax.metrics import per_pair


def test_hopenet_rotations_are_the_axes_that_draw_axis_draws() -> None:
    """Its formulas for where the head's x and y axis and its nose point in the picture, y down."""
    degrees = np.array([[30.0, -20.0, 10.0], [-70.0, 35.0, -25.0], [0.0, 0.0, 0.0]])
    pitch, yaw, roll = np.radians(degrees[:, 1]), -np.radians(degrees[:, 0]), np.radians(degrees[:, 2])
    cos, sin = np.cos, np.sin
    x = cos(yaw) * cos(roll), cos(pitch) * sin(roll) + cos(roll) * sin(pitch) * sin(yaw)
    y = -cos(yaw) * sin(roll), cos(pitch) * cos(roll) - sin(pitch) * sin(yaw) * sin(roll)
    z = sin(yaw), -cos(yaw) * sin(pitch)
    found = per_pair.hopenet_rotations(degrees)
    drawn = np.stack([np.stack(axis, axis=1) for axis in (x, y, z)], axis=2)
    np.testing.assert_allclose(found[:, :2], drawn, atol=1e-15)
    np.testing.assert_allclose(np.linalg.det(found), 1)


def test_hopenet_rotations_refuse_another_number_of_angles() -> None:
    with pytest.raises(ValueError, match=r"yaw, pitch, roll\), found shape \(2, 4\)"):
        per_pair.hopenet_rotations(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"angles \[n, 3\].* found \(3,\)"):
        per_pair.hopenet_rotations(np.zeros(3))
    with pytest.raises(ValueError, match="degrees must be finite; row 0"):
        per_pair.hopenet_rotations(np.array([[0.0, np.nan, 0.0]]))


def test_geodesic_equals_scipys_magnitude() -> None:
    a, b = Rotation.random(200, rng=np.random.default_rng(0)), Rotation.random(200, rng=np.random.default_rng(1))
    found = per_pair.geodesic_degrees(a.as_matrix(), b.as_matrix())
    np.testing.assert_allclose(found, np.degrees((a.inv() * b).magnitude()))
    # Chance: random rotations are pi / 2 + 2 / pi apart on average, with a deviation of 37 degrees.
    assert found.mean() == pytest.approx(np.degrees(np.pi / 2 + 2 / np.pi), abs=8)


@pytest.mark.parametrize("degrees", [0.0, 1e-12, 1e-7, 1.0, 90.0, 179.0, 180 - 1e-7, 180 - 1e-11, 180.0])
def test_geodesic_is_exact_near_both_ends(degrees: float) -> None:
    axes = np.random.default_rng(0).normal(size=(50, 3))
    turn = Rotation.from_rotvec(np.radians(degrees) * axes / np.linalg.norm(axes, axis=1, keepdims=True))
    a = Rotation.random(50, rng=np.random.default_rng(1))
    found = per_pair.geodesic_degrees(a.as_matrix(), (a * turn).as_matrix())
    np.testing.assert_allclose(found, degrees, rtol=0, atol=1e-12)  # radians to 2e-14


def test_geodesic_of_single_turns_by_hand() -> None:
    angles = np.array([[25.0, 0.0, 0.0], [0.0, 25.0, 0.0], [0.0, 0.0, -25.0], [370.0, 0.0, 0.0]])
    still = per_pair.hopenet_rotations(np.zeros((4, 3)))
    np.testing.assert_allclose(per_pair.geodesic_degrees(per_pair.hopenet_rotations(angles), still), [25, 25, 25, 10])


def test_geodesic_takes_float32_and_refuses_what_is_no_rotation() -> None:
    turns = per_pair.hopenet_rotations(np.random.default_rng(0).uniform(-90, 90, size=(20, 3)))
    assert per_pair.geodesic_degrees(turns.astype(np.float32), turns).max() < 1e-4
    with pytest.raises(ValueError, match="b must be rotations; row 1"):
        per_pair.geodesic_degrees(turns[:2], turns[:2] * np.array([1.0, 1.01])[:, None, None])
    with pytest.raises(ValueError, match="a must be rotations; row 0"):
        per_pair.geodesic_degrees(turns[:1] * np.array([1.0, 1.0, -1.0]), turns[:1])  # a mirror is orthonormal too
    with pytest.raises(ValueError, match=r"found shape \(1, 2, 2\)"):
        per_pair.geodesic_degrees(np.eye(2)[None], np.eye(2)[None])


LEFT, RIGHT = np.array([0, 1]), np.array([2])


def _landmarks(seed: int, n: int, d: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 7, d))


@pytest.mark.filterwarnings("ignore:.*estimate:FutureWarning")  # its replacement is not in every release we allow
@pytest.mark.parametrize("d", [2, 3])
def test_landmark_distance_equals_scikit_images_alignment(d: int) -> None:
    b = _landmarks(0, 20, d)
    a = 0.3 * b + 0.1 * _landmarks(1, 20, d) + 5
    expected = []
    for x, y in zip(a, b, strict=True):
        align = SimilarityTransform(dimensionality=d)
        align.estimate(x, y)
        matrix = align.params
        eyes = np.linalg.norm(y[:2].mean(axis=0) - y[2])
        expected.append(np.linalg.norm(x @ matrix[:d, :d].T + matrix[:d, d] - y, axis=1).mean() / eyes)
    np.testing.assert_allclose(per_pair.landmark_distance(a, b, LEFT, RIGHT), expected)


@pytest.mark.parametrize("d", [2, 3])
def test_landmarks_are_laid_on_with_the_least_squares(d: int) -> None:
    a, b = _landmarks(0, 4, d), _landmarks(1, 4, d)  # unrelated: the best fit is no perfect one, and reflections tempt
    found = np.sum(np.square(per_pair._laid_on(a, b) - b), axis=(1, 2))

    def error(x: np.ndarray, i: int) -> float:
        turn = Rotation.from_rotvec(x[:3] if d == 3 else [0, 0, x[0]]).as_matrix()[:d, :d]
        return float(np.sum(np.square(x[3] * a[i] @ turn.T + x[4 : 4 + d] - b[i])))

    rng = np.random.default_rng(2)
    for i in range(4):
        starts = [np.append(rng.normal(size=4), b[i].mean(axis=0)) for _ in range(6)]
        best = min(
            minimize(error, x, args=(i,), bounds=[(None, None)] * 3 + [(0, None)] + [(None, None)] * d).fun
            for x in starts
        )
        assert found[i] == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("d", [2, 3])
def test_landmark_distance_ignores_place_size_and_pose_but_not_a_mirror(d: int) -> None:
    a = _landmarks(0, 30, d)
    turn = Rotation.random(30, rng=np.random.default_rng(1)).as_matrix()
    if d == 2:
        turn = Rotation.from_euler("z", np.linspace(-170, 170, 30)[:, None], degrees=True).as_matrix()[:, :2, :2]
    moved = 2.5 * a @ turn + 3
    np.testing.assert_allclose(per_pair.landmark_distance(moved, a, LEFT, RIGHT), 0, atol=1e-12)
    np.testing.assert_allclose(per_pair.landmark_distance(a, moved, LEFT, RIGHT), 0, atol=1e-12)
    mirror = a * np.array([-1.0, *[1.0] * (d - 1)])
    assert per_pair.landmark_distance(mirror, a, LEFT, RIGHT).min() > 0.05
    shuffled = per_pair.landmark_distance(np.roll(a, 1, axis=0), a, LEFT, RIGHT)
    assert shuffled.min() > 0.1


def test_landmark_distance_by_hand() -> None:
    # A square, and the same with its four corners pushed in and out by turns: the square is the best fit as it is.
    square = np.array([[[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]]])
    bent = square * np.array([1.1, 0.9, 1.1, 0.9])[None, :, None]
    found = per_pair.landmark_distance(bent, square, np.array([0]), np.array([1]))
    # Every corner is then 0.1 * sqrt(2) off, less the scale of the fit: sum(a b) / sum(a a) = 8 / 8.08.
    scale = 8 / 8.08
    off = np.sqrt(2) * (abs(1.1 * scale - 1) + abs(0.9 * scale - 1)) / 2
    assert found == pytest.approx(off / 2)  # eyes are 2 apart
    twice = per_pair.landmark_distance(bent, 2 * square, np.array([0]), np.array([1]))
    assert twice == pytest.approx(off / 2)


def test_landmark_distance_refuses_unfit_points() -> None:
    a = _landmarks(0, 3, 2)
    flat, blind = a.copy(), a.copy()
    flat[2], blind[1, RIGHT] = 4.0, blind[1, LEFT].mean(axis=0)
    with pytest.raises(ValueError, match="points of a coincide in row 2"):
        per_pair.landmark_distance(flat, a, LEFT, RIGHT)
    with pytest.raises(ValueError, match="eyes of b coincide in row 1"):
        per_pair.landmark_distance(a, blind, LEFT, RIGHT)
    with pytest.raises(ValueError, match=r"right must lie in \[0, 7\), found 7 to 7"):
        per_pair.landmark_distance(a, a, LEFT, np.array([7]))
    with pytest.raises(ValueError, match="left must be a non-empty vector of integers"):
        per_pair.landmark_distance(a, a, np.array([0.0]), RIGHT)
    with pytest.raises(ValueError, match=r"found shape \(3, 7, 4\)"):
        per_pair.landmark_distance(np.zeros((3, 7, 4)), np.zeros((3, 7, 4)), LEFT, RIGHT)

"""From the head frame to an image that is framed like an FFHQ crop."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Camera(NamedTuple):
    """Perspective from `distance` dm in front of the origin, then a similarity in the plane of the image.

    With (x, y, z) = turn @ point, a point's place in the image, which spans -1 to 1, is
    scale * plane @ ((x, y) * distance / (distance - z) - centre).
    """

    turn: Float[Array, "3 3"]
    distance: Float[Array, ""]
    plane: Float[Array, "2 2"]
    centre: Float[Array, "2"]
    scale: Float[Array, ""]


def head_turn(pose: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """The rotation by yaw (positive: nose to the right of the image) and pitch (up); roll is the camera's."""
    cy, cp = jnp.cos(pose[0]), jnp.cos(pose[1])
    sy, sp = jnp.sin(pose[0]), jnp.sin(pose[1])
    zero, one = jnp.zeros_like(cy), jnp.ones_like(cy)
    pitch = jnp.stack([one, zero, zero, zero, cp, sp, zero, -sp, cp]).reshape(3, 3)
    yaw = jnp.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy]).reshape(3, 3)
    return yaw @ pitch


def ffhq_camera(five: Float[Array, "5 3"], pose: Float[Array, "3"], distance: Float[Array, ""]) -> Camera:
    """The camera whose image is the FFHQ crop of the five points (`faces/align.py`), tilted by the roll.

    five: left and right eye, nose tip, left and right mouth corner in the head frame. pose: yaw, pitch, roll, radians.
    """
    turn = head_turn(pose)
    turned = five @ turn.T
    flat = turned[:, :2] * (distance / (distance - turned[:, 2:]))
    eye_to_eye, eyes = flat[1] - flat[0], (flat[0] + flat[1]) / 2
    eye_to_mouth = (flat[3] + flat[4]) / 2 - eyes
    across = eye_to_eye + jnp.stack([-eye_to_mouth[1], eye_to_mouth[0]])
    across = across / jnp.linalg.norm(across)
    half = jnp.maximum(2.0 * jnp.linalg.norm(eye_to_eye), 1.8 * jnp.linalg.norm(eye_to_mouth))
    c, s = jnp.cos(pose[2]), jnp.sin(pose[2])
    level = jnp.stack([across[0], across[1], -across[1], across[0]]).reshape(2, 2)
    plane = jnp.stack([c, -s, s, c]).reshape(2, 2) @ level
    return Camera(turn, distance, plane, eyes + 0.1 * eye_to_mouth, 1.0 / half)


def to_image(camera: Camera, points: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
    """Image coordinates (x right, y up, -1 to 1) and the depth towards the camera, dm, of points in the head frame."""
    turned = points @ camera.turn.T
    flat = turned[:, :2] * (camera.distance / (camera.distance - turned[:, 2:]))
    return jnp.concatenate([camera.scale * (flat - camera.centre) @ camera.plane.T, turned[:, 2:]], axis=1)

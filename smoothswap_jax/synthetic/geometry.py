"""The shape of the synthetic person: signed distance functions, five landmarks and the FFHQ camera.

A signed distance is negative inside. Points are (x, y, z) tuples of arrays of one shape, in the head frame of
`factors.py` or in the image frame (x right, y up, z towards the camera, the image spans -1 ... 1). Distances of
ellipsoids and smooth unions are the usual approximations, https://iquilezles.org/articles/distfunctions.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from smoothswap_jax.synthetic.factors import Values

Point = tuple[Array, Array, Array]

CRANIUM_Y, CRANIUM_Z, CRANIUM_DEPTH = 0.22, -0.12, 0.72
MARCH_FROM = 1.6


class Camera(NamedTuple):
    """From the head frame to the image frame: p = scale * turn @ q + (x, y, 0)."""

    turn: Float[Array, "3 3"]
    x: Array
    y: Array
    scale: Array


def head_turn(pose: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """The rotation from the head frame to the axes of the image: pitch first, then yaw, then roll."""
    (cy, cp, cr), (sy, sp, sr) = jnp.cos(pose), jnp.sin(pose)
    zero, one = jnp.zeros_like(cy), jnp.ones_like(cy)
    pitch = jnp.stack([one, zero, zero, zero, cp, sp, zero, -sp, cp]).reshape(3, 3)
    yaw = jnp.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy]).reshape(3, 3)
    roll = jnp.stack([cr, -sr, zero, sr, cr, zero, zero, zero, one]).reshape(3, 3)
    return roll @ yaw @ pitch


def to_head(camera: Camera, point: Point) -> Point:
    """Picture frame -> head frame."""
    back = camera.turn / camera.scale
    x, y, z = point[0] - camera.x, point[1] - camera.y, point[2]
    q = [back[0, i] * x + back[1, i] * y + back[2, i] * z for i in range(3)]
    return q[0], q[1], q[2]


def to_image(camera: Camera, point: Point) -> Point:
    """Head frame -> image frame."""
    turn = camera.turn * camera.scale
    p = [turn[i, 0] * point[0] + turn[i, 1] * point[1] + turn[i, 2] * point[2] for i in range(3)]
    return p[0] + camera.x, p[1] + camera.y, p[2]


def wave(t: Array) -> Array:
    """A cheap approximation of a sine of period 1 by parabolas, in [-1, 1]."""
    f = t - jnp.round(t)
    return 8.0 * f * (1.0 - 2.0 * jnp.abs(f))


def smooth_min(a: Array, b: Array, k: float) -> Array:
    h = jnp.maximum(k - jnp.abs(a - b), 0.0)
    return jnp.minimum(a, b) - h * h * (0.25 / k)


def smooth_max(a: Array, b: Array, k: float) -> Array:
    h = jnp.maximum(k - jnp.abs(a - b), 0.0)
    return jnp.maximum(a, b) + h * h * (0.25 / k)


def ellipsoid(x: Array, y: Array, z: Array, rx, ry, rz) -> Array:
    ix, iy, iz = 1.0 / rx, 1.0 / ry, 1.0 / rz
    ax, ay, az = x * ix, y * iy, z * iz
    bx, by, bz = ax * ix, ay * iy, az * iz
    k0 = jnp.sqrt(ax * ax + ay * ay + az * az + 1e-9)
    return k0 * (k0 - 1.0) * jax.lax.rsqrt(bx * bx + by * by + bz * bz + 1e-9)


def sphere(x: Array, y: Array, z: Array, r) -> Array:
    return jnp.sqrt(x * x + y * y + z * z + 1e-9) - r


def capsule(point: Point, start: Point, end: Point, r_start, r_end) -> Array:
    """A rounded rod that tapers from r_start to r_end."""
    px, py, pz = (p - s for p, s in zip(point, start, strict=True))
    dx, dy, dz = (e - s for e, s in zip(end, start, strict=True))
    t = jnp.clip((px * dx + py * dy + pz * dz) * (1.0 / (dx * dx + dy * dy + dz * dz)), 0.0, 1.0)
    return sphere(px - t * dx, py - t * dy, pz - t * dz, r_start + t * (r_end - r_start))


def jaw_drop(v: Values) -> Array:
    """How far an open mouth lowers the chin."""
    return 0.8 * jnp.maximum(v["mouth_open"], 0.0)


def face_distance(v: Values, point: Point) -> Array:
    """Signed distance to skull, face and nose, without ears, hair and neck (head frame)."""
    x, y, z = point
    side = jnp.abs(x)
    drop = jaw_drop(v)
    chin_y = -v["face_length"] - drop
    cranium = ellipsoid(x, y - CRANIUM_Y, z - CRANIUM_Z, v["head_width"], v["head_height"], CRANIUM_DEPTH)
    middle = ellipsoid(x, y + 0.16, z - 0.02, 0.90 * v["head_width"], 0.58, 0.56)
    jaw = ellipsoid(x, y - (chin_y + 0.36), z - 0.10, v["jaw_width"], 0.33, 0.42)
    chin = ellipsoid(x, y - (chin_y + 0.10), z - 0.37, v["chin_width"] + 0.06, 0.11, 0.15)
    d = smooth_min(cranium, middle, 0.15)
    d = smooth_min(d, jaw, 0.22)
    d = smooth_min(d, chin, 0.16)
    d = smooth_min(d, sphere(side - 0.33, y + 0.16, z - 0.30, 0.17 + v["cheekbones"]), 0.14)
    d = smooth_min(d, sphere(side - 0.27, y + 0.42, z - 0.28, 0.17 + v["cheek_fullness"] + 0.25 * v["smile"]), 0.16)
    d = smooth_min(d, ellipsoid(side - 0.20, y - 0.15, z - 0.47, 0.18, 0.06, 0.09), 0.12)
    d = smooth_max(d, -sphere(side - v["eye_spacing"] + 0.01, y - 0.01, z - 0.75, 0.19), 0.12)
    d = smooth_min(d, sphere(side - v["eye_spacing"], y - 0.005, z - 0.405, 0.135), 0.04)
    return smooth_min(d, nose_distance(v, point), 0.07)


def nose_distance(v: Values, point: Point) -> Array:
    x, y, z = point
    length = v["nose_length"]
    forward = 0.60 + v["nose_tip"]
    zero = jnp.zeros_like(length)
    root = (zero, zero + 0.06, 0.475 + v["nose_bridge"])
    tip = (zero, -length, forward)
    ridge = capsule(point, root, tip, 0.040, 0.055 + 0.25 * v["nose_width"])
    wing = sphere(jnp.abs(x) - v["nose_width"], y + length + 0.015, z - forward + 0.09, 0.042 + 0.25 * v["nose_width"])
    return smooth_min(ridge, wing, 0.06)


def ear_distance(v: Values, point: Point) -> Array:
    x, y, z = point
    size = v["ear_size"]
    side = jnp.abs(x) - v["head_width"] - 0.015
    lean = side - 0.25 * (y + 0.06)
    outer = ellipsoid(lean, y + 0.06, z + 0.02 + 0.5 * side, 0.06, 0.165 * size, 0.10 * size)
    bowl = ellipsoid(lean - 0.04, y + 0.05, z - 0.03 + 0.5 * side, 0.04, 0.10 * size, 0.055 * size)
    return smooth_max(outer, -bowl, 0.03)


def hair_distance(v: Values, point: Point) -> Array:
    """Signed distance to the hair: a cap with a window for the face, and locks that fall past the ears."""
    x, y, z = point
    volume, part = v["hair_volume"], v["parting"]
    fringe = jnp.maximum(v["fringe"], 0.0)
    tilt = part * (0.10 + 1.6 * fringe) * jnp.clip(x, -0.7, 0.7)
    top = jnp.maximum(v["hairline"] - fringe + tilt + 0.2, 0.2)
    across, up = jnp.abs(x) * (1.0 / (0.97 * v["head_width"])), jnp.maximum(y + 0.2, 0.0) / top
    window = (jnp.sqrt(across**3 + up**3 + 1e-6) - 1.0) * 0.25
    cut = smooth_max(window, 0.10 - z, 0.05)
    curls = 0.20 * v["curl"] * jnp.maximum(volume, 0.0)
    bumps = curls * wave(3.6 * x + 0.1) * wave(3.6 * y) * wave(3.6 * z + 0.3)
    grown = jnp.clip(0.35 + 5.0 * cut, 0.0, 1.0)
    grown_on = jnp.clip(volume * 20.0, 0.0, 1.0)
    lift = volume * (1.0 - 0.25 * part * x)
    cap = ellipsoid(
        x + 0.02 * part * grown_on,
        y - CRANIUM_Y - 0.25 * volume,
        z - CRANIUM_Z,
        v["head_width"] + lift,
        v["head_height"] + 0.8 * lift + v["hair_height"] * grown_on,
        CRANIUM_DEPTH + 0.8 * lift,
    )
    cap = cap + bumps + (1.0 - grown) * jnp.maximum(volume - 0.02, 0.0)
    cap = smooth_max(cap, -cut, 0.03)
    cap = smooth_max(cap, -0.20 - y + 0.4 * (z + 0.1), 0.04)
    return smooth_min(cap, locks_distance(v, point) + bumps, 0.06)


def locks_distance(v: Values, point: Point) -> Array:
    x, y, z = point
    bottom = -0.05 - v["hair_length"]
    sway = x + 0.04 * v["curl"] * wave(1.4 * y) * jnp.sign(x)
    half = v["head_width"] + 0.045 + 0.6 * v["hair_volume"] - 0.10 * jnp.maximum(-y, 0.0)
    flat = jnp.sqrt((sway / half) ** 2 + ((z + 0.20) * (1.0 / 0.48)) ** 2 + 1e-6)
    tube = (flat - 1.0) * 0.45
    inner = smooth_max(jnp.abs(sway) - 0.80 * half, -0.25 - z, 0.05)
    ends = smooth_max(bottom - y, y - 0.30, 0.05)
    thin = 4.0 * jnp.maximum(0.03 - v["hair_volume"], 0.0)
    return smooth_max(smooth_max(tube, -inner, 0.05), ends, 0.12) + thin


def chest_shift(camera: Camera) -> Array:
    """x of the middle of the chest: as the crop is centred on the face, a turned head shifts it the other way."""
    return -0.45 * camera.turn[0, 2]


def neck_and_torso(v: Values, camera: Camera, point: Point) -> tuple[Array, Array]:
    """Signed distances to neck and torso (image frame). The torso depends only on the pose."""
    x, y, z = point
    chest_x = chest_shift(camera)
    zero = jnp.zeros_like(chest_x)
    throat = to_image(camera, (zero, zero - 0.62, zero - 0.20))
    base = (0.9 * chest_x, zero - 1.30, zero - 0.32)
    radius = v["neck_width"] * camera.scale
    neck = capsule(point, throat, base, radius, 1.08 * radius)
    torso = ellipsoid(x - chest_x, y + 1.36, z + 0.30, 1.40, 0.50, 0.38)
    return neck, torso


def mouth_corners(v: Values) -> tuple[Array, Array]:
    """(half width, y) of the corners of the mouth in the head frame."""
    half = v["mouth_width"] * (1.0 - v["pucker"]) * (1.0 + 1.5 * v["smile"])
    lift = 0.75 * v["smile"] - 0.3 * jnp.maximum(v["mouth_open"], 0.0)
    return half, -v["mouth_drop"] + lift


def head_landmarks(v: Values) -> Float[Array, "3 5"]:
    """Left eye, right eye, nose tip, left and right mouth corner, as seen in the image (head frame)."""
    half, corner_y = mouth_corners(v)
    eye, zero = v["eye_spacing"], jnp.zeros_like(half)
    x = jnp.stack([-eye, eye, zero, -half, half])
    y = jnp.stack([zero, zero, -v["nose_length"], corner_y, corner_y])
    rows = {name: value[None] for name, value in v.items()}
    z = jax.lax.fori_loop(0, 16, lambda _, z: z - face_distance(rows, (x, y, z)), jnp.full_like(x, 1.2))
    return jnp.stack([x, y, z])


def ffhq_camera(v: Values, pose: Float[Array, "3"], points: Float[Array, "3 5"]) -> Camera:
    """The FFHQ crop: centre = eyes + 0.1 eye-to-mouth, half size = max(2 eye distance, 1.8 eye-to-mouth).

    The alignment ignores the roll of `pose`, which simulates the error of a real aligner.
    """
    facing = head_turn(pose.at[2].set(0.0))
    x, y, _ = facing @ points
    eye_x, eye_y = (x[0] + x[1]) / 2, (y[0] + y[1]) / 2
    mouth_x, mouth_y = (x[3] + x[4]) / 2 - eye_x, (y[3] + y[4]) / 2 - eye_y
    eyes = jnp.sqrt((x[1] - x[0]) ** 2 + (y[1] - y[0]) ** 2)
    half = jnp.maximum(2.0 * eyes, 1.8 * jnp.sqrt(mouth_x**2 + mouth_y**2))
    centre_x, centre_y = eye_x + 0.1 * mouth_x, eye_y + 0.1 * mouth_y
    cos, sin = jnp.cos(pose[2]), jnp.sin(pose[2])
    shift_x, shift_y = cos * centre_x - sin * centre_y, sin * centre_x + cos * centre_y
    return Camera(head_turn(pose), -shift_x / half, -shift_y / half, 1.0 / half)

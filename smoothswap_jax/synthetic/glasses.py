"""Glasses: a mesh that fits the face it sits on, and what it is made of.

Rims, bridge and temples are tubes of square section. The frame is rigid and symmetric; it stands as far in front of the
face as clears brows, lashes, cheeks and the sides of the nose. The lenses of clear glasses are not drawn. Those of
sunglasses leave out samples in a fixed pattern, which shows what is behind them without any blending.

All lengths are decimetres, in the head frame of `heads.py`.
"""

from functools import cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from smoothswap_jax.synthetic.heads import LASHES, SKIN, load_heads
from smoothswap_jax.synthetic.surface import Surface

FIELDS = {
    "glasses": (0.0, 1.0),  # worn from 0.5 on
    "glasses_width": (0.42, 0.60),  # of one lens; opticians' 42 to 60 mm
    "glasses_height": (0.28, 0.52),  # of one lens
    "glasses_round": (0.0, 1.0),  # 0 rectangular, 1 elliptic
    "glasses_thickness": (0.014, 0.055),  # of the rim, seen from the front: wire to acetate
    "glasses_red": (0.005, 0.6),  # linear light
    "glasses_green": (0.005, 0.5),
    "glasses_blue": (0.005, 0.5),
    "lens_tint": (0.0, 1.0),  # share of what is behind the lens that it hides
}
FRAME, LENS = 0, 1

RIM_STEPS, BRIDGE_STEPS, TEMPLE_STEPS = 28, 7, 8
ROUND, SQUARE = 2.0, 5.0  # exponents of the superellipse
CROWDING = 0.5  # how much closer the outline's points are at the corners of a rectangle
TILT = 0.14  # pantoscopic: tangent of 8 degrees, the tops of the lenses are farther from the face
WRAP = 0.10  # the frame curves back by this times x squared
TAPER = 0.08  # lenses are wider above than below their middle by this share
DROP = 0.035  # the lenses' middle is below the pupils
CLEARANCE = 0.025  # between the frame and the skin, 2.5 mm
REACH, STEEPNESS = 0.03, 3.0  # of the cones that stand for the face between its vertices, see `_clear`
TEMPLE_REACH = 0.06  # temples are taller than rims are wide
HINGE = 4  # step of the rim's outline, of RIM_STEPS from outside over the top, where the temple begins

# Ordered dither of 4 x 4 samples (Bayer 1973): a share of k / 16 is spread as evenly as possible.
DITHER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])


class Anchors(NamedTuple):
    """Points of one head that hold the glasses. Sides: right of the image, left of the image."""

    poles: Array  # [2, 2, 3]: front and back of each eyeball
    nose: Array  # [2, 3]: the sides of the nose where pads rest
    ears: Array  # [2, 3]: where the ears meet the head at the top
    face: Array  # [f, 3]: what rims and lenses must not touch
    temples: Array  # [2, s, 3]: the sides of the head, without ears


@cache
def anchor_vertices() -> dict[str, Int[np.ndarray, "..."]]:
    """The numbers of the vertices that are the Anchors, by field: those at these places on the mean head."""
    heads = load_heads()
    mean = np.asarray(heads.mean)
    skin, lashes = (np.unique(heads.triangles[heads.parts == part]) for part in (SKIN, LASHES))
    nearest = lambda among, point: among[np.linalg.norm(mean[among] - point, axis=1).argmin()]
    poles, nose, ears, temples = [], [], [], []
    auricle = np.linalg.norm(mean[skin] * [0, 1, 1] - [0, -0.2, -0.75], axis=1) < 0.36
    for side, eye in zip((1, -1), heads.eyes, strict=True):
        poles.append([eye[mean[eye, 2].argmax()], eye[mean[eye, 2].argmin()]])
        nose.append(nearest(skin, (0.10 * side, -0.10, 0.19)))
        ears.append(nearest(skin, (0.71 * side, 0.02, -0.68)))
        x, y, z = mean[skin].T
        beside = (x * side > 0.4) & (np.abs(y) < 0.22) & (z > -1.0) & (z < 0.12) & ~(auricle & (np.abs(x) > 0.7))
        temples.append(_thinned(skin[beside], mean * side, axis=0, spacing=0.04))
    shortest = min(map(len, temples))
    x, y, z = mean.T
    around = (np.abs(x) < 0.72) & (y > -0.45) & (y < 0.40) & (z > -0.15)
    facing = np.concatenate([skin[around[skin] & (heads.normals[skin, 2] > 0.0)], lashes])
    face = _thinned(facing, mean, axis=2, spacing=0.03)
    numbers = {"poles": poles, "nose": nose, "ears": ears, "face": face, "temples": [t[:shortest] for t in temples]}
    return {name: np.array(values) for name, values in numbers.items()}


def _thinned(vertices: Int[np.ndarray, "n"], mean: np.ndarray, axis: int, spacing: float) -> Int[np.ndarray, "m"]:
    """The vertices that stand out along an axis, at least `spacing` apart across it."""
    kept: list[int] = []
    across = [i for i in range(3) if i != axis]
    for vertex in vertices[np.argsort(-mean[vertices, axis], kind="stable")]:
        if not kept or np.linalg.norm((mean[kept] - mean[vertex])[:, across], axis=1).min() > spacing:
            kept.append(vertex)
    return np.array(kept)


def anchors(vertices: Float[Array, "v 3"]) -> Anchors:
    """The anchors of one deformed head, from all its vertices."""
    return Anchors(**{name: vertices[numbers] for name, numbers in anchor_vertices().items()})


def glasses_mesh(values: dict[str, Array], anchors: Anchors) -> Float[Array, "g 3"]:
    """Vertices of the glasses that `values` (FIELDS) describe, for TRIANGLES; all in one point if none are worn."""
    eyes = anchors.poles.mean(1)
    middle = jnp.append(eyes.mean(0)[:2] - jnp.array([0.0, DROP]), 0.0)
    half = jnp.stack([values["glasses_width"], values["glasses_height"]]) / 2
    thick = values["glasses_thickness"]
    apart = (eyes[0, 0] - eyes[1, 0]) / 2
    nose = jnp.clip((anchors.nose[0, 0] - anchors.nose[1, 0]) / 2, 0.07, 0.13)
    centre = jnp.maximum(apart, half[0] * (1 - TAPER / 2) + nose + thick / 2)

    flat = _lens_points(half, values["glasses_round"]) + jnp.array([centre, 0.0])
    both = jnp.concatenate([flat, flat * jnp.array([-1.0, 1.0])])
    touching = _clear(both + middle[:2], anchors.face[:, :2], anchors.face[:, 2]) + CLEARANCE
    depth = jnp.max(touching + thick / 2 - _sheet(both))
    middle = middle.at[2].set(depth)

    lens = jnp.concatenate([flat, (_sheet(flat) + _bulge())[:, None]], axis=1)
    rim = jnp.concatenate([flat[-RIM_STEPS:], _sheet(flat[-RIM_STEPS:])[:, None]], axis=1)
    rims = _tube(rim, jnp.array([0.0, 0.0, 1.0]), thick, 0.7 * thick + 0.01, closed=True)
    mirror = jnp.array([-1.0, 1.0, 1.0])
    bridge = _bridge(rim, half, thick, middle, anchors.face)
    right = _temple(1, rim[HINGE] + middle, thick, anchors.temples[0], anchors.ears[0])
    left = _temple(-1, rim[HINGE] * mirror + middle, thick, anchors.temples[1], anchors.ears[1])
    frame = [rims + middle, rims * mirror + middle, bridge, right, left]
    mesh = jnp.concatenate([*frame, lens + middle, lens * mirror + middle])
    return jnp.where(values["glasses"] >= 0.5, mesh, middle)


def _lens_points(half: Float[Array, "2"], roundness: Array) -> Float[Array, "l 2"]:
    """Middle, a ring halfway and the outline of the lens on the right of the image, about its middle."""
    turn = jnp.arange(RIM_STEPS) * (2 * np.pi / RIM_STEPS)
    turn += (1 - roundness) * CROWDING / 4 * jnp.sin(4 * turn)
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    power = SQUARE + (ROUND - SQUARE) * roundness
    size = (jnp.abs(cos) ** power + jnp.abs(sin) ** power) ** (-1 / power)
    outline = half * jnp.stack([cos * size * (1 + TAPER * sin * size), sin * size], axis=-1)
    return jnp.concatenate([jnp.zeros((1, 2)), outline / 2, outline])


def _bulge() -> Float[np.ndarray, "l"]:
    """How far the points of a lens stand out of the frame's sheet; it makes reflections wander."""
    return 0.025 * np.repeat([1.0, 0.75, 0.0], [1, RIM_STEPS, RIM_STEPS])


def _sheet(flat: Float[Array, "k 2"]) -> Float[Array, "k"]:
    """Depth of the surface in which the rims lie, by (x, y) from the middle of the glasses."""
    return TILT * flat[:, 1] - WRAP * jnp.square(flat[:, 0])


def _clear(
    points: Float[Array, "k 2"], across: Float[Array, "f 2"], heights: Float[Array, "f"], reach: float = REACH
) -> Float[Array, "k"]:
    """How high a surface of known vertices may be at each point.

    Each vertex stands for a cone with a flat top of radius `reach`, which covers what is between it and its neighbours.
    Unlike the height of the nearest triangle, the largest of them is continuous in all vertices.
    """
    distance = jnp.linalg.norm(points[:, None] - across + 1e-9, axis=-1)
    return jnp.max(heights - STEEPNESS * jnp.maximum(distance - reach, 0.0), axis=1)


def _bridge(
    rim: Float[Array, "r 3"],
    half: Float[Array, "2"],
    thick: Array,
    middle: Float[Array, "3"],
    face: Float[Array, "f 3"],
) -> Float[Array, "b 3"]:
    """An arch between the rims, over the nose."""
    start = rim[RIM_STEPS // 2 - 2]  # on the side of the nose, a little above the middle
    share = jnp.linspace(-1.0, 1.0, BRIDGE_STEPS)
    arch = 1 - jnp.square(share)
    x, y = start[0] * share, start[1] + 0.15 * half[1] * arch
    skin = _clear(jnp.stack([x, y], axis=-1) + middle[:2], face[:, :2], face[:, 2])
    z = jnp.maximum(start[2] + 0.03 * arch + middle[2], skin + CLEARANCE + thick / 2)
    path = jnp.stack([x + middle[0], y + middle[1], z], axis=-1)
    return _tube(path, jnp.array([0.0, 1.0, 0.0]), 0.8 * thick, thick + 0.004)


def _temple(
    side: int, start: Float[Array, "3"], thick: Array, head: Float[Array, "s 3"], ear: Float[Array, "3"]
) -> Float[Array, "t 3"]:
    """From the outer upper end of a rim straight back over the ear, where it bends down behind the auricle.

    side: 1 on the right of the image, -1 on the left.
    """
    share = jnp.array([0.0, 0.04, 0.2, 0.45, 0.7, 1.0])
    top = ear + jnp.array([0.0, 0.03, 0.0])
    straight = start + share[:, None] * (top - start)
    tail = ear + jnp.array([[0.0, 0.0, -0.14], [0.0, -0.14, -0.24]])
    path = jnp.concatenate([straight, tail])
    skin = _clear(path[:, 1:], head[:, 1:], side * head[:, 0], TEMPLE_REACH)
    # Behind the ear it lies against the head.
    gap = jnp.array([1.0] * len(straight) + [0.0] * len(tail)) * (CLEARANCE + thick / 4)
    outwards = jnp.maximum(side * path[:, 0], skin + gap)
    bent = path.at[1:, 0].set(side * outwards[1:])
    return _tube(bent, jnp.array([0.0, 1.0, 0.0]), 0.5 * thick + 0.004, 0.9 * thick + 0.01)


def _tube(
    path: Float[Array, "k 3"], up: Float[Array, "3"], width: Array, height: Array, closed: bool = False
) -> Float[Array, "4*k 3"]:
    """Corners of square sections along a path; `height` is along `up`, `width` across it and the path."""
    if closed:
        along = jnp.roll(path, -1, axis=0) - jnp.roll(path, 1, axis=0)
    else:
        padded = jnp.concatenate([2 * path[:1] - path[1:2], path, 2 * path[-1:] - path[-2:-1]])
        along = padded[2:] - padded[:-2]
    side = _unit(jnp.cross(up, along))
    up = _unit(jnp.cross(along, side))
    corners = [path + a * width / 2 * side + b * height / 2 * up for a, b in ((1, 1), (-1, 1), (-1, -1), (1, -1))]
    return jnp.stack(corners, axis=1).reshape(-1, 3)


def _unit(vectors: Float[Array, "k 3"]) -> Float[Array, "k 3"]:
    return vectors / jnp.linalg.norm(vectors + 1e-9, axis=-1, keepdims=True)


def _tube_triangles(steps: int, closed: bool = False) -> Int[np.ndarray, "t 3"]:
    """Of `_tube`, facing outwards; open ends have no caps."""
    faces = []
    for step in range(steps if closed else steps - 1):
        for corner in range(4):
            a, b = 4 * step + corner, 4 * step + (corner + 1) % 4
            c, d = (a + 4) % (4 * steps), (b + 4) % (4 * steps)
            faces += [[a, b, d], [a, d, c]]
    return np.array(faces)


def _lens_triangles() -> Int[np.ndarray, "t 3"]:
    """A fan about the middle and a band around it, facing the camera."""
    faces = []
    for step in range(RIM_STEPS):
        a, b = 1 + step, 1 + (step + 1) % RIM_STEPS
        faces += [[0, a, b], [a, a + RIM_STEPS, b + RIM_STEPS], [a, b + RIM_STEPS, b]]
    return np.array(faces)


def _assembled() -> tuple[Int[np.ndarray, "t 3"], Int[np.ndarray, "t"]]:
    """Triangles in the order of `glasses_mesh`, and the part of each."""
    rim, lens = _tube_triangles(RIM_STEPS, closed=True), _lens_triangles()
    bridge, temple = _tube_triangles(BRIDGE_STEPS), _tube_triangles(TEMPLE_STEPS)
    mirrored = lambda triangles: triangles[:, ::-1]
    pieces = [(rim, FRAME), (mirrored(rim), FRAME), (bridge, FRAME), (temple, FRAME), (temple, FRAME)]
    pieces += [(lens, LENS), (mirrored(lens), LENS)]
    triangles, parts, first = [], [], 0
    for piece, part in pieces:
        triangles.append(piece + first)
        parts += [part] * len(piece)
        first += piece.max() + 1
    return np.concatenate(triangles).astype(np.int32), np.array(parts, np.int32)


TRIANGLES, PARTS = _assembled()
"""Of `glasses_mesh`; the part of each is FRAME or LENS, and lenses come last."""


def lens_kept(tint: Array, corners: Float[Array, "n 3 3"], weights: Float[Array, "n 3"]) -> Bool[Array, "n"]:
    """Which samples of lens triangles are drawn: a share `tint` of any 4 x 4 of them, none if 0.

    corners: of each sample's triangle as `raster.rasterize` takes them, x and y in samples and nearness. weights: its
    weights in space.
    """
    on_screen = weights / corners[..., 2]
    x, y = (jnp.sum(on_screen * corners[..., axis], axis=1) / on_screen.sum(1) for axis in (0, 1))
    column, row = (jnp.floor(at).astype(jnp.int32) % 4 for at in (x, y))
    return (jnp.asarray(DITHER)[row, column] + 0.5) / 16 < tint


def paint_glasses(values: dict[str, Array], part: Int[Array, "n"]) -> Surface:
    """What samples of the glasses are made of, by the part of their triangle."""
    lens = part == LENS
    frame = jnp.stack([values[f"glasses_{name}"] for name in ("red", "green", "blue")])
    wire = jnp.clip((0.03 - values["glasses_thickness"]) / 0.016, 0.0, 1.0)  # thin frames are of metal
    dark = 0.01 + 0.03 * frame
    shape = lens.shape
    return Surface(
        albedo=jnp.where(lens[:, None], dark, frame),
        specular=jnp.where(lens, 0.25, 0.12 + 0.4 * wire),
        sharpness=jnp.where(lens, 120.0, 60.0),
        soft=jnp.zeros(shape),
    )

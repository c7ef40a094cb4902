"""Heads of any shape and expression, as blends of the arrays of `heads.npz` (`make_heads.py` says what they are).

The head frame has x to the right of the image, y up, z towards the camera, its origin midway between the eyeballs, and
decimetres as units. Left and right in names are the person's own.
"""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from smoothswap_jax.synthetic.sky import mean_normals

ASSET = Path(__file__).with_name("heads.npz")

with np.load(ASSET) as _asset:
    SHAPE_NAMES: tuple[str, ...] = tuple(_asset["shape_names"].tolist())
    UNIT_NAMES: tuple[str, ...] = tuple(_asset["expression_names"].tolist())
    MASK_NAMES: tuple[str, ...] = tuple(_asset["mask_names"].tolist())
EXPRESSION_UNITS = tuple(name for name in UNIT_NAMES if not name.startswith("eyeLook"))
PART_NAMES = ("skin", "left_eye", "right_eye", "upper_teeth", "lower_teeth", "tongue", "lashes")
SKIN, LEFT_EYE, RIGHT_EYE, UPPER_TEETH, LOWER_TEETH, TONGUE, LASHES = range(len(PART_NAMES))

# Where landmarks are on the mean head seen from the front, right half of the image, decimetres.
MIDDLE_POINTS = {
    "forehead": 0.71,
    "glabella": 0.11,
    "nasion": 0.02,
    "nose_bridge": -0.19,
    "nose_tip": -0.40,
    "subnasale": -0.49,
    "upper_lip_top": -0.60,
    "lower_lip_bottom": -0.78,
    "chin_dip": -0.86,
    "chin": -1.07,
}
SIDE_POINTS = {
    "temple": (0.62, 0.20),
    "cheekbone": (0.55, -0.30),
    "jaw_angle": (0.55, -0.70),
    "jaw": (0.40, -0.92),
    "chin_side": (0.20, -1.05),
    "brow_inner": (0.12, 0.17),
    "brow_middle": (0.30, 0.22),
    "brow_outer": (0.48, 0.14),
    "eye_inner": (0.153, -0.044),
    "eye_outer": (0.421, -0.03),
    "upper_lid": (0.288, 0.033),
    "lower_lid": (0.288, -0.07),
    "ala": (0.16, -0.42),
    "nostril_base": (0.10, -0.47),
    "mouth_corner": (0.22, -0.68),
    "lip_peak": (0.07, -0.59),
    "lower_lip_side": (0.12, -0.76),
    "cheek": (0.40, -0.50),
    "ear": (0.74, -0.10),
    "ear_lobe": (0.70, -0.45),
}
LANDMARK_NAMES = (
    *MIDDLE_POINTS,
    *(f"left_{name}" for name in SIDE_POINTS),
    *(f"right_{name}" for name in SIDE_POINTS),
)
LOOK_RANGE = 0.5  # radians of gaze at which MakeHuman's look units are whole


class Heads(NamedTuple):
    """v vertices; float32."""

    mean: Float[Array, "v 3"]
    shape: Float[Array, "k v 3"]  # by SHAPE_NAMES
    expression: Float[Array, "u v 3"]  # by UNIT_NAMES
    masks: Float[Array, "v m"]  # by MASK_NAMES, 0 to 1
    sky: Float[Array, "v 9"]  # `sky.py`
    normals: Float[Array, "v 3"]  # of the mean head
    triangles: Int[Array, "t 3"]
    parts: Int[Array, "t"]
    triangles_of: Int[Array, "v k"]  # of each vertex; the number of triangles where there are fewer
    landmarks: Int[Array, "l"]  # vertices, by LANDMARK_NAMES
    eyes: Int[Array, "2 e"]  # vertices of the left and the right eyeball


def load_arrays() -> dict[str, np.ndarray]:
    """The arrays of `heads.npz` by name."""
    with np.load(ASSET) as asset:
        return {name: asset[name] for name in asset.files}


@cache
def load_heads() -> Heads:
    """What `heads.npz` says of heads, as numpy arrays."""
    arrays = load_arrays()
    mean, triangles, parts = arrays["mean"], arrays["triangles"].astype(np.int32), arrays["parts"].astype(np.int32)
    displacements = {
        name: arrays[name].astype(np.float32) * arrays[f"{name}_scale"][:, None, None]
        for name in ("shape", "expression")
    }
    normals = mean_normals(mean, triangles).astype(np.float32)
    found: dict[str, Any] = {
        **displacements,
        "mean": mean,
        "masks": (arrays["masks"].astype(np.float32) / 255).T,
        "sky": arrays["sky"].astype(np.float32) / 127,
        "normals": normals,
        "triangles": triangles,
        "parts": parts,
        "triangles_of": triangles_around(triangles, len(mean)),
        "landmarks": _landmark_vertices(mean, normals, triangles, parts),
        "eyes": np.stack([np.unique(triangles[parts == eye]) for eye in (LEFT_EYE, RIGHT_EYE)]),
    }
    return Heads(**found)


def triangles_around(triangles: Int[np.ndarray, "t 3"], vertices: int) -> Int[np.ndarray, "v k"]:
    """The triangles that share each vertex, padded with the number of triangles; k is the most of a vertex."""
    most = np.bincount(triangles.ravel()).max()
    around = np.full((vertices, most), len(triangles), np.int32)
    count = np.zeros(vertices, int)
    for number, corners in enumerate(triangles):
        around[corners, count[corners]] = number
        count[corners] += 1
    return around


def vertex_normals(
    vertices: Float[Array, "v 3"], triangles: Int[Array, "t 3"], around: Int[Array, "v k"]
) -> Float[Array, "v 3"]:
    """Unit normals of the vertices, each the mean of its triangles' by area; `around` as of `triangles_around`."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    facing = jnp.concatenate([jnp.cross(b - a, c - a), jnp.zeros((1, 3))])
    total = facing[around].sum(1)
    return total * jnp.minimum(1e6, 1.0 / jnp.maximum(jnp.linalg.norm(total, axis=-1, keepdims=True), 1e-9))


def deform(
    heads: Heads,
    shape: Float[Array, "b k"],
    expression: Float[Array, "b u"],
    gaze: Float[Array, "b 2"],
) -> Float[Array, "b v 3"]:
    """Vertices of b heads. expression: by EXPRESSION_UNITS. gaze: (to the right of the image, up), radians."""
    units = jnp.zeros((len(shape), len(UNIT_NAMES)))
    units = units.at[:, jnp.array([UNIT_NAMES.index(name) for name in EXPRESSION_UNITS])].set(expression)
    for name, weight in _look_units(gaze).items():
        units = units.at[:, UNIT_NAMES.index(name)].set(weight)
    vertices = heads.mean + jnp.tensordot(shape, heads.shape, 1)
    centres = vertices[:, heads.eyes].mean(2)  # before the expression, which does not move eyeballs
    vertices = vertices + jnp.tensordot(units, heads.expression, 1)
    turn = gaze_rotation(gaze)
    for eye in range(2):
        rows, centre = heads.eyes[eye], centres[:, eye, None]
        vertices = vertices.at[:, rows].set((vertices[:, rows] - centre) @ turn.swapaxes(1, 2) + centre)
    return vertices


def gaze_rotation(gaze: Float[Array, "b 2"]) -> Float[Array, "b 3 3"]:
    """The rotation that turns an eyeball from straight ahead to the gaze."""
    (cx, cy), (sx, sy) = jnp.moveaxis(jnp.cos(gaze), -1, 0), jnp.moveaxis(jnp.sin(gaze), -1, 0)
    zero = jnp.zeros_like(cx)
    rows = (cx, -sx * sy, sx * cy, zero, cy, sy, -sx, -cx * sy, cx * cy)
    return jnp.stack(rows, axis=-1).reshape(-1, 3, 3)


def _look_units(gaze: Float[Array, "b 2"]) -> dict[str, Float[Array, "b"]]:
    """Weights of the units that move the lids with the eyeballs."""
    right, up = gaze[:, 0] / LOOK_RANGE, gaze[:, 1] / LOOK_RANGE
    part = lambda value: jnp.clip(value, 0.0, 1.0)
    both = {"eyeLookUp": part(up), "eyeLookDown": part(-up)}
    weights = {f"{name}{side}": weight for name, weight in both.items() for side in ("Left", "Right")}
    # The person's left eye is on the right of the image.
    outwards, inwards = part(right), part(-right)
    weights |= {"eyeLookOutLeft": outwards, "eyeLookInRight": outwards}
    return weights | {"eyeLookInLeft": inwards, "eyeLookOutRight": inwards}


def five_points(landmarks: Float[Array, "*b l d"]) -> Float[Array, "*b 5 d"]:
    """Left and right eye, nose tip, left and right corner of the mouth, left and right as seen in the image."""
    at = lambda name: landmarks[..., LANDMARK_NAMES.index(name), :]
    lids = ("eye_inner", "eye_outer", "upper_lid", "lower_lid")
    eye = lambda side: sum(at(f"{side}_{name}") for name in lids) / len(lids)
    corner = "mouth_corner"
    return jnp.stack([eye("right"), eye("left"), at("nose_tip"), at(f"right_{corner}"), at(f"left_{corner}")], axis=-2)


def _landmark_vertices(mean, normals, triangles, parts) -> Int[np.ndarray, "l"]:
    middle = [(0.0, y) for y in MIDDLE_POINTS.values()]
    left = list(SIDE_POINTS.values())
    wanted = np.array([*middle, *left, *((-x, y) for x, y in left)])
    skin = np.unique(triangles[parts == SKIN])
    seen = skin[normals[skin, 2] > 0.05]
    # The deeper of two layers, such as the inside of the nose, is farther away than any point of the surface.
    distance = np.linalg.norm(mean[seen, :2] - wanted[:, None], axis=-1) - 0.2 * mean[seen, 2]
    return seen[distance.argmin(1)].astype(np.int32)

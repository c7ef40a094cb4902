"""What embeddings of people of the synthetic world are probed for: shapes and colours, which are a person's own, and
attributes, which are a photo's.

An embedding that is to move a person's shape into another photo has to hold the shape, and should not hold attributes.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from smoothswap_jax.synthetic import heads, world
from smoothswap_jax.synthetic.camera import ffhq_camera

Values = dict[str, Float[np.ndarray, "n"]]

COMPONENTS = 24
"""Principal components of shape."""
DISTANCE = 10.0
"""Decimetres from which neutral heads are seen, as in a median photo."""
CHUNK = 256

MEASURES = {
    "face width": ("left_cheekbone", "right_cheekbone"),
    "face length": ("nasion", "chin"),
    "jaw width": ("left_jaw_angle", "right_jaw_angle"),
    "chin height": ("lower_lip_bottom", "chin"),
    "eye spacing": ("left_eye_inner", "right_eye_inner"),
    "eye width": ("left_eye_inner", "left_eye_outer"),
    "nose width": ("left_ala", "right_ala"),
    "nose length": ("nasion", "subnasale"),
    "mouth width": ("left_mouth_corner", "right_mouth_corner"),
    "lip height": ("upper_lip_top", "lower_lip_bottom"),
}
"""Distances between two landmarks of the neutral head."""
COLOURS = ("melanin", "haemoglobin", "carotene", "iris_melanin", "hair_eumelanin", "hair_pheomelanin", "hair_grey")
MARKS = ("freckles", "redness", "wrinkles", "brow_thickness", "brow_arch", "brow_height", "brow_density")
ATTRIBUTES = {
    "yaw": ("pose", "yaw"),
    "pitch": ("pose", "pitch"),
    "jaw open": ("expression", "jawOpen"),
    "smile": ("expression", "mouthSmileLeft"),
    "brows raised": ("expression", "browInnerUp"),
    "light: azimuth": ("light", "azimuth"),
    "light: elevation": ("light", "elevation"),
    "light: lamp": ("light", "lamp"),
    "light: warmth": ("light", "warmth"),
    "hair length": ("style", "hair_length"),
    "hair volume": ("style", "hair_volume"),
    "fringe": ("style", "fringe"),
    "curl": ("style", "curl"),
    "glasses": ("style", "glasses"),
}
"""Names of what a swap takes from the target, with group and name in `world.FIELDS`."""


def probe_targets(people: world.Factors) -> dict[str, Values]:
    """Values of n photos, by group and name: 'shape components' (of the largest variance first), 'shape measures',
    'colours', 'marks' and 'attributes'."""
    vertices, points = framed_heads(np.asarray(people.identity)[:, : len(heads.SHAPE_NAMES)])
    components = principal_components(vertices.reshape(len(vertices), -1), COMPONENTS)
    of_identity = lambda name: np.asarray(people.identity)[:, world.FIELDS["identity"].index(name)]
    of_photo = lambda group, name: np.asarray(getattr(people, group))[:, world.FIELDS[group].index(name)]
    return {
        "shape components": {str(i + 1): column for i, column in enumerate(components.T)},
        "shape measures": shape_measures(points),
        "colours": {name: of_identity(name) for name in COLOURS},
        "marks": {name: of_identity(name) for name in MARKS},
        "attributes": {name: of_photo(*field) for name, field in ATTRIBUTES.items()},
    }


def framed_heads(
    shape: Float[np.ndarray, "n k"],
) -> tuple[Float[np.ndarray, "n v 3"], Float[np.ndarray, "n l 3"]]:
    """Neutral heads of these shapes in units of half the side of the picture that FFHQ's framing makes of them from the
    front: how large a head really is, no picture shows.

    Returns the vertices of the skin down to the chin, and `heads.LANDMARK_NAMES`.
    """
    asset = heads.load_heads()
    skin = np.unique(asset.triangles[asset.parts == heads.SKIN])
    lowest = asset.mean[asset.landmarks[heads.LANDMARK_NAMES.index("chin")], 1]
    kept = skin[asset.mean[skin, 1] >= lowest]
    framing = jax.vmap(lambda five: ffhq_camera(five, jnp.zeros(3), jnp.float32(DISTANCE)).scale)
    seen, marked = [], []
    for start in range(0, len(shape), CHUNK):
        some = jnp.asarray(shape[start : start + CHUNK])
        units = jnp.zeros((len(some), len(heads.EXPRESSION_UNITS)))
        vertices = heads.deform(asset, some, units, jnp.zeros((len(some), 2)))
        points = vertices[:, asset.landmarks]
        scale = framing(heads.five_points(points))[:, None, None]
        seen.append(np.asarray(scale * vertices[:, kept]))
        marked.append(np.asarray(scale * points))
    return np.concatenate(seen), np.concatenate(marked)


def shape_measures(points: Float[np.ndarray, "n l 3"]) -> Values:
    """MEASURES of heads, in the unit of their points, which are by `heads.LANDMARK_NAMES`."""
    at = lambda name: points[:, heads.LANDMARK_NAMES.index(name)]
    return {name: np.linalg.norm(at(a) - at(b), axis=1) for name, (a, b) in MEASURES.items()}


def principal_components(rows: Float[np.ndarray, "n d"], count: int) -> Float[np.ndarray, "n count"]:
    """The coefficients of the rows in their `count` directions of largest variance, or in all n - 1 that they have,
    the largest first."""
    centred = rows - rows.mean(0)
    n = len(rows)
    squares, axes = eigh(centred @ centred.T, subset_by_index=(max(1, n - count), n - 1))
    return (axes * np.sqrt(np.maximum(squares, 0.0)))[:, ::-1]


def as_columns(values: Mapping[str, Values]) -> Float[np.ndarray, "n k"]:
    """All values of all groups side by side, in their order."""
    return np.stack([column for group in values.values() for column in group.values()], axis=1)

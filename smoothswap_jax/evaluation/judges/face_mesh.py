"""Landmarks, expression and head pose of an aligned face, by the networks of MediaPipe's face_landmarker.task.

The face mesh gives 478 points in three dimensions, a second network their 52 blendshapes, and a fit of the bundle's
canonical face the pose. Steps and constants follow MediaPipe's face_landmarker, face_blendshapes_graph.cc and
geometry_pipeline.cc, except that the camera is scaled orthographic: MediaPipe assumes a field of view of 63 degrees
over the whole image, which would make the pose of an aligned crop depend on how it was cropped.

Measured on 20 people of the London set, aligned to 256 pixels: a face is found in every frontal and three-quarter view,
but not in 86% of the profiles. Three-quarter views, nominally 45 degrees, measure -38 and +39 (standard deviation 4);
the angles of a mirrored crop agree to .8 degrees on average and 4 at most. The blendshapes of a smile rise from .01 to
.59 in frontal and to .45 in three-quarter views. From 256 to 128 pixels points move by .2 pixels of 256 and blendshapes
by .006, to 64 by .7 and .023, to 32 by 2.1 and .06, as much as a smile does: only compare images of the same size.

Expression is not separated from identity and pose. Blendshapes of two neutral people are .78 (L2) apart, of one neutral
person .53 between frontal and three-quarter view, and 1.05 between neutral and smiling; superimposed points, in units
of the eyes' distance, .029, .033 and .027. So even a real photo of the wanted swap does not score 0.
"""

import functools
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from smoothswap_jax.faces.align import Points, Quad, crop_to_photo, ffhq_quad, quick_crop
from smoothswap_jax.faces.detection.mediapipe import (
    MEMBERS,
    MESH_SIDE,
    MIN_PRESENCE,
    check_bundle,
    lite_network,
    mesh_network,
    turned_square,
)
from smoothswap_jax.faces.detection.mediapipe import SPEC as DETECTOR
from smoothswap_jax.faces.detection.registry import detector_facts
from smoothswap_jax.faces.photos import check_photo

SHAPES_MEMBER, GEOMETRY_MEMBER = "face_blendshapes.tflite", "geometry_pipeline_metadata_landmarks.binarypb"
JUDGE_MEMBERS = MEMBERS | {SHAPES_MEMBER: 16 << 20, GEOMETRY_MEMBER: 1 << 20}
"""The members of the bundle that are needed, and the most bytes that each may unpack to."""

LEFT_EYE, RIGHT_EYE = (33,), (263,)
"""The outer eye corners, left and right as the viewer sees them, as indices for `metrics.per_pair.landmark_distance`,
whose unit is the distance of the eyes. Use them in three dimensions: in the image it shrinks as the head turns."""

CANONICAL = 468
"""Points of the canonical face: those of the mesh except the ten of the irises, which come last."""

FACE_CENTRE, FACE_SIDE = (0.5, 0.59), 1.0
"""Centre and side of the mesh network's square as fractions of the face's FFHQ square: means over the squares that
frontal views of 20 people of the London set converge to (side .97, in three-quarter views 1.04)."""

NOSE_SHIFT = 1.25
"""How far the centre moves away from the nose as the head turns, over the nose's distance from the middle."""

# The mesh points that the blendshape network sees (kLandmarksSubsetIdxs), in its order.
# fmt: off
SHAPE_POINTS = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80, 81,
    82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153, 154,
    155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263,
    267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321,
    323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387,
    388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
)

BLENDSHAPES = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)
# fmt: on
"""Names of the blendshapes (kBlendshapeNames); left and right are the person's. MediaPipe says to ignore the first."""

Crop = UInt8[np.ndarray, "s s 3"]
Solid = Float[np.ndarray, "478 3"]
Rotation = Float[np.ndarray, "3 3"]


class MeshReading(NamedTuple):
    """What the networks measure of one face."""

    landmarks: Solid
    """x and y in pixels of the crop, the first pixel's centre at 0; z in the same unit, falling towards the camera,
    of arbitrary zero. The irises are points 468-472 (the viewer's left) and 473-477."""
    blendshapes: Float[np.ndarray, "52"]
    """0-1, in the order of `BLENDSHAPES`."""
    rotation: Rotation
    """From the canonical face to the camera: `seen = rotation @ canonical`. Both have x to the viewer's right, y up,
    z towards the camera; the third column is where the face looks."""


Mesh = Callable[[Crop, Points], MeshReading | None]


def make_mesh(model: str) -> Mesh:
    """`read_mesh` with the model at a path of face_landmarker.task. It can be pickled.

    Networks are loaded here, once per process and file. Thread-safe. Raises ImportError without ai-edge-litert (the
    text says what to install), FileNotFoundError, and ValueError for a file that is not such a bundle.
    """
    _networks(str(model))
    return functools.partial(read_mesh, model=str(model))


def read_mesh(crop: Crop, points: Points, *, model: str) -> MeshReading | None:
    """Measures the face of an FFHQ-aligned crop.

    Args:
      crop: `uint8 [s, s, 3]`, RGB, of any size; below 32 pixels results mean little.
      points: left eye, right eye, nose tip, left and right mouth corner in pixels of the crop, left and right as the
        viewer sees them. If one is NaN, the face is sought where FFHQ has faces, which moves points by .1 pixels of 256
        on average in frontal views and by .4 in three-quarter views.
      model: the path of face_landmarker.task.

    Returns None where the mesh network finds no face: its presence is below .5 in the first square or in the second,
    which follows from the landmarks of the first. Raises as `make_mesh` does, and PhotoError or ValueError for a crop
    or points of other shapes and for finite points that define no direction.
    """
    crop, points = check_photo(crop, "aligned face"), np.asarray(points, np.float64)
    size = crop.shape[0]
    if crop.shape[1] != size or points.shape != (5, 2):
        raise ValueError(f"face {list(crop.shape)}, points {list(points.shape)}: wanted [s, s, 3] and [5, 2]")
    mesh, shapes, canonical, weights = _networks(model)
    # Small crops are first enlarged bicubically: bilinear sampling of the square moves points by a third more.
    view, scale = crop, 1.0
    if size < MESH_SIDE:
        view = np.asarray(Image.fromarray(crop).resize((MESH_SIDE, MESH_SIDE), Image.Resampling.BICUBIC))
        scale = MESH_SIDE / size
    quad = first_square((points + 0.5) * scale - 0.5, view.shape[0])
    for _ in range(2):
        flat, presence = mesh(quick_crop(view, quad, MESH_SIDE))
        if presence < MIN_PRESENCE:
            return None
        matrix = crop_to_photo(quad, MESH_SIDE)
        landmarks = np.column_stack(
            [flat[:, :2] @ matrix[:, :2].T + matrix[:, 2], flat[:, 2] * np.hypot(*matrix[:, 0])]
        )
        xy = landmarks[:, :2]
        quad = turned_square(np.concatenate([xy.min(0), xy.max(0)]), xy[LEFT_EYE[0]], xy[RIGHT_EYE[0]])
    # The blendshape network ignores where the face is and how large, so any unit of points will do.
    (expression,) = shapes(landmarks[None, list(SHAPE_POINTS), :2].astype(np.float32))
    landmarks = np.column_stack([(landmarks[:, :2] + 0.5) / scale - 0.5, landmarks[:, 2] / scale])
    rotation = best_rotation(canonical, landmarks[:CANONICAL] * (1, -1, -1), weights)
    return MeshReading(landmarks, expression.astype(np.float64), rotation)


def first_square(points: Points, size: int) -> Quad:
    """Where the mesh network looks first in a crop of `size` pixels: around the points or, if one is NaN, where faces
    are in FFHQ. Raises ValueError for finite points that define no direction."""
    aside = 0.0
    quad = np.array([[0, 0], [0, size], [size, size], [size, 0]]) - 0.5
    if np.isfinite(points).all():
        quad = ffhq_quad(points)
        along = quad[3] - quad[0]
        # In profile the nose is an eighth of the side from the middle; more means that a point is wrong.
        aside = float(np.clip((points[2] - quad.mean(0)) @ along / (along @ along), -0.2, 0.2))
    right, down = quad[3] - quad[0], quad[1] - quad[0]
    centre = quad[0] + (FACE_CENTRE[0] - NOSE_SHIFT * aside) * right + FACE_CENTRE[1] * down
    return centre + FACE_SIDE * (quad - quad.mean(0))


def facts(model: str) -> dict[str, str]:
    """What reports say about this judge: `name`, `package`, `version`, `model`, `sha256`, `licence`.

    Raises as `make_mesh` does.
    """
    return detector_facts(DETECTOR.name, model) | {"name": "mediapipe-mesh", "licence": "Apache-2.0"}


# --- Pose ---------------------------------------------------------------------------------------------------


def best_rotation(
    points: Float[np.ndarray, "n 3"], seen: Float[np.ndarray, "n 3"], weights: Float[np.ndarray, "n"]
) -> Rotation:
    """The rotation from `points` to `seen` of least weighted squared error, up to shifts and scale (Kabsch 1976)."""
    share = weights / weights.sum()
    covariance = (seen - share @ seen).T @ ((points - share @ points) * share[:, None])
    u, _, v = np.linalg.svd(covariance)
    return u @ np.diag([1, 1, np.sign(np.linalg.det(u @ v))]) @ v  # without the sign it could be a reflection


def yaw_pitch_roll(rotation: Rotation) -> Float[np.ndarray, "3"]:
    """Degrees: yaw -90 to 90, positive where the nose points to the viewer's right; pitch, positive up; roll, positive
    counter-clockwise as the viewer sees it. `rotation` is roll @ yaw @ pitch, as in `synthetic/camera.py`."""
    yaw = np.arcsin(np.clip(-rotation[2, 0], -1, 1))
    return np.degrees([yaw, np.arctan2(-rotation[2, 1], rotation[2, 2]), np.arctan2(rotation[1, 0], rotation[0, 0])])


# --- The model file -----------------------------------------------------------------------------------------


@functools.cache
def _networks(model: str) -> tuple[Callable, Callable, Float[np.ndarray, "468 3"], Float[np.ndarray, "468"]]:
    """Mesh network, blendshape network (points `[1, 146, 2]` -> `[52]`), canonical face and its weights."""
    contents = check_bundle(model, JUDGE_MEMBERS)
    shapes = lite_network(
        f"{model}: {SHAPES_MEMBER}", contents[SHAPES_MEMBER], (1, len(SHAPE_POINTS), 2), ((len(BLENDSHAPES),),)
    )
    try:
        canonical, weights = canonical_face(contents[GEOMETRY_MEMBER])
    except (ValueError, IndexError, KeyError, TypeError, struct.error) as error:
        raise ValueError(f"{model}: {GEOMETRY_MEMBER}: found no canonical face ({error})") from error
    return mesh_network(model), shapes, canonical, weights


def canonical_face(content: bytes) -> tuple[Float[np.ndarray, "468 3"], Float[np.ndarray, "468"]]:
    """The canonical face in centimetres (x to the viewer's right, y up, z to the camera) and its points' weights for
    the pose, from MediaPipe's GeometryPipelineMetadata. Raises ValueError for other contents."""
    values, weights = [], np.zeros(CANONICAL)
    for field, value in _protobuf(content):
        if field == 1:  # canonical_mesh, whose field 3 is the vertex buffer
            values = [one for key, one in _protobuf(value) if key == 3]
        elif field == 2:  # one entry of procrustes_landmark_basis
            entry = dict(_protobuf(value))
            weights[entry[1]] = entry[2]
    if len(values) != CANONICAL * 5 or not (weights >= 0).all() or np.count_nonzero(weights) < 3:
        raise ValueError(
            f"found {len(values)} coordinates, {np.count_nonzero(weights)} weights; wanted {CANONICAL * 5}, 3 or more"
        )
    # A vertex is x, y, z and its texture coordinates.
    return np.array(values, np.float64).reshape(CANONICAL, 5)[:, :3], weights


def _protobuf(content: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and values of a message: integers, 4-byte floats, and bytes for fields with a length."""
    at = 0

    def integer() -> int:
        nonlocal at
        value = shift = 0
        while shift < 64:
            byte = content[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value
        raise ValueError("an integer of more than 64 bits")

    while at < len(content):
        field, kind = divmod(integer(), 8)
        if kind == 0:
            yield field, integer()
        elif kind in (2, 5):
            length = integer() if kind == 2 else 4
            value = content[at : at + length]
            if len(value) < length:
                raise ValueError("it ends within a field")
            at += length
            yield field, value if kind == 2 else struct.unpack("<f", value)[0]
        else:
            raise ValueError(f"a field of wire type {kind}")

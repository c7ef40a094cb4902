"""Finding faces with the networks of MediaPipe's face_landmarker.task: BlazeFace and the 478-point face mesh.

They run in LiteRT (`ai-edge-litert`), without the mediapipe package. The steps follow MediaPipe's graphs
face_detection_short_range and face_landmarks_detector: anchors, decoding, weighted non-maximum suppression, a rotated
square around the face, landmarks. BlazeFace only finds faces that fill much of its 128 pixels, so it is run on the
whole photo and on overlapping tiles. It finds few profiles (5 of 36 in the London set) and no faces below a twentieth
of the photo; heads tilted by 90 degrees or more get wrong points,
which `upright` finds out.
"""

from __future__ import annotations

import functools
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from smoothswap_jax.faces.align import Points, Quad, crop_to_photo, quick_crop
from smoothswap_jax.faces.detection.base import DetectorSpec, Face, UserModel, distinct
from smoothswap_jax.faces.packages import is_installed, missing_package
from smoothswap_jax.faces.photos import Photo, check_photo, scaled_down

DETECTOR_SIDE, MESH_SIDE = 128, 256
MIN_PRESENCE = 0.5
"""Minimum probability, as the mesh network estimates it, that its input shows a face."""

LEVELS = (0.5, 1, 2, 4)
"""The photo's long side at each scale of the search, in multiples of the detector's input: at half an input it finds
faces that fill the photo, at four those of a twentieth of it."""

MEMBERS = {"face_detector.tflite": 16 << 20, "face_landmarks_detector.tflite": 64 << 20}
"""The bundle's files that finding faces needs, and the most bytes that each may unpack to."""

RIGHT_EYE, LEFT_EYE = (33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380)
"""Mesh vertices at dlib's landmarks 36-41 and 42-47. Named after the person: the right eye is the viewer's left."""
NOSE_TIP, MOUTH = 1, (61, 291)

_USER, _PACKAGE, _EXTRA = "using MediaPipe's models", "ai-edge-litert", "mediapipe"

Landmarks = Float[np.ndarray, "478 2"]
MeshNetwork = Callable[[Photo], tuple[Float[np.ndarray, "478 3"], float]]
Boxes = Float[np.ndarray, "n 4"]


def detect_faces_mediapipe(photo: Photo, *, model: str, min_score: float = 0.8) -> list[Face]:
    """Finds the faces of a photo `uint8 [h, w, 3]`, largest box first; an empty list if there are none.

    `model` is the path of face_landmarker.task. `min_score` is above MediaPipe's 0.5 because tiles show parts of faces:
    these score 0.5-0.76 in the London photos, whole faces 0.89 and more.

    Raises:
      ImportError: ai-edge-litert is missing; the text says what to install.
      FileNotFoundError, ValueError: `model` is missing, or not such a bundle.
      PhotoError: `photo` is not `uint8 [h, w, 3]`.
    """
    photo = check_photo(photo)
    detect, mesh = _detector_network(str(model)), mesh_network(str(model))
    seen = [sighting for tile, matrix in _tiles(photo) for sighting in _sightings(detect(tile), matrix, min_score)]
    # The points of a sighting are only its eyes, which is all that the rotated square needs.
    faces = []
    for face in distinct(seen):
        quad = turned_square(face.box, face.points[0], face.points[1])
        landmarks, presence = mesh(quick_crop(photo, quad, MESH_SIDE))
        if presence >= MIN_PRESENCE:
            matrix = crop_to_photo(quad, MESH_SIDE)
            faces.append(face._replace(points=five_points(landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2])))
    return sorted(faces, key=lambda face: -face.area)


def five_points(landmarks: Landmarks) -> Points:
    """FFHQ's five points: the means of six vertices around each eye, nose tip, outer mouth corners."""
    eyes = [landmarks[list(eye)].mean(0) for eye in (RIGHT_EYE, LEFT_EYE)]
    return np.stack([*eyes, landmarks[NOSE_TIP], landmarks[MOUTH[0]], landmarks[MOUTH[1]]])


# --- The detector's output ----------------------------------------------------------------------------------


@functools.cache
def anchors() -> Float[np.ndarray, "896 2"]:
    """Centres (x, y), 0-1, of BlazeFace's anchors: two per cell of a 16x16 grid, then six per cell of an 8x8 one."""
    grids = []
    for cells, count in ((16, 2), (8, 6)):
        y, x = np.mgrid[0:cells, 0:cells]
        grids.append(np.repeat((np.stack([x.ravel(), y.ravel()], 1) + 0.5) / cells, count, axis=0))
    return np.concatenate(grids)


def decoded(raw: Float[np.ndarray, "896 16"]) -> tuple[Boxes, Float[np.ndarray, "896 6 2"]]:
    """Boxes x0, y0, x1, y1 and six points each, 0-1 over the input, from the regressor's output.

    An output row is centre, size and points in pixels, centre and points relative to the anchor. The points:
    the viewer's left and right eye, nose tip, mouth, the viewer's left and right ear.
    """
    values = raw.astype(np.float64).reshape(-1, 8, 2) / DETECTOR_SIDE
    centre = values[:, 0] + anchors()
    half = values[:, 1] / 2
    return np.concatenate([centre - half, centre + half], 1), values[:, 2:] + anchors()[:, None]


def suppressed(boxes: Boxes, scores: Float[np.ndarray, n], overlap: float = 0.3) -> list[np.ndarray]:
    """Weighted non-maximum suppression: groups boxes whose intersection over union with the group's best one is more
    than `overlap`.

    Returns the groups' indices, best box first. The caller averages each group weighted by score, as MediaPipe does.
    """
    left = np.argsort(-scores, kind="stable")
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    groups = []
    while len(left):
        span = np.minimum(boxes[left, 2:], boxes[left[0], 2:]) - np.maximum(boxes[left, :2], boxes[left[0], :2])
        shared = np.prod(np.maximum(span, 0), axis=1)
        same = shared > overlap * np.maximum(area[left] + area[left[0]] - shared, 1e-12)
        same[0] = True  # a box without area overlaps nothing, not even itself
        groups.append(left[same])
        left = left[~same]
    return groups


def _sightings(output: tuple[np.ndarray, np.ndarray], matrix: np.ndarray, min_score: float) -> Iterator[Face]:
    """The faces of one tile in pixels of the photo; `matrix [2, 2]` holds scale (x, y) and origin (x, y)."""
    raw, logits = output
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64).ravel(), -100, 100)))
    good = scores >= min_score
    boxes, points = decoded(raw)
    boxes, points, scores = boxes[good], points[good], scores[good]
    for group in suppressed(boxes, scores):
        weights = scores[group] / scores[group].sum()
        scale, origin = matrix
        box = (weights @ boxes[group]).reshape(2, 2) * scale + origin
        eyes = np.tensordot(weights, points[group], 1) * scale + origin
        yield Face(box.ravel(), eyes[[0, 1, 2, 3, 3]], float(scores[group[0]]))


def turned_square(box: Float[np.ndarray, "corners=4"], left_eye: np.ndarray, right_eye: np.ndarray) -> Quad:
    """The input of the mesh network: a square around the box, 1.5 times its long side, rotated to level the eyes."""
    across = np.asarray(right_eye, np.float64) - left_eye
    length = np.hypot(*across)
    across = across / length if length > 0 else np.array([1.0, 0.0])
    x = across * 0.75 * max(box[2] - box[0], box[3] - box[1], 1e-3)
    y = np.array([-x[1], x[0]])
    centre = (box[:2] + box[2:]) / 2
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def _tiles(photo: Photo) -> Iterator[tuple[Photo, np.ndarray]]:
    """Detector inputs `uint8 [128, 128, 3]` that cover the photo at each of `LEVELS` and overlap by half.

    With each comes `[2, 2]`: the tile's width and height, and its origin, in pixels of the photo.
    """
    side = DETECTOR_SIDE
    for level in LEVELS:
        if level > 1 and side * level > 2 * max(photo.shape[:2]):
            break
        small, scale = scaled_down(photo, int(side * level))
        height, width = small.shape[:2]
        for top in _starts(height):
            for left in _starts(width):
                tile = np.zeros((side, side, 3), np.uint8)
                part = small[max(top, 0) : top + side, max(left, 0) : left + side]
                y, x = max(-top, 0), max(-left, 0)
                tile[y : y + part.shape[0], x : x + part.shape[1]] = part
                yield tile, np.stack([side / scale, np.array([left, top]) / scale - 0.5])


def _starts(length: int) -> list[int]:
    """Where tiles begin along a side of the photo: overlapping by half, or one tile around the middle."""
    side = DETECTOR_SIDE
    if length <= side:
        return [-((side - length) // 2)]
    steps = -(-(length - side) // (side // 2))
    return [round(i * (length - side) / steps) for i in range(steps + 1)]


# --- The model file -----------------------------------------------------------------------------------------


def check_bundle(model: str, members: Mapping[str, int] | None = None) -> dict[str, bytes]:
    """The contents of files in face_landmarker.task by name: of `members` (name -> most bytes), or of `MEMBERS`.

    Raises ImportError without ai-edge-litert; FileNotFoundError; ValueError if the file is not a zip, is damaged, lacks
    a member, or a member is larger than allowed.
    """
    if not is_installed("ai_edge_litert"):
        raise missing_package(_USER, _PACKAGE, _EXTRA)
    members = MEMBERS if members is None else members
    path = Path(model)
    if not path.is_file():
        raise FileNotFoundError(f"{model}: found no such file; wanted MediaPipe's face_landmarker.task")
    try:
        with zipfile.ZipFile(path) as bundle:
            missing = sorted(set(members) - set(bundle.namelist()))
            if missing:
                raise ValueError(f"{model}: found a zip without {', '.join(missing)}; wanted face_landmarker.task")
            contents = {}
            for name, most in members.items():
                with bundle.open(name) as member:
                    contents[name] = member.read(most + 1)
                if len(contents[name]) > most:
                    raise ValueError(f"{model}: {name}: found more than {most:,} bytes; wanted at most that")
            return contents
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(
            f"{model}: found no readable zip ({error}); wanted MediaPipe's face_landmarker.task"
        ) from error


@functools.cache
def _detector_network(model: str) -> Callable[[Photo], tuple[np.ndarray, np.ndarray]]:
    """BlazeFace: tile `[128, 128, 3]` -> raw boxes `[896, 16]`, logits `[896, 1]`. Loaded once per process and file."""
    name = "face_detector.tflite"
    shapes = ((1, 896, 16), (1, 896, 1))
    detect = lite_network(f"{model}: {name}", check_bundle(model)[name], (1, DETECTOR_SIDE, DETECTOR_SIDE, 3), shapes)

    def find(tile: Photo) -> tuple[np.ndarray, np.ndarray]:
        raw, logits = detect(tile[None].astype(np.float32) / 127.5 - 1)
        return raw[0], logits[0]

    return find


@functools.cache
def mesh_network(model: str) -> MeshNetwork:
    """The face mesh: view `[256, 256, 3]` -> points `[478, 3]`, presence 0-1. Loaded once per process and file.

    x and y are pixels of the view. z is in the same unit, decreases towards the camera, and has an arbitrary zero.
    Raises as `check_bundle` does, and ValueError if the member is not this network.
    """
    name = "face_landmarks_detector.tflite"
    shapes = ((1, 1, 1, 1434), (1, 1, 1, 1))
    mesh = lite_network(f"{model}: {name}", check_bundle(model)[name], (1, MESH_SIDE, MESH_SIDE, 3), shapes)

    def landmarks(view: Photo) -> tuple[Float[np.ndarray, "478 3"], float]:
        points, presence = mesh(view[None].astype(np.float32) / 255)
        # The network's origin is the corner of the view, ours the centre of its first pixel.
        solid = points.astype(np.float64).reshape(478, 3) - (0.5, 0.5, 0)
        return solid, float(1 / (1 + np.exp(-np.clip(presence.item(), -100, 100))))

    return landmarks


def lite_network(
    name: str, content: bytes, takes: tuple[int, ...], wanted: tuple[tuple[int, ...], ...]
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """A network as a function: takes `float32` of shape `takes`, returns its outputs of the shapes `wanted`.

    Calls from several threads wait for each other. Raises ImportError without ai-edge-litert, ValueError (which names
    `name`) for bytes that are not a network of these shapes.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise missing_package(_USER, _PACKAGE, _EXTRA) from error
    try:
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{name}: found no network that LiteRT can run ({error})") from error
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    found = {tuple(map(int, one["shape"])): one["index"] for one in outputs}
    taken = [tuple(map(int, one["shape"])) for one in inputs]
    if taken != [takes] or not set(wanted) <= set(found):
        raise ValueError(f"{name}: found inputs {taken} and outputs {list(found)}; wanted {[takes]} and {list(wanted)}")
    lock = threading.Lock()  # inputs and outputs are state of the interpreter

    def run(image: np.ndarray) -> list[np.ndarray]:
        with lock:
            interpreter.set_tensor(inputs[0]["index"], image)
            interpreter.invoke()
            return [interpreter.get_tensor(found[shape]) for shape in wanted]

    return run


def look_again(crop: Photo, *, model: str) -> list[Face]:
    """Faces in a crop down to low scores. Raises as `detect_faces_mediapipe` does."""
    return detect_faces_mediapipe(crop, model=model, min_score=0.3)


SPEC = DetectorSpec(
    name="mediapipe",
    detect=detect_faces_mediapipe,
    model=UserModel(wanted="face_landmarker.task", check=check_bundle),
    packages={"ai-edge-litert": ("ai-edge-litert",)},
    again=look_again,
)

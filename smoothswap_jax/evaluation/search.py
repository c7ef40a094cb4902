"""Where the face is in an aligned picture. Imports little, since processes of their own do the work."""

import numpy as np
from jaxtyping import Float, UInt8

from smoothswap_jax.faces.detection.yunet import detect_faces
from smoothswap_jax.prepare.crops import resized
from smoothswap_jax.runtime import workers

DETECTION_SIDE = 256
"""Crops are searched at this size or their own, if that is larger: YuNet misses faces of a few pixels."""


def search(images: UInt8[np.ndarray, "m s s 3"]) -> Float[np.ndarray, "m 5 2"]:
    """The five points of the face nearest to the middle of each picture, as YuNet marks them; NaN for no face."""
    return np.stack([*workers.each(_search_one, images)])


def _search_one(image: UInt8[np.ndarray, "s s 3"]) -> Float[np.ndarray, "5 2"]:
    side = max(DETECTION_SIDE, image.shape[0])
    faces = detect_faces(resized(image, side), refine=False)
    if not faces:
        return np.full((5, 2), np.nan)
    away = [np.linalg.norm(face.points.mean(0) - side / 2) for face in faces]
    # Centres of pixels: (x + 1/2) scales, x does not.
    return (faces[int(np.argmin(away))].points + 0.5) * image.shape[0] / side - 0.5

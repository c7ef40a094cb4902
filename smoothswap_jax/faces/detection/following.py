"""Faces followed from one frame of a video to the next, which costs a tenth of searching each frame as a photo."""

import numpy as np

from smoothswap_jax.faces.align import Points, ffhq_quad, photo_to_crop
from smoothswap_jax.faces.detection import yunet
from smoothswap_jax.faces.detection.base import Face, same_face
from smoothswap_jax.faces.photos import Photo

QUICK_SIDE = 320
"""The frame is searched for new faces with its long side scaled down to this."""
MOVED, GROWN = 0.4, 1.4
"""How far a face may move from frame to frame, in sides of its square, and how much larger or smaller it may get. What
does more is another face, or another scene."""

STILL = 0.04
"""How far corners of a face's square may move, in its sides, without being looked at once more."""


def follow_faces(photo: Photo, last: list[Face]) -> list[Face] | None:
    """The faces of a frame, given those of the frame before; None where one is lost or a new one is seen, so that the
    frame has to be searched.

    New faces that are turned by 90 degrees, or smaller than about a thirtieth of the frame, are not seen. Raises
    what `yunet.detect_faces` does.
    """
    found = []
    for face in last:
        moved = _seen_again(photo, face)
        if moved is None:
            return None
        found.append(moved)
    quick = yunet.detect_faces(photo, sides=(QUICK_SIDE,), refine=False)
    if any(not any(same_face(new, face) for face in found) for new in quick):
        return None
    return sorted(found, key=lambda face: -face.area)


def _seen_again(photo: Photo, face: Face) -> Face | None:
    """The face in the next frame; None where it is lost. A face that is not in the middle of the view, or not upright
    in it, is not found exactly, so one that has moved is looked at once more from where it is."""
    for _ in range(2):
        seen = yunet.points_seen(photo, face.points)
        moved = _moved(face, *seen) if seen else None
        if moved is None:
            return None
        old, new = ffhq_quad(face.points), ffhq_quad(moved.points)
        face = moved
        if np.abs(new - old).max() < STILL * np.hypot(*(old[3] - old[0])):
            break
    return face


def _moved(face: Face, points: Points, score: float) -> Face | None:
    """The face at its new points; None where it cannot have got there."""
    try:
        old, new = ffhq_quad(face.points), ffhq_quad(points)
    except ValueError:
        return None
    side = float(np.hypot(*(old[3] - old[0])))
    grown = float(np.hypot(*(new[3] - new[0]))) / side
    if np.hypot(*(new.mean(0) - old.mean(0))) > MOVED * side or not 1 / GROWN < grown < GROWN:
        return None
    # The box goes with the middle of the square, upright as it was.
    middle = (face.box[:2] + face.box[2:]) / 2
    there = photo_to_crop(old, 1)
    place = there[:, :2] @ middle + there[:, 2] + 0.5
    middle = new[0] + place[0] * (new[3] - new[0]) + place[1] * (new[1] - new[0])
    half = (face.box[2:] - face.box[:2]) / 2 * grown
    return Face(np.concatenate([middle - half, middle + half]), points, score)

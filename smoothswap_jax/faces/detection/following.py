"""Faces followed from one frame of a video to the next, which costs a tenth of searching each frame as a photo."""

import numpy as np
from jaxtyping import Float

from smoothswap_jax.faces.align import Points, ffhq_quad, photo_to_crop
from smoothswap_jax.faces.detection import upright, yunet
from smoothswap_jax.faces.detection.base import Face, same_face
from smoothswap_jax.faces.photos import Photo, scaled_down

QUICK_SIDE = 320
"""The frame is searched for new faces with its long side scaled down to this."""
MOVED, GROWN = 0.4, 1.4
"""How far a face may move from frame to frame, in sides of its square, and how much larger or smaller it may get. What
does more is another face, or another scene."""

STILL = 0.04
"""How far corners of a face's square may move, in its sides, without being looked at once more."""


def follow_faces(photo: Photo, last: list[Face], turn: int) -> list[Face] | None:
    """The faces of a frame, given those of the frame before; None where one is lost or a new upright one is seen, so
    that the frame has to be searched.

    New faces smaller than about a thirtieth of the frame are not seen. Raises what `yunet.detect_faces` does.

    Args:
      turn: in which other quarter turn of the frame new faces are looked for, too, 1 to 3. The caller changes it from
        frame to frame, as all three in each would take three times as long.
    """
    found = []
    for face in last:
        moved = _seen_again(photo, face)
        if moved is None:
            return None
        found.append(moved)
    small, scale = scaled_down(photo, QUICK_SIDE)
    if _new(_quick(small, scale, 0), found):
        return None
    if _new(_quick(small, scale, turn), found):  # searching the frame would not find it beside an upright one
        found += _new(
            upright.turned_faces(photo, detect=yunet.detect_faces, again=yunet.look_again, turns=(turn,)), found
        )
    return sorted(found, key=lambda face: -face.area)


def _quick(small: Photo, scale: Float[np.ndarray, "xy=2"], turn: int) -> list[Face]:
    """The faces in a quarter turn of a frame that is scaled down; of their places only the boxes are those in the
    frame."""
    found = yunet.detect_faces(np.rot90(small, turn).copy(), sides=(QUICK_SIDE,), refine=False)
    back = (upright.turned_back(face, turn, small.shape) for face in found)
    return [face._replace(box=(face.box + 0.5) / np.tile(scale, 2) - 0.5) for face in back]


def _new(faces: list[Face], known: list[Face]) -> list[Face]:
    return [one for one in faces if not any(same_face(one, face) for face in known)]


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

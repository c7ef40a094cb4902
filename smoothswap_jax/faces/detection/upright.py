"""Faces in any turn of a photo, by any detector: each face is looked at again, upright, in its own crop.

Detectors are trained on upright faces. Of a face that lies on its side or upside down most find something, sure of
themselves, with the eyes where the mouth is. So the crop of each face is looked at in four turns: in a right crop the
face is found where the alignment puts it, and none of the other turns shows a better one. Where that fails the photo
itself is searched in its other three quarter turns. Points come back in the photo as it was given, so that the aligned
crop of a turned face stands upright.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from smoothswap_jax.faces.align import ffhq_quad, quick_crop
from smoothswap_jax.faces.detection.base import Detector, Face, FirstLook, distinct, same_face, with_new
from smoothswap_jax.faces.photos import Photo, check_photo

VIEW = 240
"""Side in pixels of the crop that is looked at again."""

MAX_TILT = 60.0
"""Degrees by which a face may be tilted in the turn of the photo in which it is found. Beyond 45 another turn is nearer
to it; the rest is for faces at the limit. The points of faces tilted further are seldom right, see docs/results.md."""

LARGE = 1600
"""Photos with a longer side are searched again in tiles, if nothing is found in them as a whole or that is asked for:
detectors scale them down to this or less."""

SURE = 0.1
"""Share of the photo's longer side that a face found at first sight spans at least (`base.FirstLook`)."""

Choose = Callable[[list[Face]], Face | None]
"""Takes the face that is wanted of those of a photo, largest first."""

SPAN, OVERLAP = 800, 200
"""Side of the tiles, and how much neighbours share, in pixels. A face belongs to the tile whose middle is nearest, so
it lies at least half the overlap inside: so does all of its crop, where it is too small to be found without tiles."""


def find_faces(photo: Photo, *, detect: Detector, again: Detector, tiles: bool = False) -> list[Face]:
    """Finds the faces of a photo `uint8 [h, w, 3]` in whatever turn they are, largest box first.

    Of upright photos this is what `detect` gives, less what is not found `again` in its own crop. If something is not,
    or nothing was found, the other quarter turns of the photo are searched too. If there is still nothing in a photo
    larger than `LARGE`, or with `tiles` in any case, its tiles are, upright and at full resolution. The points of a
    turned face come in their usual order: the left eye is on the left for one who turns the photo upright. Raises what
    `detect` raises.
    """
    photo = check_photo(photo)
    found = detect(photo)
    kept = [face for face in found if is_upright(photo, face, again)]
    if not kept or len(kept) < len(found):
        kept = with_new(kept, turned_faces(photo, detect=detect, again=again))
    if (tiles or not kept) and max(photo.shape[:2]) > LARGE:
        small = [face for face in _tiled_faces(photo, detect) if not any(same_face(face, one) for one in kept)]
        kept += [face for face in small if is_upright(photo, face, again)]
    return sorted(kept, key=lambda face: -face.area)


def sure_face(photo: Photo, choose: Choose, *, look: FirstLook, again: Detector) -> Face | None:
    """The face that `choose` takes of those found at first sight, looked at closely; the photo's other faces are not.

    None where a search by `find_faces` is due: `choose` takes none, or the face is not sure enough, or so small that
    the first look may have missed others like it, or it does not stand upright. Raises what the detector raises.
    """
    face = choose(look.rough(check_photo(photo)))
    if face is None or face.score < look.sure or (face.box[2:] - face.box[:2]).max() < SURE * max(photo.shape[:2]):
        return None
    try:
        face = look.refine(photo, face)
    except ValueError:  # points that make no face
        return None
    return face if is_upright(photo, face, again) else None


def is_upright(photo: Photo, face: Face, again: Detector) -> bool:
    """Whether a face is found again in its aligned crop, and surer than in the crop's three other quarter turns.

    Only what covers the crop's middle counts. False for points that give no crop or have left the face's box for
    another face, and for more than `MAX_TILT`.
    """
    middle = face.points.mean(0)
    if (middle < face.box[:2]).any() or (middle > face.box[2:]).any():
        return False
    try:
        quad = ffhq_quad(face.points)
    except ValueError:
        return False
    across = quad[3] - quad[0]
    if abs(np.degrees(np.arctan2(across[1], across[0]))) > MAX_TILT:
        return False
    crop = quick_crop(photo, quad, VIEW)
    upright, *others = (_middle_score(again(np.rot90(crop, turn).copy())) for turn in range(4))
    return upright > max(others)


def _middle_score(faces: list[Face]) -> float:
    """The best score of the faces that cover the middle of a crop; 0 if none does."""
    middle = (VIEW - 1) / 2
    covers = lambda box: bool((box[:2] < middle).all() and (middle < box[2:]).all())
    return max((face.score for face in faces if covers(face.box)), default=0.0)


# --- The other turns ----------------------------------------------------------------------------------------


def turned_faces(photo: Photo, *, detect: Detector, again: Detector, turns: Sequence[int] = (1, 2, 3)) -> list[Face]:
    """The faces that stand upright in quarter turns of the photo to the left, by default all but its own, in pixels of
    the photo."""
    faces = []
    for turn in turns:
        view = np.rot90(photo, turn).copy()
        faces += [turned_back(face, turn, photo.shape) for face in detect(view) if is_upright(view, face, again)]
    return faces


def turned_back(face: Face, turn: int, shape: tuple[int, ...]) -> Face:
    """A face found in `np.rot90(photo, turn)`, in pixels of the photo of that shape."""
    corners = _unturned(face.box.reshape(2, 2), turn, shape)
    return face._replace(
        box=np.concatenate([corners.min(0), corners.max(0)]), points=_unturned(face.points, turn, shape)
    )


def _unturned(points: Float[np.ndarray, "n 2"], turn: int, shape: tuple[int, ...]) -> Float[np.ndarray, "n 2"]:
    """Points of `np.rot90(photo, turn)` in the photo."""
    x, y = points.T
    width, height = shape[1] - 1, shape[0] - 1
    return np.stack([(x, y), (width - y, x), (width - x, height - y), (y, height - x)][turn], axis=1)


# --- Small faces --------------------------------------------------------------------------------------------


def _tiled_faces(photo: Photo, detect: Detector) -> list[Face]:
    """The faces of the photo's overlapping tiles, in pixels of the photo."""
    faces = []
    rows, columns = _starts(photo.shape[0]), _starts(photo.shape[1])
    for top in rows:
        for left in columns:
            for face in detect(np.ascontiguousarray(photo[top : top + SPAN, left : left + SPAN])):
                corner = np.array([left, top])
                moved = face._replace(box=face.box + np.tile(corner, 2), points=face.points + corner)
                x, y = moved.points.mean(0)
                if _nearest(columns, x) == left and _nearest(rows, y) == top:
                    faces.append(moved)
    return distinct(faces)


def _starts(length: int) -> list[int]:
    """Where tiles begin along a side of the photo."""
    if length <= SPAN:
        return [0]
    steps = -(-(length - SPAN) // (SPAN - OVERLAP))
    return [round(step * (length - SPAN) / steps) for step in range(steps + 1)]


def _nearest(starts: list[int], place: float) -> int:
    """The start of the tile whose middle is nearest to a place."""
    return min(starts, key=lambda start: abs(start + SPAN / 2 - place))

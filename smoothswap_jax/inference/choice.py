"""Which faces of a photo are meant."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from smoothswap_jax.faces.detection.base import Detector, Face
from smoothswap_jax.faces.photos import PathLike, Photo, load_photo, reduced, shrink_factor
from smoothswap_jax.inference.likeness import ALIKE, cosines

Which = str | int | PathLike
"""'largest', 'left', an index by size from 0, the path of a photo of the person who is meant, and of targets 'all'."""
WORDS = ("largest", "left", "all")
Likeness = Callable[[Photo, Sequence[Face], Photo, Face], Float[np.ndarray, "n"]]
"""(photo, its faces, reference, its face) -> how like each is."""


class NoFaceError(ValueError):
    """No face was found; the text names the photo."""


def found_faces(detect: Detector, photo: Photo) -> list[Face]:
    """The faces of a photo, in its pixels; a huge one is looked at reduced, which saves memory."""
    factor = shrink_factor(photo.shape[1], photo.shape[0])
    if factor == 1:
        return detect(photo)
    whole = lambda places: (places + 0.5) * factor - 0.5
    return [face._replace(box=whole(face.box), points=whole(face.points)) for face in detect(reduced(photo, factor))]


def choose_faces(
    photo: Photo,
    which: Which,
    name: str,
    role: str,
    *,
    detect: Detector,
    min_score: float = 0.0,
    likeness: Likeness = cosines,
    max_pixels: int | None = None,
) -> list[Face]:
    """The faces of a photo that are meant.

    Args:
      which: see `Which`; 'all' only for the role 'target'.
      name: of the photo, and role, 'source' or 'target': for errors.
      min_score: faces that the detector is less sure of are none.
      max_pixels: of a reference photo.

    Raises NoFaceError where none is found, none has the score, or none like the reference; ValueError for another
    `which` and an index that is not there; what `load_photo` raises for the reference.
    """
    check_which(which, role)
    every = found_faces(detect, photo)
    faces = [face for face in every if face.score >= min_score]
    if not faces and every:
        surest = max(face.score for face in every)
        raise NoFaceError(
            f"{name}: the surest face has a score of {surest:.2f}; wanted {min_score:g} or more (--min-score)"
        )
    if not faces:
        raise NoFaceError(
            f"{name}: found no face in any of its four turns; wanted one with a face seen from the front or the side"
        )
    if which == "largest":
        return faces[:1]
    if which == "all":
        return faces
    if which == "left":
        return [min(faces, key=lambda face: face.box[0] + face.box[2])]
    if isinstance(which, int):
        if which < len(faces):
            return [faces[which]]
        raise ValueError(
            f"{role} face: found {which}; wanted 0 to {len(faces) - 1}, as {name} has {len(faces)} face(s)"
        )
    reference = load_photo(which, **({} if max_pixels is None else {"max_pixels": max_pixels}))
    (person,) = choose_faces(reference, "largest", os.fspath(which), "reference", detect=detect)
    alike = likeness(photo, faces, reference, person)
    best = int(np.argmax(alike))
    if alike[best] < ALIKE:
        raise NoFaceError(
            f"{name}: found no face like that of {os.fspath(which)}: the nearest of {len(faces)} has a cosine of "
            f"{alike[best]:.2f} by SFace; wanted {ALIKE} or more"
        )
    return [faces[best]]


def check_which(which: Which, role: str) -> None:
    """Raises ValueError for what names no face, and for a reference photo that is not there."""
    words = [word for word in WORDS if word != "all" or role == "target"]
    wanted = f"wanted {', '.join(map(repr, words))}, an index from 0, or a photo of the person"
    if isinstance(which, bool) or not isinstance(which, int | str | os.PathLike):
        raise ValueError(f"{role} face: found {which!r}; {wanted}")
    if isinstance(which, int):
        if which < 0:
            raise ValueError(f"{role} face: found {which}; {wanted}")
    elif which not in words and not Path(which).is_file():
        raise ValueError(f"{role} face: found {os.fspath(which)!r}, and no such file; {wanted}")

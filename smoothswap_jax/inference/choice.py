"""Which faces of a photo are meant."""

import functools
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from smoothswap_jax.faces.detection.base import Detector, Face
from smoothswap_jax.faces.photos import PathLike, Photo, check_input, load_photo, reduced, shrink_factor
from smoothswap_jax.inference.likeness import ALIKE, identities

log = logging.getLogger(__name__)

Which = str | int | PathLike
"""'largest', 'left', an index by size from 0, the path of a photo of the person who is meant, and of targets 'all'."""
WORDS = ("largest", "left", "all")
Identify = Callable[[Photo, Sequence[Face]], Float[np.ndarray, "n d"]]
"""(photo, its faces) -> unit vectors, whose cosines say how like they are."""


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
    identify: Identify = identities,
    max_pixels: int | None = None,
    every: Sequence[Face] | None = None,
) -> list[Face]:
    """The faces of a photo that are meant.

    Args:
      which: see `Which`; 'all' only for the role 'target'.
      name: of the photo, and role, 'source' or 'target': for errors.
      min_score: faces that the detector is less sure of are none.
      max_pixels: of a reference photo.
      every: the photo's faces, where they are known.

    Raises NoFaceError where none is found, none has the score or the index, or none is like the reference; ValueError
    for another `which`; what `load_photo` raises for the reference.
    """
    check_which(which, role)
    every = found_faces(detect, photo) if every is None else every
    faces = [face for face in every if face.score >= min_score]
    if not faces and every:
        surest = max(face.score for face in every)
        raise NoFaceError(
            f"{name}: the surest face has a score of {surest:.2f}; wanted {min_score:g} or more (--min-score)"
        )
    if not faces:
        raise NoFaceError(
            f"{name}: found no face, upright or turned; wanted one with a face seen from the front or the side"
        )
    if which == "largest":
        if len(faces) > 1:
            log.info("%s: found %d faces, took the largest (`smoothswap faces` lists them)", name, len(faces))
        return faces[:1]
    if which == "all":
        return faces
    if which == "left":
        return [min(faces, key=lambda face: face.box[0] + face.box[2])]
    if isinstance(which, int):
        if which < len(faces):
            return [faces[which]]
        raise NoFaceError(
            f"{role} face: found {which}; wanted 0 to {len(faces) - 1}, as {name} has {len(faces)} face(s)"
        )
    alike = identify(photo, faces) @ person_in(which, detect, identify, max_pixels)
    return [faces[nearest(alike, os.fspath(which), name)]]


def nearest(alike: Float[np.ndarray, "n"], reference: str, name: str) -> int:
    """Which of the faces or people of `name` is most like a reference, by their cosines; raises NoFaceError where none
    is."""
    best = int(np.nanargmax(alike)) if np.isfinite(alike).any() else None
    if best is None or alike[best] < ALIKE:
        found = "none is known" if best is None else f"the nearest of {len(alike)} has a cosine of {alike[best]:.2f}"
        raise NoFaceError(f"{name}: found no face like that of {reference}: {found} by SFace; wanted {ALIKE} or more")
    return best


def person_in(
    photo: PathLike, detect: Detector, identify: Identify = identities, max_pixels: int | None = None
) -> Float[np.ndarray, "d"]:
    """Who is in a reference photo: the unit vector of its largest face, read again only when the file has changed."""
    check_input(photo)
    return _person_in(os.fspath(photo), os.stat(photo).st_mtime_ns, detect, identify, max_pixels)


@functools.lru_cache(maxsize=64)
def _person_in(
    path: str, _changed: int, detect: Detector, identify: Identify, max_pixels: int | None
) -> Float[np.ndarray, "d"]:
    photo = load_photo(path, **({} if max_pixels is None else {"max_pixels": max_pixels}))
    return identify(photo, choose_faces(photo, "largest", path, "reference", detect=detect))[0]


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

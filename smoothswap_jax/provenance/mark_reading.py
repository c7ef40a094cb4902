"""The watermark of a file's faces: which pictures are looked at, and what is made of what they read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from smoothswap_jax.faces.align import Quad, ffhq_quad
from smoothswap_jax.faces.detection.base import Detector, Face
from smoothswap_jax.faces.detection.registry import find_faces
from smoothswap_jax.faces.kinds import PHOTO, kind_of
from smoothswap_jax.faces.photos import Photo, PhotoError, load_photo
from smoothswap_jax.faces.video_frames import VideoError
from smoothswap_jax.faces.videos import frame_numbers, read_frames
from smoothswap_jax.provenance.watermark import BITS, read_face

FRAMES, FACES = 8, 16
"""Looked at: evenly spaced pictures of what moves, until one has a mark, and the largest faces of each."""
CERTAIN = 1e-6
"""Chance of a mark in a file that has none, over all that was looked at, from which on one counts as found."""


@dataclass(frozen=True)
class Watermark:
    """What the faces of a file read.

    looked: how many faces were looked at, in all pictures of what moves. marked: how many have a mark. code: the 32
    bits of the surest one in hex, "" without one, error: the share of its chips that read otherwise, and chance: that a
    file without a mark reads as surely as it does. fault: why nothing was looked at.
    """

    looked: int = 0
    marked: int = 0
    code: str = ""
    error: float = 0.0
    chance: float = 1.0
    fault: str = ""


def read_watermark(file: Path, detect: Detector = find_faces) -> Watermark:
    """Looks for a mark in a photo, a video or a picture that moves. What cannot be decoded, or needs a package that is
    missing, is a fault, not an error."""
    try:
        if kind_of(file) == PHOTO:
            return found_in([load_photo(file)], 1, detect)
        name = os.fspath(file)
        frames = (frame.picture for frame in read_frames(name, frame_numbers(name, FRAMES)))
        return found_in(frames, FRAMES, detect)
    except (PhotoError, VideoError, ImportError) as error:
        return Watermark(fault=" ".join(str(error).removeprefix(f"{os.fspath(file)}: ").split()))


def found_in(pictures: Iterable[Photo], count: int, detect: Detector = find_faces) -> Watermark:
    """What the faces of pictures read, up to the first picture with a mark.

    count: how many pictures there are at most. Each has an equal part of `CERTAIN`, whether it is reached or not.
    """
    looked, least = 0, 1.0
    for picture in pictures:
        new = [read_face(picture, quad) for quad in _quads(detect(picture)[:FACES])]
        looked += len(new)
        over = len(new) * count
        marked = [one for one in new if one.chance * over <= CERTAIN]
        if marked:
            best = min(marked, key=lambda one: one.chance)
            return Watermark(looked, len(marked), f"{best.code:0{BITS // 4}x}", best.error, best.chance * over)
        least = min([least, *(one.chance * over for one in new)])
    return Watermark(looked, chance=least)


def _quads(faces: Sequence[Face]) -> Iterator[Quad]:
    for face in faces:
        with contextlib.suppress(ValueError):  # of points that give no direction
            yield ffhq_quad(face.points)

"""The first look at a video: faces, cuts and who is who in all of its frames, kept chunk by chunk."""

from __future__ import annotations

import itertools
import logging
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from smoothswap_jax.faces.detection.base import Face
from smoothswap_jax.faces.detection.following import follow_faces
from smoothswap_jax.faces.detection.registry import find_faces, find_small_faces
from smoothswap_jax.faces.photos import PathLike, Photo
from smoothswap_jax.faces.tracking import CUT, Sightings, difference, thumbnail
from smoothswap_jax.faces.video_encoding import Facts, facts_of
from smoothswap_jax.faces.video_frames import VideoError, photo_of_frame
from smoothswap_jax.faces.video_survey import Survey
from smoothswap_jax.faces.video_writing import Span
from smoothswap_jax.faces.videos import Decoded, decoded_frames
from smoothswap_jax.inference.choice import found_faces
from smoothswap_jax.inference.likeness import identities
from smoothswap_jax.inference.swapper import Swapper

log = logging.getLogger(__name__)

CHUNK = 100
"""Frames after which what was done is kept, and a segment ends: the most that a killed job does again."""
ASKED = 10
"""Every so many frames it is asked who the faces are, and where their number changes."""
SEARCHED = 50
"""Every so many frames all is searched for faces, and where a scene begins, one is lost or a new one is seen."""
LOOKED = "looked-{:06d}.npz"

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how many frames are done, and how many there are."""


@dataclass(frozen=True)
class VideoOptions:
    """start, end: seconds from the first frame on; what lies outside is cut off. encoder, quality, pixels: see
    `choose_encoding`."""

    start: float = 0.0
    end: float | None = None
    encoder: str = ""
    quality: int | None = None
    pixels: str = ""


@dataclass
class VideoReport:
    """What was done, and how long each part of it took."""

    frames: int = 0
    swapped: int = 0
    """Frames in which a face changed."""
    people: int | None = None
    """How many are seen; None where all faces are changed, and who they are does not matter."""
    on_sources: tuple[str, ...] = ()
    """What the user should know of the sources, in words."""
    on_target: tuple[str, ...] = ()
    """The same of the target, and of what became of it."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage; what an earlier call had done is not in it."""

    @property
    def notes(self) -> tuple[str, ...]:
        """All that the user should know, in words."""
        return (*self.on_sources, *self.on_target)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """What is timed within it counts for that stage alone."""
        began, before = time.perf_counter(), sum(self.seconds.values())
        try:
            yield
        finally:
            within = sum(self.seconds.values()) - before
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began - within


@dataclass(frozen=True)
class Look:
    """What the first look found in all frames that are kept."""

    facts: Facts
    span: Span
    first: int
    """The number of the first frame that is kept."""
    ticks: np.ndarray
    """When each is shown, on the container's clock, in facts.told.tick; they rise."""
    last: int
    """How many ticks the last one is shown."""
    damaged: np.ndarray
    changes: np.ndarray
    found: Sightings

    @property
    def times(self) -> np.ndarray:
        """When each frame is shown, in seconds from the first."""
        return (self.ticks - self.ticks[0]) * float(self.facts.told.tick)


def frames_kept(target: str, options: VideoOptions) -> Iterator[tuple[int, Decoded]]:
    """(number, frame) of those between start and end."""
    begin = None
    start, end = (None if at is None else Fraction(str(at)) for at in (options.start, options.end))
    assert start is not None
    for number, one in enumerate(decoded_frames(target, threads=os.cpu_count() or 1)):
        begin = one.time if begin is None else begin
        if end is not None and one.time - begin >= end:
            return
        if one.time - begin >= start:
            yield number, one


def chunks(frames: Iterator[tuple[int, Decoded]]) -> Iterator[tuple[int, Iterator[tuple[int, Decoded]]]]:
    """(number of the chunk, its frames), one after the other."""
    for chunk, part in itertools.groupby(enumerate(frames), key=lambda one: one[0] // CHUNK):
        yield chunk, (one for _, one in part)


def look_at(
    swapper: Swapper,
    target: PathLike,
    held: Survey,
    folder: Path | None = None,
    options: VideoOptions | None = None,
    ask: bool = True,
    report: VideoReport | None = None,
    progress: OnProgress | None = None,
) -> Look:
    """The first look: finds the faces of all frames, chunk by chunk.

    Args:
      held: what `survey` found in the target.
      folder: keeps the chunks, and has those of an earlier call.
      ask: whether it matters who is who.
      report: is told how long it took.

    Raises as `swap_video` does.
    """
    target, options, report = os.fspath(target), options or VideoOptions(), report or VideoReport()
    facts: Facts | None = None
    first, zero, length_of_last = 0, Fraction(0), Fraction(0)
    parts: list[dict[str, np.ndarray]] = []
    before: np.ndarray | None = None
    for chunk, frames in chunks(frames_kept(target, options)):
        file = None if folder is None else folder / LOOKED.format(chunk)
        part = None if file is None else _kept(file)
        rows: list[dict[str, Any]] = []
        for number, one in frames:
            if facts is None:
                facts, first = facts_of(one.frame, one.told, target), number
                zero = _zero(one, options)
            if (one.frame.width, one.frame.height) != (facts.width, facts.height):
                raise VideoError(
                    f"{target}: found a frame of {one.frame.width}x{one.frame.height} pixels; wanted "
                    f"{facts.width}x{facts.height}, as the first: cut it there"
                )
            length_of_last = (one.frame.duration or 0) * (one.frame.time_base or facts.told.tick)
            if number == held.frames - 1:
                length_of_last = max(length_of_last, held.end - one.time)
            if part is None:
                rows.append(_look_at(one, swapper, target, before, rows[-1] if rows else None, ask, report))
                before = rows[-1].pop("thumbnail")
                if progress:
                    progress("looking", number + 1 - first, held.frames - first)
        assert facts is not None
        if part is None:
            part = _packed(rows, before, facts)
            if file is not None:
                _save(file, part)
        before = part.pop("thumbnail")
        parts.append(part)
    if facts is None:
        raise VideoError(f"{target}: found no frame from {options.start:g} s on; wanted a longer video")
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    frame = np.repeat(np.arange(len(joined["count"])), joined["count"])
    report.frames = len(joined["ticks"])
    trimmed = options.start > 0 or options.end is not None
    last = max(round((length_of_last or 1 / facts.told.rate) / facts.told.tick), 1)
    ticks = np.maximum.accumulate(joined["ticks"] - np.arange(report.frames)) + np.arange(report.frames)
    end = None if options.end is None else (int(ticks[-1]) + last) * facts.told.tick
    span = Span(zero, end, trimmed)
    found = Sightings(frame, joined["box"], joined["points"], joined["score"], joined["vector"])
    return Look(facts, span, first, ticks, last, joined["damaged"], joined["change"], found)


def _zero(one: Decoded, options: VideoOptions) -> Fraction:
    """What becomes the time 0: the beginning of the file, or the first frame that is kept of a trimmed one."""
    return one.told.start if options.start == 0 and one.told.start is not None else one.time


def _look_at(
    one: Decoded,
    swapper: Swapper,
    target: str,
    before: np.ndarray | None,
    last: dict[str, Any] | None,
    ask: bool,
    report: VideoReport,
) -> dict[str, Any]:
    """One frame: its faces, whether a scene begins, and now and then who the faces are."""
    with report.timed("convert"):
        photo = photo_of_frame(one.frame, one.told, target)
        small = thumbnail(photo)
    change = 0.0 if before is None else difference(before, small)
    with report.timed("find faces"):
        follow = last is not None and change <= CUT and last["since"] < SEARCHED - 1
        every, since = faces_in(photo, swapper, last if follow else None)
    faces = [face for face in every if face.score >= swapper.min_score]
    due = ask and faces and (last is None or last["count"] != len(faces) or last["asked"] >= ASKED - 1)
    with report.timed("who is who"):
        vectors = identities(photo, faces) if due else np.full((len(faces), 128), np.nan, np.float32)
    asked = 0 if due else last["asked"] + 1 if last else 0
    return {
        "time": one.time, "damaged": one.damaged, "count": len(faces), "thumbnail": small, "change": change,
        "asked": asked, "faces": every, "since": since, "box": [face.box for face in faces],
        "points": [face.points for face in faces], "score": [face.score for face in faces], "vector": vectors,
    }  # fmt: skip


def faces_in(photo: Photo, swapper: Swapper, last: dict[str, Any] | None) -> tuple[list[Face], int]:
    """The faces of a frame, and how many frames ago one was searched: those of the last frame are followed, if there is
    one and the detector is the one that can."""
    if last is not None and swapper.detect in (find_faces, find_small_faces):
        followed = follow_faces(photo, last["faces"], 1 + last["since"] % 3)
        if followed is not None:
            return followed, last["since"] + 1
    return found_faces(swapper.detect, photo), 0


def _packed(rows: list[dict[str, Any]], thumbnail: np.ndarray | None, facts: Facts) -> dict[str, np.ndarray]:
    """A chunk as arrays."""
    flat = lambda key, *shape: np.array([one for row in rows for one in row[key]], np.float64).reshape(-1, *shape)
    return {
        "ticks": np.array([round(row["time"] / facts.told.tick) for row in rows], np.int64),
        "damaged": np.array([row["damaged"] for row in rows]), "change": np.array([row["change"] for row in rows]),
        "count": np.array([row["count"] for row in rows]), "box": flat("box", 4), "points": flat("points", 5, 2),
        "score": flat("score"), "vector": flat("vector", 128).astype(np.float32),
        "thumbnail": np.asarray(thumbnail),
    }  # fmt: skip


def _kept(file: Path) -> dict[str, np.ndarray] | None:
    """A chunk that was kept; None where there is none, or it is damaged."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        return None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        log.warning("%s: is damaged, and made again", file)
        return None


def _save(file: Path, arrays: dict[str, np.ndarray]) -> None:
    temporary = file.with_name("part.npz")
    np.savez(temporary, **arrays)  # type: ignore[arg-type]
    os.replace(temporary, file)

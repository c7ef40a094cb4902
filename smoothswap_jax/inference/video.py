"""Swaps faces in a video: looked at once as a whole, then swapped segment by segment, then put together.

The first look finds faces, cuts and who is who in all frames, so that in the second each face is where the whole video
says that it is: nothing trembles, lags or flips. Both looks write what they did into a folder beside the output, chunk
by chunk, and the same call goes on from there; what comes out is the same as if it had not been stopped.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import secrets
import shutil
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax
import numpy as np

from smoothswap_jax.faces.align import Quad, ffhq_quad
from smoothswap_jax.faces.detection.base import Face
from smoothswap_jax.faces.detection.following import follow_faces
from smoothswap_jax.faces.detection.registry import find_faces
from smoothswap_jax.faces.photos import PathLike, Photo, PhotoError
from smoothswap_jax.faces.tracking import CUT, Person, Sightings, difference, find_people, find_tracks, thumbnail
from smoothswap_jax.faces.video_changes import add_changes
from smoothswap_jax.faces.video_encoding import (
    Encoding,
    Facts,
    check_video_output,
    choose_encoding,
    facts_of,
    pyav_version,
    write_segment,
)
from smoothswap_jax.faces.video_frames import VideoError, photo_of_frame
from smoothswap_jax.faces.video_writing import Span, check_beside, put_together
from smoothswap_jax.faces.videos import Decoded, decoded_frames, survey
from smoothswap_jax.inference.batching import tile
from smoothswap_jax.inference.choice import WORDS, NoFaceError, Which, check_which, found_faces, nearest, person_in
from smoothswap_jax.inference.files import Sources, by_face, check_no_input, identities_of, notes_on, photos_of
from smoothswap_jax.inference.identities import concatenated
from smoothswap_jax.inference.likeness import ALIKE, identities
from smoothswap_jax.inference.swapper import Identity, Paste, Swapper, Task, check_paste, check_strength
from smoothswap_jax.runtime.files import check_new_file, held, sha256_of, write_atomically

log = logging.getLogger(__name__)

CHUNK = 100
"""Frames after which what was done is kept, and a segment ends: the most that a killed job does again."""
ASKED = 10
"""Every so many frames it is asked who the faces are, and where their number changes."""
SEARCHED = 50
"""Every so many frames all is searched for faces, and where a scene begins, one is lost or a new one is seen."""
MOST_PIXELS = 16_000_000
"""Of the frames that are swapped together: they are all in memory."""
PLAN, LOOKED, SEGMENT = "plan.json", "looked-{:06d}.npz", "segment-{:06d}.nut"

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
    notes: tuple[str, ...] = ()
    """What the user should know, in words."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage; what an earlier call had done is not in it."""

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began


def swap_video(
    swapper: Swapper,
    source: Sources,
    target: PathLike,
    output: PathLike,
    *,
    source_face: Which = "largest",
    target_face: Which = "largest",
    paste: Paste = "change",
    color: bool = False,
    strength: float = 1.0,
    overwrite: bool = False,
    options: VideoOptions | None = None,
    progress: OnProgress | None = None,
) -> VideoReport:
    """Swaps faces of a video into a new one, which has the same times, sound, subtitles and chapters.

    The options are those of `swap_files`; a face is one person through the whole video: 'largest' is who takes up most
    of it, 'left' who is on the left of the others on the mean, an index counts people from the largest on.

    Raises what `check_video` and `Swapper.read_faces` raise, VideoError for a video that cannot be decoded or written,
    and NoFaceError where there is no such person in it.
    """
    options = options or VideoOptions()
    wishes = by_face(source, target_face)
    check_video(wishes, target, output, overwrite, options)
    check_paste(paste)
    check_strength(strength)
    target, output = os.fspath(target), Path(output)
    make_identities = identities_of(swapper, wishes, source_face)
    report = VideoReport(notes=(*notes_on(wishes), *survey(target).faults))
    folder = output.with_name(f".{output.name}.swapping")
    folder.mkdir(exist_ok=True)
    with held(folder):
        plan = {
            "target": sha256_of(target), "wishes": [_told_apart(which) for which in wishes], "paste": paste,
            "color": color, "strength": strength, "min_score": swapper.min_score, **asdict(options),
            "suffix": output.suffix, "network": _fingerprint(swapper, make_identities()), "chunk": CHUNK,
            "av": pyav_version(), "jax": jax.__version__,
            # What another function would cover is not known, so such a job is not gone on with.
            "mask": secrets.token_hex() if swapper.mask else "",
        }  # fmt: skip
        _begin(folder, plan)
        swap = lambda tasks: swapper.swap_tasks(tasks, paste, color, strength)
        try:
            encoding, notes = encoding_for(target, output, options)
            report.notes += notes
            look = look_at(swapper, target, folder, options, bool(set(wishes) - {"all"}), report, progress)
            wanted = _wanted(swapper, look, list(wishes), target, report)
            segments = _swap(target, folder, look, wanted, make_identities(), encoding, swap, report, progress)
            with report.timed("put together"):
                whole = folder / f"whole{output.suffix.lower()}"
                report.notes += put_together(
                    target, segments, look.ticks, look.last, look.facts, encoding, look.span, whole
                )
            check_new_file(output, overwrite)
            os.replace(whole, output)
        except (VideoError, PhotoError, NoFaceError):  # the same call would end here again
            shutil.rmtree(folder)
            raise
    shutil.rmtree(folder)
    return report


def swap_frames(
    swapper: Swapper,
    z: Identity,
    frames: Iterable[Photo],
    *,
    face: Which = "largest",
    paste: Paste = "change",
    color: bool = False,
    strength: float = 1.0,
) -> Iterator[Photo]:
    """The frames of a stream with the identity `z` (from `Swapper.embed`, of batch size 1), one after the other.

    Nothing is known of what comes, so faces are where each frame shows them, not smoothed, and 'largest', 'left' and an
    index count the faces of each frame; a file is better swapped by `swap_video`. Frames without such a face come back
    as they are. Raises what `Swapper.swap_identity` raises but NoFaceError.
    """
    check_paste(paste)
    check_strength(strength)
    check_which(face, "target")
    last: dict[str, Any] | None = None
    for number, photo in enumerate(frames):
        every, since = _faces_in(photo, swapper, last if last is not None and last["since"] < SEARCHED - 1 else None)
        last = {"faces": every, "since": since}
        try:
            chosen = swapper.choose(photo, face, f"frame {number}", "target", every)
        except NoFaceError:
            yield photo
            continue
        quads = [ffhq_quad(one.points) for one in chosen]
        (swapped,) = swapper.swap_tasks([Task(photo, quads, z)], paste, color, strength)
        yield swapped.photo


def check_video(
    wishes: Mapping[Which, Sequence[PathLike]],
    target: PathLike,
    output: PathLike,
    overwrite: bool = False,
    options: VideoOptions | None = None,
) -> None:
    """Raises VideoError for an output or options that there are not, PhotoError for an output that is one of the
    inputs, ValueError for what names no face, and OSError for an output that exists, unless it may be overwritten, or
    whose folder cannot be written to."""
    options = options or VideoOptions()
    check_video_output(output, options.encoder, options.quality, options.pixels)
    check_no_input((*photos_of(wishes), target), output)
    check_new_file(output, overwrite)
    if not Path(output).parent.is_dir():
        raise VideoError(f"{os.fspath(output)}: found no folder {Path(output).parent}; wanted an existing one")
    for which in wishes:
        check_which(which, "target")
    if options.start < 0 or (options.end is not None and options.end <= options.start):
        end = "its end" if options.end is None else f"{options.end:g}"
        raise VideoError(
            f"{os.fspath(target)}: found a span from {options.start:g} to {end} s; wanted 0 <= start < end"
        )


def encoding_for(
    target: PathLike, output: PathLike, options: VideoOptions | None = None
) -> tuple[Encoding, tuple[str, ...]]:
    """How the output is encoded, and what the user should know of that, in words. Raises VideoError for what cannot be
    encoded, and where the output's container cannot hold the target's sound."""
    target, output, options = os.fspath(target), Path(output), options or VideoOptions()
    for _, one in _frames_kept(target, options):
        facts = facts_of(one.frame, one.told, target)
        encoding, notes = choose_encoding(facts, output, options.encoder, options.quality, options.pixels)
        check_beside(target, facts, encoding, output.suffix.lower())
        return encoding, notes
    raise VideoError(f"{target}: found no frame from {options.start:g} s on; wanted a longer video")


def _told_apart(which: Which) -> str:
    """A wish in the plan: of a reference photo what it shows, and not where it lies."""
    return str(which) if isinstance(which, int) or which in WORDS else sha256_of(os.fspath(which))


def _fingerprint(swapper: Swapper, z: Sequence[Identity]) -> str:
    """Of the generator and the identities, by what they make of a picture that never changes."""
    ramp = np.linspace(0, 255, swapper.size).astype(np.uint8)
    face = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(128)), axis=2)[None]
    digest = hashlib.sha256()
    for one in z:
        digest.update(swapper.generate(face, one).tobytes())
        digest.update(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(one)))
    return digest.hexdigest()


def _begin(folder: Path, plan: dict[str, Any]) -> None:
    """Goes on with what an earlier call did of the same plan; what is there of another is given up."""
    text = json.dumps(plan, sort_keys=True, indent=1)
    file = folder / PLAN
    if file.is_file() and file.read_text() == text:
        log.info("%s: goes on with what was stopped", folder)
        return
    for old in (*folder.glob("looked-*"), *folder.glob("segment-*"), *folder.glob("whole.*")):
        old.unlink()
    write_atomically(file, text.encode())


# --- the first look -------------------------------------------------------------------------------------------------


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


def _frames_kept(target: str, options: VideoOptions) -> Iterator[tuple[int, Decoded]]:
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


def _chunks(frames: Iterator[tuple[int, Decoded]]) -> Iterator[tuple[int, Iterator[tuple[int, Decoded]]]]:
    """(number of the chunk, its frames), one after the other."""
    for chunk, part in itertools.groupby(enumerate(frames), key=lambda one: one[0] // CHUNK):
        yield chunk, (one for _, one in part)


def look_at(
    swapper: Swapper,
    target: PathLike,
    folder: Path | None = None,
    options: VideoOptions | None = None,
    ask: bool = True,
    report: VideoReport | None = None,
    progress: OnProgress | None = None,
) -> Look:
    """The first look: finds the faces of all frames, chunk by chunk.

    Args:
      folder: keeps the chunks, and has those of an earlier call.
      ask: whether it matters who is who.
      report: is told how long it took.

    Raises as `swap_video` does.
    """
    target, options, report = os.fspath(target), options or VideoOptions(), report or VideoReport()
    length = survey(target).frames
    facts: Facts | None = None
    first, zero, length_of_last = 0, Fraction(0), Fraction(0)
    parts: list[dict[str, np.ndarray]] = []
    before: np.ndarray | None = None
    for chunk, frames in _chunks(_frames_kept(target, options)):
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
            if part is None:
                rows.append(_look_at(one, swapper, target, before, rows[-1] if rows else None, ask, report))
                before = rows[-1].pop("thumbnail")
                if progress:
                    progress("looking", number + 1 - first, length - first)
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
    last = round((length_of_last or 1 / facts.told.rate) / facts.told.tick)
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
        every, since = _faces_in(photo, swapper, last if follow else None)
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


def _faces_in(photo: Photo, swapper: Swapper, last: dict[str, Any] | None) -> tuple[list[Face], int]:
    """The faces of a frame, and how many frames ago one was searched: those of the last frame are followed, if there is
    one and the detector is the one that can."""
    if last is not None and swapper.detect is find_faces:
        followed = follow_faces(photo, last["faces"])
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


# --- who ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """A face to change: where it is from frame `first` on, and which identity it gets."""

    first: int
    quads: np.ndarray
    wish: int

    def at(self, frame: int) -> Quad | None:
        """None where it is not seen."""
        quad = self.quads[frame - self.first] if self.first <= frame < self.first + len(self.quads) else None
        return quad if quad is not None and np.isfinite(quad).all() else None


def _wanted(swapper: Swapper, look: Look, wishes: Sequence[Which], target: str, report: VideoReport) -> list[Wanted]:
    """The tracks of the people that are meant; raises NoFaceError where none of them is in the video."""
    tracks = find_tracks(look.found, look.times, look.changes)
    people = find_people(tracks, look.found, ALIKE)
    report.people = None if list(wishes) == ["all"] else len(people)
    if not people:
        raise NoFaceError(f"{target}: found no face in {len(look.ticks)} frames; wanted a video with faces")
    missing: list[NoFaceError] = []
    chosen: dict[int, int] = {}
    for wish, which in enumerate(wishes):
        try:
            meant = _meant(swapper, people, which, target)
        except NoFaceError as error:
            missing.append(error)
            continue
        for person in meant:
            if person in chosen:
                raise VideoError(
                    f"{target}: found one person for {wishes[chosen[person]]} and {which}; wanted different people"
                )
            chosen[person] = wish
    if not chosen:
        raise missing[0]
    report.notes += tuple(f"{error}: nobody is changed for it" for error in missing)
    found = [Wanted(t.first, t.quads, wish) for person, wish in chosen.items() for t in people[person].tracks]
    return sorted(found, key=lambda one: (one.first, one.wish))


def _meant(swapper: Swapper, people: Sequence[Person], which: Which, target: str) -> list[int]:
    if which == "all":
        return list(range(len(people)))
    if which == "largest":
        return [0]
    if which == "left":
        return [min(range(len(people)), key=lambda one: people[one].middle)]
    if isinstance(which, int):
        if which >= len(people):
            raise NoFaceError(
                f"target face: found {which}; wanted 0 to {len(people) - 1}, as {target} has {len(people)} people"
            )
        return [which]
    like = person_in(which, swapper.detect, identities, swapper.max_pixels)
    alike = np.stack([person.vector for person in people]) @ like
    return [nearest(alike, os.fspath(which), target)]


# --- the second look ------------------------------------------------------------------------------------------------


def _swap(
    target: str,
    folder: Path,
    look: Look,
    wanted: Sequence[Wanted],
    z: Sequence[Identity],
    encoding: Encoding,
    swap: Callable[[list[Task]], list[Any]],
    report: VideoReport,
    progress: OnProgress | None,
) -> list[Path]:
    """Writes the segments that are not there yet; returns all of them."""
    count = len(look.ticks)
    segments = [folder / SEGMENT.format(chunk) for chunk in range(-(-count // CHUNK))]
    kept = itertools.islice(enumerate(decoded_frames(target, threads=os.cpu_count() or 1)), look.first, None)
    for chunk, frames in _chunks(itertools.islice(kept, count)):
        ticks = look.ticks[chunk * CHUNK : (chunk + 1) * CHUNK]
        if segments[chunk].is_file():
            for _ in frames:
                pass
            continue
        shown = _swapped_frames(frames, target, look, wanted, z, swap, report, progress)
        with report.timed("swap and encode"):
            write_segment(segments[chunk], shown, ticks.tolist(), look.facts, encoding)
    changed = np.zeros(count, bool)
    for one in wanted:
        changed[one.first : one.first + len(one.quads)] |= np.isfinite(one.quads).all((1, 2))
    report.swapped = int(changed.sum())
    return segments


def _swapped_frames(
    frames: Iterator[tuple[int, Decoded]],
    target: str,
    look: Look,
    wanted: Sequence[Wanted],
    z: Sequence[Identity],
    swap: Callable[[list[Task]], list[Any]],
    report: VideoReport,
    progress: OnProgress | None,
) -> Iterator[Any]:
    """The frames with their faces swapped, as many at once as memory should hold."""
    begin = np.array([one.first for one in wanted])
    end = begin + [len(one.quads) for one in wanted]
    many = max(1, min(16, MOST_PIXELS // (look.facts.width * look.facts.height)))
    while batch := list(itertools.islice(frames, many)):
        tasks: dict[int, Task] = {}
        for place, (number, one) in enumerate(batch):
            frame = number - look.first
            near = [wanted[int(k)] for k in np.flatnonzero((begin <= frame) & (frame < end))]
            here = [(face, quad) for face in near if (quad := face.at(frame)) is not None]
            if here and not one.damaged:
                photo = photo_of_frame(one.frame, one.told, target)
                rows = concatenated([tile(z[face.wish], 1) for face, _ in here])
                tasks[place] = Task(photo, [quad for _, quad in here], rows)
        with report.timed("swap"):
            swapped = dict(zip(tasks, swap(list(tasks.values())), strict=True))
        for place, (number, one) in enumerate(batch):
            shown = one.frame
            if place in swapped:
                shown = add_changes(shown, tasks[place].photo, swapped[place].patches, one.told, target)
            yield shown
            if progress:
                progress("swapping", number + 1 - look.first, len(look.ticks))

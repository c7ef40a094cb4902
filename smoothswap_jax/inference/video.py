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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from smoothswap_jax.faces.align import Patch, Quad, ffhq_quad
from smoothswap_jax.faces.animations import animation_facts, animation_values, is_animation
from smoothswap_jax.faces.detection.registry import find_faces, find_small_faces
from smoothswap_jax.faces.photos import PathLike, Photo, PhotoError, check_size
from smoothswap_jax.faces.tracking import Person, find_people, find_tracks
from smoothswap_jax.faces.video_changes import add_changes
from smoothswap_jax.faces.video_encoding import (
    Encoding,
    check_video_output,
    choose_encoding,
    facts_of,
    pyav_version,
    write_segment,
)
from smoothswap_jax.faces.video_frames import VideoError, photo_of_frame
from smoothswap_jax.faces.video_survey import survey
from smoothswap_jax.faces.video_writing import check_beside, put_together
from smoothswap_jax.faces.videos import Decoded, decoded_frames
from smoothswap_jax.inference import first_look
from smoothswap_jax.inference.batching import tile
from smoothswap_jax.inference.choice import WORDS, NoFaceError, Which, check_which, nearest, person_in
from smoothswap_jax.inference.files import (
    Sources,
    by_face,
    check_no_input,
    identities_of,
    notes_on,
    photos_of,
    trail_of,
)
from smoothswap_jax.inference.first_look import (
    Look,
    OnProgress,
    VideoOptions,
    VideoReport,
    chunks,
    faces_in,
    frames_kept,
    look_at,
)
from smoothswap_jax.inference.identities import concatenated
from smoothswap_jax.inference.likeness import ALIKE, identities
from smoothswap_jax.inference.occlusion import keep_occluders
from smoothswap_jax.inference.swapper import MAX_PIXELS, Color, Identity, Paste, Swapper, Task, check_how
from smoothswap_jax.provenance.outputs import publish_whole
from smoothswap_jax.runtime.files import check_new_file, held, sha256_of, write_atomically

log = logging.getLogger(__name__)

MOST_PIXELS = 16_000_000
"""Of the frames that are swapped together: they are all in memory."""
LARGEST = 36_000_000
"""Pixels of a frame, a little more than 8K has. A damaged header may claim more, and encoders hold dozens of frames."""
TONED = "faces in it are grey or sepia, and the new ones keep to that (--color=free gives them colours)"
PLAN, SEGMENT, GREY = "plan.json", "segment-{:06d}.nut", "grey"
"""Files of a job; the last, which is empty, is there if what `TONED` says holds for a segment."""


def swap_video(
    swapper: Swapper,
    source: Sources,
    target: PathLike,
    output: PathLike,
    *,
    source_face: Which = "largest",
    target_face: Which = "largest",
    paste: Paste = "change",
    color: Color = "keep",
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
    check_video(wishes, target, output, overwrite, options, swapper.max_pixels)
    check_how(paste, color, strength)
    target, output = os.fspath(target), Path(output)
    trail = trail_of(swapper, wishes, target, output, overwrite)
    make_identities = identities_of(swapper, wishes, source_face)
    found = survey(target)
    report = VideoReport(on_sources=notes_on(wishes), on_target=tuple(found.faults))
    folder = output.with_name(f".{output.name}.swapping")
    folder.mkdir(exist_ok=True)
    with held(folder):
        plan = {
            "target": trail.facts.target, "wishes": [_told_apart(which) for which in wishes], "paste": paste,
            "color": color, "strength": strength, "min_score": swapper.min_score, **asdict(options),
            "suffix": output.suffix, "network": _fingerprint(swapper, make_identities()), "chunk": first_look.CHUNK,
            "av": pyav_version(), "jax": jax.__version__, "watermark": trail.code,
            "mask": _function_told_apart(swapper.mask, keep_occluders),
            "detect": _function_told_apart(swapper.detect, find_faces, find_small_faces),
        }  # fmt: skip
        _begin(folder, plan)
        swap = lambda tasks: swapper.swap_tasks(tasks, paste, color, strength, trail.code)
        try:
            encoding, notes = encoding_for(target, output, options)
            report.on_target += notes
            look = look_at(swapper, target, found, folder, options, bool(set(wishes) - {"all"}), report, progress)
            wanted = wanted_faces(swapper, look, list(wishes), target, report)
            segments = _swap(target, folder, look, wanted, make_identities(), encoding, swap, report, progress)
            with report.timed("put together"):
                whole = folder / f"whole{output.suffix.lower()}"
                report.on_target += put_together(
                    target, segments, look.ticks, look.last, look.facts, encoding, look.span, whole, comment=trail.words
                )
                _check_readable(whole, target, report.frames)
            with report.timed("sign"):
                report.on_target += publish_whole(whole, output, trail, overwrite)
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
    color: Color = "keep",
    strength: float = 1.0,
) -> Iterator[Photo]:
    """The frames of a stream with the identity `z` (from `Swapper.embed`, of batch size 1), one after the other.

    Nothing is known of what comes, so faces are where each frame shows them, not smoothed, and 'largest', 'left' and an
    index count the faces of each frame; a file is better swapped by `swap_video`. Frames without such a face come back
    as they are. Raises what `Swapper.swap_identity` raises but NoFaceError.
    """
    check_how(paste, color, strength)
    check_which(face, "target")
    last: dict[str, Any] | None = None
    for number, photo in enumerate(frames):
        every, since = faces_in(
            photo, swapper, last if last is not None and last["since"] < first_look.SEARCHED - 1 else None
        )
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
    max_pixels: int = MAX_PIXELS,
) -> None:
    """Raises VideoError for an output or options that there are not, PhotoError for an output that is one of the
    inputs, `TooLarge` for a picture that moves with frames of more than `max_pixels`, ValueError for what names no
    face, and OSError for an output that exists, unless it may be overwritten, or whose folder cannot be written to."""
    options = options or VideoOptions()
    check_video_output(output, options.encoder, options.quality, options.pixels)
    check_places(wishes, target, output, overwrite)
    if options.start < 0 or (options.end is not None and options.end <= options.start):
        end = "its end" if options.end is None else f"{options.end:g}"
        raise VideoError(
            f"{os.fspath(target)}: found a span from {options.start:g} to {end} s; wanted 0 <= start < end"
        )
    if is_animation(os.fspath(target)):
        check_size(target, max_pixels)


def check_places(
    wishes: Mapping[Which, Sequence[PathLike]], target: PathLike, output: PathLike, overwrite: bool
) -> None:
    """Raises as `check_video` does, but for the kind of output and options."""
    if not Path(target).is_file():
        raise VideoError(f"{os.fspath(target)}: found no such file; wanted a video")
    check_no_input((*photos_of(wishes), target), output)
    check_new_file(output, overwrite)
    if not Path(output).parent.is_dir():
        raise VideoError(f"{os.fspath(output)}: found no folder {Path(output).parent}; wanted an existing one")
    for which in wishes:
        check_which(which, "target")


def encoding_for(
    target: PathLike, output: PathLike, options: VideoOptions | None = None
) -> tuple[Encoding, tuple[str, ...]]:
    """How the output is encoded, and what the user should know of that, in words. Raises VideoError for what cannot be
    encoded, and where the output's container cannot hold the target's sound."""
    target, output, options = os.fspath(target), Path(output), options or VideoOptions()
    for _, one in frames_kept(target, options):
        facts = facts_of(one.frame, one.told, target)
        if facts.width * facts.height > LARGEST:
            raise VideoError(
                f"{target}: found frames of {facts.width}x{facts.height} pixels; wanted at most {LARGEST:,} in all"
            )
        encoding, notes = choose_encoding(facts, output, options.encoder, options.quality, options.pixels)
        check_beside(target, facts, encoding, output.suffix.lower())
        if is_animation(target) and animation_facts(target).profile:
            notes += ("its colour profile is left out: colours become sRGB",)
        if is_animation(target) and any(frame.values[:, :, 3].min() < 255 for frame in animation_values(target)):
            notes += ("transparent parts become white (.gif and .webp keep them)",)
        return encoding, notes
    if options.start == 0:
        raise VideoError(f"{target}: found no frame that can be decoded; wanted a whole video")
    raise VideoError(f"{target}: found no frame from {options.start:g} s on; wanted a longer video")


def _check_readable(whole: Path, target: str, frames: int) -> None:
    """Raises VideoError where not all frames are found in what was made of a video, as of one with senseless times."""
    try:
        found = survey(os.fspath(whole)).frames
    except VideoError:
        found = 0
    if found < frames:
        raise VideoError(
            f"{target}: found frames at times that {whole.suffix} cannot hold, of {frames} only {found} can be read "
            "again; wanted .mkv, or a video that is not damaged"
        )


def _told_apart(which: Which) -> str:
    """A wish in the plan: of a reference photo what it shows, and not where it lies."""
    return str(which) if isinstance(which, int) or which in WORDS else sha256_of(os.fspath(which))


def _function_told_apart(one: Callable[..., Any] | None, *known: Callable[..., Any]) -> str:
    """What another function than our own would do is not known, so a job with it is not gone on with."""
    if one is None:
        return ""
    return one.__name__ if one in known else secrets.token_hex()


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
    for old in (*folder.glob("looked-*"), *folder.glob("segment-*"), *folder.glob("whole.*"), *folder.glob(GREY)):
        old.unlink()
    write_atomically(file, text.encode())


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


def wanted_faces(
    swapper: Swapper, look: Look, wishes: Sequence[Which], target: str, report: VideoReport
) -> list[Wanted]:
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
    report.on_target += tuple(f"{error}: nobody is changed for it" for error in missing)
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
    segments = [folder / SEGMENT.format(chunk) for chunk in range(-(-count // first_look.CHUNK))]
    if (folder / GREY).exists():
        report.on_target += (TONED,)
    kept = itertools.islice(enumerate(decoded_frames(target, threads=os.cpu_count() or 1)), look.first, None)
    for chunk, frames in chunks(itertools.islice(kept, count)):
        ticks = look.ticks[chunk * first_look.CHUNK :][: first_look.CHUNK]
        if segments[chunk].is_file():
            for _ in frames:
                pass
            continue
        swapped = changes_of(frames, target, look, wanted, z, swap, report, progress)
        shown = (
            add_changes(one.frame, photo, patches, one.told, target) if photo is not None else one.frame
            for one, photo, patches in swapped
        )
        with report.timed("encode"):
            write_segment(segments[chunk], shown, ticks.tolist(), look.facts, encoding)
        if TONED in report.on_target:
            (folder / GREY).touch()
    report.swapped = frames_changed(look, wanted)
    return segments


def frames_changed(look: Look, wanted: Sequence[Wanted]) -> int:
    """How many frames have a face that is changed."""
    changed = np.zeros(len(look.ticks), bool)
    for one in wanted:
        changed[one.first : one.first + len(one.quads)] |= np.isfinite(one.quads).all((1, 2))
    return int((changed & ~look.damaged).sum())  # damaged frames stay as they are


def changes_of(
    frames: Iterator[tuple[int, Decoded]],
    target: str,
    look: Look,
    wanted: Sequence[Wanted],
    z: Sequence[Identity],
    swap: Callable[[list[Task]], list[Any]],
    report: VideoReport,
    progress: OnProgress | None,
) -> Iterator[tuple[Decoded, Photo | None, Sequence[Patch]]]:
    """Frames, and for those with faces to swap the photo and its changes; as many at once as memory should hold."""
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
        if TONED not in report.on_target and any(one.toned for one in swapped.values()):
            report.on_target += (TONED,)
        for place, (number, one) in enumerate(batch):
            yield (one, tasks[place].photo, swapped[place].patches) if place in swapped else (one, None, ())
            if progress:
                progress("swapping", number + 1 - look.first, len(look.ticks))

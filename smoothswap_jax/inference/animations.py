"""Swaps faces in pictures that move (GIF, WebP, PNG, AVIF) into ones that move: looked at as a video is, as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from smoothswap_jax.faces.align import Patch
from smoothswap_jax.faces.animation_writing import (
    FORMS,
    LONGEST_FRAME,
    MOST_PLAYS,
    Shown,
    animation_bytes,
    check_room,
)
from smoothswap_jax.faces.animations import (
    AnimationFacts,
    AnimationFrame,
    animation_facts,
    animation_values,
    is_animation,
)
from smoothswap_jax.faces.photos import PathLike, check_size
from smoothswap_jax.faces.video_frames import VideoError
from smoothswap_jax.faces.video_survey import survey
from smoothswap_jax.inference.choice import Which
from smoothswap_jax.inference.files import Sources, by_face, identities_of, notes_on, trail_of
from smoothswap_jax.inference.first_look import OnProgress, VideoOptions, VideoReport, frames_kept, look_at
from smoothswap_jax.inference.swapper import MAX_PIXELS, Color, Paste, Swapper, check_how
from smoothswap_jax.inference.video import changes_of, check_places, frames_changed, wanted_faces
from smoothswap_jax.provenance.outputs import publish
from smoothswap_jax.runtime.files import check_new_file

_MOVING = (".gif", ".webp", ".apng")
"""Suffixes by which a picture that moves is wished; .png is a still one."""
_ONLY_MOVING = (".gif", ".apng")
"""Of these no photo is written."""


def swap_animation(
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
    progress: OnProgress | None = None,
) -> VideoReport:
    """Swaps faces of all frames of a picture that moves, which keep their times, and how often they are shown.

    The options are those of `swap_video`. All frames are in memory at once, and a call that is stopped begins anew. See
    `animation_bytes` for what becomes of colours.

    output: .gif, .webp, .apng or .png. Raises what `check_animation` and `Swapper.read_faces` raise, VideoError for
    frames that cannot be decoded, and NoFaceError where there is no such person in it.
    """
    wishes = by_face(source, target_face)
    check_animation(wishes, target, output, overwrite, swapper.max_pixels)
    check_how(paste, color, strength)
    target, output = os.fspath(target), Path(output)
    trail = trail_of(swapper, wishes, target, output, overwrite)
    make_identities = identities_of(swapper, wishes, source_face)
    form = FORMS[output.suffix.lower()]
    found = survey(target)
    report = VideoReport(on_sources=notes_on(wishes), on_target=tuple(found.faults))
    look = look_at(swapper, target, found, ask=bool(set(wishes) - {"all"}), report=report, progress=progress)
    wanted = wanted_faces(swapper, look, list(wishes), target, report)
    swap = lambda tasks: swapper.swap_tasks(tasks, paste, color, strength, trail.code)
    frames = frames_kept(target, VideoOptions())
    changes = changes_of(frames, target, look, wanted, make_identities(), swap, report, progress)
    facts = animation_facts(target)
    with report.timed("write"):
        patches = (one for _, _, one in changes)
        shown = [_shown(frame, made, facts.form) for frame, made in zip(animation_values(target), patches, strict=True)]
        report.swapped = frames_changed(look, wanted)
        report.on_target += tuple(_lost(shown, facts, form))
        try:
            data = animation_bytes(shown, facts.plays, form, facts.lossless, trail.metadata())
        except VideoError as error:
            raise VideoError(f"{output}: {error}; wanted another format") from error
    check_new_file(output, overwrite)
    report.on_target += publish(output, f"{len(shown)} frames as {form}", lambda part: part.write_bytes(data), trail)
    return report


def check_animation(
    wishes: Mapping[Which, Sequence[PathLike]],
    target: PathLike,
    output: PathLike,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> None:
    """Raises VideoError for a target that does not move, an output that there is not, and frames that the output or
    memory cannot hold; else what `check_video` raises."""
    suffix = Path(output).suffix.lower()
    if suffix not in FORMS:
        raise VideoError(f"{output}: found the suffix {suffix!r} for a picture that moves; wanted {', '.join(FORMS)}")
    target = os.fspath(target)
    if not os.path.exists(target):
        raise VideoError(f"{target}: found no such file; wanted a picture that moves")
    check_places(wishes, target, output, overwrite)
    if not is_animation(target):
        raise VideoError(f"{target}: found no picture that moves; wanted GIF, WebP, PNG or AVIF")
    check_size(target, max_pixels)
    facts = animation_facts(target)
    instead = ", or .mp4, which has no limit"
    check_room(target, facts.frames, facts.width, facts.height, suffix, instead)


def wants_animation(target: PathLike, output: PathLike) -> bool:
    """Whether a picture that moves is to become one that moves, or one that is missing would."""
    suffix = Path(output).suffix.lower()
    missing = suffix in _ONLY_MOVING and not os.path.exists(target)
    return missing or (suffix in _MOVING and is_animation(os.fspath(target)))


def _shown(frame: AnimationFrame, patches: Sequence[Patch], form: str) -> Shown:
    """A frame with its changes, which are not seen where it is wholly transparent."""
    before, values = frame.values, frame.values.copy()
    for patch in patches:
        there = values[patch.rows, patch.columns]
        changed = np.rint(np.clip(there[:, :, :3] + patch.change, 0, 255)).astype(np.uint8)
        there[:, :, :3] = np.where(there[:, :, 3:] == 0, there[:, :, :3], changed)
    # A palette of its own has only what was a GIF.
    return Shown(values, frame.milliseconds, (values != before).any(2) if form == "GIF" else None)


def _lost(shown: Sequence[Shown], facts: AnimationFacts, form: str) -> Iterator[str]:
    """What the output's format cannot keep, in words."""
    if facts.plays > (most := MOST_PLAYS[form]):
        yield f"it is shown {most:,} times and not {facts.plays:,}: {form} counts no further"
    if facts.deep:
        yield "more than 8 bits a channel become 8"
    if form != "GIF" and any(frame.milliseconds > LONGEST_FRAME[form] for frame in shown):
        yield f"no picture is shown for more than {LONGEST_FRAME[form] // 1000:,} s: {form} has no more"
    if facts.profile:
        yield "its colour profile is left out: colours become sRGB"
    if form != "GIF":
        return
    if any(np.isin(frame.values[:, :, 3], (0, 255), invert=True).any() for frame in shown):
        yield "parts that are seen through by half become wholly so or not at all: GIF has no more (.webp keeps them)"
    if any(frame.milliseconds % 10 or frame.milliseconds > LONGEST_FRAME["GIF"] for frame in shown):
        yield "times become hundredths of a second, at most 655.35 s: GIF has no others (.webp keeps them)"
    if any(frame.changed is None for frame in shown):
        yield "256 colours a frame remain: GIF has no more (.webp keeps all)"

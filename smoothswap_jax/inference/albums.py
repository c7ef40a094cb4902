"""Swaps all photos, videos and pictures that move of a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from smoothswap_jax.faces.animation_writing import FORMS, SUFFIXES
from smoothswap_jax.faces.animations import animation_form, is_animation
from smoothswap_jax.faces.kinds import is_video
from smoothswap_jax.faces.listing import is_damaged_photo, photos_in
from smoothswap_jax.faces.photos import PathLike, PhotoError, is_writable
from smoothswap_jax.faces.video_encoding import CONTAINERS
from smoothswap_jax.inference.animations import swap_animation
from smoothswap_jax.inference.choice import Which
from smoothswap_jax.inference.files import Sources, by_face, check_files, notes_on, photo_swapper, photos_of
from smoothswap_jax.inference.first_look import OnProgress, VideoOptions
from smoothswap_jax.inference.swapper import Color, Paste, Swapper, check_how
from smoothswap_jax.inference.video import swap_video
from smoothswap_jax.runtime.files import check_place


class Album(NamedTuple):
    """What is in a folder: photos, damaged ones among them, videos, pictures that move, and what else is not hidden."""

    photos: set[Path]
    videos: set[Path]
    moving: set[Path]
    others: list[Path]
    """Sorted by name."""


def album_in(folder: Path) -> Album:
    """Raises OSError for a folder that cannot be read."""
    listed = photos_in(folder)
    moving = {path for path in (*listed.photos, *listed.others) if is_animation(os.fspath(path))}
    videos = {path for path in listed.others if is_video(path)} - moving
    photos = {*listed.photos, *filter(is_damaged_photo, listed.others)} - moving
    taken = photos | videos | moving
    return Album(photos, videos, moving, [path for path in listed.others if path not in taken])


@dataclass(frozen=True)
class Outcome:
    """What became of a photo of a folder: `output` is written, or was `there` already, or `fault` says in one line that
    names the photo why it is not. notes: as `swap_files` returns; those on the sources come with the first that is
    written."""

    target: Path
    output: Path
    there: bool = False
    fault: str = ""
    notes: tuple[str, ...] = ()


def swap_folder(
    swapper: Swapper,
    source: Sources,
    folder: PathLike,
    out: PathLike,
    *,
    source_face: Which = "largest",
    target_face: Which = "largest",
    paste: Paste = "change",
    color: Color = "keep",
    strength: float = 1.0,
    overwrite: bool = False,
    options: VideoOptions | None = None,
    progress: Callable[[Path], OnProgress] | None = None,
) -> Iterator[Outcome]:
    """`swap_files`, `swap_animation` and `swap_video` for what is in a folder, one after the other, into a folder: what
    cannot be read or has no such face does not end it, and what is there already is left as it is, unless it may be
    overwritten, so that the same call goes on with what was stopped.

    Args:
      out: is made if it is not there. Files keep their names; photos in formats that are only read get .png behind
        them, videos .mkv, and pictures that move, which stay what they are whatever their names say, the suffix of
        that, AVIF .webp.
      options: of the videos. progress: shows that of a video.

    Raises, at the first outcome, PhotoError for a folder without photos and videos, and what `Swapper.read_faces`
    raises.
    """
    wishes, folder, out = by_face(source, target_face), Path(folder), Path(out)
    check_folders(folder, out)
    check_how(paste, color, strength)
    album = album_in(folder)
    targets = sorted(album.photos | album.moving | album.videos)
    if not targets:
        raise PhotoError(f"{folder}: found no photo and no video in it; wanted some")
    swap_photo = photo_swapper(swapper, wishes, source_face, paste, color, strength, overwrite)

    def swap_to(target: Path, output: Path) -> tuple[str, ...]:
        """Returns the notes on the target."""
        if target in album.photos:
            check_files(photos_of(wishes), target, output, overwrite, swapper.max_pixels)
            return swap_photo(target, output)
        how: dict[str, Any] = {
            "source_face": source_face, "target_face": target_face, "paste": paste, "color": color,
            "strength": strength, "overwrite": overwrite, "progress": progress(target) if progress else None,
        }  # fmt: skip
        if target in album.moving:
            return swap_animation(swapper, source, target, output, **how).on_target
        return swap_video(swapper, source, target, output, options=options, **how).on_target

    def named(target: Path) -> str:
        suffix = target.suffix.lower()
        if target in album.photos:
            suits, other = is_writable(target), ".png"
        elif target in album.moving:
            form = animation_form(os.fspath(target))
            suits, other = FORMS.get(suffix) == form, SUFFIXES[form]
        else:
            suits, other = suffix in CONTAINERS, ".mkv"
        return target.name if suits else f"{target.name}{other}"

    outputs = {target: out / named(target) for target in targets}
    unsaid = notes_on(wishes)
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        for target in targets:
            output = outputs[target]
            if output.exists() and not overwrite:
                yield Outcome(target, output, there=True)
                continue
            try:
                notes = swap_to(target, output)
            except (ValueError, OSError) as error:
                yield Outcome(target, output, fault=_in_one_line(target, error))
            else:
                yield Outcome(target, output, notes=(*unsaid, *notes))
                unsaid = ()
    finally:
        if new and not any(out.iterdir()):
            out.rmdir()


def _in_one_line(target: Path, error: Exception) -> str:
    said = " ".join(str(error).split())
    return said if str(target) in said else f"{target}: {said}"


def check_folders(folder: Path, out: Path) -> None:
    """Raises PhotoError where `out` is the folder of the photos, or a file; OSError where it cannot be written to."""
    named_like_a_file = is_writable(out) or out.suffix.lower() in (*FORMS, *CONTAINERS)
    if not out.is_dir() and (out.exists() or named_like_a_file):
        found = "a file" if out.exists() else f"suffix {out.suffix!r}"
        raise PhotoError(f"{out}: found {found}; wanted a folder, as {folder} is one")
    if out.exists() and os.path.samefile(folder, out):
        raise PhotoError(f"{out}: found the folder of the photos; wanted another one")
    check_place(out)

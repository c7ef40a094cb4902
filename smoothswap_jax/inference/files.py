"""Swaps from files to files: a photo."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from smoothswap_jax.faces.kinds import ANIMATION, kind_of
from smoothswap_jax.faces.original import Original, read_original, with_changes
from smoothswap_jax.faces.photos import PathLike, PhotoError, check_input, check_output, check_size
from smoothswap_jax.faces.writing import check_fits, described, write_original
from smoothswap_jax.inference.batching import tile
from smoothswap_jax.inference.choice import WORDS, Which
from smoothswap_jax.inference.identities import concatenated, mean_identity
from smoothswap_jax.inference.swapper import MAX_PIXELS, Color, Identity, Paste, Swapper, Task, check_how
from smoothswap_jax.provenance.outputs import Trail, begin_trail, publish
from smoothswap_jax.runtime.files import check_new_file

Sources = PathLike | Sequence[PathLike] | Mapping[Which, "PathLike | Sequence[PathLike]"]
"""A photo, several of one person, whose mean identity is taken, or for each of several faces of a target its own."""


def swap_files(
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
) -> tuple[str, ...]:
    """Swaps from files to a file, which stays what the target was: colours, depth, alpha, metadata, JPEG's tables.

    The options are those of `Swapper.swap` and `check_files`. Returns what the user should know, in words: what the
    output's format cannot keep, that a grey photo stayed grey, or a photo was one of several.

    Raises what `check_files` and `Swapper.swap` raise.
    """
    wishes = by_face(source, target_face)
    sources = photos_of(wishes)
    check_files(sources, target, output, overwrite, swapper.max_pixels)
    check_how(paste, color, strength)
    swap_to = photo_swapper(swapper, wishes, source_face, paste, color, strength, overwrite)
    return (*swap_to(target, output), *notes_on(wishes))


def notes_on(wishes: Mapping[Which, Sequence[PathLike]]) -> tuple[str, ...]:
    """What the user should know of the sources, in words."""
    notes = notes_on_moving(photos_of(wishes))
    notes += [
        f"the mean of {len(sources)} sources was taken, as photos of one person (--interpolate goes between two)"
        for sources in wishes.values()
        if len(sources) > 1
    ]
    return tuple(notes)


def notes_on_moving(photos: Sequence[PathLike]) -> list[str]:
    """Which of the files have several pictures, in words."""
    moving = [os.fspath(one) for one in photos if kind_of(one) == ANIMATION]
    return [f"{name} has several pictures; the first was taken" for name in moving]


def by_face(source: Sources, target_face: Which = "largest") -> dict[Which, list[PathLike]]:
    """For each wanted face of a target the photos of who it becomes. Raises ValueError where both name the face."""
    if not isinstance(source, Mapping):
        return {target_face: _as_list(source)}
    if target_face != "largest":
        raise ValueError(f"target face: found {target_face!r} and sources by face; wanted one of them")
    if not source:
        raise ValueError("sources by face: found none; wanted at least one")
    return {which: _as_list(sources) for which, sources in source.items()}


def photos_of(wishes: Mapping[Which, Sequence[PathLike]]) -> list[PathLike]:
    """All photos that sources are taken from, and those by which faces of the target are told."""
    given = [one for sources in wishes.values() for one in sources]
    return given + [which for which in wishes if not isinstance(which, int) and which not in WORDS]


def trail_of(
    swapper: Swapper,
    wishes: Mapping[Which, Sequence[PathLike]],
    target: PathLike,
    output: PathLike,
    overwrite: bool,
) -> Trail:
    """What a swap of a target is to carry, see `begin_trail`; photos by which people are told are no part of it."""
    sources = [one for given in wishes.values() for one in given]
    return begin_trail(swapper.provenance, swapper.model, target, sources, output, overwrite)


def save_swap(output: PathLike, original: Original, trail: Trail) -> tuple[str, ...]:
    """`save_original` of a swapped photo, with its trail; returns what the user should know, in words."""
    original = replace(original, metadata=trail.metadata(original.metadata))
    notes: list[str] = []
    write = lambda part: notes.extend(write_original(part, output, original))
    beside = publish(Path(output), described(output, original), write, trail)
    return (*notes, *beside)


def _as_list(source: PathLike | Sequence[PathLike]) -> list[PathLike]:
    return [source] if isinstance(source, str | os.PathLike) else list(source)


def identities_of(
    swapper: Swapper, wishes: Mapping[Which, Sequence[PathLike]], source_face: Which
) -> Callable[[], list[Identity]]:
    """Reads the faces of the sources now, and gives the identity of each wish when it is asked for: the embedder
    compiles for seconds, and a bad target should fail before."""
    faces = [swapper.read_faces(sources, face=source_face) for sources in wishes.values()]
    return functools.cache(lambda: [mean_identity(swapper.embed(one)) for one in faces])


def photo_swapper(
    swapper: Swapper,
    wishes: Mapping[Which, Sequence[PathLike]],
    source_face: Which,
    paste: Paste,
    color: Color,
    strength: float,
    overwrite: bool,
) -> Callable[[PathLike, PathLike], tuple[str, ...]]:
    """(target, output) -> notes: swaps in the sources' faces, which are read now."""
    identities = identities_of(swapper, wishes, source_face)

    def swap_to(target: PathLike, output: PathLike) -> tuple[str, ...]:
        trail = trail_of(swapper, wishes, target, output, overwrite)
        original = read_original(target, max_pixels=swapper.max_pixels)
        check_fits(output, original)
        photo, found = swapper.locate_each(original, list(wishes))
        missing = [which for which, quads in zip(wishes, found, strict=True) if not quads]
        notes = [f"found no face like that of {which}; the photo keeps its own" for which in missing]
        z = [tile(one, len(quads)) for one, quads in zip(identities(), found, strict=True) if quads]
        task = Task(photo, [quad for quads in found for quad in quads], concatenated(z))
        (swapped,) = swapper.swap_tasks([task], paste, color, strength, trail.code)
        if swapped.toned:
            notes.append(
                "the face in the photo is grey or sepia, and the new one keeps to that (--color=free gives it colours)"
            )
        changed = with_changes(original, swapped.patches, colour=color == "free")
        return (*save_swap(output, changed, trail), *notes)

    return swap_to


def check_files(
    sources: Sequence[PathLike],
    target: PathLike,
    output: PathLike,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> None:
    """Raises `PhotoError` for an output that no photo can be written to or that is one of the inputs, and for a target
    that cannot be opened or has more than `max_pixels`; OSError for an output that exists, unless it may be
    overwritten, or whose folder cannot be written to."""
    check_output(output)
    check_no_input((*sources, target), output)
    check_new_file(output, overwrite)
    for given in sources:
        check_input(given)
    check_size(target, max_pixels)


def check_no_input(inputs: Sequence[PathLike], output: PathLike) -> None:
    """Raises `PhotoError` where the output is one of the inputs."""
    for given in inputs:
        if Path(output).exists() and Path(given).exists() and os.path.samefile(output, given):
            raise PhotoError(f"{os.fspath(output)}: found the output to be an input photo; wanted another name")

"""Swaps from files to files: a photo, or all photos of a folder."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from smoothswap_jax.faces.kinds import ANIMATION, kind_of
from smoothswap_jax.faces.listing import photos_in
from smoothswap_jax.faces.original import read_original
from smoothswap_jax.faces.photos import PathLike, PhotoError, check_input, check_output, is_writable
from smoothswap_jax.faces.writing import check_fits, save_original
from smoothswap_jax.inference.choice import Which
from smoothswap_jax.inference.identities import mean_identity
from smoothswap_jax.inference.swapper import Paste, Swapper, check_strength
from smoothswap_jax.runtime.files import check_new_file, check_place


def swap_files(
    swapper: Swapper,
    source: PathLike | Sequence[PathLike],
    target: PathLike,
    output: PathLike,
    *,
    source_face: Which = "largest",
    target_face: Which = "largest",
    paste: Paste = "change",
    color: bool = False,
    strength: float = 1.0,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Swaps from files to a file, which stays what the target was: colours, depth, alpha, metadata, JPEG's tables.

    The options are those of `Swapper.swap` and `check_files`. Returns what the user should know, in words: what the
    output's format cannot keep, that a grey photo stayed grey, or a photo was one of several.

    Raises what `check_files` and `Swapper.swap` raise.
    """
    sources = _as_list(source)
    check_files(sources, target, output, overwrite)
    check_strength(strength)
    swap_to = _with_faces(swapper, sources, source_face, target_face, paste, color, strength)
    moving = [os.fspath(one) for one in sources if kind_of(one) == ANIMATION]
    notes = [*swap_to(target, output), *(f"{name} has several pictures; the first was taken" for name in moving)]
    if len(sources) > 1:
        notes.append(
            f"the mean of {len(sources)} sources was taken, as photos of one person (--interpolate goes between two)"
        )
    return tuple(notes)


@dataclass(frozen=True)
class Outcome:
    """What became of a photo of a folder: `output` is written, or was `there` already, or `fault` says why it is not.
    notes: as `swap_files` returns."""

    target: Path
    output: Path
    there: bool = False
    fault: str = ""
    notes: tuple[str, ...] = ()


def swap_folder(
    swapper: Swapper,
    source: PathLike | Sequence[PathLike],
    folder: PathLike,
    out: PathLike,
    *,
    source_face: Which = "largest",
    target_face: Which = "largest",
    paste: Paste = "change",
    color: bool = False,
    strength: float = 1.0,
    overwrite: bool = False,
) -> Iterator[Outcome]:
    """`swap_files` for the photos of a folder, one after the other, into a folder: what cannot be read or has no such
    face does not end it, and what is there already is left as it is, unless it may be overwritten, so that the same
    call goes on with what was stopped.

    out: is made if it is not there. Photos keep their names; those in formats that are only read get .png behind them.

    Raises, at the first outcome, ValueError for a folder without photos, and what `Swapper.read_faces` raises.
    """
    sources, folder, out = _as_list(source), Path(folder), Path(out)
    check_folders(folder, out)
    check_strength(strength)
    targets = photos_in(folder).photos
    if not targets:
        raise PhotoError(f"{folder}: found no photo in it; wanted some")
    swap_to = _with_faces(swapper, sources, source_face, target_face, paste, color, strength)
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        for target in targets:
            output = out / (target.name if is_writable(target) else f"{target.name}.png")
            if output.exists() and not overwrite:
                yield Outcome(target, output, there=True)
                continue
            try:
                check_files(sources, target, output, overwrite)
                yield Outcome(target, output, notes=swap_to(target, output))
            except (ValueError, OSError) as error:
                yield Outcome(target, output, fault=str(error))
    finally:
        if new and not any(out.iterdir()):
            out.rmdir()


def check_folders(folder: Path, out: Path) -> None:
    """Raises PhotoError where `out` is the folder of the photos, or a file; OSError where it cannot be written to."""
    if not out.is_dir() and (out.exists() or is_writable(out)):
        found = "a file" if out.exists() else f"suffix {out.suffix!r}"
        raise PhotoError(f"{out}: found {found}; wanted a folder, as {folder} is one")
    if out.exists() and os.path.samefile(folder, out):
        raise PhotoError(f"{out}: found the folder of the photos; wanted another one")
    check_place(out)


def _as_list(source: PathLike | Sequence[PathLike]) -> Sequence[PathLike]:
    return [source] if isinstance(source, str | os.PathLike) else source


def _with_faces(
    swapper: Swapper,
    sources: Sequence[PathLike],
    source_face: Which,
    target_face: Which,
    paste: Paste,
    color: bool,
    strength: float,
) -> Callable[[PathLike, PathLike], tuple[str, ...]]:
    """(target, output) -> notes: swaps in the sources' faces, which are read now and embedded when the first target's
    were found: the embedder compiles for seconds, and a bad target should fail at once."""
    faces = swapper.read_faces(sources, face=source_face)
    identity = functools.cache(lambda: mean_identity(swapper.embed(faces)))

    def swap_to(target: PathLike, output: PathLike) -> tuple[str, ...]:
        original = read_original(target, max_pixels=swapper.max_pixels)
        check_fits(output, original)
        photo, quads = swapper.locate(original, target_face, paste)
        swapped, notes = swapper.swap_located(identity(), original, photo, quads, paste, color, strength)
        return (*save_original(output, swapped), *notes)

    return swap_to


def check_files(sources: Sequence[PathLike], target: PathLike, output: PathLike, overwrite: bool = False) -> None:
    """Raises `PhotoError` for an output that no photo can be written to or that is one of the inputs, and OSError for
    one that exists, unless it may be overwritten, or whose folder cannot be written to."""
    check_output(output)
    check_no_input((*sources, target), output)
    check_new_file(output, overwrite)
    for given in (*sources, target):
        check_input(given)


def check_no_input(inputs: Sequence[PathLike], output: PathLike) -> None:
    """Raises `PhotoError` where the output is one of the inputs."""
    for given in inputs:
        if Path(output).exists() and Path(given).exists() and os.path.samefile(output, given):
            raise PhotoError(f"{os.fspath(output)}: found the output to be an input photo; wanted another name")

"""`smoothswap swap --interpolate`: one target with identities on the way from one source to another."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from smoothswap_jax.faces.align import align_face
from smoothswap_jax.faces.animation_writing import FORMS, Shown, animation_bytes, check_room
from smoothswap_jax.faces.colours import Space
from smoothswap_jax.faces.grid import image_grid
from smoothswap_jax.faces.metadata import Metadata
from smoothswap_jax.faces.movie import mp4_bytes
from smoothswap_jax.faces.original import Original
from smoothswap_jax.faces.packages import is_installed, missing_package
from smoothswap_jax.faces.photos import PathLike, Photo, check_input, check_output, check_size
from smoothswap_jax.faces.tones import tint_of
from smoothswap_jax.inference.files import check_no_input, notes_on_moving, save_swap
from smoothswap_jax.inference.identities import check_count
from smoothswap_jax.inference.swapper import MAX_PIXELS, Color, Paste, Swapper, check_how
from smoothswap_jax.provenance.outputs import Trail, begin_trail, publish
from smoothswap_jax.runtime.files import check_new_file

ANIMATIONS = (".gif", ".webp", ".mp4")
"""Suffixes that are no strips."""
TILE, GAP = 256, 4
"""Least width of a face in a strip, and what lies between two, pixels."""
WIDEST = {".jpg": 65_500, ".jpeg": 65_500}
"""What a format can hold, pixels; a strip in others may be as wide as memory allows."""
MOST_BLOCKS = 139_264
"""Of 16 x 16 pixels, in a frame of H.264 (level 6.2, table A-1)."""
SECONDS, SHORTEST = 2.0, 0.02
"""Of an animation one way, and of a frame: viewers show shorter ones for a tenth of a second."""


def check_strip(
    sources: Sequence[PathLike],
    target: PathLike,
    output: PathLike,
    count: int,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> None:
    """Raises ValueError unless there are two sources and as many identities as the output can show, and what
    `check_files` raises."""
    check_count(count)
    if len(sources) != 2:
        raise ValueError(f"--interpolate: found {len(sources)} --source; wanted two, from which and to which to go")
    if Path(target).is_dir():
        raise ValueError(f"--interpolate: found the folder {target} as --target; wanted one photo")
    suffix = Path(output).suffix.lower()
    check_output(output, also=ANIMATIONS)
    if suffix == ".mp4" and not is_installed("av"):
        raise missing_package("writing videos", "av", "faces")
    if suffix not in ANIMATIONS:
        width = (count + 2) * (TILE + GAP)
        if width > WIDEST.get(suffix, width):
            most = WIDEST[suffix] // (TILE + GAP) - 2
            raise ValueError(f"--interpolate: found {count}; wanted at most {most} in {suffix}, or a strip in .png")
    check_no_input((*sources, target), output)
    check_new_file(output, overwrite)
    for given in sources:
        check_input(given)
    check_size(target, max_pixels)


def interpolate_files(
    swapper: Swapper,
    sources: Sequence[PathLike],
    target: PathLike,
    output: PathLike,
    count: int,
    *,
    source_face: Any = "largest",
    target_face: Any = "largest",
    paste: Paste = "change",
    color: Color = "keep",
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Writes `count` swaps of a target, from the identity of the first source to that of the second.

    output: .gif, .webp and .mp4 become an animation of the whole photo, there and back; other formats a strip of faces
    with the two sources at its ends, of the first face that is changed. The other options are those of `Swapper.swap`.
    Returns what the user should know, in words. Raises what `check_strip` and `Swapper.interpolate` raise.
    """
    check_strip(sources, target, output, count, overwrite, swapper.max_pixels)
    check_how(paste, color)
    trail = begin_trail(swapper.provenance, swapper.model, target, sources, output, overwrite)
    faces = [swapper.read_face(source, face=source_face) for source in sources]
    first, last = (swapper.embed(face[None]) for face in faces)
    photo, quads = swapper.locate(target, target_face)
    suffix = Path(output).suffix.lower()
    if suffix in ANIMATIONS:
        _check_animation(photo, count, suffix)
    photos = swapper.interpolate_located(first, last, photo, quads, count, paste, color, trail.code)
    toned = color != "free" and any(tint_of(photo, quad) is not None for quad in quads)
    note = "the face in the photo is grey or sepia, and the new ones keep to that (--color=free gives them colours)"
    notes = (*notes_on_moving([*sources, target]), *[note] * toned)
    if suffix in ANIMATIONS:
        data = _animation(list(photos), suffix, trail)
        publish(Path(output), f"{count} photos as {suffix}", lambda part: part.write_bytes(data), trail)
        return notes
    size = max(TILE, swapper.size)
    ends = []
    for source in sources:
        pixels, (square, *_) = swapper.locate(source, source_face)
        ends.append(align_face(pixels, square, size))
    tiles = [ends[0], *(align_face(one, quads[0], size) for one in photos), ends[1]]
    strip = image_grid([tiles], pad=GAP)
    save_swap(output, Original("strip", strip, strip, Space("RGB", None), False, Metadata(), ""), trail)
    return notes


def _check_animation(photo: Photo, count: int, suffix: str) -> None:
    """Raises ValueError for an animation that its format or the memory cannot hold."""
    height, width = photo.shape[:2]
    if suffix == ".mp4" and -(-height // 16) * -(-width // 16) > MOST_BLOCKS:
        most = MOST_BLOCKS * 256 / 1e6
        raise ValueError(f"--target: found {width} x {height} pixels; wanted at most {most:.1f} million in .mp4")
    check_room("--interpolate", count, width, height, suffix, ", or a smaller photo, or a strip")


def _animation(photos: Sequence[Photo], suffix: str, trail: Trail) -> bytes:
    there_and_back, seconds = (*photos, *photos[-2:0:-1]), max(SHORTEST, SECONDS / len(photos))
    if suffix == ".mp4":
        return mp4_bytes(there_and_back, seconds, trail.words)
    duration = Fraction(round(1000 * seconds))
    shown = [Shown(photo, duration) for photo in there_and_back]
    return animation_bytes(shown, 0, FORMS[suffix], metadata=trail.metadata())

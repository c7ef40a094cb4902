"""`smoothswap swap --interpolate`: one target with identities on the way from one source to another."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from smoothswap_jax.faces.align import align_face
from smoothswap_jax.faces.grid import image_grid
from smoothswap_jax.faces.photos import PathLike, Photo, check_input, check_output, save_photo
from smoothswap_jax.inference.swapper import Paste, Swapper, check_no_input
from smoothswap_jax.runtime.files import check_new_file, write_atomically

MOVING = (".gif", ".webp")
"""Suffixes of pictures that move."""
TILE = 256
"""Least width of a face in a strip, pixels."""
SECONDS = 2.0
"""Of an animation, one way."""


def check_strip(sources: Sequence[PathLike], target: PathLike, output: PathLike, overwrite: bool = False) -> None:
    """Raises ValueError unless there are two sources, and what `check_files` raises."""
    if len(sources) != 2:
        raise ValueError(f"--interpolate: found {len(sources)} --source; wanted two, from which and to which to go")
    if Path(output).suffix.lower() not in MOVING:
        check_output(output)
    check_no_input((*sources, target), output)
    check_new_file(output, overwrite)
    for given in (*sources, target):
        check_input(given)


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
    color: bool = False,
    overwrite: bool = False,
) -> None:
    """Writes `count` swaps of a target, from the identity of the first source to that of the second.

    output: .gif and .webp become an animation of the whole photo, there and back; other formats a strip of faces with
    the two sources at its ends, of the first face that is changed. The other options are those of `Swapper.swap`.
    Raises what `check_strip` and `Swapper.interpolate` raise.
    """
    check_strip(sources, target, output, overwrite)
    faces = [swapper.read_face(source, face=source_face) for source in sources]
    first, last = (swapper.embed(face[None]) for face in faces)
    photos = swapper.interpolate(first, last, target, count, face=target_face, paste=paste, color=color)
    if Path(output).suffix.lower() in MOVING:
        write_atomically(Path(output), _animation(photos, Path(output).suffix.lower()))
        return
    _, (quad, *_) = swapper.locate(target, target_face)
    size = max(TILE, swapper.size)
    ends = []
    for source in sources:
        photo, (square, *_) = swapper.locate(source, source_face)
        ends.append(align_face(photo, square, size))
    tiles = [ends[0], *(align_face(photo, quad, size) for photo in photos), ends[1]]
    save_photo(output, image_grid([tiles], pad=4))


def _animation(photos: Sequence[Photo], suffix: str) -> bytes:
    frames = [Image.fromarray(photo) for photo in (*photos, *photos[-2:0:-1])]
    data, duration = io.BytesIO(), round(1000 * SECONDS / len(photos))
    options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(
        data, suffix[1:].upper(), save_all=True, append_images=frames[1:], duration=duration, loop=0, **options
    )
    return data.getvalue()

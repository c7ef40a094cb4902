"""Frames of picture formats that move: GIF, WebP, PNG and AVIF, read with Pillow."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from smoothswap_jax.faces.gif_reading import gif_pictures
from smoothswap_jax.faces.kinds import ANIMATION, PHOTO, PILLOW_FAULTS, kind_of
from smoothswap_jax.faces.photos import MAX_PIXELS, Photo, PhotoError, orientation_of, photo_from_pil
from smoothswap_jax.faces.video_frames import VideoError

_SHORTEST, _INSTEAD = 10, 100
"""Milliseconds: frames of so many and fewer are shown for a tenth of a second, by all browsers."""


class AnimationFacts(NamedTuple):
    """What a file tells of all its frames, which are not decoded for it."""

    form: str
    """In Pillow's words: GIF, WEBP, PNG or AVIF."""
    width: int
    height: int
    frames: int
    plays: int
    """How often it is shown; 0 is for ever."""
    lossless: bool
    profile: bool
    """Whether its colours have an ICC profile."""
    deep: bool
    """Whether it has more than 8 bits a channel, of which 8 are read."""


class AnimationFrame(NamedTuple):
    """A frame as it is shown: upright, in sRGB, with all that earlier ones left of it."""

    values: UInt8[np.ndarray, "h w 4"]
    """Red, green, blue and alpha; the colours under it are those of the file, in a GIF black."""
    milliseconds: Fraction
    """As the file has it, which may be 0."""


def is_animation(path: str) -> bool:
    """Whether it holds pictures in time: a GIF does, if only one."""
    kind = kind_of(path)
    if kind != PHOTO:
        return kind == ANIMATION
    with open(path, "rb") as file:
        return file.read(3) == b"GIF"


def animation_form(path: str) -> str:
    """The form that `animation_facts` tells, by the first bytes alone."""
    with open(path, "rb") as file:
        head = file.read(4)
    return {b"GIF8": "GIF", b"RIFF": "WEBP", b"\x89PNG": "PNG"}.get(head, "AVIF")


def animation_facts(path: str) -> AnimationFacts:
    """Raises VideoError if it is damaged, too large, or Pillow cannot read the format."""
    with _opened(path) as image:
        width, height = image.size
        if orientation_of(image) > 4:
            width, height = height, width
        frames, profile = _count(image) - _still(image), bool(image.info.get("icc_profile"))
        plays = int(image.info.get("loop", 1 if image.format == "GIF" else 0))
        if image.format == "GIF" and "loop" in image.info and plays:
            plays += 1  # it counts repetitions
        lossless = image.format in ("GIF", "PNG") or (image.format == "WEBP" and _webp_is_lossless(path))
        deep = _is_deep(str(image.format), path)
        return AnimationFacts(str(image.format), width, height, frames, plays, lossless, profile, deep)


def animation_times(path: str) -> list[Fraction]:
    """For how many seconds each of the frames that are whole is shown. Raises as `animation_facts` does, and for a file
    without a whole frame."""
    with _opened(path) as image:
        found = [_seconds_shown(milliseconds) for _, milliseconds in _decoded(image, path)]
    if not found:
        raise VideoError(f"{path}: found no whole picture in the animation; wanted a whole file")
    return found


def animated_frames(path: str) -> Iterator[tuple[Fraction, Fraction, Callable[[], Photo]]]:
    """For each frame the seconds from the first, those that it is shown, and a function that gives the photo as
    `load_photo` would.

    A frame that is damaged, and all after it, do not come. Raises as `animation_facts` does.
    """
    with _opened(path) as image:
        time = Fraction(0)
        for picture, milliseconds in _decoded(image, path):
            yield time, _seconds_shown(milliseconds), partial(_photo, picture, path)
            time += _seconds_shown(milliseconds)


def animation_values(path: str) -> Iterator[AnimationFrame]:
    """The frames with their alpha. A frame that is damaged, and all after it, do not come. Raises as `animation_facts`
    does."""
    with _opened(path) as image:
        for picture, milliseconds in _decoded(image, path):
            turned = picture if orientation_of(picture) == 1 else ImageOps.exif_transpose(picture)
            upright = turned.convert("RGBA")
            alpha = np.asarray(upright)[:, :, 3:]
            colours = upright.convert("RGB") if alpha.min() < 255 else picture
            yield AnimationFrame(np.concatenate([_photo(colours, path), alpha], axis=2), milliseconds)


def _seconds_shown(milliseconds: Fraction) -> Fraction:
    """For how long browsers show a frame."""
    return (milliseconds if milliseconds > _SHORTEST else Fraction(_INSTEAD)) / 1000


def _decoded(image: Image.Image, path: str) -> Iterator[tuple[Image.Image, Fraction]]:
    """Each frame that is whole, which holds until the next one comes, and its milliseconds."""
    if image.format == "GIF":
        yield from gif_pictures(Path(path).read_bytes(), image.size)
        return
    for number in range(_still(image), _count(image)):
        try:
            image.seek(number)
            image.load()
        except PILLOW_FAULTS:
            return
        yield image, Fraction(image.info.get("duration", 0) or 0).limit_denominator(1000)


def _still(image: Image.Image) -> int:
    """1 of a PNG whose first picture is no frame, but for viewers that show only one."""
    return int(getattr(image, "default_image", False))


def _count(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except PILLOW_FAULTS:  # a GIF that is cut off in the head of a frame, which counts, too
        return image.tell() + 2


def _webp_is_lossless(path: str) -> bool:
    """By the first frame, whose chunks come after a head of 16 bytes (RFC 9649, 2.7.1.2)."""
    with open(path, "rb") as file:
        data = file.read()
    at = data.find(b"ANMF")
    return data[at + 24 : at + 28] == b"VP8L"


def _is_deep(form: str, path: str) -> bool:
    """By the header of PNG, and AVIF's box av1C (AV1 Codec ISO Media File Format Binding, 2.3.3)."""
    if form not in ("PNG", "AVIF"):
        return False
    with open(path, "rb") as file:
        data = file.read(1 << 16)
    if form == "PNG":
        return data[24] == 16
    at = data.find(b"av1C")
    return at >= 0 and bool(data[at + 6 : at + 7] and data[at + 6] & 0x40)


def _photo(image: Image.Image, path: str) -> Photo:
    try:
        return photo_from_pil(image, path)
    except PhotoError as error:
        raise VideoError(str(error)) from error
    except PILLOW_FAULTS as error:
        raise VideoError(_unreadable(path, error)) from error


@contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    """Whatever goes wrong here and in the `with` block becomes a VideoError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is checked just below
            image = Image.open(path)
        with image:
            if image.width * image.height > MAX_PIXELS:
                raise VideoError(
                    f"{path}: found {image.width}x{image.height} pixels; wanted at most {MAX_PIXELS:,} in all"
                )
            yield image
    except VideoError:
        raise
    except PILLOW_FAULTS as error:
        raise VideoError(_unreadable(path, error)) from error


def _unreadable(path: str, error: BaseException) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return f"{path}: found an animation that cannot be read ({said}); wanted a whole one"

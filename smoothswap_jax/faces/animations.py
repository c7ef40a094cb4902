"""Frames of picture formats that move: GIF, WebP, PNG and AVIF, read with Pillow."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction

from PIL import Image

from smoothswap_jax.faces.kinds import PILLOW_FAULTS
from smoothswap_jax.faces.photos import MAX_PIXELS, Photo, PhotoError, photo_from_pil
from smoothswap_jax.faces.video_frames import VideoError


def animation_length(path: str) -> int:
    """The number of its frames. Raises VideoError if it is damaged, too large, or Pillow cannot read the format."""
    with _opened(path) as image:
        return _count(image, path)


def animated_frames(path: str) -> Iterator[tuple[Fraction, bool, Callable[[], Photo]]]:
    """For each frame the seconds from the first, False, and a function that gives the photo as `load_photo` would.

    A frame that is damaged, and all after it, do not come. Raises as `animation_length` does.
    """
    with _opened(path) as image:
        time = Fraction(0)
        for number in range(_count(image, path)):
            try:
                image.seek(number)
                image.load()
            except PILLOW_FAULTS:
                return
            yield time, False, lambda: _photo(image, path)
            time += Fraction(image.info.get("duration", 0) or 0).limit_denominator(1000) / 1000


def _count(image: Image.Image, path: str) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except PILLOW_FAULTS as error:
        raise VideoError(f"{path}: found a damaged animation ({error}); wanted a whole one") from error


def _photo(image: Image.Image, path: str) -> Photo:
    try:
        return photo_from_pil(image, path)
    except PhotoError as error:
        raise VideoError(str(error)) from error


@contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is checked just below
            image = Image.open(path)
    except (*PILLOW_FAULTS, Image.DecompressionBombError) as error:
        raise VideoError(f"{path}: found an animation that cannot be read ({error}); wanted a whole one") from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise VideoError(f"{path}: found {image.width}x{image.height} pixels; wanted at most {MAX_PIXELS:,} in all")
        yield image

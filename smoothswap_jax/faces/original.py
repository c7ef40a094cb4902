"""A photo as its file holds it, so that a swap can change the face and nothing else: colours, depth, alpha, metadata.

The networks see `Original.photo`, 8-bit sRGB. What they change is added to `Original.values`, the file's own.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image, ImageOps, JpegImagePlugin

from smoothswap_jax.faces.align import Patch
from smoothswap_jax.faces.colours import Space, own_change, plain, readable, to_srgb, writable
from smoothswap_jax.faces.metadata import Metadata, read_metadata
from smoothswap_jax.faces.packages import missing_package
from smoothswap_jax.faces.photos import (
    MAX_PIXELS,
    PathLike,
    Photo,
    opened,
    orientation_of,
    photo_from_pil,
    pixels_of,
)

Values = UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"]


@dataclass(frozen=True)
class Original:
    """A photo with everything that its file holds of it."""

    name: str
    photo: Photo
    """Upright 8-bit sRGB, on white where transparent: what `load_photo` gives."""
    values: Values
    """Upright, in the file's own colours and depth; alpha is the last channel."""
    space: Space
    alpha: bool
    metadata: Metadata
    form: str
    """The file's format, in Pillow's words."""
    coding: dict[str, Any] = field(default_factory=dict)
    """How to write this format as the file was written: JPEG's tables, or that WebP was lossless."""
    notes: tuple[str, ...] = ()
    """What of the file is not kept, in words."""


def read_original(path: PathLike, *, max_pixels: int = MAX_PIXELS) -> Original:
    """Reads a photo with all that its file holds. Raises as `load_photo` does, and ImportError where 16-bit
    colours need OpenCV, which is missing."""
    name = os.fspath(path)
    with opened(path, max_pixels) as (image, data):
        coding, notes = _coding(image, data), _frames_note(image)
        image.load()
        turn = orientation_of(image)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*unusable colour profile")  # it becomes a note
            photo = photo_from_pil(image, name)
        metadata, left_out = read_metadata(image, photo.shape[1::-1])
        space, doubts = _space(_colour_mode(image), image.info.get("icc_profile"))
        values = None if space is None else _values(image, data, turn, space)
        form = "JPEG" if image.format == "MPO" else str(image.format)
    space, values = space or Space("RGB", None), photo if values is None else values
    alpha = values.shape[2] > len(space.mode)
    return Original(name, photo, values, space, alpha, metadata, form, coding, (*notes, *left_out, *doubts))


def _colour_mode(image: Image.Image) -> str:
    """The mode of a file's colours, without alpha; palettes count as RGB."""
    if image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I"):
        return "L"
    return "CMYK" if image.mode == "CMYK" else "RGB"


def _values(image: Image.Image, data: bytes, turn: int, space: Space) -> Values | None:
    """The upright values of a decoded image; None if they are those of 8-bit sRGB."""
    if _deep_colour(image, data):
        return _deep_values(data, turn, space.mode)
    if turn != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.uint16)[:, :, None]
    alpha = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or image.has_transparency_data
    if space.mode == "RGB" and plain(space) and not alpha:
        return None
    wanted = space.mode + "A" * alpha
    values = pixels_of(image if image.mode == wanted else image.convert(wanted))
    return values.reshape(*values.shape[:2], -1)


def _deep_colour(image: Image.Image, data: bytes) -> bool:
    """Whether the file has more than 8 bits a channel, of which Pillow has read 8."""
    if image.mode.startswith("I"):
        return False
    if image.format == "PNG":
        return data[24] == 16  # IHDR's depth
    return image.format == "TIFF" and 16 in image.tag_v2.get(258, ())  # type: ignore[attr-defined]


def _deep_values(data: bytes, turn: int, mode: str) -> Values:
    try:
        import cv2
    except ImportError as error:
        raise missing_package("reading photos of 16 bits a channel", "cv2", "faces") from error
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(f"its 16-bit values cannot be decoded: {error.err}") from error
    if values is None or values.dtype != np.uint16:
        raise ValueError("its 16-bit values cannot be decoded")
    values = _turned(values if values.ndim == 3 else values[:, :, None], turn)
    order = [2, 1, 0] if mode == "RGB" else [0]
    return np.ascontiguousarray(values[:, :, order + [3] * (values.shape[2] == 4)])


def _turned(values: Values, turn: int) -> Values:
    """Upright values, for an EXIF orientation of 1 to 8."""
    if turn in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        values = values[::-1]
    return values[:, ::-1] if turn in (2, 3, 6, 7) else values


def _space(mode: str, profile: bytes | None) -> tuple[Space | None, list[str]]:
    """The space of a file's values, None where none leads back to it from sRGB; and what is wrong with the profile."""
    space = Space(mode, profile)
    if not readable(space):
        return Space(mode, None), ["its colour profile cannot be used and is left out; its colours are taken as sRGB"]
    if not writable(space):
        return None, ["nothing converts sRGB to its colour profile, so the photo becomes 8-bit sRGB"]
    return space, []


def _coding(image: Image.Image, data: bytes) -> dict[str, Any]:
    """Options with which Pillow writes the file's format as the file was written."""
    if image.format == "WEBP":
        return {"lossless": True, "exact": True, "quality": 100} if b"VP8L" in data[12:64] else {}
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return {}
    inks = image.info.get("adobe_transform") == 0
    if image.mode == "CMYK" and not inks:
        return {}  # Pillow would apply the tables of brightness and colour to inks
    if any(part[3] not in image.quantization for part in image.layer):
        return {}
    tables = [image.quantization[part[3]] for part in image.layer]
    if len(tables) == 3 and tables[1] == tables[2]:
        tables = tables[:2]
    sampling = JpegImagePlugin.get_sampling(image)
    coding: dict[str, Any] = {
        "qtables": tables[:1] if len(set(map(tuple, tables))) == 1 else tables,
        "subsampling": max(sampling, 0),  # what Pillow cannot write, as 4:1:1, becomes 4:4:4
        "progressive": bool(image.info.get("progressive")),
    }
    return {**coding, "keep_rgb": True} if inks and image.mode == "RGB" else coding


def _frames_note(image: Image.Image) -> list[str]:
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    return [f"it has {count} pictures; the first was taken"] if count > 1 else []


def with_changes(original: Original, patches: Sequence[Patch], *, colour: bool = False) -> Original:
    """The photo with changes of its sRGB colours made in the file's own values, one after the other.

    Where a change is 0, and where the photo is wholly transparent, the values stay as they are. `colour` gives colours
    to a file of grey values, which else takes only the change's brightness.
    """
    if colour and original.space.mode == "L":
        original = _coloured(original)
    values = original.values.copy()
    count = len(original.space.mode)
    unit = np.iinfo(values.dtype).max / 255
    for patch in patches:
        there = values[patch.rows, patch.columns]
        colours = there[:, :, :count]
        eight_bits = np.rint(colours / unit).astype(np.uint8) if unit > 1 else colours
        change = own_change(eight_bits, patch.change, original.space) * np.float32(unit)
        new = np.rint(np.clip(colours + change, 0, 255 * unit)).astype(values.dtype)
        there[:, :, :count] = np.where(there[:, :, count:] == 0, colours, new) if original.alpha else new
    return replace(original, values=values)


def _coloured(original: Original) -> Original:
    """A grey photo as one of colours, sRGB."""
    values = original.values
    top = np.iinfo(values.dtype).max
    levels = np.arange(256, dtype=np.uint8)[:, None, None]
    curve = to_srgb(levels, original.space)[:, 0, 0] * (top / 255)
    grey = np.rint(np.interp(values[:, :, 0], np.arange(256) * (top / 255), curve)).astype(values.dtype)
    colours = np.repeat(grey[:, :, None], 3, axis=2)
    if original.alpha:
        colours = np.concatenate([colours, values[:, :, 1:]], axis=2)
    return replace(original, values=colours, space=Space("RGB", None))

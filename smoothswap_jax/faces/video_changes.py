"""Changes of a photo put into the frame that it was made of, in the frame's own pixels.

A frame stays as it was decoded: luma and chroma, its depth, range and matrix, alpha. Only what the changes of its photo
(`video_frames.photo_of_frame`) are worth in these is added, so whatever no change touches keeps its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from smoothswap_jax.faces import hdr
from smoothswap_jax.faces.align import Patch
from smoothswap_jax.faces.photos import Photo
from smoothswap_jax.faces.video_frames import (
    Coding,
    Told,
    Turn,
    VideoError,
    coding_of,
    deep_rgb,
    reformatted,
    shown_width,
    turn_of,
    white_of,
)

_IN_PLANES = {
    # Formats whose pixels are packed -> the same numbers in planes.
    "nv12": "yuv420p", "nv21": "yuv420p", "nv16": "yuv422p", "nv24": "yuv444p", "nv42": "yuv444p",
    "yuyv422": "yuv422p", "uyvy422": "yuv422p", "yvyu422": "yuv422p",
    "p010le": "yuv420p10le", "p012le": "yuv420p12le", "p016le": "yuv420p16le", "p210le": "yuv422p10le",
    "p410le": "yuv444p10le", "y210le": "yuv422p10le", "v30xle": "yuv444p10le", "xv30le": "yuv444p10le",
    "rgb24": "gbrp", "bgr24": "gbrp", "0rgb": "gbrp", "rgb0": "gbrp", "0bgr": "gbrp", "bgr0": "gbrp",
    "rgba": "gbrap", "bgra": "gbrap", "argb": "gbrap", "abgr": "gbrap", "pal8": "gbrap",
    "rgb48le": "gbrp16le", "rgb48be": "gbrp16le", "bgr48le": "gbrp16le",
    "rgba64le": "gbrap16le", "rgba64be": "gbrap16le", "x2rgb10le": "gbrp10le", "x2bgr10le": "gbrp10le",
    "monob": "gray", "monow": "gray", "gray16be": "gray16le",
}  # fmt: skip
_LUMA = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
"""Weights of red and blue in luma (ITU-T H.273), by swscale's number of the matrix."""


def add_changes(frame: Any, photo: Photo, patches: Sequence[Patch], told: Told, name: str) -> Any:
    """Adds changes of its photo to a frame, and returns it: the same, whose pixels are changed, or, where its pixel
    format packs pixels, a new one with the same numbers in planes.

    Args:
      frame: PyAV's VideoFrame as it was decoded.
      photo: what `photo_of_frame` makes of it.
      patches: changes of the photo, in the order in which they are made, in grey levels of sRGB.
      told, name: as of `photo_of_frame`.

    Raises VideoError for a pixel format whose numbers cannot be taken apart.
    """
    coding = coding_of(frame, told, name)
    turn, width = turn_of(told.display), shown_width(frame.width, told.aspect)
    stored = [_stored(patch, photo.shape, frame.width, turn, width) for patch in _visible(photo, patches)]
    if not coding.is_plain:
        stored = [patch._replace(change=_own_change(frame, patch, coding)) for patch in stored]
    planar = _in_planes(frame, coding, name)
    for patch in stored:
        _add(planar, patch, coding)
    return planar


def _visible(photo: Photo, patches: Sequence[Patch]) -> list[Patch]:
    """The changes as far as pixels can follow them: none goes below black or above white."""
    now, found = photo.astype(np.float32), []
    for patch in patches:
        there = now[patch.rows, patch.columns]
        changed = np.clip(there + patch.change, 0, 255)
        found.append(patch._replace(change=changed - there))
        there[...] = changed
    return found


def _stored(patch: Patch, shape: tuple[int, ...], stored_width: int, turn: Turn, width: int) -> Patch:
    """A change of an upright photo as one of the stored picture, whose pixels may not be square.

    shape: of the photo. width: of the stored picture with square pixels.
    """
    rows, columns, change = patch
    if turn.mirror_y:
        rows, change = slice(shape[0] - rows.stop, shape[0] - rows.start), change[::-1]
    if turn.mirror_x:
        columns, change = slice(shape[1] - columns.stop, shape[1] - columns.start), change[:, ::-1]
    if turn.swap:
        rows, columns, change = columns, rows, np.swapaxes(change, 0, 1)
    if width == stored_width:
        return Patch(rows, columns, change)
    strip = np.zeros((change.shape[0], width, 3), np.float32)
    strip[:, columns] = change
    narrow = [
        Image.fromarray(np.ascontiguousarray(channel)).resize((stored_width, len(strip)), Image.Resampling.BILINEAR)
        for channel in np.moveaxis(strip, 2, 0)
    ]
    return Patch(rows, slice(0, stored_width), np.stack([np.asarray(channel) for channel in narrow], axis=2))


def _in_planes(frame: Any, coding: Coding, name: str) -> Any:
    """The frame with a plane for each component, ready to be written to."""
    form = planar_format(frame.format)
    if form is None:
        raise unfit_pixels(name, frame)
    if form == frame.format.name:
        frame.make_writable()  # the decoder may still need what it has
        return frame
    return reformatted(frame, form, coding, to_full=coding.full)


def unfit_pixels(name: str, frame: Any) -> VideoError:
    """What is raised for a pixel format whose numbers cannot be taken apart."""
    return VideoError(f"{name}: found the pixel format {frame.format.name}; wanted one of luma and chroma, RGB or grey")


def planar_format(found: Any) -> str | None:
    """The name of the format with the numbers of PyAV's VideoFormat in planes; None where there is none."""
    if found.name in _IN_PLANES:
        return _IN_PLANES[found.name]
    planes = {component.plane for component in found.components}
    whole = len(planes) == len(found.components) and all(8 <= component.bits <= 16 for component in found.components)
    return found.name if whole and not found.is_big_endian else None


def lines(plane: Any) -> np.ndarray:
    """The bytes of a plane's pixels, [h, bytes of a line], as they lie in memory."""
    raw = np.frombuffer(plane, np.uint8)
    return raw.reshape(-1, plane.line_size)[: plane.height]


def _add(planar: Any, patch: Patch, coding: Coding) -> None:
    """Adds a change of the frame's own red, green and blue to the planes."""
    change = np.asarray(patch.change, np.float64) / 255
    top = (1 << coding.bits) - 1
    if planar.format.is_rgb:
        for place, channel in enumerate((1, 2, 0)):  # planes are green, blue, red
            _add_to(planar, place, patch, change[:, :, channel] * top, coding.bits)
        return
    luma_scale, chroma_scale = (top, top) if coding.full else (219 << coding.bits - 8, 224 << coding.bits - 8)
    red, blue = _LUMA[coding.matrix]
    luma = change @ (red, 1 - red - blue, blue)
    _add_to(planar, 0, patch, luma * luma_scale, coding.bits)
    if len(planar.planes) >= 3:
        _add_to(planar, 1, patch, (change[:, :, 2] - luma) / (2 - 2 * blue) * chroma_scale, coding.bits)
        _add_to(planar, 2, patch, (change[:, :, 0] - luma) / (2 - 2 * red) * chroma_scale, coding.bits)


def _own_change(frame: Any, patch: Patch, coding: Coding) -> Float[np.ndarray, "h w 3"]:
    """A change of sRGB as one of the frame's own red, green and blue, 0 to 255: the difference of two looks back."""
    white = white_of(frame, coding)
    own = deep_rgb(frame, coding)[patch.rows, patch.columns]
    seen = hdr.to_srgb(own, white, coding.curve, coding.gamut)
    back = lambda picture: hdr.from_srgb(picture, 255, coding.curve, coding.gamut)
    return np.where(patch.change != 0, back(seen + patch.change) - back(seen), 0.0)


def _add_to(planar: Any, place: int, patch: Patch, change: np.ndarray, bits: int) -> None:
    """Adds a change to a plane, whose pixels may be those of several of the picture's: each takes their mean."""
    plane = planar.planes[place]
    across, down = -(-planar.width // plane.width), -(-planar.height // plane.height)
    first_row, first_column = patch.rows.start // down, patch.columns.start // across
    last_row, last_column = -(-patch.rows.stop // down), -(-patch.columns.stop // across)
    padded = np.zeros(((last_row - first_row) * down, (last_column - first_column) * across))
    top, left = patch.rows.start - first_row * down, patch.columns.start - first_column * across
    padded[top : top + change.shape[0], left : left + change.shape[1]] = change
    mean = padded.reshape(last_row - first_row, down, last_column - first_column, across).mean((1, 3))
    kind = np.dtype("<u2") if bits > 8 else np.dtype(np.uint8)
    values = lines(plane).view(kind)[first_row:last_row, first_column:last_column]
    values[...] = np.rint(np.clip(values + mean, 0, (1 << bits) - 1)).astype(kind)

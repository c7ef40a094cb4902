"""From a decoded frame of PyAV to a photo as a player shows it: upright, with square pixels, in sRGB."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt16
from PIL import Image

from smoothswap_jax.faces import hdr
from smoothswap_jax.faces.mastering import Mastering
from smoothswap_jax.faces.photos import MAX_PIXELS, Photo


class VideoError(ValueError):
    """A video could not be decoded; the text names the file, what was found and what is wanted."""


# The numbers are those of ITU-T H.273, which FFmpeg uses too.
_UNSPECIFIED = 2
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
"""Coefficients of luma and chroma -> swscale's number for them: BT.709, FCC, BT.601, SMPTE 240M, BT.2020."""
_BT709, _BT601 = 1, 5
_PRIMARIES = {9: hdr.BT2020, 11: hdr.P3, 12: hdr.P3}
"""The others are close to sRGB's, and players show them as such."""
_TRANSFERS = {16: hdr.PQ, 18: hdr.HLG}
_REFUSED = {8: "linear light", 9: "a logarithmic curve", 10: "a logarithmic curve", 17: "digital cinema (SMPTE 428)"}

# SWS_BICUBIC | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP | SWS_ACCURATE_RND: chroma at every pixel, rounded and not cut.
_SCALING = 0x4 | 0x2000 | 0x4000 | 0x40000
_ALWAYS_FULL = ("yuvj", "gray")
"""Grey is swscale's, which takes it for full whatever its tag."""
_LIMITED_RANGE, _FULL_RANGE = 1, 2


@dataclass(frozen=True)
class Coding:
    """How a frame codes its colours."""

    full: bool
    """Whether numbers have the full range."""
    bits: int
    curve: str
    """PQ or HLG; '' for sRGB's and what is taken for it."""
    gamut: str
    """BT.2020 or P3; '' for sRGB's and what is taken for it."""
    matrix: int
    """Of luma and chroma, in swscale's numbers; of RGB it means nothing."""

    @property
    def is_plain(self) -> bool:
        """Whether its red, green and blue are sRGB's."""
        return not self.curve and not self.gamut


class Turn(NamedTuple):
    """How a stored picture is turned to be upright: its axes are swapped, then it is mirrored."""

    swap: bool
    mirror_x: bool
    mirror_y: bool


class Told(NamedTuple):
    """What a file tells of all frames of a stream, kept apart from PyAV's stream, which may not be touched when its
    container is closed."""

    codec: str
    rate: Fraction
    """Frames a second, where nothing says more than the header."""
    tick: Fraction
    """Seconds in which time is counted."""
    aspect: Fraction | None
    """Width over height of a pixel."""
    transfer: int
    primaries: int
    matrix: int
    start: Fraction | None
    """When the first of all streams begins, in seconds."""
    display: tuple[int, ...] | None
    """The display matrix, by which pictures are turned to be upright; nine numbers, as FFmpeg keeps them."""
    mastering: Mastering


def photo_of_frame(frame: Any, told: Told, name: str) -> Photo:
    """Converts a frame to `uint8 [h, w, 3]` sRGB.

    Matrix and range are those of the frame's tags; untagged, they are BT.601 up to 1279x576 pixels, else BT.709, of
    limited range. More than 8 bits are rounded. HDR (PQ, HLG) and wide gamuts are mapped by `hdr`; other curves are
    taken for sRGB's, as browsers do. The rotation and mirroring of the container are applied, and so is the shape of
    the pixels.

    Args:
      frame: PyAV's VideoFrame.
      told: of its stream.
      name: of the file, for errors.

    Raises VideoError for a frame larger than `MAX_PIXELS`, and for colours that have no defined conversion.
    """
    if frame.width * frame.height > MAX_PIXELS:
        raise VideoError(f"{name}: found {frame.width}x{frame.height} pixels; wanted at most {MAX_PIXELS:,} in all")
    picture = _in_srgb(frame, coding_of(frame, told, name))
    width = shown_width(frame.width, told.aspect)
    if width != frame.width:  # pixels that are not square, as those of DVDs and DV cameras
        picture = np.asarray(Image.fromarray(picture).resize((width, frame.height), Image.Resampling.LANCZOS))
    return _upright(picture, turn_of(told.display))


def coding_of(frame: Any, told: Told, name: str) -> Coding:
    """How a frame codes its colours; raises VideoError for what has no defined conversion."""
    if told.transfer in _REFUSED:
        raise VideoError(f"{name}: found colours coded by {_REFUSED[told.transfer]}; wanted BT.709, sRGB, PQ or HLG")
    curve, gamut = _TRANSFERS.get(told.transfer, ""), _PRIMARIES.get(told.primaries, "")
    if curve and told.primaries == _UNSPECIFIED:
        gamut = hdr.BT2020
    full = frame.format.name.startswith(_ALWAYS_FULL) or frame.format.is_rgb or int(frame.color_range) == _FULL_RANGE
    bits = max(component.bits for component in frame.format.components)
    return Coding(full, bits, curve, gamut, _matrix(frame, name))


def _in_srgb(frame: Any, coding: Coding) -> Photo:
    if coding.bits <= 8 and coding.is_plain:
        return _rgb(frame, "rgb24", coding)
    rgb, white = deep_rgb(frame, coding), np.float32(white_of(frame, coding))
    if coding.is_plain:
        return np.rint(np.minimum(rgb / white, 1) * 255).astype(np.uint8)
    return np.rint(hdr.to_srgb(rgb, int(white), coding.curve, coding.gamut)).astype(np.uint8)


def deep_rgb(frame: Any, coding: Coding) -> UInt16[np.ndarray, "h w 3"]:
    """The frame's own RGB, without change of curve and primaries, from 0 to `white_of`."""
    return _rgb(frame, "rgb48le", coding)


def white_of(frame: Any, coding: Coding) -> int:
    """White of `deep_rgb`. Of luma and chroma swscale moves the bits up and leaves zeros below."""
    if frame.format.is_rgb:
        return 65535
    return ((1 << coding.bits) - 1) << max(16 - coding.bits, 0) if coding.full else 255 << 8


def _rgb(frame: Any, form: str, coding: Coding) -> np.ndarray:
    """The frame's own RGB, without change of curve and primaries, full range: `rgb24` or `rgb48le`."""
    return reformatted(frame, form, coding, to_full=True).to_ndarray()


def reformatted(frame: Any, form: str, coding: Coding, to_full: bool) -> Any:
    """A frame in another pixel format, of the same matrix."""
    source_range = _FULL_RANGE if coding.full else _LIMITED_RANGE
    if not frame.format.is_rgb:  # newer versions of PyAV take them from the frame, older ones from the call
        frame.colorspace, frame.color_range = coding.matrix, source_range
    return frame.reformat(
        format=form,
        src_colorspace=coding.matrix,
        dst_colorspace=coding.matrix,
        src_color_range=source_range,
        dst_color_range=_FULL_RANGE if to_full else _LIMITED_RANGE,
        interpolation=_SCALING,
    )


def _matrix(frame: Any, name: str) -> int:
    tag = int(frame.colorspace)
    if frame.format.is_rgb:
        return _BT709  # not used
    if tag == _UNSPECIFIED:
        return _BT709 if frame.width >= 1280 or frame.height > 576 else _BT601  # as mpv does
    if tag not in _MATRICES:
        raise VideoError(f"{name}: found colours of matrix {tag} (ITU-T H.273); wanted BT.601, BT.709 or BT.2020")
    return _MATRICES[tag]


def display_matrix(frame: Any) -> tuple[int, ...] | None:
    """The nine numbers by which a container turns its pictures, as FFmpeg keeps them; None where it does not."""
    data = frame.side_data.get("DISPLAYMATRIX")
    return None if data is None else tuple(np.frombuffer(bytes(data), np.int32).tolist())


def turn_of(found: tuple[int, ...] | None) -> Turn:
    """A display matrix, taken to the nearest multiple of 90 degrees."""
    if found is None:
        return Turn(False, False, False)
    a, b, _, c, d, *_ = found
    # A pixel at (x, y) is shown at (a x + c y, b x + d y).
    swap = abs(a) + abs(d) < abs(b) + abs(c)
    along_x, along_y = (c, b) if swap else (a, d)
    return Turn(swap, along_x < 0, along_y < 0)


def _upright(picture: np.ndarray, turn: Turn) -> np.ndarray:
    picture = np.swapaxes(picture, 0, 1) if turn.swap else picture
    return np.ascontiguousarray(picture[:: -1 if turn.mirror_y else 1, :: -1 if turn.mirror_x else 1])


def shown_width(width: int, aspect: Fraction | None) -> int:
    """Of a stored picture of `width`, before it is turned, with square pixels."""
    ratio = float(aspect or 1)
    return round(width * ratio) if 0.25 <= ratio <= 4 else width

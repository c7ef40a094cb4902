"""From a decoded frame of PyAV to a photo as a player shows it: upright, with square pixels, in sRGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from smoothswap_jax.faces import hdr
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
_FULL_RANGE = 2


def photo_of_frame(frame: Any, stream: Any, name: str) -> Photo:
    """Converts a frame to `uint8 [h, w, 3]` sRGB.

    Matrix and range are those of the frame's tags; untagged, they are BT.601 up to 1279x576 pixels, else BT.709, of
    limited range. More than 8 bits are rounded. HDR (PQ, HLG) and wide gamuts are mapped by `hdr`; other curves are
    taken for sRGB's, as browsers do. The rotation and mirroring of the container are applied, and so is the shape of
    the pixels.

    Args:
      frame: PyAV's VideoFrame.
      stream: the stream that it comes from.
      name: of the file, for errors.

    Raises VideoError for a frame larger than `MAX_PIXELS`, and for colours that have no defined conversion.
    """
    if frame.width * frame.height > MAX_PIXELS:
        raise VideoError(f"{name}: found {frame.width}x{frame.height} pixels; wanted at most {MAX_PIXELS:,} in all")
    picture = _with_square_pixels(_in_srgb(frame, stream.codec_context, name), stream)
    return _upright(picture, frame)


def _in_srgb(frame: Any, context: Any, name: str) -> Photo:
    transfer, primaries = int(context.color_trc), int(context.color_primaries)
    if transfer in _REFUSED:
        raise VideoError(f"{name}: found colours coded by {_REFUSED[transfer]}; wanted BT.709, sRGB, PQ or HLG")
    curve, gamut = _TRANSFERS.get(transfer), _PRIMARIES.get(primaries, "")
    full = frame.format.is_rgb or frame.format.name.startswith("yuvj") or int(frame.color_range) == _FULL_RANGE
    bits = max(component.bits for component in frame.format.components)
    if bits <= 8 and not curve and not gamut:
        return _rgb(frame, "rgb24", full, name)
    rgb = _rgb(frame, "rgb48le", full, name)
    # Of luma and chroma swscale moves the bits up and leaves zeros below.
    white = ((1 << bits) - 1) << max(16 - bits, 0) if full else 255 << 8
    white = 65535 if frame.format.is_rgb else white
    if curve:
        return hdr.hdr_to_srgb(rgb, white, curve, hdr.BT2020 if primaries == _UNSPECIFIED else gamut)
    if gamut:
        return hdr.wide_to_srgb(rgb, white, gamut)
    return np.rint(np.minimum(rgb / np.float32(white), 1) * 255).astype(np.uint8)


def _rgb(frame: Any, form: str, full: bool, name: str) -> np.ndarray:
    """The frame's own RGB, without change of curve and primaries, full range: `rgb24` or `rgb48le`.

    full: whether the frame has the full range.
    """
    matrix = _matrix(frame, name)
    source_range = _FULL_RANGE if full else 1
    if not frame.format.is_rgb:  # newer versions of PyAV take them from the frame, older ones from the call
        frame.colorspace, frame.color_range = matrix, source_range
    converted = frame.reformat(
        format=form,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=source_range,
        dst_color_range=_FULL_RANGE,
        interpolation=_SCALING,
    )
    return converted.to_ndarray()


def _matrix(frame: Any, name: str) -> int:
    tag = int(frame.colorspace)
    if frame.format.is_rgb:
        return _BT709  # not used
    if tag == _UNSPECIFIED:
        return _BT709 if frame.width >= 1280 or frame.height > 576 else _BT601  # as mpv does
    if tag not in _MATRICES:
        raise VideoError(f"{name}: found colours of matrix {tag} (ITU-T H.273); wanted BT.601, BT.709 or BT.2020")
    return _MATRICES[tag]


def _upright(picture: Photo, frame: Any) -> Photo:
    """The picture turned and mirrored as the display matrix says, by the nearest multiple of 90 degrees."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return picture
    (a, b, _), (c, d, _), _ = np.frombuffer(bytes(data), np.int32).reshape(3, 3).astype(float)
    # A pixel at (x, y) is shown at (a x + c y, b x + d y).
    if abs(a) + abs(d) < abs(b) + abs(c):
        picture, a, d = np.swapaxes(picture, 0, 1), c, b
    picture = picture[:, ::-1] if a < 0 else picture
    picture = picture[::-1] if d < 0 else picture
    return np.ascontiguousarray(picture)


def _with_square_pixels(picture: Photo, stream: Any) -> Photo:
    """Widens or narrows a picture whose pixels are not square, as those of DVDs and DV cameras."""
    ratio = float(stream.sample_aspect_ratio or 1)
    if ratio == 1 or not 0.25 <= ratio <= 4:
        return picture
    height, width = picture.shape[:2]
    return np.asarray(Image.fromarray(picture).resize((round(width * ratio), height), Image.Resampling.LANCZOS))

"""Videos from photos: H.264 in MP4, as browsers and players take it, written with PyAV (FFmpeg)."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from smoothswap_jax.faces.photos import Photo
from smoothswap_jax.faces.video_container import pyav

QUALITY = "16"
"""x264's constant rate factor: no difference is seen."""
_TICKS = 1000
"""Of a second."""
_BT709 = 1
"""Of primaries, transfer and matrix, in FFmpeg's numbers."""


def mp4_bytes(photos: Iterable[Photo], seconds: float, comment: str = "", quality: str = QUALITY) -> bytes:
    """An MP4 of sRGB photos of one size, each shown for so many `seconds`, with BT.709 colours. comment: about it.
    quality: x264's constant rate factor.

    H.264 wants sides of an even number of pixels: odd ones repeat their last line. Raises ValueError for photos of
    different sizes and for none, and ImportError where PyAV is missing.
    """
    av = pyav("writing videos")
    from av.video.reformatter import ColorRange, Colorspace

    photos = iter(photos)
    first = next(photos, None)
    if first is None:
        raise ValueError("a video wants at least one photo, found none")
    height, width = (side + side % 2 for side in first.shape[:2])
    margins = (0, height - first.shape[0]), (0, width - first.shape[1]), (0, 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")  # FFmpeg opens it again, to move its index to the front
        with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
            if comment:
                container.metadata["comment"] = comment
            stream = container.add_stream("libx264", rate=Fraction(1 / seconds).limit_denominator(_TICKS))
            stream.width, stream.height, stream.pix_fmt, stream.options = width, height, "yuv420p", {"crf": quality}
            context = stream.codec_context
            context.time_base = Fraction(1, _TICKS)
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = ColorRange.MPEG
            for number, photo in enumerate(itertools.chain([first], photos)):
                if photo.shape != first.shape:
                    raise ValueError(
                        f"photo {number}: found the shape {photo.shape}; wanted {first.shape}, as the first"
                    )
                frame = av.VideoFrame.from_ndarray(np.pad(photo, margins, mode="edge"), format="rgb24").reformat(
                    format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
                )
                frame.pts, frame.time_base = round(number * seconds * _TICKS), Fraction(1, _TICKS)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path.read_bytes()

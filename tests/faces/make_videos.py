"""Videos of every kind that users have, made with PyAV's own encoders; as a script, into a folder:

python -m tests.faces.make_videos DIR
"""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces.video_encoding import start

RATE = 25
LENGTH = 40
"""Frames."""

# container, codec, pixel format: what phones, cameras, browsers, recorders and old collections write
CONTAINERS = {
    "clip.mp4": ("mp4", "libx264", "yuv420p"),
    "clip.m4v": ("mp4", "mpeg4", "yuv420p"),
    "clip.mov": ("mov", "libx264", "yuv420p"),
    "clip.3gp": ("3gp", "mpeg4", "yuv420p"),
    "clip.mkv": ("matroska", "libx264", "yuv420p"),
    "clip.webm": ("webm", "libvpx", "yuv420p"),
    "clip9.webm": ("webm", "libvpx-vp9", "yuv420p"),
    "clip.avi": ("avi", "mpeg4", "yuv420p"),
    "clip.flv": ("flv", "flv", "yuv420p"),
    "clip.wmv": ("asf", "wmv2", "yuv420p"),
    "clip.ts": ("mpegts", "mpeg2video", "yuv420p"),
    "clip.mpg": ("mpeg", "mpeg1video", "yuv420p"),
    "hevc.mp4": ("mp4", "libx265", "yuv420p"),
    "av1.webm": ("webm", "libsvtav1", "yuv420p"),
    "lossless.mkv": ("matroska", "ffv1", "yuv444p"),
    "ten bits.mkv": ("matroska", "ffv1", "yuv444p10le"),
}

_QUIET = {"libx265": {"x265-params": "log-level=none"}, "libsvtav1": {"crf": "20", "preset": "10"}}


def frames_of(count: int = LENGTH, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Frames that tell their number and corners: the red of frame k is 6 k, blue grows to the right, green down."""
    y, x = np.mgrid[:height, :width]
    blue, green = 60 + 120 * x / (width - 1), 60 + 120 * y / (height - 1)
    return [np.stack([np.full((height, width), 6 * k), green, blue], -1).astype(np.uint8) for k in range(count)]


def write_video(
    place: str | Path | io.RawIOBase,
    frames: Sequence[np.ndarray],
    rate: int = RATE,
    container: str | None = None,
    codec: str = "mpeg4",
    pixels: str = "yuv420p",
    times: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    tags: tuple[int, int, int, int] | None = None,
    codec_options: dict[str, str] | None = None,
    bits: int = 4_000_000,
    matrix: int | None = None,
    aspect: tuple[int, int] | None = None,
) -> None:
    """Writes frames `uint8` or `uint16 [h, w, 3]` RGB.

    Args:
      times: of the frames in milliseconds, for a variable rate.
      options: of the container, such as movflags.
      tags: matrix, range, transfer, primaries (ITU-T H.273; range 1 limited, 2 full). The frames are coded by this
        matrix; BT.601 and no tags by default.
      matrix: by which the frames are coded, if the tags are to say something else.
      aspect: width and height of a pixel.
    """
    av = pytest.importorskip("av")
    place = str(place) if isinstance(place, Path) else place
    with av.open(place, "w", format=container, options=options or {}) as out:
        stream = out.add_stream(codec, rate=rate, options=_QUIET.get(codec, {}) | (codec_options or {}))
        context = stream.codec_context
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        context.bit_rate = 0 if codec == "libsvtav1" else bits
        if aspect:
            context.sample_aspect_ratio = Fraction(*aspect)
        if times is not None:
            context.time_base = Fraction(1, 1000)
        if tags:
            context.colorspace, context.color_range, context.color_trc, context.color_primaries = tags
        if codec == "libsvtav1":
            start(out)
        for number, picture in enumerate(frames):
            form = "rgb48le" if picture.dtype == np.uint16 else "rgb24"
            if form == "rgb48le":  # swscale takes 255 * 256 for white
                picture = np.rint(picture * (65280 / 65535)).astype(np.uint16)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=form)
            coded, full = matrix or (tags[0] if tags else 5), tags[1] if tags else 1
            frame.color_range = 2
            frame.colorspace = 0
            frame = frame.reformat(
                format=pixels,
                src_colorspace=coded,
                dst_colorspace=coded,
                src_color_range=2,
                dst_color_range=full,
                interpolation=0x4 | 0x2000 | 0x4000 | 0x40000,
            )
            frame.colorspace, frame.color_range = (tags[0], tags[1]) if tags else (2, 0)
            frame.pts = number if times is None else times[number]
            frame.time_base = Fraction(1, rate) if times is None else Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


class Unseekable(io.RawIOBase):
    """A pipe, as a browser's recorder writes to: what was written stays as it is, so headers learn no length."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def write(self, data) -> int:
        return self.file.write(data)

    def close(self) -> None:
        self.file.close()
        super().close()


def write_live(path: Path, frames: Sequence[np.ndarray], codec: str = "libvpx") -> None:
    """A WebM or Matroska file as a browser records it: without a length, a duration or an index."""
    with Unseekable(path) as pipe:
        write_video(
            pipe, frames, container="matroska" if path.suffix == ".mkv" else "webm", codec=codec, options={"live": "1"}
        )


def cut(source: Path, target: Path, share: float = 0.8) -> Path:
    """The first part of a file."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def turned(source: Path, target: Path, matrix: tuple[int, int, int, int]) -> Path:
    """An MP4 or MOV whose header says how to turn its picture: (a, b, c, d), (0, 1, -1, 0) for 90 degrees clockwise."""
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = matrix
    struct.pack_into(">9i", data, at, a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    target.write_bytes(data)
    return target


def write_animation(path: Path, frames: Sequence[np.ndarray], milliseconds: int = 100) -> None:
    """GIF, WebP, PNG or AVIF, by the suffix."""
    first, *rest = [Image.fromarray(frame) for frame in frames]
    options = {"quality": 95} if path.suffix in (".webp", ".avif") else {}
    first.save(path, save_all=True, append_images=rest, duration=milliseconds, loop=0, **options)


def make_all(folder: Path) -> None:
    """One of each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = frames_of()
    for name, (container, codec, pixels) in CONTAINERS.items():
        write_video(folder / name, frames, container=container, codec=codec, pixels=pixels)
    write_live(folder / "live.webm", frames)
    write_live(folder / "live.mkv", frames, codec="libx264")
    fragments = {"movflags": "frag_keyframe+empty_moov"}
    write_video(folder / "fragments.mp4", frames, codec="libx264", options=fragments, codec_options={"g": "8"})
    write_video(folder / "faststart.mp4", frames, codec="libx264", options={"movflags": "faststart"})
    for name in ("fragments.mp4", "faststart.mp4", "clip.mp4", "clip.mkv", "clip.avi", "clip.ts"):
        cut(folder / name, folder / f"cut {name}")
    for degrees, matrix in {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}.items():
        turned(folder / "clip.mp4", folder / f"turned {degrees}.mp4", matrix)
    for suffix in ("gif", "webp", "png", "avif"):
        write_animation(folder / f"moving.{suffix}", frames[:8])


if __name__ == "__main__":
    make_all(Path(sys.argv[1]))

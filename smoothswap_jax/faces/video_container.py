"""Opening videos with PyAV (FFmpeg) and reading their packets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from smoothswap_jax.faces.kinds import VIDEO, kind_of
from smoothswap_jax.faces.packages import missing_package
from smoothswap_jax.faces.photos import MAX_PIXELS
from smoothswap_jax.faces.video_frames import VideoError

MAX_FRAMES = 1_000_000
"""A longer video is refused: it would take days."""

_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,asf,asf_o,mpegts,mpeg,mpegvideo,ogg,mxf,ivf,"
    "yuv4mpegpipe,rm,h264,hevc,dv,nut"
)
"""Containers that are opened. Playlists and lists of files are not among them: they would make FFmpeg open others."""
_TRIES = 8
"""After so many errors in a row, without a packet in between, the rest of a file is given up."""


@contextmanager
def opened(path: str) -> Iterator[tuple[Any, Any]]:
    """The open container and its first video stream that is no cover picture."""
    av = pyav()
    if not Path(path).is_file():
        raise VideoError(f"{path}: found no such file; wanted a video")
    # FFmpeg gets a file without a name: it would see protocols and numbered series of pictures in some.
    with open(path, "rb") as file:
        options = {"format_whitelist": _FORMATS, "protocol_whitelist": "fd", "fd": str(file.fileno())}
        try:
            container = av.open("fd:", container_options=options, metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(f"{path}: {_no_video(path, error)}") from error
        try:
            with container:
                yield container, _video_stream(container, path)
        except av.FFmpegError as error:
            raise VideoError(f"{path}: found a video that FFmpeg cannot convert ({error}); wanted another") from error


def words_of(path: str) -> dict[str, str]:
    """What the container of a video says of it. Raises VideoError for what is none."""
    with opened(path) as (container, _):
        return {str(key): str(value) for key, value in container.metadata.items()}


def _no_video(path: str, error: Exception) -> str:
    size = Path(path).stat().st_size
    if not size:
        return "found an empty file (0 bytes); wanted a video"
    reason = getattr(error, "strerror", None) or str(error)
    if kind_of(path) != VIDEO:
        return f"found no video ({reason}); wanted one that FFmpeg decodes"
    return (
        f"found no video that can be opened ({reason}); wanted a whole one: an MP4 or MOV whose end is cut off has "
        "mostly lost its index, without which nothing in it can be found"
    )


def _video_stream(container: Any, path: str) -> Any:
    """The first that is no cover picture."""
    streams = [one for one in container.streams.video if not is_cover(one)]
    if not streams:
        found = "only sound" if container.streams.audio else "no video in the container"
        raise VideoError(f"{path}: found {found}; wanted a video")
    if streams[0].codec_context is None:
        raise VideoError(f"{path}: found a video of a codec that this FFmpeg lacks; wanted another codec")
    context = streams[0].codec_context
    if context.width * context.height > MAX_PIXELS:
        raise VideoError(f"{path}: found {context.width}x{context.height} pixels; wanted at most {MAX_PIXELS:,} in all")
    context.options = {"max_pixels": str(MAX_PIXELS)}  # a stream may grow later
    return streams[0]


def is_cover(stream: Any) -> bool:
    """Whether it is a picture that goes with a song or film."""
    disposition = stream.disposition
    return bool(disposition & type(disposition).attached_pic)


def pyav(user: str = "reading videos") -> Any:
    """PyAV, or ImportError that says who needs it and what to install."""
    try:
        import av
    except ImportError as error:
        raise missing_package(user, "av", "faces") from error
    return av


def frame_rate(stream: Any) -> Fraction:
    """Frames a second, where nothing says more than the header."""
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def check_length(path: str, frames: int) -> None:
    """Raises VideoError for more than `MAX_FRAMES`."""
    if frames > MAX_FRAMES:
        raise VideoError(f"{path}: found more than {MAX_FRAMES:,} frames; wanted a shorter video")


def packets(container: Any, stream: Any = None, flush: bool = False) -> Iterator[Any]:
    """All packets, of one stream if it is given. After an error the container is read on where it stands."""
    import av

    errors = unknown = 0
    while errors < _TRIES and unknown < MAX_FRAMES:
        try:
            for packet in container.demux(stream) if stream else container.demux():
                if packet.size or packet.pts is not None:  # the others say that a stream ends
                    errors = 0
                    yield packet
            break
        except IndexError:  # PyAV's, at a packet of a stream that begins in the middle of a recording
            unknown += 1
        except av.FFmpegError:
            errors += 1
    if flush:
        yield None

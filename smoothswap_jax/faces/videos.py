"""Frames of videos: evenly spaced ones, those with given numbers, or all.

Frames are numbered from 0 in the order in which they are shown. Everything is read with PyAV (FFmpeg), and pictures
that move (GIF, WebP, PNG, AVIF) with Pillow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from smoothswap_jax.faces.animations import (
    animated_frames,
    animation_facts,
    animation_times,
    is_animation,
)
from smoothswap_jax.faces.kinds import VIDEO, kind_of
from smoothswap_jax.faces.mastering import Mastering, mastering_of
from smoothswap_jax.faces.packages import missing_package
from smoothswap_jax.faces.photos import MAX_PIXELS, Photo
from smoothswap_jax.faces.video_frames import Told, VideoError, display_matrix, photo_of_frame

__all__ = ["Fault", "Frame", "Survey", "VideoError", "frame_numbers", "frames_at", "read_frames", "sampled_frames"]

MAX_FRAMES = 1_000_000
"""A longer video is refused: it would take days."""

_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,asf,asf_o,mpegts,mpeg,mpegvideo,ogg,mxf,ivf,"
    "yuv4mpegpipe,rm,h264,hevc,dv,nut"
)
"""Containers that are opened. Playlists and lists of files are not among them: they would make FFmpeg open others."""
_BY_CLOCK = ("matroska,webm", "flv")
"""Containers whose header says how long they take, and not how many frames they have. MPEG's streams say neither, and
of a WMV that is cut FFmpeg does not believe the header."""
_CODECS = {"GIF": "gif", "WEBP": "webp", "PNG": "apng", "AVIF": "avif"}
"""What `Told` has of pictures that move."""
_TICK = Fraction(1, 1000)
"""Seconds in which times of pictures that move are counted."""
_RGB, _BT709, _SRGB = 0, 1, 13
"""How their colours are coded: matrix, primaries and transfer (ITU-T H.273)."""
_TRIES = 8
"""After so many errors in a row, without a packet in between, the rest of a file is given up."""


@dataclass(frozen=True)
class Frame:
    """A frame of a video."""

    number: int
    time: Fraction
    """Seconds from the first frame to when it is shown."""
    picture: Photo


@dataclass(frozen=True)
class Fault:
    """What is wrong with a video whose other frames can be used: for the user, and the frame (None: the whole file)."""

    number: int | None
    reason: str


@dataclass(frozen=True)
class Survey:
    """What a video holds, found by reading it to its end."""

    frames: int
    announced: int
    """What its header promises; equal to `frames` in a whole file, and where the header promises nothing."""
    more: bool
    """Whether it may have promised more: of a file in fragments each has a header of its own."""
    damaged: int
    """Packets that are known to be damaged, besides one that is cut at the end."""
    seconds: float
    """From the first thing in it to the end of the last."""
    end: Fraction
    """Until when the last frame is shown, in seconds on the container's clock, if the header says so; else 0."""

    @property
    def faults(self) -> list[str]:
        length = f"{self.announced} or more" if self.more else str(self.announced)
        found = [f"ended at frame {self.frames} of {length}"] if self.announced > self.frames else []
        return found + ([f"{self.damaged} of {self.frames} frames are damaged"] if self.damaged else [])


def survey(path: str) -> Survey:
    """Counts the frames of a video, whatever its header says. Raises as `read_frames` does.

    Pictures that move are decoded for it.
    """
    if is_animation(path):
        times = animation_times(path)
        return Survey(len(times), animation_facts(path).frames, False, 0, float(sum(times)), Fraction(0))
    with opened(path) as (container, stream):
        return _survey(container, stream, path)


def video_length(path: str) -> int:
    """The number of frames that are in the file. Raises as `read_frames` does."""
    return survey(path).frames


def frame_numbers(path: str, count: int) -> list[int]:
    """The numbers of up to `count` evenly spaced frames, k * length // count. Raises as `read_frames` does."""
    return _evenly(video_length(path), count)


def sampled_frames(path: str, count: int) -> Iterator[Frame | Fault]:
    """Yields up to `count` evenly spaced frames of what can be decoded, starting with the first; and what is wrong with
    the file, where something is.

    Raises as `read_frames` does.
    """
    found = survey(path)
    numbers = _evenly(found.frames, count)
    yield from (Fault(None, reason) for reason in found.faults)
    seen: set[int | None] = set()
    taken = 0
    for one in _frames_and_end(path, numbers, instead=True):
        if isinstance(one, int):
            break
        seen.add(one.number)
        taken += isinstance(one, Frame)
        yield one
    else:
        return
    if taken == len(numbers):
        return
    # Frames that the container counts and the decoder does not give: others are taken for them.
    if one < found.frames:
        yield Fault(None, f"only {one} of {found.frames} frames can be decoded")
    others = [number for number in range(one) if number not in seen]
    chosen = [others[place] for place in _evenly(len(others), len(numbers) - taken)]
    if chosen:
        yield from (one for one in _frames_and_end(path, chosen) if not isinstance(one, int))


def frames_at(path: str, numbers: Sequence[int]) -> Iterator[tuple[int, Photo]]:
    """Yields (number, frame `uint8 [h, w, 3]` sRGB) of the frames with these numbers, in order.

    Frames after the end and those that are damaged do not come. Raises as `read_frames` does.
    """
    for frame in read_frames(path, numbers):
        yield frame.number, frame.picture


def read_frames(path: str, numbers: Collection[int] | None = None, threads: int = 1) -> Iterator[Frame]:
    """Yields the undamaged frames with these numbers (None: all), in order.

    All frames are decoded up to the last one wanted: where a seek lands depends on the decoder. See `photo_of_frame`
    for what becomes of colours, rotation and shape. Damaged packets are passed over, and decoding goes on.

    Args:
      threads: of the decoder; its frames do not depend on it.

    Raises VideoError if the file is not a video, has none of the frames, is longer than `MAX_FRAMES`, or has colours or
    a size that cannot be converted; ImportError without PyAV.
    """
    return (one for one in _frames_and_end(path, numbers, threads) if isinstance(one, Frame))


def _frames_and_end(
    path: str, numbers: Collection[int] | None, threads: int = 1, instead: bool = False
) -> Iterator[Frame | Fault | int]:
    """The frames; a Fault for each damaged one; and, if the end was reached, the number of frames.

    instead: the next frame that is whole stands in for one that is damaged.
    """
    wanted = None if numbers is None else set(numbers)
    last = max(wanted, default=-1) if wanted is not None else None
    found = count = owed = 0
    frames = _animated(path) if is_animation(path) else _decoded(path, threads)
    for number, (time, damaged, photo) in enumerate(frames):
        count = number + 1
        due = wanted is None or number in wanted
        if due and damaged:
            owed += instead
            yield Fault(number, "the frame is damaged")
        elif not damaged and (due or owed):
            owed -= not due
            found += 1
            yield Frame(number, time, photo())
        if count > MAX_FRAMES:
            raise VideoError(f"{path}: found more than {MAX_FRAMES:,} frames; wanted a shorter video")
        if last is not None and number >= last and not owed:
            return
    if not found:
        raise VideoError(f"{path}: found no frame that can be decoded; wanted a whole video")
    yield count


def _evenly(length: int, count: int) -> list[int]:
    return [k * length // count for k in range(count)] if length > count else list(range(length))


# --- packets --------------------------------------------------------------------------------------------------------


def _survey(container: Any, stream: Any, path: str) -> Survey:
    frames = read = damaged = 0
    cut, step = False, 1 / _rate(stream)
    ends = {True: Fraction(0), False: Fraction(0)}  # of the frames, and of all else
    for packet in _packets(container):
        if packet.pts is not None and packet.time_base:
            own = stream.index == packet.stream_index
            length = packet.duration * packet.time_base if packet.duration else step if own else 0
            ends[own] = max(ends[own], packet.pts * packet.time_base + length)
        if packet.stream_index != stream.index:
            continue
        read += not packet.is_corrupt
        if packet.size and not packet.is_discard and _is_shown(packet, stream):
            frames += 1
            damaged += packet.is_corrupt
            cut = packet.is_corrupt
        if frames > MAX_FRAMES:
            raise VideoError(f"{path}: found more than {MAX_FRAMES:,} frames; wanted a shorter video")
    if cut:  # the last one
        frames, damaged = frames - 1, damaged - 1
    if not frames:
        raise VideoError(f"{path}: found no whole frame; wanted a whole video")
    announced = max(frames, _announced(container, stream, frames, read, max(ends.values())))
    fragments = container.format.name.startswith("mov,") and not stream.frames
    begin = Fraction(max(container.start_time or 0, 0), 1_000_000)
    last = _end_of(stream) if announced == frames and container.format.name.startswith("mov,") else Fraction(0)
    end = max(last or ends[True], ends[False])
    return Survey(frames, announced, fragments, damaged, float(end - begin), last)


def _end_of(stream: Any) -> Fraction:
    """When the last frame of a whole MP4 or MOV ends: its packets say that only of the last that is decoded."""
    if stream.start_time is None or not stream.duration:
        return Fraction(0)
    return (stream.start_time + stream.duration) * Fraction(stream.time_base)


def _announced(container: Any, stream: Any, frames: int, read: int, end: Fraction) -> int:
    """The number of frames by the header, 0 if it says nothing or as much as there is."""
    name = container.format.name
    if name.startswith("mov,") or name == "avi":  # their index or header counts packets
        missing = (stream.frames if name == "avi" else len(stream.index_entries)) - read
        return frames + missing if missing > 0 else 0
    if name not in _BY_CLOCK or not container.duration:
        return 0
    announced = Fraction(container.duration, 1_000_000)
    begin = Fraction(max(container.start_time or 0, 0), 1_000_000)
    # FFmpeg counts from 0 in Matroska's header and from the first frame in FLV's; other programs do it otherwise.
    length = announced if name == "flv" or announced <= begin else announced - begin
    missing = length - (end - begin)
    exact = max(3 / _rate(stream), length / 100)  # headers are not more so
    since = max(begin, (stream.start_time or 0) * Fraction(stream.time_base))  # sound may begin before
    if end <= since or missing <= exact or abs(announced - end) <= exact:
        return 0
    return round(frames * (1 + missing / (end - since)))


def _rate(stream: Any) -> Fraction:
    """Frames a second, where nothing says more than the header."""
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def _is_shown(packet: Any, stream: Any) -> bool:
    """Whether a packet is a frame of its own. VP8 stores some only as references for others (RFC 6386, 9.1)."""
    return stream.codec_context.name != "vp8" or bool(memoryview(packet)[0] >> 4 & 1)


def _packets(container: Any, stream: Any = None, flush: bool = False) -> Iterator[Any]:
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


@dataclass(frozen=True)
class Decoded:
    """A frame as it is stored."""

    frame: Any
    """PyAV's; interlaced ones are made whole."""
    told: Told
    time: Fraction
    """Seconds on the container's clock."""
    damaged: bool


def decoded_frames(path: str, threads: int = 1) -> Iterator[Decoded]:
    """All frames of a video as they are stored, in the order in which they are shown. Raises as `read_frames` does.

    Those of pictures that move are as `load_photo` would give them: in sRGB, on white where they are transparent.
    """
    if is_animation(path):
        yield from _decoded_animation(path)
        return
    with opened(path) as (container, stream):
        context = stream.codec_context
        context.thread_count = threads
        context.thread_type = "AUTO" if threads > 1 else "NONE"
        damaged: set[Fraction] = set()
        turn: tuple[int, ...] | None = None
        mastering = Mastering()
        for number, frame in enumerate(_whole_pictures(_raw_frames(container, stream, damaged))):
            # Of the first frame alone: one that was asked for its side data is part of a cycle, and stays in memory
            # until Python looks for these.
            if number == 0:
                turn, mastering = display_matrix(frame), mastering_of(frame)
            time = number / _rate(stream) if frame.pts is None else frame.pts * (frame.time_base or stream.time_base)
            yield Decoded(frame, _told(container, stream, turn, mastering), time, time in damaged)


def _decoded_animation(path: str) -> Iterator[Decoded]:
    av, form = _av(), animation_facts(path).form
    for time, seconds, photo in animated_frames(path):
        if not time:
            told = Told(_CODECS[form], 1 / seconds, _TICK, None, _SRGB, _BT709, _RGB, Fraction(0), None, Mastering())
        frame = av.VideoFrame.from_ndarray(photo(), format="rgb24")
        frame.pts, frame.duration, frame.time_base = round(time / _TICK), round(seconds / _TICK), _TICK
        yield Decoded(frame, told, time, False)


def _told(container: Any, stream: Any, turn: tuple[int, ...] | None, mastering: Mastering) -> Told:
    context, start = stream.codec_context, container.start_time
    return Told(
        context.codec.canonical_name, _rate(stream), Fraction(stream.time_base), stream.sample_aspect_ratio,
        int(context.color_trc), int(context.color_primaries), int(context.colorspace),
        None if start is None else Fraction(start, 1_000_000), turn, mastering,
    )  # fmt: skip


def _decoded(path: str, threads: int) -> Iterator[tuple[Fraction, bool, Any]]:
    """For each frame its time from the first one on, whether it is damaged, and a function that makes a photo of it."""
    start = None
    for one in decoded_frames(path, threads):
        start = one.time if start is None else start
        yield one.time - start, one.damaged, partial(photo_of_frame, one.frame, one.told, path)


def _animated(path: str) -> Iterator[tuple[Fraction, bool, Any]]:
    """As `_decoded`."""
    return ((time, False, photo) for time, _, photo in animated_frames(path))


def _raw_frames(container: Any, stream: Any, damaged: set[Fraction]) -> Iterator[Any]:
    """PyAV's frames as they are stored; the times of those that are damaged are added to `damaged`."""
    import av

    for packet in _packets(container, stream, flush=True):
        if packet is not None and not packet.size:
            continue  # a frame that was left out when the file was made; to the decoder it would mean the end
        if packet is not None and packet.is_corrupt and packet.pts is not None:
            damaged.add(packet.pts * stream.time_base)
        try:
            frames = stream.codec_context.decode(packet)
        except av.FFmpegError:
            continue
        for frame in frames:
            if frame.is_corrupt and frame.pts is not None:
                damaged.add(frame.pts * stream.time_base)
            yield frame


def _whole_pictures(frames: Iterator[Any]) -> Iterator[Any]:
    """The same number of frames, of which the interlaced ones are made whole: each line of the second field is
    interpolated between its neighbours in space and time (FFmpeg's bwdif), as it shows a later moment than the first.
    """
    import av

    graph = None
    for frame in frames:
        if graph is None and frame.interlaced_frame:
            graph = av.filter.Graph()
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format.name, time_base=frame.time_base
            )
            lines = graph.add("bwdif", "mode=send_frame:deint=interlaced")
            graph.link_nodes(source, lines, graph.add("buffersink")).configure()
        if graph is None:
            yield frame
            continue
        graph.vpush(frame)
        yield from _ready(graph)
    if graph is not None:
        graph.vpush(None)
        yield from _ready(graph)


def _ready(graph: Any) -> Iterator[Any]:
    """What a filter has finished so far."""
    import av

    while True:
        try:
            yield graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return


@contextmanager
def opened(path: str) -> Iterator[tuple[Any, Any]]:
    """The open container and its first video stream that is no cover picture."""
    av = _av()
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


def _av() -> Any:
    """PyAV, or ImportError that says what to install."""
    try:
        import av
    except ImportError as error:
        raise missing_package("reading videos", "av", "faces") from error
    return av

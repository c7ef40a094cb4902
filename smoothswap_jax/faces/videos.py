"""Frames of videos: evenly spaced ones, those with given numbers, or all.

Frames are numbered from 0 in the order in which they are shown. Everything is read with PyAV (FFmpeg), and pictures
that move (GIF, WebP, PNG, AVIF) with Pillow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

from smoothswap_jax.faces.animations import animated_frames, animation_facts, is_animation
from smoothswap_jax.faces.mastering import Mastering, mastering_of
from smoothswap_jax.faces.photos import Photo
from smoothswap_jax.faces.video_container import check_length, frame_rate, opened, packets, pyav
from smoothswap_jax.faces.video_frames import Told, VideoError, display_matrix, photo_of_frame
from smoothswap_jax.faces.video_survey import survey, video_length

__all__ = ["Fault", "Frame", "VideoError", "frame_numbers", "frames_at", "read_frames", "sampled_frames"]

_CODECS = {"GIF": "gif", "WEBP": "webp", "PNG": "apng", "AVIF": "avif"}
"""What `Told` has of pictures that move."""
_TICK = Fraction(1, 1000)
"""Seconds in which times of pictures that move are counted."""
_RGB, _BT709, _SRGB = 0, 1, 13
"""How their colours are coded: matrix, primaries and transfer (ITU-T H.273)."""


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

    Raises VideoError if the file is not a video, has none of the frames, is longer than `MAX_FRAMES` of
    `video_container`, or has colours or a size that cannot be converted; ImportError without PyAV.
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
        check_length(path, count)
        if last is not None and number >= last and not owed:
            return
    if not found:
        raise VideoError(f"{path}: found no frame that can be decoded; wanted a whole video")
    yield count


def _evenly(length: int, count: int) -> list[int]:
    return [k * length // count for k in range(count)] if length > count else list(range(length))


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
            time = (
                number / frame_rate(stream) if frame.pts is None else frame.pts * (frame.time_base or stream.time_base)
            )
            yield Decoded(frame, _told(container, stream, turn, mastering), time, time in damaged)


def _decoded_animation(path: str) -> Iterator[Decoded]:
    av, form = pyav(), animation_facts(path).form
    for time, seconds, photo in animated_frames(path):
        if not time:
            told = Told(_CODECS[form], 1 / seconds, _TICK, None, _SRGB, _BT709, _RGB, Fraction(0), None, Mastering())
        frame = av.VideoFrame.from_ndarray(photo(), format="rgb24")
        frame.pts, frame.duration, frame.time_base = round(time / _TICK), round(seconds / _TICK), _TICK
        yield Decoded(frame, told, time, False)


def _told(container: Any, stream: Any, turn: tuple[int, ...] | None, mastering: Mastering) -> Told:
    context, start = stream.codec_context, container.start_time
    return Told(
        context.codec.canonical_name, frame_rate(stream), Fraction(stream.time_base), stream.sample_aspect_ratio,
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

    for packet in packets(container, stream, flush=True):
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

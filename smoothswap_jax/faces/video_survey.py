"""What a video holds, found by reading it to its end."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from smoothswap_jax.faces.animations import animation_facts, animation_times, is_animation
from smoothswap_jax.faces.video_container import check_length, frame_rate, opened, packets
from smoothswap_jax.faces.video_frames import VideoError

_BY_CLOCK = ("matroska,webm", "flv")
"""Containers whose header says how long they take, and not how many frames they have. MPEG's streams say neither, and
of a WMV that is cut FFmpeg does not believe the header."""


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
    """Counts the frames of a video, whatever its header says. Raises as `videos.read_frames` does.

    Pictures that move are decoded for it.
    """
    if is_animation(path):
        times = animation_times(path)
        return Survey(len(times), animation_facts(path).frames, False, 0, float(sum(times)), Fraction(0))
    with opened(path) as (container, stream):
        return _survey(container, stream, path)


def video_length(path: str) -> int:
    """The number of frames that are in the file. Raises as `videos.read_frames` does."""
    return survey(path).frames


def _survey(container: Any, stream: Any, path: str) -> Survey:
    frames = read = damaged = 0
    cut, step = False, 1 / frame_rate(stream)
    ends = {True: Fraction(0), False: Fraction(0)}  # of the frames, and of all else
    for packet in packets(container):
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
        check_length(path, frames)
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
    exact = max(3 / frame_rate(stream), length / 100)  # headers are not more so
    since = max(begin, (stream.start_time or 0) * Fraction(stream.time_base))  # sound may begin before
    if end <= since or missing <= exact or abs(announced - end) <= exact:
        return 0
    return round(frames * (1 + missing / (end - since)))


def _is_shown(packet: Any, stream: Any) -> bool:
    """Whether a packet is a frame of its own. VP8 stores some only as references for others (RFC 6386, 9.1)."""
    return stream.codec_context.name != "vp8" or bool(memoryview(packet)[0] >> 4 & 1)

"""Puts a video together: the segments of its new pictures, and all else that the original holds as it is there: sound,
subtitles, chapters, attachments, and what is said of them."""

from __future__ import annotations

import contextlib
import heapq
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from smoothswap_jax.faces.animations import is_animation
from smoothswap_jax.faces.video_container import is_cover, opened
from smoothswap_jax.faces.video_encoding import (
    CONTAINERS,
    Encoding,
    Facts,
    add_encoded_stream,
    add_stream,
    start,
    writing,
)
from smoothswap_jax.faces.video_frames import VideoError


def check_beside(original: str, facts: Facts, encoding: Encoding, suffix: str) -> None:
    """Raises VideoError for sound that a container cannot hold: a video must not lose its sound unnoticed."""
    if not is_animation(original):
        with opened(original) as (source, shown):
            _fitting(source, shown.index, facts, encoding, original, suffix)


@dataclass(frozen=True)
class Span:
    """What is kept of a video, in seconds on its container's clock; `zero` is what becomes the time 0."""

    zero: Fraction
    end: Fraction | None
    trimmed: bool

    def holds(self, begin: Fraction, length: Fraction) -> bool:
        """Whether something is shown within it."""
        if not self.trimmed:
            return True
        return begin + length > self.zero and (self.end is None or begin < self.end)


def put_together(
    original: str,
    segments: Sequence[Path],
    ticks: np.ndarray,
    last: int,
    facts: Facts,
    encoding: Encoding,
    span: Span,
    out: Path,
    comment: str = "",
) -> tuple[str, ...]:
    """Writes the pictures of the segments and the other streams of the original to `out`; returns, in words, what its
    container cannot hold.

    Args:
      ticks: of all frames of the segments, in facts.told.tick, on the original's clock.
      last: how many ticks the last frame is shown.
      comment: stands before that of the original.

    Raises as `check_beside` does.
    """
    import av

    suffix = out.suffix
    name = CONTAINERS[suffix][0]
    options = {"fflags": "+bitexact"}  # no random numbers in it: the same is the same, bit for bit
    if name in ("mp4", "mov"):
        options |= {"movflags": "faststart", "video_track_timescale": str(facts.told.tick.denominator)}
    with contextlib.ExitStack() as stack:
        source: Any = None
        fitting: list[int] = []
        notes: tuple[str, ...] = ()
        if not is_animation(original):
            source, shown = stack.enter_context(opened(original))
            fitting, notes = _fitting(source, shown.index, facts, encoding, original, suffix)
        with writing(out):
            container = av.open(str(out), "w", format=name, options=options)
        try:
            picture = add_encoded_stream(container, facts, encoding)
            if facts.told.display is not None:
                picture.set_display_matrix(facts.told.display)
            others = {index: _added(container, source.streams[index]) for index in fitting}
            if source:
                container.metadata.update({k: v for k, v in source.metadata.items() if k.lower() not in _OF_THE_FILE})
                _set_chapters(source, container, span)
            if comment:
                _put_first(comment, container.metadata)
            pictures = _pictures(segments, ticks, last, facts, span, picture)
            behind: Counter[int] = Counter()
            with writing(out):
                start(container)
            for _, _, packet in heapq.merge(pictures, _copied(source, others, span, behind) if source else ()):
                with writing(out):
                    container.mux_one(packet)
        finally:
            with writing(out):
                container.close()
        late = [f"{count} packets of {_named(source.streams[index])}" for index, count in behind.items()]
    return (*notes, *(f"left out: {one}, whose times go back" for one in late))


def _put_first(comment: str, words: dict[str, str]) -> None:
    """Into the comment that is there, under whatever spelling; once."""
    (key, *_) = (*(one for one in words if one.lower() == "comment"), "comment")
    there = words.get(key, "")
    if comment not in there:
        words[key] = f"{comment}; {there}" if there else comment


_OF_THE_FILE = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration")


def _fitting(
    source: Any, shown: int, facts: Facts, encoding: Encoding, original: str, suffix: str
) -> tuple[list[int], tuple[str, ...]]:
    """The numbers of the streams that are copied, and what the user should know, in words.

    shown: the number of the stream whose pictures are swapped.
    """
    found, notes = [], []
    for stream in source.streams:
        if stream.index == shown:
            continue
        if not _is_held(stream, facts, encoding, suffix):
            what = f"{_named(stream)}, which {suffix} cannot hold"
            if stream.type == "audio":
                raise VideoError(f"{original}: found {what}; wanted .mkv")
            notes.append(f"left out: {what} (.mkv holds most)")
            continue
        if stream.type == "video" and not is_cover(stream):
            notes.append(f"copied as it is: {_named(stream)}")
        found.append(stream.index)
    return found, tuple(notes)


def _is_held(stream: Any, facts: Facts, encoding: Encoding, suffix: str) -> bool:
    """Whether a container takes a stream beside the pictures: only its header says so for all. Plain samples in MP4
    (ISO 23003-5) few players know, and FFmpeg refuses them at the end where no channel layout is told, as in AVI."""
    import av

    name = stream.codec_context.name if stream.codec_context is not None else ""
    if CONTAINERS[suffix][0] == "mp4" and name.startswith("pcm_"):
        return False
    nowhere = av.open(io.BytesIO(), "w", format=CONTAINERS[suffix][0])
    try:
        add_stream(nowhere, facts, encoding)
        nowhere.add_stream_from_template(stream)
        start(nowhere)
    except (ValueError, TypeError, av.FFmpegError):
        return False
    finally:
        with contextlib.suppress(av.FFmpegError):
            nowhere.close()
    return True


def _added(container: Any, stream: Any) -> Any:
    """A stream like one of the original, for its packets."""
    made = container.add_stream_from_template(stream)
    made.metadata.update({k: v for k, v in stream.metadata.items() if k.upper() not in ("DURATION", "ENCODER")})
    made.disposition = stream.disposition
    return made


def _named(stream: Any) -> str:
    context = stream.codec_context
    codec = f" ({context.codec.canonical_name})" if context is not None else ""
    kinds = {"audio": "sound", "subtitle": "a subtitle", "video": "a further video"}
    return f"stream {stream.index}, {kinds.get(stream.type, stream.type)}{codec}"


def _set_chapters(source: Any, container: Any, span: Span) -> None:
    chapters = []
    for chapter in source.chapters():
        tick = Fraction(chapter["time_base"])
        begin, end = chapter["start"] * tick, chapter["end"] * tick
        if not span.holds(begin, end - begin):
            continue
        if span.end is not None:
            end = min(end, span.end)
        moved = [round(max(at - span.zero, Fraction(0)) / tick) for at in (begin, end)]
        chapters.append(chapter | {"start": moved[0], "end": moved[1]})
    if chapters:
        container.set_chapters(chapters)


Timed = tuple[Fraction, int, Any]
"""When a packet is decoded, its stream, and the packet."""


def _pictures(
    segments: Sequence[Path], ticks: np.ndarray, last: int, facts: Facts, span: Span, stream: Any
) -> Iterator[Timed]:
    """The packets of the pictures. Their times are those of `ticks`, in the order of the segments' own, whatever the
    containers of the segments made of them."""
    zero = round(span.zero / facts.told.tick)
    delays = [_delay(path) for path in segments]
    behind = max(delays, default=0)
    lengths = np.append(np.diff(ticks), last)
    pace = int(lengths.min())
    first = number = 0
    for path in segments:
        packets = list(_packets_of(path))
        for rank, packet in zip(_ranks(packets), packets, strict=True):
            shown = first + int(rank)
            # A packet is decoded when the picture that many places before it is shown; those of before the first at
            # the pace of the shortest.
            early = number - behind
            dts = int(ticks[early]) if early >= 0 else int(ticks[0]) + early * pace
            length = int(lengths[shown])
            if number == len(ticks) - 1:
                # MP4 ends with the packet that is decoded last, whichever picture it has, and is as long as it takes
                # to decode all.
                dts = max(dts, int(ticks[shown]) - behind * pace)
                length = int(ticks[-1]) + last - behind * pace - dts
            packet.pts, packet.dts = int(ticks[shown]) - zero, dts - zero
            packet.duration, packet.time_base, packet.stream = length, facts.told.tick, stream
            yield packet.dts * facts.told.tick, stream.index, packet
            number += 1
        first += len(packets)


def _packets_of(path: Path) -> Iterator[Any]:
    import av

    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                yield packet


def _ranks(packets: Sequence[Any]) -> np.ndarray:
    """The place in time of each picture of a segment, whose packets are in the order of decoding."""
    return np.argsort(np.argsort([packet.pts for packet in packets], kind="stable"), kind="stable")


def _delay(path: Path) -> int:
    """How many places a picture of a segment is decoded after its place in time at most."""
    ranks = _ranks(list(_packets_of(path)))
    return int(max(np.arange(len(ranks)) - ranks, default=0))


def _copied(source: Any, streams: dict[int, Any], span: Span, behind: Counter[int]) -> Iterator[Timed]:
    """The packets of the other streams, as they are. Those of damaged files that go back in time, which no container
    takes, are counted in `behind`, by stream."""
    wanted = [source.streams[index] for index in streams]
    if not wanted:
        return
    reached: dict[int, int] = {}
    for packet in source.demux(wanted):
        if not packet.size:
            continue
        stream, tick = streams[packet.stream_index], packet.time_base
        if is_cover(packet.stream):
            packet.pts = packet.dts = 0
            packet.stream = stream
            yield Fraction(0), stream.index, packet
            continue
        if packet.pts is None:
            continue
        if not span.holds(packet.pts * tick, (packet.duration or 0) * tick):
            continue
        if span.trimmed and stream.type == "subtitle":
            begin, end = packet.pts, packet.pts + (packet.duration or 0)
            packet.pts = packet.dts = max(begin, round(span.zero / tick))
            packet.duration = (end if span.end is None else min(end, round(span.end / tick))) - packet.pts
        moved = round(span.zero / tick)
        packet.pts -= moved
        packet.dts = packet.pts if packet.dts is None else packet.dts - moved
        if packet.dts < reached.setdefault(stream.index, packet.dts):
            behind[packet.stream_index] += 1
            continue
        reached[stream.index] = packet.dts
        packet.stream = stream
        yield packet.dts * tick, stream.index, packet

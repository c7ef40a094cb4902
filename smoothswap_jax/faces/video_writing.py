"""Puts a video together: the segments of its new pictures, and all else that the original holds as it is there: sound,
subtitles, chapters, attachments, and what is said of them."""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from smoothswap_jax.faces.video_encoding import CONTAINERS, Encoding, Facts, add_stream
from smoothswap_jax.faces.video_frames import VideoError
from smoothswap_jax.faces.videos import is_cover, opened


def check_beside(original: str, suffix: str) -> None:
    """Raises VideoError for sound that a container cannot hold: a video must not lose its sound unnoticed."""
    import av

    with opened(original) as (source, shown), av.open(io.BytesIO(), "w", format=CONTAINERS[suffix][0]) as nowhere:
        _other_streams(source, shown.index, nowhere, original, suffix)


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
) -> tuple[str, ...]:
    """Writes the pictures of the segments and the other streams of the original to `out`; returns, in words, what its
    container cannot hold.

    Args:
      ticks: of all frames of the segments, in facts.told.tick, on the original's clock.
      last: how many ticks the last frame is shown.

    Raises as `check_beside` does.
    """
    import av

    suffix = out.suffix
    name = CONTAINERS[suffix][0]
    options = {"fflags": "+bitexact"}  # no random numbers in it: the same is the same, bit for bit
    if name in ("mp4", "mov"):
        options |= {"movflags": "faststart", "video_track_timescale": str(facts.told.tick.denominator)}
    with opened(original) as (source, shown), av.open(str(out), "w", format=name, options=options) as container:
        picture = add_stream(container, facts, encoding)
        if facts.turn is not None:
            picture.set_display_matrix(facts.turn)
        others, notes = _other_streams(source, shown.index, container, original, suffix)
        container.metadata.update({k: v for k, v in source.metadata.items() if k.lower() not in _OF_THE_FILE})
        _set_chapters(source, container, span)
        pictures = _pictures(segments, ticks, last, facts, span, picture)
        for _, _, packet in heapq.merge(pictures, _copied(source, others, span)):
            container.mux_one(packet)
    return notes


_OF_THE_FILE = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration")


def _other_streams(
    source: Any, shown: int, container: Any, original: str, suffix: str
) -> tuple[dict[int, Any], tuple[str, ...]]:
    """The streams of the output by their numbers in the original, and what the user should know, in words.

    shown: the number of the stream whose pictures are swapped.
    """
    found: dict[int, Any] = {}
    notes = []
    for stream in source.streams:
        if stream.index == shown:
            continue
        try:
            made = container.add_stream_from_template(stream)
        except (ValueError, TypeError) as error:
            if stream.type == "audio":
                raise VideoError(
                    f"{original}: found {_named(stream)}, which {suffix} cannot hold; wanted .mkv"
                ) from error
            notes.append(f"{_named(stream)} is left out: {suffix} cannot hold it (.mkv holds most)")
            continue
        if stream.type == "video" and not is_cover(stream):
            notes.append(f"{_named(stream)} is copied as it is")
        made.metadata.update({k: v for k, v in stream.metadata.items() if k.upper() not in ("DURATION", "ENCODER")})
        made.disposition = stream.disposition
        found[stream.index] = made
    return found, tuple(notes)


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
    first = number = 0
    for path in segments:
        packets = list(_packets_of(path))
        ranks = np.argsort(np.argsort([packet.pts for packet in packets], kind="stable"), kind="stable")
        for rank, packet in zip(ranks, packets, strict=True):
            shown = first + int(rank)
            # A packet is decoded when the picture that many places before it is shown; before the first of them, a
            # tick for each.
            early = number - behind
            dts = int(ticks[early]) if early >= 0 else int(ticks[0]) + early
            packet.pts, packet.dts = int(ticks[shown]) - zero, dts - zero
            packet.duration, packet.time_base, packet.stream = int(lengths[shown]), facts.told.tick, stream
            yield packet.dts * facts.told.tick, stream.index, packet
            number += 1
        first += len(packets)


def _packets_of(path: Path) -> Iterator[Any]:
    import av

    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                yield packet


def _delay(path: Path) -> int:
    """How many places a picture of a segment is decoded after its place in time at most."""
    pts = [packet.pts for packet in _packets_of(path)]
    ranks = np.argsort(np.argsort(pts, kind="stable"), kind="stable")
    return int(max(np.arange(len(pts)) - ranks, default=0))


def _copied(source: Any, streams: dict[int, Any], span: Span) -> Iterator[Timed]:
    """The packets of the other streams, as they are."""
    wanted = [source.streams[index] for index in streams]
    if not wanted:
        return
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
        packet.stream = stream
        yield packet.dts * tick, stream.index, packet

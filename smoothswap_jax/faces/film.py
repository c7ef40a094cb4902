"""A video as cameras and editors make them, to try things on: of a variable rate, turned, with sound and subtitles."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from smoothswap_jax.faces.photos import Photo
from smoothswap_jax.faces.video_container import pyav

_BT709 = 1
_MILLISECOND = Fraction(1, 1000)
RATE, BLOCK = 48_000, 1024
"""Of the sound: samples a second, and in one packet."""


class Film(NamedTuple):
    """pictures: as they are to be seen, all of one size. times: when each is shown, milliseconds. turn: by how many
    degrees, a multiple of 90, what is stored is to be turned to the left for that."""

    pictures: Iterable[Photo]
    times: Sequence[int]
    width: int
    height: int
    turn: int = 0


def write_film(path: Path, film: Film, *, codec: str = "libx264", sound: str = "aac", subtitles: bool = True) -> None:
    """Writes a film with a tone and two subtitles, in the container of the suffix. Raises ImportError where PyAV is
    missing."""
    av = pyav("writing videos")
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options={"crf": "16"})
        stream.width, stream.height = (film.width, film.height)[:: -1 if film.turn % 180 else 1]
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = _MILLISECOND
        context.colorspace = context.color_trc = context.color_primaries = context.color_range = _BT709
        if film.turn:
            stream.set_display_rotation(film.turn)
        tone = out.add_stream(sound, rate=RATE)
        tone.metadata["language"] = "deu"
        matroska = path.suffix == ".mkv"
        words = out.add_mux_stream("srt" if matroska else "mov_text") if subtitles else None
        out.metadata["title"] = "A film"
        for time, picture in zip(film.times, film.pictures, strict=True):
            stored = np.ascontiguousarray(np.rot90(picture, -film.turn // 90))
            frame = av.VideoFrame.from_ndarray(stored, format="rgb24").reformat(format="yuv420p", dst_colorspace=_BT709)
            frame.pts, frame.time_base = int(time), _MILLISECOND
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        for at in range(0, RATE // 1000 * (int(film.times[-1]) + 40), BLOCK):
            wave = (0.2 * np.sin(np.arange(at, at + BLOCK) / 20)).astype(np.float32)[None].repeat(2, 0)
            block = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
            block.sample_rate, block.pts = RATE, at
            out.mux(tone.encode(block))
        out.mux(tone.encode(None))
        if words is not None:
            for at in (100, 700):
                packet = av.Packet(b"Hello" if matroska else b"\0\5Hello")
                packet.pts = packet.dts = at
                packet.duration, packet.time_base, packet.stream = 300, _MILLISECOND, words
                out.mux(packet)


def packets_beside(path: Path) -> dict[str, list[tuple[Fraction, bytes]]]:
    """When each packet of sound and subtitles is played, and its content, by the kind of its stream."""
    found: dict[str, list[tuple[Fraction, bytes]]] = {}
    with pyav().open(str(path)) as container:
        for packet in container.demux():
            if packet.size and packet.stream.type != "video":
                found.setdefault(packet.stream.type, []).append((packet.pts * packet.time_base, bytes(packet)))
    return found

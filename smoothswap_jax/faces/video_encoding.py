"""How the pictures of a video are encoded: as the original's were, in segments that are each a file of its own."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smoothswap_jax.faces.mastering import Mastering, mastering_options, with_boxes
from smoothswap_jax.faces.photos import PathLike
from smoothswap_jax.faces.video_changes import planar_format, unfit_pixels
from smoothswap_jax.faces.video_frames import Told, VideoError, coding_of

CONTAINERS = {
    ".mp4": ("mp4", ("libx264", "libx265", "libsvtav1", "libvpx-vp9")),
    ".m4v": ("mp4", ("libx264", "libx265", "libsvtav1", "libvpx-vp9")),
    ".mov": ("mov", ("libx264", "libx265", "prores_ks")),
    ".mkv": ("matroska", ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks")),
    ".webm": ("webm", ("libvpx-vp9", "libsvtav1")),
}
"""By the suffix of the output: FFmpeg's name, and the encoders whose streams it holds, the usual one first."""
_SAME = {
    **{"h264": "libx264", "hevc": "libx265", "vp8": "libvpx-vp9", "vp9": "libvpx-vp9", "av1": "libsvtav1"},
    **dict.fromkeys(("ffv1", "huffyuv", "ffvhuff", "utvideo", "rawvideo", "qtrle", "png", "v210", "magicyuv"), "ffv1"),
    **dict.fromkeys(("prores", "dnxhd", "cfhd"), "prores_ks"),
}
"""The codec of the original -> the encoder of its kind; of those that lose nothing ffv1, which loses nothing either."""
_MOVING = ("gif", "webp", "apng", "avif")
"""Pictures that move. Their colours are red, green and blue; videos get them as all players know them, of limited range
and at half the size."""
QUALITY = {"libx264": 16, "libx265": 18, "libvpx-vp9": 18, "libsvtav1": 18}
"""Constant rate factors at which no difference is seen; the other encoders have none."""
MOST_QUALITY = {"libx264": 51, "libx265": 51, "libvpx-vp9": 63, "libsvtav1": 63}
LOSSLESS = ("ffv1",)
EVEN = ("libx264", "libx265")
"""Encoders that want sides of an even number of pixels where colours are stored at half the size. In their streams they
say what shape pixels have; Matroska's header could for the others, too, but PyAV cannot write it there."""
_SEGMENT = {"prores_ks": "mov"}
"""Containers of segments: NUT, which keeps times as they are, whatever the codec, but for a few that it lacks."""
_THREADS = Path("/proc/self/task")
"""Where Linux lists the threads of a process."""
_HEADERS = {**dict.fromkeys(("libx264", "libx265", "libsvtav1", "libvpx-vp9"), "mp4"), "prores_ks": "mov"}
"""Containers of the ISO family that hold an encoder's streams."""
_OPTIONS = {
    # The fast ways of x264's macroblock tree read what lies in memory beside small pictures, so that the same pictures
    # come out differently now and then, and a job that was stopped would not go on to the same file.
    "libx264": {"x264-params": "cpu-independent=1"},
    "libx265": {"x265-params": "log-level=none"},
    "libvpx-vp9": {"row-mt": "1", "b": "0", "deadline": "good", "cpu-used": "3"},
    "libsvtav1": {"preset": "7"},
    "prores_ks": {"vendor": "apl0"},
}
_BT709 = 1


@dataclass(frozen=True)
class Facts:
    """What a stream of pictures is like, apart from its pictures."""

    told: Told
    width: int
    height: int
    pixels: str
    """Of the frames, in planes."""
    rgb: bool
    alpha: bool
    full: bool
    """Whether numbers have the full range."""


@dataclass(frozen=True)
class Encoding:
    """How pictures are encoded. quality: a constant rate factor; None for encoders that have none."""

    encoder: str
    pixels: str
    quality: int | None


def facts_of(frame: Any, told: Told, path: str) -> Facts:
    """What a stream is like, of which `frame` is the first. Raises VideoError for pixels that cannot be changed."""
    coding = coding_of(frame, told, path)
    pixels = planar_format(frame.format)
    if pixels is None:
        raise unfit_pixels(path, frame)
    alpha = pixels.startswith(("yuva", "gbra"))
    return Facts(told, frame.width, frame.height, pixels, frame.format.is_rgb, alpha, coding.full)


def check_video_output(output: PathLike, encoder: str = "", quality: int | None = None, pixels: str = "") -> None:
    """Raises VideoError for an output or an encoding that there is not."""
    suffix = Path(output).suffix.lower()
    if suffix not in CONTAINERS:
        raise VideoError(f"{output}: found the suffix {suffix!r} for a video; wanted {', '.join(CONTAINERS)}")
    held = CONTAINERS[suffix][1]
    if encoder and encoder not in held:
        raise VideoError(f"--encoder: found {encoder!r} for {suffix}; wanted one of {', '.join(held)}")
    if quality is not None and encoder and encoder not in QUALITY:
        raise VideoError(
            f"--quality: found {quality} with {encoder}, which has none; wanted one of {', '.join(QUALITY)}"
        )
    if quality is not None and not 0 <= quality <= MOST_QUALITY.get(encoder, 63):
        raise VideoError(f"--quality: found {quality}; wanted 0, the best, to {MOST_QUALITY.get(encoder, 63)}")
    if encoder and pixels and pixels not in _formats(encoder):
        raise VideoError(f"--pixel-format: found {pixels!r}; {encoder} has {', '.join(_formats(encoder))}")


def choose_encoding(
    facts: Facts, output: str | Path, encoder: str = "", quality: int | None = None, pixels: str = ""
) -> tuple[Encoding, tuple[str, ...]]:
    """How a video is encoded for an output: as the original was, if the output's container holds that and nothing else
    is wished; and what the user should know, in words. Raises as `check_video_output` does."""
    import av
    from av.codec.codec import find_best_pix_fmt_of_list

    suffix = Path(output).suffix.lower()
    held = CONTAINERS[suffix][1]
    same = _SAME.get(facts.told.codec, "")
    chosen = encoder or (same if same in held else held[0])
    notes = []
    if facts.told.aspect not in (None, 1) and suffix in (".mkv", ".webm") and chosen not in EVEN:
        if encoder or suffix == ".webm":
            raise VideoError(
                f"{output}: found pixels of {facts.told.aspect}, a shape that {chosen} does not store there; wanted "
                ".mp4 or .mov, or libx264 in .mkv"
            )
        notes.append(f"{chosen} does not store the shape of pixels in {suffix}: libx264 is taken")
        chosen = held[0]
    check_video_output(output, chosen, quality, pixels)
    if same in LOSSLESS and chosen not in LOSSLESS:
        notes.append(f"the original loses nothing and {chosen} does (.mkv with --encoder=ffv1 does not)")
    notes += _notes_on_mastering(facts.told.mastering, chosen)
    formats = _formats(chosen)
    moves = facts.told.codec in _MOVING and chosen in QUALITY
    fit = pixels or (facts.pixels if facts.pixels in formats and not moves else "")
    if chosen in EVEN and not pixels and (facts.width % 2 or facts.height % 2) and "444" not in fit:
        fit = "yuv444p10le" if "10" in facts.pixels else "yuv444p"
        notes.append(
            f"{chosen} has no colours at half the size for {facts.width}x{facts.height} pixels: they become {fit}"
        )
    if not fit and moves:
        fit = "yuv420p"
        notes.append("colours are stored at half the size, which all players know (--pixel-format=yuv444p keeps them)")
    if not fit:
        best, lost = find_best_pix_fmt_of_list(formats, facts.pixels, facts.alpha)
        if best is None:
            raise VideoError(f"{output}: {chosen} takes no pixels like {facts.pixels}; wanted another --encoder")
        fit = best.name
        if int(lost):
            notes.append(f"{chosen} has no {facts.pixels}: pixels become {fit}")
    encoding = Encoding(chosen, fit, QUALITY.get(chosen) if quality is None else quality)
    nowhere = av.open(io.BytesIO(), "w", format=_SEGMENT.get(chosen, "nut"))
    with writing(output), contextlib.closing(nowhere):
        add_stream(nowhere, facts, encoding)
        start(nowhere)
    return encoding, tuple(notes)


def _notes_on_mastering(told: Mastering, encoder: str) -> list[str]:
    notes = ["static HDR10 metadata whose numbers mean nothing is left out"] if told.odd else []
    if (told.display or told.light) and encoder not in _HEADERS:
        notes.append(f"static HDR10 metadata is not stored with {encoder} (with {', '.join(_HEADERS)} it is)")
    return notes


def _formats(encoder: str) -> list[str]:
    """The pixel formats that an encoder takes."""
    import av

    return [one.name for one in av.Codec(encoder, "w").video_formats or ()]


# --- segments -------------------------------------------------------------------------------------------------------


def write_segment(path: Path, frames: Iterable[Any], ticks: Sequence[int], facts: Facts, encoding: Encoding) -> None:
    """Encodes frames, of which `ticks` are the times, into a file under a temporary name that becomes `path`."""
    import av

    temporary, form = path.with_suffix(".part"), _SEGMENT.get(encoding.encoder, "nut")
    with writing(temporary):
        container = av.open(str(temporary), "w", format=form)
    # Rising, and before all that is shown, as muxers want them: x265 now and then gives others. They are made anew when
    # segments are put together.
    decoded = itertools.count(ticks[0] - len(ticks))

    def write(packets: Iterable[Any]) -> None:
        for packet in packets:
            if form == "nut":
                packet.dts = next(decoded)
            container.mux_one(packet)

    try:
        stream = add_stream(container, facts, encoding)
        with writing(temporary):
            start(container)
        for frame, tick in zip(frames, ticks, strict=True):
            shown = _encodable(frame, encoding, _range(facts, encoding))
            shown.pts, shown.time_base, shown.pict_type = tick, facts.told.tick, 0
            with writing(temporary):
                write(stream.encode(shown))
        with writing(temporary):
            write(stream.encode(None))
    finally:
        with writing(temporary):
            container.close()
    os.replace(temporary, path)


@contextmanager
def writing(path: PathLike) -> Iterator[None]:
    """Errors of FFmpeg while it writes become OSError where the system says no, as on a full disk, and else VideoError;
    both name the file."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, OSError) and error.errno:
            raise OSError(error.errno, reason, os.fspath(path)) from error
        other = "wanted another encoder, pixel format or container"
        raise VideoError(f"{os.fspath(path)}: FFmpeg cannot write it so ({reason}); {other}") from error


def pyav_version() -> str:
    """What encodes, as another version may do so otherwise."""
    import av

    return av.__version__


def add_stream(container: Any, facts: Facts, encoding: Encoding) -> Any:
    """A stream of PyAV's output container for the pictures, which it encodes."""
    options = dict(_OPTIONS.get(encoding.encoder, {}))
    for option, value in mastering_options(facts.told.mastering, encoding.encoder).items():
        options[option] = ":".join(filter(None, (options.get(option), value)))
    if encoding.quality is not None:
        options["crf"] = str(encoding.quality)
    if encoding.encoder == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # it would tell its settings on stderr
    stream = container.add_stream(encoding.encoder, options=options)
    stream.codec_context.time_base, stream.codec_context.thread_count = facts.told.tick, os.cpu_count() or 1
    _describe(container, stream, facts, encoding)
    return stream


def start(container: Any) -> None:
    """Opens the encoders of PyAV's output container and writes its header, before the first packet does it.

    SVT-AV1 gives a process of root the priority of real time as it is opened, also where it is to encode nothing, and
    for good, so that it starves all others: afterwards the threads have what this one had before.
    """
    if not _THREADS.is_dir():
        container.start_encoding()
        return
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        container.start_encoding()
    finally:
        for thread in os.listdir(_THREADS):
            with contextlib.suppress(ProcessLookupError):  # it has ended
                if os.sched_getscheduler(int(thread)) != policy:
                    os.sched_setscheduler(int(thread), policy, priority)


def add_encoded_stream(container: Any, facts: Facts, encoding: Encoding) -> Any:
    """The same for packets that `add_stream` of another container has made."""
    import av

    told, form = facts.told.mastering, _HEADERS.get(encoding.encoder)
    if form is None or not (told.display or told.light):
        return add_stream(container, facts, encoding)
    file = io.BytesIO()
    with av.open(file, "w", format=form, options={"movflags": "empty_moov"}) as header:
        encoder = add_stream(header, facts, encoding).codec_context
        start(header)
        head, tag = encoder.extradata, encoder.codec_tag
    with av.open(io.BytesIO(with_boxes(file.getvalue(), told))) as header:
        stream = container.add_stream_from_template(header.streams.video[0], opaque=True)
    stream.codec_context.extradata = head  # the packets are the encoder's, and not as MP4 has them
    if encoding.encoder == "prores_ks":
        stream.codec_context.codec_tag = tag  # Matroska says by it which ProRes it is
    _describe(container, stream, facts, encoding)
    return stream


def _describe(container: Any, stream: Any, facts: Facts, encoding: Encoding) -> None:
    """What a stream tells of its pictures."""
    stream.width, stream.height, stream.pix_fmt = facts.width, facts.height, encoding.pixels
    context = stream.codec_context
    context.framerate = facts.told.rate.limit_denominator(100_000)
    if facts.told.aspect:
        context.sample_aspect_ratio = facts.told.aspect
    rgb = _is_rgb(encoding.pixels)
    context.colorspace = facts.told.matrix if rgb == facts.rgb else 0 if rgb else _BT709
    context.color_primaries, context.color_trc = facts.told.primaries, facts.told.transfer
    context.color_range = _range(facts, encoding)
    if encoding.encoder == "libx265" and container.format.name in ("mp4", "mov"):
        context.codec_tag = "hvc1"  # which Apple's players want


def _is_rgb(pixels: str) -> bool:
    return not pixels.startswith(("yuv", "gray", "nv"))


def _range(facts: Facts, encoding: Encoding) -> int:
    """Of the encoded numbers, as FFmpeg counts: 1 is limited, 2 full."""
    return 2 if _is_rgb(encoding.pixels) or (facts.full and facts.told.codec not in _MOVING) else 1


def _encodable(frame: Any, encoding: Encoding, numbers: int) -> Any:
    """The frame in the encoder's pixel format. numbers: their range."""
    if frame.format.name == encoding.pixels:
        return frame
    return frame.reformat(
        format=encoding.pixels, dst_colorspace=_BT709 if frame.format.is_rgb else None, dst_color_range=numbers
    )

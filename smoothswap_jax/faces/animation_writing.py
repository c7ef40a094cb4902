"""Pictures that move, written: GIF, WebP and PNG."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import GifImagePlugin, Image

from smoothswap_jax.faces.kinds import PILLOW_FAULTS
from smoothswap_jax.faces.metadata import Metadata, save_options
from smoothswap_jax.faces.video_frames import VideoError

FORMS = {".gif": "GIF", ".webp": "WEBP", ".apng": "PNG", ".png": "PNG"}
"""By the suffix: Pillow's name."""
SUFFIXES = {"GIF": ".gif", "WEBP": ".webp", "PNG": ".png", "AVIF": ".webp"}
"""By Pillow's name for a picture that moves: what it is written as to stay what it is, as far as it can."""
WIDEST_FRAME = {"GIF": 65_535, "WEBP": 16_383}
"""Pixels of a side."""
MOST_IN_MEMORY = 500_000_000
"""Pixels of all frames of an animation, which are held in memory."""
MOST_PLAYS = {"GIF": 65_536, "WEBP": 65_535, "PNG": (1 << 31) - 1}
LONGEST_FRAME = {"GIF": 655_350, "WEBP": (1 << 24) - 1, "PNG": 65_535_000}
"""Milliseconds."""

NEW_COLOURS = 96
"""So many of the 256 colours of a GIF's frame are for what was changed, where all would be wanted for the rest."""


class Shown(NamedTuple):
    """A frame to be written."""

    values: UInt8[np.ndarray, "h w 3"] | UInt8[np.ndarray, "h w 4"]
    """sRGB, with or without alpha."""
    milliseconds: Fraction
    changed: Bool[np.ndarray, "h w"] | None = None
    """Where it is not what it was in the GIF that it comes from; None: it comes from none."""


def check_room(name: str, frames: int, width: int, height: int, suffix: str, instead: str = "") -> None:
    """Raises VideoError, which begins with `name`, for frames that the format of `suffix` (any, if it is none of
    `FORMS`) or the memory cannot hold. instead: what else could be done about the latter, in words."""
    size = f"{width} x {height} pixels"
    if max(width, height) > (most := WIDEST_FRAME.get(FORMS.get(suffix, ""), 1 << 31)):
        raise VideoError(f"{name}: found {size}; wanted at most {most} a side in {suffix}")
    if frames * width * height > MOST_IN_MEMORY:
        most = MOST_IN_MEMORY // (width * height)
        raise VideoError(
            f"{name}: found {frames} frames of {size}; wanted at most {most} of this size in {suffix}{instead}"
        )


def animation_bytes(
    frames: Iterable[Shown], plays: int, form: str, lossless: bool = True, metadata: Metadata | None = None
) -> bytes:
    """A file of frames of one size.

    Every frame of a GIF has a palette of its own. Colours that its original had stay exactly, as far as 256 suffice:
    the rarest become the nearest others, so that `NEW_COLOURS` are left for what was changed. Places where a frame is
    the same as the one before are not written again. Alpha becomes wholly transparent or not at all. In WebP and PNG
    a frame that is the same as the one before makes that one longer.

    Args:
      plays: how often it is shown; 0 is for ever. More than `MOST_PLAYS` become these.
      form: GIF, WEBP or PNG. Frames last for `LONGEST_FRAME` at most.
      metadata: of GIF what made it, as a comment, and XMP.
      lossless: of WebP; the others are. Colours under what is wholly transparent are lost in WebP that moves.

    Raises VideoError, without a name, for what the encoder refuses.
    """
    longest, plays = LONGEST_FRAME[form], min(plays, MOST_PLAYS[form])
    frames = [frame._replace(milliseconds=min(frame.milliseconds, Fraction(longest))) for frame in frames]
    try:
        metadata = metadata or Metadata()
        if form == "GIF":
            return b"".join(_gif(frames, plays, metadata))
        return _by_pillow(frames, plays, form, lossless, save_options(metadata, form))
    except PILLOW_FAULTS as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise VideoError(f"found {len(frames)} frames that cannot be written as {form} ({said})") from error


def _by_pillow(frames: Sequence[Shown], plays: int, form: str, lossless: bool, further: Mapping[str, Any]) -> bytes:
    pictures, durations = [], []
    for frame in frames:
        pictures.append(Image.fromarray(np.ascontiguousarray(frame.values)))
        durations.append(frame.milliseconds)
    options: dict[str, Any] = {**further, "save_all": True, "append_images": pictures[1:], "loop": plays}
    options["duration"] = [_as_png(one) for one in durations] if form == "PNG" else _rounded(durations)
    if form == "WEBP":
        options |= {"lossless": True, "exact": True, "quality": 80} if lossless else {"quality": 95, "method": 4}
    data = io.BytesIO()
    pictures[0].save(data, form, **options)
    return data.getvalue()


def _as_png(milliseconds: Fraction) -> float:
    """The nearest that a PNG can hold: fractions of a second, of two numbers of 16 bits."""
    seconds = milliseconds / 1000
    return float(1000 * seconds.limit_denominator(65_535 if seconds <= 1 else int(65_535 / seconds)))


def _rounded(durations: Sequence[Fraction] | Sequence[float]) -> list[int]:
    """Whole numbers whose sums are never further than a half from those of the durations."""
    return np.diff(np.rint(np.cumsum([0.0, *map(float, durations)]))).astype(int).tolist()


# --- GIF ------------------------------------------------------------------------------------------------------------

_KEEP, _CLEAR = 1, 2
"""What becomes of a frame's place before the next is shown."""


def _gif(frames: Sequence[Shown], plays: int, metadata: Metadata) -> Iterator[bytes]:
    """The parts of a file (GIF89a specification)."""
    height, width = frames[0].values.shape[:2]
    yield b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0)
    if plays != 1:
        yield b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", max(plays - 1, 0), 0)
    if words := metadata.software.encode()[:255]:
        yield b"!\xfe" + bytes([len(words)]) + words + b"\0"
    if metadata.xmp:  # its end leads out of the text for readers that take it for blocks (XMP specification, part 3)
        yield b"!\xff\x0bXMP DataXMP" + metadata.xmp + b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    hundredths = _rounded([frame.milliseconds / 10 for frame in frames])
    clear = any(_opaque(frame).min() < 1 for frame in frames)
    before: np.ndarray | None = None
    for frame, duration in zip(frames, hundredths, strict=True):
        colours, written = frame.values[:, :, :3], _opaque(frame)
        if before is not None and not clear:
            written = (colours != before).any(2)
        before = colours
        rows, columns = (slice(0, height), slice(0, width)) if clear else _around(written)
        changed = None if frame.changed is None else frame.changed[rows, columns]
        image, see_through = _in_palette(colours[rows, columns], written[rows, columns], changed)
        how: dict[str, Any] = {} if see_through is None else {"transparency": see_through}
        how |= {"duration": 10 * min(duration, LONGEST_FRAME["GIF"] // 10), "disposal": _CLEAR if clear else _KEEP}
        place = (columns.start, rows.start)
        yield from GifImagePlugin.getdata(image, place, include_color_table=True, **how)
    yield b";"


def _opaque(frame: Shown) -> Bool[np.ndarray, "h w"]:
    if frame.values.shape[2] == 3:
        return np.ones(frame.values.shape[:2], bool)
    return frame.values[:, :, 3] >= 128


def _around(mask: Bool[np.ndarray, "h w"]) -> tuple[slice, slice]:
    """The rectangle of what is set; one pixel of nothing where nothing is."""
    if not mask.any():
        return slice(0, 1), slice(0, 1)
    found = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
    rows, columns = (slice(int(places[0]), int(places[-1]) + 1) for places in found)
    return rows, columns


def _in_palette(
    colours: UInt8[np.ndarray, "h w 3"], written: Bool[np.ndarray, "h w"], changed: Bool[np.ndarray, "h w"] | None
) -> tuple[Image.Image, int | None]:
    """The picture with a palette for what is written of it, and the number by which the rest is seen through."""
    whole = bool(written.all())
    room = 256 if whole else 255
    if changed is None:
        image = Image.fromarray(np.ascontiguousarray(colours)).quantize(room)
        numbers, palette = np.array(image), np.array(image.getpalette(), np.uint8).reshape(-1, 3)[:room]
    else:
        pixels = colours[written]
        palette = _palette(pixels, ~changed[written], room)
        unique, places = np.unique(_packed(pixels), return_inverse=True)
        numbers = np.zeros(written.shape, np.uint8)
        from scipy.spatial import KDTree

        numbers[written] = KDTree(palette).query(_unpacked(unique))[1][places]
    see_through = len(palette)
    numbers[~written] = see_through % 256
    image = Image.fromarray(numbers)
    image.putpalette(palette.tobytes() + bytes(0 if whole else 3))
    return image, None if whole else see_through


def _palette(
    pixels: UInt8[np.ndarray, "n 3"], kept: Bool[np.ndarray, " n"], room: int
) -> UInt8[np.ndarray, "colours 3"]:
    """The colours for pixels, of which some should be kept as they are."""
    every = np.unique(_packed(pixels))
    if not len(every):
        return np.zeros((1, 3), np.uint8)
    if len(every) <= room:
        return _unpacked(every)
    old, counts = np.unique(_packed(pixels[kept]), return_counts=True)
    new = np.setdiff1d(every, old)
    most = old[np.argsort(-counts, kind="stable")][: room - min(len(new), NEW_COLOURS)]
    others = pixels[~np.isin(_packed(pixels), most)]
    cut = Image.fromarray(others[None]).quantize(room - len(most), Image.Quantize.MEDIANCUT)
    found = np.array(cut.getpalette(), np.uint8).reshape(-1, 3)[: room - len(most)]
    return np.concatenate([_unpacked(most), found])


def _packed(colours: UInt8[np.ndarray, "n 3"]) -> np.ndarray:
    """A number for each colour."""
    return colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def _unpacked(numbers: np.ndarray) -> UInt8[np.ndarray, "n 3"]:
    return np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=1).astype(np.uint8)

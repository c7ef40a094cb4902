"""TIFFs that Pillow does not read, or would read in other colours: what they are, in words for the user."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterable
from typing import Any

from PIL import Image, TiffImagePlugin

BITS, COMPRESSION, COLOURS, SAMPLES, PLANES, EXTRA, NUMBERS = 258, 259, 262, 277, 284, 338, 339
"""TIFF 6.0's BitsPerSample, Compression, PhotometricInterpretation, SamplesPerPixel, PlanarConfiguration, ExtraSamples
and SampleFormat."""
FLOATS, SEPARATE, ASSOCIATED = 3, 2, 1
"""The SampleFormat of floats, the PlanarConfiguration of one plane for each channel, and the ExtraSamples of an alpha
by which the colours are multiplied."""

_COLOURS = {0: "grey", 1: "grey", 2: "RGB", 3: "palette colours", 5: "CMYK", 6: "YCbCr", 8: "Lab", 9: "Lab", 10: "Lab"}
_STARTS = (b"II*\0", b"MM\0*", b"II+\0")
"""TIFF in either order of bytes, and BigTIFF."""

Tags = dict[int, tuple[int, ...]]


def misread(image: Image.Image) -> tuple[str, str]:
    """What is found and what is wanted, of a TIFF that would be read in other colours; empty for all other files."""
    if image.format != "TIFF":
        return "", ""
    tags = _whole_numbers(getattr(image, "tag_v2", {}).items())
    bits = tags.get(BITS, (1,))
    if _of(tags, NUMBERS) == FLOATS:
        return _too_deep(tags)
    if 16 not in bits:
        return "", ""
    if _of(tags, PLANES) == SEPARATE and _of(tags, SAMPLES) > 1:
        return "a TIFF of 16-bit colours in separate planes", "them together, pixel by pixel"
    if EXTRA in tags and _of(tags, EXTRA) == ASSOCIATED:
        return "a TIFF of 16-bit colours multiplied by their alpha", "straight alpha"
    return "", ""


def unread(data: bytes) -> tuple[str, str]:
    """What is found and what is wanted, of a TIFF that Pillow cannot open; empty where that is not known."""
    tags = _tags(data)
    if BITS not in tags or COLOURS not in tags:
        return "", ""
    if _of(tags, NUMBERS) == FLOATS or max(tags[BITS]) > 16:
        return _too_deep(tags)
    if _of(tags, COMPRESSION) not in TiffImagePlugin.COMPRESSION_INFO:
        return f"a TIFF compressed by method {_of(tags, COMPRESSION)}", "deflate, LZW, JPEG or no compression"
    colours = _COLOURS.get(_of(tags, COLOURS), f"colours of kind {_of(tags, COLOURS)}")
    alpha = " with alpha" if EXTRA in tags else ""
    return f"a TIFF of {tags[BITS][0]}-bit {colours}{alpha}", "RGB or grey, or CMYK without alpha"


def _too_deep(tags: Tags) -> tuple[str, str]:
    numbers = "floats" if _of(tags, NUMBERS) == FLOATS else "integers"
    return f"a TIFF of {max(tags.get(BITS, (1,)))}-bit {numbers}", "8 or 16 bits a channel"


def _of(tags: Tags, tag: int) -> int:
    """The first value of a tag. All that are asked for here are 1 where they are missing (TIFF 6.0, section 8)."""
    return tags.get(tag, (1,))[0]


def _tags(data: bytes) -> Tags:
    """The tags of a TIFF's first picture; empty for other files, and where they are damaged."""
    if not data.startswith(_STARTS):
        return {}
    header = data[: 16 if data[2:3] == b"+" else 8]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that are cut off, which are missing then
            directory = TiffImagePlugin.ImageFileDirectory_v2(header)
            file = io.BytesIO(data)
            file.seek(directory.next)
            directory.load(file)
            return _whole_numbers(directory.items())
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, OverflowError, struct.error):
        return {}


def _whole_numbers(tags: Iterable[tuple[int, Any]]) -> Tags:
    """The tags that hold whole numbers, which those of interest do unless they are damaged."""
    values = {tag: value if isinstance(value, tuple) else (value,) for tag, value in tags}
    return {tag: value for tag, value in values.items() if value and all(isinstance(one, int) for one in value)}

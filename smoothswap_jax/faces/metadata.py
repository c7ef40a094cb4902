"""What a photo's file says beside its pixels, so that a changed photo can say it too.

What would be false of the changed photo is left out: the orientation, which is applied; thumbnails, which show the old
face; the layout of the old file; and XMP that points to further pictures in it, such as gain maps. Content credentials
(C2PA) vouch for the old pixels and are never kept.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngInfo

_OF_THE_FILE = {
    *range(0x00FE, 0x0104),  # size, bits, compression
    *(0x0106, 0x010A, 0x0111, 0x0112, 0x0115, 0x0116, 0x0117, 0x0118, 0x0119, 0x011C, 0x0120, 0x0121, 0x0124, 0x0125),
    *(0x012D, 0x013D, 0x0140, 0x0141, *range(0x0142, 0x0146), 0x014A, 0x014C, *range(0x0152, 0x0157), 0x015B),
    *range(0x0200, 0x020A),  # the thumbnail and old JPEG in TIFF
    *range(0x0211, 0x0215),  # how colours were coded
    *(0x02BC, 0x83BB, 0x8649, 0x8773, 0xCD41),  # XMP, IPTC, Photoshop, ICC, C2PA: kept by other ways or not at all
}
_THUMBNAIL_RESOURCES = {1033, 1036}
_ORIENTATION = rb'tiff:Orientation="\d"|<tiff:Orientation>\d</tiff:Orientation>'
_STALE_XMP = (
    *(b"Container:Directory", b"hdrgm:", b"HDRGainMap", b"GCamera:MicroVideo", b"GCamera:MotionPhoto"),
    *(b"xmpNote:HasExtendedXMP", b"GDepth:", b"GImage:", b"xmpGImg:image"),
)
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error)
SEGMENT = 65_000
"""Bytes of EXIF or XMP that a JPEG file can hold."""


@dataclass(frozen=True)
class Metadata:
    """What is kept of a file, cleaned; empty where the file has none."""

    exif: bytes = b""
    xmp: bytes = b""
    photoshop: bytes = b""
    """The JPEG segment that holds IPTC captions."""
    dpi: tuple[float, float] | None = None
    text: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """PNG's text fields, and the comment of other files as "Comment"."""
    software: str = ""
    """What made the file; it stands before what the other fields say of that."""


def read_metadata(image: Image.Image, size: tuple[int, int]) -> tuple[Metadata, list[str]]:
    """The metadata of a decoded image, and what of it was left out, in words.

    size: width and height of the upright photo.
    """
    info, left_out = image.info, []
    try:
        exif = _clean_exif(image, size)
    except _DAMAGED:
        exif = b""
        left_out.append("its EXIF is damaged and left out")
    xmp = info.get("xmp", b"")
    xmp = re.sub(_ORIENTATION, b"", xmp) if isinstance(xmp, bytes) else b""
    if any(mark in xmp for mark in _STALE_XMP):
        xmp = b""
        left_out.append("its XMP belongs to further pictures in the file (gain map, depth, film) and is left out")
    dpi = info.get("dpi")
    dpi = (float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 1 else None  # 1: no unit is given
    if dpi and size != image.size:  # turned by a quarter
        dpi = dpi[::-1]
    return Metadata(exif, xmp, _photoshop(image), dpi, MappingProxyType(_text(image))), left_out


def _clean_exif(image: Image.Image, size: tuple[int, int]) -> bytes:
    found, clean = image.getexif(), Image.Exif()
    inner = {ifd: dict(found.get_ifd(ifd)) for ifd in (IFD.Exif, IFD.GPSInfo)}
    if IFD.Interop in inner[IFD.Exif]:
        inner[IFD.Exif][IFD.Interop] = dict(found.get_ifd(IFD.Interop))
    for side, pixels in ((Base.ExifImageWidth, size[0]), (Base.ExifImageHeight, size[1])):
        if side in inner[IFD.Exif]:
            inner[IFD.Exif][side] = pixels
    for tag, value in found.items():
        if tag not in _OF_THE_FILE and tag not in inner:
            clean[tag] = value
    for ifd, values in inner.items():
        if values:
            clean[ifd] = values
    return clean.tobytes() if len(clean) else b""


def _text(image: Image.Image) -> dict[str, str]:
    found = {
        key: str(value)
        for key, value in getattr(image, "text", {}).items()
        if key != "XML:com.adobe.xmp" and not key.startswith("Raw profile type")
    }
    comment = image.info.get("comment")
    if isinstance(comment, bytes):
        comment = comment.decode("utf-8", "replace")
    return {**found, "Comment": comment} if comment and isinstance(comment, str) else found


def _photoshop(image: Image.Image) -> bytes:
    """The segment with the IPTC captions, but for one that holds a thumbnail."""
    resources = image.info.get("photoshop")
    if not isinstance(resources, dict) or _THUMBNAIL_RESOURCES & resources.keys():
        return b""
    segments = [bytes(content) for name, content in getattr(image, "applist", []) if name == "APP13"]
    return segments[0] if len(segments) == 1 else b""


# --- writing ----------------------------------------------------------------------------------------------------


def fitting(metadata: Metadata, form: str) -> tuple[Metadata, list[str]]:
    """What a format can hold of it, and what it cannot, in words."""
    left_out = []
    if form == "JPEG":
        if len(metadata.exif) > SEGMENT:
            metadata = replace(metadata, exif=b"")
            left_out.append("EXIF is too long for JPEG and left out")
        if len(metadata.xmp) > SEGMENT:
            metadata = replace(metadata, xmp=b"")
            left_out.append("XMP is too long for JPEG and left out")
    if form != "JPEG" and metadata.photoshop:
        metadata = replace(metadata, photoshop=b"")
        left_out.append(f"IPTC captions are left out: only JPEG keeps them, not {form}")
    own = {key for key, value in metadata.text.items() if value == metadata.software}  # which is written anew
    lost = sorted(metadata.text.keys() - own - ({"Comment"} if form == "JPEG" else set()))
    if form != "PNG" and lost:
        left_out.append(f"text fields are left out ({', '.join(lost)}): only PNG keeps them, not {form}")
    return metadata, left_out


def save_options(metadata: Metadata, form: str) -> dict[str, Any]:
    """Pillow's options to write it."""
    exif = metadata.exif if form == "PNG" else _with_software(metadata, form)
    options: dict[str, Any] = {"exif": exif} if exif else {}
    if metadata.exif and form == "TIFF":
        options["compression"] = "raw"  # Pillow hands other TIFF to libtiff, which writes no nested EXIF
    if metadata.dpi and form != "WEBP":  # there only EXIF tells it
        options["dpi"] = metadata.dpi
    if form == "PNG":
        text, fields = PngInfo(), dict(metadata.text)
        if metadata.software:
            fields["Software"] = _first(metadata.software, fields.get("Software", ""))
        for key, value in fields.items():
            text.add_itxt(key, value)
        if metadata.xmp:
            text.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
        options["pnginfo"] = text
    elif metadata.xmp and form == "TIFF":
        tags = Image.Exif()
        tags.load(exif)
        tags[700] = metadata.xmp
        options["exif"] = tags
    elif metadata.xmp:
        options["xmp"] = metadata.xmp
    if form == "JPEG":
        options["comment"] = metadata.text.get("Comment", "").encode()
        if metadata.photoshop:
            segment = metadata.photoshop
            options["extra"] = b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment
    return options


def _with_software(metadata: Metadata, form: str) -> bytes:
    """The EXIF with what made the file, as far as a JPEG holds both."""
    if not metadata.software:
        return metadata.exif
    tags = Image.Exif()
    tags.load(metadata.exif)
    tags[Base.Software] = _first(metadata.software, str(tags.get(Base.Software, "")))
    exif = tags.tobytes()
    return metadata.exif if form == "JPEG" and len(exif) > SEGMENT else exif


def _first(words: str, others: str) -> str:
    if words in others:
        return others
    return f"{words}; {others}" if others else words

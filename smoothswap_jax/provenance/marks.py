"""What metadata say of a swap, in words that every viewer shows and in IPTC's property for machines."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from PIL.ExifTags import Base

from smoothswap_jax.faces.kinds import VIDEO, kind_of
from smoothswap_jax.faces.metadata import SEGMENT, Metadata
from smoothswap_jax.faces.photos import PhotoError, opened
from smoothswap_jax.faces.video_container import words_of
from smoothswap_jax.faces.video_frames import VideoError
from smoothswap_jax.provenance.credentials import SOURCE_TYPE

MADE_BY = "made by smoothswap-jax, synthetic face"
BY_ANYBODY = "XMP DigitalSourceType"
"""The mark that other programs write, too."""
_NAMESPACE = b"http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_PROPERTY = (
    b'<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="%b"><Iptc4xmpExt:DigitalSourceType>%b'
    b"</Iptc4xmpExt:DigitalSourceType></rdf:Description>" % (_NAMESPACE, SOURCE_TYPE.encode())
)
_OLD = b"|".join(
    rb'\s%b="[^"]*"|<%b>[^<]*</%b>' % (name, name, name)
    for name in (b"Iptc4xmpExt:DigitalSourceType", b"dcterms:provenance")
)
"""What a photo says of itself, which is no longer so: how it was made, and where its credentials lie. A hostile file
has it tried at every byte, so that no part of it may begin with blanks or other things that come in any number."""
_EMPTY = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
_MOST_PIXELS = 1 << 62
"""Nothing is decoded."""


def marked(metadata: Metadata) -> Metadata:
    """With both marks, and all that it had: XMP that is written in another way than all programs do, or that a JPEG
    would no longer hold, stays as it is."""
    if len(metadata.xmp) > SEGMENT:
        return replace(metadata, software=MADE_BY)
    head, end, tail = (unmarked(metadata.xmp) or _EMPTY).rpartition(b"</rdf:RDF>")
    xmp = head + _PROPERTY + end + tail if end else metadata.xmp
    return replace(metadata, software=MADE_BY, xmp=metadata.xmp if len(xmp) > SEGMENT else xmp)


def unmarked(xmp: bytes) -> bytes:
    """XMP without IPTC's property and without the place of credentials."""
    return re.sub(_OLD, b"", xmp.replace(_PROPERTY, b""))


def marks_in(path: Path) -> tuple[str, ...]:
    """Which marks a file has, in words; nothing of a file that cannot be read."""
    try:
        if kind_of(path) == VIDEO:
            said = words_of(os.fspath(path))
            return tuple(f"the container's {key.lower()}" for key, value in said.items() if MADE_BY in value)
        with opened(path, _MOST_PIXELS) as (image, data):
            info = image.info
            exif = {} if image.format == "PNG" else image.getexif()  # for which Pillow would decode all of a PNG
    except (PhotoError, VideoError):
        return ()
    texts = {
        "EXIF Software": exif.get(Base.Software),
        "the text field Software": info.get("Software"),
        "the comment": info.get("comment"),
    }
    found = [where for where, text in texts.items() if MADE_BY in _text(text)]
    xmp = _text(info.get("xmp", info.get("XML:com.adobe.xmp")))
    if SOURCE_TYPE in xmp or (image.format == "GIF" and _PROPERTY in data):
        found.append(BY_ANYBODY)
    return tuple(found)


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

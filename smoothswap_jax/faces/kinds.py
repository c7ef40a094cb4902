"""Whether a file is a photo or a video, told by its first bytes and not by its name."""

from __future__ import annotations

import os
import stat
import struct
import warnings

from PIL import Image

PHOTO, VIDEO, ANIMATION, UNKNOWN = "photo", "video", "animation", "unknown"
"""ANIMATION: a picture format that holds several pictures in time: GIF, WebP, PNG or AVIF."""

HEAD = 64
"""Bytes that are read of each file. Only a few kinds (GIF, PNG, and streams that repeat a byte) are looked into."""

VIDEO_SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".flv", ".f4v", ".wmv", ".asf"),
        *(".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".m2v", ".vob", ".ogv", ".mxf", ".dv"),
    )
)
"""What a file of an unknown kind is taken for is told by its name."""

PILLOW_FAULTS = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, RuntimeError),
    *(ArithmeticError, MemoryError, struct.error, Image.DecompressionBombError),
)
"""What Pillow raises for damaged files."""

_STILLS = (
    *(b"\xff\xd8\xff", b"\xff\x0a", b"\0\0\0\x0cjP  ", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"8BPS"),
    *(b"\0\0\x01\0", b"DDS ", b"P5", b"P6"),
)
_VIDEOS = (
    *(b"\x1aE\xdf\xa3", b"FLV\x01", b"0&\xb2u\x8ef\xcf\x11", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"OggS"),
    *(b"\x06\x0e+4\x02\x05\x01\x01", b"DKIF", b"YUV4MPEG2 ", b".RMF", b"\0\0\0\x01\x67"),
)
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_BRANDS = {
    **dict.fromkeys(_HEIC_BRANDS, (PHOTO, "HEIC")),
    **{b"avif": (PHOTO, "AVIF"), b"avis": (ANIMATION, "AVIF")},
    **dict.fromkeys((b"jp2 ", b"crx "), (PHOTO, "")),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), (UNKNOWN, "")),
}
"""Brands of ISO media files (https://mp4ra.org/registered-types/brands) that are no videos: what they are, and the
format of those that Pillow reads only with a plug-in or from some version on."""
_ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"moof", b"styp", b"sidx")


def kind_of(path: str | os.PathLike[str]) -> str:
    """PHOTO, VIDEO, ANIMATION or UNKNOWN, by the file's content; UNKNOWN also for what cannot be read.

    Only regular files are opened: a pipe might block.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return UNKNOWN
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError:
        return UNKNOWN
    return _by_box(head) or _by_signature(head) or _by_look(head, path)


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether frames are to be taken of the file: it is a video or an animation, or unknown and named like a video."""
    kind = kind_of(path)
    return kind in (VIDEO, ANIMATION) or (
        kind == UNKNOWN and os.path.splitext(os.fspath(path))[1].lower() in VIDEO_SUFFIXES
    )


def iso_format(data: bytes) -> str:
    """ "HEIC", "AVIF" or "" by the brands at the start of a file of the ISO media family."""
    formats = {_BRANDS[brand][1] for brand in _brands(data[:256]) if brand in _BRANDS}
    return next((found for found in ("AVIF", "HEIC") if found in formats), "")


def _brands(head: bytes) -> list[bytes]:
    """The major brand of an ISO base media file and those it is compatible with; empty for other files."""
    if head[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return [head[8:12], *(head[at : at + 4] for at in range(16, end, 4))]


def _by_box(head: bytes) -> str:
    """The kind of an ISO base media file (MP4, QuickTime, HEIF, ...), "" if it is none."""
    if brands := _brands(head):
        if brands[0] == b"avif" and b"avis" in brands:
            return ANIMATION
        return _BRANDS.get(brands[0], (VIDEO, ""))[0]
    return VIDEO if head[4:8] in _ATOMS else ""


def _by_signature(head: bytes) -> str:
    if head[:4] == b"RIFF":
        if head[8:12] == b"WEBP":
            animated = head[12:16] == b"VP8X" and len(head) > 20 and head[20] & 2
            return ANIMATION if animated else PHOTO
        return VIDEO if head[8:12] in (b"AVI ", b"AVIX") else UNKNOWN
    if head.startswith(_STILLS):
        return PHOTO
    return VIDEO if head.startswith(_VIDEOS) else ""


def _by_look(head: bytes, path: str | os.PathLike[str]) -> str:
    """For the kinds whose first bytes do not tell."""
    if head.startswith((b"GIF87a", b"GIF89a")):
        return ANIMATION if _gif_moves(path) else PHOTO
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ANIMATION if head[37:41] != b"IDAT" and _png_moves(path) else PHOTO
    return VIDEO if _repeats_sync_byte(path, head) else UNKNOWN


def _gif_moves(path: str | os.PathLike[str]) -> bool:
    """Whether a GIF has a second picture; False if it is damaged, which its decoder will say."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # who decodes it will check its size
            image = Image.open(path)
        with image:
            return bool(getattr(image, "is_animated", False))
    except PILLOW_FAULTS:
        return False


def _png_moves(path: str | os.PathLike[str]) -> bool:
    """Whether a PNG announces several pictures, before its first (PNG specification, 3rd edition, acTL)."""
    try:
        with open(path, "rb") as file:
            file.seek(8)
            for _ in range(1000):  # chunks of text or of a colour profile
                size, kind = struct.unpack(">I4s", file.read(8))
                if kind in (b"IDAT", b"acTL"):
                    return kind == b"acTL" and struct.unpack(">I", file.read(4))[0] > 1
                file.seek(size + 4, os.SEEK_CUR)
    except (OSError, struct.error):
        pass  # cut off, which its decoder will say
    return False


def _repeats_sync_byte(path: str | os.PathLike[str], head: bytes) -> bool:
    """Whether it is an MPEG transport stream: packets of 188 bytes (192 with time codes) that start with 0x47."""
    starts = [(0, 188), (4, 192)]
    if not any(head[at : at + 1] == b"G" for at, _ in starts):
        return False
    try:
        with open(path, "rb") as file:
            data = file.read(4 * 192)
    except OSError:
        return False
    return any(len(data) > at + 3 * step and all(data[at + i * step] == 0x47 for i in range(4)) for at, step in starts)

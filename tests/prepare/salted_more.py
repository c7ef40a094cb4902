"""Forty more bad or odd inputs beside those of `salted`: turned photos, other formats, files that are no photos."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from tests.prepare.salted import KEPT


def salt_more(folder: Path, face: np.ndarray) -> dict[str, str]:
    """Adds files to `folder`; returns each file's gate, KEPT for those whose face should be kept."""
    photo = Image.fromarray(face)
    files = {**_turned(photo), **_formats(photo), **_metadata(photo), **_no_photos(photo), **_no_faces()}
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    wanted = {name: gate for name, (_, gate) in files.items()}
    os.link(folder / "progressive.jpg", folder / "hard link.jpg")
    (folder / "link to a photo.jpg").symlink_to(folder / "progressive.jpg")
    (folder / "link to nowhere").symlink_to("/nonexistent/photo.jpg")
    (folder / ".hidden.jpg").write_bytes(b"nobody sees this")
    (folder / "empty folder").mkdir()
    wanted |= {"animated.png#1": "no face"}
    return wanted | {"hard link.jpg": KEPT, "link to a photo.jpg": KEPT, "link to nowhere": "unreadable"}


def _file(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _turned(photo: Image.Image) -> dict[str, tuple[bytes, str]]:
    """Faces on their side and upside down, without a word in the file: kept, and their crops stand upright."""
    turns = {degrees: photo.rotate(degrees, expand=True) for degrees in (90, 180, 270)}
    turns |= {degrees: photo.rotate(degrees, Image.Resampling.BICUBIC, fillcolor="grey") for degrees in (30, 135)}
    return {f"turned {degrees}.jpg": (_file(image, "JPEG", quality=92), KEPT) for degrees, image in turns.items()}


def _formats(photo: Image.Image) -> dict[str, tuple[bytes, str]]:
    jpeg = _file(photo, "JPEG", quality=92)
    images = {
        "progressive.jpg": _file(photo, "JPEG", quality=92, progressive=True),
        "half the colour.jpg": _file(photo, "JPEG", quality=92, subsampling=2),
        "no suffix": jpeg,
        "CAPITALS.JPEG": jpeg,
        "pixmap.ppm": _file(photo, "PPM"),
        "targa.tga": _file(photo, "TGA"),
        "wavelets.jp2": _file(photo, "JPEG2000"),
        "pages.tif": _file(photo, "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))]),
        "inks.tif": _file(photo.convert("CMYK"), "TIFF", compression="tiff_lzw"),
        "grey and alpha.png": _file(photo.convert("LA"), "PNG"),
        "animated.png": _file(photo, "PNG", save_all=True, append_images=[Image.new("RGB", photo.size)]),
    }
    return {name: (data, KEPT) for name, data in images.items()}


def _metadata(photo: Image.Image) -> dict[str, tuple[bytes, str]]:
    """Rubbish beside the pixels, which are sound."""
    exif = Image.Exif()
    exif[0x0112] = 9  # no such orientation
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 2_000_000, zip=True)
    return {
        "orientation nine.jpg": (_file(photo, "JPEG", quality=92, exif=exif), KEPT),
        "exif rubbish.jpg": (_file(photo, "JPEG", quality=92, exif=b"Exif\0\0MM\0*" + b"\xff" * 60), KEPT),
        "profile rubbish.jpg": (_file(photo, "JPEG", quality=92, icc_profile=b"no profile" * 30), KEPT),
        "text bomb.png": (_file(photo, "PNG", pnginfo=text), "unreadable"),
    }


def _no_photos(photo: Image.Image) -> dict[str, tuple[bytes, str]]:
    contents = {
        "Thumbs.db": b"\xd0\xcf\x11\xe0" + bytes(500),
        "desktop.ini": b"[.ShellClassInfo]\r\n",
        "names.csv": b"file,person\n",
        "download.jpg.part": _file(photo, "JPEG")[:9000],
        "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><circle r="9"/></svg>',
        "archive.jpg": b"PK\x03\x04" + bytes(300),
        "page.png": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "program.jpg": b"#!/bin/sh\nrm -rf nothing\n",
        "pickle.jpg": b"\x80\x04\x95\x0b\0\0\0\0\0\0\0cos\nsystem\n.",
        "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "bitmap header.bmp": b"BM" + b"\xff" * 52,
        "icon header.ico": b"\0\0\1\0\1\0" + b"\xff" * 16,
    }
    return {name: (data, "unreadable") for name, data in contents.items()}


def _no_faces() -> dict[str, tuple[bytes, str]]:
    stripes = Image.fromarray(np.tile(np.repeat(np.array([0, 255], np.uint8), 8), (256, 16)))
    ball = Image.new("RGB", (300, 300), "white")
    ImageDraw.Draw(ball).ellipse((50, 50, 250, 250), fill="tan", outline="black")
    chart = Image.linear_gradient("L").resize((640, 480))
    images = {"stripes.png": stripes, "ball.png": ball, "gradient.png": chart, "column.png": Image.new("L", (1, 3000))}
    return {name: (_file(image, "PNG"), "no face") for name, image in images.items()}

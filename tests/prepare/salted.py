"""Sixty bad or odd inputs in one person's folder, made from one photo with a face; and the expected outcome of each."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.faces.make_photos import STORED
from tests.faces.make_videos import write_video

KEPT = ""


def salt(folder: Path, face: np.ndarray) -> dict[str, str]:
    """Fills `folder`; returns each file's gate, KEPT for those whose face should be kept."""
    folder.mkdir(parents=True)
    photo = Image.fromarray(face)
    wanted: dict[str, str] = {}

    def put(name: str, data: bytes, gate: str) -> None:
        (folder / os.fsdecode(name)).write_bytes(data)
        wanted[os.fsdecode(name)] = gate

    def file(image: Image.Image, form: str, **options) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        return buffer.getvalue()

    jpeg, png = file(photo, "JPEG", quality=92), file(photo, "PNG")
    for share in (0.02, 0.3, 0.6, 0.9):
        put(f"truncated {share}.jpg", jpeg[: int(len(jpeg) * share)], "unreadable")
        put(f"truncated {share}.png", png[: int(len(png) * share)], "unreadable")
    for suffix in ("jpg", "png", "webp", "mp4"):
        put(f"zero bytes.{suffix}", b"", "unreadable")
    for number, text in enumerate(
        (b"no photo", b"<html><body>404</body></html>", b"\0" * 5000, b"GIF89a", b"\xff\xd8\xff")
    ):
        put(f"text {number}.jpg", text, "unreadable")
    put("unknown pixels.dds", b"DDS " + struct.pack("<II", 124, 0x1007) + bytes(116), "unreadable")
    put("noise.mp4", np.random.default_rng(0).bytes(20_000), "unreadable")
    put("photo.mp4", jpeg, KEPT)
    put("damaged middle.png", png[:5000] + b"\0" * 300 + png[5300:], "unreadable")
    put("huge header.png", _png_header(30_000, 30_000), "unreadable")
    put("huge zeros.png", _png_header(30_000, 30_000, zlib.compress(bytes(1000))), "unreadable")
    put("float.tif", file(Image.fromarray(np.ones((64, 64), np.float32)), "TIFF"), "unreadable")

    grey16 = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    put("sixteen bits.png", file(Image.fromarray(grey16), "PNG"), KEPT)
    put("sixteen bits.tif", file(Image.fromarray(grey16), "TIFF"), KEPT)
    put("cmyk.jpg", file(photo.convert("CMYK"), "JPEG", quality=92), KEPT)
    put("palette.png", file(photo.quantize(256), "PNG"), KEPT)
    put("palette.gif", file(photo.quantize(256), "GIF"), KEPT)
    put("grey.jpg", file(photo.convert("L"), "JPEG", quality=92), KEPT)
    put("bitmap.bmp", file(photo, "BMP"), KEPT)
    put("lossless.webp", file(photo, "WEBP", lossless=True), KEPT)
    transparent = photo.convert("RGBA")
    transparent.putalpha(
        Image.fromarray(np.where(np.arange(512)[:, None] < 400, 255, 0).repeat(512, 1).astype(np.uint8))
    )
    put("transparent.png", file(transparent, "PNG"), KEPT)
    frames = [photo, Image.new("RGB", photo.size, "white")]
    put("animated.gif", file(frames[0].quantize(256), "GIF", save_all=True, append_images=frames[1:]), KEPT)
    put("animated.webp", file(frames[0], "WEBP", save_all=True, append_images=frames[1:], quality=92), KEPT)
    wanted |= {"animated.gif#1": "no face", "animated.webp#1": "no face"}
    for name, container in (("video.jpg", "mp4"), ("video without suffix", "webm")):
        codec = "mpeg4" if container == "mp4" else "libvpx"
        write_video(folder / name, [face], container=container, codec=codec)
        wanted[name] = KEPT
    put("playlist.mp4", b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n", "unreadable")
    put("trailing rubbish.jpg", jpeg + b"rubbish" * 100, KEPT)
    put("wrong suffix.png", jpeg, KEPT)
    for orientation in range(1, 9):
        stored = photo if orientation == 1 else photo.transpose(STORED[orientation])
        exif = Image.Exif()
        exif[0x0112] = orientation
        put(f"rotated {orientation}.jpg", file(stored, "JPEG", quality=92, exif=exif), KEPT)
    for name in ("Ж Лицо.jpg", "顔 写真.jpg", "naïve café.jpg", "🙂.jpg", 'a"b,c\n<b>.jpg'):
        put(name, jpeg, KEPT)
    put(os.fsdecode(b"\xff\xfe not utf-8.jpg"), jpeg, KEPT)

    noise = np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
    put("no face.jpg", file(Image.fromarray(noise), "JPEG"), "no face")
    put("flat.png", file(Image.new("RGB", (300, 200), "navy"), "PNG"), "no face")
    put("one pixel.png", file(Image.new("RGB", (1, 1)), "PNG"), "no face")
    put("strip.png", file(Image.new("RGB", (4000, 1), "red"), "PNG"), "no face")
    put("tiny face.jpg", file(photo.resize((96, 96)), "JPEG", quality=95), "too small")
    crowd = Image.new("RGB", (1536, 1024))
    for i in range(6):
        crowd.paste(photo, (512 * (i % 3), 512 * (i // 3)))
    put("crowd.jpg", file(crowd, "JPEG", quality=92), "several faces")

    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "dead.jpg").symlink_to(folder / "nothing")
    (folder / "up").symlink_to(folder.parent)
    (folder / "folder.jpg").mkdir()
    (folder / "folder.jpg" / "inside.jpg").write_bytes(jpeg)
    os.mkfifo(folder / "pipe.jpg")
    wanted |= {"loop.jpg": "unreadable", "dead.jpg": "unreadable", "up": "misplaced", "pipe.jpg": "unreadable"}
    return wanted | {"folder.jpg/inside.jpg": "misplaced"}


def _png_header(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG that claims a size it does not hold."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")

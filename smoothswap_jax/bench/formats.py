"""A portrait in every format, with all that a camera or editor writes beside it, before and after a swap."""

from __future__ import annotations

import contextlib
import io
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageCms, JpegImagePlugin, features

from smoothswap_jax.bench.profiles import adobe_profile, inks_profile, p3_profile
from smoothswap_jax.faces.align import paste_mask
from smoothswap_jax.faces.original import Original, read_original
from smoothswap_jax.faces.photos import Photo, is_writable
from smoothswap_jax.inference.files import swap_files
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.provenance.marks import unmarked

COMMENT, DPI = "at the sea", 300
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="a camera"/></rdf:RDF></x:xmpmeta>'
)
_MADE_ANEW = (
    *(ExifTags.Base.Orientation, *range(256, 260), 262, 273, *range(277, 280), 282, 283, 284, 296, 700, 34675),
    *(ExifTags.Base.Software, 52545),
)
"""EXIF's orientation, which is applied, and tags of TIFF's layout, resolution, XMP and profile, which are compared
otherwise or may differ; and what marks a swap."""


BESIDE = ("profile", "EXIF", "XMP", "DPI", "comment", "JPEG's tables")


class Facts(NamedTuple):
    """What a file says of itself, in words, and then what is beside its pixels, in the order of `BESIDE`."""

    words: str
    profile: bytes
    exif: dict[int, Any]
    xmp: bytes
    dpi: int
    comment: str
    tables: str


def formats_table(swapper: Swapper, source: Path, portrait: Photo) -> str:
    """Writes the portrait in each format, swaps in the face of `source`, and compares, as a Markdown table."""
    rows = [
        "| what went in | what came out | kept beside the pixels | alpha | same pixels outside the square | words |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, write in kinds().items():
            target = Path(folder, name)
            target.write_bytes(write(portrait))
            out = Path(folder, f"swapped-{name}" if is_writable(target) else f"swapped-{name}.png")
            said = swap_files(swapper, source, target, out)
            rows.append(_row(swapper, target, out, said))
    return "\n".join(rows)


def _row(swapper: Swapper, target: Path, out: Path, said: tuple[str, ...]) -> str:
    before, after = facts_of(target), facts_of(out)
    beside = {name: value for name, value in zip(BESIDE, before[1:], strict=True) if value}
    there = dict(zip(BESIDE, after[1:], strict=True))
    lost = [name for name, value in beside.items() if there[name] != value]
    kept = ", ".join(name for name in beside if name not in lost) + (f"; not {', '.join(lost)}" if lost else "")
    old, new = read_original(target), read_original(out)
    alpha = "" if not old.alpha else "kept" if np.array_equal(old.values[:, :, -1], new.values[:, :, -1]) else "not"
    came = "the same" if after.words == before.words else after.words
    return f"| {before.words} | {came} | {kept} | {alpha} | {_same_outside(swapper, old, new)} | {'; '.join(said)} |"


def _same_outside(swapper: Swapper, old: Original, new: Original) -> str:
    """The share of pixels outside the face's square whose colours are the same: the files' own values, or sRGB's where
    these are of another kind."""
    _, (quad,) = swapper.locate(old)
    rows, columns, weights = paste_mask(old.photo.shape, quad)
    outside = np.ones(old.photo.shape[:2], bool)
    outside[rows, columns] = weights == 0
    alike = old.space == new.space and old.values.dtype == new.values.dtype
    before, after = (one.values[:, :, : len(old.space.mode)] if alike else one.photo for one in (old, new))
    share = (before == after).all(2)[outside].mean()
    return "all" if share == 1 else f"{100 * share:.3g}%"


def facts_of(path: Path) -> Facts:
    """Read by Pillow alone, and not by what wrote the file."""
    with Image.open(path) as image:
        image.load()
        info, exif = image.info, image.getexif()
        tags = {tag: value for tag, value in exif.items() if tag not in (*_MADE_ANEW, *ExifTags.IFD)}
        for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            tags |= {ifd * 100_000 + tag: value for tag, value in exif.get_ifd(ifd).items()}
        comment = info.get("comment", getattr(image, "text", {}).get("Comment", ""))
        comment = comment.decode() if isinstance(comment, bytes) else comment
        jpeg = isinstance(image, JpegImagePlugin.JpegImageFile)
        sampling = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}.get(JpegImagePlugin.get_sampling(image), "") if jpeg else ""
        words = [str(image.format), _mode(image), f"{_bits(path, image)} bits", sampling]
        words += ["progressive"] if info.get("progressive") else []
        words += [str(info["compression"])] if image.format == "TIFF" and "compression" in info else []
        words += ["lossless" if b"VP8L" in path.read_bytes()[12:64] else "lossy"] if image.format == "WEBP" else []
        words += [f"{image.width}x{image.height}", _named(info.get("icc_profile"))]
        if exif.get(ExifTags.Base.Orientation, 1) != 1:
            words.append("to be turned")
        tables = str(sorted(image.quantization.items())) if jpeg else ""  # type: ignore[attr-defined]
        dpi = round(float(info.get("dpi", (0,))[0]))
        icc = info.get("icc_profile") or b""
    return Facts(" ".join(filter(None, words)), icc, tags, unmarked(_xmp(info)), dpi if dpi > 1 else 0, comment, tables)


def _mode(image: Image.Image) -> str:
    palette = " (palette)" if image.mode == "P" else ""
    return "grey" if image.mode[0] in "LI" else f"{'RGB' if palette else image.mode}{palette}"


def _bits(path: Path, image: Image.Image) -> int:
    if image.format == "PNG":
        return path.read_bytes()[24]
    return image.tag_v2[258][0] if image.format == "TIFF" else 8  # type: ignore[attr-defined]


def _named(icc: bytes | None) -> str:
    return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc))).strip() if icc else ""


def _xmp(info: dict) -> bytes:
    xmp = info.get("xmp", info.get("XML:com.adobe.xmp", b""))
    return xmp.encode() if isinstance(xmp, str) else xmp


# --- files to try ---------------------------------------------------------------------------------------------------


def kinds() -> dict[str, Callable[[Photo], bytes]]:
    """By file name, what writes a picture so, with EXIF, XMP, DPI and a comment where the format has them."""
    found: dict[str, Callable[[Photo], bytes]] = {
        "420.jpg": lambda rgb: _jpeg(rgb, quality=90, subsampling=2),
        "444.jpg": lambda rgb: _jpeg(rgb, quality=95, subsampling=0, progressive=True),
        "turned.jpg": lambda rgb: _jpeg(np.rot90(rgb), orientation=6, quality=90, subsampling=2),
        "grey.jpg": lambda rgb: _jpeg(_grey(rgb), quality=90),
        "p3.jpg": lambda rgb: _jpeg(rgb, p3_profile(), quality=95, subsampling=0),
        "adobe.jpg": lambda rgb: _jpeg(rgb, adobe_profile(), quality=95, subsampling=0),
        "inks.jpg": lambda rgb: _jpeg(rgb, inks_profile(), "CMYK", quality=95),
        "inks.tif": lambda rgb: _tiff(rgb, inks_profile(), "CMYK"),
        "p3.tif": lambda rgb: _tiff(rgb, p3_profile()),
        "16.tif": _deep_tiff,
        "8.png": _png,
        "p3.png": lambda rgb: _png(rgb, p3_profile()),
        "alpha.png": lambda rgb: _png(np.dstack([rgb, _ramp(rgb)])),
        "palette.png": lambda rgb: _png(Image.fromarray(rgb).quantize(256)),
        "16.png": _deep_png,
        "16 grey.png": lambda rgb: _png(_deep(rgb)[:, :, 1]),
        "lossy.webp": lambda rgb: _saved(Image.fromarray(rgb), "WEBP", exif=_exif(), xmp=XMP, quality=90),
        "lossless.webp": lambda rgb: _saved(
            Image.fromarray(np.dstack([rgb, _ramp(rgb)])), "WEBP", exif=_exif(), xmp=XMP, lossless=True, exact=True
        ),
    }
    if features.check("avif"):
        found["a.avif"] = lambda rgb: _saved(Image.fromarray(rgb), "AVIF", exif=_exif(), xmp=XMP, quality=90)
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        found["phone.heic"] = lambda rgb: _saved(Image.fromarray(rgb), "HEIF", exif=_exif(), xmp=XMP, quality=90)
    return found


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _exif(orientation: int = 1) -> Image.Exif:
    """A camera's: maker, time, exposure and place."""
    found = Image.Exif()
    found[ExifTags.Base.Make], found[ExifTags.Base.Model] = "Maker", "Model 1"
    found[ExifTags.Base.Orientation] = orientation
    found[ExifTags.IFD.Exif] = {ExifTags.Base.ExposureTime: 0.01, ExifTags.Base.DateTimeOriginal: "2026:01:02 03:04:05"}
    found[ExifTags.IFD.GPSInfo] = {1: "N", 2: (51.0, 30.0, 0.0)}
    return found


def _in_profile(rgb: np.ndarray, profile: bytes, mode: str = "RGB") -> Image.Image:
    there = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    made = ImageCms.profileToProfile(Image.fromarray(rgb), ImageCms.createProfile("sRGB"), there, outputMode=mode)
    assert made is not None
    return made


def _jpeg(rgb: np.ndarray, profile: bytes = b"", mode: str = "RGB", orientation: int = 1, **options: Any) -> bytes:
    image = _in_profile(rgb, profile, mode) if profile else Image.fromarray(np.ascontiguousarray(rgb))
    options |= {"icc_profile": profile} if profile else {}
    beside = {"exif": _exif(orientation), "xmp": XMP, "dpi": (DPI, DPI), "comment": COMMENT}
    return _saved(image, "JPEG", **beside, **options)


def _tiff(rgb: np.ndarray, profile: bytes, mode: str = "RGB") -> bytes:
    tags = Image.Exif()
    tags.load(_exif().tobytes())
    tags[700] = XMP
    image = _in_profile(rgb, profile, mode)
    return _saved(image, "TIFF", exif=tags, dpi=(DPI, DPI), icc_profile=profile, compression="raw")


def _png(picture: np.ndarray | Image.Image, profile: bytes = b"") -> bytes:
    if profile:
        picture = _in_profile(np.asarray(picture), profile)
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.ascontiguousarray(picture))
    return _with_chunks(_saved(image, "PNG", **({"icc_profile": profile} if profile else {})))


def _with_chunks(png: bytes) -> bytes:
    """With EXIF, DPI, XMP and a comment behind the header."""
    metre = round(DPI / 0.0254)
    chunks = {
        b"pHYs": struct.pack(">IIB", metre, metre, 1), b"tEXt": b"Comment\0" + COMMENT.encode(),
        b"iTXt": b"XML:com.adobe.xmp" + bytes(5) + XMP, b"eXIf": _exif().tobytes()[6:],
    }  # fmt: skip
    made = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks.items()
    )
    return png[:33] + made + png[33:]


def _deep(rgb: np.ndarray) -> np.ndarray:
    """In 16 bits, with values between the 8-bit ones."""
    fine = np.random.default_rng(0).integers(0, 257, rgb.shape, np.uint16)
    return (rgb.astype(np.uint32) * 256 + fine).clip(0, 65535).astype(np.uint16)


def _deep_png(rgb: np.ndarray) -> bytes:
    import cv2

    return _with_chunks(cv2.imencode(".png", np.ascontiguousarray(_deep(rgb)[:, :, ::-1]))[1].tobytes())


def _deep_tiff(rgb: np.ndarray) -> bytes:
    import tifffile

    file = io.BytesIO()
    beside: list[Any] = [(271, "s", 0, "Maker", True), (700, 1, len(XMP), XMP, True)]
    tifffile.imwrite(
        file, _deep(rgb), photometric="RGB", metadata=None, resolution=(DPI, DPI), resolutionunit="INCH",
        iccprofile=p3_profile(), extratags=beside, software=False,
    )  # fmt: skip
    return file.getvalue()


def _grey(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).convert("L"))


def _ramp(rgb: np.ndarray) -> np.ndarray:
    """Opaque on the left, transparent on the right, `uint8 [h, w, 1]`."""
    row = np.clip(np.linspace(400, -100, rgb.shape[1]), 0, 255).astype(np.uint8)
    return np.repeat(row[None, :, None], rgb.shape[0], axis=0)

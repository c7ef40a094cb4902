"""Photos as cameras, phones and editors write them, drawn here, because none is kept in the repository.

    python -m tests.faces.make_photos --out=DIR [--portrait=PHOTO]

writes one of each kind, of a portrait if one is given.
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from smoothswap_jax.bench.profiles import grey_profile, inks_profile, p3_profile

Draw = Callable[[np.ndarray], bytes]
"""The bytes of a file that shows a picture, `uint8 [h, w, 3]`."""


def picture(height: int = 96, width: int = 128, seed: int = 0) -> np.ndarray:
    """Smooth colours with a little grain, `uint8 [h, w, 3]`, 40 to 200."""
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([60 + 120 * x / width, 60 + 120 * y / height, 180 - 60 * x / width - 60 * y / height], axis=2)
    grain = np.random.default_rng(seed).normal(0, 4, smooth.shape)
    return np.clip(smooth + grain, 40, 200).astype(np.uint8)


# --- metadata ---------------------------------------------------------------------------------------------------

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    b'tiff:Orientation="6" dc:source="a camera"/></rdf:RDF></x:xmpmeta>'
)


def exif(orientation: int = 1, size: tuple[int, int] = (128, 96)) -> Image.Exif:
    """A camera's: maker, time, exposure, place, and the size of the stored pixels."""
    found = Image.Exif()
    found[0x010F], found[0x0110], found[0x0112] = "Maker", "Model 1", orientation
    found[0x8769] = {
        0x829A: 0.01,
        0x9003: "2026:01:02 03:04:05",
        0xA002: size[0],
        0xA003: size[1],
        0x927C: b"makers own",
    }
    found[0x8825] = {1: "N", 2: (51.0, 30.0, 0.0)}
    return found


STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera stores an upright picture for each orientation: the inverse of the turn that the tag asks for."""


# --- files ------------------------------------------------------------------------------------------------------


def _saved(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def turned(rgb: np.ndarray, orientation: int, form: str = "JPEG") -> bytes:
    """A photo with camera's metadata, stored for an EXIF orientation."""
    image = Image.fromarray(rgb)
    image = image.transpose(STORED[orientation]) if orientation in STORED else image
    options = {"quality": 92, "dpi": (300, 300), "xmp": XMP} if form == "JPEG" else {}
    return _saved(image, form, exif=exif(orientation, image.size), **options)


def jpeg(rgb: np.ndarray, quality: int = 80, subsampling: int = 2, **options) -> bytes:
    return _saved(Image.fromarray(rgb), "JPEG", quality=quality, subsampling=subsampling, **options)


def jpeg_411(rgb: np.ndarray) -> bytes:
    """Chroma at a quarter of the width, as camcorders and some scanners have it."""
    import cv2

    return cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x411111])[1].tobytes()


def p3(rgb: np.ndarray, form: str = "JPEG") -> bytes:
    """Its values taken as Display P3."""
    return _saved(Image.fromarray(rgb), form, icc_profile=p3_profile(), **({"quality": 95} if form == "JPEG" else {}))


def inks(rgb: np.ndarray, profile: bool = True, form: str = "TIFF") -> bytes:
    image, icc = Image.fromarray(rgb), inks_profile()
    if not profile:
        return _saved(image.convert("CMYK"), form)
    there = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(icc)), "RGB", "CMYK"
    )
    options = {"quality": 95} if form == "JPEG" else {}
    return _saved(ImageCms.applyTransform(image, there), form, icc_profile=icc, **options)


def deep(rgb: np.ndarray) -> np.ndarray:
    """The picture in 16 bits, with values between the 8-bit ones."""
    fine = np.random.default_rng(1).integers(0, 257, rgb.shape, np.uint16)
    return (rgb.astype(np.uint32) * 256 + fine).clip(0, 65535).astype(np.uint16)


def deep_colours(rgb: np.ndarray, form: str = "PNG", alpha: bool = False) -> bytes:
    import cv2

    values = deep(rgb)[:, :, ::-1]
    if alpha:
        values = np.dstack([values, deep(ramp(rgb))[:, :, 0]])
    return cv2.imencode(".png" if form == "PNG" else ".tiff", np.ascontiguousarray(values))[1].tobytes()


def deep_grey(rgb: np.ndarray, form: str = "PNG") -> bytes:
    return _saved(Image.fromarray(deep(rgb)[:, :, 1]), form)


def ramp(rgb: np.ndarray) -> np.ndarray:
    """Opaque on the left, transparent on the right, `uint8 [h, w, 1]`."""
    row = np.clip(np.linspace(400, -100, rgb.shape[1]), 0, 255).astype(np.uint8)
    return np.repeat(row[None, :, None], rgb.shape[0], axis=0)


def clear(rgb: np.ndarray, form: str = "PNG", **options) -> bytes:
    """With alpha; WebP lossless unless told otherwise."""
    options = {"lossless": True, "exact": True, **options} if form == "WEBP" else options
    return _saved(Image.fromarray(np.concatenate([rgb, ramp(rgb)], axis=2)), form, **options)


def palette(rgb: np.ndarray) -> bytes:
    image = Image.fromarray(rgb).quantize(64)
    return _saved(image, "PNG", transparency=0)


def grey_of(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).convert("L"))


def grey(rgb: np.ndarray, form: str = "JPEG", **options) -> bytes:
    return _saved(Image.fromarray(grey_of(rgb)), form, **options)


def grey_in_rgb(rgb: np.ndarray, form: str = "JPEG") -> bytes:
    return _saved(Image.fromarray(grey_of(rgb)).convert("RGB"), form)


def sepia_of(rgb: np.ndarray) -> np.ndarray:
    """From dark brown over tan to cream."""
    level = grey_of(rgb).astype(float)
    return np.stack(
        [np.interp(level, (0, 128, 255), colour) for colour in ((30, 150, 255), (20, 120, 244), (15, 90, 222))], axis=2
    ).astype(np.uint8)


def sepia(rgb: np.ndarray) -> bytes:
    return _saved(Image.fromarray(sepia_of(rgb)), "JPEG", quality=85)


def heic(rgb: np.ndarray) -> bytes:
    """What iPhones write; needs pillow-heif."""
    import pillow_heif

    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(rgb)).save(file, format="HEIF", quality=90)
    return file.getvalue()


def huge(form: str = "JPEG", size: tuple[int, int] = (12_000, 9_000), middle: np.ndarray | None = None) -> bytes:
    """A flat picture of 108 megapixels, as phones have them, with another in its middle."""
    image = Image.new("RGB", size, (120, 130, 140))
    if middle is not None:
        image.paste(Image.fromarray(middle), ((size[0] - middle.shape[1]) // 2, (size[1] - middle.shape[0]) // 2))
    return _saved(image, form, **({"quality": 90} if form == "JPEG" else {"compress_level": 1}))


KINDS: dict[str, Draw] = {
    **{f"turned-{n}.jpg": lambda rgb, n=n: turned(rgb, n) for n in range(1, 9)},
    "p3.jpg": p3,
    "p3.png": lambda rgb: p3(rgb, "PNG"),
    "cmyk.jpg": lambda rgb: inks(rgb, form="JPEG"),
    "cmyk.tif": inks,
    "cmyk-plain.tif": lambda rgb: inks(rgb, profile=False),
    "16-bit-grey.png": deep_grey,
    "16-bit-grey.tif": lambda rgb: deep_grey(rgb, "TIFF"),
    "16-bit.png": deep_colours,
    "16-bit-alpha.png": lambda rgb: deep_colours(rgb, alpha=True),
    "16-bit.tif": lambda rgb: deep_colours(rgb, "TIFF"),
    "alpha.png": clear,
    "alpha.webp": lambda rgb: clear(rgb, "WEBP"),
    "alpha-lossy.webp": lambda rgb: clear(rgb, "WEBP", lossless=False, quality=90),
    "palette.png": palette,
    "420.jpg": jpeg,
    "420-progressive.jpg": lambda rgb: jpeg(rgb, progressive=True),
    "422.jpg": lambda rgb: jpeg(rgb, quality=70, subsampling=1),
    "411.jpg": jpeg_411,
    "grey.jpg": grey,
    "grey-profile.png": lambda rgb: grey(rgb, "PNG", icc_profile=grey_profile()),
    "grey-in-rgb.jpg": grey_in_rgb,
    "sepia.jpg": sepia,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--portrait", type=Path)
    args = parser.parse_args()
    rgb = np.asarray(Image.open(args.portrait).convert("RGB")) if args.portrait else picture()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, draw in KINDS.items():
        (args.out / name).write_bytes(draw(rgb))
    for name, form in (("huge.jpg", "JPEG"), ("huge.png", "PNG")):
        (args.out / name).write_bytes(huge(form, middle=rgb))
    try:
        (args.out / "phone.heic").write_bytes(heic(rgb))
    except ImportError:
        print("phone.heic: not written, it needs pillow-heif")
    print(f"{len(list(args.out.iterdir()))} files in {args.out}")


if __name__ == "__main__":
    main()

"""Reading and writing photographs: any common file in, `uint8 [h, w, 3]` sRGB out, and back.

Whatever is wrong with a file is raised as one exception, `PhotoError`, whose text names the file, what was found and
what is wanted.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError, features

from smoothswap_jax.faces import tiff
from smoothswap_jax.faces.kinds import PILLOW_FAULTS, VIDEO, iso_format, kind_of
from smoothswap_jax.faces.packages import missing_package

Photo = UInt8[np.ndarray, "h w 3"]
PathLike = str | os.PathLike[str]

MAX_PIXELS = 80_000_000
"""What `load_photo` takes by default, 240 MB decoded. Larger photos are refused before they are decoded: a small file
may claim a huge size (a decompression bomb)."""
MAX_REDUCED = 250_000_000
"""What `load_reduced` takes by default. JPEG is decoded small; other formats take up to 7 bytes a pixel, 1.8 GB."""

_MOST_IN_A_JPEG_BYTE = 8 * 64
"""Pixels: a square of 8x8 takes a bit at least (Huffman codes). libjpeg paints grey what a file lacks that claims
more."""

# Near-lossless settings: a swap should not lose quality to its own file. Chroma subsampling would smear the
# lips.
_WRITERS: dict[str, tuple[str, dict[str, object]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"quality": 95, "method": 4}),
    ".tif": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
}


class PhotoError(ValueError):
    """A photo could not be read or written; the text names the file, what was found and what is wanted."""


class TooLarge(PhotoError):
    """A photo, or a picture that moves, has more pixels than may be."""


def load_photo(path: PathLike, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Reads an image file as an upright sRGB photo, `uint8 [h, w, 3]`, values 0-255.

    EXIF rotation is applied; colours with an embedded ICC profile (Display P3, CMYK inks, ...) are converted to sRGB;
    transparent images are composited on white, because their hidden colours are arbitrary; 16-bit grey is scaled to 8
    bits, not clipped; of an animation the first frame is read. HEIC needs the extra `heic`.

    Raises:
      PhotoError: the file is missing, a folder or device, empty, not an image, truncated, of more than `max_pixels`, or
        has float pixels.
    """
    with opened(path, max_pixels) as (image, _):
        image.load()
        return photo_from_pil(image, os.fspath(path))


def check_size(path: PathLike, max_pixels: int) -> None:
    """Raises `TooLarge` for a photo, or a picture that moves, of more than `max_pixels`, and for what cannot be opened
    as `load_photo` does. Nothing is decoded."""
    with opened(path, max_pixels):
        pass


def load_reduced(path: PathLike, *, max_pixels: int = MAX_REDUCED) -> Photo:
    """`load_photo`, with photos of more than `MAX_PIXELS` at a half, a third, ... of their size, so that none has more.

    JPEG is decoded at a half, a quarter or an eighth, which takes no more memory than a small photo; other formats are
    decoded whole and then averaged. Raises as `load_photo` does.
    """
    with opened(path, max_pixels) as (image, _):
        width, height = image.size
        factor = shrink_factor(width, height)
        if factor > 1:
            half = next(2**n for n in range(1, 4) if 2**n >= min(factor, 8))
            image.draft(None, (width // half, height // half))  # other formats ignore it
        image.load()
        photo = photo_from_pil(image, os.fspath(path))
    return reduced(photo, shrink_factor(photo.shape[1], photo.shape[0]))


def shrink_factor(width: int, height: int) -> int:
    """The least whole number by which both sides are to be divided for at most `MAX_PIXELS`."""
    factor = 1
    while -(-width // factor) * -(-height // factor) > MAX_PIXELS:
        factor += 1
    return factor


@contextmanager
def opened(path: PathLike, max_pixels: int = MAX_PIXELS) -> Iterator[tuple[Image.Image, bytes]]:
    """Opens an image file of any format, told by its content: (Pillow's image, not yet decoded; the file's bytes).

    Whatever goes wrong here, and whatever Pillow raises inside the `with` block, becomes a `PhotoError`.
    """
    name = os.fspath(path)
    data, width, height = _read_bytes(name), 0, 0
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged metadata, which say nothing of the picture
            image = open_image(data, name)
            width, height = image.size
            if width * height > max_pixels:
                raise TooLarge(
                    f"{name}: found {width}x{height} pixels; wanted at most {max_pixels:,} in all, "
                    "a higher limit (--max-megapixels) or a smaller copy"
                )
            if image.format == "JPEG" and width * height > _MOST_IN_A_JPEG_BYTE * len(data):
                raise PhotoError(
                    f"{name}: found {width}x{height} pixels in {len(data):,} bytes, fewer than any JPEG takes; wanted "
                    "a whole one"
                )
            found, wanted = tiff.misread(image)
            if found:
                raise PhotoError(f"{name}: found {found}; wanted {wanted}")
            yield image, data
    except PhotoError:
        raise
    except MemoryError:
        raise PhotoError(
            f"{name}: found {width}x{height} pixels, for which the memory is not enough; wanted a smaller copy"
        ) from None
    except Image.DecompressionBombError as error:
        raise PhotoError(
            f"{name}: found an image of absurd size ({error}); wanted at most {max_pixels:,} pixels"
        ) from None
    except UnidentifiedImageError:
        found, wanted = tiff.unread(data)
        if not found:
            found = f"{len(data)} bytes in no known image format (they start with {data[:8]!r})"
            found = "a video" if kind_of(name) == VIDEO else found
            wanted = "a photo such as JPEG, PNG or WebP"
        raise PhotoError(f"{name}: found {found}; wanted {wanted}") from None
    except PILLOW_FAULTS as error:
        said = " ".join(str(error).split())  # libheif's have two lines
        raise PhotoError(f"{name}: found a damaged or truncated image ({said}); wanted a whole one") from error


_OPENING = threading.Lock()
_PROGRAMS = ("EPS",)
"""Formats that are programs: Pillow would have Ghostscript run them."""


def open_image(data: bytes, name: str) -> Image.Image:
    """A picture of any format that can be read, not yet decoded; `name` is for errors.

    Pillow's own limit of size does not hold: the caller is to check the size before anything is decoded.

    Raises:
      PhotoError: a package that the format needs is missing.
      Exception: whatever Pillow raises for files that are damaged or no pictures.
    """
    kind = iso_format(data)
    if kind == "HEIC":
        try:
            import pillow_heif
        except ImportError:
            needed = missing_package("reading HEIC photos", "pillow-heif", "heic")
            raise PhotoError(f"{name}: found a HEIC photo; {needed}") from None
        pillow_heif.register_heif_opener()
    elif kind == "AVIF" and not features.check("avif"):
        raise PhotoError(f"{name}: found an AVIF photo; wanted Pillow 11.3 or later, with AVIF, to read it")
    with _OPENING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            Image.init()
            return Image.open(io.BytesIO(data), formats=[form for form in Image.ID if form not in _PROGRAMS])
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def photo_from_pil(image: Image.Image, name: str = "image") -> Photo:
    """Converts a Pillow image of any mode to an upright sRGB photo, `uint8 [h, w, 3]`; see `load_photo`.

    `name` stands for the image in errors. Raises `PhotoError` for float pixels, whose range is unknown.
    """
    if orientation_of(image) != 1:  # it would copy an upright photo, too
        image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise PhotoError(f"{name}: found float pixels (mode F); wanted 8 or 16 bits a channel")
    if image.mode.startswith("I"):  # 16-bit PNG and TIFF are "I;16", 16-bit PGM is "I"
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise PhotoError(f"{name}: found grey levels {levels.min()}..{levels.max()}; wanted 16 bits, 0..65535")
        grey = np.rint(levels / 257.0).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or image.has_transparency_data:
        icc = image.info.get("icc_profile")
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
        image.info["icc_profile"] = icc
    return pixels_of(_to_srgb(image, name))


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where the EXIF data are damaged, which says nothing of the picture."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except PILLOW_FAULTS:
        return 1
    return int(found) if found in range(1, 9) else 1


def pixels_of(image: Image.Image) -> UInt8[np.ndarray, "h w *c"]:
    """The values of a Pillow image of 8 bits, in strips: Pillow's own way takes twice the memory."""
    pixels = np.empty((image.height, image.width, *[len(image.getbands())] * (len(image.getbands()) > 1)), np.uint8)
    for top in range(0, image.height, 1024):
        strip = (0, top, image.width, min(top + 1024, image.height))
        pixels[top : top + 1024] = np.asarray(image.crop(strip))
    return pixels


def check_photo(photo: np.ndarray, name: str = "photo") -> Photo:
    """Returns `photo` if it is `uint8 [h, w, 3]` with at least one pixel; raises `PhotoError` otherwise."""
    photo = np.asarray(photo)
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or photo.size == 0:
        raise PhotoError(f"{name}: found {photo.dtype} {list(photo.shape)}; wanted uint8 [height, width, 3]")
    return photo


def check_output(path: PathLike, also: Sequence[str] = ()) -> None:
    """Raises `PhotoError` unless `path` has a known suffix, or one of `also`, lies in an existing folder and is not
    itself a folder.

    For callers who want to fail before minutes of work rather than after them.
    """
    target = Path(path)
    if not is_writable(target) and target.suffix.lower() not in also:
        found = f"suffix {target.suffix!r}" if target.suffix else "no suffix"
        known = ", ".join(dict.fromkeys((*_WRITERS, *also)))
        raise PhotoError(f"{target}: found {found}; wanted a name that ends in one of {known}")
    if target.is_dir():
        raise PhotoError(f"{target}: found a folder of this name; wanted a file name")
    if not target.parent.is_dir():
        raise PhotoError(f"{target}: found no folder {target.parent}; wanted an existing one")


def is_writable(path: PathLike) -> bool:
    """Whether `save_photo` knows the suffix."""
    return Path(path).suffix.lower() in _WRITERS


def save_photo(path: PathLike, image: Photo, *, text: Mapping[str, str] | None = None) -> None:
    """Writes `uint8 [h, w, 3]` to `path` in the format of its suffix: .png, .jpg, .jpeg, .webp, .tif or .tiff.

    The file is written under a temporary name and renamed, so it is never seen half-written. `text` becomes PNG text
    fields (PNG only).

    Raises:
      PhotoError: `check_output` refuses the path, `image` is not a photo, or the format cannot hold it.
    """
    check_output(path)
    image = check_photo(image, f"image for {os.fspath(path)}")
    target = Path(path)
    form, options = _WRITERS[target.suffix.lower()]
    if text is not None:
        if form != "PNG":
            raise PhotoError(f"{target}: found text fields for {form}; wanted a .png name, only PNG keeps them")
        info = PngImagePlugin.PngInfo()
        for key, value in text.items():
            info.add_itxt(key, value)
        options = {**options, "pnginfo": info}
    size = f"{image.shape[1]}x{image.shape[0]} as {form}"
    write_whole(target, size, lambda part: Image.fromarray(image).save(part, format=form, **options))


def write_whole(target: Path, what: str, write: Callable[[Path], None]) -> None:
    """Calls `write` with a temporary name, then renames: nobody sees half a file. PhotoError if it fails."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        write(part)
        os.replace(part, target)
    except (OSError, ValueError, TypeError, RuntimeError, struct.error) as error:
        raise PhotoError(f"{target}: could not write {what} ({error})") from error
    finally:
        part.unlink(missing_ok=True)


def output_format(path: PathLike) -> tuple[str, dict[str, object]]:
    """The format by the suffix of `path`, which `check_output` has passed, and Pillow's options for it."""
    return _WRITERS[Path(path).suffix.lower()]


def reduced(photo: Photo, factor: int) -> Photo:
    """The photo with squares of `factor` pixels averaged. In strips, to take little memory beside the photo's own."""
    if factor == 1:
        return photo
    rows = 256 * factor
    strips = (np.ascontiguousarray(photo[top : top + rows]) for top in range(0, photo.shape[0], rows))
    return np.concatenate([np.asarray(Image.fromarray(strip).reduce(factor)) for strip in strips])


def scaled_down(photo: Photo, side: int) -> tuple[Photo, Float[np.ndarray, "xy=2"]]:
    """The photo, antialiased, with its long side at most `side` pixels, and the scale factors (x, y), new / old."""
    height, width = photo.shape[:2]
    ratio = min(1.0, side / max(height, width))
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    if size == (width, height):
        return photo, np.ones(2)
    small = Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.asarray(small), np.array(size) / (width, height)


def check_input(path: PathLike) -> None:
    """Raises `PhotoError` unless `path` is a regular file: a pipe or device might block, or never end."""
    name = os.fspath(path)
    try:
        mode = os.stat(name).st_mode
    except FileNotFoundError:
        raise PhotoError(f"{name or repr(name)}: found no such file; wanted an image file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PhotoError(f"{name}: found a file that cannot be read ({reason}); wanted an image file") from error
    if stat.S_ISDIR(mode):
        raise PhotoError(f"{name}: found a folder; wanted an image file")
    if not stat.S_ISREG(mode):
        raise PhotoError(f"{name}: found a pipe, socket or device; wanted an image file")


def _read_bytes(name: str) -> bytes:
    check_input(name)
    try:
        data = Path(name).read_bytes()
    except FileNotFoundError:
        raise PhotoError(f"{name}: found no such file; wanted an image file") from None
    except OSError as error:
        raise PhotoError(
            f"{name}: found a file that cannot be read ({error.strerror}); wanted an image file"
        ) from error
    if not data:
        raise PhotoError(f"{name}: found an empty file (0 bytes); wanted an image file")
    return data


def _to_srgb(image: Image.Image, name: str) -> Image.Image:
    """RGB by the embedded ICC profile where there is one, else by Pillow's plain conversion of the mode."""
    icc = image.info.get("icc_profile")
    if not icc and image.mode == "RGB":
        return image
    if icc and image.mode in ("RGB", "L", "CMYK"):
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            if "srgb" in ImageCms.getProfileDescription(profile).lower():
                return image.convert("RGB")  # a conversion sRGB -> sRGB would only add rounding
            converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
            # The pixels are fine, only their exact colours are uncertain: a warning, not an error.
            warnings.warn(f"{name}: unusable colour profile ({error}); its colours are read as sRGB", stacklevel=3)
    return image.convert("RGB")


def to_uint8(images: Float[np.ndarray, "*shape"] | UInt8[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Floats in [-1, 1] as 0 ... 255, rounded and clipped; uint8 as it is.

    Raises TypeError for other dtypes, and ValueError for NaN.
    """
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind in "iub":
        raise TypeError(f"an image must be uint8 or float in [-1, 1], found dtype {images.dtype}")
    if np.isnan(images).any():
        raise ValueError("an image must not hold NaN")
    return np.clip(np.rint((images + 1.0) * 127.5), 0, 255).astype(np.uint8)


def to_float(images):
    """0 ... 255 to [-1, 1] float32, numpy or JAX."""
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1.0)

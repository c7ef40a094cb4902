"""Writing a changed photo as what it was, or as near to it as the format of its new name allows."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smoothswap_jax.faces.colours import Space, pillow_image, plain, to_srgb
from smoothswap_jax.faces.metadata import Metadata, fitting, save_options
from smoothswap_jax.faces.original import Original
from smoothswap_jax.faces.packages import missing_package
from smoothswap_jax.faces.photos import PathLike, PhotoError, check_output, output_format, write_whole

_LONGEST = {"JPEG": 65_500, "WEBP": 16_383}
"""Pixels of a side."""
_SPACES = {"PNG": ("L", "RGB"), "JPEG": ("L", "RGB", "CMYK"), "WEBP": ("RGB",), "TIFF": ("L", "RGB", "CMYK")}


def check_fits(path: PathLike, original: Original) -> None:
    """PhotoError if the format of `path` cannot hold a photo of this size; ImportError if its writer is missing."""
    form, _ = output_format(path)
    height, width = original.photo.shape[:2]
    if max(height, width) > _LONGEST.get(form, 1 << 31):
        raise PhotoError(
            f"{path}: found a photo of {width}x{height} pixels; wanted a .png or .tif name, "
            f"as {form} ends at {_LONGEST[form]}"
        )
    if original.values.dtype == np.uint16 and original.values.shape[2] > 1 and form in ("PNG", "TIFF"):
        _deep_writer(form)


def save_original(path: PathLike, original: Original) -> tuple[str, ...]:
    """Writes the photo in the format of the suffix of `path`; what that cannot keep comes back in words.

    In the format that the file had, it is written as the file was: JPEG with its tables, WebP lossless or not. The file
    appears under its name when it is whole. Raises PhotoError as `save_photo` does.
    """
    check_output(path)
    notes: list[str] = []
    write_whole(Path(path), described(path, original), lambda part: notes.extend(write_original(part, path, original)))
    return tuple(notes)


def described(path: PathLike, original: Original) -> str:
    """What is written under a name, for errors."""
    height, width = original.values.shape[:2]
    return f"{width}x{height} as {output_format(path)[0]}"


def write_original(part: Path, path: PathLike, original: Original) -> tuple[str, ...]:
    """`save_original` of what is to be called `path`, under another name and at once."""
    form, options = output_format(path)
    fitted, lost = _fitted(original, form)
    metadata, left_out = fitting(original.metadata, form)
    if form == original.form:
        options = {**options, **fitted.coding}
        if "qtables" in fitted.coding:
            del options["quality"]
    channels = fitted.values.shape[2]
    deep = fitted.values.dtype == np.uint16
    if deep and channels > 1 and form == "TIFF" and metadata.exif:
        left_out.append("EXIF is left out, which is not written to TIFF of 16-bit colours")
    if deep and channels > 1:
        writer = _png_of_16_bits if form == "PNG" else _tiff_of_16_bits
        part.write_bytes(writer(fitted.values, metadata, fitted.space.profile))
    else:
        _write_by_pillow(part, form, fitted, {**options, **save_options(metadata, form)})
    return (*original.notes, *lost, *left_out)


def _write_by_pillow(part: Path, form: str, original: Original, options: dict[str, Any]) -> None:
    values = original.values
    deep = values.dtype == np.uint16
    mode = original.space.mode + "A" * original.alpha
    image = Image.fromarray(np.ascontiguousarray(values[:, :, 0])) if deep else pillow_image(values, mode)
    if original.space.profile:
        options["icc_profile"] = original.space.profile
    image.save(part, format=form, **options)


def _fitted(original: Original, form: str) -> tuple[Original, list[str]]:
    """The photo in what the format can hold, and what that lost, in words."""
    lost = []
    values, space, alpha = original.values, original.space, original.alpha
    if values.dtype == np.uint16 and form in ("JPEG", "WEBP"):
        values = np.rint(values / 257).astype(np.uint8)
        lost.append(f"16 bits a channel become 8: {form} has no more (.png and .tif keep them)")
    if alpha and form == "JPEG":
        count, share = values.shape[2] - 1, values[:, :, -1:] / np.float32(255)
        values = np.rint(255 + (values[:, :, :count] - np.float32(255)) * share).astype(np.uint8)
        alpha = False
        lost.append("transparent parts become white: JPEG has no alpha (.png and .webp keep it)")
    if space.mode not in _SPACES[form]:
        if space.mode == "CMYK" or not plain(space):
            lost.append(f"{'inks (CMYK)' if space.mode == 'CMYK' else 'its grey profile'} become sRGB: {form} has none")
        colours = to_srgb(np.ascontiguousarray(values[:, :, : len(space.mode)]), space)
        values = np.concatenate([colours, values[:, :, len(space.mode) :]], axis=2) if alpha else colours
        space = Space("RGB", None)
    return replace(original, values=values, space=space, alpha=alpha), lost


# --- 16-bit colours, which Pillow does not have -----------------------------------------------------------------


def _deep_writer(form: str) -> Any:
    """OpenCV for PNG, tifffile for TIFF; ImportError where it is missing."""
    try:
        if form == "PNG":
            import cv2

            return cv2
        import tifffile

        return tifffile
    except ImportError as error:
        package = "cv2" if form == "PNG" else "tifffile"
        raise missing_package(f"writing {form} of 16 bits a channel", package, "faces") from error


def _png_of_16_bits(values: np.ndarray, metadata: Metadata, profile: bytes | None) -> bytes:
    """OpenCV's PNG with the further chunks of one by Pillow, as OpenCV writes no metadata."""
    cv2 = _deep_writer("PNG")
    if values.shape[2] == 2:  # grey and alpha, which OpenCV does not write
        values = values[:, :, [0, 0, 0, 1]]
    order = [2, 1, 0, 3][: values.shape[2]]
    done, coded = cv2.imencode(".png", np.ascontiguousarray(values[:, :, order]))
    if not done:
        raise ValueError("OpenCV could not write it")
    said = io.BytesIO()
    named = {"icc_profile": profile} if profile else {}
    Image.new("RGB", (1, 1)).save(said, "PNG", **save_options(metadata, "PNG"), **named)
    further = b"".join(chunk for kind, chunk in _chunks(said.getvalue()) if kind not in (b"IHDR", b"IDAT", b"IEND"))
    head = 8 + 12 + 13  # signature and IHDR
    return coded[:head].tobytes() + further + coded[head:].tobytes()


def _chunks(png: bytes):
    """(kind, whole chunk) of a PNG file."""
    at = 8
    while at < len(png):
        end = at + 12 + struct.unpack(">I", png[at : at + 4])[0]
        yield png[at + 4 : at + 8], png[at:end]
        at = end


def _tiff_of_16_bits(values: np.ndarray, metadata: Metadata, profile: bytes | None) -> bytes:
    tifffile = _deep_writer("TIFF")
    file = io.BytesIO()
    options: dict[str, Any] = {"resolution": metadata.dpi, "resolutionunit": "INCH"} if metadata.dpi else {}
    if values.shape[2] in (2, 4):
        options["extrasamples"] = ["UNASSALPHA"]
    if metadata.software:
        options["software"] = metadata.software
    if metadata.xmp:
        options["extratags"] = [(700, 1, len(metadata.xmp), metadata.xmp, True)]
    tifffile.imwrite(
        file,
        values,
        photometric="RGB" if values.shape[2] > 2 else "MINISBLACK",
        planarconfig="CONTIG",
        compression="zlib",
        iccprofile=profile,
        metadata=None,
        **options,
    )
    return file.getvalue()

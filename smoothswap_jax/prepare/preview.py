"""The contact sheet of prepared faces: one HTML page to look at before training on them.

A wrong crop raises no error, it only spoils the training; a person sees it at a glance. The page is a single file:
images are embedded, there are no scripts, and a content security policy forbids every request.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from smoothswap_jax.faces.photos import check_photo, scaled_down
from smoothswap_jax.runtime.files import write_atomically
from smoothswap_jax.runtime.templates import render_page

# Positions of the guide lines as fractions of the crop's height. `align.ffhq_quad` centres the crop 0.1 d below the
# eyes and makes it 2 max(2 e, 1.8 d) high, where e is the distance of the eyes and d that from the eyes to the mouth.
# In an upright face the eyes are then at 0.5 - 0.1 d / height, the mouth at 0.5 + 0.9 d / height.
#   Turned heads, d > 10/9 e: the height is 3.6 d, so eyes are at 0.472 and mouth at 0.750 in every face.
#   Frontal faces: the height is 4 e, so the lines depend on d / e, which is close to 1 (0.95 to 1.1 in nearly all
#   frontal photos of the London set): eyes at 0.475 and mouth at 0.725.
# One pair of lines serves both; the average is within 0.002 of the eyes and 0.013 of the mouth in either case.
EYE_LINE = (0.5 - 0.1 / 3.6 + 0.5 - 0.1 / 4) / 2
MOUTH_LINE = (0.5 + 0.9 / 3.6 + 0.5 + 0.9 / 4) / 2

_FORMATS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}


@dataclass(frozen=True)
class Sheet:
    """A section of images."""

    title: str
    note: str
    """One or two plain sentences."""
    pictures: Sequence[tuple[bytes, str]]
    """Encoded JPEG or PNG, and caption, of each."""


@dataclass(frozen=True)
class Preview:
    """The contents of the page."""

    title: str
    facts: Mapping[str, str | int | float]
    """How the set was made: settings, detector, versions."""
    counts: Mapping[str, Mapping[str, int]]
    """Counts in each split: {"train": {"people": 60, "faces": 371}, "test": ...}."""
    gates: Sequence[tuple[str, str, int]]
    """Gate, its meaning, number of pictures left out."""
    mean_faces: Sequence[tuple[bytes, str]]
    """The mean crop of each split (`mean_face`), and its caption."""
    kept: Sequence[Sheet]
    """Guide lines are drawn over these, so they must be whole crops."""
    rejected: Sequence[Sheet]
    """One for each gate that left out pictures, with the reasons in the captions."""
    used_in_part: int = 0
    """Videos that are cut off or damaged, whose other frames are used."""


def write_preview(path: str | Path, preview: Preview) -> None:
    """Writes the page to `path`, whole or not at all; its folder must exist.

    Names may hold whatever a file name can; bytes that are not UTF-8 (lone surrogates in Python) appear as \\udcff.

    Raises:
      ValueError: a picture is neither JPEG nor PNG; the text names its section and caption.
      ImportError: jinja2 is missing; the text says what to install.
    """
    values = {
        "title": preview.title,
        "facts": {key: _text(value) for key, value in preview.facts.items()},
        # The names of the counts in order of first appearance; a split may lack some.
        "columns": list(dict.fromkeys(name for split in preview.counts.values() for name in split)),
        "counts": preview.counts,
        "gates": preview.gates,
        "used_in_part": preview.used_in_part,
        "left_out": sum(number for _, _, number in preview.gates),
        "mean_faces": _picture_views("Mean faces", preview.mean_faces),
        "kept": [_sheet_view(sheet) for sheet in preview.kept],
        "rejected": [_sheet_view(sheet) for sheet in preview.rejected],
        "eye_line": f"{100 * EYE_LINE:.2f}%",
        "mouth_line": f"{100 * MOUTH_LINE:.2f}%",
    }
    package, template = "smoothswap_jax.prepare", "preview.html.jinja"
    page = render_page(package, template, values, user="writing a preview", extra="faces")
    write_atomically(path, page.encode("utf-8", "backslashreplace"))


def mean_face(crops: Iterable[UInt8[np.ndarray, "n n 3"]]) -> bytes:
    """PNG of the mean of square crops of one size, `uint8 [n, n, 3]`, computed from their sRGB values.

    Raises ValueError if there are no crops, or if they are not all square and of one size.
    """
    total, count = np.zeros(0), 0
    for crop in crops:
        crop = check_photo(crop, f"crop {count}")
        if count == 0:
            total = np.zeros((crop.shape[0], crop.shape[0], 3))
        if crop.shape != total.shape:
            raise ValueError(f"crop {count}: found {list(crop.shape)}; wanted {list(total.shape)}")
        total += crop
        count += 1
    if count == 0:
        raise ValueError("found no crops to take the mean of; wanted at least one")
    return _encoded(np.rint(total / count).astype(np.uint8), "PNG", optimize=True)


def thumbnail(image: UInt8[np.ndarray, "h w 3"], side: int = 128) -> bytes:
    """JPEG of `image`, antialiased, with its long side at most `side` pixels; smaller images keep their size."""
    small, _ = scaled_down(check_photo(image, "image"), side)
    return _encoded(small, "JPEG", quality=85)


def _encoded(image: UInt8[np.ndarray, "h w 3"], form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=form, **options)
    return buffer.getvalue()


def _text(value: str | int | float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _sheet_view(sheet: Sheet) -> dict[str, Any]:
    return {"title": sheet.title, "note": sheet.note, "pictures": _picture_views(sheet.title, sheet.pictures)}


def _picture_views(section: str, pictures: Sequence[tuple[bytes, str]]) -> list[dict[str, str]]:
    views = []
    for data, caption in pictures:
        form = next((form for start, form in _FORMATS.items() if data.startswith(start)), None)
        if form is None:
            found = f"found {len(data)} bytes that start with {data[:8]!r}"
            raise ValueError(f"{section}, picture {caption!r}: {found}; wanted JPEG or PNG")
        views.append({"source": f"data:image/{form};base64,{base64.b64encode(data).decode()}", "caption": caption})
    return views

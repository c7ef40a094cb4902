"""Grids of images for reports: rows of faces with labels, and the field's source x target picture."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from smoothswap_jax.faces.photos import to_uint8

Resample = Literal["nearest", "lanczos"]
_TEXT, _PAPER = (45, 45, 45), 255


def image_grid(
    rows: Sequence[Sequence[np.ndarray | None]],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    pad: int = 2,
    scale: int = 1,
    resample: Resample = "nearest",
    header_pad: int = 0,
) -> UInt8[np.ndarray, "H W 3"]:
    """Images [h, w, 3] (floats in [-1, 1] or uint8; None leaves a gap) as one picture on white.

    Every image is enlarged `scale` times by `resample`, with `pad` pixels between; `header_pad` more pixels
    set the first row and the first column apart. Labels stand left of the rows and above the columns.
    Raises ValueError when the rows differ in length, the images in shape, or the labels in number.
    """
    shape = _common_shape(rows)
    n_labels = (len(row_labels) or len(rows), len(column_labels) or len(rows[0]))
    if n_labels != (len(rows), len(rows[0])):
        found = f"{len(row_labels)} row and {len(column_labels)} column labels"
        raise ValueError(f"a {len(rows)} x {len(rows[0])} grid does not fit {found}")
    h, w = shape[0] * scale, shape[1] * scale
    font = ImageFont.load_default(size=float(np.clip(h // 5, 11, 22)))
    left = math.ceil(max((font.getlength(text) for text in row_labels), default=-4 * pad)) + 4 * pad
    line = sum(font.getmetrics()) if isinstance(font, ImageFont.FreeTypeFont) else 12
    top = line + pad if column_labels else 0
    xs = [left + i * (w + pad) + (header_pad if i else 0) for i in range(len(rows[0]))]
    ys = [top + i * (h + pad) + (header_pad if i else 0) for i in range(len(rows))]
    canvas = Image.new("RGB", (xs[-1] + w, ys[-1] + h), (_PAPER,) * 3)
    method = {"nearest": Image.Resampling.NEAREST, "lanczos": Image.Resampling.LANCZOS}[resample]
    for y, row in zip(ys, rows, strict=True):
        for x, image in zip(xs, row, strict=True):
            if image is not None:
                canvas.paste(Image.fromarray(to_uint8(image)).resize((w, h), method), (x, y))
    draw = ImageDraw.Draw(canvas)
    for y, text in zip(ys, row_labels, strict=False):
        draw.text((left - 2 * pad, y + h / 2), text, fill=_TEXT, font=font, anchor="rm")
    for x, text in zip(xs, column_labels, strict=False):
        draw.text((x + w / 2, top - pad), text, fill=_TEXT, font=font, anchor="md")
    return np.asarray(canvas)


def _common_shape(rows: Sequence[Sequence[np.ndarray | None]]) -> tuple[int, ...]:
    shapes = {np.shape(image) for row in rows for image in row if image is not None}
    if len({len(row) for row in rows}) != 1 or len(shapes) != 1:
        raise ValueError(f"a grid needs rows of one length and images of one shape, found shapes {sorted(shapes)}")
    (shape,) = shapes
    if len(shape) != 3 or shape[2] != 3:
        raise ValueError(f"grid images must have shape [h, w, 3], found {shape}")
    return shape


def swap_grid(
    sources: Float[np.ndarray, "m h w 3"],
    targets: Float[np.ndarray, "n h w 3"],
    swaps: Float[np.ndarray, "m n h w 3"],
    scale: int = 1,
    resample: Resample = "nearest",
) -> UInt8[np.ndarray, "H W 3"]:
    """The classic picture: targets along the top, sources down the left, `swaps[i, j]` where they meet.

    Images are floats in [-1, 1] or uint8. Raises ValueError when `swaps` is not sources x targets.
    """
    if swaps.shape[:2] != (len(sources), len(targets)):
        raise ValueError(f"swaps must be {len(sources)} x {len(targets)}, found {swaps.shape[0]} x {swaps.shape[1]}")
    rows: list[list[np.ndarray | None]] = [[None, *targets]]
    rows += [[source, *line] for source, line in zip(sources, swaps, strict=True)]
    return image_grid(rows, scale=scale, resample=resample, pad=2, header_pad=max(4, 2 * scale))

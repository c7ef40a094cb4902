"""Cutting faces out of photos the way FFHQ was cut, and putting changed faces back into the photo.

Coordinates are pixels with the centre of the top-left pixel at (0, 0), x to the right, y down. "Left" and
"right" are the viewer's, not the person's. A *quad* is the square region of a photo that an aligned crop
shows: `float [4, 2]`, its corners upper left, lower left, lower right, upper right as they appear in the
crop.

The region and the border treatment follow NVlabs/ffhq-dataset, `download_ffhq.py: recreate_aligned_images`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageFilter

from smoothswap_jax.faces.photos import Photo, check_photo, scaled_down

Quad = Float[np.ndarray, "4 2"]
Points = Float[np.ndarray, "5 2"]
Matrix = Float[np.ndarray, "2 3"]

FEATHER = 0.16
"""Width of the soft edge of a pasted face, as a fraction of the quad's side: with it hardly a seam is seen before a
plain wall (`bench/seams.py`). The outermost 16% of an FFHQ crop are backdrop, neck and the ends of the hair; at the
chin the weight is still nearly 1."""

FINE = 2
"""Pixels of the photo for one of the crop that a crop is made of; a finer photo is shrunk to so many at first."""


# --- Geometry -----------------------------------------------------------------------------------------------


def ffhq_quad(points: Points) -> Quad:
    """The square that the FFHQ dataset script cuts out, from five points (see `base.Face.points`).

    FFHQ takes each eye as the mean of its six of the 68 landmarks, here the eye's centre, and the mouth as
    the mean of its outer corners (landmarks 48 and 54). Raises `ValueError` if eyes and mouth define no direction.
    """
    points = np.asarray(points, np.float64)
    eyes = points[1] - points[0]
    eye_middle = (points[0] + points[1]) / 2
    down = (points[3] + points[4]) / 2 - eye_middle
    across = eyes + np.array([down[1], -down[0]])
    length = np.hypot(*across)
    if not np.isfinite(length) or length == 0:
        raise ValueError(
            f"face points {points.tolist()}: eyes and mouth give no direction; wanted five distinct points"
        )
    x = across / length * max(np.hypot(*eyes) * 2.0, np.hypot(*down) * 1.8)
    return square_quad(eye_middle + 0.1 * down, x)


def square_quad(centre: Float[np.ndarray, "xy=2"], x: Float[np.ndarray, "xy=2"]) -> Quad:
    """The square around `centre` (pixels), of which `x` leads from there to the middle of its right side."""
    y = np.array([-x[1], x[0]])
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def crop_to_photo(quad: Quad, size: int) -> Matrix:
    """`[2, 3]` matrix from crop to photo, in pixel coordinates: p = m[:, :2] @ c + m[:, 2].

    Raises `ValueError` if the quad is not a parallelogram or has no area.
    """
    quad = np.asarray(quad, np.float64)
    right, down = (quad[3] - quad[0]) / size, (quad[1] - quad[0]) / size
    if not np.allclose(quad[0] + quad[2], quad[1] + quad[3], atol=1e-3 * max(1.0, _side(quad))):
        raise ValueError(f"quad {quad.tolist()}: is not a parallelogram; wanted corners in the order of ffhq_quad")
    if abs(right[0] * down[1] - right[1] * down[0]) * size**2 < 1e-6:
        raise ValueError(f"quad {quad.tolist()}: has no area")
    # The crop's outer edge, half a pixel beyond its corner pixels' centres, lies on the quad.
    return np.column_stack([right, down, quad[0] + (right + down) / 2])


def photo_to_crop(quad: Quad, size: int) -> Matrix:
    """The inverse of `crop_to_photo`."""
    matrix = crop_to_photo(quad, size)
    inverse = np.linalg.inv(matrix[:, :2])
    return np.column_stack([inverse, -inverse @ matrix[:, 2]])


def _side(quad: Quad) -> float:
    return float(np.hypot(*(quad[3] - quad[0])))


def _covered(shape: tuple[int, ...], quad: Quad, border: int = 1) -> tuple[slice, slice]:
    """Rows and columns of the photo under the quad's bounding box; empty slices where it lies outside."""
    low = np.floor(quad.min(0)).astype(int) - border
    high = np.ceil(quad.max(0)).astype(int) + 1 + border
    rows = slice(int(np.clip(low[1], 0, shape[0])), int(np.clip(high[1], 0, shape[0])))
    return rows, slice(int(np.clip(low[0], 0, shape[1])), int(np.clip(high[0], 0, shape[1])))


def _sample(image: Image.Image, matrix: Matrix, shape: tuple[int, int]) -> Image.Image:
    """Warps `image` bilinearly to `shape` (width, height): output pixel c shows `matrix` times c; zero outside.

    Bilinear sampling blurs, so callers enlarge `image` by 2 first where that matters. Pillow's own bicubic transform is
    no alternative: its kernel (a = -1) displaces smooth ramps by up to a tenth of a pixel.
    """
    # Pillow puts pixel centres at one half, in input and output.
    offset = matrix[:, 2] + 0.5 - matrix[:, :2] @ (0.5, 0.5)
    data = tuple(np.column_stack([matrix[:, :2], offset]).ravel())
    return image.transform(shape, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)


def _enlarged(image: Image.Image, factor: int) -> Image.Image:
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)


# --- Out of the photo ---------------------------------------------------------------------------------------


def align_face(photo: Photo, quad: Quad, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Cuts the quad out of `photo` as `uint8 [size, size, 3]`, following the FFHQ script.

    Shrink the photo if the quad has many more pixels than the crop; cut; where the quad leaves the photo, continue it
    with its mirror image, increasingly blurred and faded to the median colour; sample; resize with antialiasing. Unlike
    the script it samples from a bicubically enlarged photo, no more finely than the photo itself.

    Raises:
      PhotoError: `photo` is not `uint8 [h, w, 3]`.
      ValueError: the quad has no area or does not touch the photo.
    """
    photo = check_photo(photo)
    quad = np.asarray(quad, np.float64)
    border = max(round(_side(quad) * 0.1), 3)
    rows, columns = _covered(photo.shape[:2], quad, border)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        raise ValueError(f"quad {quad.tolist()}: lies outside the photo of {photo.shape[1]}x{photo.shape[0]} pixels")
    part = photo[rows, columns]
    quad = quad - (columns.start, rows.start)
    if _side(quad) > FINE * size:
        part, scale = scaled_down(part, round(max(part.shape[:2]) * FINE * size / _side(quad)))
        quad = (quad + 0.5) * scale - 0.5
    part, quad = _with_border(part, quad)
    rows, columns = _covered(part.shape, quad, 4)  # as far as bicubic enlargement and bilinear sampling reach
    part, quad = part[rows, columns], quad - (columns.start, rows.start)
    grid = max(size, int(np.ceil(_side(quad))))
    fine = _enlarged(Image.fromarray(part), 2)
    crop = _sample(fine, crop_to_photo((quad + 0.5) * 2 - 0.5, grid), (grid, grid))
    return np.array(crop.resize((size, size), Image.Resampling.LANCZOS))


def quick_crop(photo: Photo, quad: Quad, size: int) -> Photo:
    """A fast, approximate `align_face` for detectors, `uint8 [size, size, 3]`: antialiased, black outside the photo."""
    side = _side(quad)
    rows, columns = _covered(photo.shape[:2], quad)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return np.zeros((size, size, 3), np.uint8)
    part = photo[rows, columns]
    small, scale = scaled_down(part, max(1, int(max(part.shape[:2]) * min(1.0, 1.5 * size / side))))
    local = (quad + 0.5 - (columns.start, rows.start)) * scale - 0.5
    return np.asarray(_sample(Image.fromarray(small), crop_to_photo(local, size), (size, size)))


def _with_border(part: Photo, quad: Quad) -> tuple[Photo, Quad]:
    """FFHQ's border: if the quad leaves `part`, pads it with its mirror image, more blurred towards the outside.

    Returns the padded photo and the quad in its coordinates. The blend into the blurred photo starts a third of the
    padding inside the edge, as in the script.
    """
    side = _side(quad)
    border = max(round(side * 0.1), 3)
    height, width = part.shape[:2]
    before = np.maximum(border - np.floor(quad.min(0)), 0)
    after = np.maximum(np.ceil(quad.max(0)) - (width, height) + border, 0)
    if max(before.max(), after.max()) <= border - 4:
        return part, quad
    (left, top), (right, bottom) = (np.maximum(pad, round(side * 0.3)).astype(int) for pad in (before, after))
    padded = np.pad(part, ((top, bottom), (left, right), (0, 0)), mode="reflect" if min(height, width) > 1 else "edge")
    height, width = padded.shape[:2]
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]
    outside = np.maximum(
        1 - np.minimum(x / left, (width - 1 - x) / right), 1 - np.minimum(y / top, (height - 1 - y) / bottom)
    )[:, :, None]
    blurred = np.asarray(Image.fromarray(padded).filter(ImageFilter.GaussianBlur(side * 0.02)), np.float32)
    mixed = padded + (blurred - padded) * np.clip(outside * 3 + 1, 0, 1)
    mixed += (np.median(mixed, axis=(0, 1)) - mixed) * np.clip(outside, 0, 1)
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8), quad + np.array([left, top])


# --- Back into the photo ------------------------------------------------------------------------------------


def paste_mask(
    shape: tuple[int, ...], quad: Quad, mask: Float[np.ndarray, "n n"] | None = None
) -> tuple[slice, slice, Float[np.ndarray, "a b"]]:
    """How much of each photo pixel a pasted face replaces.

    Args:
      shape: height and width of the photo (further entries are ignored).
      quad: the face's region.
      mask: optional `[n, n]` weights 0-1 over the aligned crop, multiplied with the soft edge.

    Returns the rows and columns of the photo that the quad touches, and the weights `float32 [rows, columns]` there:
    1 inside, a raised cosine over `FEATHER` of the quad's side down to 0 at its edge, 0 beyond.
    """
    rows, columns = _covered(shape, quad)
    matrix = photo_to_crop(quad, 1)
    x = np.arange(columns.start, columns.stop)[None]
    y = np.arange(rows.start, rows.stop)[:, None]
    weights = np.ones((y.shape[0], x.shape[1]))
    for axis in range(2):
        place = matrix[axis, 0] * x + matrix[axis, 1] * y + matrix[axis, 2] + 0.5  # 0-1 across the quad
        ramp = np.clip(np.minimum(place, 1 - place) / FEATHER, 0, 1)
        weights *= 0.5 - 0.5 * np.cos(np.pi * ramp)
    if mask is not None:
        weights *= np.clip(_in_photo(np.asarray(mask)[:, :, None], quad, rows, columns)[:, :, 0], 0, 1)
    return rows, columns, weights.astype(np.float32)


class Patch(NamedTuple):
    """A change of part of a photo."""

    rows: slice
    columns: slice
    change: Float[np.ndarray, "rows columns 3"]
    """To be added there, in grey levels of sRGB (-255 to 255), not rounded."""


def paste_back(
    photo: Photo, face: UInt8[np.ndarray, "n n 3"], quad: Quad, mask: Float[np.ndarray, "n n"] | None = None
) -> Photo:
    """Puts an aligned face back where `align_face` took it from: its pixels replace those of the photo.

    The edge is soft (`paste_mask`); outside the quad the photo stays bit for bit the same. Where the photo has a higher
    resolution than the crop, its detail is lost; `paste_change` keeps it. Raises as `align_face` does.
    """
    photo = check_photo(photo).copy()
    add_patch(photo, face_patch(photo, face, quad, mask))
    return photo


def paste_change(
    photo: Photo, change: Float[np.ndarray, "n n 3"], quad: Quad, mask: Float[np.ndarray, "n n"] | None = None
) -> Photo:
    """Adds a change of the aligned face, in grey levels (-255 to 255), to the photo it was taken from.

    A change of zero leaves the photo bit for bit the same, at any resolution: only the change is resampled. Raises as
    `align_face` does, and `ValueError` if the change is not finite or not `[n, n, 3]`.
    """
    photo = check_photo(photo).copy()
    add_patch(photo, change_patch(photo, change, quad, mask))
    return photo


def face_patch(
    photo: Photo, face: UInt8[np.ndarray, "n n 3"], quad: Quad, mask: Float[np.ndarray, "n n"] | None = None
) -> Patch:
    """What `paste_back` adds to the photo."""
    face = check_photo(face, "aligned face")
    rows, columns, weights = paste_mask(photo.shape, quad, mask)
    there = photo[rows, columns].astype(np.float32)
    return Patch(rows, columns, weights[:, :, None] * (_in_photo(face, quad, rows, columns) - there))


def change_patch(
    photo: Photo, change: Float[np.ndarray, "n n 3"], quad: Quad, mask: Float[np.ndarray, "n n"] | None = None
) -> Patch:
    """What `paste_change` adds to the photo."""
    change = np.asarray(change, np.float32)
    if change.ndim != 3 or change.shape[0] != change.shape[1] or change.shape[2] != 3:
        raise ValueError(f"change of the aligned face: found shape {list(change.shape)}; wanted [n, n, 3]")
    if not np.isfinite(change).all():
        raise ValueError("change of the aligned face: found NaN or infinite values; wanted finite grey levels")
    rows, columns, weights = paste_mask(photo.shape, quad, mask)
    return Patch(rows, columns, weights[:, :, None] * _in_photo(change, quad, rows, columns))


def add_patch(photo: Photo, patch: Patch) -> None:
    """Adds a change to `photo` itself, rounded and clipped."""
    there = photo[patch.rows, patch.columns]
    there[...] = np.rint(np.clip(there + patch.change, 0, 255)).astype(np.uint8)


def _in_photo(field: np.ndarray, quad: Quad, rows: slice, columns: slice) -> Float[np.ndarray, "a b c"]:
    """Resamples `[n, n, c]` of the crop onto the photo's pixels `rows` x `columns`; zero outside the quad.

    A crop of higher resolution than the photo is first resized with antialiasing.
    """
    shape = (columns.stop - columns.start, rows.stop - rows.start)
    if min(shape) <= 0:
        return np.zeros((shape[1], shape[0], field.shape[2]), np.float32)
    side = max(1, int(np.ceil(_side(quad))))
    coarse = min(field.shape[0], side)
    fine = max(2 * coarse, side)
    matrix = photo_to_crop(quad, fine)
    matrix[:, 2] += matrix[:, :2] @ (columns.start, rows.start)
    channels = []
    for channel in np.moveaxis(field.astype(np.float32), 2, 0):
        image = Image.fromarray(np.ascontiguousarray(channel))
        if coarse < field.shape[0]:
            image = image.resize((coarse, coarse), Image.Resampling.LANCZOS)
        image = image.resize((fine, fine), Image.Resampling.BICUBIC)
        channels.append(np.asarray(_sample(image, matrix, shape)))
    return np.stack(channels, axis=2)

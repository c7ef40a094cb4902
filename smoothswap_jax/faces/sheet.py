"""A picture of which faces a photo has."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from smoothswap_jax.faces.align import align_face, ffhq_quad
from smoothswap_jax.faces.detection.base import Face
from smoothswap_jax.faces.grid import image_grid
from smoothswap_jax.faces.photos import Photo

LONGEST, TILE, COLUMNS = 1280, 160, 8
"""Of the photo in the sheet, of a face, pixels; and faces in a row."""
_MARK, _INK = (255, 210, 0), (20, 20, 20)


def face_sheet(photo: Photo, faces: Sequence[Face]) -> Photo:
    """The photo, reduced, with a box and a number for each face, and the aligned faces below."""
    small = Image.fromarray(photo)
    small.thumbnail((LONGEST, LONGEST))
    scale = small.width / photo.shape[1]
    draw, font = ImageDraw.Draw(small), ImageFont.load_default(size=18.0)
    for number, face in enumerate(faces):
        left, top, right, bottom = (float(side) * scale for side in face.box)
        draw.rectangle((left, top, right, bottom), outline=_MARK, width=2)
        place = max(0.0, left), max(0.0, top - 22)
        draw.rectangle(draw.textbbox(place, f" {number} ", font=font), fill=_MARK)
        draw.text(place, f" {number} ", fill=_INK, font=font)
    tiles: list[np.ndarray | None] = [align_face(photo, ffhq_quad(face.points), TILE) for face in faces]
    columns = min(COLUMNS, len(tiles))
    tiles += [None] * (-len(tiles) % columns)
    names = [str(number) for number in range(len(faces))]
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    strips = [
        image_grid([row], column_labels=(names[i * columns : (i + 1) * columns] + [""] * columns)[:columns], pad=4)
        for i, row in enumerate(rows)
    ]
    parts = [np.asarray(small), *strips]
    width = max(part.shape[1] for part in parts)
    whole = [np.pad(part, ((0, 6), (0, width - part.shape[1]), (0, 0)), constant_values=255) for part in parts]
    return np.concatenate(whole)

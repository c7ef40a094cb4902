"""What covers a face, told by its colour: a mask for `Swapper.load(mask=keep_occluders)`.

The colour of the skin is the commonest one in the middle of the face. What differs from it there, away from eyes and
mouth, in a piece of some size, is taken for something before the face, together with what touches it and looks alike.
So microphones, cups, bars and sheets are found; a bare hand, which has the skin's colour, is not.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

SIDE = 64
"""Pixels a side at which faces are looked at; the lengths below are of these."""
UNIT = np.array([64, 10, 10], np.float32)
"""Differences of luma and of both chromas, in levels, that count alike. `bench/occluders.py` is where this and the
numbers below were tried."""
DARKER, LIGHTER = 0.2, 0.6
"""By which share of its brightness light makes skin darker or lighter. Without it a quarter of the faces in photographs
are covered by their own shade (docs/results.md)."""
ODD = 1.5
"""From this distance on a colour is not the skin's."""
SHADE = 1.0
"""Up to this distance it is surely the skin's."""
ALIKE = 0.9
"""Up to this distance from the colour of a piece, what touches the piece belongs to it."""
LEAST = 0.006
"""Of the face's square, what an odd piece has to fill: less may be a nostril, a mole or the frame of glasses."""
REACH = 20
"""How far from an odd piece its rest is looked for; beyond are hair and backdrop, which may look alike."""
SOFTNESS = 1.0

_BLACK = np.array([0, 128, 128], np.float32)

Colours = Float[np.ndarray, "side side 3"]
Places = Bool[np.ndarray, "side side"]


def keep_occluders(
    targets: UInt8[np.ndarray, "b size size 3"], swaps: UInt8[np.ndarray, "b size size 3"]
) -> Float[np.ndarray, "b side side"]:
    """How much of each place of aligned faces is swapped: 0 where something covers the face, to 1. A `Mask`, which
    looks at the targets only."""
    return np.stack([1.0 - _softened(_covered(colours_of(face))) for face in targets])


def colours_of(face: UInt8[np.ndarray, "size size 3"]) -> Colours:
    """Luma and both chromas of an aligned face, 0 to 255."""
    small = Image.fromarray(face).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(small.convert("YCbCr"), np.float32)


def _ellipse(x: float, y: float, half_width: float, half_height: float) -> Places:
    """Places within an ellipse, in shares of an aligned face's side."""
    at = (np.arange(SIDE) + 0.5) / SIDE
    return ((at[None] - x) / half_width) ** 2 + ((at[:, None] - y) / half_height) ** 2 < 1


FACE = _ellipse(0.5, 0.56, 0.21, 0.26)
"""Mostly skin."""
EYES = _ellipse(0.375, 0.47, 0.1, 0.055) | _ellipse(0.625, 0.47, 0.1, 0.055)
MOUTH = _ellipse(0.5, 0.755, 0.11, 0.055)
SKIN_ALONE = _ellipse(0.5, 0.58, 0.17, 0.30) & ~EYES & ~MOUTH
"""Nothing but skin, in most faces; backdrop is beside it even in three-quarter views."""


def distance_from_skin(colours: Colours) -> Float[np.ndarray, "side side"]:
    """How far each place's colour is from what light makes of the skin's, in `UNIT`."""
    skin = _skin(colours[FACE])
    away, lighter = (colours - skin) / UNIT, (skin - _BLACK) / UNIT
    light = np.clip(away @ lighter / (lighter @ lighter), -DARKER, LIGHTER)
    return np.linalg.norm(away - light[..., None] * lighter, axis=-1)


def _covered(colours: Colours) -> Places:
    from scipy import ndimage

    from_skin = distance_from_skin(colours)
    pieces, count = ndimage.label(ndimage.binary_opening((from_skin > ODD) & SKIN_ALONE, np.ones((3, 3))))
    covered = np.zeros((SIDE, SIDE), bool)
    for number in range(1, count + 1):
        piece = pieces == number
        if piece.mean() >= LEAST:
            covered |= _whole(piece, colours, from_skin > SHADE)
    return ndimage.binary_fill_holes(ndimage.binary_closing(covered, np.ones((3, 3))))


def _distance(colours: Float[np.ndarray, "*n 3"], colour: Float[np.ndarray, "3"]) -> Float[np.ndarray, "*n"]:
    return np.linalg.norm((colours - colour) / UNIT, axis=-1)


def _skin(colours: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "3"]:
    """The commonest colour, of those that are reddish and yellowish as all skin is, if there are such."""
    warm = colours[(colours[:, 1] < 125) & (colours[:, 2] > 131)]
    some = warm if len(warm) > 0.05 * len(colours) else colours
    skin = np.median(some, axis=0)
    for _ in range(5):
        near = some[_distance(some, skin) < 1]
        if len(near):
            skin = np.median(near, axis=0)
    return skin


def _whole(piece: Places, colours: Colours, no_skin: Places) -> Places:
    """A piece with what is connected to it and looks alike, also on eyes, mouth and beside the face."""
    from scipy import ndimage

    alike = no_skin & (_distance(colours, np.median(colours[piece], axis=0)) < ALIKE)
    near = ndimage.distance_transform_edt(~piece) < REACH
    connected, _ = ndimage.label(alike & near | piece)
    return np.isin(connected, np.unique(connected[piece]))


def _softened(covered: Places) -> Float[np.ndarray, "side side"]:
    """A little larger, since the edge of what covers is mixed with the face, and soft."""
    from scipy import ndimage

    return ndimage.gaussian_filter(ndimage.binary_dilation(covered).astype(np.float32), SOFTNESS)

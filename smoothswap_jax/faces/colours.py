"""The colours of a file, in its own profile and inks, and sRGB: there, and a change of it back.

`photos.py` turns every photo into sRGB for the networks. What they change comes back here as a change of the file's own
values, so that pixels without a change keep theirs exactly, whatever the two conversions would do to them.
"""

from __future__ import annotations

import functools
import io
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageCms

from smoothswap_jax.faces.tones import LUMA

GRID = 52
"""Points of sRGB along each axis at which the way back is known; they are whole 8-bit values, 5 apart."""
ROUNDS = 3
"""Corrections of a change in inks, where several mixtures give one colour."""


class Space(NamedTuple):
    """What the values of a file mean.

    mode: "L", "RGB" or "CMYK", as in Pillow. profile: the ICC profile; None is sRGB, its grey, or Pillow's plain inks.
    """

    mode: str
    profile: bytes | None


def plain(space: Space) -> bool:
    """Whether the values are those of sRGB, or grey of sRGB."""
    return space.mode != "CMYK" and _profile(space.profile) is None


def readable(space: Space) -> bool:
    """Whether its profile, if it has one, is one of such colours and undamaged."""
    try:
        return _profile(space.profile) is None or bool(_there(space))
    except _UNUSABLE:
        return False


def writable(space: Space) -> bool:
    """Whether sRGB can be converted to it."""
    try:
        return bool(plain(space) or _way_back(space).size)
    except _UNUSABLE:
        return False


def to_srgb(values: UInt8[np.ndarray, "h w c"], space: Space) -> UInt8[np.ndarray, "h w 3"]:
    """The colours in sRGB, as `load_photo` gives them."""
    image = pillow_image(values, space.mode)
    plainly = _profile(space.profile) is None
    return np.asarray(image.convert("RGB") if plainly else ImageCms.applyTransform(image, _there(space)))


def pillow_image(values: UInt8[np.ndarray, "h w c"], mode: str) -> Image.Image:
    """8-bit values with as many channels as `mode` has, one included, as a Pillow image."""
    if mode == "CMYK":
        return Image.frombytes(mode, values.shape[1::-1], values.tobytes())
    return Image.fromarray(np.ascontiguousarray(values[:, :, 0] if values.shape[2] == 1 else values))


def own_change(
    values: UInt8[np.ndarray, "h w c"], change: Float[np.ndarray, "h w 3"], space: Space
) -> Float[np.ndarray, "h w c"]:
    """The change of a file's 8-bit `values` that changes their sRGB colours by `change`; 0 where that is 0.

    Grey values take its brightness.
    Colours outside of sRGB, as Display P3 has them, keep what they have more. Inks that give the same colour in another
    mixture are met to about 2 grey levels.
    """
    change = change.astype(np.float32)
    if space.mode == "L":
        change = np.repeat((change @ LUMA)[:, :, None], 3, axis=2)
    if plain(space):
        return change[:, :, : len(space.mode)]
    start = values.astype(np.float32)
    before = to_srgb(values, space)
    wanted = np.clip(before + change, 0, 255)
    own = _from_srgb(wanted, space) - _from_srgb(before, space)
    for _ in range(ROUNDS if space.mode == "CMYK" else 0):
        reached = to_srgb(np.rint(np.clip(start + own, 0, 255)).astype(np.uint8), space)
        own += _from_srgb(wanted, space) - _from_srgb(reached, space)
    return np.where((change == 0).all(2, keepdims=True), 0, own)


def _from_srgb(colours: Float[np.ndarray, "h w 3"], space: Space) -> Float[np.ndarray, "h w c"]:
    """The file's values, 0-255, for sRGB colours, interpolated, as the conversion itself gives whole values only."""
    from scipy.ndimage import map_coordinates

    table = _way_back(space)
    places = np.moveaxis(np.asarray(colours, np.float32), 2, 0) * (GRID - 1) / 255
    channels = [map_coordinates(table[..., c], places, order=1, mode="nearest") for c in range(table.shape[3])]
    return np.stack(channels, axis=2)


@functools.lru_cache(maxsize=4)
def _way_back(space: Space) -> Float[np.ndarray, "r g b c"]:
    """The file's values at the points of the grid."""
    axis = np.arange(GRID, dtype=np.uint8) * (255 // (GRID - 1))
    colours = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=3).reshape(GRID, GRID * GRID, 3)
    image = Image.fromarray(colours)
    plainly = _profile(space.profile) is None
    values = np.asarray(image.convert(space.mode) if plainly else ImageCms.applyTransform(image, _back(space)))
    return values.reshape(GRID, GRID, GRID, -1).astype(np.float32)


_UNUSABLE = (ImageCms.PyCMSError, OSError, TypeError, ValueError)


@functools.lru_cache(maxsize=4)
def _profile(profile: bytes | None) -> Any:
    """The profile, opened; None for sRGB, which needs no conversion. Raises one of _UNUSABLE."""
    if profile is None:
        return None
    found = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return None if "srgb" in ImageCms.getProfileDescription(found).lower() else found


@functools.lru_cache(maxsize=4)
def _there(space: Space) -> Any:
    """The conversion to sRGB by the profile."""
    return ImageCms.buildTransform(_profile(space.profile), ImageCms.createProfile("sRGB"), space.mode, "RGB")


def _back(space: Space) -> Any:
    return ImageCms.buildTransform(ImageCms.createProfile("sRGB"), _profile(space.profile), "RGB", space.mode)

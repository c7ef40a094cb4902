"""The photos of a folder, told by their content as `smoothswap prepare` tells them, and what else is in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from smoothswap_jax.faces.kinds import PHOTO, UNKNOWN, kind_of

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
"""What files of these names hold is not looked at: they are photos, or damaged, which whoever reads them will say."""

ALSO_READ = (".tif", ".tiff", ".gif", ".avif", ".heic", ".heif", ".bmp")
"""Further names of photos. What files of these names hold is looked at, as it may move."""

NAMED = 3
"""So many of the entries that are passed over are named."""


class Listed(NamedTuple):
    """photos: sorted by name. others: files that are no photos, and folders, sorted; no hidden ones."""

    photos: list[Path]
    others: list[Path]


def is_damaged_photo(path: str | os.PathLike[str]) -> bool:
    """Whether a file is named like a photo that is read, and its content tells of nothing."""
    named = _named_like_one(path) or Path(path).suffix.lower() in ALSO_READ
    return named and os.path.isfile(path) and kind_of(path) == UNKNOWN


def is_photo(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a photo. Its first bytes are read only where its name does not tell; pictures that move, whose
    names do not tell, are none."""
    return _named_like_one(path) or kind_of(path) == PHOTO


def photos_in(folder: Path) -> Listed:
    """The entries of a folder. Hidden files are photos only if their names say so. Raises OSError."""
    found = Listed([], [])
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith(".")
        if _named_like_one(path) or (not hidden and is_photo(path)):
            found.photos.append(path)
        elif not hidden:
            found.others.append(path)
    return found


def passed_over(others: Sequence[Path], root: Path, wanted: str = "photos") -> str:
    """What is to be said of entries below `root` that are no photos, or not what else is `wanted`; "" if there are
    none."""
    if not others:
        return ""
    names = ", ".join(str(path.relative_to(root)) for path in others[:NAMED])
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    return f"{len(others)} files and folders are passed over, because they are no {wanted}: {names}{more}"


def _named_like_one(path: str | os.PathLike[str]) -> bool:
    return Path(path).suffix.lower() in PHOTO_SUFFIXES

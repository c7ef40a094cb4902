"""The layouts of a source folder: where its photos or videos are. Only first bytes and the lists of a set are read."""

from __future__ import annotations

import os
from collections.abc import Iterator

from smoothswap_jax.prepare.entries import MediaFile, Rejected
from smoothswap_jax.prepare.faceforensics import FACEFORENSICS
from smoothswap_jax.prepare.folders import (
    Listing,
    contents,
    enters,
    holds,
    join,
    photo_names,
    rejected,
    scan,
    shows_video,
)
from smoothswap_jax.prepare.public_sets import CELEBA, FFHQ
from smoothswap_jax.prepare.vggface2 import VGGFACE2

__all__ = ["LAYOUTS", "Listing", "list_source"]

_PUBLIC_SETS = {one.name: one for one in (VGGFACE2, FFHQ, CELEBA, FACEFORENSICS)}
LAYOUTS = ("auto", "people", "flat", *_PUBLIC_SETS)
_WANTED = {
    "people": "a folder of photos for each person, <person>/<photo>",
    "flat": "photos",
    **{name: public.wanted for name, public in _PUBLIC_SETS.items()},
}


def list_source(root: str | os.PathLike[str], layout: str = "auto") -> Listing:
    """Finds the photos and videos in the source folder `root`.

    people: `<person>/<photo or video>`; a person's folder may be a link.
    flat: `<photo or video>`, each of another person.
    auto: a public set if its folders are there (the function of its name describes the variants), people if there are
    folders with files, flat if there are only files.

    Every file that is not hidden is a `MediaFile`, or is `Rejected`, or belongs to the parts of a public set that are
    not used. Files of one identity are consecutive; the order follows the names, so it is always the same.

    Raises:
      ValueError: `layout` is unknown; the folder is missing, is empty, does not have the layout asked for, has none
        that can be recognised, or lacks a list that the layout needs.
    """
    root = os.fsdecode(root)
    if layout not in LAYOUTS:
        raise ValueError(f"layout: found {layout!r}; wanted one of {', '.join(LAYOUTS)}")
    _check_root(root)
    if layout in _PUBLIC_SETS:
        listing = _PUBLIC_SETS[layout].find(root)
    elif layout == "auto":
        listing = _detected(root)
    else:
        listing = _plain(root, layout)
    if listing is None:
        raise ValueError(f"{root}: found {_some_names(root)}; wanted {_WANTED[layout]} for layout {layout!r}")
    return listing


def _check_root(root: str) -> None:
    if not os.path.isdir(root):
        found = "a file" if os.path.lexists(root) else "no such folder"
        raise ValueError(f"{root}: found {found}; wanted a folder of photos or videos")
    try:
        empty = next(scan(root, ""), None) is None
    except OSError as error:
        raise ValueError(f"{root}: found a folder that cannot be read ({error.strerror}); wanted photos") from error
    if empty:
        raise ValueError(f"{root}: found nothing in it; wanted a folder of photos or videos")


def _detected(root: str) -> Listing:
    """Recognises the layout by the folders that are there; raises ValueError if it is in doubt."""
    for public in _PUBLIC_SETS.values():
        if (listing := public.find(root)) is not None:
            return listing
    folders = files = nested = False
    for name, kind in scan(root, ""):
        files |= kind in ("file", "other")
        if kind in ("folder", "link"):
            if enters(root, name, kind) and holds(root, name, lambda found: found.kind == "file"):
                return Listing("people", lambda: _people(root), "largest")
            folders = True
            nested |= holds(root, name, lambda found: found.kind in ("folder", "link"))
    if files and not nested:
        return Listing("flat", lambda: _flat(root), "largest")
    found = "no files in its folders" if folders else "no photos"
    wanted = "; ".join(f"{layout}: {text}" for layout, text in _WANTED.items())
    raise ValueError(f"{root}: found {_some_names(root)}, {found}; wanted one of these layouts: {wanted}")


def _plain(root: str, layout: str) -> Listing | None:
    if layout == "people":
        found = holds(root, "", lambda found: found.kind in ("folder", "link"))
        return Listing("people", lambda: _people(root), "largest") if found else None
    found = holds(root, "", lambda found: found.kind == "file")
    return Listing("flat", lambda: _flat(root), "largest") if found else None


def _people(root: str) -> Iterator[MediaFile | Rejected]:
    persons, faults = contents(root, "")
    yield from faults
    for person, kind in persons:
        if not enters(root, person, kind):
            yield from rejected(root, person, kind, "not in a person's folder; wanted <person>/<photo>")
            continue
        for name in photo_names(root, person, "deeper than a person's folder; wanted <person>/<photo>"):
            if isinstance(name, Rejected):
                yield name
            else:
                yield MediaFile(join(person, name), person, video=shows_video(root, join(person, name)))


def _flat(root: str) -> Iterator[MediaFile | Rejected]:
    for name in photo_names(root, "", "in a folder; layout 'flat' has none"):
        yield name if isinstance(name, Rejected) else MediaFile(name, name, video=shows_video(root, name))


def _some_names(root: str) -> str:
    """The first names in a folder, for an error; printable whatever their bytes."""
    found, _ = contents(root, "")
    names = [ascii(name)[1:-1] if not name.isprintable() else name for name, _ in found[:4]]
    return ", ".join(names) + (f" and {len(found) - 4} more" if len(found) > 4 else "")

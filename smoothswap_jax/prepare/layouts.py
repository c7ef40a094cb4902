"""What lies where in a source of photos or videos. Nothing is opened but the lists of a data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from smoothswap_jax.prepare.entries import MediaFile, Rejected
from smoothswap_jax.prepare.faceforensics import faceforensics
from smoothswap_jax.prepare.folders import (
    VIDEO_SUFFIXES,
    Listing,
    contents,
    enters,
    holds,
    join,
    look,
    photo_names,
    rejected,
    suffix,
)
from smoothswap_jax.prepare.public_sets import celeba, ffhq
from smoothswap_jax.prepare.vggface2 import vggface2

__all__ = ["LAYOUTS", "Listing", "list_source"]

LAYOUTS = ("auto", "people", "flat", "vggface2", "ffhq", "celeba", "faceforensics")

# Each returns None where its folders are missing.
_SETS: dict[str, Callable[[str], Listing | None]] = {
    "vggface2": vggface2,
    "ffhq": ffhq,
    "celeba": celeba,
    "faceforensics": faceforensics,
}
_WANTED = {
    "people": "a folder of photos for each person, <person>/<photo>",
    "flat": "photos",
    "vggface2": "train/n000002/0001_01.jpg and test/n000001/..., also in data/ or vggface2_train/",
    "ffhq": "photos in images1024x1024/, in-the-wild-images/ or thumbnails128x128/",
    "celeba": "photos in img_celeba/ or img_align_celeba/, also in Img/ or celeba/",
    "faceforensics": "original_sequences/youtube/c23/videos/ or manipulated_sequences/<method>/c23/videos/",
}


def list_source(root: str | os.PathLike[str], layout: str = "auto") -> Listing:
    """Finds the photos and videos in the folder `root`.

    people: `<person>/<photo or video>`; the person's folder may be a link.
    flat: `<photo or video>`, each of another person.
    auto: one of the public sets if its folders are there (see the functions of their names for the variants), people
    if there are folders with files, flat if there are only files.

    Every file that is not hidden is an `MediaFile`, or a `Rejected`, or belongs to a public set without being a wanted
    photo. Those of one identity come one after the other; the order is that of the names, so it is the same each time.

    Raises:
      ValueError: no such folder, nothing in it, not the layout asked for, no layout of this name, none that can be
        told, or a list missing that the layout needs.
    """
    source = os.fsdecode(root)
    if layout not in LAYOUTS:
        raise ValueError(f"layout: found {layout!r}; wanted one of {', '.join(LAYOUTS)}")
    _check_source(source)
    if layout in _SETS:
        listing = _SETS[layout](source)
    elif layout == "auto":
        listing = _detected(source)
    else:
        listing = _plain(source, layout)
    if listing is None:
        raise ValueError(f"{source}: found {_some_names(source)}; wanted {_WANTED[layout]} for layout {layout!r}")
    return listing


def _check_source(root: str) -> None:
    if not os.path.isdir(root):
        found = "a file" if os.path.lexists(root) else "no such folder"
        raise ValueError(f"{root}: found {found}; wanted a folder of photos or videos")
    try:
        empty = next(look(root, ""), None) is None
    except OSError as error:
        raise ValueError(f"{root}: found a folder that cannot be read ({error.strerror}); wanted photos") from error
    if empty:
        raise ValueError(f"{root}: found nothing in it; wanted a folder of photos or videos")


def _detected(root: str) -> Listing:
    """The layout told by what is there; raises ValueError if that is in doubt."""
    for find in _SETS.values():
        if (listing := find(root)) is not None:
            return listing
    folders = files = nested = False
    for name, kind in look(root, ""):
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
                yield MediaFile(join(person, name), person, video=suffix(name) in VIDEO_SUFFIXES)


def _flat(root: str) -> Iterator[MediaFile | Rejected]:
    for name in photo_names(root, "", "in a folder; layout 'flat' has none"):
        yield name if isinstance(name, Rejected) else MediaFile(name, name, video=suffix(name) in VIDEO_SUFFIXES)


def _some_names(root: str) -> str:
    """The first names of a folder for an error, printable whatever their bytes."""
    found, _ = contents(root, "")
    names = [ascii(name)[1:-1] if not name.isprintable() else name for name, _ in found[:4]]
    return ", ".join(names) + (f" and {len(found) - 4} more" if len(found) > 4 else "")

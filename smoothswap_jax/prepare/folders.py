"""Walking a source folder: what is in it, always in the same order, and a verdict on every file.

A *place* is a path relative to the source folder (`root`), with slashes; "" is the folder itself. Names that are not
UTF-8 keep their bytes as surrogates. Of files only the first bytes are read, to tell videos from photos.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from smoothswap_jax.faces.kinds import is_video
from smoothswap_jax.prepare.entries import MediaFile, Rejected

OTHER_SUFFIXES = frozenset(
    (
        *(".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html", ".htm", ".log"),
        *(".pdf", ".rtf", ".doc", ".docx", ".odt", ".xls", ".xlsx", ".ods", ".ppt", ".pptx", ".odp"),
        *(".ini", ".cfg", ".db", ".sqlite", ".lnk", ".url", ".exe", ".py", ".sh", ".part", ".tmp", ".lock"),
        *(".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".torrent"),
        *(".mp3", ".wav", ".m4a", ".flac", ".ogg", ".srt", ".vtt", ".xmp", ".aae"),
        *(".npy", ".npz", ".pkl", ".mat", ".pt", ".pth", ".safetensors", ".tfrecord", ".tfrecords"),
    )
)
"""Suffixes of files that are certainly not photos. Everything else is left to the decoder."""

_ACCOMPANYING = re.compile(
    r"(?:license|readme)(?:\..*)?|.*\.(?:csv|txt|json|md|pdf|html|zip|7z(?:\.\d+)?|tar|gz|tgz)", re.I
)


@dataclass(frozen=True)
class Listing:
    """The contents of a source folder."""

    layout: str
    """The layout that was found, never "auto"."""
    entries: Callable[[], Iterator[MediaFile | Rejected]]
    """Starts a new walk with each call. A walk yields entries as it finds them, and raises ValueError if a list of the
    data set (boxes, splits, identities) is damaged."""
    several: str
    """The default policy for several faces in a photo: "box" if the set has boxes, else "largest"."""


@dataclass(frozen=True)
class PublicSet:
    """A public data set as a layout. Each stands below its function, and `layouts.py` lists them."""

    name: str
    find: Callable[[str], Listing | None]
    """Lists the set in a source folder; None if its folders are not there."""
    wanted: str
    """Where its photos should be, for errors."""


class Found(NamedTuple):
    """An entry of a folder."""

    name: str
    kind: str
    """"file" (or a link to one), "folder", "link" (to a folder), or "other": a pipe, a device, a dead link."""


def join(place: str, name: str) -> str:
    """The place of `name` in `place`."""
    return f"{place}/{name}" if place else name


def stem(name: str) -> str:
    """The name without its last suffix."""
    return os.path.splitext(name)[0]


def suffix(name: str) -> str:
    """The last suffix in lower case, with its dot; "" if there is none."""
    return os.path.splitext(name)[1].lower()


def shows_video(root: str, place: str) -> bool:
    """Whether frames are to be taken of a file; by its content, and by its name only where that says nothing."""
    return is_video(os.path.join(root, place))


def accompanies_photos(name: str) -> bool:
    """Whether a file of this name may accompany the photos of a public data set: lists, licences, archives."""
    return _ACCOMPANYING.fullmatch(name) is not None


def scan(root: str, place: str) -> Iterator[Found]:
    """The entries of a folder but hidden ones, unordered, as they are read. Raises OSError."""
    with os.scandir(os.path.join(root, place)) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield Found(entry.name, _kind(entry))


def contents(root: str, place: str) -> tuple[list[Found], list[Rejected]]:
    """The entries of a folder sorted by name; or none and the reason, if it cannot be read. Memory: the names."""
    try:
        return sorted(scan(root, place)), []
    except OSError as error:
        return [], [Rejected(place, "unreadable", f"a folder that cannot be read ({error.strerror})")]


def is_folder(root: str, place: str) -> bool:
    """Whether `place` is a folder or a link to one."""
    return os.path.isdir(os.path.join(root, place))


def holds(root: str, place: str, wanted: Callable[[Found], bool]) -> bool:
    """Whether a folder has an entry that is `wanted`; stops at the first. False if it cannot be read."""
    try:
        return any(wanted(found) for found in scan(root, place))
    except OSError:
        return False


def enters(root: str, place: str, kind: str) -> bool:
    """Whether to descend into `place`, where the layout expects a person's folder.

    A link is followed unless it leads back into the source folder: its photos would be found a second time under
    another name, or over and over. A link into a hidden folder there is followed, as nothing else leads to it.
    """
    if kind != "link":
        return kind == "folder"
    target, real_root = os.path.realpath(os.path.join(root, place)), os.path.realpath(root)
    common = os.path.commonpath((target, real_root))
    if common == target:  # the source folder, or one around it
        return False
    return common != real_root or any(part.startswith(".") for part in os.path.relpath(target, real_root).split(os.sep))


def rejected(root: str, place: str, kind: str, reason: str) -> Iterator[Rejected]:
    """Rejects a file, or every file in and below a folder, as misplaced. Links are not followed."""
    waiting = [(place, kind)]  # no recursion: folders may be nested deeper than Python's call stack
    while waiting:
        place, kind = waiting.pop()
        if kind == "folder":
            found, faults = contents(root, place)
            yield from faults
            waiting += [(join(place, name), deeper) for name, deeper in reversed(found)]
        elif kind == "link":
            yield Rejected(place, "misplaced", f"a link to a folder, which is not followed here; {reason}")
        else:
            yield Rejected(place, "misplaced", reason)


def photo_names(root: str, place: str, reason: str) -> Iterator[str | Rejected]:
    """The names of the photos and videos in a folder; whatever else is in it is rejected, folders with `reason`."""
    found, faults = contents(root, place)
    yield from faults
    for name, kind in found:
        if kind == "file" and suffix(name) not in OTHER_SUFFIXES:
            yield name
        elif kind == "file":
            yield Rejected(join(place, name), "unreadable", f"a {suffix(name)} file; wanted a photo or video")
        elif kind == "other":
            yield Rejected(join(place, name), "unreadable", "a pipe, a device or a dead link; wanted a photo or video")
        else:
            yield from rejected(root, join(place, name), kind, reason)


def leftovers(
    root: str, used: Collection[str], known: Collection[str], passed: Collection[str], reason: str, place: str = ""
) -> Iterator[Rejected]:
    """Rejects what a public data set's folder holds besides its photos, its lists and its other parts.

    Args:
      used: places whose photos are listed elsewhere; they are skipped.
      known: places of folders with lists.
      passed: names of folders that belong to the set but are not used; they are skipped.
      reason: for the user, why everything else is rejected.
    """
    found, faults = contents(root, place)
    yield from faults
    for name, kind in found:
        inner = join(place, name)
        if inner in used or (kind != "file" and name in passed) or (kind == "file" and accompanies_photos(name)):
            continue
        opened = inner in known or any(other.startswith(inner + "/") for other in used)
        if kind in ("folder", "link") and opened:  # terminates: these places are finitely many
            yield from leftovers(root, used, known, passed, reason, inner)
        else:
            yield from rejected(root, inner, kind, reason)


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        if entry.is_dir():
            return "link" if entry.is_symlink() else "folder"
        return "file" if entry.is_file() else "other"
    except OSError:  # a link to itself
        return "other"

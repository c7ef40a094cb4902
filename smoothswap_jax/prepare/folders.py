"""Walking a source: what lies in a folder, in one order, with an answer for every file.

Places are relative to the source, with slashes, "" the source itself; names that are no UTF-8 keep their bytes as
surrogates. Nothing here opens a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from smoothswap_jax.prepare.entries import MediaFile, Rejected

VIDEO_SUFFIXES = frozenset((".mp4", ".mov", ".mkv", ".avi", ".webm"))

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
"""Files of these names are obviously no photos. Everything else is for the decoder to judge."""

_BY_FILE = re.compile(r"(?:license|readme)(?:\..*)?|.*\.(?:csv|txt|json|md|pdf|html|zip|7z(?:\.\d+)?|tar|gz|tgz)", re.I)


@dataclass(frozen=True)
class Listing:
    """What lies in a source."""

    layout: str
    """The layout found, never "auto"."""
    entries: Callable[[], Iterator[MediaFile | Rejected]]
    """Starts a walk, as often as wanted. A walk yields as it goes, and raises ValueError where a list of the data
    set (boxes, splits, identities) is damaged."""
    several: str
    """The default policy for several faces: "box" where the set has boxes, else "largest"."""


class Found(NamedTuple):
    """Something in a folder."""

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


def is_by_file(name: str) -> bool:
    """Whether a public data set may bring a file of this name along with its photos: lists, licences, archives."""
    return _BY_FILE.fullmatch(name) is not None


def look(root: str, place: str) -> Iterator[Found]:
    """What lies in a folder, hidden names left out, in no order and as it comes. Raises OSError."""
    with os.scandir(os.path.join(root, place)) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield Found(entry.name, _kind(entry))


def contents(root: str, place: str) -> tuple[list[Found], list[Rejected]]:
    """What lies in a folder, by name; nothing and why, if it cannot be read. Memory: this folder's names."""
    try:
        return sorted(look(root, place)), []
    except OSError as error:
        return [], [Rejected(place, "unreadable", f"a folder that cannot be read ({error.strerror})")]


def is_folder(root: str, place: str) -> bool:
    """Whether `place` is a folder or a link to one."""
    return os.path.isdir(os.path.join(root, place))


def holds(root: str, place: str, wanted: Callable[[Found], bool]) -> bool:
    """Whether a folder holds something that is wanted; stops at the first. False if it cannot be read."""
    try:
        return any(wanted(found) for found in look(root, place))
    except OSError:
        return False


def enters(root: str, place: str, kind: str) -> bool:
    """Whether to go into `place`, where the layout expects a person's folder.

    A link is followed unless it leads back into the source: its photos would be found a second time, under another
    name, or for ever. A link into a hidden folder of the source is followed, since nothing else leads there.
    """
    if kind != "link":
        return kind == "folder"
    target, source = os.path.realpath(os.path.join(root, place)), os.path.realpath(root)
    common = os.path.commonpath((target, source))
    if common == target:  # the source, or a folder around it
        return False
    return common != source or any(part.startswith(".") for part in os.path.relpath(target, source).split(os.sep))


def rejected(root: str, place: str, kind: str, reason: str) -> Iterator[Rejected]:
    """Says of a file, or of every file in and below a folder, that it is misplaced. Links are not followed."""
    waiting = [(place, kind)]  # a stack and no recursion: folders may be nested deeper than Python's calls
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
    """The names of the photos and videos in a folder, and what else is found: folders with `reason`."""
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
    """What a public data set's folder holds besides the photos, its lists and its other parts.

    Args:
      used: the places whose photos are listed elsewhere; nothing is said of them.
      known: places of folders with lists.
      passed: names of folders that belong to the set and are not wanted; nothing is said of them.
      reason: for the user, of everything else.
    """
    found, faults = contents(root, place)
    yield from faults
    for name, kind in found:
        inner = join(place, name)
        if inner in used or (kind != "file" and name in passed) or (kind == "file" and is_by_file(name)):
            continue
        opened = inner in known or any(other.startswith(inner + "/") for other in used)
        if kind in ("folder", "link") and opened:  # ends, because these places are finitely many
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

"""What is prepared, and what becomes of it: the words that the files of this folder share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

GATES = {
    "misplaced": "lies where the layout has no place for a photo",
    "split conflict": "its identity belongs to the other split, by the data set's own lists",
    "unreadable": "not a photo or video that can be decoded",
    "no face": "no face found, or none in the data set's box",
    "several faces": "more than one face, and the policy is to leave such photos out",
    "too small": "the face has too few pixels for the size wanted",
    "extreme pose": "the head is turned too far",
    "too blurred": "the face has no fine detail",
    "duplicate": "nearly the same crop as another photo's",
}
"""Reasons to leave a photo out, in the order in which they are asked."""


@dataclass(frozen=True)
class MediaFile:
    """A photo or video to prepare."""

    file: str
    """Path relative to the source, with slashes; also its name in reports."""
    identity: str
    """Whose face; unique over the whole source."""
    split: str | None = None
    """"train" or "test" where the data set says, None: by the hash of `group`."""
    group: str | None = None
    """What is kept in one split when the hash decides; None: the identity."""
    box: tuple[float, float, float, float] | None = None
    """x0, y0, x1, y1 in pixels, where the data set says roughly where the face is."""
    aligned: bool = False
    """The photo is an FFHQ-aligned crop already: it is only resized."""
    video: bool = False
    """Frames are taken out of it."""


@dataclass(frozen=True)
class Rejected:
    """A file that is left out: which gate (a key of GATES), and the details for the user."""

    file: str
    gate: str
    reason: str


def split_by_hash(group: str, test_share: float) -> str:
    """ "train" or "test", from the group's name alone, so that adding data moves nobody.

    The name's SHA-256 is uniform: about `test_share` of all groups land in the test split.
    """
    number = int.from_bytes(hashlib.sha256(group.encode("utf-8", "surrogateescape")).digest()[:8], "big")
    return "test" if number < test_share * 2.0**64 else "train"

"""The entries of a listing, files to prepare and files left out; the gates; and which split a file belongs to.

A *picture* is a photo or one frame of a video. A *gate* is a check that a picture must pass to be kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

GATES = {
    "misplaced": "the file is where the layout has no photos",
    "split conflict": "by the data set's own lists, its identity belongs to the other split",
    "unreadable": "the file cannot be decoded as a photo or video",
    "incomplete": "the video is cut off or damaged; faces come from what can be decoded",
    "no face": "no face found, or none in the data set's box",
    "several faces": "more than one face, and --several=reject",
    "too small": "the face has too few pixels for crops of this size",
    "extreme pose": "the head is turned too far",
    "too blurred": "the face has no fine detail",
    "doubtful": "the detector is less sure than --min-score that it is a face",
    "duplicate": "nearly the same face crop as that of another photo",
}
"""The gates and what each leaves out, in the order in which they are checked."""

IN_PART = "incomplete"
"""The one gate that leaves out no picture: it names a video, whose other frames pass or fail gates of their own."""


@dataclass(frozen=True)
class MediaFile:
    """A photo or video to prepare."""

    file: str
    """Path relative to the source folder, with slashes; also its name in reports."""
    identity: str
    """Whose face it shows; unique over the whole source folder."""
    split: str | None = None
    """"train" or "test" if the data set says so; None: by the hash of `group`."""
    group: str | None = None
    """Files of one group go to one split where the hash decides; None: the identity is the group."""
    box: tuple[float, float, float, float] | None = None
    """x0, y0, x1, y1 in pixels, if the data set says roughly where the face is."""
    aligned: bool = False
    """The photo is already an FFHQ-aligned crop: it is only resized."""
    video: bool = False
    """It is a video, of which frames are taken."""


@dataclass(frozen=True)
class Rejected:
    """A file or picture that is left out: the gate (a key of GATES), and the details for the user."""

    file: str
    gate: str
    reason: str


def told_apart(found: float, wanted: float, digits: int = 0) -> tuple[str, str]:
    """Texts of a measured number and of its limit, with as many digits as it takes to tell which is larger."""
    side = lambda number: (number > wanted) - (number < wanted)
    while digits < 15 and side(round(found, digits)) != side(found):
        digits += 1
    return f"{found:.{digits}f}", f"{wanted:.15g}"


def split_by_hash(group: str, test_share: float) -> str:
    """ "train" or "test", from the group's name alone, so that adding people moves nobody to the other split.

    The SHA-256 of the name is uniform, so about `test_share` of all groups land in the test split.
    """
    return "test" if hash_of(group) < test_share * 2.0**64 else "train"


def hash_of(group: str) -> int:
    """A number below 2**64 that only the name decides."""
    return int.from_bytes(hashlib.sha256(group.encode("utf-8", "surrogateescape")).digest()[:8], "big")

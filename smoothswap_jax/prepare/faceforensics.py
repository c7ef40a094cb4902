"""FaceForensics++: original videos, and manipulated ones, each made from two originals."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from smoothswap_jax.faces.kinds import VIDEO_SUFFIXES
from smoothswap_jax.prepare.entries import MediaFile, Rejected
from smoothswap_jax.prepare.folders import (
    Listing,
    PublicSet,
    contents,
    is_folder,
    join,
    leftovers,
    photo_names,
    stem,
    suffix,
)

_COMPRESSIONS = ("c23", "raw", "c0", "c40")  # best first; c0 is an older name of raw
_PASSED = (*_COMPRESSIONS, "masks", "images", "models")
_WANTED = "wanted original_sequences/youtube/c23/videos/000.mp4"


@dataclass(frozen=True)
class _Clip:
    """A video of the set."""

    file: str
    identity: str
    sequences: tuple[str, ...]
    """The originals whose faces it shows, as youtube/000 or actors/01; of a manipulated video the target first."""


def faceforensics(root: str) -> Listing | None:
    """Lists the videos of FaceForensics++ in `root`; None if its folders are not there.

    Videos are original_sequences/youtube/<compression>/videos/000.mp4,
    original_sequences/actors/<compression>/videos/01__scene.mp4, and
    manipulated_sequences/<method>/<compression>/videos/000_003.mp4 or 01_02__scene__code.mp4. If a folder has several
    compressions, the best one for training is used: c23, else raw (or c0), else c40. The others are skipped, and so are
    masks/, images/ and models/.

    The identities are youtube/000, actors/01, <method>/000_003 and <method>/01_02. The split is that of train.json,
    val.json and test.json in splits/ or the root, where validation counts as train. Videos that these do not name are
    split by group: all originals that manipulated videos connect, named after the smallest.

    Raises:
      ValueError: during a walk, if a list is damaged.
    """
    if not is_folder(root, "original_sequences") and not is_folder(root, "manipulated_sequences"):
        return None
    if not _places(root):
        return None
    return Listing("faceforensics", lambda: _entries(root), "largest")


FACEFORENSICS = PublicSet(
    "faceforensics",
    faceforensics,
    "original_sequences/youtube/c23/videos/ or manipulated_sequences/<method>/c23/videos/",
)


def _places(root: str) -> list[tuple[str, str, bool]]:
    """(place of a folder of videos; youtube, actors or the name of the method; whether they are originals)."""
    places = []
    for top in ("original_sequences", "manipulated_sequences"):
        original = top == "original_sequences"
        for name, kind in contents(root, top)[0] if is_folder(root, top) else []:
            if kind == "file" or (original and name not in ("youtube", "actors")):
                continue
            videos = [f"{top}/{name}/{compression}/videos" for compression in _COMPRESSIONS]
            places += [(place, name, original) for place in videos if is_folder(root, place)][:1]
    return places


def _entries(root: str) -> Iterator[MediaFile | Rejected]:
    clips = []
    places = _places(root)
    for place, name, original in places:
        for file in photo_names(root, place, f"deeper than the videos; {_WANTED}"):
            clip = file if isinstance(file, Rejected) else _clip(place, file, name, original)
            if isinstance(clip, Rejected):
                yield clip
            else:
                clips.append(clip)
    listed = _splits(root)
    group_of = _groups(clips, listed)
    in_group: dict[str, set[str]] = defaultdict(set)
    for sequence, group in group_of.items():
        if sequence in listed:
            in_group[group].add(listed[sequence])
    for clip in clips:
        group = group_of[clip.sequences[0]]
        splits = {listed.get(sequence) or _of_group(in_group[group_of[sequence]]) for sequence in clip.sequences}
        if len(splits) > 1:
            yield Rejected(clip.file, "split conflict", f"shows {' and '.join(clip.sequences)}, of different splits")
        else:
            yield MediaFile(clip.file, clip.identity, splits.pop(), group, video=True)
    used = [place for place, _, _ in places]
    yield from leftovers(root, used, ("splits",), _PASSED, f"no place of FaceForensics++; {_WANTED}")


def _clip(place: str, name: str, collection: str, original: bool) -> _Clip | Rejected:
    file, wanted = join(place, name), "000_003.mp4 or 01_02__scene__code.mp4"
    if suffix(name) in VIDEO_SUFFIXES:
        if original:
            wanted = "000.mp4" if collection == "youtube" else "01__scene.mp4"
            match = re.fullmatch(r"([0-9]+)" if collection == "youtube" else r"([0-9]+)__.+", stem(name))
            if match is not None:
                return _Clip(file, f"{collection}/{match[1]}", (f"{collection}/{match[1]}",))
        elif match := re.fullmatch(r"([0-9]+)_([0-9]+)(__.+)?", stem(name)):
            kind = "actors" if match[3] else "youtube"
            return _Clip(file, f"{collection}/{match[1]}_{match[2]}", (f"{kind}/{match[1]}", f"{kind}/{match[2]}"))
    return Rejected(file, "misplaced", f"not a video named like the set's; wanted {wanted}")


def _splits(root: str) -> dict[str, str]:
    """The split of each sequence (youtube/000) by the official lists; test if it is in several."""
    splits = {}
    for name, split in (("train", "train"), ("val", "train"), ("test", "test")):
        paths = [os.path.join(root, place, f"{name}.json") for place in ("splits", "")]
        path = next((path for path in paths if os.path.isfile(path)), None)
        if path is None:
            continue
        try:
            with open(path, encoding="utf-8") as file:
                pairs = json.load(file)
            splits.update({f"youtube/{number}": split for pair in pairs for number in _strings(pair)})
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f'{path}: found {error}; wanted a list of pairs such as ["071", "054"]') from error
    return splits


def _strings(pair: object) -> list[str]:
    if not isinstance(pair, list) or not all(isinstance(number, str) for number in pair):
        raise ValueError(f"{str(pair)[:80]!r}")
    return pair


def _groups(clips: Collection[_Clip], listed: dict[str, str]) -> dict[str, str]:
    """The group of each sequence: the smallest of all sequences that manipulated videos connect it with (union-find).

    A video of two sequences that are listed in different splits connects nothing: it is left out anyway.
    """
    parent: dict[str, str] = {}

    def smallest(sequence: str) -> str:
        while (above := parent.setdefault(sequence, sequence)) != sequence:
            parent[sequence] = sequence = parent[above]
        return sequence

    for clip in clips:
        target, *sources = clip.sequences
        low = smallest(target)
        for source in sources:
            if listed.get(source, "") == listed.get(target, "") or not (source in listed and target in listed):
                low, high = sorted((smallest(source), low))
                parent[high] = low
            else:
                smallest(source)
    return {sequence: smallest(sequence) for sequence in list(parent)}


def _of_group(splits: set[str]) -> str | None:
    """The split of a sequence that no list names: that of its group, test before train; None: the hash decides."""
    return max(splits, key=("train", "test").index) if splits else None

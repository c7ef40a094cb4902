"""VGGFace2: 3.3 million photos of 9131 people, each with a box around the labelled face."""

from __future__ import annotations

import csv
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from smoothswap_jax.faces.kinds import VIDEO_SUFFIXES
from smoothswap_jax.prepare.entries import MediaFile, Rejected
from smoothswap_jax.prepare.folders import (
    Found,
    Listing,
    PublicSet,
    accompanies_photos,
    contents,
    enters,
    holds,
    is_folder,
    join,
    leftovers,
    photo_names,
    rejected,
    stem,
    suffix,
)

_PERSON = re.compile(r"n[0-9]{6}")
_TREES = {
    split: (split, f"data/{split}", f"vggface2_{split}/{split}", f"data/vggface2_{split}/{split}", f"vggface2_{split}")
    for split in ("train", "test")
}
_ARCHIVES = {split: (f"vggface2_{split}.tar.gz", f"data/vggface2_{split}.tar.gz") for split in ("train", "test")}
_LISTS = ("", "bb_landmark", "meta", "meta/bb_landmark", "data", "data/bb_landmark", "data/meta")
_HEADER = "NAME_ID,X,Y,W,H"
_NAME_BYTES = 32  # twice as long as the names of the set, n000002/0001_01
_WANTED = "VGGFace2 has train/n000002/0001_01.jpg"

Box = tuple[float, float, float, float]


def vggface2(root: str) -> Listing | None:
    """Lists VGGFace2 in `root`; None if its folders are not there.

    The folders of people, n and six digits, are in train/ and test/ of the root, data/, vggface2_train/ and
    vggface2_test/, or data/vggface2_*/; or directly in vggface2_train/ and vggface2_test/; or, for both splits
    together, directly in data/. The lists are in the root, bb_landmark/, meta/, data/ or combinations of these:
    loose_bb_train.csv and loose_bb_test.csv; train_list.txt and test_list.txt, or identity_meta.csv. A person's split
    is that of the lists, else that of the folder. The lists are read when a walk starts.

    Raises:
      ValueError: the archives are not unpacked; during a walk, a list is damaged.
    """
    trees = _find_trees(root)
    if not trees:
        return None
    boxes = _find_lists(root, "loose_bb_train.csv") + _find_lists(root, "loose_bb_test.csv")
    return Listing("vggface2", lambda: _entries(root, trees, boxes), "box" if boxes else "largest")


VGGFACE2 = PublicSet(
    "vggface2", vggface2, "train/n000002/0001_01.jpg and test/n000001/..., also in data/ or vggface2_train/"
)


def _find_trees(root: str) -> dict[str, str | None]:
    """The places that hold folders of people, with their splits; None if both splits are in one."""
    trees: dict[str, str | None] = {}
    for split, places in _TREES.items():
        tree = next((place for place in places if _has_persons(root, place)), None)
        if tree is not None:
            trees[tree] = split
    if not trees:
        trees = {place: None for place in ("data",) if _has_persons(root, place)}
    if None not in trees.values():
        for split, names in _ARCHIVES.items():
            packed = [name for name in names if os.path.isfile(os.path.join(root, name))]
            if packed and split not in trees.values():
                raise ValueError(
                    f"{os.path.join(root, packed[0])}: found the archive, not unpacked; "
                    f"wanted its folder {split}/n...: extract it first (tar -xzf {os.path.basename(packed[0])})"
                )
    return trees


def _has_persons(root: str, place: str) -> bool:
    return is_folder(root, place) and holds(root, place, _may_be_person)


def _may_be_person(found: Found) -> bool:
    return found.kind in ("folder", "link") and _PERSON.fullmatch(found.name) is not None


def _find_lists(root: str, name: str) -> list[str]:
    """The path of a list, from the first of its possible places that has it; empty if none has."""
    paths = [os.path.join(root, place, name) for place in _LISTS]
    return [path for path in paths if os.path.isfile(path)][:1]


def _entries(root: str, trees: dict[str, str | None], box_files: list[str]) -> Iterator[MediaFile | Rejected]:
    splits = read_splits(root)
    boxes = read_boxes(box_files)
    persons: dict[str, list[str]] = {}
    for tree in trees:
        found, faults = contents(root, tree)
        yield from faults
        for name, kind in found:
            place = join(tree, name)
            if _PERSON.fullmatch(name) and enters(root, place, kind):
                persons.setdefault(name, []).append(tree)
            elif not (kind == "file" and accompanies_photos(name)) and place not in _LISTS:
                yield from rejected(root, place, kind, f"not in a person's folder; {_WANTED}")
    # By person and not by tree, so that the photos of a person who is in both are consecutive.
    for person in sorted(persons):
        for tree in persons[person]:
            yield from _photos(root, tree, person, splits, boxes, trees[tree], len(persons[person]) > 1)
    yield from leftovers(root, trees, _LISTS, (), f"no place of the set; {_WANTED}")


def _photos(
    root: str, tree: str, person: str, splits: Splits, boxes: Boxes, tree_split: str | None, in_both: bool
) -> Iterator[MediaFile | Rejected]:
    place = join(tree, person)
    found = list(photo_names(root, place, f"deeper than a person's folder; {_WANTED}"))
    keys = [f"{person}/{stem(name)}" if isinstance(name, str) else "" for name in found]
    listed = splits.of_person.get(person)
    for name, key, box in zip(found, keys, find_boxes(boxes, keys), strict=True):
        if isinstance(name, Rejected):
            yield name
            continue
        file = join(place, name)
        if suffix(name) in VIDEO_SUFFIXES:
            yield Rejected(file, "misplaced", "a video; VGGFace2 has none")
        elif listed == "both" and key not in splits.test_photos:
            yield Rejected(file, "split conflict", f"{person} is in the train list and in the test list")
        elif listed is None and in_both and tree_split == "train":
            yield Rejected(file, "split conflict", f"{person} is in the train folder and in the test folder")
        else:
            yield MediaFile(file, person, "test" if listed == "both" else listed or tree_split, box=box)


@dataclass(frozen=True)
class Splits:
    """Train and test, according to the lists."""

    of_person: dict[str, str]
    """ "train", "test", or "both"."""
    test_photos: frozenset[str]
    """Of people in both: their photos on the test list, n000001/0001_01."""


def read_splits(root: str) -> Splits:
    """Reads train_list.txt and test_list.txt, and identity_meta.csv for people in neither.

    Raises ValueError for a line that does not parse. Memory: O(people).
    """
    persons: dict[str, set[str]] = {"train": set(), "test": set()}
    tests = _find_lists(root, "test_list.txt")
    for split, paths in (("train", _find_lists(root, "train_list.txt")), ("test", tests)):
        for path in paths:
            persons[split].update(key.partition("/")[0] for key in _list_keys(path, one_each=True))
    both = persons["train"] & persons["test"]
    photos = {key for path in tests if both for key in _list_keys(path) if key.partition("/")[0] in both}
    of_person = {person: split for split, names in persons.items() for person in names}
    of_person |= dict.fromkeys(both, "both")
    for path in _find_lists(root, "identity_meta.csv"):
        of_person = _read_meta(path) | of_person
    return Splits(of_person, frozenset(photos))


def _list_keys(path: str, one_each: bool = False) -> Iterator[str]:
    """The photos of a list, without leading folders and without suffix: n000002/0001_01.

    With `one_each`, only the first of each run of photos of one person, which is ten times as fast.
    """
    last = "\n"  # only empty lines start with it
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            if one_each and line.startswith(last):
                continue
            text = line.strip()
            if not text:
                continue
            parts = text.rsplit("/", 2)
            if len(parts) < 2 or _PERSON.fullmatch(parts[-2]) is None:
                raise ValueError(f"{path}, line {number}: found {text[:80]!r}; wanted like n000002/0001_01.jpg")
            last = text[: len(text) - len(parts[-1])]
            yield f"{parts[-2]}/{stem(parts[-1])}"


def _read_meta(path: str) -> dict[str, str]:
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        columns = {(name or "").strip(): name for name in reader.fieldnames or ()}
        if not {"Class_ID", "Flag"} <= columns.keys():
            raise ValueError(f"{path}: found the columns {list(columns)}; wanted Class_ID and Flag among them")
        splits = {}
        for row in reader:
            person, flag = ((row[columns[name]] or "").strip() for name in ("Class_ID", "Flag"))
            if flag not in ("0", "1"):
                raise ValueError(
                    f"{path}, line {reader.line_num}: found Flag {flag!r}; wanted 1 for train or 0 for test"
                )
            splits[person] = "train" if flag == "1" else "test"
    return splits


@dataclass(frozen=True)
class Boxes:
    """Boxes by photo: 48 bytes each, 160 MB for all of VGGFace2."""

    names: Shaped[np.ndarray, " n"]
    """Sorted byte strings, n000002/0001_01."""
    values: Float[np.ndarray, "n 4"]
    """x, y, width, height in pixels."""


def read_boxes(paths: list[str]) -> Boxes:
    """Reads loose_bb_*.csv: the columns NAME_ID (n000002/0001_01), X, Y, W, H in pixels.

    Raises ValueError for a file that does not parse.
    """
    row = np.dtype([("name", f"S{_NAME_BYTES}"), ("box", np.float32, (4,))])
    names, values = np.empty(0, f"S{_NAME_BYTES}"), np.empty((0, 4), np.float32)
    for path in paths:
        with open(path, encoding="latin-1") as file:  # names are compared as bytes
            header = file.readline().strip().removeprefix("\xef\xbb\xbf").replace('"', "").replace(" ", "")
            if header != _HEADER:
                raise ValueError(f"{path}: found the header {header[:80]!r}; wanted {_HEADER!r}")
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "loadtxt: input contained no data")
                    table = np.loadtxt(file, row, comments=None, delimiter=",", quotechar='"', ndmin=1)
            except ValueError as error:
                raise ValueError(f"{path}: found a damaged table ({error}); wanted rows of {_HEADER}") from error
        names, values = np.concatenate([names, table["name"]]), np.concatenate([values, table["box"]])
    if (names[1:] < names[:-1]).any():  # the published files are sorted already
        order = np.argsort(names, kind="stable")
        names, values = names[order], values[order]
    return Boxes(names, values)


def find_boxes(boxes: Boxes, keys: list[str]) -> list[Box | None]:
    """x0, y0, x1, y1 of photos named as in n000002/0001_01; None if there is no box or an empty one."""
    if not len(boxes.names) or not keys:
        return [None] * len(keys)
    wanted = np.array([os.fsencode(key) for key in keys])
    place = np.minimum(np.searchsorted(boxes.names, wanted), len(boxes.names) - 1)
    box = boxes.values[place]
    good: Bool[np.ndarray, " n"] = np.isfinite(box).all(axis=1) & (box[:, 2:] > 0).all(axis=1)
    good &= boxes.names[place] == wanted
    corners = np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1).tolist()
    return [(x0, y0, x1, y1) if ok else None for ok, (x0, y0, x1, y1) in zip(good, corners, strict=True)]

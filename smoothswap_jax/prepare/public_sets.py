"""FFHQ and CelebA: where their photos are, and what their lists say about them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from smoothswap_jax.prepare.entries import MediaFile, Rejected
from smoothswap_jax.prepare.folders import (
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

# --- FFHQ -------------------------------------------------------------------------------------------------

_FFHQ_TREES = ("images1024x1024", "in-the-wild-images", "thumbnails128x128")  # best first
_FFHQ_PASSED = (*_FFHQ_TREES, "tfrecords", "zips")
_FFHQ_COUNT = 70_000
_FFHQ_TEST = 63_000  # 10% held out, as in the paper: the last ones, so that all runs agree


def ffhq(root: str) -> Listing | None:
    """Lists FFHQ in `root`; None if its folders are not there.

    Photos are <5-digit id>.png, with or without folders of five digits, in the best of images1024x1024/,
    in-the-wild-images/ and thumbnails128x128/; the others are skipped. The root may itself be one of these. Suffixes
    may be .png, .jpg, .jpeg or .webp, for copies in another format. Only in-the-wild-images needs alignment. Each photo
    counts as a person; ids from 63000 on are the test split.
    """
    own = os.path.basename(os.path.abspath(root))
    if own in _FFHQ_TREES:
        return Listing("ffhq", lambda: _ffhq_tree(root, "", own != "in-the-wild-images"), "largest")
    tree = next((name for name in _FFHQ_TREES if is_folder(root, name) and holds(root, name, lambda _: True)), None)
    if tree is None:
        return None
    return Listing("ffhq", lambda: _ffhq_entries(root, tree), "largest")


def _ffhq_entries(root: str, tree: str) -> Iterator[MediaFile | Rejected]:
    yield from _ffhq_tree(root, tree, tree != "in-the-wild-images")
    yield from leftovers(root, (tree,), (), _FFHQ_PASSED, f"no place of the set; wanted {tree}/00000/00000.png")


def _ffhq_tree(root: str, tree: str, aligned: bool) -> Iterator[MediaFile | Rejected]:
    found, faults = contents(root, tree)
    yield from faults
    for name, kind in found:
        place = join(tree, name)
        if kind == "file" and not accompanies_photos(name):
            yield _ffhq_photo(place, name, aligned)
        elif re.fullmatch(r"[0-9]{5}", name) and enters(root, place, kind):
            for photo in photo_names(root, place, "deeper than FFHQ's folders; wanted 00000/00000.png"):
                yield photo if isinstance(photo, Rejected) else _ffhq_photo(join(place, photo), photo, aligned)
        elif kind != "file":
            yield from rejected(root, place, kind, "not a folder of FFHQ; wanted 00000/00000.png")


def _ffhq_photo(file: str, name: str, aligned: bool) -> MediaFile | Rejected:
    number = stem(name)
    good = re.fullmatch(r"[0-9]{5}", number) and suffix(name) in (".png", ".jpg", ".jpeg", ".webp")
    if not good or int(number) >= _FFHQ_COUNT:
        return Rejected(file, "misplaced", "not named by an id of FFHQ; wanted 00000.png to 69999.png")
    return MediaFile(file, number, "test" if int(number) >= _FFHQ_TEST else "train", aligned=aligned)


FFHQ = PublicSet("ffhq", ffhq, "photos in images1024x1024/, in-the-wild-images/ or thumbnails128x128/")

# --- CelebA -----------------------------------------------------------------------------------------------

_CELEBA_TREES = ("img_celeba", "img_align_celeba", "img_align_celeba_png")  # best first
_CELEBA_BASES = ("", "Img", "img", "celeba", "celeba/Img", "CelebA", "CelebA/Img")
_CELEBA_LISTS = tuple(
    join(base, name) if name else base for base in ("", "celeba", "CelebA") for name in ("", "Anno", "Eval")
)
_CELEBA_PASSED = (*_CELEBA_TREES, "img_celeba.7z", "img_align_celeba_png.7z")


def celeba(root: str) -> Listing | None:
    """Lists CelebA in `root`; None if its folders are not there.

    Photos are in img_celeba/ (in the wild) if it is there, else in img_align_celeba/ or img_align_celeba_png/ (the
    set's own alignment, not FFHQ's); the others are skipped. The folders may be in Img/, celeba/ or celeba/Img/, and
    nested in another folder of the same name, as on Kaggle. Lists are in the root, Anno/, Eval/, celeba/ or
    celeba/Anno/, ...: identity_CelebA.txt, list_eval_partition.txt (without it, the hash decides on splits) and, for
    img_celeba, list_bbox_celeba.txt; separated by spaces, or by commas as .csv.

    Raises:
      ValueError: there is no identity_CelebA.txt; during a walk, a list is damaged.
    """
    places = [join(base, tree) for tree in _CELEBA_TREES for base in _CELEBA_BASES]
    tree = next((place for place in places if is_folder(root, place)), None)
    if tree is None:
        return None
    name = os.path.basename(tree)
    if is_folder(root, join(tree, name)):
        tree = join(tree, name)
    persons = _celeba_list(root, "identity_CelebA")
    if persons is None:
        raise ValueError(
            f"{root}: found CelebA's {tree} and no identity_CelebA.txt; wanted it beside the photos or in Anno/ "
            "(it says which photos show one person; it is on CelebA's page)"
        )
    boxes = _celeba_list(root, "list_bbox_celeba") if name == "img_celeba" else None
    return Listing("celeba", lambda: _celeba_entries(root, tree, persons, boxes), "box" if boxes else "largest")


CELEBA = PublicSet("celeba", celeba, "photos in img_celeba/ or img_align_celeba/, also in Img/ or celeba/")


def _celeba_list(root: str, name: str) -> str | None:
    paths = [os.path.join(root, place, name + end) for end in (".txt", ".csv") for place in _CELEBA_LISTS]
    return next((path for path in paths if os.path.isfile(path)), None)


def _celeba_entries(root: str, tree: str, persons: str, boxes: str | None) -> Iterator[MediaFile | Rejected]:
    person_of = {photo: person for photo, (person,) in _celeba_rows(persons, 1)}
    box_of = dict(_celeba_rows(boxes, 4)) if boxes is not None else {}
    part_of = {}
    partition = _celeba_list(root, "list_eval_partition")
    if partition is not None:
        for photo, (part,) in _celeba_rows(partition, 1):
            if part not in (0, 1, 2):
                raise ValueError(f"{partition}: found {part} for {photo}; wanted 0 train, 1 validation or 2 test")
            part_of[photo] = "test" if part == 2 else "train"
    # By person: a photo that the partition does not name goes where the person's others are.
    split_of: dict[int, str] = {}
    for photo, person in person_of.items():
        split = part_of.get(photo)
        if split is not None and split_of.get(person) != "test":
            split_of[person] = split

    known = []
    for name in photo_names(root, tree, "deeper than CelebA's folder of photos"):
        if isinstance(name, Rejected):
            if not accompanies_photos(os.path.basename(name.file)):
                yield name
        elif stem(name) not in person_of:
            reason = f"not in {os.path.basename(persons)}, so nobody knows whose face it is"
            yield Rejected(join(tree, name), "misplaced", reason)
        else:
            known.append((person_of[stem(name)], name))
    for person, name in sorted(known):
        file, split = join(tree, name), split_of.get(person)
        if split == "test" and part_of.get(stem(name)) == "train":
            yield Rejected(file, "split conflict", f"person {person} has photos in the test split, too")
            continue
        x, y, width, height = box_of.get(stem(name), (0, 0, 0, 0))
        box = (float(x), float(y), float(x + width), float(y + height)) if width > 0 and height > 0 else None
        yield MediaFile(file, str(person), split, box=box)
    yield from leftovers(root, (tree,), _CELEBA_LISTS, _CELEBA_PASSED, f"no place of CelebA; wanted {tree}/000001.jpg")


def _celeba_rows(path: str, columns: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The rows of a list: a photo's name without suffix, and integers. Raises ValueError for other rows."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            photo, *values = line.replace(",", " ").split() or [""]
            header = number <= 2 and (photo == "image_id" or not values)
            if header or not photo:
                continue
            try:
                if len(values) != columns:
                    raise ValueError
                yield stem(photo), tuple(map(int, values))
            except ValueError:
                wanted = "000001.jpg and " + ("a whole number" if columns == 1 else f"{columns} whole numbers")
                raise ValueError(f"{path}, line {number}: found {line.strip()[:80]!r}; wanted {wanted}") from None

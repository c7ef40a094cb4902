"""The crops of all units in one table, without near-duplicates; and their order in each split."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from etils import epath
from jaxtyping import Bool, Float, Int

from smoothswap_jax.data.dataset import SPLITS
from smoothswap_jax.prepare.duplicates import SAME_DISTANCE, near_duplicates
from smoothswap_jax.prepare.entries import IN_PART, hash_of
from smoothswap_jax.prepare.work_units import unit_rows

TURNED = 45.0
"""Degrees from which on a face counts as turned: it is nearer to lying than to standing."""


@dataclass
class CropTable:
    """The kept crops as parallel arrays in the order of the listing, and what was left out."""

    unit: Int[np.ndarray, " n"]
    row: Int[np.ndarray, " n"]
    """Index into the rows of the unit."""
    person: Int[np.ndarray, " n"]
    """Index into `people`."""
    people: list[str]
    file: Int[np.ndarray, " n"]
    """Index into `files`."""
    files: list[str]
    frame: Int[np.ndarray, " n"]
    """Number of the video frame; -1 for a photo."""
    held_out: Bool[np.ndarray, " n"]
    """Whether it belongs to the test split."""
    score: Float[np.ndarray, " n"]
    """The detector's confidence; 1 where none ran."""
    turned: Bool[np.ndarray, " n"]
    """Whether its face lies on its side or upside down in the photo."""
    pictures: int
    """Number of photos and frames processed, kept or not."""
    rejected: list[tuple[str, str, str]]
    """(file, gate, reason) of every picture that is left out, and of every video that is used in part."""
    shown: dict[str, list[tuple[int, int, str]]]
    """Gate -> (unit, row, caption) of the rejected pictures that the units kept for the contact sheet."""

    def __len__(self) -> int:
        return len(self.unit)

    def rejected_by_gate(self) -> Counter[str]:
        """Number of pictures that each gate left out."""
        return Counter(gate for _, gate, _ in self.rejected if gate != IN_PART)

    @property
    def used_in_part(self) -> int:
        """Number of videos that are cut off or damaged, whose other frames are used."""
        return sum(gate == IN_PART for _, gate, _ in self.rejected)


def gather_crops(work: epath.Path, units: int, duplicates: bool, test_share: float = 0.0) -> CropTable:
    """Reads the rows of all units, and leaves out near-duplicates.

    Where the hash of names decides who is held out (`test_share` above 0), it leaves at least `FEWEST` people to either
    split, or nobody is held out (`hold_out`).

    Of two near-duplicates the one in the test split is kept, otherwise the first in the listing: a photo of a held-out
    person must not be trained on under another name. Photos of one person, or of one group of videos, look alike
    anyway: they have to be closer to count, and frames of one video never do. In a chain of near-duplicates only the
    first is kept: losing a photo is better than leaking one.
    """
    people: dict[str, int] = {}
    files: dict[str, int] = {}
    groups: dict[str, int] = {}
    all_by_hash = True
    columns, scores, hashes = array("i"), array("f"), bytearray()  # there may be millions of rows
    rejected: list[tuple[str, str, str]] = []
    shown: dict[str, list[tuple[int, int, str]]] = {}
    for unit in range(units):
        for place, row in enumerate(unit_rows(work, unit)):
            if "gate" in row:
                rejected.append((row["file"], row["gate"], row["reason"]))
                if "at" in row:
                    caption = f"{row['file']}: {row['reason']}"
                    shown.setdefault(row["gate"], []).append((unit, place, caption))
                continue
            person = people.setdefault(row["identity"], len(people))
            file = files.setdefault(row["file"], len(files))
            group = groups.setdefault(row["group"], len(groups))
            all_by_hash &= row.get("by_hash", False)
            columns.extend(
                (unit, place, person, file, row["frame"], row["split"] == "test", group, is_turned(row["quad"]))
            )
            scores.append(row["score"])
            hashes += bytes.fromhex(row["hash"])
    found = np.frombuffer(columns, np.int32).reshape(-1, 8).T
    table = CropTable(
        unit=found[0].copy(),
        row=found[1].copy(),
        person=found[2].copy(),
        people=list(people),
        file=found[3].copy(),
        files=list(files),
        frame=found[4].copy(),
        held_out=found[5].astype(bool),
        score=np.array(scores),
        turned=found[7].astype(bool),
        pictures=sum(gate != IN_PART for _, gate, _ in rejected) + found.shape[1],
        rejected=rejected,
        shown=shown,
    )
    del files
    if test_share and all_by_hash and len(table):
        table.held_out[:] = hold_out(table, found[6], list(groups))
    if duplicates and len(table):
        _leave_out_duplicates(table, np.frombuffer(hashes, np.uint8).reshape(len(table), -1), found[6])
    return table


def is_turned(quad: Sequence[Sequence[float]]) -> bool:
    """Whether the upper edge of a crop is turned by more than `TURNED` degrees in the photo."""
    across = np.subtract(quad[3], quad[0])
    return bool(abs(np.degrees(np.arctan2(across[1], across[0]))) > TURNED)


FEWEST = 2
"""People that a split needs: swaps and verification are of two different people."""


def hold_out(table: CropTable, group: np.ndarray, names: list[str]) -> np.ndarray:
    """Which crops are held out, so that either split has at least `FEWEST` people; nobody is where that cannot be.

    The hash of the groups' names decides as before: of a small set, the groups next to the border move, first those
    whose people have several crops. group: of each crop, an index into `names`.
    """
    count = np.bincount(table.person)  # crops of each person
    if (count > 0).sum() < 2 * FEWEST:
        return np.zeros(len(table), bool)
    held_out = table.held_out.copy()
    of_split = lambda side: len(np.unique(table.person[held_out == side]))
    if min(of_split(True), of_split(False)) >= FEWEST:
        return held_out
    most = np.zeros(len(names), np.int64)  # crops of the person of each group who has most
    np.maximum.at(most, group, count[table.person])
    order = sorted(range(len(names)), key=lambda i: (most[i] < 2, hash_of(names[i])))
    for side, candidates in ((True, order), (False, order[::-1])):
        for one in candidates:
            if of_split(side) >= FEWEST:
                break
            crops = group == one
            if crops.any() and (held_out[crops] != side).all():
                held_out[crops] = side
    enough = min(of_split(True), of_split(False)) >= FEWEST
    return held_out if enough else np.zeros(len(table), bool)


def _leave_out_duplicates(table: CropTable, hashes: np.ndarray, group: np.ndarray) -> None:
    priority = np.argsort(~table.held_out, kind="stable")
    first = near_duplicates(hashes[priority], group[priority])
    same = near_duplicates(hashes[priority], table.file[priority], SAME_DISTANCE)
    first = np.where(first >= 0, first, same)
    twins = np.flatnonzero(first >= 0)
    keep = np.ones(len(table), bool)
    keep[priority[twins]] = False

    def name(place: int) -> str:
        frame = table.frame[place]
        return table.files[table.file[place]] + (f"#{frame}" if frame >= 0 else "")

    for place, twin in zip(priority[twins], priority[first[twins]], strict=True):
        where = "held out, " if table.held_out[twin] and not table.held_out[place] else ""
        fate = f"{where}kept" if keep[twin] else "left out too"
        table.rejected.append((name(place), "duplicate", f"nearly the same as {name(twin)} ({fate})"))
        caption = f"{name(place)}: like {name(twin)}"
        table.shown.setdefault("duplicate", []).append((int(table.unit[place]), int(table.row[place]), caption))
    for column in ("unit", "row", "person", "file", "frame", "held_out", "score", "turned"):
        setattr(table, column, getattr(table, column)[keep])


@dataclass(frozen=True)
class Split:
    """The crops of one split in their final order, those of a person consecutive."""

    name: str
    rows: Int[np.ndarray, " n"]
    """Indices into the table."""
    people: list[str]
    counts: list[int]
    """Crops of each of `people`."""
    first_label: int
    """Label of the first of `people`; labels are consecutive over the splits."""


def splits_of(table: CropTable) -> list[Split]:
    """The splits that have crops, in the order of SPLITS; people by name, their crops in the order of the listing."""
    rank = np.argsort(np.argsort(np.array(table.people, dtype=object), kind="stable"))
    splits: list[Split] = []
    for name, chosen in zip(SPLITS, (~table.held_out, table.held_out), strict=True):
        rows = np.flatnonzero(chosen)
        rows = rows[np.argsort(rank[table.person[rows]], kind="stable")]
        if not len(rows):
            continue
        owners = table.person[rows]
        starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
        counts = np.diff(np.r_[starts, len(rows)]).tolist()
        people = [table.people[owner] for owner in owners[starts]]
        splits.append(Split(name, rows, people, counts, sum(len(split.people) for split in splits)))
    return splits

"""What all units found, brought together: who is kept, in which order, and what is left out."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass

import numpy as np
from etils import epath
from jaxtyping import Int

from smoothswap_jax.prepare.duplicates import SAME_DISTANCE, near_duplicates
from smoothswap_jax.prepare.work_units import unit_rows

SPLITS = ("train", "test")


@dataclass
class CropTable:
    """Kept crops as parallel arrays, in the order of the listing; `people` and `files` are named by index."""

    unit: Int[np.ndarray, " n"]
    row: Int[np.ndarray, " n"]
    """Which row of the unit."""
    person: Int[np.ndarray, " n"]
    people: list[str]
    file: Int[np.ndarray, " n"]
    files: list[str]
    frame: Int[np.ndarray, " n"]
    """Of a video; -1 for a photo."""
    test: np.ndarray
    """bool [n]: held out."""
    pictures: int
    """Photos and frames that were looked at, kept or not."""
    rejected: list[tuple[str, str, str]]
    """(file, gate, reason) of every picture that is left out."""
    shown: dict[str, list[tuple[int, int, str]]]
    """Gate -> (unit, row, caption) of rejected pictures that the units kept for the contact sheet."""

    def __len__(self) -> int:
        return len(self.unit)

    def rejected_by_gate(self) -> Counter[str]:
        """How many pictures each gate left out."""
        return Counter(gate for _, gate, _ in self.rejected)


def gather_crops(work: epath.Path, units: int, duplicates: bool) -> CropTable:
    """Reads what the units found, and leaves out near-duplicates.

    Of two near-duplicates the test split's is kept, else the first in the listing: a photo of a held-out person must
    not be trained on under another name. Photos of one person, or of one group of videos, are alike to begin with: they
    have to be nearer to count, and frames of one video never do. In a chain of near-duplicates only the first is kept:
    better a photo lost than one that leaks.
    """
    people: dict[str, int] = {}
    files: dict[str, int] = {}
    groups: dict[str, int] = {}
    columns, hashes = array("i"), bytearray()  # millions of rows: compact, not lists of objects
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
            columns.extend((unit, place, person, file, row["frame"], row["split"] == "test", group))
            hashes += bytes.fromhex(row["hash"])
    found = np.frombuffer(columns, np.int32).reshape(-1, 7).T
    table = CropTable(
        unit=found[0].copy(),
        row=found[1].copy(),
        person=found[2].copy(),
        people=list(people),
        file=found[3].copy(),
        files=list(files),
        frame=found[4].copy(),
        test=found[5].astype(bool),
        pictures=len(rejected) + found.shape[1],
        rejected=rejected,
        shown=shown,
    )
    del files
    if duplicates and len(table):
        _leave_out_duplicates(table, np.frombuffer(hashes, np.uint8).reshape(len(table), -1), found[6])
    return table


def _leave_out_duplicates(table: CropTable, hashes: np.ndarray, group: np.ndarray) -> None:
    priority = np.argsort(~table.test, kind="stable")
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
        where = "held out, " if table.test[twin] and not table.test[place] else ""
        fate = f"{where}kept" if keep[twin] else "left out too"
        table.rejected.append((name(place), "duplicate", f"nearly the same as {name(twin)} ({fate})"))
        caption = f"{name(place)}: like {name(twin)}"
        table.shown.setdefault("duplicate", []).append((int(table.unit[place]), int(table.row[place]), caption))
    for column in ("unit", "row", "person", "file", "frame", "test"):
        setattr(table, column, getattr(table, column)[keep])


@dataclass(frozen=True)
class Split:
    """The crops of one split in their final order, identities side by side."""

    name: str
    rows: Int[np.ndarray, " n"]
    """Indices into the table."""
    people: list[str]
    counts: list[int]
    """Crops of each of `people`."""
    first_label: int
    """Label of the first of `people`; labels count on over the splits."""


def splits_of(table: CropTable) -> list[Split]:
    """The splits that have crops, in the order of SPLITS; people by name, their crops in the listing's order."""
    rank = np.argsort(np.argsort(np.array(table.people, dtype=object), kind="stable"))
    splits: list[Split] = []
    for name, chosen in zip(SPLITS, (~table.test, table.test), strict=True):
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

"""Which swaps are judged: for each, the rows of its source, its target and, where it is known, its truth."""

import csv
import dataclasses
import hashlib
import io
import json
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from smoothswap_jax.evaluation.galleries import Gallery

PAIRS, SCORES = "pairs.csv", "scores.csv"
CONTENTS = ("source_sha256", "target_sha256", "truth_sha256")
COLUMNS = ("pair", "source", "target", "truth", "source_person", "target_person", *CONTENTS)


@dataclass(frozen=True)
class Pairs:
    """n swaps. names: unique, and file names without suffix for others' swaps. source, target, truth: rows of the
    gallery. known_points: the points of a swap are those of its truth, and are not looked for."""

    gallery: Gallery
    names: tuple[str, ...]
    source: Int[np.ndarray, "n"]
    target: Int[np.ndarray, "n"]
    truth: Int[np.ndarray, "n"] | None = None
    known_points: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def people(self) -> tuple[np.ndarray, np.ndarray]:
        """The names of each pair's source and target person."""
        people = np.array(self.gallery.people)
        return people[self.source], people[self.target]


def only(pairs: Pairs, keep: Bool[np.ndarray, "n"], *notes: str) -> Pairs:
    """Some of the pairs, with notes that say why."""
    return dataclasses.replace(
        pairs,
        names=tuple(name for name, kept in zip(pairs.names, keep, strict=True) if kept),
        source=pairs.source[keep],
        target=pairs.target[keep],
        truth=None if pairs.truth is None else pairs.truth[keep],
        notes=(*pairs.notes, *notes),
    )


def manifest(pairs: Pairs) -> bytes:
    """The pairs as CSV (`COLUMNS`)."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    names = pairs.gallery.names
    truth = [""] * len(pairs) if pairs.truth is None else [names[row] for row in pairs.truth]
    ends = [[names[row] for row in rows] for rows in (pairs.source, pairs.target)]
    contents = [_contents(pairs.gallery, rows) for rows in (pairs.source, pairs.target)]
    true = [""] * len(pairs) if pairs.truth is None else _contents(pairs.gallery, pairs.truth)
    writer.writerows(zip(pairs.names, *ends, truth, *pairs.people, *contents, true, strict=True))
    return file.getvalue().encode("utf-8", "surrogateescape")


def _contents(gallery: Gallery, rows: Int[np.ndarray, "n"]) -> list[str]:
    known = {int(row): gallery.content(int(row)) for row in np.unique(rows)}
    return [known[int(row)] for row in rows]


def manifest_digest(pairs: Pairs) -> str:
    """SHA-256 of the manifest, with its contents, and of how the faces were made: two evaluations with equal
    digests judged swaps of the same images. The name of the data's folder does not count."""
    return hashlib.sha256(manifest(pairs) + alignment_digest(pairs).encode()).hexdigest()


def alignment_digest(pairs: Pairs) -> str:
    """SHA-256 of how the faces were made of the data: size, detector, world."""
    gallery = pairs.gallery
    facts = {key: value for key, value in gallery.facts.items() if key != "data"} | {"size": str(gallery.size)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def contents_by_pair(text: bytes) -> dict[str, tuple[str, ...]]:
    """The contents of each pair of a manifest, by its name. Raises ValueError for a file that is not a manifest."""
    rows = list(csv.DictReader(io.StringIO(text.decode("utf-8", "surrogateescape"))))
    if rows and (missing := [column for column in ("pair", *CONTENTS) if column not in rows[0]]):
        raise ValueError(f"found no column {missing[0]}; wanted a list that `smoothswap evaluate --pairs-only` wrote")
    return {row["pair"]: tuple(row[column] for column in CONTENTS) for row in rows}


def names_by_content(gallery: Gallery, source: Int[np.ndarray, "n"], target: Int[np.ndarray, "n"]) -> tuple[str, ...]:
    """Names for pairs without names of their own: hashes of their two images, so that when the data change no old swap
    is taken for a new one."""
    ends = zip(_contents(gallery, source), _contents(gallery, target), strict=True)
    return tuple(hashlib.sha256("".join(end).encode()).hexdigest()[:12] for end in ends)


def by_hash(names: list[str], count: int) -> list[int]:
    """Indices of up to `count` names, those with the smallest SHA-256, in order: adding
    names changes few of the choices."""
    order = sorted(
        range(len(names)), key=lambda i: hashlib.sha256(names[i].encode("utf-8", "surrogateescape")).digest()
    )
    return sorted(order[:count])

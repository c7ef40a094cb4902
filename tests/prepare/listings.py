"""Miniature trees of photos, and what a listing of them gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from smoothswap_jax.prepare.entries import GATES, MediaFile, Rejected
from smoothswap_jax.prepare.layouts import Listing

PERSONS = ["train/n000002/0001_01.jpg", "test/n000001/0001_01.jpg"]
"""Photos of two people as VGGFace2 unpacks them."""


def make_tree(root: Path, files: Iterable[str]) -> Path:
    """Empty files."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def entries_of(listing: Listing) -> list[MediaFile | Rejected]:
    """All entries; checks what holds for every listing: reproducible, no file twice, identities consecutive."""
    entries = list(listing.entries())
    assert list(listing.entries()) == entries
    assert max(Counter(entry.file for entry in entries).values(), default=1) == 1
    assert all(entry.gate in GATES for entry in entries if isinstance(entry, Rejected))
    order = [entry.identity for entry in entries if isinstance(entry, MediaFile)]
    changes = [here for here, before in zip(order, [None, *order], strict=False) if here != before]
    assert len(changes) == len(set(changes))
    return entries


def items_of(listing: Listing) -> list[MediaFile]:
    return [entry for entry in entries_of(listing) if isinstance(entry, MediaFile)]


def gates_of(listing: Listing) -> dict[str, str]:
    return {entry.file: entry.gate for entry in entries_of(listing) if isinstance(entry, Rejected)}


def splits_of(listing: Listing) -> dict[str, str | None]:
    return {item.file: item.split for item in items_of(listing)}

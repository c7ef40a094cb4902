"""A checkpoint once it is read: nested dicts and lists with arrays and plain values as leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from smoothswap_jax.weights.readers.errors import Malformed


@dataclass(frozen=True)
class Skipped:
    """Where a pickle has an object of a class that is not among tensors and their containers: the class's name."""

    name: str


Leaf: TypeAlias = np.ndarray | int | float | str | bytes | bool | Skipped | None
Tree: TypeAlias = "dict[str, Tree] | dict[int, Tree] | list[Tree] | Leaf"
"""Keys are strings, in optimiser states also integers."""

MAX_DEPTH = 64
"""Levels of containers. Real checkpoints have about ten."""
MAX_NODES = 1_000_000
"""Containers and leaves, counted once for every path that leads to them. Real checkpoints have thousands."""


class Nodes:
    """Counts the nodes of a tree while it is built, so that a small file cannot unfold into a huge tree."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, depth: int) -> None:
        """One more node, inside `depth` containers."""
        self.count += 1
        if self.count > MAX_NODES:
            raise Malformed(f"more than {MAX_NODES:,} entries", "a checkpoint")
        if depth > MAX_DEPTH:
            raise Malformed(f"containers nested deeper than {MAX_DEPTH} levels, or inside themselves", "a checkpoint")


def skipped(tree: object) -> Iterator[str]:
    """The classes of the objects that were skipped in a tree, one name for each object."""
    if isinstance(tree, Skipped):
        yield tree.name
    elif isinstance(tree, dict | list):
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from skipped(value)

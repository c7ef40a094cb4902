"""A checkpoint once it is read: nested dicts and lists with arrays and plain values as leaves."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from smoothswap_jax.weights.readers.errors import Malformed

Leaf: TypeAlias = np.ndarray | int | float | str | bytes | bool | None
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

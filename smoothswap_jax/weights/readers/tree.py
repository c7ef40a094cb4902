"""What a checkpoint is once it is read: nested dicts and lists with arrays and plain values at the leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from smoothswap_jax.weights.readers.source import Unfit, WeightFileError, shown

Leaf: TypeAlias = np.ndarray | int | float | str | bytes | bool | None
Tree: TypeAlias = "dict[str, Tree] | dict[int, Tree] | list[Tree] | Leaf"
"""Keys are text; optimiser states and the like have integers too."""

MAX_DEPTH = 64
"""Levels of containers. Real checkpoints have about ten."""
MAX_NODES = 1_000_000
"""Containers and leaves, those that are reached several ways counted as often. Real checkpoints have thousands."""


class Nodes:
    """Counts the nodes of a tree while it is built, so that a small file cannot unfold into a huge one."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, depth: int) -> None:
        """One node more, `depth` containers deep."""
        self.count += 1
        if self.count > MAX_NODES:
            raise Unfit(f"more than {MAX_NODES:,} entries", "a checkpoint")
        if depth > MAX_DEPTH:
            raise Unfit(f"containers nested deeper than {MAX_DEPTH} levels, or inside of themselves", "a checkpoint")


def flat_tensors(tree: Tree, name: str = "checkpoint") -> dict[str, np.ndarray]:
    """The arrays of a tree by dotted names, `{'a': {'b': array}}` -> `{'a.b': array}`; other leaves are left out.

    `name` stands for the tree in errors. Raises `WeightFileError` if `tree` is no dict, has a dict with a key
    that is not text, or spells one dotted name twice.
    """
    if not isinstance(tree, dict):
        raise WeightFileError(f"{name}: found {_kind(tree)}; wanted a dict of tensors")
    found: dict[str, np.ndarray] = {}
    _flatten(tree, "", found, name)
    return found


def _flatten(tree: Mapping, prefix: str, found: dict[str, np.ndarray], name: str) -> None:
    for key, value in tree.items():
        if not isinstance(key, str):
            raise WeightFileError(
                f"{name}: {shown(prefix) if prefix else 'top level'}: found the key {shown(key)}; wanted names only "
                "(pick the part that holds the network, see find_state_dict)"
            )
        path = f"{prefix}.{key}" if prefix else key
        if isinstance(value, dict):
            _flatten(value, path, found, name)
        elif isinstance(value, list):
            _flatten({str(index): item for index, item in enumerate(value)}, path, found, name)
        elif isinstance(value, np.ndarray):
            if path in found:
                raise WeightFileError(f"{name}: {shown(path)}: found two tensors of this dotted name; wanted one")
            found[path] = value


def find_state_dict(tree: Tree, *keys: str, name: str = "checkpoint") -> dict[str, Tree]:
    """The part of a tree that holds a network: `tree[key]` of the first of `keys` that is there and a dict.

    A tree that has none of them but holds arrays itself is already a state dict and returned as it is. `name`
    stands for the tree in errors. Raises `WeightFileError` that lists the keys there are.
    """
    if not isinstance(tree, dict):
        raise WeightFileError(f"{name}: found {_kind(tree)}; wanted a dict of tensors")
    parts: dict = tree
    for key in keys:
        if isinstance(part := parts.get(key), dict):
            return part
    if any(isinstance(value, np.ndarray) for value in parts.values()):
        return parts
    there = ", ".join(shown(key) for key in list(parts)[:20]) + (", ..." if len(parts) > 20 else "")
    wanted = " or ".join([*map(repr, keys), "tensors at the top"])
    raise WeightFileError(f"{name}: found the keys {there or '(none)'}; wanted {wanted}")


def _kind(value: object) -> str:
    return f"one array of shape {list(value.shape)}" if isinstance(value, np.ndarray) else shown(value)

"""Where in a checkpoint a network may be: in which group of its tensors, and behind which prefix of their names.

Trainers save a network under a name of their own ('model', 'state_dict', 'g_ema') and inside wrappers that put a
prefix before every name ('module.', 'model.backbone.'). There is no list of such names here: every mapping that holds
tensors is a group, and every dotted beginning of a name is a prefix. `importing.py` tries them, and takes the one that
fits to the last tensor.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from smoothswap_jax.weights.inspect import State, flat_tensors, is_tensor, printable

MAX_READINGS = 1000
"""The largest are tried. A training checkpoint of a large network has some hundreds."""
_GROUP_DEPTH = 4  # levels of mappings inside each other: Flax checkpoints have 'optimizer/target'
_PREFIX_PARTS = 6
_SHOWN = 8


@dataclass(frozen=True)
class Reading:
    """A part of a checkpoint that may be one network.

    group: the names of the mappings around it, joined by slashes; '' for the whole file. prefix: what its tensors'
    names start with, '' or text that ends with a dot. size: how many tensors it has.
    """

    group: str
    prefix: str
    size: int
    node: Mapping[str, Any] = field(repr=False, compare=False)
    nested: bool = False

    def tensors(self) -> State:
        """The tensors without the prefix; those of nested mappings as 'a/b/c'."""
        if self.nested:
            return flat_tensors(self.node)
        start = len(self.prefix)
        return flat_tensors({n[start:]: v for n, v in _direct(self.node).items() if n.startswith(self.prefix)})

    def outside(self) -> list[str]:
        """The names of the group's tensors that do not start with the prefix."""
        return [name for name in _direct(self.node) if not name.startswith(self.prefix)]

    def covers(self, other: "Reading") -> bool:
        """Whether the tensors of `other` are among these."""
        if other.group == self.group:
            return self.nested or (not other.nested and other.prefix.startswith(self.prefix))
        return self.nested and other.group.startswith(f"{self.group}/" if self.group else "")


def readings(tree: Mapping[Any, Any], group: str | None = None, prefix: str | None = None) -> list[Reading]:
    """The readings of a checkpoint, those with the most tensors first; where `group` or `prefix` are given, only those
    that have them."""
    found = [
        reading
        for path, node in _groups(tree)
        if group is None or path == group
        for reading in _readings_of(path, node)
        if prefix is None or reading.prefix == prefix
    ]
    return sorted(found, key=lambda reading: (-reading.size, len(reading.prefix)))[:MAX_READINGS]


def known_reading(group: str, prefix: str) -> str:
    """What chooses a reading on the command line."""
    parts = [f"group={group}", *([f"prefix={prefix}"] if prefix else [])]
    return f"--known {' '.join(shlex.quote(printable(part)) for part in parts)}"


def groups_shown(tree: Mapping[Any, Any]) -> str:
    """The groups that hold tensors themselves, with the number of these, for error messages."""
    held = {path: len(names) for path, node in _groups(tree) if (names := _direct(node))}
    shown = ", ".join(f"'{printable(path)}' ({count})" for path, count in list(held.items())[:_SHOWN])
    return f"{shown}{', ...' if len(held) > _SHOWN else ''}" if held else "none"


def _groups(tree: Mapping[Any, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "/".join(path), tree
    if len(path) < _GROUP_DEPTH:
        for name, value in tree.items():
            if isinstance(name, str) and isinstance(value, Mapping):  # optimisers number what they hold
                yield from _groups(value, (*path, name))


def _readings_of(path: str, node: Mapping[str, Any]) -> Iterator[Reading]:
    direct, whole = _direct(node), len(flat_tensors(node))
    if whole > len(direct):
        yield Reading(path, "", whole, node, nested=True)
    if direct:
        yield Reading(path, "", len(direct), node)
    counts = Counter(prefix for name in direct for prefix in _prefixes(name))
    for prefix, count in counts.items():
        yield Reading(path, prefix, count, node)


def _direct(node: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in node.items() if isinstance(name, str) and is_tensor(value)}


def _prefixes(name: str) -> list[str]:
    """'a.', 'a.b.' of 'a.b.weight', and 'a/' of 'a/b': our exports join names by slashes."""
    ends = [end.end() for end in re.finditer(r"[./]", name)]
    return [name[:end] for end in ends[:_PREFIX_PARTS]]

"""Looking into a checkpoint's tensors: shapes, and depths by names; and the caller's keywords."""

import itertools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from smoothswap_jax.weights.stored_tensor import Absent, WeightMismatch

Shape = tuple[int, ...]
State = dict[str, np.ndarray]

_LONGEST = 200  # characters of a name in an error
_REQUIRED = object()
_TYPES = {
    int: "a whole number from 0 up",
    float: "a finite number",
    bool: "True or False",
    tuple: "numbers such as (16, 32)",
    str: "a word",
}


class Known:
    """What the caller knows of a network, as keywords. A plan takes those it needs; `finish` refuses the others."""

    def __init__(self, kind: str, values: Mapping[str, Any]) -> None:
        self.kind, self.values, self.asked = kind, dict(values), [""]

    def take(self, name: str, wanted: type, default: Any = _REQUIRED) -> Any:
        """The keyword's value. Raises ValueError where it is missing without a default, or not of the type `wanted`."""
        self.asked.append(name)
        if name not in self.values:
            if default is _REQUIRED:
                raise ValueError(f"{self.kind}: names and shapes do not show {name}; give {name}=...")
            return default
        value = self.values[name]
        if wanted is tuple and isinstance(value, list):
            return tuple(value)
        if wanted is float and is_finite(value):
            return float(value)
        if wanted is float or type(value) is not wanted or (type(value) is int and value < 0):
            raise ValueError(f"{self.kind}: {name} is {value!r}, wanted {_TYPES[wanted]}")
        return value

    def anew(self) -> "Known":
        """These keywords for another try, which counts what is taken by itself."""
        copy = Known(self.kind, self.values)
        copy.asked = [*self.asked]
        return copy

    def fields(self, **wanted: type) -> dict[str, Any]:
        """The keywords that were given, of those in `wanted`, checked as by `take`."""
        return {name: value for name, kind in wanted.items() if (value := self.take(name, kind, None)) is not None}

    def finish(self) -> None:
        """Raises ValueError for keywords that nothing took."""
        if extra := sorted(set(self.values) - set(self.asked)):
            raise ValueError(f"{self.kind}: no use for {', '.join(extra)}; takes {', '.join(self.asked[1:]) or 'none'}")


def shape_of(state: Mapping[str, np.ndarray], name: str, ndim: int | tuple[int, ...] | None = None) -> Shape:
    """The shape of a tensor. Raises WeightMismatch for a missing or empty one, and for another number of axes."""
    if name not in state:
        raise Absent(f"missing (1): {name}; found {some_names(state)}")
    shape = tuple(state[name].shape)
    if 0 in shape or (ndim is not None and len(shape) not in np.atleast_1d(ndim)):
        raise WeightMismatch(f"misshapen (1): {name}: found {shape}, wanted {ndim or 'non-empty'} axes")
    return shape


def is_finite(value: Any) -> bool:
    """Whether a value is a number that a float can hold, and neither infinite nor NaN."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False


def printable(name: str) -> str:
    """A name out of a file that may be hostile, as it can be shown: short, and without control characters."""
    short = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."
    return short if short.isprintable() else ascii(short)[1:-1]


def some_names(names: Collection[Any]) -> str:
    """The first names, for error messages."""
    first = [printable(str(name)) for name in itertools.islice(names, 6)]
    return f"{', '.join(first)}{', ...' if len(names) > 6 else ''} ({len(names)} in all)" if first else "nothing"


def stages_of(
    state: Mapping[str, np.ndarray], pattern: str = r"layer(\d+)\.(\d+)\.", first: tuple[int, int] = (1, 0)
) -> tuple[int, ...]:
    """The number of blocks in each stage, from names that have the numbers of stage and block.

    first: the lowest numbers of a stage and a block. Raises WeightMismatch when a stage or block is missing, so that a
    network is never larger than its list of names.
    """
    found = {(int(m[1]), int(m[2])) for m in (re.match(pattern, name) for name in state) if m}
    if not found:
        raise Absent(f"no names like {_readable(pattern)}; found {some_names(state)}")
    sizes = [sum(stage == s for s, _ in found) for stage in range(first[0], first[0] + len(found))]
    sizes = sizes[: sizes.index(0)] if 0 in sizes else sizes
    wanted = {(first[0] + i, first[1] + block) for i, size in enumerate(sizes) for block in range(size)}
    if found != wanted:
        strange = ", ".join(f"{stage}.{block}" for stage, block in sorted(found - wanted)[:6])
        raise WeightMismatch(
            f"missing: a stage or block; names like {_readable(pattern)} go up to {strange} without the numbers before"
        )
    return tuple(sizes)


def _readable(pattern: str) -> str:
    """A pattern of names as people write it: layer<n>.<n>. for its regular expression."""
    return re.sub(r"\(\\d\+\)", "<n>", pattern).replace("\\", "")


def published_depth(known: Known, found: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """`found`, which must be the depths that the kind is named after unless the keyword `stage_sizes` gives others."""
    asked = known.take("stage_sizes", tuple, wanted)
    if found != asked:
        raise WeightMismatch(f"{known.kind}: found stages of {found} blocks, wanted {asked} (stage_sizes)")
    return found


def is_tensor(value: Any) -> bool:
    """Whether a value of a checkpoint is an array, of whatever library."""
    return hasattr(value, "shape")


def flat_tensors(state: Mapping[str, Any], prefix: str = "") -> State:
    """Nested dicts as {'a/b/c': array}."""
    flat: State = {}
    for name, value in state.items():
        if isinstance(value, Mapping):
            flat |= flat_tensors(value, f"{prefix}{name}/")
        elif is_tensor(value):
            flat[f"{prefix}{name}"] = np.asarray(value)
    return flat


def image_shape(size: Sequence[int]) -> Shape:
    """One RGB image of (height, width). Raises WeightMismatch for a side of 0: the last layer fits no image."""
    if min(size) < 1:
        raise WeightMismatch(f"the last layer's shape, or image_size, gives images of {tuple(size)} pixels")
    return (1, size[0], size[1], 3)

"""What the readers raise, and how they quote values of untrusted files.

A check that knows no names raises `Malformed(found, wanted)`; `naming` turns that into the `WeightFileError` that also
says which file, and which field or tensor of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class WeightFileError(ValueError):
    """A weight file could not be read: the text names the file, the field, what was found and what is wanted."""


class Malformed(Exception):
    """A check failed; `naming` adds where. Never leaves the readers."""

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__(f"found {found}; wanted {wanted}")


@contextmanager
def naming(file: str, field: str = "") -> Iterator[None]:
    """Turns a `Malformed` into a `WeightFileError` about `field` of `file`; the innermost `naming` wins."""
    try:
        yield
    except Malformed as fault:
        raise WeightFileError(f"{file}: {field}: {fault}" if field else f"{file}: {fault}") from None


def shown(value: object) -> str:
    """A value of an untrusted file for an error text: short, printable, and without walking through a container."""
    if isinstance(value, str | bytes):
        text = ascii(value[:100])
        return f"{text}..." if len(value) > 100 else text
    if isinstance(value, bool | float | None):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if abs(value) < 1 << 128 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, list | tuple) and len(value) <= 8 and all(isinstance(item, int) for item in value):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, list | tuple | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"

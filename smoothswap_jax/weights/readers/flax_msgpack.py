"""Flax's msgpack files (`flax.serialization.to_bytes`): maps of names, arrays in extension types.

Not read with the msgpack library: that allocates a list as long as a header of five bytes claims, a thousand levels
deep. Here lists grow as their items are read.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import numpy as np

from smoothswap_jax.weights.readers.arrays import DTYPES, checked_shape, read_array
from smoothswap_jax.weights.readers.byte_range import ByteRange
from smoothswap_jax.weights.readers.errors import Malformed, naming, shown
from smoothswap_jax.weights.readers.tree import Nodes, Tree

_NDARRAY, _COMPLEX, _NPSCALAR = 1, 2, 3
_CHUNKED = "__msgpack_chunked_array__"
MAX_TEXT_BYTES = 1 << 20


def looks_like(head: bytes) -> bool:
    """Whether `head` starts with a msgpack map of at least one entry."""
    return head[:1] in (b"\xde", b"\xdf") or (len(head) > 0 and 0x81 <= head[0] <= 0x8F)


def read_msgpack(source: ByteRange, file: str) -> Tree:
    """The tree of a Flax msgpack file."""
    tree = _Decoder(file).value(source, ())
    with naming(file):
        if source.left:
            raise Malformed(f"{source.left:,} bytes after the tree", "the end of the file")
    return tree


class _Decoder:
    """Decodes one file; `path` has the names of the maps around a value, for error messages."""

    def __init__(self, file: str) -> None:
        self.file, self.nodes = file, Nodes()

    def value(self, source: ByteRange, path: tuple[str, ...]) -> Tree:
        with naming(self.file, ".".join(path)):
            self.nodes.add(len(path))
            code = source.number(1)
            if code <= 0x7F:
                return code
            if code >= 0xE0:
                return code - 256
            if code in _PLAIN:
                return _PLAIN[code](source)
            if 0xA0 <= code <= 0xBF:
                return source.text(code & 0x1F, MAX_TEXT_BYTES)
            if (size := _sized(source, code, _LIST, 0x90)) is not None:
                return [self.value(source, (*path, str(index))) for index in range(size)]
            if (size := _sized(source, code, _MAP, 0x80)) is not None:
                return self._map(source, size, path)
            if code in _EXT:
                size = _EXT[code] or _length(source, _EXT_LENGTH[code])
                kind = source.number(1)
                return self._extension(source.skip(size), kind, path)
            raise Malformed(f"the byte {code:#04x} where a msgpack value should be", "an undamaged file")

    def _map(self, source: ByteRange, size: int, path: tuple[str, ...]) -> Tree:
        made: dict[str, Tree] = {}
        for _ in range(size):
            name = self.value(source, (*path, "(name)"))
            if not isinstance(name, str):
                raise Malformed(f"{shown(name)} as a name", "text")
            if name in made:
                raise Malformed(f"the name {shown(name)} twice", "once")
            made[name] = self.value(source, (*path, shown(name)[1:-1]))
        return _joined(made) if _CHUNKED in made else made

    def _extension(self, payload: ByteRange, kind: int, path: tuple[str, ...]) -> Tree:
        if kind == _COMPLEX:
            data = payload.read(payload.left)
            if len(data) != 19 or (data[0], data[1], data[10]) != (0x92, 0xCB, 0xCB):
                raise Malformed("a complex number that is not two floats", "an undamaged file")
            return np.array(complex(*struct.unpack(">xxdxd", data)))
        if kind not in (_NDARRAY, _NPSCALAR):
            raise Malformed(f"msgpack extension type {kind}", "1 (array), 2 (complex) or 3 (scalar)")
        if payload.number(1) != 0x93:
            raise Malformed("an array that is not (shape, type, bytes)", "an undamaged file")
        size = _sized(payload, payload.number(1), _LIST, 0x90)
        shape = checked_shape([self.value(payload, (*path, "(shape)")) for _ in range(-1 if size is None else size)])
        name = self.value(payload, (*path, "(type)"))
        if not isinstance(name, str) or name not in DTYPES:
            raise Malformed(f"the element type {shown(name)}", "a number's")
        code = payload.number(1)
        if code not in _BYTES:
            raise Malformed("an array without its bytes", "an undamaged file")
        length = _length(payload, _BYTES[code])
        if length != payload.left or length != math.prod(shape) * DTYPES[name].itemsize:
            raise Malformed(f"{length:,} bytes for {name} {list(shape)}", "as many as the shape takes, and no more")
        return read_array(payload, DTYPES[name], shape)


def _joined(made: dict) -> np.ndarray:
    """An array that Flax split into flat chunks, because msgpack is limited to 4 GiB."""
    shape, chunks = made.get("shape"), made.get("chunks")
    if not isinstance(shape, dict) or not isinstance(chunks, dict):
        raise Malformed("a chunked array without shape or chunks", "both")
    sizes = checked_shape([shape.get(str(index)) for index in range(len(shape))])
    parts = [chunks.get(str(index)) for index in range(len(chunks))]
    arrays = [part for part in parts if isinstance(part, np.ndarray) and part.ndim == 1]
    same = len(arrays) == len(parts) > 0 and len({part.dtype for part in arrays}) == 1
    if not same or sum(part.size for part in arrays) != math.prod(sizes):
        raise Malformed(f"chunks that do not add up to an array of shape {list(sizes)}", "flat ones of one type")
    return np.concatenate(arrays).reshape(sizes)


def _sized(source: ByteRange, code: int, wide: dict[int, int], small: int) -> int | None:
    """The number of items of a list or map that starts with `code`; None if it is neither."""
    if code & 0xF0 == small:
        return code & 0x0F
    return _length(source, wide[code]) if code in wide else None


def _length(source: ByteRange, size: int) -> int:
    return int.from_bytes(source.read(size), "big")


def _integer(size: int, signed: bool) -> Callable[[ByteRange], int]:
    return lambda source: int.from_bytes(source.read(size), "big", signed=signed)


def _bytes(size: int) -> Callable[[ByteRange], bytes]:
    return lambda source: source.read(_length(source, size))


def _string(size: int) -> Callable[[ByteRange], str]:
    return lambda source: source.text(_length(source, size), MAX_TEXT_BYTES)


_LIST, _MAP, _BYTES = {0xDC: 2, 0xDD: 4}, {0xDE: 2, 0xDF: 4}, {0xC4: 1, 0xC5: 2, 0xC6: 4}
_EXT = {0xC7: 0, 0xC8: 0, 0xC9: 0, 0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_EXT_LENGTH = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_PLAIN: dict[int, Callable[[ByteRange], int | float | str | bytes | bool | None]] = {
    0xC0: lambda source: None,
    0xC2: lambda source: False,
    0xC3: lambda source: True,
    0xCA: lambda source: struct.unpack(">f", source.read(4))[0],
    0xCB: lambda source: struct.unpack(">d", source.read(8))[0],
    **{0xCC + power: _integer(1 << power, signed=False) for power in range(4)},
    **{0xD0 + power: _integer(1 << power, signed=True) for power in range(4)},
    **{code: _bytes(size) for code, size in _BYTES.items()},
    **{0xD9 + power: _string(1 << power) for power in range(3)},
}

"""The .safetensors format: a length, a JSON header, and the tensors' bytes without gaps.

Once the header is checked, the safetensors library would only copy the bytes. Doing that here takes three lines, works
for bfloat16 and float8 whatever the library's version, does not map the file, and cannot run into a panic of its Rust
core. Tests compare with the library.
"""

from __future__ import annotations

import json
import math

import numpy as np

from smoothswap_jax.weights.readers.arrays import checked_shape, read_array, table
from smoothswap_jax.weights.readers.byte_range import ByteRange
from smoothswap_jax.weights.readers.errors import Malformed, naming, shown
from smoothswap_jax.weights.readers.tree import Nodes, Tree

MAX_HEADER_BYTES = 8 << 20
_DTYPES = table(
    [
        *(("F64", "float64"), ("F32", "float32"), ("F16", "float16"), ("BF16", "bfloat16"), ("BOOL", "bool")),
        *((f"{kind[0].upper()}{bits}", f"{kind}{bits}") for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
        *(("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2"), ("C64", "complex64")),
    ]
)


def looks_like(head: bytes) -> bool:
    """Whether `head` starts with a header's length, of less than a terabyte, and a JSON object."""
    return head[5:9] == b"\0\0\0{"


def read_safetensors(source: ByteRange, file: str) -> Tree:
    """The tensors of a .safetensors file by name, in the order of the header."""
    with naming(file, "header"):
        size = source.number(8)
        if size > MAX_HEADER_BYTES:
            raise Malformed(f"a header of {size:,} bytes", f"at most {MAX_HEADER_BYTES:,}")
        header = _parsed(source.read(size))
        header.pop("__metadata__", None)
        nodes = Nodes()
        data, places = source.skip(source.left), []
    arrays: dict[str, Tree] = {}
    for name, entry in header.items():
        with naming(file, f"tensor {shown(name)}"):
            nodes.add(1)
            dtype, shape, begin, end = _entry(entry)
            places.append((begin, end, name))
            arrays[name] = read_array(data.part(begin, end - begin), dtype, shape)
    last = 0
    for begin, end, name in sorted(places):
        with naming(file, f"tensor {shown(name)}"):
            if begin != last:
                raise Malformed(f"bytes {begin:,} to {end:,}", f"bytes from {last:,} on: no gaps, no overlaps")
            last = end
    with naming(file):
        if last != data.size:
            raise Malformed(f"{data.size - last:,} bytes after the last tensor", "the end of the file")
    return arrays


def _parsed(text: bytes) -> dict:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_no_doubles)
    except RecursionError:
        raise Malformed("a deeply nested header", "a flat one") from None
    except ValueError as error:
        raise Malformed(f"a header that is not JSON ({shown(str(error))})", "a whole, undamaged file") from None
    if not isinstance(header, dict):
        raise Malformed(f"{shown(header)} as header", "a JSON object")
    return header


def _no_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Malformed("a name that occurs twice in the header", "different names")
    return made


def _entry(entry: object) -> tuple[np.dtype, tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise Malformed(shown(entry), "dtype, shape and data_offsets")
    kind, offsets = entry["dtype"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _DTYPES:
        raise Malformed(f"the element type {shown(kind)}", f"one of {', '.join(_DTYPES)}")
    shape = checked_shape(entry["shape"])
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(offset) is int for offset in offsets):
        raise Malformed(f"data_offsets {shown(offsets)}", "[begin, end]")
    size = math.prod(shape) * _DTYPES[kind].itemsize
    if offsets[0] < 0 or offsets[1] - offsets[0] != size:
        raise Malformed(f"data_offsets {shown(offsets)} for {kind} {list(shape)}", f"{size:,} bytes")
    return _DTYPES[kind], shape, *offsets

"""From shapes and element types that a file claims to arrays, checked before anything is allocated."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import ml_dtypes
import numpy as np

from smoothswap_jax.weights.readers.byte_range import ByteRange
from smoothswap_jax.weights.readers.errors import Malformed, shown

MAX_DIMS = 32
MAX_ELEMENTS = 1 << 40  # so that no product below comes near 64 bits, whatever the element size

DTYPES: dict[str, np.dtype] = {
    **{
        name: np.dtype(name)
        for name in (
            *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
            *("float16", "float32", "float64", "complex64", "complex128"),
        )
    },
    **{
        name: np.dtype(getattr(ml_dtypes, name))
        for name in ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
    },
}
"""Element types by numpy's names. bfloat16 and float8 are ml_dtypes', as in JAX."""

# Numbers and fixed-size text. Objects (O) are pickles in disguise; records (V) and times (M, m) are not weights.
_TYPESTR = re.compile(r"([<>|=]?)(\?|b1|[iu][1248]|f[248]|c8|c16|[SU][1-9][0-9]{0,5})")


def numpy_dtype(typestr: object) -> np.dtype:
    """The element type of a numpy array-protocol string such as '<f4'."""
    if isinstance(typestr, str) and _TYPESTR.fullmatch(typestr):
        return np.dtype(typestr)
    if isinstance(typestr, str) and typestr.lstrip("<>|=").startswith("O"):
        raise Malformed(
            "an array of Python objects, which only a pickle can hold", "numbers (convert it where it was made)"
        )
    raise Malformed(f"the element type {shown(typestr)}", "numbers or text of fixed size")


def checked_shape(shape: object) -> tuple[int, ...]:
    """`shape` as a tuple, of at most 32 non-negative integers and at most 2**40 elements."""
    if not isinstance(shape, tuple | list) or not all(type(size) is int for size in shape):
        raise Malformed(f"the shape {shown(shape)}", "a list of integers")
    if len(shape) > MAX_DIMS:
        raise Malformed(f"a shape of {len(shape)} dimensions", f"at most {MAX_DIMS}")
    # Sizes of 0 count as 1: numpy multiplies the others just the same.
    if any(size < 0 for size in shape) or math.prod(max(size, 1) for size in shape) > MAX_ELEMENTS:
        raise Malformed(f"the shape {shown(shape)}", f"sizes from 0 up, of at most {MAX_ELEMENTS:,} elements")
    return tuple(shape)


def read_array(source: ByteRange, dtype: np.dtype, shape: object, order: str = "C") -> np.ndarray:
    """The next bytes of `source` as an array in native byte order that owns its memory. Raises Malformed where too few
    bytes are left."""
    sizes = checked_shape(shape)
    size = math.prod(sizes) * dtype.itemsize
    if size > source.left:
        raise Malformed(
            f"{dtype} {list(sizes)}, which takes {size:,} bytes, where {source.left:,} are left",
            "a whole, undamaged file",
        )
    flat = np.empty(math.prod(sizes), dtype)
    source.fill(flat)
    return finished(flat, sizes, order)


def array_of(data: bytes, dtype: np.dtype, shape: object, order: str = "C") -> np.ndarray:
    """All of `data` as an array in native byte order; it shares the memory of `data` where it can."""
    sizes = checked_shape(shape)
    if math.prod(sizes) * dtype.itemsize != len(data):
        raise Malformed(
            f"{len(data):,} bytes for {dtype} {list(sizes)}", f"{math.prod(sizes) * dtype.itemsize:,} bytes"
        )
    if not data:
        return np.empty(sizes, dtype)  # frombuffer refuses an empty buffer
    return finished(np.frombuffer(data, dtype), sizes, order)


def finished(flat: np.ndarray, shape: tuple[int, ...], order: str = "C") -> np.ndarray:
    """Elements as they are in a file to an array of `shape` in native byte order, with valid values only."""
    if flat.size and flat.dtype == np.bool_ and flat.view(np.uint8).max() > 1:
        raise Malformed("a truth value that is neither 0 nor 1", "booleans")
    if not flat.dtype.isnative:
        flat = flat.astype(flat.dtype.newbyteorder("="))
    if flat.dtype.kind == "U" and flat.dtype.itemsize and flat.size and flat.view(np.uint32).max() > 0x10FFFF:
        raise Malformed("characters beyond Unicode", "text")  # Python would fail on them later
    return flat.reshape(shape, order="F" if order == "F" else "C")


def table(names: Iterable[tuple[object, str]]) -> dict:
    """From a format's own codes of element types to numpy's types, given pairs (code, numpy's name)."""
    return {code: DTYPES[name] for code, name in names}

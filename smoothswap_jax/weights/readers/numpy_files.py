"""numpy's .npy and .npz files. The header is matched by a regular expression, not evaluated; pickled objects are
refused."""

from __future__ import annotations

import re

import numpy as np

from smoothswap_jax.weights.readers import zip_files
from smoothswap_jax.weights.readers.arrays import checked_shape, finished, numpy_dtype, read_array
from smoothswap_jax.weights.readers.byte_range import ByteRange
from smoothswap_jax.weights.readers.errors import Malformed, naming, shown
from smoothswap_jax.weights.readers.tree import Tree

MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 1 << 14
# Python 2 wrote long integers with an L. Structured types have a list as descr, and do not match.
_HEADER = re.compile(
    r"\{'descr': '([^']{1,20})', 'fortran_order': (True|False), "
    r"'shape': \(((?:[0-9]{1,20}L?, ?)*(?:[0-9]{1,20}L?)?)\),? ?\}\s*"
)


def read_npy(source: ByteRange, file: str) -> np.ndarray:
    """The array of a .npy file."""
    with naming(file, "array"):
        dtype, shape, order = _header(source)
        array = read_array(source, dtype, shape, order)
        if source.left:
            raise Malformed(f"{source.left:,} bytes after the array", "the end of the file")
        return array


def _header(source: ByteRange) -> tuple[np.dtype, tuple[int, ...], str]:
    start = source.read(8)
    if start[:6] != MAGIC or start[6] not in (1, 2, 3):
        raise Malformed(f"the start {shown(start)}", "a .npy file of version 1 to 3")
    return parsed_header(source.read(_header_size(source.number(2 if start[6] == 1 else 4))))


def _header_size(size: int) -> int:
    if size > MAX_HEADER_BYTES:
        raise Malformed(f"a header of {size:,} bytes", f"at most {MAX_HEADER_BYTES:,}")
    return size


def parsed_header(header: bytes) -> tuple[np.dtype, tuple[int, ...], str]:
    """Element type, shape and order ('C' or 'F') of a .npy header's text."""
    match = _HEADER.fullmatch(header.decode("latin-1"))
    if match is None:
        raise Malformed(f"the header {shown(header)}", "descr (one plain type), fortran_order and shape")
    typestr, fortran, sizes = match.groups()
    shape = checked_shape([int(size.strip().rstrip("L")) for size in sizes.split(",") if size.strip()])
    if typestr.lstrip("<>|=").startswith("V"):
        raise Malformed(
            f"the element type {shown(typestr)}",
            "a type that .npy has a name for (it has none for bfloat16: save float32)",
        )
    return numpy_dtype(typestr), shape, "F" if fortran == "True" else "C"


def read_npz(archive: ByteRange, found: dict[str, zip_files.Member], file: str) -> Tree:
    """The arrays of a .npz file by name; `found` is its directory."""
    arrays: dict[str, Tree] = {}
    for name, member in found.items():
        with naming(file, f"array {shown(name.removesuffix('.npy'))}"):
            arrays[name.removesuffix(".npy")] = _npy_bytes(zip_files.unpacked(archive, member))
    return arrays


def _npy_bytes(data: np.ndarray) -> np.ndarray:
    """The array of a .npy file in memory (uint8), sharing that memory where it can."""
    start = data[:12].tobytes()
    if len(start) < 12 or start[:6] != MAGIC or start[6] not in (1, 2, 3):
        raise Malformed(f"the start {shown(start)}", "a .npy file of version 1 to 3")
    begin = 10 if start[6] == 1 else 12
    end = begin + _header_size(int.from_bytes(start[8:begin], "little"))
    dtype, shape, order = parsed_header(data[begin:end].tobytes())
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize if shape else dtype.itemsize
    if end + size != len(data):
        raise Malformed(f"{dtype} {list(shape)} in a file of {len(data):,} bytes", f"{end + size:,} bytes")
    flat = data[end:]
    # numpy aligns the header's end to 16 bytes or more, but old writers may not, and a view must be aligned.
    flat = flat if flat.ctypes.data % max(dtype.alignment, 1) == 0 else flat.copy()
    return finished(flat.view(dtype) if size else np.empty(0, dtype), shape, order)

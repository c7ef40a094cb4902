"""The initialisers of an ONNX model: the few protobuf fields that hold them, and nothing else.

ONNX has no magic bytes, and its library parses the whole graph into objects, which take many times the size of a
hostile file. Weights are in ModelProto.graph (field 7), GraphProto.initializer (5), a list of TensorProto; all else is
skipped unread. Tests compare with the library.
"""

from __future__ import annotations

import math

import numpy as np

from smoothswap_jax.weights.readers.arrays import array_of, checked_shape, read_array, table
from smoothswap_jax.weights.readers.byte_range import ByteRange
from smoothswap_jax.weights.readers.errors import Malformed, naming, shown
from smoothswap_jax.weights.readers.protobuf import BYTES, FIXED32, FIXED64, VARINT, fields, integers, message, text
from smoothswap_jax.weights.readers.tree import MAX_NODES, Nodes, Tree

# TensorProto.DataType
_DTYPES = table(
    [
        *((1, "float32"), (2, "uint8"), (3, "int8"), (4, "uint16"), (5, "int16"), (6, "int32"), (7, "int64")),
        *((9, "bool"), (10, "float16"), (11, "float64"), (12, "uint32"), (13, "uint64"), (14, "complex64")),
        *((15, "complex128"), (16, "bfloat16"), (17, "float8_e4m3fn"), (18, "float8_e4m3fnuz")),
        *((19, "float8_e5m2"), (20, "float8_e5m2fnuz")),
    ]
)
# Fields of TensorProto that hold elements: float_data, int32_data, int64_data, double_data, uint64_data.
_ELEMENTS = {4: FIXED32, 5: VARINT, 7: VARINT, 10: FIXED64, 11: VARINT}
_FIELD_OF = {
    **dict.fromkeys(("float32", "complex64"), 4),
    **dict.fromkeys(("float64", "complex128"), 10),
    **dict.fromkeys(("uint32", "uint64"), 11),
    "int64": 7,
}
_RAW, _EXTERNAL, _LOCATION = 9, 13, 14


def looks_like(head: bytes) -> bool:
    """Whether `head` starts like a ModelProto: its first field, ir_version, a small number, then another field."""
    return len(head) >= 3 and head[0] == 0x08 and 0 < head[1] < 0x80 and head[2] in (0x12, 0x1A, 0x22, 0x28, 0x3A, 0x42)


def read_onnx(source: ByteRange, file: str) -> Tree:
    """The initialisers by name, in the order of the graph's list."""
    nodes, graphs = Nodes(), 0
    arrays: dict[str, Tree] = {}
    with naming(file, "model"):
        for field, wire, value in fields(source, nodes):
            if field != 7:
                continue
            graphs += 1
            for inner, inner_wire, tensor in fields(message(value, wire), nodes):
                if inner == 15:
                    raise Malformed("a sparse initialiser", "dense ones")
                if inner == 5:
                    name, array = read_tensor(message(tensor, inner_wire), nodes, file)
                    if name in arrays:
                        raise Malformed(f"two initialisers named {shown(name)}", "one")
                    arrays[name] = array
        if graphs != 1:
            raise Malformed(f"{graphs} graphs", "an ONNX model, which has one")
    return arrays


def read_tensor(source: ByteRange, nodes: Nodes, file: str) -> tuple[str, np.ndarray]:
    """Name and array of a TensorProto."""
    dims: list[int] = []
    name, kind = "", 0
    parts: dict[int, list[tuple[int, int | ByteRange]]] = {}
    for field, wire, value in fields(source, nodes):
        if field == 1:
            dims += integers(wire, value, nodes)
        elif field == 2 and isinstance(value, int):
            kind = value
        elif field == 8:
            name = text(message(value, wire))
        elif field == _EXTERNAL or (field == _LOCATION and value == 1):
            with naming(file, f"initialiser {shown(name)}"):
                raise Malformed(
                    "a tensor that is stored in another file", "a model with its weights inside (onnx can embed them)"
                )
        elif field in _ELEMENTS or field in (3, 6, _RAW):
            parts.setdefault(field, []).append((wire, value))
    with naming(file, f"initialiser {shown(name)}"):
        if kind not in _DTYPES:
            raise Malformed(f"ONNX element type {kind}", "numbers of 8 bits or more")
        shape = checked_shape([size - (1 << 64) if size >> 63 else size for size in dims])
        return name, _elements(_DTYPES[kind], shape, parts, nodes)


def _elements(
    dtype: np.dtype, shape: tuple[int, ...], parts: dict[int, list[tuple[int, int | ByteRange]]], nodes: Nodes
) -> np.ndarray:
    size = math.prod(shape) * dtype.itemsize
    if not parts:
        if size:
            raise Malformed(f"no elements for {dtype} {list(shape)}", f"{size:,} bytes")
        return np.empty(shape, dtype)
    (field, pieces), *others = parts.items()
    wanted = _FIELD_OF.get(str(dtype), 5)
    if others or field not in (_RAW, wanted):
        raise Malformed(f"elements of {dtype} in the fields {[*parts]}", f"field {_RAW} (raw_data) or {wanted} alone")
    if field == _RAW:
        raw = message(pieces[-1][1], pieces[-1][0])
        if raw.left != size:
            raise Malformed(f"raw_data of {raw.left:,} bytes for {dtype} {list(shape)}", f"{size:,} bytes")
        return read_array(raw, dtype.newbyteorder("<"), shape)
    if _ELEMENTS[field] == VARINT:
        if math.prod(shape) > MAX_NODES:
            raise Malformed(f"{math.prod(shape):,} elements stored one by one", "a tensor of this size as raw_data")
        return _counted(dtype, shape, [number for piece in pieces for number in integers(*piece, nodes)])
    data = b"".join(message(value, BYTES).read(message(value, BYTES).left) for _, value in pieces)
    return array_of(data, dtype.newbyteorder("<"), shape)


def _counted(dtype: np.dtype, shape: tuple[int, ...], numbers: list[int]) -> np.ndarray:
    """Elements that were stored as integers: their values, or the bits of 16-bit and smaller floats."""
    if len(numbers) != math.prod(shape):
        raise Malformed(f"{len(numbers):,} elements for {dtype} {list(shape)}", f"{math.prod(shape):,}")
    bits = np.array(numbers, np.uint64).astype(np.dtype(f"u{dtype.itemsize}"))  # two's complement, truncated
    signed = np.array(numbers, np.uint64).view(np.int64)
    if dtype.kind in "iu" and (bits.view(dtype).astype(np.int64) != signed).any() and dtype.itemsize < 8:
        raise Malformed(f"numbers beyond {dtype}", "elements of this type")
    if dtype.kind == "b":
        return array_of(bits.tobytes(), dtype, shape)
    return bits.view(dtype).reshape(shape).copy()

"""What a TFLite model takes and gives, and whether it is fit to be run: the tables of its flatbuffer are walked within
limits.

Refused are custom operators, models of more than one subgraph (control flow), operators that keep a state or whose
result is chance, data outside of the tables, tensors that do not fit their data, and operators that use what is not
made yet. The layout is TensorFlow Lite's schema.fbs, version 3.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence

from smoothswap_jax.weights.readers.byte_range import ByteRange
from smoothswap_jax.weights.readers.errors import Malformed, shown
from smoothswap_jax.weights.readers.tree import Nodes

MAGIC, VERSION = b"TFL3", 3
MAX_OPERATORS, MAX_TENSORS = 20_000, 100_000
MAX_ELEMENTS = 1 << 28
"""Of a tensor."""
MAX_NAME_BYTES = 1 << 12
FLOAT32 = 0
_BYTES_OF = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8, 11: 16, 12: 8, 15: 4, 16: 2, 18: 2}
"""Of an element, by its type; texts (5), resources (13) and variants (14) are none, and 4 bits (17) are half of one."""
_HALF = 17
CUSTOM = 32
LAST = 161
"""Operators above are StableHLO's, which run other subgraphs, and newer ones."""
_REFUSED = {
    **dict.fromkeys((31, 118, 119, 129), "which runs another subgraph"),
    **dict.fromkeys((10, 136, 137, 138, 139, 142, 143, 144), "which keeps a state"),
    **dict.fromkeys((146, 148, 149), "whose numbers are chance"),
    51: "which stands for another library",
}
"""CALL, IF, WHILE, CALL_ONCE; hash tables and variables; random numbers; DELEGATE."""
_WANTED = "an undamaged TFLite file"

Shape = Sequence[int | None]


class _Table:
    """A table of a flatbuffer; fields by number. Nothing outside of the file is read."""

    def __init__(self, data: bytes, at: int, nodes: Nodes) -> None:
        nodes.add(0)
        self.data, self.at, self.nodes = data, at, nodes
        self.vtable = at - self._number("<i", at)
        self.size = self._number("<H", self.vtable)
        if self.size < 4 or self.vtable + self.size > len(data):
            raise Malformed("a table that lies outside of the file", _WANTED)

    def _number(self, form: str, at: int) -> int:
        if not 0 <= at <= len(self.data) - struct.calcsize(form):
            raise Malformed(f"an offset to byte {shown(at)} of {len(self.data):,}", _WANTED)
        return struct.unpack_from(form, self.data, at)[0]

    def _place(self, field: int) -> int | None:
        """Where a field lies; None where it has its default."""
        entry = 4 + 2 * field
        offset = self._number("<H", self.vtable + entry) if entry + 2 <= self.size else 0
        return self.at + offset if offset else None

    def number(self, field: int, form: str, default: int = 0) -> int:
        place = self._place(field)
        return default if place is None else self._number(form, place)

    def _vector(self, field: int, size: int) -> tuple[int, int]:
        """Where the elements of a vector begin, and how many there are; `size` bytes each."""
        place = self._place(field)
        if place is None:
            return 0, 0
        start = place + self._number("<I", place)
        count = self._number("<I", start)
        if count * size > len(self.data) - start - 4:
            raise Malformed(f"a list of {count:,} where the file ends", _WANTED)
        return start + 4, count

    def blob(self, field: int) -> int:
        """The length of a vector of bytes."""
        return self._vector(field, 1)[1]

    def numbers(self, field: int, form: str) -> list[int]:
        start, count = self._vector(field, struct.calcsize(form))
        for _ in range(count):
            self.nodes.add(0)
        return list(struct.unpack_from(f"<{count}{form[1:]}", self.data, start)) if count else []

    def count(self, field: int, form: str) -> int:
        return self._vector(field, struct.calcsize(form))[1]

    def text(self, field: int) -> str:
        start, count = self._vector(field, 1)
        if count > MAX_NAME_BYTES:
            raise Malformed(f"a name of {count:,} bytes", f"at most {MAX_NAME_BYTES:,}")
        return self.data[start : start + count].decode("utf-8", "replace")

    def table(self, field: int) -> _Table | None:
        place = self._place(field)
        return None if place is None else _Table(self.data, place + self._number("<I", place), self.nodes)

    def tables(self, field: int) -> list[_Table]:
        start, count = self._vector(field, 4)
        places = [start + 4 * index for index in range(count)]
        return [_Table(self.data, place + self._number("<I", place), self.nodes) for place in places]


def read_ports(source: ByteRange, file: str) -> tuple[Shape, Mapping[str, Shape | None]]:
    """The shape of the only input, and those of the outputs by name. Raises Malformed for a model that must not be
    run."""
    data = source.read(source.left)
    if data[4:8] != MAGIC:
        raise Malformed(f"bytes that start with {shown(data[:8])}", "a TFLite file, with TFL3 from byte 4 on")
    model = _Table(data, struct.unpack_from("<I", data)[0], Nodes())
    if (version := model.number(0, "<I")) != VERSION:
        raise Malformed(f"version {version}", f"version {VERSION}")
    codes = [_operator_code(code) for code in model.tables(1)]
    lengths = [_buffer_length(buffer) for buffer in model.tables(4)]
    graphs = model.tables(2)
    if len(graphs) != 1:
        raise Malformed(f"{len(graphs)} subgraphs", "one: a network without control flow")
    return _subgraph(graphs[0], codes, lengths)


def _operator_code(code: _Table) -> int:
    """Which operator it is. Raises Malformed for one that must not be run."""
    found = max(code.number(0, "<b"), code.number(3, "<i"))
    if found == CUSTOM or code.text(1):
        raise Malformed(f"the custom operator {shown(code.text(1))}", "TFLite's own operators")
    if found in _REFUSED:
        raise Malformed(f"operator {found}, {_REFUSED[found]}", "a network of layers")
    if not 0 <= found <= LAST:
        raise Malformed(f"operator {found}", f"operators 0 to {LAST}")
    return found


def _buffer_length(buffer: _Table) -> int:
    if buffer.number(1, "<Q") or buffer.number(2, "<Q"):
        raise Malformed("data outside of the model's tables", "a model with its weights inside")
    return buffer.blob(0)


def _subgraph(graph: _Table, codes: Sequence[int], lengths: Sequence[int]) -> tuple[Shape, Mapping[str, Shape]]:
    tensors = graph.tables(0)
    if len(tensors) > MAX_TENSORS:
        raise Malformed(f"{len(tensors):,} tensors", f"at most {MAX_TENSORS:,}")
    shapes = [_checked_shape(tensor, lengths) for tensor in tensors]
    inputs, outputs = graph.numbers(1, "<i"), graph.numbers(2, "<i")
    for index in (*inputs, *outputs):
        _check_index(index, len(tensors), "a tensor")
    if len(inputs) != 1:
        raise Malformed(f"{len(inputs)} inputs", "one image")
    if not outputs:
        raise Malformed("no outputs", "numbers for each image")
    if len(set(outputs)) < len(outputs) or set(inputs) & set(outputs):
        raise Malformed("an output that is an input, or listed twice", "numbers for each image")
    stored = [lengths[tensor.number(2, "<I")] > 0 for tensor in tensors]
    if stored[inputs[0]]:
        raise Malformed("an input with stored values", "one image")
    made = {index for index, has in enumerate(stored) if has} | set(inputs)
    operators = graph.tables(3)
    if len(operators) > MAX_OPERATORS:
        raise Malformed(f"{len(operators):,} operators", f"at most {MAX_OPERATORS:,}")
    for operator in operators:
        made |= _made_by(operator, made, shapes, len(codes))
    names = []
    for index in outputs:
        if index not in made or stored[index]:
            raise Malformed(f"output {shown(tensors[index].text(3))}, which no operator makes", _WANTED)
        names.append(tensors[index].text(3))
    if len(set(names)) < len(names):
        raise Malformed(f"outputs of one name, {shown(names[0])}", "names that tell them apart")
    for index in (*inputs, *outputs):
        if (kind := tensors[index].number(1, "<b")) != FLOAT32:
            raise Malformed(f"{shown(tensors[index].text(3))} of TFLite element type {kind}", "float32")
    return shapes[inputs[0]], {name: shapes[index] for name, index in zip(names, outputs, strict=True)}


def _made_by(operator: _Table, made: set[int], shapes: Sequence[Shape], codes: int) -> set[int]:
    """The tensors that an operator makes. Raises Malformed where it uses what is not made yet, or makes what is."""
    _check_index(operator.number(0, "<I"), codes, "an operator")
    if operator.number(9, "<Q") or operator.number(10, "<Q"):
        raise Malformed("options outside of the model's tables", _WANTED)
    for index in operator.numbers(1, "<i"):
        if index == -1:  # an optional one that is left out
            continue
        _check_index(index, len(shapes), "a tensor")
        if index not in made:
            raise Malformed(f"an operator that uses tensor {index} before it is made", "a graph without a circle")
    gives = operator.numbers(2, "<i")
    for index in (*gives, *operator.numbers(8, "<i")):
        _check_index(index, len(shapes), "a tensor")
    if again := made & set(gives):
        raise Malformed(f"tensor {min(again)}, which is made twice", _WANTED)
    return set(gives)


def _checked_shape(tensor: _Table, lengths: Sequence[int]) -> list[int]:
    """A tensor's shape. Raises Malformed where its data, or its scales, do not fit it."""
    shape, name = tensor.numbers(0, "<i"), shown(tensor.text(3))
    if len(shape) > 8 or any(size < 0 for size in shape) or math.prod(max(size, 1) for size in shape) > MAX_ELEMENTS:
        raise Malformed(f"tensor {name} of shape {shown(shape)}", f"at most {MAX_ELEMENTS:,} elements in 8 dimensions")
    kind, buffer = tensor.number(1, "<b"), tensor.number(2, "<I")
    _check_index(buffer, len(lengths), f"the data of tensor {name}")
    if tensor.number(5, "<B"):
        raise Malformed(f"tensor {name}, which keeps a state", "a network that gives the same each time")
    if tensor.table(6) is not None:
        raise Malformed(f"tensor {name}, which is sparse", "dense ones")
    if kind != _HALF and kind not in _BYTES_OF:
        raise Malformed(f"tensor {name} of TFLite element type {kind}", "numbers")
    count = math.prod(shape)
    wanted = -(-count // 2) if kind == _HALF else count * _BYTES_OF[kind]
    if lengths[buffer] not in (0, wanted):
        raise Malformed(f"{lengths[buffer]:,} bytes for tensor {name} of shape {shown(shape)}", f"{wanted:,}")
    if (scales := tensor.table(4)) is not None:
        _check_scales(scales, shape, name)
    return shape


def _check_scales(scales: _Table, shape: Sequence[int], name: str) -> None:
    axis = scales.number(6, "<i")
    allowed = {0, 1} | ({shape[axis]} if 0 <= axis < len(shape) else set())
    counts = (scales.count(2, "<f"), scales.count(3, "<q"))
    if not set(counts) <= allowed or scales.number(4, "<B"):
        raise Malformed(
            f"scales {list(counts)} for tensor {name} of shape {shown(list(shape))}", "one, or one a channel"
        )


def _check_index(index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        raise Malformed(f"{what} numbered {shown(index)} of {count:,}", _WANTED)

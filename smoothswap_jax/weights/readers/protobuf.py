"""The few rules of protobuf: numbers, lengths and fields of messages. Nothing is read before it is asked for."""

from __future__ import annotations

from collections.abc import Iterator

from smoothswap_jax.weights.readers.byte_range import ByteRange
from smoothswap_jax.weights.readers.errors import Malformed
from smoothswap_jax.weights.readers.tree import Nodes

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_NAME_BYTES = 1 << 12


def message(value: object, wire: int) -> ByteRange:
    if wire != BYTES or not isinstance(value, ByteRange):
        raise Malformed("a number where a part of the model should be", "an undamaged ONNX file")
    return value


def varint(source: ByteRange) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = source.number(1)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF
    raise Malformed("a number of more than ten bytes", "an undamaged ONNX file")


def fields(source: ByteRange, nodes: Nodes) -> Iterator[tuple[int, int, int | ByteRange]]:
    """A message's fields as (number, wire type, value); the value of one with a length is its unread bytes."""
    while source.left:
        nodes.add(0)
        tag = varint(source)
        field, wire = tag >> 3, tag & 7
        if field == 0 or field >= 1 << 29:
            raise Malformed(f"the field number {field:,}", "an undamaged ONNX file")
        if wire == VARINT:
            yield field, wire, varint(source)
        elif wire == BYTES:
            yield field, wire, source.skip(varint(source))
        elif wire in (FIXED32, FIXED64):
            yield field, wire, source.skip(4 if wire == FIXED32 else 8)
        else:
            raise Malformed(f"the wire type {wire}", "an undamaged ONNX file")


def text(source: ByteRange) -> str:
    return source.text(source.left, MAX_NAME_BYTES, "name")


def integers(wire: int, value: int | ByteRange, nodes: Nodes) -> list[int]:
    """One number, or a packed list of them."""
    if isinstance(value, int):
        return [value]
    packed, found = message(value, wire), []
    while packed.left:
        nodes.add(0)
        found.append(varint(packed))
    return found

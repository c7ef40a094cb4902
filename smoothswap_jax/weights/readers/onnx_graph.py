"""What an ONNX model takes and gives, and whether it is fit to be run: its graph is walked within limits.

Refused are tensors in other files, operators of other domains than ONNX's own and functions, control flow nested deep,
graphs in a circle or with undefined values, and operators whose result is chance.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from smoothswap_jax.weights.readers.byte_range import ByteRange
from smoothswap_jax.weights.readers.errors import Malformed, naming, shown
from smoothswap_jax.weights.readers.onnx_files import read_tensor
from smoothswap_jax.weights.readers.protobuf import fields, message, text
from smoothswap_jax.weights.readers.tree import Nodes

MAX_OPERATORS = 20_000
"""Of a model with all its subgraphs. ResNet-200 has under a thousand."""
MAX_SUBGRAPHS = 2
"""Levels of graphs inside of operators (If, Loop, Scan)."""
CHANCE = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
DOMAINS = ("", "ai.onnx")
FLOAT = 1
_WANTED = "an undamaged ONNX file"
# Fields of ModelProto that only describe: ir_version, producer's name and version, domain, model_version, doc_string,
# opset_import, metadata_props.
_DESCRIBING = (1, 2, 3, 4, 5, 6, 8, 14)

Shape = Sequence[int | None]


@dataclass
class _Value:
    """An input or output. kind: of its elements; 0 where it is no tensor. shape: None where the file gives none."""

    name: str
    kind: int
    shape: list[int | None] | None


@dataclass
class _Operator:
    name: str
    takes: list[str] = field(default_factory=list)
    gives: list[str] = field(default_factory=list)


@dataclass
class _Walk:
    """What is counted over the whole model."""

    file: str
    nodes: Nodes = field(default_factory=Nodes)
    operators: int = 0


def read_ports(source: ByteRange, file: str) -> tuple[Shape, Mapping[str, Shape | None]]:
    """The shape of the only input, and those of the outputs by name (None where the file gives none); None stands for a
    size that may be any. Raises Malformed, or WeightFileError, for a model that must not be run."""
    walk, graphs = _Walk(file), 0
    inputs: list[_Value] = []
    outputs: list[_Value] = []
    with naming(file, "model"):
        for number, wire, value in fields(source, walk.nodes):
            if number == 7:
                graphs += 1
                inputs, outputs, outside = _graph(message(value, wire), walk, 0)
                if outside:
                    raise Malformed(f"the value {shown(min(outside))}, which nothing gives", _WANTED)
            elif number not in _DESCRIBING:
                what = {20: "training information", 25: "functions of its own"}.get(number, f"a field {number}")
                raise Malformed(what, "a graph of ONNX's own operators")
        if graphs != 1:
            raise Malformed(f"{graphs} graphs", "an ONNX model, which has one")
        if len(inputs) != 1:
            raise Malformed(f"{len(inputs)} inputs ({_names(one.name for one in inputs)})", "one image")
        if not outputs:
            raise Malformed("no outputs", "numbers for each image")
        for one in (*inputs, *outputs):
            if one.kind != FLOAT:
                raise Malformed(f"{shown(one.name)} of ONNX element type {one.kind}", "float32")
        if inputs[0].shape is None:
            raise Malformed(f"input {shown(inputs[0].name)} without a shape", "one image")
    return inputs[0].shape, {one.name: one.shape for one in outputs}


def _graph(source: ByteRange, walk: _Walk, depth: int) -> tuple[list[_Value], list[_Value], set[str]]:
    """Inputs (without initialisers), outputs, and the values that the graph takes from around it."""
    if depth > MAX_SUBGRAPHS:
        raise Malformed(f"graphs in operators more than {MAX_SUBGRAPHS} deep", "a network without nested control flow")
    inputs: list[_Value] = []
    outputs: list[_Value] = []
    stored: set[str] = set()
    operators: list[_Operator] = []
    for number, wire, value in fields(source, walk.nodes):
        if number == 1:
            walk.operators += 1
            if walk.operators > MAX_OPERATORS:
                raise Malformed(f"more than {MAX_OPERATORS:,} operators", "a network of faces")
            operators.append(_operator(message(value, wire), walk, depth))
        elif number == 5:
            name, _ = read_tensor(message(value, wire), walk.nodes, walk.file)
            if name in stored:
                raise Malformed(f"two initialisers named {shown(name)}", "one")
            stored.add(name)
        elif number == 11:
            inputs.append(_value(message(value, wire), walk))
        elif number == 12:
            outputs.append(_value(message(value, wire), walk))
        elif number == 15:
            raise Malformed("a sparse initialiser", "dense ones")
    if twice := _twice([one.name for one in inputs]) or _twice([one.name for one in outputs]):
        raise Malformed(f"two inputs or outputs named {shown(twice)}", "one")
    outside = _ordered(operators, {one.name for one in inputs} | stored)
    given = {name for one in operators for name in one.gives} | stored | {one.name for one in inputs}
    outside |= {one.name for one in outputs if one.name not in given}
    return [one for one in inputs if one.name not in stored], outputs, outside


def _ordered(operators: Sequence[_Operator], known: set[str]) -> set[str]:
    """The values that operators take and that neither they nor `known` give. Raises Malformed for values that are given
    twice, and for operators that wait for each other."""
    giver: dict[str, int] = {}
    for index, one in enumerate(operators):
        for name in one.gives:
            if name in giver or name in known:
                raise Malformed(f"the value {shown(name)} given twice", _WANTED)
            giver[name] = index
    waiting = [{giver[name] for name in one.takes if name in giver} for one in operators]
    takers: list[list[int]] = [[] for _ in operators]
    for index, needs in enumerate(waiting):
        for need in needs:
            takers[need].append(index)
    left = [len(needs) for needs in waiting]
    ready = deque(index for index, count in enumerate(left) if not count)
    done = 0
    while ready:
        done += 1
        for taker in takers[ready.popleft()]:
            left[taker] -= 1
            if not left[taker]:
                ready.append(taker)
    if done < len(operators):
        stuck = next(one for one, count in zip(operators, left, strict=True) if count)
        raise Malformed(f"operators that wait for each other in a circle ({shown(stuck.name)})", "a graph without one")
    return {name for one in operators for name in one.takes if name not in giver and name not in known}


def _operator(source: ByteRange, walk: _Walk, depth: int) -> _Operator:
    one, domain = _Operator("?"), ""
    for number, wire, value in fields(source, walk.nodes):
        if number in (1, 2):
            name = text(message(value, wire))
            if name:  # an optional one that is left out has an empty name
                (one.takes if number == 1 else one.gives).append(name)
        elif number == 4:
            one.name = text(message(value, wire))
        elif number == 7:
            domain = text(message(value, wire))
        elif number == 5:
            one.takes += sorted(_attribute(message(value, wire), walk, depth))
    if domain not in DOMAINS:
        raise Malformed(f"the operator {shown(one.name)} of the domain {shown(domain)}", "ONNX's own operators")
    if one.name in CHANCE:
        raise Malformed(f"the operator {one.name}, whose numbers are chance", "a network that gives the same each time")
    return one


def _attribute(source: ByteRange, walk: _Walk, depth: int) -> set[str]:
    """The values that the graphs in an attribute take from around them."""
    outside: set[str] = set()
    for number, wire, value in fields(source, walk.nodes):
        if number in (5, 10):
            read_tensor(message(value, wire), walk.nodes, walk.file)
        elif number in (6, 11):
            outside |= _graph(message(value, wire), walk, depth + 1)[2]
        elif number in (22, 23):
            raise Malformed("a sparse tensor", "dense ones")
        elif number == 21:
            raise Malformed("an attribute of a function", "a graph without functions")
    return outside


def _value(source: ByteRange, walk: _Walk) -> _Value:
    """A ValueInfoProto."""
    one = _Value("", 0, None)
    for number, wire, value in fields(source, walk.nodes):
        if number == 1:
            one.name = text(message(value, wire))
        elif number == 2:
            for inner, inner_wire, kind in fields(message(value, wire), walk.nodes):
                if inner == 1:  # tensor_type
                    one.kind, one.shape = _tensor_type(message(kind, inner_wire), walk)
    return one


def _tensor_type(source: ByteRange, walk: _Walk) -> tuple[int, list[int | None] | None]:
    kind, shape = 0, None
    for number, wire, value in fields(source, walk.nodes):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 2:
            shape = [
                _size(message(size, inner_wire), walk)
                for inner, inner_wire, size in fields(message(value, wire), walk.nodes)
                if inner == 1
            ]
    return kind, shape


def _size(source: ByteRange, walk: _Walk) -> int | None:
    size = None
    for number, _, value in fields(source, walk.nodes):
        if number == 1 and isinstance(value, int):
            size = value - (1 << 64) if value >> 63 else value
    return None if size in (-1, 0) else size  # as exporters write a size that may be any


def _twice(names: Sequence[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _names(names: Iterable[str]) -> str:
    listed = [shown(name) for name in names]
    return ", ".join(listed[:6]) + ", ..." * (len(listed) > 6) if listed else "none"

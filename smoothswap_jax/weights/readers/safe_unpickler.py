"""An interpreter for pickles that can only build data.

Python's unpicklers are made to call things: `find_class` can be restricted, but they still allocate as much as a length
field claims (the C one sizes its memo by the largest index that occurs), call `__setstate__` and `__reduce__` of
whatever they hold, and differ between Python versions. A state dict needs some sixty of the opcodes, which push, pop
and collect. This interpreter has no others, but for those that make the objects which trainers keep beside it:

- a global is looked up in one table of names (`pickle_allowlist.py`) and becomes an inert token. Any other name becomes
  a `Foreign`, or is an error (`pickle_refusals.py`). Nothing is ever imported.
- REDUCE calls our own function that the token stands for; BUILD works on three of our classes and is ignored for dicts.
  No other opcode calls anything: NEWOBJ, OBJ and INST of an admitted name are errors, and so is EXT.
- whatever is done to a `Foreign` (REDUCE, NEWOBJ, OBJ, INST, BUILD, items) drops the arguments and gives a `Foreign`
  again. One that stands for an object has no contents, but for BUILD with the attributes of a torch module: its
  parameters, buffers and modules are kept by name.
- every length is compared with what is left of the file, the memo is a dict, opcodes are counted, and numbers are at
  most 32 bytes long. The interpreter does not recurse, so nesting cannot exhaust the stack.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from smoothswap_jax.weights.readers.byte_range import ByteRange
from smoothswap_jax.weights.readers.errors import Malformed, shown
from smoothswap_jax.weights.readers.pickle_allowlist import ADMITTED, BUILT, Foreign, Global, LongText, Made
from smoothswap_jax.weights.readers.pickle_refusals import refusal

MAX_OPCODES = 2_000_000
"""A tensor needs about 40. Each takes at most a few hundred bytes of memory beyond what it reads from the file."""
MAX_INTEGER_BYTES = 32
MAX_TEXT_BYTES = 1 << 16
"""Longer texts are kept as bytes: decoded they could take four times the memory, and only arrays have them."""
MAX_LINE_BYTES = 1 << 12


@dataclass
class Machine:
    """The interpreter's state. `persistent` turns a persistent id into a value (torch's storages)."""

    source: ByteRange
    persistent: Callable[[object], object]
    stack: list = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)

    def pop(self) -> object:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise Malformed("an opcode that takes from an empty stack", "an undamaged pickle")
        return self.stack.pop()

    def top(self) -> object:
        value = self.pop()
        self.stack.append(value)
        return value

    def pop_mark(self) -> list:
        if not self.marks:
            raise Malformed("an opcode that needs a mark where there is none", "an undamaged pickle")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items


def unpickle(source: ByteRange, persistent: Callable[[object], object] | None = None) -> object:
    """The value of the pickle that starts at the position of `source`, which is moved to its end.

    It consists of None, bool, int, float, str, bytes, list, tuple, dict, and the stand-ins of `pickle_allowlist.py`;
    a `Foreign` for every object beside them. Entries of dicts whose key cannot be a name are left out. A container may
    occur in several places, and may contain itself.
    """
    machine = Machine(source, persistent or _no_persistent)
    for _ in range(MAX_OPCODES):
        code = source.read(1)
        if code == b".":
            value = machine.pop()
            if machine.stack or machine.marks:
                raise Malformed("a pickle that ends with more than one value", "an undamaged pickle")
            return value
        if code in _EXTENSIONS:
            raise Malformed(f"the pickle opcode {_EXTENSIONS[code]}, which creates objects", "a file of tensors only")
        step = _STEPS.get(code)
        if step is None:
            raise Malformed(f"the byte {code!r} where a pickle opcode should be", "an undamaged pickle of tensors")
        step(machine)
    raise Malformed(f"a pickle of more than {MAX_OPCODES:,} operations", "a file of tensors")


def _no_persistent(pid: object) -> object:
    raise Malformed("a reference to data outside the pickle", "a pickle that stands alone")


_EXTENSIONS = {b"\x82": "EXT1", b"\x83": "EXT2", b"\x84": "EXT4"}
_STEPS: dict[bytes, Callable[[Machine], None]] = {}


def _step(*codes: bytes) -> Callable:
    def keep(function: Callable[[Machine], None]) -> Callable[[Machine], None]:
        for code in codes:
            _STEPS[code] = function
        return function

    return keep


def _pushes(code: bytes, make: Callable[[Machine], object]) -> None:
    _STEPS[code] = lambda machine: machine.stack.append(make(machine))


# ------------------------------------------------------------------------------------------- frames and marks
@_step(b"\x80")
def _proto(machine: Machine) -> None:
    if (version := machine.source.number(1)) > 5:
        raise Malformed(f"pickle protocol {version}", "a protocol up to 5")


@_step(b"\x95")
def _frame(machine: Machine) -> None:
    # A frame says how much a loader may read ahead. We do not, but a wrong size means a damaged file.
    if (size := machine.source.number(8)) > machine.source.left:
        raise Malformed(f"a frame of {size:,} bytes where {machine.source.left:,} are left", "a whole, undamaged file")


@_step(b"(")
def _mark(machine: Machine) -> None:
    machine.marks.append(len(machine.stack))


@_step(b"0")
def _pop(machine: Machine) -> None:
    if machine.marks and machine.marks[-1] == len(machine.stack):
        machine.marks.pop()  # as in Python: POP takes a mark like any value
    else:
        machine.pop()


@_step(b"1")
def _pop_mark(machine: Machine) -> None:
    machine.pop_mark()


# ------------------------------------------------------------------------------------------------------- memo
def _put(machine: Machine, index: int) -> None:
    machine.memo[index] = machine.top()


def _get(machine: Machine, index: int) -> object:
    if index not in machine.memo:
        raise Malformed(f"a reference to value {index} that was never stored", "an undamaged pickle")
    return machine.memo[index]


_STEPS[b"p"] = lambda m: _put(m, _decimal(m))
_STEPS[b"q"] = lambda m: _put(m, m.source.number(1))
_STEPS[b"r"] = lambda m: _put(m, m.source.number(4))
_STEPS[b"\x94"] = lambda m: _put(m, len(m.memo))
_pushes(b"g", lambda m: _get(m, _decimal(m)))
_pushes(b"h", lambda m: _get(m, m.source.number(1)))
_pushes(b"j", lambda m: _get(m, m.source.number(4)))


# ---------------------------------------------------------------------------------------------- plain values
def _decimal(machine: Machine) -> int:
    line = machine.source.line(80)
    try:
        return int(line.removesuffix(b"L"))
    except ValueError:
        raise Malformed(f"{shown(line)} where a number should be", "an undamaged pickle") from None


def _int_line(machine: Machine) -> object:
    line = machine.source.line(80)
    if line in (b"00", b"01"):  # protocol 0 has no other booleans
        return line == b"01"
    try:
        return int(line)
    except ValueError:
        raise Malformed(f"{shown(line)} where a number should be", "an undamaged pickle") from None


def _float_line(machine: Machine) -> float:
    line = machine.source.line(80)
    try:
        return float(line)
    except ValueError:
        raise Malformed(f"{shown(line)} where a number should be", "an undamaged pickle") from None


def _long(machine: Machine, size: int) -> int:
    if size > MAX_INTEGER_BYTES:
        raise Malformed(f"an integer of {size:,} bytes", f"at most {MAX_INTEGER_BYTES}")
    return int.from_bytes(machine.source.read(size), "little", signed=True)


_pushes(b"N", lambda m: None)
_pushes(b"\x88", lambda m: True)
_pushes(b"\x89", lambda m: False)
_pushes(b"I", _int_line)
_pushes(b"L", _decimal)
_pushes(b"F", _float_line)
_pushes(b"J", lambda m: int.from_bytes(m.source.read(4), "little", signed=True))
_pushes(b"K", lambda m: m.source.number(1))
_pushes(b"M", lambda m: m.source.number(2))
_pushes(b"\x8a", lambda m: _long(m, m.source.number(1)))
_pushes(b"\x8b", lambda m: _long(m, m.source.number(4)))
_pushes(b"G", lambda m: struct.unpack(">d", m.source.read(8))[0])


# ------------------------------------------------------------------------------------------- text and bytes
def _text(data: bytes, encoding: str) -> str | LongText:
    if len(data) > MAX_TEXT_BYTES:
        return LongText(data, encoding)
    try:
        text = data.decode(encoding)
        text.encode()  # an escape may spell half a surrogate pair, which could not even be printed
        return text
    except UnicodeError:
        raise Malformed(f"text that is not {encoding}: {shown(data)}", "an undamaged pickle") from None


def _quoted(machine: Machine) -> str | LongText:
    line = machine.source.line(machine.source.left).strip()
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[:1] != line[-1:]:
        raise Malformed("text without quotes where quoted text should be", "an undamaged pickle")
    try:
        return _text(codecs.escape_decode(line[1:-1])[0], "latin-1")
    except ValueError:
        raise Malformed("a quoted text with a broken escape", "an undamaged pickle") from None


def _unicode_line(machine: Machine) -> str | LongText:
    return _text(machine.source.line(machine.source.left), "raw-unicode-escape")


# Python 2's str is read as text: names and, in arrays, bytes that latin-1 gives back unchanged.
_pushes(b"S", _quoted)
_pushes(b"U", lambda m: _text(m.source.read(m.source.number(1)), "latin-1"))
_pushes(b"T", lambda m: _text(m.source.read(m.source.number(4)), "latin-1"))
_pushes(b"V", _unicode_line)
_pushes(b"\x8c", lambda m: _text(m.source.read(m.source.number(1)), "utf-8"))
_pushes(b"X", lambda m: _text(m.source.read(m.source.number(4)), "utf-8"))
_pushes(b"\x8d", lambda m: _text(m.source.read(m.source.number(8)), "utf-8"))
_pushes(b"C", lambda m: m.source.read(m.source.number(1)))
_pushes(b"B", lambda m: m.source.read(m.source.number(4)))
_pushes(b"\x8e", lambda m: m.source.read(m.source.number(8)))
_pushes(b"\x96", lambda m: m.source.read(m.source.number(8)))  # a bytearray, which nothing here changes


# -------------------------------------------------------------------------------------------------- containers
def _taken(machine: Machine, count: int) -> tuple:
    return tuple(reversed([machine.pop() for _ in range(count)]))


_pushes(b"]", lambda m: [])
_pushes(b"}", lambda m: {})
_pushes(b")", lambda m: ())
_pushes(b"\x85", lambda m: _taken(m, 1))
_pushes(b"\x86", lambda m: _taken(m, 2))
_pushes(b"\x87", lambda m: _taken(m, 3))
_pushes(b"t", lambda m: tuple(m.pop_mark()))
_pushes(b"l", lambda m: m.pop_mark())
_pushes(b"d", lambda m: _set_items({}, m.pop_mark()))


def _extend(machine: Machine, items: list) -> None:
    target = machine.top()
    if isinstance(target, Foreign):
        return
    if not isinstance(target, list):
        raise Malformed(f"items for {shown(target)}, which cannot have any", "an undamaged pickle")
    target.extend(items)


def _update(machine: Machine, items: list) -> None:
    target = machine.top()
    if isinstance(target, Foreign):
        return
    if not isinstance(target, dict):
        raise Malformed(f"entries for {shown(target)}, which cannot have any", "an undamaged pickle")
    _set_items(target, items)


def _set_items(target: dict, items: list) -> dict:
    if len(items) % 2:
        raise Malformed("a key without a value", "an undamaged pickle")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(key, bytes | LongText | list | dict):
            raise Malformed(f"{shown(key)} as a key", "text or an integer")
        # Enums, classes of callbacks, parameters: weights have names, so such an entry is none of theirs. The key is
        # dropped without hashing it, which could walk through nested tuples.
        if isinstance(key, str | int):
            target[key] = value
    return target


_STEPS[b"a"] = lambda m: _extend(m, [m.pop()])
_STEPS[b"e"] = lambda m: _extend(m, m.pop_mark())
_STEPS[b"s"] = lambda m: _update(m, list(_taken(m, 2)))
_STEPS[b"u"] = lambda m: _update(m, m.pop_mark())
# Sets hold no tensors by name.
_pushes(b"\x8f", lambda m: Foreign("builtins.set"))


@_step(b"\x91")
def _frozenset(machine: Machine) -> None:
    machine.pop_mark()
    machine.stack.append(Foreign("builtins.frozenset"))


@_step(b"\x90")
def _add_items(machine: Machine) -> None:
    machine.pop_mark()
    if not isinstance(target := machine.top(), Foreign):
        raise Malformed(f"members for {shown(target)}, which cannot have any", "an undamaged pickle")


# ------------------------------------------------------------------------------------------ globals and calls
def _global(module: str, name: str) -> Global | Foreign:
    module = "builtins" if module == "__builtin__" else module  # Python 2's name, which protocols up to 2 write
    known = f"{module}.{name}"
    if known in ADMITTED:
        return Global(known)
    if error := refusal(module, name):
        raise error
    return Foreign(known)


def _line_text(machine: Machine) -> str:
    return machine.source.line(MAX_LINE_BYTES).decode("ascii", "backslashreplace")


_pushes(b"c", lambda m: _global(_line_text(m), _line_text(m)))


@_step(b"i")
def _inst(machine: Machine) -> None:
    machine.pop_mark()
    machine.stack.append(_made("INST", _global(_line_text(machine), _line_text(machine))))


@_step(b"o")
def _obj(machine: Machine) -> None:
    made = machine.pop_mark()
    machine.stack.append(_made("OBJ", made[0] if made else None))


@_step(b"\x81")
def _newobj(machine: Machine) -> None:
    _, cls = machine.pop(), machine.pop()
    machine.stack.append(_made("NEWOBJ", cls))


@_step(b"\x92")
def _newobj_ex(machine: Machine) -> None:
    _, _, cls = machine.pop(), machine.pop(), machine.pop()
    machine.stack.append(_made("NEWOBJ_EX", cls))


def _made(opcode: str, cls: object) -> Foreign:
    """What stands for a new object. Nothing that saves tensors makes admitted objects in this way."""
    if isinstance(cls, Foreign):
        return Made(cls.name)
    what = cls.name if isinstance(cls, Global) else shown(cls)
    raise Malformed(f"the pickle opcode {opcode}, which creates objects, for {what}", "a file of tensors only")


@_step(b"\x93")
def _stack_global(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(module, str) or not isinstance(name, str):
        raise Malformed(f"{shown(module)} and {shown(name)} as a global's name", "an undamaged pickle")
    machine.stack.append(_global(module, name))


@_step(b"R")
def _reduce(machine: Machine) -> None:
    arguments, called = machine.pop(), machine.pop()
    if isinstance(called, Foreign):
        machine.stack.append(called)
        return
    if not isinstance(called, Global) or not isinstance(arguments, tuple):
        raise Malformed(f"a call of {shown(called)} with {shown(arguments)}", "an allowed function and its arguments")
    function = ADMITTED[called.name]
    if function is None:
        raise Malformed(f"a call of {called.name}", "a file of tensors, which calls no such thing")
    try:
        machine.stack.append(function(*arguments))
    except TypeError:  # stand-ins check their arguments, so only the number can be wrong
        raise Malformed(f"a call of {called.name} with {len(arguments)} arguments", "as many as it takes") from None


@_step(b"b")
def _build(machine: Machine) -> None:
    state, target = machine.pop(), machine.top()
    if isinstance(target, (*BUILT, Made)):
        target.build(state)
    elif not isinstance(target, dict | Foreign):  # an OrderedDict's attributes, such as torch's _metadata, are dropped
        raise Malformed(f"attributes for {shown(target)}, which cannot have any", "a file of tensors")


@_step(b"Q")
def _persid(machine: Machine) -> None:
    machine.stack.append(machine.persistent(machine.pop()))

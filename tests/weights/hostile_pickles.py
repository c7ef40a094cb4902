"""Pickles that try to run code, to take memory or to crash, in PyTorch's layouts and alone; made by hand.

Every function gives (name, file, text that its error must contain). An empty text stands for any refusal, None for a
file that is odd but harmless and may be read.
"""

import struct
from collections.abc import Iterator

import numpy as np

from tests.weights.weight_files import LEGACY_START, legacy_file, rebuild_v2, storage, zip_file
from tests.weights.weight_files import pickled as p

Cases = Iterator[tuple[str, bytes, str | None]]


def code_routes(command: str) -> dict[str, tuple[bytes, str]]:
    """Pickle fragments that run a shell command when they are unpickled freely, and the name each asks for."""
    text = p.text(command)
    python = p.text(f"__import__('os').system({command!r})")
    stack = lambda module, name: p.text(module) + p.text(name) + b"\x93"
    system = p.name("os", "system")
    return {
        "GLOBAL os.system": (system + text + b"\x85R", "os.system"),
        "GLOBAL posix.system": (p.name("posix", "system") + text + b"\x85R", "posix.system"),
        "GLOBAL builtins.eval": (p.name("builtins", "eval") + python + b"\x85R", "builtins.eval"),
        "GLOBAL builtins.exec": (p.name("builtins", "exec") + python + b"\x85R", "builtins.exec"),
        "GLOBAL subprocess": (
            p.name("subprocess", "getoutput") + text + b"\x85R",
            "subprocess.getoutput",
        ),
        "STACK_GLOBAL os.system": (stack("os", "system") + text + b"\x85R", "os.system"),
        "STACK_GLOBAL of a dotted name": (
            stack("collections", "abc.sys.modules.get") + p.text("os") + b"\x85R",
            "collections.abc.sys.modules.get",
        ),
        "STACK_GLOBAL through an admitted module": (
            stack("torch._utils", "os.system") + text + b"\x85R",
            "torch._utils.os.system",
        ),
        "INST os.system": (b"(" + text + b"ios\nsystem\n", "os.system"),
        "OBJ os.system": (b"(" + system + text + b"o", "os.system"),
        "NEWOBJ subprocess.Popen": (
            p.name("subprocess", "Popen") + p.tuple(p.text("/bin/sh")) + b"\x81",
            "subprocess.Popen",
        ),
        "NEWOBJ_EX subprocess.Popen": (
            p.name("subprocess", "Popen") + p.tuple(p.text("/bin/sh")) + b"}\x92",
            "subprocess.Popen",
        ),
        "memoised os.system": (system + b"q\x000h\x00" + text + b"\x85R", "os.system"),
        "os.system as a leaf": (p.dict({"w": system}), "os.system"),
        "BUILD with a setter": (
            p.name("types", "SimpleNamespace") + b")R" + p.dict({"__setstate__": system}) + b"b" + text + b"b",
            "os.system",  # what the setter would call; the namespace itself would be skipped
        ),
        "getattr chain": (
            p.call("builtins", "getattr", p.name("collections", "OrderedDict"), p.text("__init__")),
            "builtins.getattr",
        ),
        "functools.partial": (p.call("functools", "partial", p.name("torch", "Size")), "functools.partial"),
        "numpy runstring": (
            p.call("numpy.testing._private.utils", "runstring", python, b"}"),
            "numpy.testing._private.utils.runstring",
        ),
        "numpy.load": (p.call("numpy", "load", text), "numpy.load"),
        "torch.load": (p.call("torch", "load", text), "torch.load"),
        "torch.hub.load": (p.call("torch.hub", "load", text), "torch.hub.load"),
        "torch.jit": (p.call("torch.jit", "script", text), "torch.jit.script"),
        "copyreg._reconstructor": (
            p.call("copyreg", "_reconstructor", p.name("builtins", "list"), b"N"),
            "copyreg._reconstructor",
        ),
        "a module of the user": (
            p.name("models.arcface", "ResNet") + b")\x81}b",
            "models.arcface.ResNet: an object that needs its own code",
        ),
        "StyleGAN": (
            p.call("torch_utils.persistence", "_reconstruct_persistent_obj", b"}"),
            "NVIDIA's StyleGAN",
        ),
        "a terminal escape for a name": (b"cos\x1b[2J\nsystem\n", r"os\x1b[2J.system"),
    }


def in_every_layout(name: str, body: bytes, refused: str | None) -> Cases:
    pickle = p.whole(body)
    yield f"{name}; plain pickle", pickle, refused
    yield f"{name}; torch zip", zip_file(body, {}), refused
    yield f"{name}; torch legacy", legacy_file(body, {}), refused


def running_code(command: str) -> Cases:
    for name, (body, refused) in code_routes(command).items():
        yield from in_every_layout(name, body, refused)
    system = p.call("os", "system", p.text(command))
    yield "code in the legacy storage keys", LEGACY_START + p.whole(b"}") + p.whole(system), "os.system"
    yield "code in the legacy system pickle", LEGACY_START[:30] + p.whole(system), ""
    persistent = p.tuple(p.text("storage"), p.name("os", "system"), p.text(command), b"N", p.int(1)) + b"Q"
    yield from in_every_layout("code as a storage's type", persistent, "os.system")
    module = p.tuple(p.text("module"), p.text("m"), p.text("m.py"), p.text("import os")) + b"Q"
    yield "a module with its source", legacy_file(module, {}), "a whole pickled module"
    source = (p.text("m.py"), p.text(f"import os; os.system({command!r})"))
    module = p.tuple(p.text("module"), p.name("m", "Net"), *source) + b"Q)\x81}b"
    yield "a module whose source is code", legacy_file(module, {}), "m.Net: an object that needs its own code"
    yield "a module beside tensors", legacy_file(p.dict({"w": b"N", "module": module}), {}), None
    for code in (b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00"):
        yield from in_every_layout(f"EXT {code!r}", code + b")R", "EXT")
    for admitted in ("collections\nOrderedDict", "torch\nSize", "numpy\nndarray"):
        for code, what in ((b"\x81", "NEWOBJ"), (b"\x92", "NEWOBJ_EX")):
            body = b"c" + admitted.encode() + b"\n)" + (b"}" if what == "NEWOBJ_EX" else b"") + code
            yield f"{what} of {admitted!r}", p.whole(body), what
        yield f"INST of {admitted!r}", p.whole(b"(i" + admitted.encode() + b"\n"), admitted.replace("\n", ".")
        yield f"OBJ of {admitted!r}", p.whole(b"(c" + admitted.encode() + b"\no"), "OBJ"
    protocol_0 = f"cos\nsystem\n(S'{command}'\ntR.".encode()
    yield "protocol 0", protocol_0, "os.system"
    yield "protocol 0, INST first", f"(S'{command}'\nios\nsystem\n.".encode(), "os.system"


def admitted_functions_misused() -> Cases:
    dtype = p.call("numpy", "dtype", p.text("f4"), p.int(0), p.int(1))
    empty = p.call("numpy.core.multiarray", "_reconstruct", p.name("numpy", "ndarray"), p.ints([0]), b"C\x01b")
    filled = lambda shape, data: empty + p.tuple(p.int(1), shape, dtype, b"\x89", data) + b"b"
    latin = lambda text, encoding: p.call("_codecs", "encode", p.text(text), p.text(encoding))
    bodies = {
        "bytes of a size": (p.call("builtins", "bytes", p.int(1 << 40)), "arguments"),
        "a codec that unpacks": (latin("x", "zip"), "encoding"),
        "a codec that is code": (latin("x", "rot13"), "encoding"),
        "latin-1 beyond 255": (latin("Ā", "latin1"), "beyond 255"),
        "long latin-1 beyond 255": (latin("a" * 100_000 + "Ā", "latin1"), "beyond 255"),
        "a dtype of objects": (p.call("numpy", "dtype", p.text("O8")), "Python objects"),
        "a dtype with fields": (p.call("numpy", "dtype", p.text("V8")), "element type"),
        "a dtype as a list": (p.call("numpy", "dtype", b"]"), "element type"),
        "a dtype of text of a gigabyte": (p.call("numpy", "dtype", p.text("U999999999")), "element type"),
        "a dtype with metadata": (dtype + p.tuple(p.int(3), p.text("<"), b"]NN") + b"b", "structured element type"),
        "a dtype of odd order": (dtype + p.tuple(p.int(3), p.text("?"), b"NNN") + b"b", "byte order"),
        "a dtype built from nothing": (dtype + b"Nb", "structured element type"),
        "an array subclass": (
            p.call("numpy.core.multiarray", "_reconstruct", p.name("torch", "Size"), b")", b"C\x01b"),
            "ndarray",
        ),
        "an array never filled": (p.dict({"w": empty}), "without contents"),
        "an array larger than its bytes": (filled(p.ints([1 << 35]), b"C\x04abcd"), "4 bytes for"),
        "an array beyond all memory": (filled(p.ints([1 << 30] * 3), b"C\x04abcd"), "the shape"),
        "an array of negative size": (filled(p.ints([-1]), b"C\x04abcd"), "the shape"),
        "an array of a list": (filled(p.ints([1]), b"]"), "Python objects"),
        "an array of 40 dimensions": (filled(p.ints([1] * 40), b"C\x04abcd"), "40 dimensions"),
        "an array whose order is an array": (
            empty + p.tuple(p.int(1), p.ints([1]), dtype, filled(p.ints([2]), b"C\x08abcdefgh"), b"C\x04abcd") + b"b",
            "order",
        ),
        "a scalar of too many bytes": (
            p.call("numpy.core.multiarray", "scalar", dtype, b"C\x05abcde"),
            "5 bytes for",
        ),
        "frombuffer of too few bytes": (
            p.call("numpy.core.numeric", "_frombuffer", b"C\x04abcd", dtype, p.ints([2]), p.text("C")),
            "4 bytes for",
        ),
        "a Size of text": (p.call("torch", "Size", p.text("ab")), "the shape"),
        "a device of a dict": (p.call("torch", "device", b"}"), "device"),
        "an OrderedDict of numbers": (p.call("collections", "OrderedDict", p.int(3)), "items"),
        "an OrderedDict of triples": (p.call("collections", "OrderedDict", b"]" + p.ints([1, 2, 3]) + b"a"), "item"),
        "attributes for a list": (b"]}b", "attributes"),
        "a call of a type": (p.call("torch", "FloatStorage", p.int(1 << 40)), "call of torch.FloatStorage"),
        "a call of text": (p.text("os.system") + b")R", "a call of"),
        "a call with a list": (p.name("torch", "Size") + b"]R", "a call of"),
        "a call with too much": (p.call("torch", "Size", b"N", b"N"), "2 arguments"),
        "a parameter of text": (
            p.call("torch._utils", "_rebuild_parameter", p.text("x"), b"\x88", b"}"),
            "parameter",
        ),
        "a tensor without storage": (rebuild_v2(b"N", 0, (2,), (1,)), "as the storage"),
    }
    for name, (body, refused) in bodies.items():
        yield from in_every_layout(name, body, refused)


def objects_beside_tensors() -> Cases:
    """Names that nothing is done for, put where something could be done: skipped, or refused for what is not inert."""
    thing = p.name("lab.tools", "Hook")
    made = thing + p.tuple(p.text("touch")) + b"\x81"
    values = np.arange(6, dtype="f")
    system, float6 = p.name("os", "system"), storage("FloatStorage", "k", 6)
    tensor = rebuild_v2(float6, 0, (6,), (1,))
    bodies = {
        "an object with a state": (made + p.dict({"__setstate__": made, "w": tensor}) + b"b", None),
        "an object that is called": (made + b")R" + p.tuple(tensor) + b"R", None),
        "an object with items": (b"(" + thing + made + b"oK\x01K\x02s](K\x01e" + b"0", None),
        "an object of INST": (b"(" + tensor + b"ilab\nHook\n}b", None),
        "an object of NEWOBJ_EX": (thing + b")}\x92](K\x01e0", None),
        "an object as a key": (b"}" + made + tensor + b"s", None),
        "an object in a set": (b"\x8f(" + made + tensor + b"\x90", None),
        "a member of an enum, as Python 3.11 has it": (p.call("builtins", "getattr", thing, p.text("A")), None),
        "getattr of what is admitted": (
            p.call("builtins", "getattr", p.name("torch", "Size"), p.text("__init__")),
            "builtins.getattr",
        ),
        "os.system in an object's state": (made + p.dict({"f": system}) + b"b", "os.system"),
        "os.system as an object's argument": (thing + p.tuple(system) + b"R", "os.system"),
        "os.system by an object's module": (
            p.text("lab.tools") + p.text("Hook.os.system") + b"\x93",
            "lab.tools.Hook.os.system",
        ),
        "an object as a storage": (rebuild_v2(made, 0, (6,), (1,)), "as the storage"),
        "an object as a storage's type": (storage("Storage", "k", 6, module="lab"), "persistent id"),
        "an object as an array's class": (
            p.call("numpy.core.multiarray", "_reconstruct", thing, p.ints([0]), b"C\x01b"),
            "as an array's class",
        ),
        "an object as an element type": (p.call("numpy", "dtype", made), "element type"),
        "an object as a dict's items": (p.call("collections", "OrderedDict", made), "as a dict's items"),
        "an object as a parameter": (
            p.call("torch._utils", "_rebuild_parameter", made, b"\x88", b"}"),
            "as the data of a parameter",
        ),
        "attributes for a class that is admitted": (p.name("torch", "Size") + b"}b", "attributes for"),
        "NEWOBJ of text": (p.text("os.system") + b")\x81", "NEWOBJ"),
        "OBJ of nothing": (b"(o", "OBJ"),
        "members for a list": (b"](K\x01\x90", "members for"),
        "a frozenset without a mark": (b"\x91", "mark"),
        "a name that is no name": (p.name("lab tools", "Hook") + b")\x81", "lab tools.Hook"),
        "50,000 objects": (b"(" + thing + b"q\x00" + b"h\x00)\x81" * 50_000 + b"l", None),
        "long names": (b"](" + b"".join(p.name("m" * 2000, f"n{i}") for i in range(400)) + b"e", None),
    }
    for name, (body, refused) in bodies.items():
        both = p.dict({"beside": body, "w": tensor})
        yield f"{name}; torch zip", zip_file(both, {"k": values.tobytes()}), refused


def taking_memory() -> Cases:
    size8, size4 = struct.pack("<Q", 1 << 62), struct.pack("<I", 0x7FFFFFFF)
    laughs = b"]" + b"".join(b"q" + bytes([i]) + b"0](" + (b"h" + bytes([i])) * 10 + b"e" for i in range(20))
    bodies = {
        "BINBYTES8 of 2^62": (b"\x8e" + size8, "4611686018427387904 bytes"),
        "BINUNICODE8 of 2^62": (b"\x8d" + size8, "claim"),
        "BYTEARRAY8 of 2^62": (b"\x96" + size8, "claim"),
        "BINBYTES of 2 GiB": (b"B" + size4, "claim"),
        "BINUNICODE of 2 GiB": (b"X" + size4, "claim"),
        "BINSTRING of 2 GiB": (b"T" + size4, "claim"),
        "LONG4 of 2 GiB": (b"\x8b" + size4, "an integer of"),
        "LONG1 of 255 bytes": (b"\x8a\xff" + bytes(255), "an integer of"),
        "FRAME of 2^62": (b"\x95" + size8 + b"N", "a frame"),
        "a decimal of 100,000 digits": (b"L" + b"9" * 100_000 + b"L\n", "a line that does not end"),
        "a line without end": (b"V" + b"x" * 100_000, "a line that does not end"),
        "the memo index 2^32 - 1": (b"}r\xff\xff\xff\xff", None),
        "a decimal memo index of 70 digits": (b"}p" + b"9" * 70 + b"\n", None),
        "a billion laughs": (laughs, "more than 1,000,000 entries"),
        "a million lists in lists": (b"](" * 5 + b"]" * 100_000 + b"a" * 99_999 + b"l" * 5, ""),
        "tuples nested 200,000 deep": (b")" + b"\x85" * 200_000, "deeper than"),
        "lists nested 200,000 deep": (b"]" * 200_001 + b"a" * 200_000, "deeper than"),
        "dicts nested 65 deep": (b"}" + (p.text("k") + b"}") * 65 + b"s" * 65, "deeper than"),
        "500,000 marks": (b"(" * 500_000 + b"N", ""),
        "a list that holds itself": (b"]q\x00h\x00a", "inside themselves"),
        "a dict that holds itself": (b"}q\x00" + p.text("k") + b"h\x00s", "inside themselves"),
        "two lists that hold each other": (b"]q\x00]q\x01h\x00ah\x00h\x01a00", "inside themselves"),
        "a deep tuple as a key, whose entry is dropped unhashed": (b"}(" + b")" + b"\x85" * 1000 + b"Nu", None),
        "3,000,000 operations": (b"N0" * 1_500_000 + b"N", "operations"),
        "1,200,000 numbers": (b"](" + b"K\x01" * 1_200_000 + b"e", "more than 1,000,000 entries"),
    }
    for name, (body, refused) in bodies.items():
        yield f"{name}; plain pickle", p.whole(body), refused
        if len(body) < 400_000:
            yield f"{name}; torch zip", zip_file(body, {}), refused


def broken() -> Cases:
    bodies = {
        "nothing": b"",
        "two values": b"NN",
        "an open mark": b"(N",
        "no such opcode": b"\xff",
        "DUP": b"N2",
        "POP of nothing": b"0",
        "POP_MARK without mark": b"1",
        "TUPLE without mark": b"t",
        "TUPLE3 of two": b"NN\x87",
        "APPEND to a tuple": b")Na",
        "APPENDS to a dict": b"}(Ne",
        "APPEND across a mark": b"](Na",
        "SETITEM on a list": b"]NNs",
        "SETITEMS of three": b"}(NNNu",
        "a list as a key": b"}]Ns",
        "a dict as a key": b"}}Ns",
        "bytes as a key": b"}C\x01aNs",
        "GET of nothing": b"h\x05",
        "LONG_BINGET of nothing": b"j\xff\xff\xff\xff",
        "GET of text": b"gabc\n",
        "PUT of an empty stack": b"q\x00",
        "INT of text": b"Iabc\n",
        "FLOAT of text": b"Fabc\n",
        "LONG of text": b"Labc\n",
        "STRING without quotes": b"Sabc\n",
        "STRING with a broken escape": b"S'\\x'\n",
        "UNICODE with a broken escape": b"V\\uZZZZ\n",
        "half a surrogate pair": b"V\\ud800\n",
        "text that is not UTF-8": b"X\x02\x00\x00\x00\xff\xff",
        "STACK_GLOBAL of numbers": b"K\x01K\x02\x93",
        "BUILD on nothing": b"b",
        "BINPERSID": b"NQ",
        "PERSID": b"Pabc\n",
        "NEXT_BUFFER": b"\x97",
        "READONLY_BUFFER": b"N\x98",
        "sets": b"\x8f",
        "protocol 9 inside": b"\x80\x09N",
    }
    for name, body in bodies.items():
        yield f"{name}; plain pickle", p.whole(body), ""
    yield "no STOP", p.whole(b"N")[:-1], "left"
    yield "bytes after STOP", p.whole(b"N") + b"junk", "after the pickle"


def lying_tensors() -> Cases:
    values = np.arange(6, dtype="f")
    huge = 1 << 62

    def both(name: str, refused: str, tensor: bytes) -> Cases:
        yield f"{name}; zip", zip_file(p.dict({"w": tensor}), {"k": values.tobytes()}), refused
        yield f"{name}; legacy", legacy_file(p.dict({"w": tensor}), {"k": values}), refused

    float6 = storage("FloatStorage", "k", 6)
    layouts = {
        "a shape too long": ("inside its storage", 0, (7,), (1,)),
        "a shape far too long": ("inside its storage", 0, (1 << 39,), (1,)),
        "a shape beyond 64 bits": ("the shape", 0, (1 << 32, 1 << 32, 4), (0, 0, 0)),
        "a shape of one huge number": ("the shape", 0, (1 << 200,), (1,)),
        "no elements, huge": ("the shape", 0, (0, huge), (1, 1)),
        "a negative size": ("the shape", 0, (-2,), (1,)),
        "40 dimensions": ("40 dimensions", 0, (1,) * 40, (1,) * 40),
        "a negative stride": ("strides", 5, (3,), (-1,)),
        "a stride too long": ("inside its storage", 0, (2,), (6,)),
        "a stride far too long": ("inside its storage", 0, (2,), (1 << 47,)),
        "a stride beyond 64 bits": ("strides", 0, (1 << 30,), (1 << 63,)),
        "too few strides": ("strides", 0, (2, 2), (1,)),
        "a negative offset": ("offset", -1, (2,), (1,)),
        "an offset too far": ("inside its storage", 5, (2,), (1,)),
        "an offset beyond 64 bits": ("offset", 1 << 70, (2,), (1,)),
        "one number expanded to 40 GB": ("of memory", 0, (100_000, 100_000), (0, 0)),
        "six numbers overlapping to 16 GB": ("of memory", 0, (3, 1 << 32), (1, 0)),
    }
    for name, (refused, offset, shape, strides) in layouts.items():
        yield from both(name, refused, rebuild_v2(float6, offset, shape, strides))
    stores = {
        "a storage said to be shorter": ("", storage("FloatStorage", "k", 2)),
        "a storage said to be longer": ("", storage("FloatStorage", "k", 7)),
        "a storage said to be huge": ("", storage("FloatStorage", "k", 1 << 47)),
        "a storage beyond 64 bits": ("elements", storage("FloatStorage", "k", 1 << 70)),
        "a storage of negative size": ("elements", storage("FloatStorage", "k", -6)),
        "a storage of another type": ("", storage("DoubleStorage", "k", 6)),
        "a storage that is not there": ("", storage("FloatStorage", "../k", 6)),
        "a quantised storage": ("QInt8Storage", storage("QInt8Storage", "k", 6)),
        "a storage without type": ("as the storage", storage("UntypedStorage", "k", 24, module="torch.storage")),
        "a storage named by a number": ("elements", storage("FloatStorage", "k", 6).replace(p.text("k"), p.int(3))),
        "a persistent id of text": ("reference to a storage", p.text("k") + b"Q"),
        "a persistent id of another kind": (
            "persistent id",
            storage("FloatStorage", "k", 6).replace(p.text("storage"), p.text("package")),
        ),
    }
    for name, (refused, stored) in stores.items():
        yield from both(name, refused, rebuild_v2(stored, 0, (6,), (1,)))
    for name, shape in {"text": p.text("ab"), "booleans": b"\x88\x85", "floats": b"G" + bytes(8) + b"\x85"}.items():
        tensor = p.call("torch._utils", "_rebuild_tensor", float6, p.int(0), shape, p.ints([1]))
        yield from both(f"a shape of {name}", "the shape", tensor)
    untyped = storage("UntypedStorage", "k", 24, module="torch.storage")
    tail = [p.int(0), p.ints([6]), p.ints([1]), b"\x89", b"}"]
    for name, kind in {"text": p.text("float32"), "a storage": p.name("torch", "FloatStorage")}.items():
        tensor = p.call("torch._utils", "_rebuild_tensor_v3", untyped, *tail, kind)
        yield from both(f"an element type of {name}", "element type", tensor)
    tensor = p.call("torch._utils", "_rebuild_tensor_v3", untyped, *tail, p.name("torch", "float64"))
    yield from both("an element type too large", "", tensor)
    expanded = rebuild_v2(float6, 0, (1 << 22,), (0,))
    many = b"](" + b"".join(rebuild_v2(float6, i % 6, (1 << 22, 1 + i // 6), (0, 0)) for i in range(60)) + b"e"
    yield "one expanded tensor, many times over", zip_file(many, {"k": values.tobytes()}), "of memory"
    yield "a modest expanded tensor", zip_file(expanded, {"k": values.tobytes()}), None
    flags = rebuild_v2(storage("BoolStorage", "k", 6), 0, (6,), (1,))
    yield "booleans of 7", zip_file(flags, {"k": b"\x07" * 6}), "neither 0 nor 1"


def lying_legacy_files() -> Cases:
    values = np.arange(6, dtype="f")
    tensor = rebuild_v2(storage("FloatStorage", "k", 6, view=None), 0, (6,), (1,))
    honest = legacy_file(p.dict({"w": tensor}), {"k": values})
    body = LEGACY_START + p.whole(p.dict({"w": tensor}))
    keys = lambda *names: p.whole(b"](" + b"".join(map(p.text, names)) + b"e")
    data = struct.pack("<q", 6) + values.tobytes()
    yield "no storages", body + keys(), "list of storages"
    yield "another storage", body + keys("other") + data, "list of storages"
    yield "a storage twice", body + keys("k", "k") + data + data, "twice"
    yield "keys that are numbers", body + p.whole(b"](K\x01e") + data, "list of storages"
    yield "keys that are a dict", body + p.whole(b"}") + data, "list of storages"
    yield "a count of -1", body + keys("k") + struct.pack("<q", -1) + values.tobytes(), "elements"
    yield "a count of 2^62", body + keys("k") + struct.pack("<q", 1 << 62) + values.tobytes(), "elements"
    yield "half the elements", honest[:-12], "left"
    yield "bytes after", honest + b"junk", "after the last storage"
    yield "another protocol version", honest.replace(p.int(1001), p.int(1002)), "protocol version"
    yield "no system", LEGACY_START[: -len(p.whole(b"")) - 1] + honest[len(LEGACY_START) :], ""
    yield "an odd byte order", honest.replace(b"\x88", b"N", 1), "system"
    for view in (("v", -1, 2), ("v", 0, -2), ("v", 5, 2), ("v", 1 << 62, 1 << 62)):
        part = rebuild_v2(storage("FloatStorage", "k", 6, view=view), 0, (1,), (1,))
        yield f"the part {view}", legacy_file(p.dict({"w": part}), {"k": values}), "of a storage of 6"
    two = p.dict({"w": tensor, "v": rebuild_v2(storage("FloatStorage", "k", 3, view=None), 0, (1,), (1,))})
    yield "one storage in two sizes", legacy_file(two, {"k": values}), "two descriptions"

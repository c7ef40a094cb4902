"""Archives, .npy, .safetensors, msgpack and ONNX files that lie; made by hand. As in `hostile_pickles`."""

import io
import json
import struct
import zipfile
import zlib

import numpy as np

from tests.weights.hostile_pickles import Cases
from tests.weights.weight_files import (
    field,
    npy,
    onnx_model,
    onnx_tensor,
    rebuild_v2,
    safetensors,
    storage,
    varint,
    zip_file,
    zip_of,
)
from tests.weights.weight_files import pickled as p

FLOATS = np.arange(4, dtype="f").tobytes()


def patched(data: bytes, at: int, layout: str, value: int) -> bytes:
    packed = struct.pack(layout, value)
    return data[:at] + packed + data[at + len(packed) :]


def lying_zips() -> Cases:
    tensor = rebuild_v2(storage("FloatStorage", "k", 4), 0, (4,), (1,))
    honest = zip_file(p.dict({"w": tensor}), {"k": FLOATS})
    end = honest.rfind(b"PK\x05\x06")
    entry = honest.find(b"PK\x01\x02")
    last = honest.rfind(b"PK\x01\x02")
    yield "no end record", honest[:end], "end record"
    yield "a cut end record", honest[: end + 10], "end record"
    yield "bytes after the end", honest + b"junk", "after its end"
    yield "65,535 files", patched(honest, end + 10, "<H", 65_534), ""
    yield "fewer files than there are", patched(honest, end + 10, "<H", 1), ""
    yield "a directory of 4 GB", patched(honest, end + 12, "<I", 0xFFFFFFF0), ""
    yield "a directory outside", patched(honest, end + 16, "<I", 0x7FFFFFFF), ""
    yield "a directory elsewhere", patched(honest, end + 16, "<I", 3), ""
    yield "another disk", patched(honest, end + 4, "<H", 3), "in parts"
    yield "an encrypted member", patched(honest, entry + 8, "<H", 1), "encrypted"
    yield "a member of 4 GB", patched(honest, last + 24, "<I", 0xFFFFFFF0), ""
    yield "a member of 2^64 without its field", patched(honest, last + 24, "<I", 0xFFFFFFFF), "64-bit"
    yield "a member far outside", patched(honest, last + 42, "<I", 0x7FFFFFFF), ""
    yield "a member over another", patched(honest, last + 42, "<I", 0), ""
    yield "a member over the directory", patched(honest, last + 20, "<I", 4000), ""
    yield "an unknown compression", patched(patched(honest, entry + 10, "<H", 99), 8, "<H", 99), "compressed"
    yield "a wrong checksum", patched(honest, last + 16, "<I", 1), "checksum"
    yield "a wrong element", honest.replace(FLOATS, FLOATS[::-1]), "checksum"
    yield "a name of its own in the local header", honest.replace(b"archive/data.pkl", b"archive/date.pkl", 1), "header"
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1 << 60, 1 << 60, 1 << 60, entry)
    pointing = patched(patched(honest, end + 10, "<H", 0xFFFF), end + 16, "<I", 0xFFFFFFFF)[end:]
    wide = honest[:end] + record + locator + pointing
    moved = lambda place: wide.replace(locator, b"PK\x06\x07" + struct.pack("<IQI", 0, place, 1))
    yield "2^60 files in 64 bits", wide, "zip directory of"
    yield (
        "a 64-bit record elsewhere",
        moved(7),
        "64-bit",
    )
    yield (
        "a 64-bit record outside",
        moved(1 << 63),
        "",
    )
    yield (
        "a deflated torch file",
        zip_file(p.dict({"w": tensor}), {"k": FLOATS}, method=zipfile.ZIP_DEFLATED),
        "compressed",
    )
    yield "an odd byte order", zip_file(p.dict({"w": tensor}), {"k": FLOATS}, byteorder=b"middle"), "byte order"
    yield "two roots", zip_of({"a/data.pkl": p.whole(b"N"), "b/data.pkl": p.whole(b"N")}), "folders"
    yield "TorchScript", zip_of({"a/data.pkl": p.whole(b"N"), "a/code/model.py": b"import os"}), "TorchScript"
    yield "no member at all", zip_of({}), "nothing"
    yield "a zip of a script", zip_of({"setup.py": b"import os"}), "setup.py"
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in ("one.npy", "two.npy"):
            archive.writestr(name, npy())
    yield "two members of one name", made.getvalue().replace(b"two.npy", b"one.npy"), "two files named"


def zip_bombs() -> Cases:
    zeros = bytes(128 << 20)
    bomb = npy(shape=f"({len(zeros) // 4},)", data=zeros)
    packed = zip_of({"w.npy": bomb}, zipfile.ZIP_DEFLATED)
    yield "128 MB of zeros in 130 kB", packed, "of memory"
    entry = packed.rfind(b"PK\x01\x02")
    yield "a bomb that claims 1 kB", patched(packed, entry + 24, "<I", 1024), "longer than"
    yield "a bomb that claims 60 MB", patched(packed, entry + 24, "<I", 60 << 20), "longer than"
    yield "a bomb that claims 4 GB", patched(packed, entry + 24, "<I", 0xFFFFFFF0), "inflate"
    small = npy(shape=f"({1 << 22},)", data=bytes(16 << 20))
    yield "12 members of 16 MB", zip_of({f"{i}.npy": small for i in range(12)}, zipfile.ZIP_DEFLATED), "of memory"
    honest = zip_of({"w.npy": npy()}, zipfile.ZIP_DEFLATED)
    broken = bytearray(honest)
    broken[30 + 5] ^= 0xFF
    yield "broken deflate data", bytes(broken), ""
    entry = honest.rfind(b"PK\x01\x02")
    yield "a member longer than it is", patched(honest, entry + 24, "<I", 100), ""
    yield "a wrong checksum, deflated", patched(honest, entry + 16, "<I", 5), "checksum"
    yield "deflated bytes called stored", patched(patched(honest, entry + 10, "<H", 0), 8, "<H", 0), ""
    two = zlib.compress(b"x")
    yield "a zlib stream alone", two, "no known format"


def lying_npy_files() -> Cases:
    files = {
        "a shape too large": ("left", npy(shape="(3,)")),
        "a shape of 4 TB": ("left", npy(shape=f"({1 << 40},)")),
        "a shape beyond 64 bits": ("the shape", npy(shape=f"({1 << 62}, {1 << 62})")),
        "no elements, huge": ("the shape", npy(shape=f"(0, {1 << 62})", data=b"")),
        "a negative shape": ("the header", npy(shape="(-2,)")),
        "a shape of text": ("the header", npy(shape="('a',)")),
        "a shape of 20,000 digits": ("", npy(shape=f"({'9' * 20_000},)")),
        "40 dimensions": ("40 dimensions", npy(shape=f"({'1, ' * 40})")),
        "deep parentheses": ("the header", npy(shape="(" * 5000 + ")" * 5000)),
        "5000 minus signs": ("the header", npy(shape=f"({'-' * 5000}1,)")),
        "objects": ("Python objects", npy(descr="'|O'")),
        "void": ("bfloat16", npy(descr="'<V2'")),
        "a record": ("the header", npy(descr="[('a', '<f4')]")),
        "code for a type": ("the header", npy(descr="__import__('os').system('true')")),
        "text of no size": ("element type", npy(descr="'<U0'", shape=f"({1 << 39},)", data=b"")),
        "text of a gigabyte": ("element type", npy(descr="'<U999999999'")),
        "times": ("element type", npy(descr="'<M8[s]'")),
        "long doubles": ("element type", npy(descr="'<f16'", shape="(1,)", data=bytes(16))),
        "characters beyond Unicode": ("beyond Unicode", npy(descr="'<U1'", shape="(2,)", data=b"\xff" * 8)),
        "booleans of 7": ("neither 0 nor 1", npy(descr="'|b1'", shape="(2,)", data=b"\x07\x07")),
        "an odd order": ("the header", npy(fortran="maybe")),
        "bytes after": ("after the array", npy(data=bytes(9))),
        "too few bytes": ("left", npy(data=bytes(7))),
        "version 9": ("version", b"\x93NUMPY\x09\x00" + npy()[8:]),
        "a header of 4 GB": ("a header of", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"),
        "a header of noise": ("the header", b"\x93NUMPY\x01\x00\x10\x00" + bytes(range(200, 216))),
        "nothing but the magic": ("left", b"\x93NUMPY"),
    }
    for name, (refused, data) in files.items():
        yield f"npy, {name}", data, refused
        # In an archive the same lies meet another reader; what it says differs for sizes alone.
        yield f"npz, {name}", zip_of({"w.npy": data}), "" if refused in ("left", "after the array") else refused


def lying_safetensors() -> Cases:
    entry = lambda begin=0, end=16, shape=(4,), dtype="F32": {
        "dtype": dtype,
        "shape": list(shape),
        "data_offsets": [begin, end],
    }
    tensors = {
        "a tensor beyond the data": ("claim", {"w": entry(0, 32, (8,))}),
        "a tensor of 4 TB": ("claim", {"w": entry(0, 1 << 42, (1 << 40,))}),
        "overlapping tensors": ("no gaps", {"a": entry(0, 16), "b": entry(8, 16, (2,))}),
        "one place for two tensors": ("no gaps", {"a": entry(0, 16), "b": entry(0, 16)}),
        "a gap": ("no gaps", {"w": entry(8, 16, (2,))}),
        "bytes after": ("after the last", {"w": entry(0, 8, (2,))}),
        "no tensor": ("after the last", {}),
        "backward offsets": ("data_offsets", {"w": entry(16, 0)}),
        "negative offsets": ("data_offsets", {"w": entry(-16, 0)}),
        "offsets beyond 64 bits": ("", {"w": entry(1 << 70, (1 << 70) + 16)}),
        "offsets of floats": ("data_offsets", {"w": entry(0.0, 16.0)}),
        "three offsets": ("data_offsets", {"w": {**entry(), "data_offsets": [0, 8, 16]}}),
        "a shape that does not fit": ("16 bytes", {"w": entry(0, 12)}),
        "a negative shape": ("the shape", {"w": entry(shape=(-4,))}),
        "two negative sizes": ("the shape", {"w": entry(shape=(-2, -2))}),
        "a shape beyond 64 bits": ("the shape", {"w": entry(shape=(1 << 62, 4))}),
        "a shape of truth": ("the shape", {"w": entry(shape=(True, 4))}),
        "a shape of text": ("the shape", {"w": {**entry(), "shape": "4"}}),
        "a type of its own": ("element type", {"w": entry(dtype="O8")}),
        "a type that is a number": ("element type", {"w": entry(dtype=32)}),
        "a type that is a list": ("element type", {"w": entry(dtype=["F32"])}),
        "a tensor without type": ("dtype, shape", {"w": {"shape": [4], "data_offsets": [0, 16]}}),
        "a tensor with a file": ("dtype, shape", {"w": {**entry(), "file": "/etc/passwd"}}),
        "a tensor that is a list": ("dtype, shape", {"w": [0, 16]}),
        "booleans of 7": ("neither 0 nor 1", {"w": entry(0, 16, (16,), "BOOL")}),
    }
    for name, (refused, header) in tensors.items():
        data = b"\x07" * 16 if "BOOL" in str(header) else FLOATS
        yield f"safetensors, {name}", safetensors(json.dumps(header), data), refused
    good = json.dumps({"w": entry()})
    texts = {
        "a header of 2^63": ("no known format", safetensors(good, FLOATS, 1 << 63)),
        "a header of 2^39": ("a header of", safetensors(good, FLOATS, 1 << 39)),
        "a header longer than the file": ("claim", safetensors(good, FLOATS, 4000)),
        "a header of 9 MB": ("a header of", safetensors(good + " " * (9 << 20))),
        "an empty header": ("", safetensors("{", b"", 0)),
        "a header cut short": ("not JSON", safetensors(good, FLOATS, 20)),
        "a header that is not UTF-8": ("not JSON", safetensors(b'{"\xff": 1}')),
        "a name twice": ("a name that occurs twice", safetensors(good[:-1] + ", " + good[1:], FLOATS)),
        "a type twice": (
            "a name that occurs twice",
            safetensors(good.replace('"dtype"', '"dtype": "F64", "dtype"'), FLOATS),
        ),
        "a header 100,000 deep": ("nested", safetensors('{"w":' + "[" * 100_000)),
        "objects 100,000 deep": ("nested", safetensors('{"w":' * 100_000)),
        "a number of 5000 digits": ("", safetensors(good.replace("16", "9" * 5000), FLOATS)),
        "an infinite size": ("", safetensors(good.replace("[4]", "[Infinity]"), FLOATS)),
        "no number": ("", safetensors(good.replace("[4]", "[NaN]"), FLOATS)),
    }
    for name, (refused, data) in texts.items():
        yield f"safetensors, {name}", data, refused


def msgpack_array(shape: bytes, name: str = "float32", data: bytes = FLOATS, length: int | None = None) -> bytes:
    size = len(data) if length is None else length
    payload = b"\x93" + shape + bytes([0xA0 + len(name)]) + name.encode() + b"\xc6" + struct.pack(">I", size) + data
    return b"\xc9" + struct.pack(">IB", len(payload), 1) + payload


def nested_shapes(depth: int) -> bytes:
    made = b"\xc0"
    for _ in range(depth):
        made = b"\xc9" + struct.pack(">I", len(made) + 2) + b"\x01\x93\x91" + made
    return made


def lying_msgpack() -> Cases:
    wide = lambda *sizes: bytes([0x90 + len(sizes)]) + b"".join(b"\xd3" + struct.pack(">q", size) for size in sizes)
    most = b"\xff\xff\xff\xff"
    chunked = lambda shape, chunks: b"\x83\xb9__msgpack_chunked_array__\xc3\xa5shape" + shape + b"\xa6chunks" + chunks
    values = {
        "a map of 2^32": ("left", b"\xdf" + most),
        "a list of 2^32": ("left", b"\xdd" + most),
        "1000 lists of 2^32": ("deeper", (b"\xdd" + most) * 1000),
        "60 lists of a million": ("left", b"\xdd\x00\x0f\x42\x40" * 60),
        "bytes of 4 GB": ("left", b"\xc6" + most),
        "a text of 4 GB": ("a text of", b"\xdb" + most),
        "an extension of 4 GB": ("left", b"\xc9" + most + b"\x01"),
        "a reserved byte": ("0xc1", b"\xc1"),
        "an unknown extension": ("extension type 77", b"\xd4\x4d\x00"),
        "a complex number": ("complex number", b"\xd4\x02\x00"),
        "a time": ("extension type 255", b"\xd6\xff\x00\x00\x00\x00"),
        "an array that is a number": ("not (shape, type, bytes)", b"\xd4\x01\x05"),
        "an empty array extension": ("left", b"\xc7\x00\x01"),
        "an array too large": ("bytes for float32", msgpack_array(wide(5))),
        "an array too small": ("bytes for float32", msgpack_array(wide(3))),
        "an array of 4 TB": ("bytes for float32", msgpack_array(wide(1 << 40))),
        "an array beyond 64 bits": ("the shape", msgpack_array(wide(1 << 62, 1 << 62, 1 << 62))),
        "a negative array": ("the shape", msgpack_array(wide(-2, -2))),
        "an array of 40 dimensions": ("40 dimensions", msgpack_array(b"\xdc\x00\x28" + b"\x01" * 40)),
        "a shape of texts": ("the shape", msgpack_array(b"\x91\xa14")),
        "a shape of lists": ("the shape", msgpack_array(b"\x91\x91\x04")),
        "a shape that is a number": ("the shape", msgpack_array(b"\x04")),
        "an array of objects": ("element type", msgpack_array(wide(2), "object")),
        "an array of void": ("element type", msgpack_array(wide(4), "void32")),
        "an array of more bytes than there are": ("bytes for float32", msgpack_array(wide(4), length=1 << 30)),
        "booleans of 7": ("neither 0 nor 1", msgpack_array(wide(4), "bool", b"\x07" * 4)),
        "lists nested 100,000 deep": ("deeper", b"\x91" * 100_000 + b"\xc0"),
        "maps nested 100,000 deep": ("deeper", b"\x81\xa1a" * 100_000 + b"\xc0"),
        "arrays in the shapes of arrays, 3,000 deep": ("deeper", nested_shapes(3000)),
        "1,200,000 nothings": ("entries", b"\xdd" + struct.pack(">I", 1_200_000) + b"\xc0" * 1_200_000),
        "text that is not UTF-8": ("not utf-8", b"\xa2\xff\xff"),
        "chunks that are missing": ("chunks", chunked(b"\x81\xa10\x04", b"\x80")),
        "a chunked shape that lies": ("chunks", chunked(b"\x81\xa10\x05", b"\x81\xa10" + msgpack_array(wide(4)))),
        "a chunked shape without sizes": (
            "the shape",
            chunked(b"\x81\xa1x\x04", b"\x81\xa10" + msgpack_array(wide(4))),
        ),
        "a chunked array without a shape": ("chunked array", chunked(b"\xc0", b"\xc0")),
        "a chunk of numbers": ("chunks", chunked(b"\x81\xa10\x01", b"\x81\xa10\x05")),
    }
    for name, (refused, value) in values.items():
        yield f"msgpack, {name}", b"\x81\xa1w" + value, refused
    yield "msgpack, a map of 2^32 on top", b"\xdf" + most, "left"
    yield "msgpack, a number as a name", b"\x81\x05\xc0", "as a name"
    yield "msgpack, a list as a name", b"\x81\x91\xc0\xc0", "as a name"
    yield "msgpack, an array as a name", b"\x81" + msgpack_array(wide(4)) + b"\xc0", "as a name"
    yield "msgpack, a name twice", b"\x82\xa1w\xc0\xa1w\xc0", "twice"
    yield "msgpack, bytes after", b"\x81\xa1w\xc0junk", "after the tree"


def lying_onnx() -> Cases:
    w = lambda dims=(2, 2), kind=1, raw=FLOATS, more=b"": onnx_tensor("w", dims, kind, raw, more)
    bare = lambda dims, kind, more: field(8, b"w") + b"".join(field(1, d) for d in dims) + field(2, kind) + more
    tensors = {
        "dims too large": ("raw_data of 16", w((5,))),
        "dims too small": ("raw_data of 16", w((3,))),
        "dims of 4 TB": ("raw_data of 16", w((1 << 40,))),
        "dims beyond 64 bits": ("the shape", w((1 << 62, 1 << 62))),
        "negative dims": ("the shape", w((-2, -2))),
        "40 dims": ("40 dimensions", w((1,) * 40)),
        "packed dims, a million": ("dimensions", field(1, bytes(500_000)) + w(())),
        "no elements": ("no elements", bare((4,), 1, b"")),
        "no elements, terabytes": ("no elements", bare((1 << 39,), 1, b"")),
        "text": ("element type 8", w(kind=8)),
        "int4": ("element type 22", w(kind=22)),
        "no type": ("element type 0", w(kind=0)),
        "an element type 0": ("element type 0", field(2, b"float") + field(8, b"w") + field(9, FLOATS)),
        "a file beside it": ("another file", w(more=field(13, field(1, b"location") + field(2, b"/etc/passwd")))),
        "a place elsewhere": ("another file", w(more=field(14, 1))),
        "two kinds of data": ("in the fields", w(more=field(4, FLOATS))),
        "the wrong kind of data": ("in the fields", bare((2, 2), 1, field(10, FLOATS))),
        "too few floats": ("12 bytes for", bare((2, 2), 1, field(4, FLOATS[:12]))),
        "too few integers": ("3 elements", bare((4,), 7, field(7, b"\x01\x02\x03"))),
        "integers beyond their type": ("beyond int8", bare((1,), 3, field(5, varint(300)))),
        "booleans of 7": ("neither 0 nor 1", bare((1,), 9, field(5, 7))),
        "a name that is not UTF-8": ("not utf-8", field(8, b"\xff\xff")),
        "a name of a megabyte": ("a name of", field(8, bytes(1 << 20))),
        "raw_data that is a number": ("a number where", bare((4,), 1, field(9, 4))),
        "raw_data of 2^63": ("left", bare((4,), 1, varint(9 << 3 | 2) + varint(1 << 63))),
        "terabytes one by one": ("one by one", bare((1 << 39,), 7, field(7, 1))),
    }
    for name, (refused, tensor) in tensors.items():
        yield f"onnx, {name}", onnx_model([tensor]), refused
    start = field(1, 8) + field(2, b"hand")
    models = {
        "two of a name": ("two initialisers", onnx_model([w(), w()])),
        "a sparse initialiser": ("sparse", onnx_model([w()], field(15, b""))),
        "no graph": ("0 graphs", start),
        "two graphs": ("2 graphs", start + field(7, b"") + field(7, b"")),
        "a graph that is a number": ("a number where", start + field(7, 5)),
        "a graph of 2^60": ("left", start + varint(7 << 3 | 2) + varint(1 << 60)),
        "an endless number": ("ten bytes", start + b"\xff" * 20),
        "field 0": ("field number", start + b"\x00\x00"),
        "a group": ("wire type", start + b"\x0b"),
        "1,200,000 fields": ("entries", start + field(20, 1) * 1_200_000),
        "1,200,000 initialisers": ("", start + field(7, field(5, b"") * 1_200_000)),
    }
    for name, (refused, data) in models.items():
        yield f"onnx, {name}", data, refused

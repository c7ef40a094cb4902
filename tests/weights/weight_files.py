"""Weight files put together by hand, without the libraries that write them, so that every byte can be a lie."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np


class pickled:
    """Pickle fragments: each function gives the opcodes that push one value."""

    @staticmethod
    def text(value: str) -> bytes:
        data = value.encode()
        return b"X" + struct.pack("<I", len(data)) + data

    @staticmethod
    def int(value: int) -> bytes:
        size = max(1, (value.bit_length() + 8) // 8)
        return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)

    @staticmethod
    def name(module: str, name: str) -> bytes:
        return b"c" + module.encode() + b"\n" + name.encode() + b"\n"

    @staticmethod
    def tuple(*items: bytes) -> bytes:
        return b"(" + b"".join(items) + b"t"

    @staticmethod
    def ints(values) -> bytes:
        return pickled.tuple(*map(pickled.int, values))

    @staticmethod
    def dict(items: dict[str, bytes]) -> bytes:
        return b"}(" + b"".join(pickled.text(key) + value for key, value in items.items()) + b"u"

    @staticmethod
    def call(module: str, name: str, *arguments: bytes) -> bytes:
        return pickled.name(module, name) + pickled.tuple(*arguments) + b"R"

    @staticmethod
    def whole(body: bytes, protocol: int = 2) -> bytes:
        return b"\x80" + bytes([protocol]) + body + b"."


_ABSENT = object()


def storage(kind: str, key: str, count: int, view: object = _ABSENT, module: str = "torch") -> bytes:
    """A persistent id, with the legacy layout's sixth part if `view` is given."""
    *places, kind = kind.split(".")
    parts = [
        pickled.text("storage"),
        pickled.name(".".join([module, *places]), kind),
        pickled.text(key),
        pickled.text("cpu"),
        pickled.int(count),
    ]
    if view is None:
        parts.append(b"N")
    elif isinstance(view, tuple):
        parts.append(pickled.tuple(pickled.text(view[0]), pickled.int(view[1]), pickled.int(view[2])))
    return pickled.tuple(*parts) + b"Q"


def rebuild_v2(stored: bytes, offset: int, shape, strides) -> bytes:
    arguments = (stored, pickled.int(offset), pickled.ints(shape), pickled.ints(strides), b"\x89")
    return pickled.call("torch._utils", "_rebuild_tensor_v2", *arguments, pickled.call("collections", "OrderedDict"))


def zip_of(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


def zip_file(body: bytes, storages: dict[str, bytes], byteorder: bytes = b"little", **options) -> bytes:
    """A file of torch.save's zip layout that holds the value of the pickle fragment `body`."""
    files = {"archive/data.pkl": pickled.whole(body), "archive/byteorder": byteorder, "archive/version": b"3\n"}
    return zip_of({**files, **{f"archive/data/{key}": data for key, data in storages.items()}}, **options)


LEGACY_START = (
    pickled.whole(pickled.int(0x1950A86A20F9469CFC6C))
    + pickled.whole(pickled.int(1001))
    + pickled.whole(pickled.dict({"protocol_version": pickled.int(1001), "little_endian": b"\x88"}))
)


def legacy_file(body: bytes, storages: dict[str, np.ndarray]) -> bytes:
    """A file of torch.save's layout before 1.6."""
    keys = pickled.whole(b"](" + b"".join(map(pickled.text, storages)) + b"e")
    records = b"".join(struct.pack("<q", data.size) + data.tobytes() for data in storages.values())
    return LEGACY_START + pickled.whole(body) + keys + records


def npy(descr: str = "'<f4'", shape: str = "(2,)", data: bytes = bytes(8), fortran: str = "False") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def safetensors(header: str | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    text = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def field(number: int, value: bytes | int) -> bytes:
    """A protobuf field: bytes with their length, or a number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value & (1 << 64) - 1)
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx_tensor(name: str, dims, kind: int, raw: bytes, more: bytes = b"") -> bytes:
    start = b"".join(field(1, size) for size in dims) + field(2, kind) + field(8, name.encode())
    return start + field(9, raw) + more


def onnx_model(tensors: list[bytes], graph_more: bytes = b"") -> bytes:
    graph = field(2, b"g") + b"".join(field(5, tensor) for tensor in tensors) + graph_more
    return field(1, 8) + field(2, b"hand") + field(7, graph) + field(8, field(2, 17))


# Written by hand in the way of Python 2's cPickle: {'w': float32 [2, 2], 'b': float64 []}, protocol 2, names and
# elements as byte strings (U), `__builtin__`-less, the module of numpy 1.
def _old_array(values: np.ndarray) -> bytes:
    data = values.tobytes()
    dtype = (
        b"cnumpy\ndtype\nU\x02" + values.dtype.str[1:].encode() + b"K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    shape = b"(" + b"".join(b"K" + bytes([size]) for size in values.shape) + b"t"
    return start + b"(K\x01" + shape + dtype + b"\x89U" + bytes([len(data)]) + data + b"tb"


OLD_NUMPY_VALUES = {"conv1.weight": np.array([[1, -2], [0.5, 200]], "f"), "scale": np.array([1e300])}
OLD_NUMPY_PICKLE = (
    b"\x80\x02}q\x01("
    + b"".join(b"U" + bytes([len(key)]) + key.encode() + _old_array(v) for key, v in OLD_NUMPY_VALUES.items())
    + b"u."
)


def save(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def same(found, wanted):
    """Equal in structure, values and element types (up to byte order)."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict) and list(found) == list(wanted)
        for key in wanted:
            same(found[key], wanted[key])
    elif isinstance(wanted, list | tuple):
        assert isinstance(found, list) and len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other)
    elif isinstance(wanted, np.ndarray | np.generic):
        wanted = np.asarray(wanted)
        assert isinstance(found, np.ndarray) and found.shape == wanted.shape
        assert found.dtype == wanted.dtype.newbyteorder("=") and found.dtype.isnative
        assert found.tobytes() == wanted.astype(found.dtype).tobytes()
    else:
        assert type(found) is type(wanted) and found == wanted

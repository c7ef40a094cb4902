"""PyTorch's two file layouts, read without PyTorch.

Zip (1.6 and later): `NAME/data.pkl` is the pickle, `NAME/data/KEY` the storages, `NAME/byteorder` their byte
order. Legacy: five pickles (magic number, protocol version, system, the object, storage keys), then for each key
an int64 number of elements and the elements. In both, tensors refer to storages by persistent ids.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from smoothswap_jax.weights.readers import zip_files
from smoothswap_jax.weights.readers.arrays import finished
from smoothswap_jax.weights.readers.byte_range import ByteRange
from smoothswap_jax.weights.readers.errors import Malformed, naming, shown
from smoothswap_jax.weights.readers.pickle_allowlist import (
    STORAGE_TYPES,
    Foreign,
    Global,
    LongText,
    Made,
    NumpyArray,
    NumpyDtype,
    Storage,
    Tensor,
)
from smoothswap_jax.weights.readers.pickle_refusals import whole_object
from smoothswap_jax.weights.readers.safe_unpickler import unpickle
from smoothswap_jax.weights.readers.tree import Nodes, Skipped, Tree

LEGACY_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
"""In the first pickle of a legacy file, an integer after the protocol's opcodes."""
_LEGACY_PROTOCOL = 1001


def read_plain_pickle(source: ByteRange, file: str) -> Tree:
    """A pickle of containers and numpy arrays, such as the VGGFace2 networks are published in."""
    with naming(file, "pickle"):
        value = unpickle(source)
        if source.left:
            raise Malformed(f"{source.left:,} bytes after the pickle", "one pickle")
    return _settled(value, file, _no_storages)


def _no_storages(tensor: Tensor) -> np.ndarray:
    raise Malformed("a torch tensor", "numpy arrays")


# --------------------------------------------------------------------------------------------------------- zip
def is_torch_zip(names: Mapping[str, object]) -> bool:
    return any(name.endswith("/data.pkl") for name in names)


def read_torch_zip(archive: ByteRange, found: dict[str, zip_files.Member], file: str) -> Tree:
    """A file of torch.save's zip layout; `found` is its directory."""
    roots = {name.partition("/")[0] for name in found}
    with naming(file):
        if len(roots) != 1 or (root := roots.pop()) + "/data.pkl" not in found:
            raise Malformed(
                f"a zip archive of {len(found)} files in {len(roots)} folders", "one folder with a data.pkl"
            )
        if f"{root}/constants.pkl" in found or any(name.startswith(f"{root}/code/") for name in found):
            raise Malformed(
                "a TorchScript archive, which is a program", "a state dict (save the module's state_dict())"
            )
        swapped = False
        if order := found.get(f"{root}/byteorder"):
            text = zip_files.stored_bytes(archive, order).read(min(order.size, 16))
            if text not in (b"little", b"big"):
                raise Malformed(f"the byte order {shown(text)}", "little or big")
            swapped = text == b"big"
    with naming(file, "data.pkl"):
        source = zip_files.stored_bytes(archive, found[f"{root}/data.pkl"])
        value = unpickle(source, _storage_of_zip)
        if source.left:
            raise Malformed(f"{source.left:,} bytes after the pickle", "one pickle")
    records: dict[str, ByteRange] = {}

    def record(storage: Storage) -> ByteRange:
        if storage.key not in records:
            name = f"{root}/data/{storage.key}"
            if name not in found:
                raise Malformed(f"no record {shown(name)} in the archive", "the storage of every tensor")
            records[storage.key] = zip_files.stored_bytes(archive, found[name])
        return records[storage.key]

    return _settled(value, file, _Storages(record, swapped).load)


def _storage_of_zip(pid: object) -> Storage:
    if not isinstance(pid, tuple) or len(pid) != 5:
        raise Malformed(f"{shown(pid)} as a reference to a storage", "('storage', type, key, place, number)")
    return _storage(pid)


def _storage(pid: tuple) -> Storage:
    tag, kind, key, _, count = pid[:5]
    if not isinstance(tag, str) or tag != "storage" or not isinstance(kind, Global) or kind.name not in STORAGE_TYPES:
        raise Malformed("a persistent id of something else", "a storage of numbers")
    if not isinstance(key, str) or type(count) is not int or not 0 <= count < 1 << 48:
        raise Malformed(f"the storage {shown(key)} of {shown(count)} elements", "a name and a number from 0 up")
    return Storage(key, STORAGE_TYPES[kind.name], count)


# ------------------------------------------------------------------------------------------------------ legacy
def read_torch_legacy(source: ByteRange, file: str) -> Tree:
    """A file of torch.save's layout before PyTorch 1.6."""
    with naming(file, "header"):
        unpickle(source)  # the magic number, by which the file was recognised
        version, system = unpickle(source), unpickle(source)
        if type(version) is not int or version != _LEGACY_PROTOCOL:
            raise Malformed(f"protocol version {shown(version)}", f"{_LEGACY_PROTOCOL}")
        if not isinstance(system, dict) or not isinstance(little := system.get("little_endian", True), bool):
            raise Malformed(f"{shown(system)} as the system's description", "a dict with little_endian")
    storages: dict[str, Storage] = {}

    def persistent(pid: object) -> Storage | Foreign:
        if isinstance(pid, tuple) and pid and isinstance(pid[0], str) and pid[0] == "module":
            if len(pid) > 1 and isinstance(pid[1], Foreign):
                return pid[1]  # a module's class; the source beside it is text
            raise Malformed("a whole pickled module with its source", "a state dict; ask its owner for a state_dict")
        if not isinstance(pid, tuple) or len(pid) not in (5, 6):
            raise Malformed(f"{shown(pid)} as a reference to a storage", "('storage', type, key, place, number, view)")
        root = _storage(pid)
        if storages.setdefault(root.key, root) != root:
            raise Malformed(f"two descriptions of the storage {shown(root.key)}", "one")
        view = pid[5] if len(pid) == 6 else None
        if view is None:
            return root
        if not isinstance(view, tuple) or len(view) != 3 or any(type(n) is not int for n in view[1:]):
            raise Malformed(f"{shown(view)} as a part of a storage", "(key, offset, size)")
        _, offset, size = view
        if offset < 0 or size < 0 or offset + size > root.count:
            raise Malformed(
                f"elements {shown(offset)} to {shown(offset + size)} of a storage of {root.count:,}", "a part"
            )
        return replace(root, offset=offset, extent=size)

    with naming(file, "pickle"):
        value = unpickle(source, persistent)
    with naming(file, "storages"):
        keys = unpickle(source)
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or {*keys} != {*storages}:
            raise Malformed("a list of storages that does not match the tensors", "one entry for every storage")
        records = {}
        for key in keys:
            if key in records:
                raise Malformed(f"the storage {shown(key)} twice", "once")
            with naming(file, f"storage {shown(key)}"):
                count, size = source.number(8), storages[key].count * _item_size(storages[key])
                if count != storages[key].count:
                    raise Malformed(f"{count:,} elements", f"{storages[key].count:,}, as the tensors say")
                records[key] = source.skip(size)
        if source.left:
            raise Malformed(f"{source.left:,} bytes after the last storage", "the end of the file")
    return _settled(value, file, _Storages(lambda storage: records[storage.key], not little).load)


def _item_size(storage: Storage) -> int:
    return 1 if storage.dtype is None else storage.dtype.itemsize


# ----------------------------------------------------------------------------------------------------- tensors
@dataclass
class _Storages:
    """Reads tensors from their storages; equal tensors (tied weights) become one array."""

    record: Callable[[Storage], ByteRange]
    swapped: bool

    def __post_init__(self) -> None:
        self.loaded: dict[Tensor, np.ndarray] = {}

    def load(self, tensor: Tensor) -> np.ndarray:
        if tensor not in self.loaded:
            self.loaded[tensor] = self._read(tensor)
        return self.loaded[tensor]

    def _read(self, tensor: Tensor) -> np.ndarray:
        storage, record = tensor.storage, self.record(tensor.storage)
        if record.size != storage.count * _item_size(storage):
            raise Malformed(
                f"a storage of {record.size:,} bytes", f"{storage.count:,} elements of {_item_size(storage)} bytes"
            )
        count = storage.count if storage.extent is None else storage.extent
        length = count * _item_size(storage) // tensor.dtype.itemsize  # of the storage, in the tensor's elements
        if 0 in tensor.shape:
            return np.empty(tensor.shape, tensor.dtype)
        span = 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=True))
        if tensor.offset + span > length:
            raise Malformed(
                f"shape {list(tensor.shape)} with strides {list(tensor.strides)} from element {tensor.offset:,} on",
                f"a tensor inside its storage of {length:,} elements",
            )
        dtype = tensor.dtype.newbyteorder(">") if self.swapped else tensor.dtype
        start = storage.offset * _item_size(storage) + tensor.offset * dtype.itemsize
        flat = np.empty(span, dtype)
        record.part(start, flat.nbytes).fill(flat)
        flat = finished(flat, (span,))
        if tensor.strides == _contiguous(tensor.shape, tensor.strides):
            return flat.reshape(tensor.shape)
        record.budget.take(math.prod(tensor.shape) * dtype.itemsize)
        strides = tuple(step * dtype.itemsize for step in tensor.strides)
        return np.ndarray(tensor.shape, flat.dtype, flat, strides=strides).copy()


def _contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a contiguous tensor of this shape; along an axis of one element any stride will do, so its own."""
    steps, step = [], 1
    for size, given in zip(reversed(shape), reversed(strides), strict=True):
        steps.append(given if size == 1 else step)
        step *= size
    return tuple(reversed(steps))


def _settled(value: object, file: str, load: Callable[[Tensor], np.ndarray]) -> Tree:
    """The tree of an unpickled value, with tensors read, tuples as lists, and objects of other classes skipped."""
    nodes = Nodes()

    def settle(value: object, path: tuple) -> Tree:
        nodes.add(len(path))
        if isinstance(value, dict):
            return {key: settle(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [settle(item, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, Tensor):
            with naming(file, f"tensor {'.'.join(shown(part).strip(chr(39)) for part in path)}"):
                return load(value)
        if isinstance(value, NumpyArray):
            if value.array is None:
                raise Malformed("an array without contents", "an undamaged pickle")
            return value.array
        if isinstance(value, NumpyDtype):
            return str(value.dtype)
        if isinstance(value, Global):
            return value.name
        if isinstance(value, LongText):
            return _decoded(value)
        if isinstance(value, Made) and value.members:
            return module(value, path, "")
        if isinstance(value, Foreign):
            return Skipped(value.name)
        if value is None or isinstance(value, bool | int | float | str | bytes | np.ndarray):
            return value
        raise Malformed(f"{shown(value)}", "tensors, numbers and text")

    def module(made: Made, path: tuple, prefix: str) -> dict[str, Tree]:
        """A module's tensors, named as its state dict names them."""
        found: dict[str, Tree] = {}
        for name, member in made.members.items():
            nodes.add(len(path))
            if isinstance(member, Made):
                found |= module(member, (*path, name), f"{prefix}{name}.")
            else:
                found[f"{prefix}{name}"] = settle(member, (*path, name))
        return found

    with naming(file, "pickle"):
        if isinstance(value, Foreign) and not (isinstance(value, Made) and value.members):
            raise whole_object(value.name)
        return settle(value, ())


def _decoded(text: LongText) -> str:
    try:
        return text.data.decode(text.encoding)
    except UnicodeDecodeError:
        raise Malformed(f"text that is not {text.encoding}", "an undamaged pickle") from None

"""Every global that a pickle may refer to, and what stands in for it.

Those that tensors and their containers are made of have a function of ours, in `ADMITTED`. The stand-ins check and keep
their arguments. None of them imports or looks up anything, or allocates as much as a file claims. The number of
arguments is part of the check: a call with another number is refused.

Every other name becomes a `Foreign`, which is that name and nothing else, unless the whole file is refused for it
(`pickle_refusals.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from smoothswap_jax.weights.readers.arrays import DTYPES, array_of, checked_shape, numpy_dtype
from smoothswap_jax.weights.readers.byte_range import CHUNK
from smoothswap_jax.weights.readers.errors import Malformed, shown


@dataclass(frozen=True)
class Global:
    """An allowed global, as a value on the pickle's stack."""

    name: str


@dataclass(frozen=True)
class Foreign:
    """A class, function or object that is not among tensors and their containers: its name stands for it.

    Nothing is called for it, and what it would have been made from is dropped.
    """

    name: str


@dataclass(frozen=True, eq=False)
class Made(Foreign):
    """An object of such a class. Of a torch module the parameters, buffers and modules in it are kept, by name."""

    members: dict[str, object] = field(default_factory=dict)

    def build(self, state: object) -> None:
        """Keeps what `state`, the object's attributes, has of a torch module; drops everything else."""
        parts = [state.get(part) for part in _OF_MODULES] if isinstance(state, dict) else []
        if parts and all(isinstance(part, dict) for part in parts):
            for part in parts:
                for name, member in part.items():  # type: ignore[union-attr]
                    if isinstance(name, str) and isinstance(member, Tensor | Made):
                        self.members[name] = member


_OF_MODULES = ("_parameters", "_buffers", "_modules")


@dataclass(frozen=True)
class LongText:
    """Text that is too long for a name, not decoded: the bytes of an array in a protocol that has only text."""

    data: bytes
    encoding: str


@dataclass(frozen=True)
class Storage:
    """Where tensors have their elements: `count` of `dtype` (None: bytes) in the record `key` of the file.

    `offset` and `extent` count elements: a legacy storage may be a part of a larger one.
    """

    key: str
    dtype: np.dtype | None
    count: int
    offset: int = 0
    extent: int | None = None


@dataclass(frozen=True)
class Tensor:
    """A tensor that has not been read yet; its offset and strides (in elements) are checked when it is."""

    storage: Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


# ------------------------------------------------------------------------------------------------------ torch
_STORAGES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
}
STORAGE_TYPES: dict[str, np.dtype | None] = {
    **{f"torch.{place}{name}Storage": DTYPES[to] for name, to in _STORAGES.items() for place in ("", "cuda.")},
    **dict.fromkeys(("torch.storage.UntypedStorage", "torch.storage._UntypedStorage", "torch.UntypedStorage")),
}
"""The element type of each storage class; None for bytes, whose type the tensor gives."""
_TORCH_DTYPES = {f"torch.{name}": dtype for name, dtype in DTYPES.items()}


def _rebuild_tensor(storage: object, offset: object, shape: object, strides: object) -> Tensor:
    if not isinstance(storage, Storage) or storage.dtype is None:
        raise Malformed(f"{shown(storage)} as the storage of a tensor", "a typed storage")
    return _tensor(storage, storage.dtype, offset, shape, strides)


def _rebuild_tensor_v2(
    storage: object,
    offset: object,
    shape: object,
    strides: object,
    requires_grad: object,
    hooks: object,
    metadata: object = None,
) -> Tensor:
    return _rebuild_tensor(storage, offset, shape, strides)


def _rebuild_tensor_v3(
    storage: object,
    offset: object,
    shape: object,
    strides: object,
    requires_grad: object,
    hooks: object,
    dtype: object,
    metadata: object = None,
) -> Tensor:
    if not isinstance(storage, Storage):
        raise Malformed(f"{shown(storage)} as the storage of a tensor", "a storage")
    if not isinstance(dtype, Global) or dtype.name not in _TORCH_DTYPES:
        raise Malformed(f"{shown(dtype)} as an element type", "a torch.dtype")
    return _tensor(storage, _TORCH_DTYPES[dtype.name], offset, shape, strides)


def _tensor(storage: Storage, dtype: np.dtype, offset: object, shape: object, strides: object) -> Tensor:
    sizes = checked_shape(shape)
    if not isinstance(strides, tuple | list) or not all(type(step) is int and 0 <= step < 1 << 48 for step in strides):
        raise Malformed(f"the strides {shown(strides)}", "non-negative integers")
    if len(strides) != len(sizes) or type(offset) is not int or not 0 <= offset < 1 << 48:
        raise Malformed(
            f"the offset {shown(offset)} and {len(strides)} strides for {len(sizes)} dimensions", "a tensor"
        )
    return Tensor(storage, dtype, offset, sizes, tuple(strides))


def _rebuild_parameter(data: object, requires_grad: object, hooks: object, state: object = None) -> Tensor:
    if not isinstance(data, Tensor):
        raise Malformed(f"{shown(data)} as the data of a parameter", "a tensor")
    return data


def _size(sizes: object = ()) -> list[int]:
    return list(checked_shape(sizes))


def _device(kind: object, index: object = None) -> str:
    if not isinstance(kind, str) or not (index is None or type(index) is int):
        raise Malformed(f"{shown(kind)} as a device", "a device")
    return kind if index is None else f"{kind}:{index}"


def _ordered_dict(items: object = ()) -> dict:
    if not isinstance(items, tuple | list):
        raise Malformed(f"{shown(items)} as a dict's items", "pairs")
    made: dict = {}
    for pair in items:
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str | int):
            raise Malformed(f"{shown(pair)} as a dict's item", "a name and a value")
        made[pair[0]] = pair[1]
    return made


# ------------------------------------------------------------------------------------------------------ numpy
class NumpyDtype:
    """numpy.dtype: created with type and size; BUILD sets its byte order."""

    def __init__(self, typestr: object, align: object = 0, copy: object = 0) -> None:
        self.dtype = numpy_dtype(typestr)

    def build(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise Malformed("a structured element type", "plain numbers")
        order = state[1]
        if not isinstance(order, str) or order not in ("<", ">", "|", "="):
            raise Malformed(f"the byte order {shown(order)}", "'<', '>' or '|'")
        self.dtype = self.dtype.newbyteorder(order)  # type: ignore[arg-type]


class NumpyArray:
    """numpy.ndarray: created empty, filled by BUILD."""

    array: np.ndarray | None = None

    def build(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise Malformed(f"{shown(state)} as the contents of an array", "version, shape, type, order and bytes")
        _, shape, dtype, fortran, data = state
        if isinstance(data, list):
            raise Malformed("an array of Python objects, which only a pickle can hold", "numbers")
        if not isinstance(fortran, int):
            raise Malformed(f"{shown(fortran)} as an array's order", "a boolean")
        self.array = array_of(_raw(data), _dtype(dtype), shape, "F" if fortran else "C")


def _dtype(value: object) -> np.dtype:
    if not isinstance(value, NumpyDtype):
        raise Malformed(f"{shown(value)} as an element type", "a numpy.dtype")
    return value.dtype


def _raw(data: object) -> bytes:
    return data if isinstance(data, bytes) else _encode(data, "latin1")


def _reconstruct(kind: object, shape: object, code: object) -> NumpyArray:
    if not isinstance(kind, Global) or kind.name != "numpy.ndarray":
        raise Malformed(f"{shown(kind)} as an array's class", "numpy.ndarray")
    return NumpyArray()


def _scalar(dtype: object, data: object) -> np.ndarray:
    return array_of(_raw(data), _dtype(dtype), ())


def _frombuffer(data: object, dtype: object, shape: object, order: object) -> np.ndarray:
    if not isinstance(order, str) or order not in ("C", "F"):
        raise Malformed(f"the order {shown(order)}", "'C' or 'F'")
    return array_of(_raw(data), _dtype(dtype), shape, order)


def _encode(text: object, encoding: object) -> bytes:
    """Bytes that protocols up to 2 store as text of the characters 0 to 255."""
    if isinstance(encoding, str) and encoding.lower() in ("latin1", "latin-1"):
        try:
            if isinstance(text, str):
                return text.encode("latin-1")
            if isinstance(text, LongText) and text.encoding == "latin-1":
                return text.data
            if isinstance(text, LongText) and text.encoding == "utf-8":
                return _latin1_of_utf8(text.data)
        except UnicodeError:
            raise Malformed("characters beyond 255 in text that stands for bytes", "bytes") from None
    raise Malformed(f"{shown(text)} in the encoding {shown(encoding)} as bytes", "latin-1 text")


def _latin1_of_utf8(data: bytes) -> bytes:
    # One character beyond 255 would make Python take up to four bytes for every character, so decode in pieces.
    made, start = bytearray(), 0
    while start < len(data):
        end = min(start + CHUNK, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80 and end > start + 1:
            end -= 1  # do not split a character
        made += data[start:end].decode("utf-8").encode("latin-1")
        start = end
    return bytes(made)


def _no_bytes() -> bytes:
    return b""


def _default_dict(factory: object = None) -> dict:
    return {}


def _getattr(owner: object, name: object) -> Foreign:
    # Python 3.11 pickles the members of an enum in this way.
    return _skipped("builtins.getattr", owner)


def _reconstructor(cls: object, base: object, state: object) -> Foreign:
    # Protocols 0 and 1 pickle all objects in this way.
    return Made(_skipped("copyreg._reconstructor", cls).name)


def _skipped(called: str, cls: object) -> Foreign:
    """What stands for an object of a class that is skipped."""
    if not isinstance(cls, Foreign):
        raise Malformed(f"a file that asks for {called} of {shown(cls)}", "tensors only")
    return cls


BUILT = (NumpyDtype, NumpyArray)
"""The stand-ins whose contents come from BUILD."""

_CALLS: dict[str, Callable] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor_v2,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "torch.Size": _size,
    "torch.device": _device,
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _default_dict,
    "builtins.getattr": _getattr,
    "copyreg._reconstructor": _reconstructor,
    "copy_reg._reconstructor": _reconstructor,
    "numpy.dtype": NumpyDtype,
    "_codecs.encode": _encode,
    # Protocols up to 2 write b'' as a call of bytes; an argument would make it allocate, so it takes none.
    "builtins.bytes": _no_bytes,
    **{f"numpy.{core}.multiarray._reconstruct": _reconstruct for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _frombuffer for core in ("core", "_core")},
}
ADMITTED: dict[str, Callable | None] = {
    **_CALLS,
    **dict.fromkeys(("numpy.ndarray", *STORAGE_TYPES, *_TORCH_DTYPES)),
}
"""Allowed globals; None for those that are only passed as arguments and cannot be called."""

"""`read_checkpoint`: from a published weight file, which may be hostile, to a tree of numpy arrays.

The format is recognised by the first bytes, never by the suffix: published files are often misnamed (.pkl for zip
files of tensors, .tar for pickles).
"""

from __future__ import annotations

import os
import re
import stat
from typing import BinaryIO

from smoothswap_jax.weights.readers import (
    flax_msgpack,
    numpy_files,
    onnx_files,
    safetensors_files,
    torch_files,
    zip_files,
)
from smoothswap_jax.weights.readers.byte_range import Budget, ByteRange
from smoothswap_jax.weights.readers.errors import Malformed, WeightFileError, naming, shown
from smoothswap_jax.weights.readers.tree import Tree

MAX_BYTES = 4 << 30
"""Default limit on the memory that a file's contents may take. The largest network here takes 1.3 GB."""

WANTED = "a PyTorch, .npz, .safetensors, Flax msgpack or ONNX file"

_REFUSED = [
    (b"\x89HDF\r\n\x1a\n", "HDF5 (a Keras .h5)", "convert it to .npz or .safetensors where Keras is installed"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"Rar!", "a rar archive", "unpack it first"),
    (b"GGUF", "GGUF", "the original weights"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file", "fetch the file itself with `git lfs pull`"),
    (b"<", "a web page or XML", "download the file itself; this is likely an error page"),
]
# Protocols 0 and 1 have no magic bytes. They start with a container, or with a global: module line, name line.
_OLD_PICKLE = re.compile(rb"\((?:[dl]p|lp|d\.|I|S|V|c|i)|[}\]](?:q|p|\.|\()|c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n")


def read_checkpoint(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Tree:
    """Reads a weight file: nested dicts (and lists) with numpy arrays and plain values at the leaves.

    Formats: PyTorch's zip and legacy files and pickles of numpy arrays, without running the code in them; .npz and
    .npy; .safetensors; Flax msgpack; the initialisers of an ONNX model. Tuples become lists, torch devices and dtypes
    become strings, tied weights one array, whole pickled modules their tensors by the names of the state dict, objects
    of other classes `Skipped`. bfloat16 and float8 are those of ml_dtypes. Arrays have the machine's byte order and may
    be read-only.

    `max_bytes` limits the memory of what is read; it is never more than 64 MiB + 16 x the file's size.

    Raises:
      WeightFileError: the file is missing, a folder or device, empty, of no known format, truncated or damaged, larger
        than the limits, asks for something that runs code, or is nothing but an object that needs code (TorchScript,
        NVIDIA's StyleGAN pickles).
    """
    name = os.fsdecode(path)
    with naming(name):
        try:
            with _opened(name) as file:
                size = os.fstat(file.fileno()).st_size
                return _read(ByteRange(file, 0, size, Budget(size, max_bytes)), name)
        except OSError as error:
            raise Malformed(f"a file that cannot be read ({error.strerror or error})", WANTED) from error
        except MemoryError:
            raise Malformed("contents that do not fit into memory", "a machine with more memory") from None
        except (Malformed, WeightFileError):
            raise
        except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
            # No file is known to get here. One that does is damaged, and shows a check that is missing.
            raise Malformed(f"damage of an unknown kind ({type(error).__name__}: {error})", WANTED) from error


def _opened(name: str) -> BinaryIO:
    """Opens a regular file; a pipe or device could block or never end."""
    if not os.path.exists(name):
        raise Malformed("no such file", WANTED)
    mode = os.stat(name).st_mode
    if stat.S_ISDIR(mode):
        raise Malformed("a folder", WANTED)
    if not stat.S_ISREG(mode):
        raise Malformed("a pipe, socket or device", WANTED)
    return open(name, "rb")


def _read(source: ByteRange, name: str) -> Tree:
    if not source.size:
        raise Malformed("an empty file (0 bytes)", WANTED)
    head = source.part(0, min(source.size, 512)).read(min(source.size, 512))
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _read_zip(source, name)
    if head.startswith(numpy_files.MAGIC):
        return numpy_files.read_npy(source, name)
    if safetensors_files.looks_like(head):
        return safetensors_files.read_safetensors(source, name)
    for magic, kind, advice in _REFUSED:
        if head.startswith(magic):
            raise Malformed(f"{kind}: it starts with {shown(head[:8])}", f"{WANTED}; {advice}")
    if head[257:262] == b"ustar":
        raise Malformed("a tar archive (as PyTorch before 0.2 wrote)", f"{WANTED}; save it again with a later PyTorch")
    if head[:1] == b"\x80" and torch_files.LEGACY_MAGIC in head[:32]:
        return torch_files.read_torch_legacy(source, name)
    if (head[:1] == b"\x80" and head[1:2] <= b"\x05") or _OLD_PICKLE.match(head):
        return torch_files.read_plain_pickle(source, name)
    if flax_msgpack.looks_like(head):
        return flax_msgpack.read_msgpack(source, name)
    if onnx_files.looks_like(head):
        return onnx_files.read_onnx(source, name)
    raise Malformed(f"{source.size:,} bytes of no known format; they start with {shown(head[:8])}", WANTED)


def _read_zip(source: ByteRange, name: str) -> Tree:
    found = zip_files.members(source)
    if torch_files.is_torch_zip(found):
        return torch_files.read_torch_zip(source, found, name)
    if found and all(member.endswith(".npy") for member in found):
        return numpy_files.read_npz(source, found, name)
    some = ", ".join(map(shown, list(found)[:5]))
    raise Malformed(f"a zip archive of {some or 'nothing'}", f"{WANTED}; unpack it first if the weights are inside")

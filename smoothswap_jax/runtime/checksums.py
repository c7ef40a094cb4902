"""Checksums of finished folders, whether the files on disk are still those that were written, and of arrays."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from smoothswap_jax.runtime import paths
from smoothswap_jax.runtime.files import sha256_of, write_atomically
from smoothswap_jax.runtime.json_files import JsonError, read_json_object


def seal(folder: Path, record: Path) -> None:
    """Writes sizes and SHA-256 of all files in the folders of `folder` to `record`. Files of `folder` itself do not
    count: Orbax writes notes there when it gives the folder its name. Of files in a bucket only the sizes: it checks
    what it is sent and what it sends, and all would be read again for it."""
    inside = [path for part in sorted(folder.iterdir()) if part.is_dir() for path in paths.files_below(part)]
    found = {str(path.relative_to(folder)): _facts(path, hashed=not paths.in_bucket(path)) for path in inside}
    record.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(record, json.dumps(found, indent=1).encode())


def fault(folder: Path, record: Path) -> str:
    """The first difference between `folder` and its record, in words; '' where there is none."""
    try:
        wanted = read_json_object(record)
    except JsonError as error:
        return f"its checksums cannot be read: {error}"
    for name, facts in wanted.items():
        path = folder / name
        if not isinstance(facts, dict) or set(facts) not in ({"bytes", "sha256"}, {"bytes"}):
            return f"{record}: {name[:200]} is {str(facts)[:100]}, wanted its bytes and sha256"
        if not paths.resolved(path).is_relative_to(paths.resolved(folder)) or not path.is_file():
            return f"{path}: found no such file"
        if (size := paths.size_of(path)) != facts["bytes"]:
            return f"{path}: found {size} bytes, wanted {facts['bytes']}"
        if _facts(path, hashed="sha256" in facts) != facts:
            return f"{path}: its SHA-256 is not the one that was written"
    return ""


def _facts(path: Path, hashed: bool) -> dict[str, int | str]:
    facts: dict[str, int | str] = {"bytes": paths.size_of(path)}
    return facts | {"sha256": sha256_of(path)} if hashed else facts


def arrays_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of arrays by name, as float32."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name], np.float32)
        digest.update(f"{name}{value.shape}".encode() + value.tobytes())
    return digest.hexdigest()

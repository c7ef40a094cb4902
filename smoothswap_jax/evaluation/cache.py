"""A cache of arrays, keyed by a hash of everything they were computed from.

One SQLite file. A row appears whole or not at all, so an evaluation that was killed resumes where it stopped, and one
that is repeated with another judge pays for that judge only.
"""

import hashlib
import io
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

CACHE = "cache.sqlite"  # the file of an evaluation's cache, in its folder


def open_cache(path: str | Path) -> sqlite3.Connection:
    """The cache in the file `path`, which is made if need be. Raises ValueError for a file that is not such a cache."""
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")  # a lost row is computed again
        connection.execute("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL)")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise ValueError(f"{path}: found no cache of an evaluation ({error}); delete it to compute anew") from error
    return connection


def get(cache: sqlite3.Connection, keys: Sequence[str]) -> list[np.ndarray | None]:
    """The arrays of the keys; None for a key that is not cached."""
    rows = (cache.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone() for key in keys)
    return [None if row is None else np.load(io.BytesIO(row[0]), allow_pickle=False) for row in rows]


def put(cache: sqlite3.Connection, items: Iterable[tuple[str, np.ndarray]]) -> None:
    """Stores arrays under their keys, all of them or none. Raises OSError where the file cannot be written."""
    try:
        with cache:
            cache.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?)", ((k, _bytes(v)) for k, v in items))
    except sqlite3.OperationalError as error:  # a full disk, or one that became read-only
        path = cache.execute("PRAGMA database_list").fetchone()[2]
        raise OSError(f"{path}: cannot be written ({error}); make room, and the same command goes on") from error


def key_of(*parts: str | bytes | np.ndarray) -> str:
    """SHA-256 of texts, bytes and arrays, each with its type, shape and length, so that no two lists share a key."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            head, data = f"{part.dtype.str}{part.shape}", np.ascontiguousarray(part).tobytes()
        else:
            head, data = type(part).__name__, part.encode() if isinstance(part, str) else part
        digest.update(f"{head}:{len(data)}:".encode() + data)
    return digest.hexdigest()


def _bytes(value: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, value, allow_pickle=False)
    return file.getvalue()

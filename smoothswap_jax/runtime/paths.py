"""Paths of the disk and of buckets (gs://): a run directory may lie in either.

In a bucket there are no folders, locks, links or renames, and an object is written as a whole or not at all. What
differs for that reason is here and in `files`; everything else takes a path and asks for pathlib's methods.
"""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from etils import epath

SCHEME = "gs://"
WANTED = ("tensorflow", "google.cloud.storage")
"""By which etils and Orbax reach buckets."""


def in_bucket(path: str | os.PathLike[str]) -> bool:
    """Whether a path is of a bucket."""
    return os.fspath(path).startswith(SCHEME)


def to_path(given: str | os.PathLike[str]) -> Path:
    """The path that somebody named: pathlib's for the disk, etils' for a bucket, which has the same methods but those
    that buckets cannot have.

    Raises ValueError for a bucket without the packages that reach it.
    """
    if not in_bucket(given):
        return Path(given)
    if missing := [name for name in WANTED if not _is_installed(name)]:
        raise ValueError(
            f"{os.fspath(given)}: buckets are reached by {' and '.join(WANTED)}, and {missing[0]} is not installed; "
            'wanted pip install "smoothswap-jax[bucket]"'
        )
    return cast(Path, epath.Path(given))


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


def on_disk(given: str | os.PathLike[str], what: str) -> Path:
    """A path that has to be of the disk. what: that lies there, for the error. Raises ValueError for a bucket."""
    if in_bucket(given):
        raise ValueError(f"{os.fspath(given)}: {what} cannot lie in a bucket; wanted a folder of the disk")
    return Path(given)


def resolved(path: Path) -> Path:
    """An absolute path without links; those of buckets are."""
    return path if in_bucket(path) else path.resolve()


def size_of(path: Path) -> int:
    """Bytes of a file."""
    found: Any = path.stat()
    return found.length if in_bucket(path) else found.st_size


def entries_of(folder: Path) -> Iterator[Path]:
    """What lies in a folder. Raises OSError where there is none: for buckets, `iterdir` raises an error of TensorFlow
    that is no OSError."""
    if in_bucket(folder) and not folder.is_dir():
        raise FileNotFoundError(f"{folder}: found no such folder")
    yield from folder.iterdir()


def files_below(folder: Path) -> Iterator[Path]:
    """All files in a folder and its folders, sorted by name in each. In a bucket this costs a request for each."""
    for path in sorted(entries_of(folder)):
        if path.is_dir():
            yield from files_below(path)
        else:
            yield path

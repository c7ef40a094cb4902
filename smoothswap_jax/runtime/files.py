"""Files and folders that are written completely or not at all, and folders locked for one process."""

import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etils import epath

log = logging.getLogger(__name__)
LOCK = "lock"
"""The file of a folder by which one process holds it."""


def write_atomically(path: str | Path, data: bytes) -> None:
    """Writes under a temporary name in the same folder, then renames: readers see the old file or the new one.

    `gs://` paths are written directly: an object in a bucket appears once it is complete.
    """
    if "://" in str(path):
        epath.Path(path).write_bytes(data)
        return
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        # mkstemp makes files private; a result is as readable as any other new file.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_full(path: str | Path) -> None:
    """Raises FileExistsError when `path` exists, unless it is an empty folder."""
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path} exists already; choose a new folder")


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """A folder to fill under a temporary name beside `path`; it gets its name when the block ends without error.

    Raises FileExistsError when `path` exists, unless it is an empty folder.
    """
    path = Path(path)
    refuse_full(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        for made in (temporary, *temporary.rglob("*")):  # mkdtemp and safetensors make what only the owner can read
            made.chmod((0o777 if made.is_dir() else 0o666) & ~umask)
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Locks `folder` for this process while the block runs; the system releases the lock when the process dies.

    Raises ValueError if another process holds it. File systems without locks only get a warning.
    """
    with open(folder / LOCK, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{folder}: another process is using it; wait until it ends, or choose another folder"
            ) from error
        except OSError as error:
            log.warning("%s: cannot be locked (%s); see that no two runs share it", folder, error)
        yield

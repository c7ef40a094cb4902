"""Files and folders that are written completely or not at all, and folders locked for one process.

Where a result goes is looked at before the work (`check_new_file`, `check_new_folder`, `check_place`), so a mistake
costs seconds, and what is there already is replaced only where `overwrite` says so.
"""

import atexit
import datetime
import errno
import fcntl
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from smoothswap_jax.runtime.paths import files_below, in_bucket, to_path

log = logging.getLogger(__name__)
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
LOCK = "lock"
"""The file of a folder by which one process holds it."""


class InUse(ValueError):
    """Another process holds a folder."""


def write_atomically(path: str | Path, data: bytes) -> None:
    """Writes under a temporary name in the same folder, then renames: readers see the old file or the new one.

    `gs://` paths are written directly: an object in a bucket appears once it is complete.
    """
    path = to_path(path)
    if in_bucket(path):
        path.write_bytes(data)
        return
    with named_errors(path):
        _write_and_rename(path, data)


def _write_and_rename(path: Path, data: bytes) -> None:
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


@contextmanager
def named_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of the system name `path`: those of a write, as on a full disk, name no file, others a temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def sha256_of(path: str | Path) -> str:
    """SHA-256 of the bytes of a file on the disk, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_place(path: str | Path, needed: int = 0) -> None:
    """Raises OSError unless a file or folder can be made at `path`: the nearest folder above it that exists must be one
    that can be written to, with `needed` bytes free. `gs://` paths are not looked at, and others that look like
    addresses are refused: `Path("gs://bucket/out")` is gs:/bucket/out."""
    if in_bucket(path):
        return
    if ADDRESS.match(os.fspath(path)):
        raise OSError(
            f"{path}: looks like an address; wanted a place on the disk (what can lie in a bucket is named "
            "gs://BUCKET/NAME)"
        )
    above = next(folder for folder in Path(path).absolute().parents if os.path.lexists(folder))
    if Path(path).is_dir():
        above = Path(path)
    if not above.is_dir():
        raise NotADirectoryError(f"{path}: {above} is a file; wanted a folder")
    try:
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        raise OSError(
            f"{path}: {above} cannot be written to ({os.strerror(error.errno or 0)}); choose another place"
        ) from error
    if needed and (free := shutil.disk_usage(above).free) < needed:
        raise OSError(f"{path}: {above} has {in_words(free)} free, and {in_words(needed)} are needed; make room first")


def check_new_file(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Raises OSError unless the file `path` can be written: it is no folder, lies in one that can be written to, and
    does not exist unless it may be overwritten."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; wanted the name of a file")
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(f"{path}: exists already; wanted another name, or --overwrite to replace it")
    check_place(path)


def check_new_folder(path: str | Path, overwrite: bool = False, marks: Sequence[str] = ()) -> None:
    """Raises OSError unless the folder `path` can be made: it does not exist, or is empty.

    overwrite: a full one is taken too if it has the files `marks`, by which its kind is known: whatever else lies in a
    folder that was named by mistake must not be lost.
    """
    path = to_path(path)
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} exists already and is a file; choose a new folder")
    if path.is_dir() and any(path.iterdir()):
        if not overwrite:
            raise FileExistsError(f"{path} exists already; choose a new folder, or give --overwrite to replace it")
        if missing := [mark for mark in marks if not (path / mark).is_file()]:
            raise FileExistsError(
                f"{path}: --overwrite replaces only a folder of the same kind, and this has no {missing[0]}; choose a "
                "new folder"
            )
    check_place(path)


def in_words(count: float) -> str:
    """Bytes as '3.2 GB'."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def os_error_in_words(error: OSError) -> str:
    """What failed, where, and what its user can do, in one line; the text of an error that was raised with one."""
    if error.errno is None or error.strerror is None:
        return str(error)
    hints = {
        errno.ENOSPC: "make room, or choose another place",
        errno.EDQUOT: "make room, or choose another place",
        errno.EACCES: "wanted a place that this user may use",
        errno.EPERM: "wanted a place that this user may use",
        errno.EROFS: "wanted a place that can be written to",
        errno.ENOENT: "look at the path",
        errno.ENOTDIR: "part of the path is a file; wanted folders",
        errno.EISDIR: "wanted a file",
        errno.EEXIST: "wanted another name",
    }
    where = " -> ".join(
        os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)
    )
    hint = hints.get(error.errno, "")
    return f"{where}{': ' if where else ''}{error.strerror}{'; ' if hint else ''}{hint}"


@contextmanager
def new_folder(path: str | Path, overwrite: bool = False, marks: Sequence[str] = ()) -> Iterator[Path]:
    """A folder to fill under a temporary name beside `path`; it gets its name when the block ends without error, and
    takes the place of an old one only then.

    A folder in a bucket is filled on the disk. It is written file by file in the order of their names, with the first
    of `marks` last, so that a folder which has it is whole; of an old one, that mark is removed first.

    Raises as `check_new_folder` does.
    """
    check_new_folder(path, overwrite, marks)
    if in_bucket(path):
        with tempfile.TemporaryDirectory() as filled:
            yield Path(filled)
            _upload(Path(filled), to_path(path), marks[:1])
        return
    path = Path(os.path.realpath(path))  # the folder behind a link, not the link, is what is replaced
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    old = temporary.with_suffix(".old")
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        for made in (temporary, *temporary.rglob("*")):  # mkdtemp and safetensors make what only the owner can read
            made.chmod((0o777 if made.is_dir() else 0o666) & ~umask)
        if path.is_dir() and any(path.iterdir()):
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
    except BaseException:
        if old.is_dir() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _upload(filled: Path, folder: Path, last: Sequence[str]) -> None:
    """Writes the files of a folder of the disk into one of a bucket, those named `last` after all others; what else
    was there is removed."""
    names = [str(path.relative_to(filled)) for path in files_below(filled)]
    old = [str(path.relative_to(folder)) for path in files_below(folder)] if folder.is_dir() else []
    for name in [name for name in last if name in old] + sorted({*old} - {*names} - {*last}):
        (folder / name).unlink(missing_ok=True)
    for name in sorted(names, key=lambda name: name in last):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((filled / name).read_bytes())


@contextmanager
def local_file(path: Path) -> Iterator[Path]:
    """Where to write a file, for what can only write to the disk: `path` itself, or a file that is written to the
    bucket when the block ends without error."""
    if not in_bucket(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / path.name
        path.write_bytes((Path(folder) / path.name).read_bytes())


@functools.cache
def fetched(folder: Path) -> Path:
    """A copy on the disk of a folder of a bucket, for what maps files into memory; it is made once, and lasts as long
    as this process."""
    copy = Path(tempfile.mkdtemp(prefix="smoothswap-bucket-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    for path in files_below(folder):
        target = copy / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return copy


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Locks `folder` for this process while the block runs; the system releases the lock when the process dies.

    Raises InUse if another process holds it. File systems without locks only get a warning. Buckets have no locks, and
    a mark that stays when a process is killed would keep the same command from going on: there, the lock file says who
    began and ended when, and whoever finds no end warns.
    """
    if in_bucket(folder):
        with _marked(folder / LOCK):
            yield
        return
    with open(folder / LOCK, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUse(
                f"{folder}: another process is using it; wait until it ends, or choose another folder"
            ) from error
        except OSError as error:
            log.warning("%s: cannot be locked (%s); see that no two runs share it", folder, error)
        yield


@contextmanager
def _marked(mark: Path) -> Iterator[None]:
    now = lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    before = mark.read_text(encoding="utf-8") if mark.exists() else ""
    if before and '"ended"' not in before:
        log.warning(
            "%s: buckets have no locks, and a process that began here was killed or still writes: %s; see that no two "
            "runs share a folder", mark.parent, before,
        )  # fmt: skip
    facts = {"host": socket.gethostname(), "process": os.getpid(), "began": now()}
    mark.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(mark, json.dumps(facts).encode())
    try:
        yield
    finally:
        write_atomically(mark, json.dumps(facts | {"ended": now()}).encode())

"""Compiled programs are kept on disk, by JAX's persistent compilation cache, so that the next process need not compile.

JAX is imported only by what needs it: the command line switches the cache on by the environment, before JAX reads it.

JAX's keys name program, options, jaxlib, and for a CPU the instructions that it has, so a home folder may be shared by
machines of several kinds. Programs are loaded as code: the folder must be the user's own.
"""

import contextlib
import glob
import logging
import os
import re
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smoothswap_jax.runtime.user_folders import NoHome, expanded, user_folder

log = logging.getLogger(__name__)
DEFAULT = "default"
LARGEST = 2**30
"""Bytes of the user's folder. JAX's own limit wants a package more, and locks and writes files whenever it reads."""
FOLDER, ENABLED = "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"
SUFFIX = "-cache"
"""Of a program's file, after its name, a dash and a hash."""
_UNREADABLE = re.compile("Error reading persistent compilation cache entry for '([^']+)'")
SMALL_TOO = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 0.0}
"""Programs that compile in less than a second are most of a short command."""


def default_folder() -> Path:
    """xla in the package's part of the user's cache folder: $XDG_CACHE_HOME, else ~/.cache. Raises NoHome."""
    return user_folder("XDG_CACHE_HOME", ".cache", FOLDER) / "xla"


def keep_programs(folder: str | os.PathLike[str] = DEFAULT) -> None:
    """Keeps the programs that this process compiles, and loads those that another kept, small ones too.

    To be called before anything is compiled. What the user has set, as JAX_COMPILATION_CACHE_DIR or by jax.config,
    takes precedence, and JAX_ENABLE_COMPILATION_CACHE=0 turns all of it off. Of a folder that cannot be used there is a
    word in the log.

    Args:
      folder: where; 'default': `default_folder()`, of which the programs that were used least recently are removed
        when it has more than 1 GiB; '': programs are not kept.
    """
    import jax

    given = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if given is not None and not _is_default(given):
        return
    place = _prepared_default() if os.fspath(folder) == DEFAULT else _given(folder)
    jax.config.update(FOLDER.lower(), None if place is None else str(place))
    if place is not None:
        replace_unreadable(place)
        for name, value in SMALL_TOO.items():
            if name not in os.environ:
                jax.config.update(name.lower(), value)


def keep_programs_of_commands() -> None:
    """`keep_programs()` for a process that has not imported JAX and may never do so, and for those that it starts."""
    if FOLDER in os.environ:
        return
    if (place := _prepared_default()) is not None:
        replace_unreadable(place)
        settings: dict[str, Any] = {FOLDER: place, **SMALL_TOO}
        for name, value in settings.items():
            os.environ.setdefault(name, str(value))


def _is_default(folder: str) -> bool:
    try:
        return folder == str(default_folder())
    except NoHome:
        return False


def _given(folder: str | os.PathLike[str]) -> Path | None:
    """None where programs are not to be kept, or cannot be."""
    try:
        return expanded(folder) if os.fspath(folder) else None
    except NoHome as error:
        log.info("compiled programs are not kept: %s", error)
        return None


def _prepared_default() -> Path | None:
    """The default folder, made and tidied; None where programs are not to be kept, or cannot be."""
    if os.environ.get(ENABLED, "1").lower() in ("0", "n", "no", "f", "false", "off"):  # as JAX reads it
        return None
    try:
        folder = default_folder()
    except NoHome as error:
        log.info("compiled programs are not kept: %s", error)
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            fault = "it is another user's"
        elif not os.access(folder, os.W_OK | os.X_OK):
            fault = "it cannot be written to"
        else:
            fault = ""
            folder.chmod(0o700)  # what JAX itself made is as open as other folders
            trim(folder, LARGEST)
    except OSError as error:
        fault = error.strerror or str(error)
    if fault:
        log.info("compiled programs are not kept in %s: %s; %s=FOLDER keeps them elsewhere", folder, fault, FOLDER)
        return None
    return folder


def trim(folder: Path, largest: int) -> None:
    """Removes the files in `folder` that were used least recently until they have no more than `largest` bytes, and
    empty programs, which a full disk leaves. Files that another process removes meanwhile, or is reading, do no harm.
    """
    files = sorted(_files(folder))
    total = sum(size for _, size, _ in files)
    for _, size, path in files:
        if total > largest or (not size and path.endswith(SUFFIX)):
            Path(path).unlink(missing_ok=True)
            total -= size


def replace_unreadable(folder: Path) -> None:
    """From now on JAX's warning that it could not read a program has the program removed, with others of its name.

    JAX warns, compiles, and keeps what it compiled unless there is a file of that name. So a program that was cut off,
    as by a kill or a full disk, would be compiled in each process, and never replaced.
    """
    show = warnings.showwarning

    def remove_or_show(message, category, filename, lineno, file=None, line=None):
        if (found := _UNREADABLE.match(str(message))) is None:
            show(message, category, filename, lineno, file, line)
            return
        log.info("%s; it is compiled anew", " ".join(str(message).split()))
        with contextlib.suppress(OSError):
            for path in folder.glob(f"{glob.escape(found[1])}-*{SUFFIX}"):
                path.unlink(missing_ok=True)

    warnings.showwarning = remove_or_show


def _files(folder: Path) -> Iterator[tuple[float, int, str]]:
    """(when it was last used, bytes, path) of each."""
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(found.st_mode):
                yield max(found.st_atime, found.st_mtime), found.st_size, entry.path

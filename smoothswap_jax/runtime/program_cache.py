"""Compiled programs are kept on disk, by JAX's persistent compilation cache, so that the next process need not compile.

JAX is imported only by what needs it: the command line switches the cache on by the environment, before JAX reads it.

JAX's keys name program, options, jaxlib, and for a CPU the instructions that it has, so a home folder may be shared by
machines of several kinds. Programs are loaded as code: the folder must be the user's own.
"""

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
DEFAULT = "default"
LARGEST = 2**30
"""Bytes of the user's folder. JAX's own limit wants a package more, and locks and writes files whenever it reads."""
FOLDER, ENABLED = "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"
SMALL_TOO = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 0.0}
"""Programs that compile in less than a second are most of a short command."""


def default_folder() -> Path:
    """xla in the package's part of the user's cache folder: $XDG_CACHE_HOME, else ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smoothswap-jax" / "xla"


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
    if given not in (None, str(default_folder())):
        return
    if os.fspath(folder) == DEFAULT:
        place = _prepared_default()
    else:
        place = Path(folder).expanduser() if os.fspath(folder) else None
    jax.config.update(FOLDER.lower(), None if place is None else str(place))
    if place is not None:
        for name, value in SMALL_TOO.items():
            if name not in os.environ:
                jax.config.update(name.lower(), value)


def keep_programs_of_commands() -> None:
    """`keep_programs()` for a process that has not imported JAX and may never do so, and for those that it starts."""
    if FOLDER in os.environ:
        return
    if (place := _prepared_default()) is not None:
        settings: dict[str, Any] = {FOLDER: place, **SMALL_TOO}
        for name, value in settings.items():
            os.environ.setdefault(name, str(value))


def _prepared_default() -> Path | None:
    """The default folder, made and tidied; None where programs are not to be kept, or cannot be."""
    if os.environ.get(ENABLED, "1").lower() in ("0", "n", "no", "f", "false", "off"):  # as JAX reads it
        return None
    folder = default_folder()
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
    """Removes the files in `folder` that were used least recently until they have no more than `largest` bytes. Files
    that another process removes meanwhile, or is reading, do no harm."""
    files = sorted(_files(folder))
    total = sum(size for _, size, _ in files)
    for _, size, path in files:
        if total <= largest:
            return
        Path(path).unlink(missing_ok=True)
        total -= size


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

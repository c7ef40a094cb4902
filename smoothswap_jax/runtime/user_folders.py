"""Where the user's own things lie, caches and settings. Not everybody has a home folder: in a container the system may
know nothing of the user but a number."""

import os
from pathlib import Path

PACKAGE = "smoothswap-jax"
"""The folder's name among those of others."""


class NoHome(ValueError):
    """A home folder is wanted, and none is known; the text says what to give instead."""


def user_folder(base: str, usual: str, instead: str) -> Path:
    """The package's folder in the one that the environment variable `base` names, else in `usual` of the home folder.
    Raises NoHome, which tells the user to set the variable `instead`."""
    if given := os.environ.get(base):
        return Path(given) / PACKAGE
    return expanded(f"~/{usual}/{PACKAGE}", f"the environment variable {instead}=FOLDER")


def expanded(path: str | os.PathLike[str], wanted: str = "the path in full") -> Path:
    """The path, with the home folder in place of ~ or ~user. Raises NoHome, which says what is `wanted`."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise NoHome(f"{os.fspath(path)}: found no home folder of this user; wanted {wanted}") from error

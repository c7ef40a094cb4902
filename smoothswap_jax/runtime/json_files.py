"""JSON files that somebody else may have written: read with limits, and errors that name the file."""

import json
from pathlib import Path
from typing import Any

from smoothswap_jax.runtime.paths import to_path

MAX_BYTES = 16 << 20
"""Of a file: Python's objects take up to twenty times as much memory. Files of ours have at most a few megabytes."""
MAX_DEPTH = 64
"""Of lists and objects in each other, so that nothing that walks through a tree meets Python's limit of recursion."""


class JsonError(ValueError):
    """A file is missing or no JSON within the limits; the text names it, what was found and what is wanted."""


def read_json(path: str | Path) -> Any:
    """The value in a JSON file of at most `MAX_BYTES` and `MAX_DEPTH`. Raises JsonError."""
    path = to_path(path)
    if not path.is_file():  # a pipe or device could block or never end
        raise JsonError(f"{path}: found no such file")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise JsonError(f"{path}: found more than {MAX_BYTES:,} bytes, wanted a JSON file of at most so many")
        value = json.loads(data.decode("utf-8"))
    except RecursionError:
        raise JsonError(f"{path}: {_too_deep()}") from None
    except JsonError:
        raise
    except ValueError as error:  # not UTF-8, not JSON, or an integer of thousands of digits
        raise JsonError(f"{path}: not a JSON file ({str(error)[:200]})") from error
    except OSError as error:
        raise JsonError(f"{path}: cannot be read ({error.strerror or error})") from error
    if _deeper(value, MAX_DEPTH):
        raise JsonError(f"{path}: {_too_deep()}")
    return value


def read_json_object(path: str | Path) -> dict[str, Any]:
    """As `read_json`, where the file has to hold an object."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise JsonError(f"{path}: found a JSON {type(value).__name__}, wanted an object")
    return value


def _too_deep() -> str:
    return f"found lists or objects in each other more than {MAX_DEPTH} deep, wanted fewer"


def _deeper(value: Any, depth: int) -> bool:
    """Whether containers are nested more than `depth` deep; without recursion."""
    level = [value]
    for _ in range(depth + 1):
        level = [
            item
            for container in level
            if isinstance(container, dict | list)
            for item in (container.values() if isinstance(container, dict) else container)
        ]
    return bool(level)

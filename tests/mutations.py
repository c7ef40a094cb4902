"""Seeded mutations of files that somebody else may have written, and what loading them may cost.

To see every outcome: `python -m pytest tests/inference/test_hostile_folders.py -m slow -s`.
"""

import json
import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SECONDS, MEBIBYTES = 10, 1024
"""What loading one folder may take; seconds of all processors together, which other load does not change."""
OF_JSON = ("type", "sign", "size", "missing", "extra", "nested", "nan", "long", "many", "deep")
OF_FILES = ("truncated", "flipped", "swapped", "empty", "removed", "grown")
TYPES: tuple[Any, ...] = (None, True, "16", 1.5, [], {}, [1, "a"], {"a": 1}, 7, "")
SIZES: tuple[Any, ...] = (10**5, 10**9, 2**31, 10**30, 1e300, [10**7], [1] * 1000, 4096)
DEEP = 100_000
DEPTHS = ("[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP, "[" * 60 + "]" * 60)
PLACE = '"a place for something deep"'


class Mutation(NamedTuple):
    """A folder with one thing changed, and what that is."""

    folder: Path
    kind: str
    about: str


def mutations(
    source: Path, work: Path, files: list[str], count: int, seed: int, seal: Callable[[Path], None]
) -> Iterator[Mutation]:
    """Copies of `source` below `work`, one at a time, of every kind in turn.

    files: what is changed, as patterns. seal: rewrites checksums, so that they do not tell; one change in four of
    a whole file is left to them.
    """
    rng = np.random.default_rng(seed)
    kinds = [*OF_JSON, *OF_FILES]
    for number in range(count):
        kind = kinds[number % len(kinds)]
        folder = work / str(number)
        shutil.copytree(source, folder, symlinks=True)
        found = sorted(path for pattern in files for path in folder.glob(pattern) if path.is_file())
        if kind in OF_JSON:
            found = [path for path in found if _is_json(path)]
        path = found[rng.integers(len(found))]
        about = _changed_json(path, kind, rng) if kind in OF_JSON else _changed_file(path, found, kind, rng)
        if kind in OF_JSON or rng.integers(4):
            seal(folder)
        yield Mutation(folder, kind, f"{path.relative_to(folder)}: {about}")
        shutil.rmtree(folder)


def outcomes(
    source: Path, work: Path, files: list[str], count: int, seed: int, seal: Callable, load: Callable[[Path], Any]
) -> Counter:
    """Loads `count` mutations of `source`; returns how many of each kind were loaded and refused.

    Fails where one raises what is no user's mistake, says more than a few lines, or takes too long or too much memory.
    """
    found: Counter = Counter()
    for mutation in mutations(source, work, files, count, seed, seal):
        start, memory = time.process_time(), peak()
        word, text = "loaded", ""
        try:
            load(mutation.folder)
        except (ValueError, OSError) as error:  # what the command line says in one line
            word, text = "refused", " ".join(str(error).split())
        seconds, more = time.process_time() - start, peak() - memory
        print(f"{mutation.kind:10} {mutation.about[:90]:90} {word} {seconds:.2f} s, {more:.0f} MiB: {text[:200]}")
        assert seconds < SECONDS and more < MEBIBYTES, (mutation, seconds, more)
        assert word == "loaded" or 10 < len(text) < 8000, (mutation, text)
        found[mutation.kind, word] += 1
    return found


def peak() -> float:
    """The most memory that this process had so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except ValueError:
        return False


# --- JSON -----------------------------------------------------------------------------------------------------------
def _changed_json(path: Path, kind: str, rng: np.random.Generator) -> str:
    """Changes one value in the file; returns what was done."""
    value = json.loads(path.read_bytes())
    numbers = lambda item: isinstance(item, int | float) and not isinstance(item, bool)
    places = list(_places(value))
    if kind in ("sign", "size", "nan") and any(numbers(inside[key]) for inside, key, _ in places):
        places = [place for place in places if numbers(place[0][place[1]])]
    inside, key, name = places[rng.integers(len(places))]
    old = inside[key]
    choose = lambda choices: choices[rng.integers(len(choices))]
    if kind == "missing":
        del inside[key]
    elif kind == "extra" and isinstance(inside, dict):
        inside[choose(("hidden", "__class__", "x" * 300, "a/b", ""))] = old
    elif kind == "many":
        inside[key] = {f"field{i}": i for i in range(20_000)}
    else:
        inside[key] = {
            "type": lambda: choose([one for one in TYPES if type(one) is not type(old)]),
            "sign": lambda: choose((-1, 0, -(10**9), -0.5)),
            "size": lambda: choose(SIZES),
            "extra": lambda: [old, old],
            "nested": lambda: choose(([old], {"value": old}, [[[[old]]]])),
            "nan": lambda: choose((float("nan"), float("inf"), -float("inf"))),
            "long": lambda: "x" * 1_000_000,
            "deep": lambda: json.loads(PLACE),
        }[kind]()
    text = json.dumps(value)
    if kind == "deep":
        text = text.replace(PLACE, choose(DEPTHS))
    path.write_text(text, encoding="utf-8")
    new = inside.get(key, "") if isinstance(inside, dict) and kind not in ("deep", "many") else ""
    return f"{name} {kind} {str(new)[:40]}"


def _places(value: Any, name: str = "") -> Iterator[tuple[Any, Any, str]]:
    """(container, key, dotted name) of everything in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key, f"{name}.{key}"[-60:]
        yield from _places(item, f"{name}.{key}")


# --- whole files ----------------------------------------------------------------------------------------------------
def _changed_file(path: Path, others: list[Path], kind: str, rng: np.random.Generator) -> str:
    data = bytearray(path.read_bytes())
    if kind == "swapped":
        other = others[rng.integers(len(others))]
        path.write_bytes(other.read_bytes())
        other.write_bytes(data)
        return f"swapped with {other.name}"
    if kind == "removed":
        path.unlink()
        return "removed"
    place = int(rng.integers(max(1, len(data))))
    if kind == "truncated":
        data = data[:place]
    elif kind == "flipped" and data:
        data[place] ^= 1 << int(rng.integers(8))
    elif kind == "empty":
        data = bytearray()
    else:
        data += bytes(rng.integers(0, 256, 1000, np.uint8))
    path.write_bytes(data)
    return f"{kind} at {place}"

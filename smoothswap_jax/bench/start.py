"""How long `smoothswap swap` of one photo takes, from the shell's point of view: `smoothswap bench --what=start`.

The command is run as a process of its own, with nothing kept of earlier compilations (cold) and again (warm). Where its
time goes is told by another process, which does the same through the Python functions:
`python -m smoothswap_jax.bench.start REQUEST`.
"""

import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROUNDS = 3
COUNTED = {"loaded": "hits", "compiled": "misses"}
Times = tuple[float, float]
"""Seconds, and seconds of processors."""
SIZE = 512
"""Of rendered photos, pixels."""
KINDS = ("cold", "warm")
STAGES = ("interpreter and imports", "loading", "detection", "programs", "networks", "files")
"""Each until the next, but for: programs, what the networks' first calls take longer than later ones, that is tracing,
and compiling or reading from the cache; files, reading, pasting, signing and writing."""


def bench_start(checkpoint: str, photos: str | None = None, seed: int = 0) -> dict[str, Any]:
    """Seconds of the whole command and of its stages, cold and warm, medians of `ROUNDS` rounds; the processors' own
    seconds, too, of all threads together, which depend less on what else the machine does.

    photos: a folder of which the first two photos are taken; None: two rendered people of `SIZE` pixels. Raises
    ValueError for a folder with fewer, and RuntimeError when a process fails.
    """
    spent: dict[str, list[dict[str, Times]]] = {kind: [] for kind in KINDS}
    counted: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, target = _first_two(Path(photos)) if photos else _rendered(folder, seed)
        output = str(folder / "swap.png")
        swap = ["swap", f"--source={source}", f"--target={target}", f"--output={output}", f"--checkpoint={checkpoint}"]
        command = [sys.executable, "-m", "smoothswap_jax", *swap, "--overwrite"]
        _seconds(command, _environment(folder, "unmeasured"))  # makes the signing key, and warms the system's files
        for k in range(ROUNDS):
            for kind in KINDS:  # the second finds what the first kept
                whole = _seconds(command, _environment(folder, f"commands-{k}"))
                found = _stages(_environment(folder, f"stages-{k}"), source, target, output, checkpoint)
                spent[kind].append({"whole command": whole, **found["seconds"]})
                counted[kind] = found["programs"]
    result: dict[str, Any] = {"photos": photos or f"rendered, {SIZE} px, seed {seed}", "checkpoint": checkpoint}
    result |= {"rounds": ROUNDS, "CPU cores": os.cpu_count()}
    for stage in ("whole command", *STAGES):
        for place, unit in enumerate(("s", "CPU s")):
            cold, warm = (median(one[stage][place] for one in spent[kind]) for kind in KINDS)
            result[f"{stage}, {unit}"] = {"cold": cold, "warm": warm, "warm / cold": warm / cold}
    return result | {f"programs, {kind}": counted[kind] for kind in KINDS}


def _environment(folder: Path, cache: str) -> dict[str, str]:
    """Of a user who has set nothing, and whose cache and keys lie in `folder`."""
    unset = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    return {**kept, "XDG_CACHE_HOME": str(folder / cache), "SMOOTHSWAP_CONFIG": str(folder / "config")}


def _rendered(folder: Path, seed: int) -> tuple[str, str]:
    import jax

    from smoothswap_jax.data.rendered import render_bytes
    from smoothswap_jax.faces.photos import save_photo
    from smoothswap_jax.synthetic import world

    names = (str(folder / "source.png"), str(folder / "target.png"))
    faces = render_bytes(world.sample_factors(jax.random.key(seed), 2), SIZE)
    for name, face in zip(names, faces, strict=True):
        save_photo(name, face)
    return names


def _first_two(folder: Path) -> tuple[str, str]:
    from smoothswap_jax.bench.folder import photos_below

    files = photos_below(folder, "--source")
    if len(files) < 2:
        raise ValueError(f"--source: found {len(files)} photos in {folder}; wanted two")
    return str(files[0]), str(files[1])


def _seconds(command: list[str], environment: dict[str, str]) -> Times:
    before = _clocks(resource.RUSAGE_CHILDREN)
    _output(command, environment)
    return _since(before, resource.RUSAGE_CHILDREN)


def _clocks(whose: int = resource.RUSAGE_SELF) -> Times:
    used = resource.getrusage(whose)
    return time.time(), used.ru_utime + used.ru_stime


def _since(before: Times, whose: int = resource.RUSAGE_SELF) -> Times:
    return _minus(_clocks(whose), before)


def _minus(one: Times, *others: Times) -> Times:
    return one[0] - sum(other[0] for other in others), one[1] - sum(other[1] for other in others)


def _output(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


# --- the process that is looked into --------------------------------------------------------------------------------


def _stages(environment: dict[str, str], *swap: str) -> dict[str, Any]:
    """'seconds' by stage, and 'programs': how many were 'loaded' from the cache, and 'compiled'."""
    request = json.dumps({"begun": time.time(), "swap": swap})
    return json.loads(
        _output([sys.executable, "-m", "smoothswap_jax.bench.start", request], environment).splitlines()[-1]
    )


def main() -> None:
    request = json.loads(sys.argv[1])
    from smoothswap_jax.runtime.program_cache import keep_programs_of_commands

    keep_programs_of_commands()
    import jax

    from smoothswap_jax.inference.files import swap_files
    from smoothswap_jax.inference.swapper import Swapper

    source, target, output, checkpoint = request["swap"]
    seconds = {stage: (0.0, 0.0) for stage in STAGES}
    seconds["interpreter and imports"] = _since((request["begun"], 0.0))
    events: Counter[str] = Counter()
    jax.monitoring.register_event_listener(lambda event, **_: events.update([event]))
    start = _clocks()
    swapper = Swapper.load(checkpoint)
    seconds["loading"] = _since(start)
    repeated: list[Times] = []

    def add(stage: str, spent: Times) -> None:
        seconds[stage] = (seconds[stage][0] + spent[0], seconds[stage][1] + spent[1])

    def detect(*given: Any, **how: Any) -> Any:
        start = _clocks()
        found = swapper.detect(*given, **how)
        add("detection", _since(start))
        return found

    def twice(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            start = _clocks()
            found = function(*given)
            first, start = _since(start), _clocks()
            function(*given)
            repeated.append(_since(start))
            add("networks", repeated[-1])
            add("programs", _minus(first, repeated[-1]))
            return found

        return call

    embed, generate = twice(swapper.embed_aligned), twice(swapper.generate_aligned)
    looked_into = dataclasses.replace(swapper, detect=detect, embed_aligned=embed, generate_aligned=generate)
    start = _clocks()
    swap_files(looked_into, source, target, output, overwrite=True)
    inside = (seconds[stage] for stage in ("detection", "networks", "programs"))
    seconds["files"] = _minus(_since(start), *repeated, *inside)
    counts = {kind: events[f"/jax/compilation_cache/cache_{of}"] for kind, of in COUNTED.items()}
    print(json.dumps({"seconds": seconds, "programs": counts}))


if __name__ == "__main__":
    main()

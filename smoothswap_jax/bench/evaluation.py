"""Where the time of judging swaps goes: `smoothswap bench --what=evaluate`.

Swaps of rendered people, half source and half target, are judged beside both baselines by SFace and dlib: in this
process alone, and with processes for what sees one face at a time, as `smoothswap evaluate` does.
"""

import cProfile
import os
import pstats
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Int, UInt8

from smoothswap_jax.data.rendered import render_bytes
from smoothswap_jax.evaluation import search
from smoothswap_jax.evaluation.evaluate import score_methods
from smoothswap_jax.evaluation.galleries import gallery_of_arrays
from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.judges.registry import load_judge
from smoothswap_jax.evaluation.measures.pixels import PIXELS
from smoothswap_jax.evaluation.methods import Method, baselines
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.evaluation.protocols.registry import find_protocol
from smoothswap_jax.evaluation.settings import EvaluationSettings
from smoothswap_jax.runtime import workers
from smoothswap_jax.runtime.sharding import make_mesh
from smoothswap_jax.synthetic import world

SIZE = 256
FACES = 32
JUDGES = ("sface", "dlib")
WARM_UP = 16
"""Pairs that are judged first, unmeasured: programs are compiled and processes started."""


def bench_evaluation(pairs: int, seed: int = 0) -> dict[str, Any]:
    """Seconds of each stage, alone and with processes, and the judges' share of the whole. Raises ImportError where a
    judge is not installed."""
    faces = render_bytes(world.sample_factors(jax.random.key(seed), FACES), SIZE)
    judges = [load_judge(name, make_mesh()) for name in JUDGES]
    found: dict[str, Any] = {"pairs": pairs, "size": SIZE, "CPU cores": os.cpu_count(), "judges": ", ".join(JUDGES)}
    least = workers.LEAST
    for name, items in (("alone", 1 << 30), ("with processes", least)):
        workers.LEAST = items
        try:
            _stages(faces, WARM_UP, judges)
            found[name] = _stages(faces, pairs, judges)
        finally:
            workers.LEAST = least
    whole = [found[name]["whole, s"] for name in ("alone", "with processes")]
    return found | {"with processes / alone": whole[1] / whole[0]}


def _stages(faces: UInt8[np.ndarray, "n s s 3"], count: int, judges: Sequence[Judge]) -> dict[str, float]:
    rng = np.random.default_rng(0)
    source = rng.integers(0, len(faces), count)
    target = (source + rng.integers(1, len(faces), count)) % len(faces)
    names = [f"{row:03d}" for row in range(len(faces))]
    pairs = Pairs(gallery_of_arrays(faces, names, names), tuple(map(str, range(count))), source, target)

    def swaps(rows: Int[np.ndarray, "m"]) -> UInt8[np.ndarray, "m s s 3"]:
        mixed = (faces[source[rows]].astype(np.uint16) + faces[target[rows]]) // 2
        mixed[:, 0, 0, 0] = rows % 256  # a pair that comes twice would not be judged again
        mixed[:, 0, 1, 0] = rows // 256
        return mixed.astype(np.uint8)

    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory() as out:
        settings = EvaluationSettings("held-out", Path(out))
        methods = [Method("mixed", swaps), *baselines(pairs)]
        profile.runcall(score_methods, settings, find_protocol("held-out"), pairs, methods, judges)
    seconds = {f"{judge.name}, s": _seconds(profile, judge.measure) for judge in judges}
    share = sum(seconds.values())
    seconds["search, s"] = _seconds(profile, search.search)
    seconds["pixels, s"] = _seconds(profile, PIXELS.of_pixels)
    whole = _seconds(profile, score_methods)
    seconds["reading, caching, scores, s"] = whole - sum(seconds.values())
    return seconds | {"whole, s": whole, "pairs/s": count / whole, "share of the judges": share / whole}


def _seconds(profile: cProfile.Profile, function: Callable[..., Any] | None) -> float:
    """In all calls of a function, with what it calls."""
    assert function is not None
    code = function.__code__
    stats: Any = pstats.Stats(profile)
    return stats.stats[code.co_filename, code.co_firstlineno, code.co_name][3]

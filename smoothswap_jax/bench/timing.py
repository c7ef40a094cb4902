"""Timing on shared, noisy machines: what is compared takes turns in one process, and medians are reported."""

import time
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any

import jax

ROUNDS = 5


def timed(calls: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Median seconds of each call, after one call to warm up. Each is called for about `seconds` in all, split into
    `ROUNDS` rounds in which the calls take turns."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        jax.block_until_ready(call())
    for _ in range(ROUNDS):
        for name, call in calls.items():
            found[name] += _durations(call, seconds / ROUNDS)
    return {name: median(values) for name, values in found.items()}


def _durations(call: Callable[[], Any], seconds: float) -> Iterator[float]:
    end = time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        jax.block_until_ready(call())
        now = time.perf_counter()
        yield now - start
        if now > end:
            return

"""Timing on accelerators: calls are queued, as training queues its steps, so that starting one overlaps with the one
before. Waiting for each would add the way there and back to a call of a tenth of a millisecond."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

ROUNDS = 5
MOST_QUEUED = 200


def seconds_of(calls: Mapping[str, Callable[[], Any]], wait: Callable[[Any], Any], seconds: float) -> dict[str, float]:
    """Median seconds of each call, after two calls to warm up. Each is timed for about `seconds` in all, split into
    `ROUNDS` rounds in which the calls take turns.

    wait: returns when what a call returned is computed, and all that was queued before it.
    """
    queued = {}
    for name, call in calls.items():
        wait(call())
        start = time.perf_counter()
        wait(call())
        once = time.perf_counter() - start
        queued[name] = min(MOST_QUEUED, max(1, round(seconds / ROUNDS / max(once, 1e-6))))
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(queued[name]):
                result = call()
            wait(result)
            found[name].append((time.perf_counter() - start) / queued[name])
    return {name: median(values) for name, values in found.items()}

"""Signs that a run goes wrong, found early: numbers that are none, spikes, collapse, starvation, a step that hangs."""

import contextlib
import faulthandler
import logging
import math
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp

log = logging.getLogger(__name__)
PyTree = Any

SPIKE, RECENT = 10.0, 50
"""A loss is a spike when it is so many times the median of the recent ones."""
COPYING = 0.98
"""Cosine of swap and target by the training embedder above which the generator has collapsed onto its target."""
SATURATED = 1e-3
"""Adversarial loss of the discriminator below which it tells all apart and teaches nothing."""
STARVED = 0.2
"""Share of the time that the loop may wait for input."""
QUIET_STEPS = 500
"""An alarm is not repeated for so many steps; nor is a generator that still copies told before."""


# --- numbers --------------------------------------------------------------------------------------------------


def nonfinite_paths(tree: PyTree) -> list[str]:
    """Paths of the arrays in which a number is NaN or infinite."""
    named = jax.tree_util.tree_leaves_with_path(tree)
    good = jax.device_get(_all_finite([leaf for _, leaf in named]))
    return [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for (path, _), ok in zip(named, good, strict=True)
        if not ok
    ]


@jax.jit
def _all_finite(leaves: list[jax.Array]) -> list[jax.Array]:
    return [jnp.all(jnp.isfinite(x)) if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.bool_(True) for x in leaves]


def nonfinite_values(values: Mapping[str, float]) -> dict[str, float]:
    """The metrics that are NaN or infinite."""
    return {name: value for name, value in values.items() if not math.isfinite(value)}


# --- alarms ---------------------------------------------------------------------------------------------------


class Alarms:
    """Warnings about a run that still computes numbers, but the wrong ones. They are logged; nothing is stopped."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {}
        self._said: dict[str, int] = {}

    def look(self, step: int, values: Mapping[str, float]) -> None:
        """Looks at the metrics of a step or an evaluation."""
        for name, value in values.items():
            if name.endswith(("loss", "gradient_norm")):
                recent = self._recent.setdefault(name, deque(maxlen=RECENT))
                if len(recent) == RECENT and value > SPIKE * (usual := median(recent)) > 0:
                    self._say(step, name, f"{name} is {value:.3g}, {value / usual:.0f} times its recent median")
                recent.append(value)
        copying = values.get("eval/cosine_to_target", 0.0)
        if step >= QUIET_STEPS and copying > COPYING:
            self._say(
                step, "copying", f"swaps are their targets (cosine {copying:.3f}): the generator does nothing, or has "
                "collapsed; the identity loss may be too weak for the change loss",
            )  # fmt: skip
        d_loss = values.get("train/d_loss", math.inf)
        if d_loss < SATURATED:
            self._say(
                step, "saturated", f"the discriminator tells all swaps from faces (loss {d_loss:.1e}): it teaches the "
                "generator nothing; raise r1_gamma or lower its learning rate",
            )  # fmt: skip

    def _say(self, step: int, what: str, words: str) -> None:
        if step - self._said.get(what, -QUIET_STEPS) >= QUIET_STEPS:
            self._said[what] = step
            log.warning("step %d: %s", step, words)


# --- time -----------------------------------------------------------------------------------------------------


class InputMeter:
    """How long the loop waits for its input."""

    def __init__(self) -> None:
        self._waited, self._since, self._looks, self._told = 0.0, time.monotonic(), 0, False

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around the call that gets a batch."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

    def share(self) -> float:
        """The share of the time since the last call that went into waiting, from 0 to 1; warns once if it is much."""
        now = time.monotonic()
        share = self._waited / max(now - self._since, 1e-9)
        self._waited, self._since = 0.0, now
        self._looks += 1
        if share > STARVED and self._looks > 1 and not self._told:  # the first batch takes long
            self._told = True
            log.warning(
                "the loop waits for its input %.0f%% of the time: see `smoothswap bench --what=data`", 100 * share
            )
        return share


@contextlib.contextmanager
def watchdog(seconds: float) -> Iterator[Any]:
    """Gives a function to call once a step; when it is not called for `seconds` (0: never), the stacks of all threads
    go to stderr, and again after as long."""

    def alive() -> None:
        if seconds:
            faulthandler.dump_traceback_later(seconds, repeat=True, file=sys.__stderr__ or 2)

    try:
        yield alive
    finally:
        faulthandler.cancel_dump_traceback_later()

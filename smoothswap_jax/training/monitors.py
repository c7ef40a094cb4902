"""Early signs that a run goes wrong: NaN, spikes, collapse, slow input, a step that hangs."""

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
"""A loss is a spike if it is SPIKE times the median of the last RECENT ones."""
COPYING = 0.98
"""Cosine of swap and target by the training embedder above which the generator has collapsed onto its target."""
SATURATED = 1e-3
"""Discriminator loss below which it separates all swaps from faces and gives no useful gradient."""
STARVED = 0.2
"""Share of the time above which waiting for input is worth a warning."""
COLLAPSED, CHANCE = 0.95, 0.55
"""Mean cosine of strangers above which, and ROC AUC of verification below which, an embedder knows nobody."""
QUIET_STEPS = 500
"""Steps before an alarm is repeated, and before a generator that copies its target, or an embedder to which all are
alike, is one."""


# --- NaN and infinity ------------------------------------------------------------------------------------------


def nonfinite_paths(tree: PyTree) -> list[str]:
    """Paths of the arrays that hold NaN or infinity."""
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
    """Warnings about a run whose losses are finite but wrong. They are logged; nothing is stopped."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {}
        self._said: dict[str, int] = {}

    def look(self, step: int, values: Mapping[str, float], last: bool = False) -> None:
        """Checks the metrics of a step or an evaluation. last: of a finished run, after which it is too late."""
        for name, value in values.items():
            if name.endswith(("loss", "gradient_norm")):
                recent = self._recent.setdefault(name, deque(maxlen=RECENT))
                if len(recent) == RECENT and value > SPIKE * (usual := median(recent)) > 0:
                    self._say(step, name, f"{name} is {value:.3g}, {value / usual:.0f} times its recent median")
                recent.append(value)
        copying = values.get("eval/cosine_to_target", 0.0)
        if step >= QUIET_STEPS and copying > COPYING:
            self._say(
                step, "copying", f"swaps equal their targets (cosine {copying:.3f}): the generator does nothing or has "
                "collapsed; the identity loss may be too weak against the change loss",
            )  # fmt: skip
        d_loss = values.get("train/d_loss", math.inf)
        if d_loss < SATURATED:
            self._say(
                step, "saturated", f"the discriminator separates all swaps from faces (loss {d_loss:.1e}): the "
                "generator gets no gradient; raise r1_gamma or lower its learning rate",
            )  # fmt: skip

        self._look_at_embedder(step, values, last)

    def _look_at_embedder(self, step: int, values: Mapping[str, float], last: bool) -> None:
        strangers, auc = values.get("eval/cosine_other", 0.0), values.get("eval/auc", 1.0)
        if (step >= QUIET_STEPS or (last and step)) and (strangers > COLLAPSED or auc < CHANCE):
            self._say(
                step, "collapsed", f"to the embedder all faces are alike (mean cosine of strangers {strangers:.3f}, "
                f"ROC AUC {auc:.3f}): it has collapsed or learnt nothing, and no swapper can be trained against it; "
                "lower optimizer.learning_rate, or look at the data",
            )  # fmt: skip
        # Before its first step the generator returns the target, another person than the source.
        if step == 0 and (strangers := values.get("eval/cosine_to_source", 0.0)) > COLLAPSED:
            self._say(
                step, "collapsed", f"to the frozen embedder all faces are alike (mean cosine of strangers "
                f"{strangers:.3f}): it has collapsed, and the swapper cannot learn from it; train another embedder",
            )  # fmt: skip

    def _say(self, step: int, what: str, words: str) -> None:
        if step - self._said.get(what, -QUIET_STEPS) >= QUIET_STEPS:
            self._said[what] = step
            log.warning("step %d: %s", step, words)


# --- time -----------------------------------------------------------------------------------------------------


class InputMeter:
    """Measures how long the loop waits for its input."""

    def __init__(self) -> None:
        self._waited, self._since, self._looks, self._told = 0.0, time.monotonic(), 0, False

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around the call that gets a batch."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

    def share(self) -> float:
        """Share of the time since the last call that was spent waiting, 0 to 1; warns once if it is high."""
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
    """Yields a function to call once per step. If it is not called for `seconds` (0: no watchdog), the stacks of all
    threads are written to stderr, and again after the same time."""

    def alive() -> None:
        if seconds:
            faulthandler.dump_traceback_later(seconds, repeat=True, file=sys.__stderr__ or 2)

    try:
        yield alive
    finally:
        faulthandler.cancel_dump_traceback_later()

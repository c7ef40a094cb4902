"""Compiled programs: made when they are first called, their memory reported before they run."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

log = logging.getLogger(__name__)


def ahead_of_time(name: str, function: Any) -> Callable[..., Any]:
    """A jitted function that is compiled at its first call; compile time and memory are then logged."""
    programs: list[Any] = []

    def call(*arguments):
        if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
            return function(*arguments)
        if not programs:
            start = time.monotonic()
            log.info("%s: compiling", name)
            programs.append(function.lower(*arguments).compile())
            log.info("%s: compiled in %.1f s; %s", name, time.monotonic() - start, memory_in_words(programs[0]))
        return programs[0](*arguments)

    return call


@contextlib.contextmanager
def programs_kept_in(folder: str | None) -> Iterator[None]:
    """While this lasts, JAX's compilation cache is this folder; None: it keeps and finds nothing."""
    before = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    try:
        jax.config.update("jax_compilation_cache_dir", folder)
        compilation_cache.reset_cache()
        yield
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        compilation_cache.reset_cache()


def memory_in_words(program: Any) -> str:
    """The memory that a compiled program needs on each device."""
    found = memory(program)
    if not found:
        return "this backend does not report its memory"
    held, more = found["arguments"] / 1e9, (found["outputs"] + found["temporary"]) / 1e9
    return f"a device holds {held:.2f} GB of arguments and {more:.2f} GB more while it runs"


def cost(program: Any) -> dict[str, float]:
    """XLA's own counts for each device: operations, and bytes read and written (counted at every use)."""
    found = program.cost_analysis()
    found = found[0] if isinstance(found, list) else found
    return {
        name: float((found or {}).get(key, 0.0)) for name, key in (("operations", "flops"), ("bytes", "bytes accessed"))
    }


def memory(program: Any) -> dict[str, int]:
    """Bytes on each device by XLA's account: arguments, outputs (without those that reuse arguments), temporary, and
    their sum as the peak. Empty if the backend does not report them."""
    stats = program.memory_analysis()
    if stats is None:
        return {}
    found = {
        "arguments": stats.argument_size_in_bytes,
        "outputs": stats.output_size_in_bytes - stats.alias_size_in_bytes,
        "temporary": stats.temp_size_in_bytes,
    }
    return {**found, "peak": sum(found.values())}

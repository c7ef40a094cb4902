"""The swapper's whole training step and its parts in JAX, at one batch size, in bfloat16."""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax

from smoothswap_jax.bench import phases
from smoothswap_jax.bench.accelerator import forms
from smoothswap_jax.bench.accelerator.clock import seconds_of
from smoothswap_jax.bench.accelerator.device import memory_statistics
from smoothswap_jax.bench.accelerator.measurement import Setup
from smoothswap_jax.bench.flops import count_traced
from smoothswap_jax.bench.setting import Setting, make_setting
from smoothswap_jax.runtime import compilation, sharding

DTYPE = "bfloat16"


@functools.lru_cache(maxsize=1)  # making one takes seconds, and several measurements in a row are of the same
def _setting(setup: Setup, preset: str, batch: int, remat: str) -> Setting:
    return make_setting(setup.presets[preset], setup.embedder, batch, DTYPE, sharding.make_mesh(1), remat)


def step(
    setup: Setup,
    preset: str,
    batch: int,
    with_r1: bool = False,
    remat: str = "",
    form: str = "",
    options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole training step.

    remat: as generator.remat; '': the preset's. form: of `forms.REPLACED`; '': the networks' own. options: XLA's, for
    this program alone.
    """
    setting = _setting(setup, preset, batch, remat)
    with forms.form_of_step(form):
        compiled, facts = compiled_and_counted(
            setting.program.jitted(with_r1), (setting.program.abstract(), setting.frozen, setting.batch), options
        )
    frozen, images, _ = setting.random_inputs()
    state = setting.random_state()

    def once() -> Any:
        nonlocal state
        state, metrics = compiled(state, frozen, images)
        return metrics

    found = facts | timed(once, facts, setup.seconds) | {"images": batch, "allocator": memory_statistics()}
    return found | {"R1 every": setting.program.objective.r1_interval}


def phase(setup: Setup, preset: str, batch: int, part: str) -> dict[str, Any]:
    """A part of the step, of `phases.parts`."""
    setting = _setting(setup, preset, batch, "")
    frozen, images, z = setting.random_inputs()
    function, arguments = phases.parts(setting.program, setting.random_state(), frozen, images, z)[part]
    compiled, facts = compiled_and_counted(jax.jit(function), arguments)
    return facts | timed(functools.partial(compiled, *arguments), facts, setup.seconds) | {"images": batch}


def compiled_and_counted(
    jitted: Any, arguments: tuple, options: dict[str, Any] | None = None
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The compiled program; the seconds of tracing and compiling, its operations, and the memory it needs."""
    start = time.perf_counter()
    traced = jitted.trace(*arguments)
    lowered = traced.lower()
    between = time.perf_counter()
    # On a CPU it is a rehearsal, whose times mean nothing.
    quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else {}
    compiled = lowered.compile(compiler_options={**quick, **(options or {})})
    end = time.perf_counter()
    return compiled, {
        "TFLOP": count_traced(traced.jaxpr) / 1e12,
        "MB": {name: size / 1e6 for name, size in compilation.memory(compiled).items()},
        "trace s": between - start,
        "compile s": end - between,
    }


def timed(call: Callable[[], Any], facts: dict[str, Any], seconds: float) -> dict[str, float]:
    took = seconds_of({"": call}, jax.block_until_ready, seconds)[""]
    return {"ms": 1e3 * took, "TFLOP/s": facts["TFLOP"] / took}

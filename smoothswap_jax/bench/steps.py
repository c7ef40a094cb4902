"""`smoothswap bench --what=steps`: how fast the swapper trains here, where the time goes, and how close that comes to
what the device can do."""

import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from smoothswap_jax.bench.flops import count_flops
from smoothswap_jax.bench.phases import phases
from smoothswap_jax.bench.setting import Setting, make_setting
from smoothswap_jax.bench.timing import timed
from smoothswap_jax.runtime import compilation, sharding

MATMUL_SIDE = {"cpu": 1024}
COPIED_FLOATS = {"cpu": 2**24}
ACCELERATOR_MATMUL_SIDE, ACCELERATOR_COPIED_FLOATS = 8192, 2**28


def bench_steps(
    config: dict, embedder: dict, batches: list[int], dtypes: list[str], fsdp: int, devices: int | None, seconds: float
) -> dict:
    """Speed, operations, memory and phases of the swapper's training step, as nested plain values.

    Args:
      config: fields of a swapper config. embedder: the `embedder` fields of an embedder config.
      batches, dtypes: global batch sizes and dtypes of the networks; every combination is measured.
      fsdp, devices: of the mesh, as for training.
      seconds: for each measurement.
    """
    mesh = sharding.make_mesh(devices, fsdp)
    device = mesh.devices.flat[0]
    result: dict[str, Any] = {
        "hardware": f"{mesh.size} x {device.device_kind}, {os.cpu_count()} CPU cores; jax {jax.__version__}",
        "mesh": f"data {mesh.shape['data']}, fsdp {mesh.shape['fsdp']}",
        "peaks of a device": {dtype: measure_peaks(dtype, seconds) for dtype in dtypes},
    }
    for dtype in dtypes:
        for batch in batches:
            setting = make_setting(config, embedder, batch, dtype, mesh)
            peaks = result["peaks of a device"][dtype]
            result[f"batch {batch}, {dtype}"] = measure_setting(setting, batch, peaks, seconds)
    return result


def measure_peaks(dtype: str, seconds: float) -> dict[str, float]:
    """What one device reaches in a large matrix product (FLOP/s) and in copying memory (bytes/s)."""
    platform = jax.default_backend()
    side = MATMUL_SIDE.get(platform, ACCELERATOR_MATMUL_SIDE)
    count = COPIED_FLOATS.get(platform, ACCELERATOR_COPIED_FLOATS)
    a = jnp.ones((side, side), dtype)
    product = jax.jit(lambda a: a @ a)
    copy, b = jax.jit(lambda b: b + 1.0, donate_argnums=0), jnp.ones((count,), jnp.float32)

    def copied():
        nonlocal b
        b = copy(b)  # in place: on CPU, allocating memory costs more than the copy
        return b

    return {
        "matmul FLOP/s": 2 * side**3 / timed({"x": lambda: product(a)}, seconds)["x"],
        "bytes/s": 8 * count / timed({"x": copied}, seconds)["x"],  # 4 read and 4 written
    }


def measure_setting(setting: Setting, batch: int, peaks: dict[str, float], seconds: float) -> dict[str, Any]:
    """The measurements of one batch size and dtype. peaks: as `measure_peaks` returns them."""
    program, devices = setting.program, setting.mesh.size
    frozen, images, z = setting.random_inputs()
    compiled, cold, cached = compile_twice(setting.lowered)
    state = setting.init_state()

    def step(with_r1: bool):
        nonlocal state
        state, metrics = compiled[with_r1](state, frozen, images)
        return metrics

    times = timed({"step": lambda: step(False), "step with R1": lambda: step(True)}, seconds)
    counted = {
        flag: count_flops(program.step(flag), program.shapes, setting.frozen, setting.batch) for flag in (False, True)
    }
    interval = program.objective.r1_interval
    mean = (times["step with R1"] + (interval - 1) * times["step"]) / interval
    flops = (counted[True] + (interval - 1) * counted[False]) / interval
    cost = compilation.cost(compiled[False])
    return {
        "steps/s": 1 / mean,
        "images/s/device": batch / mean / devices,
        "seconds": {**times, f"mean, R1 every {interval}": mean},
        "TFLOP a step": {
            "counted": counted[False] / 1e12,
            "counted, with R1": counted[True] / 1e12,
            "by XLA": cost["operations"] * devices / 1e12,
        },
        "fraction of matmul peak": flops / mean / devices / peaks["matmul FLOP/s"],
        "fraction of bandwidth peak": cost["bytes"] / times["step"] / peaks["bytes/s"],
        "MB a device": {
            name: {key: value / 1e6 for key, value in compilation.memory(compiled[with_r1]).items()}
            for name, with_r1 in (("step", False), ("step with R1", True))
        },
        "compile s": {"cold": cold, "from the cache": cached},
        "phases": phases(setting, frozen, images, z, peaks, seconds),
    }


def compile_twice(lowered: Callable[[bool], Any]) -> tuple[dict[bool, Any], float, float]:
    """Compiles the steps without and with R1, first with an empty compilation cache, then from the cache.

    Returns the compiled steps by `with_r1`, and the seconds of tracing and compiling both, cold and from the cache.
    """
    seconds = []
    with tempfile.TemporaryDirectory() as folder, compilation.programs_kept_in(folder):
        for _ in range(2):
            jax.clear_caches()
            start = time.perf_counter()
            programs = {flag: lowered(flag).compile() for flag in (False, True)}
            seconds.append(time.perf_counter() - start)
    return programs, seconds[0], seconds[1]

"""`smoothswap bench --what=steps`: how fast the swapper trains here, where the time goes, and how near that is to what
the device can do.

Everything that is compared runs turn by turn in one process; medians are reported. Weights and images are random: what
they are does not change the time.
"""

import functools
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental.compilation_cache import compilation_cache

from smoothswap_jax.bench.flops import count_flops
from smoothswap_jax.config.errors import ConfigError, Fields
from smoothswap_jax.config.parse import parse
from smoothswap_jax.config.schema import SwapperConfig
from smoothswap_jax.runtime import compilation, sharding
from smoothswap_jax.training import steps
from smoothswap_jax.training.networks import image_shape, make_embedder
from smoothswap_jax.training.swapper_program import make_swapper_program
from smoothswap_jax.training.train_state import SwapperState

ROUNDS = 5
MATMUL = {"cpu": 1024}
MATMUL_SIDE = 8192
COPIED = {"cpu": 2**24}
COPIED_NUMBERS = 2**28


def bench_steps(
    config: dict, embedder: dict, batches: list[int], dtypes: list[str], fsdp: int, devices: int | None, seconds: float
) -> dict:
    """Speed, operations, memory and phases of the swapper's training step, as nested plain values.

    Args:
      config: a config of configs/swapper.py. embedder: the `embedder` fields of a config of stage 1.
      batches, dtypes: what to measure, each with each; global batch sizes, dtypes of the convolutions.
      fsdp, devices: of the mesh, as for training.
      seconds: of each measurement in each round.
    """
    mesh = sharding.make_mesh(devices, fsdp)
    device = mesh.devices.flat[0]
    result: dict[str, Any] = {
        "hardware": f"{mesh.size} x {device.device_kind}, {os.cpu_count()} CPU cores; jax {jax.__version__}",
        "mesh": f"data {mesh.shape['data']}, fsdp {mesh.shape['fsdp']}",
        "peaks of a device": {dtype: peaks(dtype, seconds) for dtype in dtypes},
    }
    for dtype in dtypes:
        for batch in batches:
            peak = result["peaks of a device"][dtype]
            result[f"batch {batch}, {dtype}"] = one_setting(config, embedder, batch, dtype, mesh, peak, seconds)
    return result


def peaks(dtype: str, seconds: float) -> dict[str, float]:
    """What one device reaches in a large matrix product (FLOP/s) and in copying memory (bytes/s)."""
    platform = jax.default_backend()
    side, numbers = MATMUL.get(platform, MATMUL_SIDE), COPIED.get(platform, COPIED_NUMBERS)
    a = jnp.ones((side, side), dtype)
    product = jax.jit(lambda a: a @ a)
    copy, b = jax.jit(lambda b: b + 1.0, donate_argnums=0), jnp.ones((numbers,), jnp.float32)

    def copied():
        nonlocal b
        b = copy(b)  # in place: on CPU new memory costs more than the copy
        return b

    return {
        "matmul FLOP/s": 2 * side**3 / timed({"x": lambda: product(a)}, seconds)["x"],
        "bytes/s": 8 * numbers / timed({"x": copied}, seconds)["x"],
    }


def one_setting(config, embedder, batch: int, dtype: str, mesh, peak: dict[str, float], seconds: float) -> dict:
    """The measurements of one batch size and dtype."""
    setting = Setting(config, embedder, batch, dtype, mesh)
    program = setting.program
    frozen, images, z = setting.drawn()
    programs, seconds_cold, seconds_kept = compiled_twice(setting.lowered)
    interval = program.objective.r1_interval
    current = {"state": setting.fresh()}

    def step(with_r1: bool):
        current["state"], values = programs[with_r1](current["state"], frozen, images)
        return values

    times = timed({"step": lambda: step(False), "step with R1": lambda: step(True)}, seconds)
    mean = (times["step with R1"] + (interval - 1) * times["step"]) / interval
    analytic = {
        flag: count_flops(program.step(flag), program.shapes, setting.frozen, setting.batch) for flag in (False, True)
    }
    flops = (analytic[True] + (interval - 1) * analytic[False]) / interval
    found: dict[str, Any] = {
        "steps/s": 1 / mean,
        "images/s/device": batch / mean / mesh.size,
        "seconds": {**times, f"mean, R1 every {interval}": mean},
        "TFLOP a step": {
            "counted": analytic[False] / 1e12,
            "counted, with R1": analytic[True] / 1e12,
            "by XLA": compilation.cost(programs[False])["operations"] * mesh.size / 1e12,
        },
        "fraction of matmul peak": flops / mean / mesh.size / peak["matmul FLOP/s"],
        "fraction of bandwidth peak": compilation.cost(programs[False])["bytes"] / times["step"] / peak["bytes/s"],
        "MB a device": {
            name: {key: value / 1e6 for key, value in compilation.memory(program).items()}
            for name, program in (("step", programs[False]), ("step with R1", programs[True]))
        },
        "compile s": {"cold": seconds_cold, "from the cache": seconds_kept},
    }
    found["phases"] = phases(setting, frozen, images, z, peak, seconds)
    return found


class Setting:
    """The swapper's program at one setting, with the shapes and placement of what it takes. No arrays."""

    def __init__(self, fields: Fields, embedder: Fields, batch: int, dtype: str, mesh, remat: str = "") -> None:
        given = {"dtype": dtype} | ({"remat": remat} if remat else {})
        sharding.check_batch(mesh, batch)
        networks = {part: {**fields[part], **given} for part in ("generator", "discriminator")}
        config = parse({**fields, **networks, "batch": batch})
        if not isinstance(config, SwapperConfig):
            raise ConfigError(f"config.stage is {config.stage!r}, wanted 'swapper'")
        embedder, size = {**embedder, "dtype": dtype}, config.data.size
        module = make_embedder(embedder)
        frozen = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((2, size, size, 3))))
        self.frozen = sharding.abstract_like(frozen, sharding.placement(frozen, mesh, config.mesh.rules))
        self.program = make_swapper_program(config, embedder, frozen, mesh)
        self.mesh, self.dtype = mesh, dtype
        rows = lambda leaf: jax.ShapeDtypeStruct((batch, *leaf.shape[1:]), leaf.dtype, sharding=sharding.batched(mesh))
        self.batch = dict.fromkeys(("source", "target", "real"), rows(image_shape(1, size)))
        self.z = jax.tree.map(rows, self.program.z)

    def state_bytes(self) -> int:
        """Bytes on each device of parameters, averages, optimiser states and the frozen embedder."""
        arrays = jax.tree.leaves((self.program.abstract(), self.frozen))
        return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in arrays)

    def fresh(self) -> SwapperState:
        return sharding.jit_init(self.program.init, self.program.places)()

    def drawn(self) -> tuple[Any, steps.Batch, Any]:
        """Random weights of the embedder, images and identities."""
        rng = np.random.default_rng(0)
        values = jax.tree.map(lambda x: 0.05 * rng.standard_normal(x.shape, np.float32), self.frozen)
        if "batch_stats" in values:  # variances are positive
            values["batch_stats"] = jax.tree.map(np.abs, values["batch_stats"])
        image = rng.uniform(-1, 1, self.batch["source"].shape).astype(np.float32)
        z = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), self.z)
        frozen = sharding.shard(values, jax.tree.map(lambda x: x.sharding, self.frozen))
        batch = {name: sharding.shard_rows(image, self.mesh) for name in self.batch}
        return frozen, batch, jax.tree.map(lambda leaf: sharding.shard_rows(leaf, self.mesh), z)

    def lowered(self, with_r1: bool) -> Any:
        """The training step, traced and ready to be compiled."""
        return self.program.jitted(with_r1).lower(self.program.abstract(), self.frozen, self.batch)


def compiled_twice(lowered: Callable[[bool], Any]) -> tuple[dict[bool, Any], float, float]:
    """The compiled steps without and with R1, the seconds that tracing and compiling take, and those with programs kept
    from before."""
    cache = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            jax.config.update("jax_compilation_cache_dir", folder)
            compilation_cache.reset_cache()
            for _ in range(2):
                jax.clear_caches()
                start = time.perf_counter()
                programs = {flag: lowered(flag).compile() for flag in (False, True)}
                seconds.append(time.perf_counter() - start)
        finally:
            jax.config.update("jax_compilation_cache_dir", cache)
            compilation_cache.reset_cache()
    return programs, seconds[0], seconds[1]


def phases(
    setting: Setting, frozen, images: steps.Batch, z: jax.Array, peak: dict[str, float], seconds: float
) -> dict[str, dict[str, float]]:
    """The seconds of each part of the step by itself, its operations, and its fractions of the measured peaks.

    Bytes are XLA's count of what its operations read and write, some of which a cache may serve.

    Parts are compiled apart, so their sum is a little more than the step, in which some of it overlaps. R1 and the
    backward pass are differences of two programs.
    """
    program = setting.program
    current, networks, objective = setting.fresh(), program.networks, program.objective
    target = images["target"]
    discriminator = lambda with_r1: functools.partial(
        steps.discriminator_update, discriminate=networks.discriminate, objective=objective,
        optimizer=program.optimizers[1], with_r1=with_r1,
    )  # fmt: skip

    def generator_loss(params, frozen, discriminator_params, target, z):
        swap = networks.generate(params, target, z)
        loss, _ = steps.generator_loss(
            swap, target, z, discriminate=lambda x: networks.discriminate(discriminator_params, x),
            embed=lambda x: networks.embed(frozen, x), objective=objective, identity_weight=objective.identity,
        )  # fmt: skip
        return loss

    def update(params, average, moments):
        gradient = params
        updates, moments = program.optimizers[0].update(gradient, moments, params)
        params = optax.apply_updates(params, updates)
        return params, optax.incremental_update(params, average, 1 - objective.ema_decay), moments

    given: dict[str, tuple[Callable[..., Any], tuple]] = {
        "embed the source": (networks.embed, (frozen, images["source"])),
        "generator forward": (networks.generate, (current.generator, target, z)),
        "discriminator": (discriminator(False), (current, target, images["real"])),
        "discriminator with R1": (discriminator(True), (current, target, images["real"])),
        "generator, losses and backward": (
            jax.grad(generator_loss), (current.generator, frozen, current.discriminator, target, z),
        ),
        "generator's optimiser and average": (
            update, (current.generator, current.generator_ema, current.generator_optimizer),
        ),
    }  # fmt: skip
    compiled = {name: jax.jit(function).lower(*arguments).compile() for name, (function, arguments) in given.items()}
    calls = {name: functools.partial(compiled[name], *arguments) for name, (_, arguments) in given.items()}
    times = timed(calls, seconds)
    flops: dict[str, float] = {name: count_flops(function, *arguments) for name, (function, arguments) in given.items()}
    moved = {name: compilation.cost(program)["bytes"] for name, program in compiled.items()}
    for numbers in (times, flops, moved):
        numbers["R1"] = numbers.pop("discriminator with R1") - numbers["discriminator"]
        numbers["generator backward through the losses"] = (
            numbers.pop("generator, losses and backward") - numbers["generator forward"]
        )
    return {
        name: {
            "s": times[name],
            "TFLOP": flops[name] / 1e12,
            "fraction of matmul peak": flops[name] / max(times[name], 1e-9) / setting.mesh.size / peak["matmul FLOP/s"],
            "fraction of bandwidth peak": moved[name] / max(times[name], 1e-9) / peak["bytes/s"],
        }
        for name in times
    }


def timed(calls: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Median seconds of each call, measured turn by turn for `seconds` each in `ROUNDS` rounds."""
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

"""Why a step on virtual devices takes longer than on one device of the same cores: its parts, each alone."""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from smoothswap_jax.bench.memory import COLLECTIVE, exchanged
from smoothswap_jax.bench.setting import make_setting
from smoothswap_jax.bench.table import table
from smoothswap_jax.config.errors import Fields
from smoothswap_jax.config.load import load_config
from smoothswap_jax.runtime import sharding

ROUNDS = 3
Call = Callable[[], Any]


def virtual_devices(config: Fields, embedder: Fields, batch: int, devices: int, seconds: float) -> dict[str, Any]:
    """Seconds of a step without R1 of `batch` rows on one device and on `devices`, and of what the second is made of,
    with the seconds of all cores together. The measurements take turns.

    "all rows in turn" are `devices` steps of an equal share of the rows on one device, one after the other: with what
    every device does for itself (its copy of the update, and small batches), but without waiting for others. "sums" are
    the step's exchanges without the step.

    Args:
      config, embedder, batch: as `make_setting` takes them. seconds: for each measurement.

    Raises ValueError for a batch that the devices do not divide.
    """
    one, many = sharding.make_mesh(1), sharding.make_mesh(devices)
    whole, _ = _step(config, embedder, batch, one)
    split, split_program = _step(config, embedder, batch, many)
    share, _ = _step(config, embedder, batch // devices, one)
    text = split_program.as_text()
    count, size = len(COLLECTIVE.findall(text)), sum(exchanged(text).values())
    calls: dict[str, Call] = {
        "one device": whole,
        f"{devices} devices": split,
        "all rows in turn": lambda: [jax.block_until_ready(share()) for _ in range(devices)],
        "sums": _sums(many, count, size),
    }
    found = _timed(calls, seconds)
    first = found["one device"]["s"]
    return {
        "rows": batch,
        "exchanges": count,
        "MB exchanged": size / 1e6,
        **{name: {**values, "over one device's": values["s"] / first} for name, values in found.items()},
    }


def _step(config: Fields, embedder: Fields, batch: int, mesh: Any) -> tuple[Call, Any]:
    setting = make_setting(config, embedder, batch, "float32", mesh)
    program = setting.lowered(False).compile()
    (frozen, images, _), state = setting.random_inputs(), setting.init_state()

    def step() -> Any:
        nonlocal state
        state, metrics = program(state, frozen, images)
        return metrics

    return step, program


def _sums(mesh: Any, count: int, size: int) -> Call:
    """`count` sums over the devices, of `size` bytes in all."""
    columns = max(1, size // 4 // max(1, count))
    parts = [sharding.shard_rows(np.ones((mesh.size, columns), np.float32), mesh) for _ in range(count)]
    whole = sharding.replicated(mesh)
    return partial(jax.jit(lambda parts: [jnp.sum(x, 0) for x in parts], out_shardings=whole), parts)


def _timed(calls: dict[str, Call], seconds: float) -> dict[str, dict[str, float]]:
    """Medians of each call: its seconds, and those of this process on all cores."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for call in calls.values():
        jax.block_until_ready(call())
    for _ in range(ROUNDS):
        for name, call in calls.items():
            end = time.perf_counter() + seconds / ROUNDS
            while time.perf_counter() < end:
                start, busy = time.perf_counter(), time.process_time()
                jax.block_until_ready(call())
                found[name].append((time.perf_counter() - start, time.process_time() - busy))
    return {
        name: {"s": median(s for s, _ in values), "s of all cores": median(busy for _, busy in values)}
        for name, values in found.items()
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--config", default="swapper:tiny32")
    parser.add_argument("--embedder", default="embedder:tiny32")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each measurement")
    args, overrides = parser.parse_known_args(arguments)  # the others are --config.FIELD=VALUE
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", args.devices)
    config, embedder = load_config(args.config, overrides), load_config(args.embedder, [])["embedder"]
    print(table(virtual_devices(config, embedder, args.batch, args.devices, args.seconds)))


if __name__ == "__main__":
    main()

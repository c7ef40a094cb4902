"""`python -m smoothswap_jax.bench.generate`: many faces in one call of `Swapper.generate` beside as many calls.

Prints a table, and all of it as one line of JSON. Both are measured turn by turn; medians are reported. CPU seconds are
the process', and on a CPU that other processes use too they are the ones to trust.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from statistics import median

import jax
import numpy as np

from smoothswap_jax.bench.table import table
from smoothswap_jax.inference.swapper import Identity, Swapper

ROUNDS = 5


def bench_generate(swapper: Swapper, faces: int) -> dict:
    """Speed of both, and whether they give the same pixels; for `faces` noise targets and as many sources."""
    rng = np.random.default_rng(0)
    sources, targets = rng.integers(0, 256, (2, faces, swapper.size, swapper.size, 3), np.uint8)
    z = swapper.embed(sources)

    def together() -> np.ndarray:
        return swapper.generate(targets, z)

    def apart() -> np.ndarray:
        return np.concatenate([swapper.generate(targets[i : i + 1], one_of(z, i)) for i in range(faces)])

    equal = bool(np.array_equal(together(), apart()))  # and both are compiled
    taken = [(*_seconds(together), *_seconds(apart)) for _ in range(ROUNDS)]
    one_call, one_call_cpu, many_calls, many_calls_cpu = (median(column) for column in zip(*taken, strict=True))
    return {
        "hardware": f"{jax.local_device_count()} x {jax.devices()[0].device_kind}, {os.cpu_count()} CPU cores; "
        f"jax {jax.__version__}",
        "faces": faces,
        "pixels": swapper.size,
        "faces/s, one call": faces / one_call,
        f"faces/s, {faces} calls": faces / many_calls,
        "one call is faster by": many_calls / one_call,
        "CPU s, one call": one_call_cpu,
        f"CPU s, {faces} calls": many_calls_cpu,
        "pixels are equal": equal,
    }


def one_of(z: Identity, i: int) -> Identity:
    return jax.tree.map(lambda x: x[i : i + 1], z)


def _seconds(function: Callable[[], np.ndarray]) -> tuple[float, float]:
    """On the wall clock, and of CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m smoothswap_jax.bench.generate", allow_abbrev=False)
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="a trained swapper, or an export")
    parser.add_argument("--faces", type=int, default=32, metavar="N", help="default 32")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="faces a device computes per step (1)")
    parser.add_argument("--virtual", type=int, metavar="N", help="N devices that are this CPU")
    args = parser.parse_args()
    if args.faces < 1:
        parser.error(f"--faces={args.faces}; wanted at least 1")
    if args.virtual:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", args.virtual)
    result = bench_generate(Swapper.load(args.checkpoint, faces_at_once=args.at_once), args.faces)
    print(table(result))
    print(json.dumps(result))


if __name__ == "__main__":
    main()

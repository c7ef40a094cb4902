"""`smoothswap bench --what=scaling`: what splitting a step over devices and processes costs, on this machine's CPU.

Virtual devices share the CPU, so a step of the same global batch should take as long on 8 as on 1: what it takes more
is the price of splitting it. Real devices are measured by `--what=steps --devices=N`.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import jax
import numpy as np

from smoothswap_jax.bench.memory import exchanged
from smoothswap_jax.bench.steps import Setting
from smoothswap_jax.runtime import sharding

SETTINGS = ((1, 1, 1), (1, 2, 1), (1, 4, 1), (1, 8, 1), (1, 8, 8), (2, 1, 1), (2, 4, 4))
"""(processes, devices of each, fsdp)"""
ROUNDS = 2


def bench_scaling(config: dict, embedder: dict, batch: int, dtype: str, seconds: float) -> dict:
    """Seconds of a step without R1 at each of `SETTINGS`, each started twice in turn, and their ratio to one device's.

    Args:
      config: a config of configs/swapper.py. embedder: the `embedder` fields of a config of stage 1.
      batch: global, a multiple of 8. dtype: of the convolutions. seconds: of each measurement.
    """
    if batch % 8:
        raise ValueError(f"--batch={batch}; wanted a multiple of the 8 devices")
    given = json.dumps([config, embedder, batch, dtype, seconds])
    found: dict[tuple[int, int, int], list[dict]] = {setting: [] for setting in SETTINGS}
    with tempfile.TemporaryDirectory() as programs:
        for _ in range(ROUNDS):
            for setting, runs in found.items():
                runs.append(_run(*setting, given, programs))
    seconds_of = {setting: median(run["s a step"] for run in runs) for setting, runs in found.items()}
    result: dict[str, Any] = {"hardware": f"{os.cpu_count()} CPU cores, all devices virtual", "global batch": batch}
    for (processes, devices, fsdp), runs in found.items():
        took = seconds_of[processes, devices, fsdp]
        ratio = took / seconds_of[SETTINGS[0]]
        name = f"{processes} process{'es' if processes > 1 else ''} x {devices}, fsdp {fsdp}"
        result[name] = runs[0] | {"s a step": took, "over one device's": ratio}
    return result


def _run(processes: int, devices: int, fsdp: int, given: str, programs: str) -> dict:
    """What the first of the processes measured. Compiled programs are kept in the folder `programs`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_COMPILATION_CACHE_DIR": programs,
        "XLA_FLAGS": "",
    }
    command = [sys.executable, "-m", "smoothswap_jax.bench.scaling", address, str(processes)]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    started = [
        subprocess.Popen([*command, str(i), str(fsdp)], env=environment, text=True, **pipes) for i in range(processes)
    ]
    with ThreadPoolExecutor(processes) as threads:  # each waits for the others
        results = list(threads.map(lambda one: one.communicate(given), started))
    for one, (_, errors) in zip(started, results, strict=True):
        if one.returncode:
            what = f"a process of {processes} x {devices} devices"
            raise RuntimeError(f"{what} ended with {one.returncode}: {errors.strip().splitlines()[-1:]}")
    return json.loads(results[0][0].splitlines()[-1])


def worker(address: str, processes: int, process: int, fsdp: int, given: list) -> dict[str, float]:
    """One of several processes; all take the same number of steps, which the first decides."""
    if processes > 1:
        sharding.start_processes(address, processes, process)
        sharding.barrier("processes are there")
    config, embedder, batch, dtype, seconds = given
    setting = Setting(config, embedder, batch, dtype, sharding.make_mesh(None, fsdp))
    program = setting.lowered(False).compile()
    sharding.barrier("step is compiled")  # their connections are made at the first exchange, within 30 s
    (frozen, images, _), current = setting.drawn(), setting.fresh()

    def step() -> float:
        nonlocal current
        start = time.perf_counter()
        current, values = program(current, frozen, images)
        jax.block_until_ready(values)
        return time.perf_counter() - start

    step()
    count = int(sharding.broadcast_from_main(np.int32(max(3, seconds / step()))))
    return {
        "s a step": median(step() for _ in range(count)),
        "MB of state": setting.state_bytes() / 1e6,
        "MB exchanged": sum(exchanged(program.as_text()).values()) / 1e6,
    }


if __name__ == "__main__":
    _address, *_numbers = sys.argv[1:]
    _processes, _process, _fsdp = map(int, _numbers)
    print(json.dumps(worker(_address, _processes, _process, _fsdp, json.load(sys.stdin))))

"""`smoothswap bench --what=scaling`: what splitting a step over devices and processes costs, on this machine's CPU.

Virtual devices share the CPU, so a step with the same global batch should take as long on 8 as on 1; any extra time is
the overhead of splitting. Two parts of the step, by themselves, say where it comes from: a forward pass, which
exchanges nothing and has a smaller batch on each device, and the optimiser, which works on every copy of the state; the
rest is exchange, and devices that wait for each other. `--what=steps --devices=N` measures real devices.
"""

import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import jax
import numpy as np

from smoothswap_jax.bench import phases
from smoothswap_jax.bench.memory import exchanged
from smoothswap_jax.bench.setting import make_setting
from smoothswap_jax.bench.timing import timed
from smoothswap_jax.runtime import sharding

SETTINGS = ((1, 1, 1), (1, 2, 1), (1, 4, 1), (1, 8, 1), (1, 8, 8), (2, 1, 1), (2, 4, 4))
"""(processes, devices in each, fsdp); the first is what the others are compared with."""
ROUNDS = 2
ALONE = ("embed the source", "generator's optimiser and average")
"""Of `phases.parts`."""


def bench_scaling(config: dict, embedder: dict, batch: int, dtype: str, seconds: float) -> dict:
    """Seconds of a step without R1, and of the parts `ALONE`, in each of `SETTINGS`, and their ratios to those on one
    device.

    The settings take turns, and each starts new processes in each of `ROUNDS` rounds.

    Args:
      config: fields of a swapper config. embedder: the `embedder` fields of an embedder config.
      batch: global, a multiple of 8. dtype: of the networks. seconds: for each measurement.

    Raises ValueError for another batch, and RuntimeError with the last line of a process that fails.
    """
    if batch % 8:
        raise ValueError(f"--batch={batch}; wanted a multiple of the 8 devices")
    request = json.dumps([config, embedder, batch, dtype, seconds])
    found: dict[tuple[int, int, int], list[dict]] = {setting: [] for setting in SETTINGS}
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(ROUNDS):
            for setting, runs in found.items():
                runs.append(_run(*setting, request, cache))
    times = {
        setting: {name: median(run["seconds"][name] for run in runs) for name in runs[0]["seconds"]}
        for setting, runs in found.items()
    }
    one = times[SETTINGS[0]]
    result: dict[str, Any] = {"hardware": f"{os.cpu_count()} CPU cores, all devices virtual", "global batch": batch}
    for (processes, devices, fsdp), runs in found.items():
        these = times[processes, devices, fsdp]
        over = {name: seconds / one[name] for name, seconds in these.items()}
        name = f"{processes} process{'es' if processes > 1 else ''} x {devices}, fsdp {fsdp}"
        result[name] = runs[0] | {"seconds": these, "over one device's": over}
    return result


def _run(processes: int, devices: int, fsdp: int, request: str, cache: str) -> dict:
    """What the first of the processes measured. cache: folder of JAX's compilation cache."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_COMPILATION_CACHE_DIR": cache,
        "XLA_FLAGS": "",
    }
    command = [sys.executable, "-m", "smoothswap_jax.bench.scaling", address, str(processes)]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    started = [
        subprocess.Popen([*command, str(i), str(fsdp)], env=environment, text=True, **pipes) for i in range(processes)
    ]
    with ThreadPoolExecutor(processes) as threads:  # the processes wait for each other, so all must be fed at once
        outputs = list(threads.map(lambda process: process.communicate(request), started))
    for process, (_, errors) in zip(started, outputs, strict=True):
        if process.returncode:
            raise RuntimeError(
                f"a process of {processes} x {devices} devices ended with {process.returncode}: "
                f"{errors.strip().splitlines()[-1:]}"
            )
    return json.loads(outputs[0][0].splitlines()[-1])


def worker(address: str, processes: int, process: int, fsdp: int, request: list) -> dict[str, Any]:
    """One of several processes. All take the same number of steps, which the first one decides."""
    if processes > 1:
        sharding.start_processes(address, processes, process)
        sharding.barrier("processes are there")
    config, embedder, batch, dtype, seconds = request
    setting = make_setting(config, embedder, batch, dtype, sharding.make_mesh(None, fsdp))
    program = setting.lowered(False).compile()
    (frozen, images, z), state = setting.random_inputs(), setting.init_state()
    parts = phases.parts(setting.program, state, frozen, images, z)
    alone = {name: _compiled(*parts[name]) for name in ALONE}
    # The first exchange connects the processes and waits 30 s for the others at most, so all must have compiled.
    sharding.barrier("step is compiled")
    times = timed(alone, seconds / 4)  # before the first step, which takes the state

    def step() -> float:
        nonlocal state
        start = time.perf_counter()
        state, metrics = program(state, frozen, images)
        jax.block_until_ready(metrics)
        return time.perf_counter() - start

    step()
    count = int(sharding.broadcast_from_main(np.int32(max(3, seconds / step()))))
    return {
        "seconds": {"step": median(step() for _ in range(count)), **times},
        "MB of state": setting.state_bytes() / 1e6,
        "MB exchanged": sum(exchanged(program.as_text()).values()) / 1e6,
    }


def _compiled(function: Callable[..., Any], arguments: tuple) -> Callable[[], Any]:
    return functools.partial(jax.jit(function).lower(*arguments).compile(), *arguments)


def main() -> None:
    """`worker` as a process: arguments on the command line, the request on standard input, the result as JSON."""
    address, *numbers = sys.argv[1:]
    processes, process, fsdp = map(int, numbers)
    print(json.dumps(worker(address, processes, process, fsdp, json.load(sys.stdin))))


if __name__ == "__main__":
    main()

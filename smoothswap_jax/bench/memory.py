"""`smoothswap bench --what=memory`: what a training step needs of each device, as its compiler reports it.

Nothing runs, so it works for devices that are not attached (`topologies`), and for more virtual devices than cores.
"""

import itertools
import math
import re
import time
from typing import Any

import jax

from smoothswap_jax.bench.flops import count_flops
from smoothswap_jax.bench.setting import Setting, make_setting
from smoothswap_jax.bench.topologies import DATA_SHEETS, DataSheet, device_kind, topology_devices
from smoothswap_jax.runtime import compilation, sharding


def bench_memory(
    config: dict,
    embedder: dict,
    batches: list[int],
    dtypes: list[str],
    fsdps: list[int],
    remats: list[str],
    devices: int | None = None,
    topology: str | None = None,
) -> dict:
    """Memory, operations and exchanged bytes of the step with R1, the larger of the two, as nested plain values.

    Args:
      config: fields of a swapper config. embedder: the `embedder` fields of an embedder config.
      batches, dtypes, fsdps, remats: every combination is compiled. Batch sizes are global; remat '' is the config's.
      devices: how many to use, all by default. topology: devices to compile for that are not attached, as
        `topology_devices` takes them.
    """
    found = topology_devices(topology) if topology else jax.devices()
    meshes = {fsdp: sharding.make_mesh(devices, fsdp, found) for fsdp in fsdps}
    count = next(iter(meshes.values())).size
    # Compiling takes minutes, so all settings are checked first.
    settings = {
        f"batch {batch}, {dtype}, fsdp {fsdp}" + (f", remat {remat}" if remat else ""): make_setting(
            config, embedder, batch, dtype, meshes[fsdp], remat
        )
        for dtype, batch, fsdp, remat in itertools.product(dtypes, batches, fsdps, remats)
    }
    kind = f"{topology}, {count} devices" if topology else f"{count} x {found[0].device_kind}"
    result: dict[str, Any] = {"devices": f"{kind}; jax {jax.__version__}"}
    for name, setting in settings.items():
        result[name] = compile_setting(setting)
        if topology and "MB" in result[name]:
            result[name] |= compare_with_data_sheet(result[name], DATA_SHEETS[device_kind(topology)], setting)
    return result


def compile_setting(setting: Setting) -> dict[str, Any]:
    """What the compiler reports about the step with R1 in one setting, or why it does not fit."""
    platform = setting.mesh.devices.flat[0].platform
    counted = count_flops(
        setting.program.step(True), setting.program.shapes, setting.frozen, setting.batch, platform=platform
    )
    found: dict[str, Any] = {"TFLOP of all devices": counted / 1e12, "MB of state": setting.state_bytes() / 1e6}
    start = time.perf_counter()
    try:
        program = setting.lowered(True).compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return found | {"does not fit": next((line for line in str(error).splitlines() if "Used" in line), str(error))}
    found["compile s"] = time.perf_counter() - start
    found["MB"] = {key: value / 1e6 for key, value in compilation.memory(program).items()}
    found["GB read and written"] = compilation.cost(program)["bytes"] / 1e9  # 0: not reported
    found["MB exchanged"] = {kind: size / 1e6 for kind, size in exchanged(program.as_text()).items()}
    return found


def compare_with_data_sheet(found: dict[str, Any], sheet: DataSheet, setting: Setting) -> dict[str, Any]:
    """Whether the peak exceeds the device's memory, and the seconds that operations, memory traffic and exchanges would
    each take at the data sheet's rates.

    If exchanges overlap with nothing, a step takes the larger of the first two plus the third.

    Args:
      found: as `compile_setting` returns it.
    """
    more = {}
    if found["MB"]["peak"] * 1e6 > sheet.capacity:
        more["does not fit"] = f"{found['MB']['peak'] / 1e3:.1f} of {sheet.capacity / 1e9:.0f} GB"
    seconds = {"exchange": bytes_sent(found["MB exchanged"], setting.mesh.shape["fsdp"]) * 1e6 / sheet.links}
    if found["GB read and written"]:
        seconds["memory"] = found["GB read and written"] * 1e9 / sheet.memory
    if setting.dtype == "bfloat16":
        seconds["operations"] = found["TFLOP of all devices"] * 1e12 / setting.mesh.size / sheet.operations
    return more | {"s by the data sheet": seconds}


def bytes_sent(exchanged: dict[str, float], fsdp: int) -> float:
    """What one of many devices sends in ring algorithms, from the sizes of the collectives' results, in their unit.

    An all-reduce passes its result about twice; a reduce-scatter passes a sum of which its result is one part in fsdp.
    """
    times = {"all-reduce": 2, "reduce-scatter": fsdp}
    return sum(size * times.get(kind, 1) for kind, size in exchanged.items())


BOOKKEEPING = ("u32", "s32")
"""Types of the scalars that an asynchronous collective carries beside its operands and results."""
COLLECTIVE = re.compile(r"= (.*?) (all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(-start)?\(")
ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")


def exchanged(program: str) -> dict[str, int]:
    """Bytes of the results of each kind of collective on one device, from a program's HLO text.

    The body of a loop counts once. The shape of a `-start` instruction lists operands, then results, then scalars for
    bookkeeping, so the second half of its arrays are results; all-reduce-start lists results only.
    """
    total: dict[str, int] = {}
    for shapes, kind, started in COLLECTIVE.findall(program):
        found = [
            (dtype, sizes) for dtype, sizes in ARRAY.findall(shapes) if not started or sizes or dtype not in BOOKKEEPING
        ]
        arrays = [_width(dtype) * math.prod(int(size) for size in sizes.split(",") if size) for dtype, sizes in found]
        if started and kind != "all-reduce":
            arrays = arrays[len(arrays) // 2 :]
        total[kind] = total.get(kind, 0) + sum(arrays)
    return total


def _width(dtype: str) -> int:
    """Bytes of one element, from XLA's name of its type: bf16, s32, f8e4m3fn, pred."""
    bits = re.search(r"\d+", dtype)
    return max(1, int(bits[0]) // 8) if bits else 1

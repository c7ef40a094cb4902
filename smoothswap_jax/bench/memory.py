"""`smoothswap bench --what=memory`: what a training step needs of each device, by the compiler, before it runs.

Nothing is computed, so it works for devices that are not here (`described`), and for more than there are.
"""

import itertools
import math
import re
import time
from typing import Any

import jax

from smoothswap_jax.bench.flops import count_flops
from smoothswap_jax.bench.steps import Setting
from smoothswap_jax.bench.topologies import SHEETS, Sheet, described_devices, kind_of
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
    """Memory, operations and exchanged bytes of a device in the step with R1, which needs most; nested plain values.

    Args:
      config: a config of configs/swapper.py. embedder: the `embedder` fields of a config of stage 1.
      batches, dtypes, fsdps, remats: what to compile, each with each; global batch sizes. '' is the
        config's remat.
      devices: how many, all by default. topology: of devices that are not here, as `described_devices` takes it.
    """
    found = described_devices(topology) if topology else jax.devices()
    meshes = {fsdp: sharding.make_mesh(devices, fsdp, found) for fsdp in fsdps}
    count = next(iter(meshes.values())).size
    settings = {  # all are checked before the first is compiled, which may take minutes
        f"batch {batch}, {dtype}, fsdp {fsdp}" + (f", remat {remat}" if remat else ""): Setting(
            config, embedder, batch, dtype, meshes[fsdp], remat
        )
        for dtype, batch, fsdp, remat in itertools.product(dtypes, batches, fsdps, remats)
    }
    kind = f"{topology}, {count} devices" if topology else f"{count} x {found[0].device_kind}"
    result: dict[str, Any] = {"devices": f"{kind}; jax {jax.__version__}"}
    for name, setting in settings.items():
        result[name] = one_program(setting)
        if topology and "MB" in result[name]:
            result[name] |= beside_sheet(result[name], SHEETS[kind_of(topology)], setting)
    return result


def one_program(setting: Setting) -> dict[str, Any]:
    """What the compiler says of one setting, or why the program does not fit."""
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
    found["GB read and written"] = compilation.cost(program)["bytes"] / 1e9  # 0: the compiler does not tell
    found["MB exchanged"] = {kind: size / 1e6 for kind, size in exchanged(program.as_text()).items()}
    return found


def beside_sheet(found: dict[str, Any], sheet: Sheet, setting: Setting) -> dict[str, Any]:
    """Whether the peak is more than the device has, and the seconds that operations, memory and exchanges would each
    take at the rates of the data sheet. Where nothing overlaps, a step takes the larger of the first two and the third.
    """
    more = {}
    if found["MB"]["peak"] * 1e6 > sheet.capacity:
        more["does not fit"] = f"{found['MB']['peak'] / 1e3:.1f} of {sheet.capacity / 1e9:.0f} GB"
    seconds = {"exchange": passed_on(found["MB exchanged"], setting.mesh.shape["fsdp"]) * 1e6 / sheet.links}
    if found["GB read and written"]:
        seconds["memory"] = found["GB read and written"] * 1e9 / sheet.memory
    if setting.dtype == "bfloat16":
        seconds["operations"] = found["TFLOP of all devices"] * 1e12 / setting.mesh.size / sheet.operations
    return more | {"s by the data sheet": seconds}


def passed_on(exchanged: dict[str, float], fsdp: int) -> float:
    """What one of many devices sends: a sum passes about twice in a ring; of a scattered sum the result is a part."""
    times = {"all-reduce": 2, "reduce-scatter": fsdp}
    return sum(size * times.get(kind, 1) for kind, size in exchanged.items())


OWN = ("u32", "s32")
"""Types of the numbers that a started operation keeps for itself, each a scalar."""
COLLECTIVE = re.compile(r"= (.*?) (all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(-start)?\(")
ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")


def exchanged(program: str) -> dict[str, int]:
    """Bytes of the results of each kind of collective in a program's text, on one device. Loops count once.

    A started operation names its operands before its results, and numbers of its own after them: half of its arrays are
    results, but for all-reduce.
    """
    total: dict[str, int] = {}
    for shapes, kind, started in COLLECTIVE.findall(program):
        found = [(dtype, sizes) for dtype, sizes in ARRAY.findall(shapes) if not started or sizes or dtype not in OWN]
        arrays = [_width(dtype) * math.prod(int(size) for size in sizes.split(",") if size) for dtype, sizes in found]
        if started and kind != "all-reduce":
            arrays = arrays[len(arrays) // 2 :]
        total[kind] = total.get(kind, 0) + sum(arrays)
    return total


def _width(dtype: str) -> int:
    """Bytes of a number, by XLA's name of its type: bf16, s32, f8e4m3fn, pred."""
    bits = re.search(r"\d+", dtype)
    return max(1, int(bits[0]) // 8) if bits else 1

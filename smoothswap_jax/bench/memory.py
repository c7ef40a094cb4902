"""`smoothswap bench --what=memory`: what a training step needs of each device, by the compiler, before it runs.

Nothing is computed, so it works for devices that are not here (`described`), and for more than there are.
"""

import itertools
import re
import time
from typing import Any

import jax

from smoothswap_jax import compiling, sharding
from smoothswap_jax.bench.described import SHEETS, Sheet, described_devices
from smoothswap_jax.bench.flops import count_flops
from smoothswap_jax.bench.steps import Setting


def bench_memory(
    config: dict,
    embedder: dict,
    batches: list[int],
    dtypes: list[str],
    fsdps: list[int],
    remats: list[bool],
    devices: int | None = None,
    topology: str | None = None,
) -> dict:
    """Memory, operations and exchanged bytes of a device in the step with R1, which needs most; nested plain values.

    Args:
      config: a config of configs/swapper.py. embedder: the `embedder` fields of a config of stage 1.
      batches, dtypes, fsdps, remats: what to compile, each with each; global batch sizes.
      devices: how many, all by default. topology: of devices that are not here, as `described_devices` takes it.
    """
    found = described_devices(topology) if topology else jax.devices()
    count = devices or len(found)
    sheet = SHEETS.get(topology.partition(":")[0]) if topology else None
    result: dict[str, Any] = {"devices": f"{count} x {topology or found[0].device_kind}; jax {jax.__version__}"}
    for dtype, batch, fsdp, remat in itertools.product(dtypes, batches, fsdps, remats):
        name = f"batch {batch}, {dtype}, fsdp {fsdp}" + (", remat" if remat else "")
        setting = Setting(config, embedder, batch, dtype, sharding.make_mesh(count, fsdp, found), remat)
        result[name] = one_program(setting)
        if sheet and "MB" in result[name]:
            result[name]["s at the least"] = roofline(result[name], sheet, count, fsdp)
    return result


def one_program(setting: Setting) -> dict[str, Any]:
    """What the compiler says of one setting, or why the program does not fit."""
    counted = count_flops(setting.step(True), setting.shapes, setting.frozen, setting.batch)
    found: dict[str, Any] = {"TFLOP of all devices": counted / 1e12, "MB of state": setting.state_bytes() / 1e6}
    start = time.perf_counter()
    try:
        program = setting.programs()[True].compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return found | {"does not fit": next((line for line in str(error).splitlines() if "Used" in line), str(error))}
    found["compile s"] = time.perf_counter() - start
    found["MB"] = {key: value / 1e6 for key, value in compiling.memory(program).items()}
    found["GB read and written"] = compiling.cost(program)["bytes"] / 1e9  # 0: the compiler does not tell
    found["MB exchanged"] = {kind: size / 1e6 for kind, size in exchanged(program.as_text()).items()}
    return found


def roofline(found: dict[str, Any], sheet: Sheet, devices: int, fsdp: int) -> dict[str, float]:
    """Seconds that the step's operations, its memory and its exchanges take by themselves at the data sheet's rates.

    Parameters are gathered from neighbours; gradients are summed over all devices, which passes them on about
    twice. Where work and exchange do not overlap at all, a step takes the larger of the first two and the third.
    """
    beyond = sheet.beyond if devices > fsdp else sheet.beside
    exchanged = {kind: size * 1e6 for kind, size in found["MB exchanged"].items()}
    summed = 2 * exchanged.pop("all-reduce", 0.0) + fsdp * exchanged.pop("reduce-scatter", 0.0)
    return {
        "operations": found["TFLOP of all devices"] * 1e12 / devices / sheet.operations,
        "memory": found["GB read and written"] * 1e9 / sheet.memory,
        "exchange": summed / beyond + sum(exchanged.values()) / sheet.beside,
    }


BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8}
COLLECTIVE = re.compile(
    r"= (.*?) (all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(-start)?\(", re.MULTILINE
)
ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")


def exchanged(program: str) -> dict[str, int]:
    """Bytes of the results of each kind of collective in a program's text, on one device. Loops count once.

    A started operation names its operands before its results: half of its arrays are results, but for all-reduce.
    """
    total: dict[str, int] = {}
    for shapes, kind, started in COLLECTIVE.findall(program):
        arrays = [BYTES.get(dtype, 4) * _product(sizes) for dtype, sizes in ARRAY.findall(shapes)]
        if started and kind != "all-reduce":
            arrays = arrays[len(arrays) // 2 :]
        total[kind] = total.get(kind, 0) + sum(arrays)
    return total


def _product(sizes: str) -> int:
    product = 1
    for size in filter(None, sizes.split(",")):
        product *= int(size)
    return product

"""The tables of docs/scaling.md that follow from counted operations, compiled exchanges and data sheets.

    python -m tests.bench.plan

from the repository's root; a minute on any machine, without an accelerator.
"""

import jax

from smoothswap_jax.bench.flops import count_flops
from smoothswap_jax.bench.memory import passed_on
from smoothswap_jax.bench.steps import Setting
from smoothswap_jax.bench.topologies import SHEETS
from smoothswap_jax.config.load import load_config
from smoothswap_jax.runtime import sharding

FRACTION = 0.45
"""Of the data sheet's operations/s that a step is to reach: an aim."""
BETWEEN_HOSTS = 50e9
"""Bytes/s of a GPU's network card of 400 Gbit/s."""
STEPS, PAPER_BATCH, FSDP = 800_000, 8, 8
DOLLARS = {"v5e": 1.2, "v5p": 4.2, "h200": 10.0}
"""An hour of a device: an assumption."""
SLICES = (("v5e-64", "v5e", 64, 1), ("v5p-128", "v5p", 64, 4), ("8 H200", "h200", 8, 8), ("64 H200", "h200", 64, 8))
"""Name, kind, devices, pairs on each."""
EXCHANGED = {
    ("paper256", 8): {"all-gather": 561.5, "all-reduce": 3.3, "all-to-all": 0.8, "reduce-scatter": 20.0},
    ("paper256", 64): {"all-gather": 623.9, "all-reduce": 32.2, "all-to-all": 0.6, "reduce-scatter": 31.4},
    ("ncsnpp256", 8): {"all-gather": 704.0, "all-reduce": 3.5, "all-to-all": 2.4, "reduce-scatter": 34.2},
    ("ncsnpp256", 64): {"all-gather": 794.6, "all-reduce": 40.8, "all-to-all": 1.8, "reduce-scatter": 39.8},
}
"""MB a device, by `smoothswap bench --what=memory`, --topology=h200:1x8 and h200:8x8, fsdp 8, bfloat16, 8 pairs."""


def counted(variant: str) -> tuple[float, float, float]:
    """TFLOP a pair without R1, with R1, and in the mean; prints them with the state's MB on a device."""
    config = load_config(f"configs/swapper.py:{variant}", [])
    embedder = load_config("configs/embedder.py:paper256", [])["embedder"]
    whole, split = (Setting(config, embedder, 8, "bfloat16", sharding.make_mesh(8, fsdp)) for fsdp in (1, FSDP))
    plain, with_r1 = (
        count_flops(whole.program.step(flag), whole.program.shapes, whole.frozen, whole.batch, platform="gpu") / 8e12
        for flag in (False, True)
    )
    interval = config["objective"]["r1_interval"]
    mean = (plain * (interval - 1) + with_r1) / interval
    state = [setting.state_bytes() / 1e6 for setting in (whole, split)]
    print(f"{variant}: TFLOP a pair {plain:.3f}, with R1 {with_r1:.3f}, mean {mean:.3f}; ", end="")
    print(f"state {state[0]:,.0f} / {state[1]:,.0f} MB ({state[0] / state[1]:.1f}x)")
    return plain, with_r1, mean


def planned(variant: str, mean: float, name: str, kind: str, devices: int, pairs: int) -> str:
    """One line of the second table."""
    sheet, sizes = SHEETS[kind], dict(EXCHANGED[variant, devices])
    operations = mean * 1e12 * pairs / sheet.operations
    beyond = {"all-reduce": sizes.pop("all-reduce")} if name == "64 H200" else {}
    exchange = passed_on(sizes, FSDP) * 1e6 / sheet.links + passed_on(beyond, FSDP) * 1e6 / BETWEEN_HOSTS
    step, batch = operations / FRACTION + exchange, devices * pairs
    hours = step * STEPS * devices / 3600
    return (
        f"{variant} | {name} | {batch} | {operations * 1e3:.1f} | {exchange * 1e3:.1f} | {step * 1e3:.0f} | "
        f"{batch / step:,.0f} | {step * STEPS / 86400:.2f} | {hours:,.0f} | {hours * DOLLARS[kind]:,.0f} | "
        f"as many pairs as the paper: {hours * PAPER_BATCH / batch:.1f} device-hours"
    )


def main() -> None:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    for variant in ("paper256", "ncsnpp256"):
        mean = counted(variant)[2]
        for row in SLICES:
            print(planned(variant, mean, *row))


if __name__ == "__main__":
    main()

"""The tables of docs/scaling.md that follow from counted operations, compiled exchanges and data sheets.

    python -m smoothswap_jax.bench.plan

takes a minute on any machine, without an accelerator.
"""

import argparse

import jax

from smoothswap_jax.bench.flops import count_flops
from smoothswap_jax.bench.memory import bytes_sent
from smoothswap_jax.bench.setting import make_setting
from smoothswap_jax.bench.topologies import DATA_SHEETS
from smoothswap_jax.config.load import load_config
from smoothswap_jax.runtime import sharding

UTILIZATION = 0.45
"""Fraction of the data sheet's operations/s that a step reaches: an aim, not a measurement."""
BETWEEN_HOSTS = 50e9
"""Bytes/s of a network card of 400 Gbit/s for each GPU."""
STEPS, PAPER_BATCH = 800_000, 8
FSDP = PAIRS = 8
"""Devices that share a state, and pairs on each device, in the counts and in EXCHANGED."""
DOLLARS = {"v5e": 1.2, "v5p": 4.2, "h200": 10.0}
"""For an hour of a device: an assumption."""
SLICES = (("v5e-64", "v5e", 64, 1), ("v5p-128", "v5p", 64, 4), ("8 H200", "h200", 8, 8), ("64 H200", "h200", 64, 8))
"""(name, kind of device, devices, pairs on each device)"""
EXCHANGED = {
    ("paper256", 8): {"all-gather": 561.5, "all-reduce": 3.3, "all-to-all": 0.8, "reduce-scatter": 20.0},
    ("paper256", 64): {"all-gather": 623.9, "all-reduce": 32.2, "all-to-all": 0.6, "reduce-scatter": 31.4},
    ("ncsnpp256", 8): {"all-gather": 704.0, "all-reduce": 3.5, "all-to-all": 2.4, "reduce-scatter": 34.2},
    ("ncsnpp256", 64): {"all-gather": 794.6, "all-reduce": 40.8, "all-to-all": 1.8, "reduce-scatter": 39.8},
}
"""(variant, devices) -> results of each kind of collective, MB a device, from `smoothswap bench --what=memory` with
--topology=h200:1x8 and h200:8x8, --fsdp 8, --dtype bfloat16, 8 pairs a device."""


def count_variant(variant: str) -> tuple[float, float, float]:
    """TFLOP a pair without R1, with R1, and on average; prints them, and the MB of state on a device (fsdp 1 / 8)."""
    config, embedder = load_config(f"swapper:{variant}", []), load_config("embedder:paper256", [])["embedder"]
    whole, split = (
        make_setting(config, embedder, PAIRS, "bfloat16", sharding.make_mesh(FSDP, fsdp)) for fsdp in (1, FSDP)
    )
    plain, with_r1 = (
        count_flops(whole.program.step(flag), whole.program.shapes, whole.frozen, whole.batch, platform="gpu")
        / PAIRS
        / 1e12
        for flag in (False, True)
    )
    interval = config["objective"]["r1_interval"]
    mean = (plain * (interval - 1) + with_r1) / interval
    state = [setting.state_bytes() / 1e6 for setting in (whole, split)]
    print(f"{variant}: TFLOP a pair {plain:.3f}, with R1 {with_r1:.3f}, mean {mean:.3f}; ", end="")
    print(f"state {state[0]:,.0f} / {state[1]:,.0f} MB ({state[0] / state[1]:.1f}x)")
    return plain, with_r1, mean


def plan_row(variant: str, mean: float, name: str, kind: str, devices: int, pairs: int) -> str:
    """One row of the second table. mean: TFLOP a pair; the rest as in SLICES."""
    sheet, sizes = DATA_SHEETS[kind], dict(EXCHANGED[variant, devices])
    operations = mean * 1e12 * pairs / sheet.operations
    # fsdp stays within a host; what is summed over all devices passes through the network cards.
    between_hosts = {"all-reduce": sizes.pop("all-reduce")} if name == "64 H200" else {}
    exchange = bytes_sent(sizes, FSDP) * 1e6 / sheet.links + bytes_sent(between_hosts, FSDP) * 1e6 / BETWEEN_HOSTS
    step, batch = operations / UTILIZATION + exchange, devices * pairs
    hours = step * STEPS * devices / 3600
    return (
        f"{variant} | {name} | {batch} | {operations * 1e3:.1f} | {exchange * 1e3:.1f} | {step * 1e3:.0f} | "
        f"{batch / step:,.0f} | {step * STEPS / 86400:.2f} | {hours:,.0f} | {hours * DOLLARS[kind]:,.0f} | "
        f"as many pairs as the paper: {hours * PAPER_BATCH / batch:.1f} device-hours"
    )


def main(arguments: list[str] | None = None) -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args(arguments)
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", FSDP)
    for variant in ("paper256", "ncsnpp256"):
        *_, mean = count_variant(variant)
        for row in SLICES:
            print(plan_row(variant, mean, *row))


if __name__ == "__main__":
    main()

"""The same networks and step in PyTorch: eager or compiled, channels last, bfloat16 by autocast."""

import time
from collections.abc import Callable
from typing import Any

import torch

from smoothswap_jax.bench.accelerator.clock import seconds_of
from smoothswap_jax.bench.accelerator.measurement import Setup, peak_sizes
from smoothswap_jax.bench.torch_networks import TorchStep

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"


def describe(setup: Setup) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name() if CUDA else "cpu",
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()},
    }


def wait(_: Any) -> None:
    if CUDA:
        torch.cuda.synchronize()


def peaks(setup: Setup) -> dict[str, float]:
    """As `device.peaks`."""
    side, count = peak_sizes(setup)
    a, b = torch.randn(side, side, device=DEVICE), torch.randn(count, device=DEVICE)
    low = a.bfloat16()

    def product(allow_tf32: bool) -> torch.Tensor:
        torch.backends.cuda.matmul.allow_tf32 = allow_tf32
        return a @ a

    calls: dict[str, Callable] = {
        "bfloat16": lambda: low @ low,
        "tf32": lambda: product(True),
        "float32": lambda: product(False),
        "copy": b.clone,
    }
    times = seconds_of(calls, wait, setup.seconds)
    operations = 2 * side**3
    return {
        **{f"matmul {kind}, FLOP/s": operations / times[kind] for kind in ("bfloat16", "tf32", "float32")},
        "copy, bytes/s": 2 * 4 * count / times["copy"],
    }


def steps(setup: Setup, preset: str, batch: int, compiled: bool) -> dict[str, Any]:
    """Milliseconds of the step without and with R1, and of the generator's forward pass with what its backward keeps.

    Where the networks are compiled, R1's own pass through the discriminator is eager: PyTorch does not compile second
    derivatives.
    """
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    torch.compiler.reset()
    one = TorchStep(
        setup.presets[preset], setup.embedder, batch, device=DEVICE, dtype=torch.bfloat16, channels_last=True,
        compiled=compiled,
    )  # fmt: skip
    calls: dict[str, Callable] = {
        "step": lambda: one(with_r1=False),
        "step with R1": lambda: one(with_r1=True),
        "generator forward": one.generate,
    }
    found: dict[str, Any] = {"images": batch}
    start = time.perf_counter()
    for name, call in calls.items():
        found[f"{name}, ms"] = 1e3 * seconds_of({"": call}, wait, setup.seconds)[""]
        if CUDA:
            found[f"{name}, MB at the peak"] = torch.cuda.max_memory_allocated() / 1e6
    return found | {"whole s": time.perf_counter() - start}

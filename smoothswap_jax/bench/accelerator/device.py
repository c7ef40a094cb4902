"""The device by JAX: what it is, and what it reaches at most."""

import os
import platform
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from smoothswap_jax.bench.accelerator.clock import seconds_of
from smoothswap_jax.bench.accelerator.measurement import Setup, peak_sizes


def describe(setup: Setup) -> dict[str, Any]:
    import flax
    import optax

    device = jax.devices()[0]
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "devices": jax.device_count(),
        "platform version": device.client.platform_version,
        "memory": memory_statistics(),
        "CPU cores": os.cpu_count(),
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (jax, jax.lib, flax, optax, np) if _versioned(module)},
        },
        "sizes": "tiny, a rehearsal" if setup.tiny else "the presets'",
    }


def _versioned(module: Any) -> bool:
    return hasattr(module, "__version__")


def memory_statistics() -> dict[str, float]:
    """MB that JAX's allocator may take, and the most that it has taken in this process; empty on CPU."""
    found = jax.devices()[0].memory_stats() or {}
    names = {"bytes_limit": "MB at most", "peak_bytes_in_use": "MB in use at the peak"}
    return {name: found[key] / 1e6 for key, name in names.items() if key in found}


def peaks(setup: Setup) -> dict[str, float]:
    """FLOP/s of large matrix products, and bytes/s of a copy, read and written; of random numbers, since products of
    equal ones draw less power and run faster.

    "float32" is at highest precision; "tf32" is float32 at JAX's default one, which GPUs compute in TF32.
    """
    side, count = peak_sizes(setup)
    a = jax.random.normal(jax.random.key(0), (side, side))
    low = a.astype(jnp.bfloat16)
    highest = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    product = jax.jit(jnp.matmul)
    b = jax.random.normal(jax.random.key(1), (count,))
    copy = jax.jit(jnp.copy)
    calls = {
        "bfloat16": lambda: product(low, low),
        "tf32": lambda: product(a, a),
        "float32": lambda: highest(a),
        "copy": lambda: copy(b),
    }
    times = seconds_of(calls, jax.block_until_ready, setup.seconds)
    operations = 2 * side**3
    return {
        **{f"matmul {kind}, FLOP/s": operations / times[kind] for kind in ("bfloat16", "tf32", "float32")},
        "copy, bytes/s": 2 * b.nbytes / times["copy"],
    }

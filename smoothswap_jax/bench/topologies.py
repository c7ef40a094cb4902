"""Devices that are not here, to compile for: what a program needs there is then known before anybody pays for it.

The compilers come with `pip install "jax[tpu]"` and `pip install "jax[cuda12]"`, and need no such device.
"""

import os
from typing import Any, NamedTuple

from jax.experimental import topologies

HOPPER = """
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 }
  core_count: 132  fpus_per_core: 128  clock_rate_ghz: 1.98  l2_cache_size: 52428800
  threads_per_warp: 32  threads_per_block_limit: 1024  threads_per_core_limit: 2048
  registers_per_core_limit: 65536  registers_per_block_limit: 65536
  shared_memory_per_core: 233472  shared_memory_per_block: 49152  shared_memory_per_block_optin: 232448
  block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
"""
GPUS = {
    "h100": HOPPER + "device_memory_size: 85899345920  memory_bandwidth: 3350000000000 }",
    "h200": HOPPER + "device_memory_size: 151397597184  memory_bandwidth: 4800000000000 }",
}
"""XLA's target descriptions, from NVIDIA's data sheets (SXM)."""


class Sheet(NamedTuple):
    """What a data sheet says of a device: dense bfloat16 operations/s, its memory in bytes and their bytes/s, and the
    bytes/s that all its links to its neighbours pass one way."""

    operations: float
    capacity: float
    memory: float
    links: float


SHEETS = {
    "v5e": Sheet(197e12, 16e9, 819e9, 200e9),
    "v5p": Sheet(459e12, 95e9, 2765e9, 600e9),
    "h100": Sheet(989e12, 80e9, 3350e9, 450e9),
    "h200": Sheet(989e12, 141e9, 4800e9, 450e9),
}
"""Google Cloud's pages and NVIDIA's. Between hosts of GPUs there is less than `links`: 50e9 with a card of 400 Gbit/s a
GPU."""


def kind_of(topology: str) -> str:
    """'v5e' of 'v5e:8x8'."""
    return topology.partition(":")[0]


def described_devices(name: str) -> list[Any]:
    """The devices of 'v5e:8x8', a TPU slice by its chips, or of 'h200:8x8', hosts by GPUs of each.

    Raises ValueError for a name that is none, and ImportError where the compiler for it is not installed.
    """
    kind, shape = kind_of(name), name.partition(":")[2]
    if kind not in SHEETS or not shape:
        raise ValueError(f"--topology={name}: wanted a TPU slice as v5e:8x8, or GPUs as h200:8x8; of {sorted(SHEETS)}")
    try:
        if kind in GPUS:
            import jax_plugins.xla_cuda12  # noqa: F401

            how = {"topology": f"1x{shape}", "target_config": GPUS[kind]}
            return list(topologies.get_topology_desc("", "cuda", **how).devices)
        import libtpu  # noqa: F401

        # Else it waits minutes for the cloud's answer, and lets one process compile at a time.
        for variable in ("TPU_SKIP_MDS_QUERY", "ALLOW_MULTIPLE_LIBTPU_LOAD"):
            os.environ.setdefault(variable, "1")
        return list(topologies.get_topology_desc(name, "tpu").devices)
    except ImportError as error:
        raise ImportError(
            f'--topology={name}: {error}; wanted pip install "jax[tpu]", or "jax[cuda12]" for {[*GPUS]}'
        ) from error
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(f"--topology={name}: {error}; wanted a TPU slice as v5e:8x8, or GPUs as h200:8x8") from error

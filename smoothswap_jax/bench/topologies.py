"""TPU slices and GPU hosts to compile for without having them, and what their data sheets promise.

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
"""XLA's target descriptions of the SXM versions, from NVIDIA's data sheets."""


class DataSheet(NamedTuple):
    """A device according to its data sheet.

    operations: dense bfloat16 operations/s. capacity: bytes of memory. memory: bytes/s to and from it. links: bytes/s
    that all links to other devices carry, in one direction.
    """

    operations: float
    capacity: float
    memory: float
    links: float


DATA_SHEETS = {
    "v5e": DataSheet(197e12, 16e9, 819e9, 200e9),
    "v5p": DataSheet(459e12, 95e9, 2765e9, 600e9),
    "v6e": DataSheet(918e12, 32e9, 1638e9, 400e9),
    "h100": DataSheet(989e12, 80e9, 3350e9, 450e9),
    "h200": DataSheet(989e12, 141e9, 4800e9, 450e9),
}
"""From Google Cloud's documentation and NVIDIA's data sheets. `links` of GPUs is NVLink within a host; between hosts, a
network card of 400 Gbit/s for each GPU carries 50e9."""


def device_kind(topology: str) -> str:
    """'v5e:8x8' -> 'v5e'."""
    return topology.partition(":")[0]


def topology_devices(name: str) -> list[Any]:
    """Devices to compile for: of a TPU slice ('v5e:8x8', its chips) or of GPU hosts ('h200:8x8', hosts x GPUs in each).

    Raises ValueError for an unknown topology, and ImportError if the compiler for it is not installed.
    """
    kind, shape = device_kind(name), name.partition(":")[2]
    if kind not in DATA_SHEETS or not shape:
        raise ValueError(
            f"--topology={name}: wanted a TPU slice as v5e:8x8, or GPUs as h200:8x8; of {sorted(DATA_SHEETS)}"
        )
    try:
        if kind in GPUS:
            import jax_plugins.xla_cuda12  # noqa: F401

            how = {"topology": f"1x{shape}", "target_config": GPUS[kind]}
            return list(topologies.get_topology_desc("", "cuda", **how).devices)
        import libtpu  # noqa: F401

        # Otherwise libtpu waits minutes for the cloud's metadata server, and only one process can compile at a time.
        for variable in ("TPU_SKIP_MDS_QUERY", "ALLOW_MULTIPLE_LIBTPU_LOAD"):
            os.environ.setdefault(variable, "1")
        return list(topologies.get_topology_desc(name, "tpu").devices)
    except ImportError as error:
        raise ImportError(
            f'--topology={name}: {error}; wanted pip install "jax[tpu]", or "jax[cuda12]" for {[*GPUS]}'
        ) from error
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(f"--topology={name}: {error}; wanted a TPU slice as v5e:8x8, or GPUs as h200:8x8") from error

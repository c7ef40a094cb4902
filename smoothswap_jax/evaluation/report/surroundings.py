"""How an evaluation came about: command, date, hardware and versions, for the last section of its report."""

import datetime
import importlib.metadata
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import jax


def surroundings(protocol: str, judges: Sequence[str], seconds: float) -> dict[str, Any]:
    """What every evaluation's last section says."""
    versions = {name: importlib.metadata.version(name) for name in ("smoothswap-jax", "jax", "flax", "numpy")}
    device = jax.devices()[0]
    return {
        "command": shlex.join(["smoothswap", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "hardware": f"{device.platform} x {jax.device_count()} ({device.device_kind}), {os.cpu_count()} CPU cores, "
        f"{platform.machine()}",
        "protocol": protocol,
        "judges": ", ".join(judges) or "none",
        "bootstrap": "2000 resamples, seed 0, over source people",
        "seconds": round(seconds, 1),
        "python": platform.python_version(),
        **versions,
    }

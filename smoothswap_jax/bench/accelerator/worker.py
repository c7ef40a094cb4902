"""The process that measures, one thing after the other as it is told; another one keeps the record and the time.

It may die, hang or run out of memory without harm to what was measured before. JAX and PyTorch have a process each,
since each takes most of the device's memory for itself.
"""

import importlib
import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from smoothswap_jax.bench.accelerator.measurement import (
    Fields,
    Measurement,
    NotInstalled,
    Setup,
    tiny_embedder,
    tiny_preset,
)

SECONDS, TINY_SECONDS = 2.0, 0.01
LINES = 30
"""Of a traceback that are recorded."""
OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "out of memory", "OutOfMemoryError", "MemoryError")


PLACES = {
    ("jax", "describe"): "device",
    ("jax", "peaks"): "device",
    ("jax", "step"): "steps",
    ("jax", "phase"): "steps",
    **{("jax", name): "forms" for name in ("fir", "pointwise", "weight", "attention")},
    **{("torch", name): "torch_side" for name in ("describe", "peaks", "steps")},
}
"""(library, function of a Measurement): the module beside this one that has it."""


def _find(library: str, function: str) -> Callable[..., Fields]:
    """Imports late, so that a library that lacks something costs the measurements that need it, and no others."""
    module = importlib.import_module(f"{__package__}.{PLACES[library, function]}")
    return getattr(module, function)


def on_cpu(library: str) -> bool:
    """Whether the library has no accelerator here. Raises NotInstalled where it is PyTorch and not there."""
    if library == "torch":
        try:
            import torch
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise NotInstalled("torch is not installed") from None
        return not torch.cuda.is_available()
    import jax

    return jax.default_backend() == "cpu"


def work(connection: Connection, library: str, presets: dict[str, Fields], embedder: Fields) -> None:
    """Answers each Measurement with its record, until the other end closes."""
    os.setsid()  # so that whatever it starts, such as PyTorch's compilers, can be ended with it
    setup: Setup | None = None
    while True:
        try:
            measurement: Measurement = connection.recv()
        except EOFError:
            return
        try:
            setup = setup or make_setup(on_cpu(library), presets, embedder)
            arguments = dict(measurement.arguments)
            if setup.tiny and "batch" in arguments:
                arguments["batch"] = max(1, arguments["batch"] // 8)
            found = {"status": "measured", **_find(library, measurement.function)(setup, **arguments)}
        except NotInstalled as error:
            found = {"status": "not installed", "error": str(error)}
        except Exception as error:
            found = failure(error)
        connection.send(found)


def make_setup(tiny: bool, presets: dict[str, Fields], embedder: Fields) -> Setup:
    if not tiny:
        return Setup(presets, embedder, SECONDS, tiny=False)
    small = {name: tiny_preset(config) for name, config in presets.items()}
    return Setup(small, tiny_embedder(embedder), TINY_SECONDS, tiny=True)


def failure(error: Exception) -> dict[str, Any]:
    text = f"{type(error).__name__}: {error}"
    status = "out of memory" if any(words in text for words in OUT_OF_MEMORY) else "failed"
    lines = traceback.format_exc().splitlines()
    return {"status": status, "error": text[:1000], "traceback": "\n".join(line[:300] for line in lines[-LINES:])}

"""The embedder that stage 1 left behind, as stage 2 and evaluation use it."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.runtime import checkpoint, folders, sharding


def frozen_embedder(given: str | None, workdir: Path) -> tuple[dict, Any]:
    """(config fields, variables) of the embedder, copied into the run directory so that this can be moved and restored
    on its own. given: `config.embedder.checkpoint`; not read where the copy is there already."""
    copy = workdir / "embedder"
    if sharding.broadcast_from_main(
        np.bool_(any(path.name.isdigit() for path in (copy / checkpoint.FOLDER).glob("*")))
    ):
        return load_embedder(copy)
    if not given:
        raise ConfigError("config.embedder.checkpoint is not set, wanted the run directory of an embedder")
    if fault := folders.mistake(given, folders.EMBEDDER):
        raise ConfigError(f"config.embedder.checkpoint is {fault}")
    parts, meta, step = checkpoint.load_parts(given, ("params", "batch_stats"))
    parts = {"params": {"embedder": parts["params"]["embedder"]}, "batch_stats": parts["batch_stats"]}
    manager = checkpoint.open_manager(copy)
    checkpoint.save(manager, step, parts, meta)
    checkpoint.close(manager)
    sharding.barrier("embedder is copied")
    return load_embedder(copy)


def load_embedder(run: str | os.PathLike[str]) -> tuple[dict, Any]:
    """(config fields, variables) of the embedder saved in a run directory of stage 1."""
    if fault := folders.mistake(run, folders.EMBEDDER):
        raise checkpoint.CheckpointError(fault)
    parts, meta, _ = checkpoint.load_parts(run, ("params", "batch_stats"))
    config = meta["config"]
    if config["stage"] != "embedder":
        raise checkpoint.CheckpointError(f"{run}: a run of stage {config['stage']!r}, wanted 'embedder'")
    return config["embedder"], {"params": parts["params"]["embedder"], "batch_stats": parts["batch_stats"]}

"""The embedder that stage 1 left behind, as stage 2 and evaluation use it."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from smoothswap_jax.config.errors import ConfigError, raise_mistakes
from smoothswap_jax.config.parse import parse, to_dict
from smoothswap_jax.config.schema import EmbedderConfig
from smoothswap_jax.runtime import checkpoint, sharding
from smoothswap_jax.training.checks import network_mistakes
from smoothswap_jax.training.networks import embedder_shapes


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
    parts, meta, step = _read(given)
    parts = {"params": {"embedder": parts["params"]["embedder"]}, "batch_stats": parts["batch_stats"]}
    manager = checkpoint.open_manager(copy)
    checkpoint.save(manager, step, parts, meta)
    checkpoint.close(manager)
    sharding.barrier("embedder is copied")
    return load_embedder(copy)


def load_embedder(run: str | os.PathLike[str]) -> tuple[dict, Any]:
    """(config fields, variables) of the embedder saved in a run directory of stage 1."""
    parts, meta, _ = _read(run)
    variables = {"params": parts["params"]["embedder"], "batch_stats": parts["batch_stats"]}
    return to_dict(parse(meta["config"]))["embedder"], variables


def _read(run: str | os.PathLike[str]) -> tuple[dict, dict, int]:
    """(parts, meta, step) of the newest checkpoint, which may be somebody else's: its config is checked, and its arrays
    are compared with it, before they are read."""

    def wanted(meta: dict, arrays: int, file: Path) -> dict:
        config = parse(meta.get("config", {}), str(file))
        if not isinstance(config, EmbedderConfig):
            raise checkpoint.CheckpointError(f"{run}: a run of stage {config.stage!r}, wanted 'embedder'")
        raise_mistakes(network_mistakes(config), f"{file}: ")
        shapes = embedder_shapes(config.embedder, config.data.size, arrays, str(file))
        return {"params": {"embedder": shapes["params"]}, "batch_stats": shapes["batch_stats"]}

    return checkpoint.load_parts(run, ("params", "batch_stats"), wanted=wanted)

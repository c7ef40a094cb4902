"""Which changes of the config a run may be resumed with."""

import logging
from collections.abc import Mapping
from typing import Any

from flax.traverse_util import flatten_dict

log = logging.getLogger(__name__)

FIXED = (
    "stage",
    "seed",
    "batch",
    "images_per_identity",
    "self_pair_fraction",
    "grad_accum_steps",
    "embedder",
    "generator",
    "discriminator",
    "data",
    "augment",
)
"""Fields that decide the model and the examples of each step: they must not change."""
KINDS = ("objective/kind", "optimizer/name", "generator_optimizer/name", "discriminator_optimizer/name")
"""Fields that decide which arrays a state has."""
FREE = ("embedder/checkpoint", "data/feed", "data/dir", "generator/remat", "discriminator/remat")
"""Exceptions below FIXED: paths, and fields that change how a step is computed but not its result."""


class ResumeError(ValueError):
    """The run was started with another model or other data; the text lists the fields."""


def check_same_run(meta: Mapping[str, Any], config: Mapping[str, Any], data: Mapping[str, int], run: str) -> None:
    """Raises ResumeError if `config` or the sizes in `data` differ from those the run was started with.

    meta: what was saved with the checkpoint. Changes that are allowed are logged.
    """
    before, now = (flatten_dict(dict(c), keep_empty_nodes=True, sep="/") for c in (meta["config"], config))
    changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    change = lambda key: f"config.{key.replace('/', '.')} was {before.get(key)!r} and is {now.get(key)!r}"
    fixed = lambda key: (key.split("/")[0] in FIXED and key not in FREE) or key in KINDS
    refused = [change(key) for key in changed if fixed(key)]
    counted = meta.get("data", data)
    refused += [f"the data have {data[key]} {key} and had {counted[key]}" for key in data if data[key] != counted[key]]
    if refused:
        raise ResumeError(
            f"{run}: was started as another run: {'; '.join(refused)}; wanted the same, or a new --workdir"
        )
    for key in changed:
        if key not in FREE:
            log.warning("resuming with another value: %s", change(key))

"""Whether a run may go on with another config than it was begun with."""

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
    "grad_accum_steps",
    "embedder",
    "generator",
    "discriminator",
    "data",
    "augment",
)
"""Fields by which the model and the examples of each step are decided."""
KINDS = ("objective/kind", "optimizer/name", "generator_optimizer/name", "discriminator_optimizer/name")
"""Fields that decide what a state holds."""
FREE = ("embedder/checkpoint", "data/feed", "data/dir", "generator/remat", "discriminator/remat")
"""Fields below them that change neither: where things lie, and how the same is computed."""


class ResumeError(ValueError):
    """The run was begun with another model or other data; the text lists the fields."""


def check_same_run(meta: Mapping[str, Any], config: Mapping[str, Any], data: Mapping[str, int], run: str) -> None:
    """Raises ResumeError where `config` or the counts of `data` are not those that the run was begun with.

    meta: what was saved with the checkpoint. Other changes of the config are logged.
    """
    before, now = (flatten_dict(dict(c), keep_empty_nodes=True, sep="/") for c in (meta["config"], config))
    changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    told = lambda key: f"config.{key.replace('/', '.')} was {before.get(key)!r} and is {now.get(key)!r}"
    fixed = lambda key: (key.split("/")[0] in FIXED and key not in FREE) or key in KINDS
    refused = [told(key) for key in changed if fixed(key)]
    counted = meta.get("data", data)
    refused += [f"the data have {data[key]} {key} and had {counted[key]}" for key in data if data[key] != counted[key]]
    if refused:
        raise ResumeError(f"{run}: was begun as another run: {'; '.join(refused)}; wanted the same, or a new --workdir")
    for key in changed:
        if key not in FREE:
            log.warning("resuming with another value: %s", told(key))

"""Configs of runs that were begun before a field got its present name."""

import copy
from collections.abc import Mapping
from typing import Any

from smoothswap_jax.config.errors import Fields

RENAMED = {"accumulate": "grad_accum_steps", "photos": "images_per_identity", "keep": "max_to_keep"}
"""Old name -> new name, of top-level fields."""
STRENGTHS = ("backdrop", "colour", "shift", "scale", "blur", "noise", "hole")
"""Fields of `objective.transform` that switch a transformation on."""
NO_TRANSFORM = dict.fromkeys(STRENGTHS, 0.0) | {"blur_sigma": 0.8}
ADDED: dict[str, dict[str, dict[str, Any]]] = {
    "embedder": {
        "data": {"rendered_cache": "", "look_alikes": 1},
        "objective": {"transform": NO_TRANSFORM, "adversarial_steps": 0, "adversarial_radius": 0.02},
    },
    "swapper": {
        "data": {"rendered_cache": "", "look_alikes": 1},
        "init": {"new_identity": False},
        "generator": {"injection": "add"},
        "discriminator": {"projection": False},
        "embedder": {"also": None, "imported": None},
        "objective": {"transform": NO_TRANSFORM, "transform_samples": 1, "back": 0.0, "feature_matching": 0.0},
    },
}
"""Fields of each stage's groups that came later, with the value that stands for what was done before."""
REMAT = {True: "nothing_saveable", False: "off"}
"""What `remat` of generator and discriminator was before its policies had names."""


def with_current_names(config: Fields) -> dict[str, Any]:
    """A stored config under today's names; configs that have them already come back equal."""
    current = {RENAMED.get(name, name): value for name, value in config.items()}
    stage = current.get("stage")
    for group, fields in ADDED.get(stage if isinstance(stage, str) else "", {}).items():
        if isinstance(current.get(group), Mapping):
            current[group] = {**copy.deepcopy(fields), **current[group]}
            if isinstance(current[group].get("transform"), Mapping):
                current[group]["transform"] = NO_TRANSFORM | current[group]["transform"]
    if stage == "embedder":
        current.setdefault("init", {"embedder": None})
    if stage == "swapper":
        current.setdefault("self_pair_fraction", 0.125)  # it was max(1, batch // 8) in code
        for group in ("generator", "discriminator"):
            if isinstance(current.get(group), Mapping) and isinstance(current[group].get("remat"), bool):
                current[group] = {**current[group], "remat": REMAT[current[group]["remat"]]}
    return current

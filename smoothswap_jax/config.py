"""Configs: what is wrong with them is a ConfigError."""

from collections.abc import Mapping
from typing import Any

Fields = Mapping[str, Any]


class ConfigError(ValueError):
    """A config field has a value that cannot be used."""


RENAMED = {"accumulate": "grad_accum_steps", "photos": "images_per_identity", "keep": "max_to_keep"}


def with_current_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config that an older version saved, under today's names of its top-level fields."""
    current = {RENAMED.get(name, name): value for name, value in config.items()}
    if current.get("stage") == "swapper":
        current.setdefault("self_pair_fraction", 0.125)
    return current


def load_config(path: str, overrides: list[str]) -> dict:
    """A config file with `--config.field=value` overrides, as plain nested dicts.

    Raises ValueError naming the file or the field that does not fit.
    """
    from absl import flags
    from ml_collections import config_flags

    values = flags.FlagValues()
    arguments = ["smoothswap", f"--config={path}", *overrides]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=arguments)
    try:
        left = values(arguments)[1:]
    except (flags.Error, AttributeError, KeyError, TypeError, FileNotFoundError) as error:
        # ml_collections puts a traceback into its messages; the reason is their last line.
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"--config={path}: {reason}") from error
    if left:
        raise ValueError(f"unrecognised arguments: {' '.join(left)}")
    return values.config.to_dict()

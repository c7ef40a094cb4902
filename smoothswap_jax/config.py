"""Configs: what is wrong with them is a ConfigError."""

from collections.abc import Mapping
from typing import Any

Fields = Mapping[str, Any]


class ConfigError(ValueError):
    """A config field has a value that cannot be used."""

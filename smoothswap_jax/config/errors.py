"""What is wrong with a config, in words that name the field."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

Fields = Mapping[str, Any]
"""Config fields by name, as `ConfigDict.to_dict` and JSON give them."""


class ConfigError(ValueError):
    """A config field that is unknown, missing or has a value that cannot be used."""


def raise_mistakes(mistakes: list[str], where: str = "") -> None:
    """Raises a ConfigError that lists all `mistakes` on one line; does nothing if there are none."""
    if not mistakes:
        return
    text = mistakes[0]
    if len(mistakes) > 1:
        numbered = " ".join(f"({number}) {mistake}" for number, mistake in enumerate(mistakes, 1))
        text = f"{len(mistakes)} mistakes: {numbered}"
    raise ConfigError(where + text)


def no_field(unknown: str, names: Iterable[str]) -> str:
    """'no field optimizer; did you mean generator_optimizer?'

    Args:
      unknown: the dotted name that does not exist, e.g. 'generator.width'; its group 'generator' does.
      names: the dotted names of all fields and groups.
    """
    group, _, last = unknown.rpartition(".")
    leaves: dict[str, list[str]] = {}
    for name in names:
        leaves.setdefault(name.rpartition(".")[2], []).append(name)
    beside = [leaf for leaf, full in leaves.items() if any(name.rpartition(".")[0] == group for name in full)]
    if close := difflib.get_close_matches(last, beside, n=1):
        meant = [f"{group}.{close[0]}".lstrip(".")]
    elif close := difflib.get_close_matches(last, leaves, n=1):
        meant = leaves[close[0]]
    else:
        return f"no field {unknown}; {group or 'the config'} has {', '.join(sorted(beside)) or 'no fields'}"
    return f"no field {unknown}; did you mean {' or '.join(meant)}?"

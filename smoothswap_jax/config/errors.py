"""What is wrong with a config, in words that name the field."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

Fields = Mapping[str, Any]
"""Config fields by name, as `ConfigDict.to_dict` and JSON give them."""
MOST = 20
"""Mistakes that one error lists: a file that is something else altogether has any number."""


class ConfigError(ValueError):
    """A config field that is unknown, missing or has a value that cannot be used."""


def raise_mistakes(mistakes: list[str], where: str = "") -> None:
    """Raises a ConfigError that lists all `mistakes` on one line; does nothing if there are none."""
    if not mistakes:
        return
    text = mistakes[0]
    if len(mistakes) > 1:
        numbered = " ".join(f"({number}) {mistake}" for number, mistake in enumerate(mistakes[:MOST], 1))
        more = f" and {len(mistakes) - MOST} more" if len(mistakes) > MOST else ""
        text = f"{len(mistakes)} mistakes: {numbered}{more}"
    raise ConfigError(where + text)


def shown(value: Any) -> str:
    """A value that may come from a file of others, as it stands in an error: at most 100 characters."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value[:100]) if isinstance(value, str | bytes | list | tuple) else repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def shown_line(error: BaseException) -> str:
    """An error of another library in at most 200 characters of one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."


def no_fields(unknown: list[str], names: Iterable[str]) -> list[str]:
    """`no_field` of each; beyond `MOST` only the names, as proposals take time."""
    names = list(names)
    return [no_field(name, names) for name in unknown[:MOST]] + [f"no field {name[:60]}" for name in unknown[MOST:]]


def no_field(unknown: str, names: Iterable[str]) -> str:
    """'no field optimizer; did you mean generator_optimizer?'

    Args:
      unknown: the dotted name that does not exist, e.g. 'generator.width'; its group 'generator' does.
      names: the dotted names of all fields and groups.
    """
    if len(unknown) > 100:
        return f"no field {unknown[:97]}..."
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

"""Plain nested dicts -> the frozen dataclasses of config/schema.py, and back."""

import dataclasses
import numbers
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Union

from smoothswap_jax.config.errors import ConfigError, Fields, no_field, raise_mistakes
from smoothswap_jax.config.renamed import with_current_names
from smoothswap_jax.config.schema import STAGES, EmbedderConfig, SwapperConfig

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", type(None): "None"}
NUMBERS = {int: numbers.Integral, float: numbers.Real}
"""What is taken for a number: NumPy's too, which config files may compute with."""
MISSING = object()


def parse(config: Fields) -> EmbedderConfig | SwapperConfig:
    """The config of the stage that `config["stage"]` names. Lists (JSON has no tuples) become tuples, and fields that
    once had another name are taken under it too (`renamed.py`).

    Raises ConfigError that names every field that is unknown, missing, of a wrong type or out of range, with what was
    found and what is wanted.
    """
    config = with_current_names(config)
    stage = config.get("stage")
    if not isinstance(stage, str) or stage not in STAGES:
        raise ConfigError(f"config.stage is {stage!r}, wanted one of {sorted(STAGES)}")
    mistakes: list[str] = []
    parsed = _group(STAGES[stage], config, "", _names(STAGES[stage]), mistakes)
    raise_mistakes(mistakes)
    return parsed


def to_dict(config: EmbedderConfig | SwapperConfig) -> dict[str, Any]:
    """The config as nested dicts, tuples and plain values: `parse(to_dict(c)) == c`, also by way of JSON."""
    return dataclasses.asdict(config)


def _group(kind: type, values: Fields, where: str, names: list[str], mistakes: list[str]) -> Any:
    """`values` as dataclass `kind`; what is wrong is added to `mistakes`, and the result is then of no use.

    where: the dotted name of the group, '' for the whole config. names: all dotted names, for proposals.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    mistakes += [no_field(_join(where, name), names) for name in values if name not in hints]
    found = {
        name: _value(hint, values.get(name, MISSING), _join(where, name), names, mistakes)
        for name, hint in hints.items()
    }
    return kind(**found)


def _value(hint: Any, value: Any, where: str, names: list[str], mistakes: list[str]) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return _group(typing.cast(type, hint), value, where, names, mistakes)
    if value is MISSING:
        mistakes.append(f"config.{where} is missing, wanted {_wanted(hint)}")
        return None
    try:
        return _plain(hint, value)
    except ValueError:
        mistakes.append(f"config.{where} is {value!r}, wanted {_wanted(hint)}")
        return None


def _plain(hint: Any, value: Any) -> Any:
    """`value` as the type `hint` says, lists as tuples; raises ValueError where it does not fit."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        value = _plain(arguments[0], value)
        if value not in arguments[1]:
            raise ValueError
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _plain(_not_none(arguments), value)
    if origin is tuple:
        return _tuple(arguments, value)
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return _frozen(value)
    if hint in NUMBERS:
        if isinstance(value, bool) or not isinstance(value, NUMBERS[hint]):  # bool is a subclass of int
            raise ValueError
        return hint(value)
    if type(value) is not hint:
        raise ValueError
    return value


def _tuple(arguments: tuple, value: Any) -> tuple:
    if not isinstance(value, list | tuple):
        raise ValueError
    if arguments[-1] is Ellipsis:
        return tuple(_plain(arguments[0], item) for item in value)
    return tuple(_plain(hint, item) for hint, item in zip(arguments, value, strict=True))


def _frozen(value: Any) -> Any:
    """Lists as tuples, at any depth."""
    if isinstance(value, Mapping):
        return {key: _frozen(item) for key, item in value.items()}
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


def _wanted(hint: Any) -> str:
    """The type `hint` in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return f"{_wanted(arguments[0])}, {arguments[1]}"
    if origin in (Union, types.UnionType):
        return f"{_wanted(_not_none(arguments))} or None"
    if origin is tuple and arguments[-1] is Ellipsis:
        return f"a tuple, of each item: {_wanted(arguments[0])}"
    if origin is tuple:
        return f"({', '.join(_wanted(item) for item in arguments)})"
    return WORDS.get(hint, "a group of fields")


def _not_none(arguments: tuple) -> Any:
    (hint,) = (hint for hint in arguments if hint is not type(None))
    return hint


def _names(kind: Any, where: str = "") -> list[str]:
    """The dotted names of all fields and groups of a dataclass."""
    own = {_join(where, name): hint for name, hint in typing.get_type_hints(kind).items()}
    nested = [name for field, hint in own.items() if dataclasses.is_dataclass(hint) for name in _names(hint, field)]
    return [*own, *nested]


def _join(where: str, name: str) -> str:
    return f"{where}.{name}".lstrip(".")

"""Plain nested dicts -> the frozen dataclasses of config/schema.py, and back."""

import dataclasses
import json
import numbers
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Union

from smoothswap_jax.config.errors import ConfigError, Fields, no_fields, raise_mistakes, shown
from smoothswap_jax.config.renamed import with_current_names
from smoothswap_jax.config.schema import STAGES, EmbedderConfig, Length, SwapperConfig

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", type(None): "None"}
NUMBERS = {int: numbers.Integral, float: numbers.Real}
"""What is taken for a number: NumPy's too, which config files may compute with."""
MISSING = object()


def parse(config: Fields, file: str = "") -> EmbedderConfig | SwapperConfig:
    """The config of the stage that `config["stage"]` names. Lists (JSON has no tuples) become tuples, and fields that
    once had another name are taken under it too (`renamed.py`).

    file: where the config was read, for errors.

    Raises ConfigError that names every field that is unknown, missing, of a wrong type or out of bounds, with what was
    found and what is wanted.
    """
    where = f"{file}: " if file else ""
    if not isinstance(config, Mapping):
        raise ConfigError(f"{where}config is {shown(config)}, wanted a group of fields")
    config = with_current_names(config)
    stage = config.get("stage")
    if not isinstance(stage, str) or stage not in STAGES:
        raise ConfigError(f"{where}config.stage is {shown(stage)}, wanted one of {sorted(STAGES)}")
    mistakes: list[str] = []
    parsed = _group(STAGES[stage], config, "", _names(STAGES[stage]), mistakes)
    raise_mistakes(mistakes, where)
    return parsed


def parse_fields(kind: Any, values: Fields, name: str) -> tuple[dict[str, Any], list[str]]:
    """The fields of one group, such as a network's, and what is wrong with them.

    kind: a TypedDict of config/schema.py. name: the group's dotted name, for errors.
    """
    mistakes: list[str] = []
    if not isinstance(values, Mapping):
        return {}, [f"config.{name} is {shown(values)}, wanted a group of fields"]
    return _group(kind, values, name, [name, *_names(kind, name)], mistakes), mistakes


def to_dict(config: EmbedderConfig | SwapperConfig) -> dict[str, Any]:
    """The config as nested dicts, tuples and plain values: `parse(to_dict(c)) == c`, also by way of JSON."""
    return dataclasses.asdict(config)


def as_stored(config: EmbedderConfig | SwapperConfig) -> dict[str, Any]:
    """A config as a run directory and its checkpoints give it back: with lists, and with fields that a network's
    mapping may leave out."""
    return with_current_names(json.loads(json.dumps(to_dict(config))))


def _group(kind: Any, values: Fields, where: str, names: list[str], mistakes: list[str]) -> Any:
    """`values` as dataclass or TypedDict `kind`; what is wrong is added to `mistakes`, and the result is then of no
    use.

    where: the dotted name of the group, '' for the whole config. names: all dotted names, for proposals.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    mistakes += no_fields([_join(where, str(name)) for name in values if name not in hints], names)
    wanted = {name: hint for name, hint in hints.items() if name in values or not typing.is_typeddict(kind)}
    found = {
        name: _value(hint, values.get(name, MISSING), _join(where, name), names, mistakes)
        for name, hint in wanted.items()
    }
    return kind(**found)


def _is_group(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint) or typing.is_typeddict(hint)


def _value(hint: Any, value: Any, where: str, names: list[str], mistakes: list[str]) -> Any:
    if _is_group(hint) and isinstance(value, Mapping):
        return _group(hint, value, where, names, mistakes)
    if value is MISSING:
        mistakes.append(f"config.{where} is missing, wanted {_wanted(hint)}")
        return None
    try:
        return _plain(hint, value)
    except (ValueError, OverflowError):
        mistakes.append(f"config.{where} is {shown(value)}, wanted {_wanted(hint)}")
        return None


def _plain(hint: Any, value: Any) -> Any:
    """`value` as the type `hint` says, lists as tuples; raises ValueError where it does not fit."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        kind, bounds = arguments
        if isinstance(bounds, Length) and isinstance(value, list | tuple) and tuple(value) not in bounds:
            raise ValueError  # before a million items are looked at
        value = _plain(kind, value)
        if value not in bounds:
            raise ValueError
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _plain(_not_none(arguments), value)
    if origin is tuple:
        return _tuple(arguments, value)
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


def _wanted(hint: Any) -> str:
    """The type `hint` in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        kind, bounds = arguments
        return f"a tuple of {_items(kind, bounds)}" if isinstance(bounds, Length) else f"{_wanted(kind)}, {bounds}"
    if origin in (Union, types.UnionType):
        return f"{_wanted(_not_none(arguments))} or None"
    if origin is tuple and arguments[-1] is Ellipsis:
        return f"a tuple of items, each {_wanted(arguments[0])}"
    if origin is tuple:
        return f"({', '.join(_wanted(item) for item in arguments)})"
    return WORDS.get(hint, "a group of fields")


def _items(kind: Any, bounds: Length) -> str:
    item, _ = typing.get_args(kind)
    return f"{bounds}, each {_wanted(item)}"


def _not_none(arguments: tuple) -> Any:
    (hint,) = (hint for hint in arguments if hint is not type(None))
    return hint


def _names(kind: Any, where: str = "") -> list[str]:
    """The dotted names of all fields and groups of a dataclass or TypedDict."""
    own = {_join(where, name): hint for name, hint in typing.get_type_hints(kind).items()}
    return [*own, *(name for field, hint in own.items() if _is_group(hint) for name in _names(hint, field))]


def _join(where: str, name: str) -> str:
    return f"{where}.{name}".lstrip(".")

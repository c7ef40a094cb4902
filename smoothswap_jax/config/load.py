"""Config files, found by name or path, with overrides from the command line."""

import difflib
import functools
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from smoothswap_jax.config.errors import ConfigError, no_field, raise_mistakes, shown
from smoothswap_jax.config.renamed import RENAMED

if TYPE_CHECKING:
    from ml_collections import ConfigDict

PACKAGE = Path(__file__).resolve().parents[1]
OVERRIDE = re.compile(r"--?(?:no)?config\.(?P<field>[^=]+)(?:=(?P<value>.*))?", re.DOTALL)
WANTED = {"int": "a whole number", "float": "a number", "bool": "true or false", "tuple": "a tuple, e.g. '(1, 2)'"}


def load_config(name: str, overrides: list[str]) -> dict[str, Any]:
    """A config as plain nested dicts.

    Args:
      name: FILE[:VARIANT]; FILE is a shipped config (`embedder`, `swapper`) or the path of a Python file that has
        `get_config(variant)`, which returns a ConfigDict.
      overrides: `--config.field=value` arguments, as ml_collections reads them; the last of a field counts.

    Raises ConfigError that names the file, or every field that does not fit with what was found and wanted.
    """
    from absl import flags
    from ml_collections import config_flags

    config = _read(name)
    _check_names(name, config, overrides)
    overrides = _last_of_each(overrides)
    values, arguments = flags.FlagValues(), ["smoothswap", *overrides]
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=arguments)
        left = values(arguments)[1:]
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise_mistakes(_wrong_types(config, overrides), f"{name}: ")
        raise ConfigError(f"{name}: {_last_line(error)}") from error
    if left:
        raise ConfigError(f"unrecognised arguments: {' '.join(left)}")
    found = config.to_dict()
    raise_mistakes(_unread_data_fields(found, overrides), f"{name}: ")
    return found


def find_config(name: str) -> tuple[Path, str | None]:
    """The file and the variant (None: the file's default) of FILE[:VARIANT]."""
    file, _, variant = name.partition(":")
    shipped = shipped_configs()
    path = shipped.get(file, Path(file))
    if not path.is_file():
        known = [f"{stem}:{own}" for stem, found in shipped.items() for own in _run_file(found).VARIANTS]
        meant = difflib.get_close_matches(name, known, n=1) or difflib.get_close_matches(Path(file).stem, shipped, n=1)
        if Path(file).stem in shipped:  # the file of a clone, named from another folder
            meant = [f"{Path(file).stem}{':' if variant else ''}{variant}"]
        where = f" in {Path.cwd()}" if "/" in file else ""
        proposal = f"; did you mean {meant[0]}?" if meant else ""
        raise ConfigError(
            f"{name}: found no file {file}{where}; wanted the path of a config file, or one of {', '.join(known)}, "
            f"which are found from any folder{proposal}"
        )
    return path, variant or None


def shipped_configs() -> dict[str, Path]:
    """The configs that come with the package, by name: in a wheel inside of it, in a clone beside it."""
    inside = PACKAGE / "configs"
    folder = inside if inside.is_dir() else PACKAGE.parent / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.py"))}


def _read(name: str) -> "ConfigDict":
    from ml_collections import ConfigDict

    path, variant = find_config(name)
    try:
        config = _run_file(path).get_config(*([variant] if variant else []))
    except ValueError as error:  # an unknown variant
        raise ConfigError(f"{name}: {error}") from error
    except Exception as error:  # a config file is the user's code: whatever fails in it is theirs to mend
        raise ConfigError(f"{name}: {type(error).__name__}: {error}") from error
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"{name}: get_config() returned {type(config).__name__}, wanted a ConfigDict")
    return config


def _run_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"smoothswap_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def _check_names(name: str, config: "ConfigDict", overrides: list[str]) -> None:
    """ml_collections reports only the first part of an unknown name that does not exist, and proposes nothing."""
    names = _names(config.to_dict())
    asked = [match["field"] for text in overrides if (match := OVERRIDE.fullmatch(text))]
    mistakes = [_name_mistake(field, names, config) for field in dict.fromkeys(asked) if field not in names]
    mistakes += [_stray(text, names) for text in overrides if text.startswith("--") and not OVERRIDE.fullmatch(text)]
    raise_mistakes(list(dict.fromkeys(mistakes)), f"{name}: ")


def _name_mistake(field: str, names: list[str], config: "ConfigDict") -> str:
    whole = field.partition("[")[0]
    if whole != field and whole in names:  # ml_collections would write into a tuple, and fails
        value = functools.reduce(lambda inside, key: inside[key], whole.split("."), config)
        example = f"'{value}'" if isinstance(value, tuple) else "VALUE"
        return f"config.{field}: no single item can be set; wanted the whole, --config.{whole}={example}"
    unknown = _unknown_part(field, names)
    return f"no field {unknown}; it is now {RENAMED[unknown]}" if unknown in RENAMED else no_field(unknown, names)


def _last_of_each(overrides: list[str]) -> list[str]:
    """Without overrides that a later one replaces: ml_collections would append a tuple to the one before."""
    fields = [match["field"] if (match := OVERRIDE.fullmatch(text)) and "=" in text else None for text in overrides]
    return [text for i, text in enumerate(overrides) if fields[i] is None or fields[i] not in fields[i + 1 :]]


def _stray(text: str, names: list[str]) -> str:
    """What is said of an option that is neither the verb's nor a field's: often a field without `config.`."""
    option, equals, value = text.partition("=")
    option = option.lstrip("-")
    meant = [name for name in names if name == option or name.endswith(f".{option}")]
    if not meant and (close := difflib.get_close_matches(f"config.{option.partition('.')[2]}", _options(names), n=1)):
        meant = [close[0].removeprefix("config.")]
    hint = f"; did you mean {' or '.join(f'--config.{name}{equals}{value}' for name in meant)}?" if meant else ""
    return f"unrecognised argument {text}{hint}"


def _options(names: list[str]) -> list[str]:
    return [f"config.{name}" for name in names]


def _unknown_part(field: str, names: list[str]) -> str:
    """The shortest beginning of a dotted name that is no field or group: 'a' of 'a.b' where there is no 'a'."""
    parts = field.split(".")
    beginnings = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return next(beginning for beginning in beginnings if beginning not in names)


READ = {
    "synthetic": ("people", "photos", "spread", "look_alikes", "held_out_people", "seed", "rendered_cache"),
    "prepared": ("dir", "weights"),
    "folder": ("dir", "held_out_people"),
    "tfds": ("dir", "name"),
}
"""Which fields of `data` each kind of data reads, beside those that all do (config/common.py)."""


def _unread_data_fields(config: dict[str, Any], overrides: list[str]) -> list[str]:
    """What is wrong with `data` fields that were set for another kind of data: they would be ignored, and the run would
    train on something else than its user thinks."""
    data = config.get("data")
    if not isinstance(data, dict) or data.get("kind") not in READ:
        return []
    kind = data["kind"]
    fields = [match["field"] for text in overrides if (match := OVERRIDE.fullmatch(text))]
    given = [
        name for name in data if f"data.{name}" in fields or name in ("dir", "weights")
    ]  # these are unset otherwise
    mistakes = []
    for name in given:
        readers = [other for other, names in READ.items() if name in names]
        if readers and kind not in readers and data[name] not in (None, "", ()):
            mistakes.append(
                f"config.data.{name} is {data[name]!r}, which config.data.kind={kind} does not read; wanted "
                f"config.data.kind={' or '.join(readers)}, or no config.data.{name}"
            )
    return mistakes


def _names(fields: dict[str, Any], group: str = "") -> list[str]:
    """The dotted names of all fields and groups."""
    own = {f"{group}.{key}".lstrip("."): value for key, value in fields.items()}
    return [*own, *(name for key, value in own.items() if isinstance(value, dict) for name in _names(value, key))]


def _wrong_types(config: "ConfigDict", overrides: list[str]) -> list[str]:
    """What is wrong with overrides of the form --config.field=value that do not parse by themselves."""
    from absl import flags
    from ml_collections import config_flags

    mistakes = []
    for text in overrides:
        match = OVERRIDE.fullmatch(text)
        if match is None or match["value"] is None:
            continue
        try:
            values = flags.FlagValues()
            config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=["smoothswap", text])
            values(["smoothswap", text])
        except (flags.Error, AttributeError, KeyError, TypeError, ValueError):
            *groups, last = match["field"].split(".")
            inside = config
            for group in groups:
                inside = inside[group]
            wanted = WANTED.get(inside.get_type(last).__name__, "a group of fields, e.g. '{\"name\": 1}'")
            mistakes.append(f"config.{match['field']} is {shown(match['value'])}, wanted {wanted}")
    return mistakes


def _last_line(error: Exception) -> str:
    """ml_collections puts a traceback into its messages; the reason is their last line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()

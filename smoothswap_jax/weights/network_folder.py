"""A network as a folder of `params.safetensors` and `config.json`, which can be read without this package.

params.safetensors holds float32 arrays (an export's may be float16) under flat names: `params/conv1/kernel`,
`batch_stats/bn1/mean`. config.json holds the format's version, the kind, the module's class and fields, the shapes of
its inputs, the preprocessing, where the weights come from (name and SHA-256 of the file, or of each of `files`, and
what was left aside in them), and the freshly initialised leaves.
"""

import dataclasses
import json
import re
import types
import typing
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from smoothswap_jax.runtime.files import check_new_folder, new_folder, sha256_of
from smoothswap_jax.runtime.json_files import JsonError, read_json
from smoothswap_jax.weights.importing import import_network
from smoothswap_jax.weights.inspect import some_names
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.readers.errors import shown
from smoothswap_jax.weights.registry import GRAPH_KINDS, find_spec, specs
from smoothswap_jax.weights.spec import Network
from smoothswap_jax.weights.stored_tensor import WeightMismatch
from smoothswap_jax.weights.variables import at_most_layers, not_finite, to_variables

FORMAT = 1
MAX_INPUT = 4096
"""Pixels a side, or numbers, that a network takes."""
PARAMS, CONFIG = "params.safetensors", "config.json"


class FolderError(ValueError):
    """A folder does not hold a network in this format; the message names the folder and what is wrong."""


# --------------------------------------------------------------------------------------------- variables as a file
def save_variables(path: str | Path, variables: Mapping[str, Any], dtype: str = "float32") -> None:
    """Nested variables as one safetensors file of float32 or float16 arrays, under names joined by slashes. Raises
    OSError."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    flat = flatten_dict(dict(variables), sep="/")
    # A transposed view would be written in the wrong order.
    try:
        save_file({name: np.ascontiguousarray(value, dtype) for name, value in flat.items()}, path)
    except SafetensorError as error:  # of the system, but not as one of its errors
        raise OSError(f"{path}: could not be written ({error})") from error


def load_variables(path: str | Path) -> dict[str, Any]:
    """What `save_variables` wrote, as float32. Raises FolderError for a file that is not safetensors, and for values
    that are not finite, with the names."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    variable_shapes(path)
    try:
        flat = {name: value.astype(np.float32, copy=False) for name, value in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise FolderError(f"{path}: {error}") from error
    if problem := not_finite(flat):
        raise FolderError(f"{path}: {problem}")
    return unflatten_dict(flat, sep="/")


def variable_shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's arrays by flat name, without reading them. Raises FolderError for a file that
    `save_variables` did not write."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
            elements = {name: one.get_dtype() for name, one in found.items()}
            shapes = {name: tuple(one.get_shape()) for name, one in found.items()}
    except (SafetensorError, OSError) as error:
        raise FolderError(f"{path}: {error}") from error
    if odd := [name for name, kind in elements.items() if kind not in ("F32", "F16")]:
        raise FolderError(f"{path}: {odd[0][:200]} has elements of type {elements[odd[0]]}, wanted F32 or F16")
    if inside := [name for name in shapes if any(name[:i] in shapes for i, c in enumerate(name) if c == "/")]:
        raise FolderError(f"{path}: {inside[0][:200]} lies in another array, wanted names of a tree")
    return shapes


# ------------------------------------------------------------------------------------------------ modules as JSON
def module_fields(module: nn.Module) -> dict[str, Any]:
    """The fields of a module as JSON values; `dtype` by name."""
    fields = {f.name: getattr(module, f.name) for f in dataclasses.fields(module) if f.name not in ("parent", "name")}
    return {
        name: jnp.dtype(value).name
        if name == "dtype"
        else {str(k): v for k, v in value.items()}
        if isinstance(value, Mapping)
        else value
        for name, value in fields.items()
    }


DROPPED = ("resblock", "biggan")
"""A field, and its only value, in folders that were written while NCSNpp still had it."""
DTYPES = ("float32", "bfloat16", "float16", "float64")
LARGEST, LONGEST = 1 << 16, 64
"""Of numbers and lists in a module's fields: no published network comes near."""


def module_classes() -> dict[str, type[nn.Module]]:
    """The classes of all kinds of networks, by name."""
    return {spec.module.__name__: spec.module for spec in specs().values()}


def make_module(name: str, fields: Mapping[str, Any]) -> nn.Module:
    """The module of a class that some kind of network has. Raises FolderError for another class, and for fields that
    are unknown, of another type, or absurdly large."""
    classes = module_classes()
    if not isinstance(name, str) or name not in classes:
        raise FolderError(f"module is {shown(name)}, wanted one of {', '.join(classes)}")
    if not isinstance(fields, Mapping):
        raise FolderError(f"fields are {shown(fields)}, wanted a group of fields")
    fields = {key: value for key, value in fields.items() if (key, value) != DROPPED}
    hints = field_types(classes[name])
    if unknown := [key for key in fields if key not in hints]:
        raise FolderError(f"{name} has no field {shown(unknown[0])}, only {', '.join(hints)}")
    return classes[name](**{key: _field(f"{name}.{key}", hints[key], value) for key, value in fields.items()})


def field_types(module: type[nn.Module]) -> dict[str, Any]:
    """The types of a module's own fields."""
    hints = typing.get_type_hints(module)
    return {
        field.name: hints[field.name] for field in dataclasses.fields(module) if field.name not in ("parent", "name")
    }


def _field(name: str, hint: Any, value: Any) -> Any:
    """A JSON value as a field of type `hint`. Raises FolderError where it does not fit, or is absurdly large."""
    kind, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        (inner,) = (one for one in arguments if one is not type(None))
        return None if value is None else _field(name, inner, value)
    if name.endswith(".remat") and isinstance(value, bool):  # before its policies had names
        return value
    if kind is Any and value in DTYPES:  # only `dtype` has no type
        return jnp.dtype(value)
    several = isinstance(value, list) and len(value) <= LONGEST
    if several and (kind is Sequence or (kind is tuple and len(value) == len(arguments))):
        return tuple(_field(name, arguments[min(i, len(arguments) - 1)], item) for i, item in enumerate(value))
    numbered = isinstance(value, Mapping) and all(re.fullmatch(r"[0-9]{1,5}", key) for key in value)
    if kind is Mapping and numbered and len(value) <= LONGEST:
        return {int(key): _field(name, arguments[1], item) for key, item in value.items()}
    number = kind in (int, float) and type(value) in (int, kind) and abs(value) <= LARGEST
    if number or (kind in (bool, str) and type(value) is kind):
        return value
    wanted = hint.__name__ if isinstance(hint, type) else str(hint).replace("collections.abc.", "")
    raise FolderError(f"{name} is {shown(value)}, wanted {wanted}, of at most {LARGEST:,} and {LONGEST} items")


# ------------------------------------------------------------------------------------------------------ the folder
def save_network(out: str | Path, network: Network, source: Mapping[str, Any], overwrite: bool = False) -> None:
    """Writes the folder `out`, completely or not at all. source: where the weights come from, as JSON values.
    overwrite: whether `out` may be an imported network that is there already.

    Raises OSError when `out` exists and is not empty, or cannot be written to.
    """
    config = {
        "format": FORMAT,
        "kind": network.kind,
        "module": type(network.module).__name__,
        "fields": module_fields(network.module),
        "inputs": network.inputs,
        "preprocessing": dataclasses.asdict(network.preprocessing),
        "source": dict(source),
        "fresh": network.fresh,
    }
    with new_folder(out, overwrite, (PARAMS, CONFIG)) as folder:
        save_variables(folder / PARAMS, network.variables)
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_imported(folder: str | Path) -> tuple[nn.Module, dict[str, Any], Preprocessing]:
    """The module, its variables (float32 numpy arrays) and its preprocessing.

    Raises FolderError for a folder that is not in this format, and WeightMismatch, with the names, when the arrays do
    not fit the module.
    """
    network = load_network(folder)
    return network.module, network.variables, network.preprocessing


def load_network(folder: str | Path) -> Network:
    """The network of a folder; raises as `load_imported` does."""
    folder = Path(folder)
    network = described_network(description(folder), folder / CONFIG)
    return dataclasses.replace(network, variables=_fitting_variables(folder, network.module, network.inputs))


def description(folder: str | Path) -> Any:
    """The JSON that says what network a folder holds, as it was read. Raises FolderError where there is none."""
    try:
        return read_json(Path(folder) / CONFIG)
    except JsonError as error:
        raise FolderError(f"{folder}: no imported network here ({error})") from error


def described_network(config: Any, file: str | Path) -> Network:
    """The network that a `description` means, without variables. file: where it was read, for errors.

    Raises FolderError for what is no description of a network.
    """
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else config
        raise FolderError(f"{file}: format is {shown(found)}, wanted {FORMAT}")
    if config.get("kind") in GRAPH_KINDS:
        raise FolderError(
            f"{file}: holds a graph of kind {config['kind']}, which only judges; wanted arrays to train with"
        )
    try:
        module = make_module(config["module"], config["fields"])
        inputs = _inputs(config["inputs"])
        preprocessing = preprocessing_of(config["preprocessing"])
        kind, fresh = config["kind"], _words("fresh", config["fresh"])
        _words("kind", [kind])
        if not isinstance(config.get("source", {}), dict):
            raise FolderError(f"{file}: source is {shown(config['source'])}, wanted where the weights come from")
    except KeyError as error:
        raise FolderError(f"{file}: lacks {error}") from error
    except ValueError as error:
        raise FolderError(f"{file}: {error}") from error
    return Network(kind, module, {}, preprocessing, inputs, fresh)


def _fitting_variables(folder: Path, module: nn.Module, inputs: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    """The arrays of a folder, compared with its module, which config.json describes, before they are read."""
    stored = variable_shapes(folder / PARAMS)
    shapes = [jax.ShapeDtypeStruct(shape, np.float32) for shape in inputs]
    stand_ins = {name: np.broadcast_to(np.float32(0), shape) for name, shape in stored.items()}  # take no memory
    try:
        with at_most_layers(len(stored)):
            to_variables("own", stand_ins, module, *shapes)
    except WeightMismatch as error:
        raise WeightMismatch(f"{folder / PARAMS}: {error}") from error
    except Exception as error:  # the fields are the file's: whatever a module raises of them is the file's fault
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FolderError(f"{folder / CONFIG}: the fields make no network ({reason})") from error
    return load_variables(folder / PARAMS)


def _inputs(value: Any) -> tuple[tuple[int, ...], ...]:
    sizes = lambda shape: isinstance(shape, list) and len(shape) <= 4 and all(type(n) is int for n in shape)
    if not isinstance(value, list) or not 1 <= len(value) <= 4 or not all(map(sizes, value)):
        raise FolderError(f"inputs are {shown(value)}, wanted shapes such as [[1, 112, 112, 3]]")
    if any(not 1 <= size <= MAX_INPUT for shape in value for size in shape):
        raise FolderError(f"inputs are {shown(value)}, wanted sizes of 1 to {MAX_INPUT}")
    return tuple(tuple(shape) for shape in value)


def preprocessing_of(value: Any) -> Preprocessing:
    """A preprocessing that was written as JSON. Raises FolderError for fields that do not fit."""
    if not isinstance(value, Mapping):
        raise FolderError(f"preprocessing is {shown(value)}, wanted a group of fields")
    hints = typing.get_type_hints(Preprocessing)
    if odd := [name for name in value if name not in hints]:
        raise FolderError(f"preprocessing has no field {shown(odd[0])}, only {', '.join(hints)}")
    given = {name: _field(f"preprocessing.{name}", hints[name], found) for name, found in value.items()}
    made = Preprocessing(given.pop("size"), given.pop("crop"), given.pop("channels"), **given)
    if made.size is not None and not all(1 <= size <= MAX_INPUT for size in made.size):
        raise FolderError(f"preprocessing.size is {made.size}, wanted sizes of 1 to {MAX_INPUT}")
    if not min(made.std) > 0 or not made.low < made.high:
        raise FolderError(f"preprocessing has {made}, wanted std above 0 and low below high")
    return made


def _words(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise FolderError(f"{name} is {shown(value)}, wanted text")
    return tuple(value)


def import_file(
    kind: str,
    weights: str | Path | Sequence[str | Path],
    out: str | Path,
    known: Mapping[str, Any],
    overwrite: bool = False,
) -> Network:
    """`smoothswap import`: from a published file, or several that make up one network, to the folder `out`.

    The files are read without running any code in them; the network's `notes` say what was read, left aside and
    skipped. Raises as `read_checkpoint` and `import_network` do, and WeightMismatch for names that occur in two files.
    """
    from smoothswap_jax.weights.readers.checkpoint import read_checkpoint

    check_new_folder(out, overwrite, (PARAMS, CONFIG))  # before minutes of reading
    find_spec(kind)
    paths = [Path(path) for path in ([weights] if isinstance(weights, str | Path) else weights)]
    trees: list[Any] = [read_checkpoint(path) for path in paths]
    aside = _skipped_note(trees)
    warning = [f"{note}; tensors inside such objects are not read: ask for a state_dict" for note in aside]
    try:
        # import_network refuses what is not a dict.
        network = import_network(kind, trees[0] if len(trees) == 1 else _merged(paths, trees), **known)
    except WeightMismatch as error:
        places = ", ".join(map(str, paths))
        raise WeightMismatch("; ".join([f"{places}: {error}", *warning])) from error
    network = dataclasses.replace(network, notes=(*network.notes, *aside))
    files = [{"file": path.name, "sha256": sha256_of(path)} for path in paths]
    source = {**(files[0] if len(files) == 1 else {"files": files}), "known": dict(known)}
    save_network(out, network, source | ({"notes": network.notes} if network.notes else {}), overwrite)
    return network


def _skipped_note(trees: Sequence[Any]) -> list[str]:
    """What the files hold beside tensors and their containers, as one line, or none."""
    from smoothswap_jax.weights.readers.tree import skipped

    counts = Counter(name for tree in trees for name in skipped(tree))
    kinds = [name + f" ({count} times)" * (count > 1) for name, count in counts.items()]
    return [f"skipped, not being tensors: {some_names(kinds)}"] if kinds else []


def _merged(paths: Sequence[Path], trees: Sequence[Any]) -> dict[Any, Any]:
    merged: dict[Any, Any] = {}
    for path, tree in zip(paths, trees, strict=True):
        if not isinstance(tree, Mapping):
            raise WeightMismatch(f"{path} holds a {type(tree).__name__}, wanted names with tensors")
        if twice := [str(name) for name in tree if name in merged]:
            raise WeightMismatch(f"{path}: names that an earlier file has too: {some_names(dict.fromkeys(twice))}")
        merged |= tree
    return merged

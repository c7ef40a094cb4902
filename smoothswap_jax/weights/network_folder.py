"""A network as a folder of `params.safetensors` and `config.json`, which can be read without this package.

params.safetensors holds float32 arrays under flat names: `params/conv1/kernel`, `batch_stats/bn1/mean`. config.json
holds the format's version, the kind, the module's class and fields, the shapes of its inputs, the preprocessing,
where the weights come from (name and SHA-256 of the file, or of each of `files`, and what was left aside in them), and
the freshly initialised leaves.
"""

import dataclasses
import json
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
from smoothswap_jax.weights.importing import import_network
from smoothswap_jax.weights.inspect import some_names
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.registry import find_spec, specs
from smoothswap_jax.weights.spec import Network
from smoothswap_jax.weights.stored_tensor import WeightMismatch
from smoothswap_jax.weights.variables import not_finite, to_variables

FORMAT = 1
PARAMS, CONFIG = "params.safetensors", "config.json"


class FolderError(ValueError):
    """A folder does not hold a network in this format; the message names the folder and what is wrong."""


# --------------------------------------------------------------------------------------------- variables as a file
def save_variables(path: str | Path, variables: Mapping[str, Any]) -> None:
    """Nested variables as one safetensors file of float32 arrays, under names joined by slashes. Raises OSError."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    flat = flatten_dict(dict(variables), sep="/")
    # A transposed view would be written in the wrong order.
    try:
        save_file({name: np.ascontiguousarray(value, np.float32) for name, value in flat.items()}, path)
    except SafetensorError as error:  # of the system, but not as one of its errors
        raise OSError(f"{path}: could not be written ({error})") from error


def load_variables(path: str | Path) -> dict[str, Any]:
    """What `save_variables` wrote. Raises FolderError for a file that is not safetensors, and for values that are
    not finite, with the names."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        flat = load_file(path)
    except (SafetensorError, OSError) as error:
        raise FolderError(f"{path}: {error}") from error
    if problem := not_finite(flat):
        raise FolderError(f"{path}: {problem}")
    return unflatten_dict(flat, sep="/")


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


def module_classes() -> dict[str, type[nn.Module]]:
    """The classes of all kinds of networks, by name."""
    return {spec.module.__name__: spec.module for spec in specs().values()}


def make_module(name: str, fields: Mapping[str, Any]) -> nn.Module:
    """The module of a class that some kind of network has. Raises FolderError for another class, and for unknown
    fields."""
    classes = module_classes()
    fields = {key: value for key, value in fields.items() if (key, value) != DROPPED}
    if name not in classes:
        raise FolderError(f"module is {name!r}, wanted one of {', '.join(classes)}")
    try:
        return classes[name](**{key: _field(key, value) for key, value in fields.items()})
    except TypeError as error:
        raise FolderError(f"{name}: {error}") from error


def _field(name: str, value: Any) -> Any:
    if name == "dtype":
        return jnp.dtype(value)
    if name == "channels" and isinstance(value, dict):
        return {int(resolution): count for resolution, count in value.items()}
    return tuple(value) if isinstance(value, list) else value


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
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FolderError(f"{folder}: no imported network here ({CONFIG}: {error})") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else config
        raise FolderError(f"{folder}/{CONFIG}: format is {found!r}, wanted {FORMAT}")
    try:
        module = make_module(config["module"], config["fields"])
        inputs = tuple(tuple(shape) for shape in config["inputs"])
        listed = {name: _field(name, value) for name, value in config["preprocessing"].items() if name != "channels"}
        preprocessing = Preprocessing(**listed, channels=config["preprocessing"]["channels"])
        kind, fresh = config["kind"], tuple(config["fresh"])
    except (KeyError, TypeError, AttributeError) as error:
        raise FolderError(f"{folder}/{CONFIG}: {error!r}") from error
    flat = flatten_dict(load_variables(folder / PARAMS), sep="/")
    shapes = [jax.ShapeDtypeStruct(shape, np.float32) for shape in inputs]
    try:
        variables = to_variables("own", flat, module, *shapes)
    except WeightMismatch as error:
        raise WeightMismatch(f"{folder / PARAMS}: {error}") from error
    return Network(kind, module, variables, preprocessing, inputs, fresh)


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

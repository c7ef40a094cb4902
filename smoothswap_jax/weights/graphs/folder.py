"""A graph as a folder of `network.onnx` or `network.tflite`, as it was published, and `config.json`.

config.json holds the format's version, the kind, the SHA-256 of the graph, how it is used (`use.py`), how many numbers
it gives for an image, mean and std of these where they are standardised, and where the file comes from.
"""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from smoothswap_jax.runtime.files import check_new_folder, new_folder, sha256_of
from smoothswap_jax.runtime.json_files import JsonError, read_json
from smoothswap_jax.weights.graphs.process import GraphError, GraphProcess, check_runtime
from smoothswap_jax.weights.graphs.use import MAX_WORDS, PARTS, POSE_SIZES, ROLES, Use, is_words, planned
from smoothswap_jax.weights.inspect import some_names
from smoothswap_jax.weights.network_folder import CONFIG, FORMAT, FolderError, preprocessing_of
from smoothswap_jax.weights.preprocessing import CROPS, preprocess
from smoothswap_jax.weights.readers.errors import shown
from smoothswap_jax.weights.readers.graph import MAX_FEATURES, MAX_SIDE, Graph, read_graph
from smoothswap_jax.weights.registry import GRAPH_KINDS

BATCH = 8
"""Images at a time, for graphs that take any number."""
NEAR = 1e-3
"""How far an image's numbers may differ with its place in the batch, over their largest."""
SAME = 1e-6
"""How far the numbers of two images at least differ, over each."""

Images = Float[np.ndarray, "n h w 3"]
Features = Float[np.ndarray, "n d"]


@dataclass(frozen=True)
class GraphNetwork:
    """A graph that can be run. file: its path, for errors. preset: the name of one, or ''. features: numbers that its
    outputs have together, 0 where that is not known yet. statistics: mean and std of these, where `use` says so.
    source: where it comes from."""

    graph: Graph
    data: bytes
    file: str
    sha256: str
    use: Use
    preset: str
    features: int
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None
    source: Mapping[str, Any]


def graph_file(kind: str) -> str:
    """The name that a graph has in its folder."""
    return f"network.{kind}"


def import_graph(
    kind: str,
    weights: str | Path | Sequence[str | Path],
    out: str | Path,
    known: Mapping[str, Any],
    overwrite: bool = False,
) -> GraphNetwork:
    """`smoothswap import --kind=onnx` or tflite: from a published graph to the folder `out`.

    weights: the graph and, where its numbers are standardised, the file with their `mean` and `std`. known: the
    keywords of `use.planned`. The graph is looked at before its runtime sees it, and run once.

    Raises WeightFileError for a file that must not be run, ValueError for keywords that do not fit, GraphError for a
    graph that cannot be run or gives something else than numbers for each image, ImportError where the runtime is not
    installed, and OSError for an `out` that cannot be made.
    """
    if kind not in GRAPH_KINDS:
        raise ValueError(f"kind is {kind!r}, wanted one of {', '.join(GRAPH_KINDS)}")
    check_new_folder(out, overwrite, (CONFIG, graph_file(kind)))
    paths = [Path(path) for path in ([weights] if isinstance(weights, str | Path) else weights)]
    check_runtime(kind, paths[0].name)
    graph, data = read_graph(paths[0], kind)
    preset, use = planned(kind, graph, known)
    if len(paths) > 1 + use.statistics or (use.statistics and len(paths) < 2):
        wanted = "the graph, and the file with mean and std of its numbers" if use.statistics else "the graph alone"
        raise ValueError(f"{kind}: found {len(paths)} files of --weights, wanted {wanted}")
    sha256 = hashlib.sha256(data).hexdigest()
    source: dict[str, Any] = {"file": paths[0].name, "sha256": sha256, "known": dict(known)}
    network = GraphNetwork(graph, data, str(paths[0]), sha256, use, preset, 0, None, source)
    network = dataclasses.replace(network, features=_tried(network))
    _check_use(network)
    if use.statistics:
        network = dataclasses.replace(network, statistics=_read_statistics(paths[1], network.features))
        source["statistics"] = {"file": paths[1].name, "sha256": sha256_of(paths[1])}
    with new_folder(out, overwrite, (CONFIG, graph_file(kind))) as folder:
        (folder / graph_file(kind)).write_bytes(data)
        (folder / CONFIG).write_text(json.dumps(_described(network), indent=2) + "\n", encoding="utf-8")
    return network


def _described(network: GraphNetwork) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": network.graph.kind,
        "graph": graph_file(network.graph.kind),
        "sha256": network.sha256,
        "preset": network.preset,
        **dataclasses.asdict(network.use),
        "features": network.features,
        "statistics": network.statistics,
        "source": network.source,
    }


# ------------------------------------------------------------------------------------------------------ running it
def runner(network: GraphNetwork) -> tuple[Callable[[Images], Features], str]:
    """A function from preprocessed images to the graph's numbers, float32, and what runs it, with its version.

    It runs in a process of its own, which ends with the function. Both raise GraphError, which names the file, and this
    ImportError where the runtime is not installed.
    """
    graph = network.graph
    process = GraphProcess(graph.kind, network.data, network.file, network.use.outputs)
    batch = graph.batch or BATCH

    def run(images: Images) -> Features:
        found = []
        for start in range(0, len(images), batch):
            rows = np.minimum(np.arange(start, start + batch), len(images) - 1)
            x = images[rows]
            outputs = process.run(x.transpose(0, 3, 1, 2) if graph.layout == "NCHW" else x)
            shapes = [one.shape for one in outputs]
            if any(not shape or shape[0] != batch for shape in shapes):
                raise GraphError(f"{network.file}: found outputs of shapes {shapes}; wanted [{batch}, d]")
            numbers = np.concatenate([one.reshape(batch, -1) for one in outputs], axis=1)
            if network.features and numbers.shape[1] != network.features:
                raise GraphError(f"{network.file}: gives {numbers.shape[1]:,} numbers; wanted {network.features:,}")
            found.append(numbers)
        return np.concatenate(found)[: len(images)]

    return run, process.runtime


def _tried(network: GraphNetwork) -> int:
    """How many numbers the graph gives, by running it on noise. Raises GraphError for numbers that are not finite, that
    are the same for any image, or that depend on the images beside it."""
    run, _ = runner(network)
    how = network.use.preprocessing
    assert how.size is not None
    noise = np.random.default_rng(0).uniform(-1, 1, (2, *how.size, 3)).astype(np.float32)
    pair = np.asarray(preprocess(jnp.asarray(noise), how))
    found = run(pair)
    beside_itself = np.stack([run(np.stack([image, image]))[0] for image in pair])
    if not 2 <= found.shape[1] <= MAX_FEATURES or not np.isfinite(found).all():
        what = f"{found.shape[1]:,} numbers" if np.isfinite(found).all() else "numbers that are not finite"
        raise GraphError(f"{network.file}: found {what} for an image; wanted 2 to {MAX_FEATURES:,} finite ones")
    if np.abs(found - beside_itself).max() > NEAR * np.abs(found).max():
        raise GraphError(f"{network.file}: what it gives for an image depends on the images beside it")
    if np.allclose(found[0], found[1], rtol=SAME, atol=0):
        raise GraphError(f"{network.file}: gives the same numbers for different images; wanted what tells them apart")
    return found.shape[1]


def _check_use(network: GraphNetwork) -> None:
    """Raises ValueError where the numbers of a graph are too few for its use."""
    use, count = network.use, network.features
    if use.role == "pose" and (count % 3 or count < 6):
        raise ValueError(f"{network.file}: gives {count} numbers, wanted as many bins for yaw, pitch and roll")
    if past := [name for name, (_, end) in use.parts.items() if end > count]:
        raise ValueError(f"{network.file}: gives {count} numbers, but {past[0]} ends at {use.parts[past[0]][1]}")


def _read_statistics(path: Path, count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    from smoothswap_jax.weights.readers.checkpoint import read_checkpoint

    tree: Any = read_checkpoint(path)
    found = [tree.get(name) for name in ("mean", "std")] if isinstance(tree, dict) else []
    if not found or any(not isinstance(one, np.ndarray) or one.shape != (count,) for one in found):
        names = some_names(list(tree)) if isinstance(tree, dict) else type(tree).__name__
        raise ValueError(f"{path}: found {names}; wanted mean and std, of {count} numbers each")
    mean, std = (tuple(float(one) for one in np.asarray(array, np.float64)) for array in found)
    return _checked_statistics([mean, std], count, str(path))


def _checked_statistics(value: Any, count: int, file: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    good = isinstance(value, list) and len(value) == 2 and all(isinstance(one, list | tuple) for one in value)
    if not good or any(len(one) != count or any(type(n) not in (int, float) for n in one) for one in value):
        raise ValueError(f"{file}: wanted mean and std, of {count} numbers each")
    mean, std = (tuple(map(float, one)) for one in value)
    if not np.isfinite([*mean, *std]).all() or min(std) <= 0:
        raise ValueError(f"{file}: found mean or std that are not finite, or a std of 0 or less")
    return mean, std


# ----------------------------------------------------------------------------------------------------- reading it
def is_graph_folder(folder: str | Path) -> bool:
    """Whether a folder holds a graph, by the names of its files."""
    return (Path(folder) / CONFIG).is_file() and any(
        (Path(folder) / graph_file(kind)).is_file() for kind in GRAPH_KINDS
    )


def load_graph(folder: str | Path) -> GraphNetwork:
    """What `import_graph` wrote. Raises FolderError for a folder that is not in this format or was changed, and
    WeightFileError for a graph that must not be run."""
    file = Path(folder) / CONFIG
    try:
        config = read_json(file)
    except JsonError as error:
        raise FolderError(f"{folder}: no imported graph here ({error})") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT or config.get("kind") not in GRAPH_KINDS:
        raise FolderError(f"{file}: wanted format {FORMAT} and kind {' or '.join(GRAPH_KINDS)}")
    graph, data = read_graph(Path(folder) / graph_file(config["kind"]), config["kind"])
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != config.get("sha256"):
        raise FolderError(
            f"{Path(folder) / graph_file(config['kind'])}: its SHA-256 is not the one in {CONFIG}: changed"
        )
    try:
        return _network(config, graph, data, str(Path(folder) / graph_file(config["kind"])), sha256)
    except KeyError as error:
        raise FolderError(f"{file}: lacks {error}") from error
    except ValueError as error:
        raise FolderError(f"{file}: {error}") from error


def _network(config: dict[str, Any], graph: Graph, data: bytes, file: str, sha256: str) -> GraphNetwork:
    """Raises KeyError and ValueError for what does not fit."""
    for name, kind in (("licence", str), ("preset", str), ("flip", bool), ("features", int), ("source", dict)):
        if type(config[name]) is not kind:
            raise ValueError(f"{name} is {shown(config[name])}, wanted {kind.__name__}")
    for name in ("licence", "preset"):
        if not is_words(config[name]):
            raise ValueError(f"{name} is {shown(config[name])}, wanted up to {MAX_WORDS} characters of a line")
    outputs, parts, count = config["outputs"], config["parts"], config["features"]
    if not isinstance(outputs, list) or not outputs or not all(one in graph.outputs for one in map(str, outputs)):
        raise ValueError(f"outputs is {shown(outputs)}, wanted names of {some_names(graph.outputs)}")
    if len(set(map(str, outputs))) < len(outputs):
        raise ValueError(f"outputs is {shown(outputs)}, wanted each name once")
    if config["role"] not in ROLES:
        raise ValueError(f"role is {shown(config['role'])}, wanted one of {', '.join(ROLES)}")
    if not 2 <= count <= MAX_FEATURES:
        raise ValueError(f"features is {shown(count)}, wanted 2 to {MAX_FEATURES:,}")
    sizes = [graph.outputs[name] for name in map(str, outputs)]
    if None not in sizes and count != sum(size or 0 for size in sizes):
        raise ValueError(f"features is {count}, wanted {sum(size or 0 for size in sizes)}, as the graph's outputs have")
    how = preprocessing_of(config["preprocessing"])
    if how.crop not in CROPS:
        raise ValueError(f"preprocessing.crop is {shown(how.crop)}, wanted one of {', '.join(CROPS)}")
    takes = (graph.height, graph.width)
    if how.size is None or any(own not in (None, side) for own, side in zip(takes, how.size, strict=True)):
        raise ValueError(f"preprocessing.size is {how.size}, wanted {takes}")
    if max(how.size) > MAX_SIDE:
        raise ValueError(f"preprocessing.size is {how.size}, wanted at most {MAX_SIDE} pixels a side")
    statistics = config["statistics"]
    use = Use(
        how,
        config["role"],
        config["licence"],
        tuple(map(str, outputs)),
        config["flip"],
        _checked_parts(parts, config["role"], count),
        statistics is not None,
    )
    found = None if statistics is None else _checked_statistics(statistics, count, "statistics")
    network = GraphNetwork(graph, data, file, sha256, use, config["preset"], count, found, config["source"])
    _check_use(network)
    return network


def _checked_parts(value: Any, role: str, count: int) -> dict[str, tuple[int, int]]:
    good = isinstance(value, dict) and value.keys() <= set(PARTS) and bool(value) == (role == "coefficients")
    pairs = value.values() if good else ()
    if not good or not all(
        isinstance(one, list) and len(one) == 2 and all(type(n) is int for n in one) for one in pairs
    ):
        raise ValueError(f"parts is {shown(value)}, wanted where {', '.join(PARTS)} begin and end")
    if any(not 0 <= start < end <= count for start, end in pairs):
        raise ValueError(f"parts is {shown(value)}, wanted places among {count} numbers")
    if "pose" in value and value["pose"][1] - value["pose"][0] not in POSE_SIZES:
        raise ValueError(f"parts.pose is {shown(value['pose'])}, wanted {POSE_SIZES} numbers")
    return {name: typing.cast(tuple[int, int], tuple(one)) for name, one in value.items()}

"""A graph file that a runtime will run: what it takes and gives, found by reading it within limits beforehand.

Runtimes trust the files they load. So a file is parsed here first, and refused where it is damaged, holds more than a
network of one image, or is absurdly large; only then are its bytes handed on.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smoothswap_jax.weights.readers import onnx_graph, tflite_graph
from smoothswap_jax.weights.readers.byte_range import Budget, ByteRange
from smoothswap_jax.weights.readers.errors import Malformed, WeightFileError, naming, shown

KINDS = {"onnx": onnx_graph.read_ports, "tflite": tflite_graph.read_ports}
MAX_FILE_BYTES = 1 << 30
"""The largest published network of faces (ResNet-200) takes 0.4 GB."""
MAX_SIDE, MAX_BATCH = 1024, 64
"""Of the image that a graph takes: pixels a side, and images at a time."""
MAX_FEATURES = 1 << 14
"""Numbers of one output for an image."""
COLOURS = 3


@dataclass(frozen=True)
class Graph:
    """What a graph takes and gives.

    kind: 'onnx' or 'tflite'. layout: 'NCHW' or 'NHWC'. batch, height, width: of the image; None where any will do.
    outputs: numbers of each for an image, by name; None where the file does not say.
    """

    kind: str
    layout: str
    batch: int | None
    height: int | None
    width: int | None
    outputs: Mapping[str, int | None]


def read_graph(path: str | Path, kind: str) -> tuple[Graph, bytes]:
    """The graph of a file, and the file's bytes, which are those that were looked at.

    kind: one of `KINDS`. Raises WeightFileError for a file that is missing, too large, damaged, or no graph from one
    image to numbers.
    """
    name = str(path)
    with naming(name):
        try:
            if not Path(path).is_file():
                raise Malformed("no such file", f"an .{kind} file")
            with open(path, "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise Malformed(f"a file that cannot be read ({error.strerror or error})", f"an .{kind} file") from error
    return checked_graph(data, kind, name), data


def checked_graph(data: bytes, kind: str, name: str) -> Graph:
    """The graph of a file's bytes; `name` is for errors. Raises as `read_graph` does."""
    with naming(name):
        if len(data) > MAX_FILE_BYTES:
            raise Malformed(f"more than {MAX_FILE_BYTES:,} bytes", "a network of faces")
        source = ByteRange(io.BytesIO(data), 0, len(data), Budget(len(data), 4 * MAX_FILE_BYTES))
        try:
            image, outputs = KINDS[kind](source, name)
            return _graph(kind, image, outputs)
        except (Malformed, WeightFileError):
            raise
        except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
            # No file is known to get here. One that does is damaged, and shows a check that is missing.
            raise Malformed(
                f"damage of an unknown kind ({type(error).__name__}: {error})", f"an .{kind} file"
            ) from error


def _graph(kind: str, image: Sequence[int | None], outputs: Mapping[str, Sequence[int | None] | None]) -> Graph:
    """Shapes as a `Graph`. image: of the only input. outputs: None for a shape that the file does not give."""
    said = _shape(image)
    if len(image) != 4 or (image[1] != COLOURS and image[3] != COLOURS):
        raise Malformed(f"an input of shape {said}", "one image: [n, 3, h, w] or [n, h, w, 3]")
    layout = "NCHW" if image[1] == COLOURS else "NHWC"
    batch, height, width = (image[0], *(image[2:] if layout == "NCHW" else image[1:3]))
    if any(size is not None and not 1 <= size <= MAX_SIDE for size in (height, width)):
        raise Malformed(f"an input of shape {said}", f"an image of 1 to {MAX_SIDE} pixels a side")
    if batch is None:  # what is exported for any number of images, but from one, may fit no other
        batch = next((shape[0] for shape in outputs.values() if shape and shape[0] is not None), None)
    if batch is not None and not 1 <= batch <= MAX_BATCH:
        raise Malformed(f"an input of shape {said}", f"1 to {MAX_BATCH} images at a time")
    return Graph(kind, layout, batch, height, width, {name: _numbers(name, outputs[name], batch) for name in outputs})


def _numbers(name: str, shape: Sequence[int | None] | None, batch: int | None) -> int | None:
    """How many numbers an output has for each image. Raises Malformed for one that is no vector for each image."""
    if shape is None:
        return None
    what = f"output {shown(name)} of shape {_shape(shape)}"
    if len(shape) < 2 or (None not in (batch, shape[0]) and shape[0] != batch):
        raise Malformed(what, "numbers for each image: [n, d]")
    known = [size for size in shape[1:] if size is not None]
    if any(size < 1 for size in known) or math.prod(known) > MAX_FEATURES:
        raise Malformed(what, f"1 to {MAX_FEATURES:,} numbers for an image")
    return math.prod(known) if len(known) == len(shape) - 1 else None


def _shape(shape: Sequence[int | None]) -> str:
    sizes = ["?" if size is None else shown(size) for size in shape[:8]]
    return f"[{', '.join([*sizes, *(['...'] if len(shape) > 8 else [])])}]"

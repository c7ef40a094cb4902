"""YuNet's network in onnxruntime: batches of pictures in, rows out as OpenCV's `FaceDetectorYN` gives them.

onnxruntime takes half the time of OpenCV 5 for the same pictures (docs/results.md), but does not know weights that are
quantised in blocks, and the published graph takes one picture at a time: so weights are dequantised, and shapes freed,
before it is given the graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from smoothswap_jax.faces.packages import missing_package

Pictures = UInt8[np.ndarray, "n h w 3"]
Rows = Float[np.ndarray, "faces 15"]
"""Of each face: x, y, w, h, five points, score."""
Network = Callable[[Pictures, float, float], list[Rows]]

STRIDES = (8, 16, 32)
"""Pixels between the network's places on its three levels."""


def load_network(file: Path, user: str, extra: str) -> Network:
    """The network of an ONNX file as a function of RGB pictures, the least score, and the overlap.

    Of boxes that share more than the overlap of their union only the surest stays; with 1 all that the network says.
    It runs in as many threads as OpenCV does when it is loaded. ImportError where a package is missing, see
    `missing_package` for user and extra.
    """
    try:
        import cv2
        import onnxruntime
    except ImportError as error:
        raise missing_package(user, error.name or "onnxruntime", extra) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cv2.getNumThreads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other work shares the cores
    session = onnxruntime.InferenceSession(plain_graph(file, user, extra), options, ["CPUExecutionProvider"])
    names = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES]

    def detect(pictures: Pictures, min_score: float, overlap: float) -> list[Rows]:
        _, height, width, _ = pictures.shape
        more = ((0, 0), (0, -height % STRIDES[-1]), (0, -width % STRIDES[-1]), (0, 0))
        padded = np.pad(pictures, more) if any(after for _, after in more) else pictures
        bgr = np.ascontiguousarray(padded[:, :, :, ::-1].transpose(0, 3, 1, 2), np.float32)
        said = session.run(names, {"input": bgr})
        places, levels = _places(*padded.shape[1:3]), len(STRIDES)
        kind, there, box, points = (np.concatenate(said[i : i + levels], axis=1) for i in range(0, len(said), levels))
        return [_rows(kind[i], there[i], box[i], points[i], places, min_score, overlap) for i in range(len(pictures))]

    return detect


@functools.lru_cache(maxsize=16)
def _places(height: int, width: int) -> Float[np.ndarray, "places 3"]:
    """Column, row and stride of all places, level by level."""
    levels = []
    for stride in STRIDES:
        row, column = np.mgrid[0 : height // stride, 0 : width // stride]
        levels.append(np.stack([column.ravel(), row.ravel(), np.full(row.size, stride)], axis=1))
    return np.concatenate(levels).astype(np.float32)


def _rows(
    kind: Float[np.ndarray, "places 1"],
    there: Float[np.ndarray, "places 1"],
    box: Float[np.ndarray, "places 4"],
    points: Float[np.ndarray, "places 10"],
    places: Float[np.ndarray, "places 3"],
    min_score: float,
    overlap: float,
) -> Rows:
    """The faces of one picture, surest first."""
    import cv2

    scores = np.sqrt(np.clip(kind[:, 0], 0, 1) * np.clip(there[:, 0], 0, 1))
    sure = np.flatnonzero(scores >= min_score)
    sure = sure[np.argsort(-scores[sure], kind="stable")]
    at, stride = places[sure, :2], places[sure, 2:]
    size = np.exp(box[sure, 2:]) * stride
    corner = (at + box[sure, :2]) * stride - size / 2
    marks = (points[sure].reshape(-1, 5, 2) + at[:, None]) * stride[:, None]
    rows = np.concatenate([corner, size, marks.reshape(-1, 10), scores[sure, None]], axis=1).astype(np.float64)
    if overlap < 1 and len(rows):
        whole = rows[:, :4].astype(int)  # as FaceDetectorYN compares them
        rows = rows[np.asarray(cv2.dnn.NMSBoxes(whole.tolist(), rows[:, 14].tolist(), min_score, overlap), int).ravel()]
    return rows


# --- The graph ----------------------------------------------------------------------------------------------


def plain_graph(file: Path, user: str, extra: str) -> bytes:
    """The ONNX file's graph with float weights, for any number of pictures of any size. ImportError as above."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise missing_package(user, "onnx", extra) from error
    model = onnx.load(file)
    graph = model.graph
    values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            values[node.output[0]] = _dequantised(node, *(values[name] for name in node.input))
        elif node.op_type == "Reshape" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]].reshape(values[node.input[1]])
        else:
            kept.append(node)
            if node.op_type == "Reshape":  # of an output, whose first length is the number of pictures
                shape = values[node.input[1]]
                values[node.input[1]] = np.concatenate([np.zeros(1, shape.dtype), shape[1:]])  # 0: as it is
    used = {name for node in kept for name in node.input} & values.keys()
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(values[name], name) for name in sorted(used))
    for one in (*graph.input, *graph.output):
        for i, length in enumerate(one.type.tensor_type.shape.dim):
            if i != 1 if one.name == "input" else i < 2:
                length.dim_param = f"{one.name} {i}"
    return model.SerializeToString()


def _dequantised(node: Any, whole: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """What ONNX's DequantizeLinear gives, with a scale and zero point for all or for blocks along an axis."""
    named = {one.name: one.i for one in node.attribute}
    if scale.ndim and named.get("block_size", 0):
        scale, zero = (
            np.repeat(one, named["block_size"], named["axis"])[tuple(map(slice, whole.shape))] for one in (scale, zero)
        )
    return (whole.astype(np.float32) - zero.astype(np.float32)) * scale

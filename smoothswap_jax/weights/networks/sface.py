"""SFace (Zhong et al. 2021), as OpenCV's model zoo publishes it: an ONNX file with MXNet's names."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from smoothswap_jax.models.judges.sface import SFace
from smoothswap_jax.weights.inspect import Known, State, shape_of
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.spec import NameMap, NetworkSpec, Plan
from smoothswap_jax.weights.stored_tensor import Path, Shapes, StoredTensor, WeightMismatch


def plan(tensors: State, known: Known) -> Plan:
    """OpenCV's face_recognition_sface_2021dec*.onnx, in float or block-quantised ('int8bq', which is dequantised).

    The graph starts with (x - scalar_op1) * scalar_op2 on pixels in 0..255, which become mean and std. Channels are
    RGB, as cv2.FaceRecognizerSF feeds them.
    """
    try:
        tensors = dequantize(tensors)
    except KeyError as error:
        raise WeightMismatch(f"missing (1): {error.args[0]}") from error
    except (ValueError, IndexError, TypeError) as error:
        raise WeightMismatch(f"quantised weights do not fit their shape: {error}") from error
    for name in ("scalar_op1", "scalar_op2"):
        shape_of(tensors, name, 1)
    offset, factor = float(tensors.pop("scalar_op1")[0]), float(tensors.pop("scalar_op2")[0])
    layers: list[int] = []
    while f"conv_{len(layers) + 1}_conv2d_weight" in tensors:
        layers.append(shape_of(tensors, f"conv_{len(layers) + 1}_conv2d_weight", 4)[0])
    features, flat = shape_of(tensors, "pre_fc1_weight", 2)
    module = SFace(tuple(layers), features)
    halvings = sum(b > a for a, b in pairwise(layers[1:]))
    side = 2**halvings * round((flat / layers[-1]) ** 0.5)
    how = Preprocessing((side, side), "arcface", "RGB", 0.0, 255.0, (offset,) * 3, (1 / factor,) * 3)
    return Plan(module, "sface", tensors, how)


def dequantize(state: Mapping[str, np.ndarray]) -> State:
    """The weights of an ONNX graph with block-wise 8-bit weights, as its DequantizeLinear nodes compute them.

    `<name>_quantized` [n, m] has a scale and a zero point for every m / k columns, in `<name>_scales` and
    `<name>_zero_point` [n, k] (vectors have no n); value = (quantized - zero point) * scale in float32, reshaped to
    `<name>_shape`. Other tensors are kept. Raises WeightMismatch when blocks do not fit.
    """
    result = {}
    for name, value in state.items():
        base = name.removesuffix("_quantized")
        if base != name:
            scales, zeros = (np.asarray(state[f"{base}_{part}"]) for part in ("scales", "zero_point"))
            if scales.shape != zeros.shape or value.shape[-1] % scales.shape[-1]:
                raise WeightMismatch(f"misshapen (1): {name} {value.shape} in blocks of scales {scales.shape}")
            block = value.shape[-1] // scales.shape[-1]
            scale, zero = (np.repeat(part, block, axis=-1) for part in (scales, zeros.astype(np.float32)))
            dequantized = (value.astype(np.float32) - zero) * scale
            result[base] = dequantized.reshape(state.get(f"{base}_shape", np.asarray(value.shape)))
        elif not re.search(r"_(scales|zero_point|shape)$", name):
            result[name] = value
    return result


_MXNET_NORM = {"scale": "gamma", "bias": "beta", "mean": "moving_mean", "var": "moving_var"}


def _tensors(module: Any, shapes: Shapes) -> dict[Path, StoredTensor]:
    """MXNet's names, which the ONNX file keeps: conv_2_dw_batchnorm_gamma, conv_1_relu_gamma, pre_fc1_weight."""
    tensors = {}
    for path in shapes:
        prefix, leaf = "_".join(path[1:-1]), path[-1]
        if leaf == "alpha":
            tensors[path] = StoredTensor(f"{prefix}_gamma", "prelu")
        elif path[1] == "pre_fc1":
            kernel = StoredTensor(f"{prefix}_weight", "dense_chw", module.widths[-1])
            tensors[path] = kernel if leaf == "kernel" else StoredTensor(f"{prefix}_bias")
        elif leaf == "kernel":
            tensors[path] = StoredTensor(f"{prefix}_weight", "conv")
        else:
            tensors[path] = StoredTensor(f"{prefix}_{_MXNET_NORM[leaf]}")
    return tensors


SPECS = (
    NetworkSpec(
        "sface",
        SFace,
        plan,
        (NameMap("sface", _tensors),),
        role="identity",
        licence="Apache-2.0 (OpenCV model zoo)",
    ),
)

"""The tensor of a published checkpoint that a leaf of our variables is filled from, and its layout there.

torch keeps convolutions as OIHW and dense layers as [out, in]; Flax HWIO and [in, out]. A dense layer after a
flattened feature map sees channels first in torch (CHW) and last here (HWC), so its rows are permuted too.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Path = tuple[str, ...]
Shapes = Mapping[Path, tuple[int, ...]]


class WeightMismatch(ValueError):
    """A checkpoint's tensors do not fit the network: the message lists them by name."""


class Absent(WeightMismatch):
    """There is not even the tensor by which the kind of network is recognised."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a checkpoint: its name there, and its layout.

    layout: 'same', 'conv' (OIHW), 'dense' ([out, in]), 'dense_chw' ([out, c * h * w], after flattening an h x w map
    of `channels` channels), 'dense_1x1' (a dense layer stored as a 1x1 convolution, [out, in, 1, 1]), or 'prelu'
    ([c, 1, 1] in ONNX).
    """

    name: str
    layout: str = "same"
    channels: int = 0

    def convert(self, value: np.ndarray) -> np.ndarray:
        """The checkpoint's tensor in our layout."""
        if self.layout == "conv":
            return value.transpose(2, 3, 1, 0)
        if self.layout == "dense":
            return value.T
        if self.layout == "dense_chw":
            maps = value.reshape(value.shape[0], self.channels, -1)  # the order of positions is the same
            return maps.transpose(2, 1, 0).reshape(value.shape[1], value.shape[0])
        if self.layout == "dense_1x1":
            return value[:, :, 0, 0].T
        return value.ravel() if self.layout == "prelu" else value

    def stored_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that the checkpoint's tensor must have for a leaf of `shape`."""
        if self.layout == "conv":
            return (shape[3], shape[2], shape[0], shape[1])
        if self.layout in ("dense_1x1", "prelu"):
            return (*shape[::-1], 1, 1)
        return shape[::-1] if self.layout.startswith("dense") else shape


_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "alpha": "weight",
    "mean": "running_mean",
    "var": "running_var",
}


def torch_leaf(prefix: str, leaf: str, ndim: int) -> StoredTensor:
    """The PyTorch tensor of a leaf, in an ordinary layer that PyTorch calls `prefix`."""
    name = f"{prefix}.{_LEAVES.get(leaf, leaf)}".lstrip(".")
    if leaf == "kernel":
        return StoredTensor(name, "conv" if ndim == 4 else "dense")
    return StoredTensor(name)

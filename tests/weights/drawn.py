"""Lively weights from tensors' names and shapes, the same in every run, so that none need to be stored; and the
networks whose PyTorch outputs for them lie in tests/golden/judges.npz."""

import re
import zlib
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from smoothswap_jax.models.embedder import ResNet
from smoothswap_jax.models.judges.deep3d import Deep3D
from smoothswap_jax.models.judges.hopenet import Hopenet
from smoothswap_jax.models.judges.inception_fid import InceptionFID
from smoothswap_jax.models.judges.sphereface import SphereFace


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Convolutions that keep the variance, norms and slopes around their usual values, under torch's names."""
    return {name: np.asarray(_drawn(name, shape), np.float32) for name, shape in shapes.items()}


def _drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    value = 0.2 * rng.standard_normal(shape)
    if name.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape)
    if not name.endswith("weight"):
        return value  # biases, running means
    if len(shape) > 1:
        return 5 * value / np.sqrt(np.prod(shape[1:]))
    is_slope = re.search(r"prelu\d?\.weight$|^layer\d+\.1\.weight$", name)  # the latter is SphereFace's
    return 0.25 + value / 2 if is_slope else 1 + value


def images(height: int, width: int, batch: int = 2) -> np.ndarray:
    """Noise at two scales, so that positions and channels matter; NHWC, in [-1, 1] or so."""
    rng = np.random.RandomState(0)
    coarse = rng.normal(size=(batch, 4, 4, 3)).repeat(-(-height // 4), 1).repeat(-(-width // 4), 2)
    fine = rng.normal(size=(batch, height, width, 3))
    return (0.5 * coarse[:, :height, :width] + 0.3 * fine).astype("f")


class Judge(NamedTuple):
    """A small network: its kind, the name map it has, our module, the size of its images, and its class and
    arguments in torch_references."""

    kind: str
    names: str
    module: nn.Module
    size: tuple[int, int]
    reference: tuple[Any, ...]


JUDGES = {
    "senet": Judge(
        "vggface2-senet50",
        "vggface2_resnet",
        ResNet((2, 1, 1, 1), 8, stride_on_first=True, ceil_mode=True, num_classes=5, se_reduction=16),
        (64, 71),
        ("ResNet", (2, 1, 1, 1), 8, 5, True, True),
    ),
    "sphere20": Judge(
        "cosface-sphere20", "sphereface", SphereFace((1, 2, 4, 1), 4, 9), (112, 96), ("Sphere", (1, 2, 4, 1), 4, 9)
    ),
    "hopenet": Judge("hopenet", "hopenet", Hopenet((1, 1, 1, 1), 4), (64, 64), ("Hopenet", (1, 1, 1, 1), 4)),
    "deep3d": Judge("deep3d", "deep3d", Deep3D((1, 2, 1, 1), 4), (64, 64), ("Deep3D", (1, 2, 1, 1), 4)),
    "inception": Judge("inception-fid", "inception_fid", InceptionFID(2), (107, 139), ("Inception", 2)),
}

"""ResNet-50 and SENet-50 of VGGFace2 (Cao et al. 2018), in two spellings: Oxford's from Caffe, and torchvision's."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from smoothswap_jax.models.embedder import ResNet
from smoothswap_jax.weights.inspect import Known, State, published_depth, shape_of, stages_of
from smoothswap_jax.weights.networks.torchvision_resnet import torchvision_tensors
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.spec import NameMap, NetworkSpec, Plan, flat_output
from smoothswap_jax.weights.stored_tensor import Path, Shapes, StoredTensor, torch_leaf

_MEAN_BGR = (91.4953, 103.8827, 131.0912)
_PREPROCESSING = Preprocessing((224, 224), "vggface2", "BGR", 0.0, 255.0, mean=_MEAN_BGR)


def plan(tensors: State, known: Known, se: bool) -> Plan:
    """VGGFace2-pytorch's *_weight.pkl (torchvision's names) and Oxford's *_pytorch.pth (Caffe's names).

    Keyword `channels`: 'BGR' (default: these files, converted from Caffe), or 'RGB' for albanie's *_dag.pth, whose
    first convolution has its input channels reversed; the tensors do not show which.
    """
    # Caffe separates by slashes, which some converters kept and some replaced.
    tensors = {name.replace("/", "_"): value for name, value in tensors.items()}
    caffe = "conv1_7x7_s2.weight" in tensors
    stem, top, names = (
        ("conv1_7x7_s2.weight", "classifier.weight", "caffe_resnet")
        if caffe
        else ("conv1.weight", "fc.weight", "vggface2_resnet")
    )
    # Some converters kept the last layer as the 1x1 convolution that it is in Caffe.
    if top in tensors and shape_of(tensors, top, (2, 4))[2:] in ((), (1, 1)):
        tensors[top] = tensors[top].reshape(tensors[top].shape[:2])
    # Caffe counts the pooling as the first stage, and blocks from 1.
    stages = stages_of(tensors, r"conv(\d+)_(\d+)_", (2, 1)) if caffe else stages_of(tensors)
    squeeze = "conv2_1_1x1_down.weight" if caffe else "layer1.0.conv4.weight"
    reduction = None
    if se:
        low, high, *_ = shape_of(tensors, squeeze, 4)
        reduction = high // low
    width = shape_of(tensors, stem, 4)[0]
    module = ResNet(
        published_depth(known, stages, (3, 4, 6, 3)),
        width,
        stride_on_first=True,
        ceil_mode=True,
        num_classes=shape_of(tensors, top, 2)[0] if top in tensors else None,
        se_reduction=reduction,
    )
    channels = known.take("channels", str, "BGR")
    mean = _MEAN_BGR if channels == "BGR" else _MEAN_BGR[::-1]
    how = replace(_PREPROCESSING, channels=channels, mean=mean)
    return Plan(module, names, tensors, how)


_CAFFE_BLOCK = {
    **{"conv1": "1x1_reduce", "conv2": "3x3", "conv3": "1x1_increase", "downsample_conv": "1x1_proj"},
    **{"bn1": "1x1_reduce_bn", "bn2": "3x3_bn", "bn3": "1x1_increase_bn", "downsample_bn": "1x1_proj_bn"},
    **{"se_down": "1x1_down", "se_up": "1x1_up"},
}
_CAFFE_OUTER = {"conv1": "conv1_7x7_s2", "bn1": "conv1_7x7_s2_bn", "fc": "classifier"}


def _caffe_name(layers: Path) -> str:
    if len(layers) == 1:
        return _CAFFE_OUTER[layers[0]]
    stage, block = map(int, re.findall(r"\d+", layers[0]))
    return f"conv{stage + 1}_{block + 1}_{_CAFFE_BLOCK[layers[1]]}"


def _caffe_tensors(module: Any, shapes: Shapes) -> dict[Path, StoredTensor]:
    """The spelling of Oxford's VGGFace2 files: conv2_1_1x1_reduce.weight, conv2_1_1x1_reduce_bn.running_mean."""
    return {p: torch_leaf(_caffe_name(p[1:-1]), p[-1], len(s)) for p, s in shapes.items()}


def _pooled(module: nn.Module, variables: Mapping[str, Any], x: Float[Array, "n h w 3"]) -> Float[Array, "n d"]:
    """The features before the classifier."""
    return flat_output(module.clone(num_classes=None), variables, x)


SPECS = tuple(
    NetworkSpec(
        kind,
        ResNet,
        partial(plan, se=se),
        (NameMap("vggface2_resnet", torchvision_tensors), NameMap("caffe_resnet", _caffe_tensors)),
        _PREPROCESSING,
        role="identity",
        licence="VGGFace2: see its authors' terms; research",
        features=_pooled,
        distances=True,
    )
    for kind, se in (("vggface2-resnet50", False), ("vggface2-senet50", True))
)

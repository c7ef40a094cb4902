"""Name maps of the networks that judge or embed faces: residual networks and their heads, and the smaller ones."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from smoothswap_jax.models.judges.lpips import TRUNKS
from smoothswap_jax.weights.source import Path, Shapes, Source, torch_leaf


# ------------------------------------------------------------------------------------------ residual networks
def _torchvision_name(layers: Path) -> str:
    """torchvision's name of a layer of ours: (layer1_0, downsample_conv) -> layer1.0.downsample.0"""
    name = re.sub(r"^(layer\d+)_", r"\1.", ".".join(layers))
    for ours, theirs in (("conv", "0"), ("bn", "1")):
        name = name.replace(f"downsample_{ours}", f"downsample.{theirs}")
    # VGGFace2-pytorch calls the two convolutions of squeeze-and-excitation conv4 and conv5.
    return name.replace("se_down", "conv4").replace("se_up", "conv5")


def _torchvision_resnet(module: Any, shapes: Shapes) -> dict[Path, Source]:
    """torchvision's spelling, which VGGFace2-pytorch and insightface share: layer1.0.downsample.0.weight."""
    return {p: torch_leaf(_torchvision_name(p[1:-1]), p[-1], len(s)) for p, s in shapes.items()}


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


def _caffe_resnet(module: Any, shapes: Shapes) -> dict[Path, Source]:
    """The spelling of Oxford's VGGFace2 files: conv2_1_1x1_reduce.weight, conv2_1_1x1_reduce_bn.running_mean."""
    return {p: torch_leaf(_caffe_name(p[1:-1]), p[-1], len(s)) for p, s in shapes.items()}


def _iresnet(module: Any, shapes: Shapes) -> dict[Path, Source]:
    channels = shapes[("params", "bn2", "scale")][0]
    return _torchvision_resnet(module, shapes) | {
        ("params", "fc", "kernel"): Source("fc.weight", "dense_chw", channels)
    }


def _hopenet(module: Any, shapes: Shapes) -> dict[Path, Source]:
    """torchvision's names beside fc_yaw, fc_pitch and fc_roll: the backbone is no module of its own there."""
    layers = {p: p[2:-1] if p[1] == "backbone" else p[1:-1] for p in shapes}
    return {p: torch_leaf(_torchvision_name(layers[p]), p[-1], len(s)) for p, s in shapes.items()}


def _deep3d(module: Any, shapes: Shapes) -> dict[Path, Source]:
    """backbone.<torchvision name>, and the heads as 1x1 convolutions final_layers.<i>."""
    sources = {}
    for path, shape in shapes.items():
        if path[1] == "backbone":
            sources[path] = torch_leaf(f"backbone.{_torchvision_name(path[2:-1])}", path[-1], len(shape))
        else:
            prefix = path[1].replace("head", "final_layers.")
            kernel = Source(f"{prefix}.weight", "dense_1x1")
            sources[path] = kernel if path[-1] == "kernel" else Source(f"{prefix}.bias")
    return sources


# -------------------------------------------------------------------------------------------- other judges
def _sphereface(module: Any, shapes: Shapes) -> dict[Path, Source]:
    """layer1.0 is the convolution, layer1.1 its PReLU, the blocks follow from layer1.2 on."""
    sources = {}
    for path, shape in shapes.items():
        name = re.sub(r"^(layer\d+)_(\d+)", lambda m: f"{m[1]}.{int(m[2]) + 2}", ".".join(path[1:-1]))
        name = name.replace("_conv", ".0").replace("_prelu", ".1")
        sources[path] = torch_leaf(name, path[-1], len(shape))
    channels = module.width * 2 ** (len(module.stage_sizes) - 1)
    sources[("params", "fc", "kernel")] = Source("fc.weight", "dense_chw", channels)
    return sources


def _inception(module: Any, shapes: Shapes) -> dict[Path, Source]:
    return {p: torch_leaf(".".join(p[1:-1]), p[-1], len(s)) for p, s in shapes.items()}


def _lpips(module: Any, shapes: Shapes, whole: bool) -> dict[Path, Source]:
    """lin<i>.model.1, a 1x1 convolution to one channel; the trunk as torchvision's features.<i>.

    whole: the trunk in lpips' slices, net.slice<n>.<i>.
    """
    prefixes = {
        f"features_{p}": f"net.slice{n}.{p}" for n, row in enumerate(TRUNKS[module.net].positions(), 1) for p in row
    }
    sources = {}
    for path, shape in shapes.items():
        if path[1].startswith("lin"):
            sources[path] = Source(f"{path[1]}.model.1.weight", "dense_1x1")
        else:
            prefix = prefixes[path[1]] if whole else path[1].replace("_", ".")
            sources[path] = torch_leaf(prefix, path[-1], len(shape))
    return sources


_MXNET_NORM = {"scale": "gamma", "bias": "beta", "mean": "moving_mean", "var": "moving_var"}


def _sface(module: Any, shapes: Shapes) -> dict[Path, Source]:
    """MXNet's names, which the ONNX file keeps: conv_2_dw_batchnorm_gamma, conv_1_relu_gamma, pre_fc1_weight."""
    sources = {}
    for path in shapes:
        prefix, leaf = "_".join(path[1:-1]), path[-1]
        if leaf == "alpha":
            sources[path] = Source(f"{prefix}_gamma", "prelu")
        elif path[1] == "pre_fc1":
            kernel = Source(f"{prefix}_weight", "dense_chw", module.widths[-1])
            sources[path] = kernel if leaf == "kernel" else Source(f"{prefix}_bias")
        elif leaf == "kernel":
            sources[path] = Source(f"{prefix}_weight", "conv")
        else:
            sources[path] = Source(f"{prefix}_{_MXNET_NORM[leaf]}")
    return sources


KINDS: dict[str, Callable[[Any, Shapes], dict[Path, Source]]] = {
    "torchvision_resnet": _torchvision_resnet,
    "vggface2_resnet": _torchvision_resnet,
    "caffe_resnet": _caffe_resnet,
    "iresnet": _iresnet,
    "hopenet": _hopenet,
    "deep3d": _deep3d,
    "sphereface": _sphereface,
    "inception_fid": _inception,
    "lpips": partial(_lpips, whole=True),
    "lpips_parts": partial(_lpips, whole=False),
    "sface": _sface,
}

"""Kinds that judge or embed faces: how a published file becomes a module. Each function's docstring says which file."""

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from smoothswap_jax.models.embedder import ResNet
from smoothswap_jax.models.judges.deep3d import Deep3D
from smoothswap_jax.models.judges.hopenet import ANGLES, Hopenet
from smoothswap_jax.models.judges.inception_fid import InceptionFID
from smoothswap_jax.models.judges.iresnet import IResNet
from smoothswap_jax.models.judges.lpips import LPIPS, SCALE, SHIFT, TRUNKS
from smoothswap_jax.models.judges.sface import SFace
from smoothswap_jax.models.judges.sphereface import SphereFace
from smoothswap_jax.weights.inspect import (
    Known,
    Plan,
    Shape,
    State,
    descend,
    image_shape,
    published_depth,
    shape_of,
    stages_of,
    tensors_of,
)
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.source import WeightMismatch

_IMAGENET = Preprocessing(
    (224, 224), "imagenet", low=0.0, high=1.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
_VGGFACE2_BGR = (91.4953, 103.8827, 131.0912)
_VGGFACE2 = Preprocessing((224, 224), "vggface2", "BGR", 0.0, 255.0, mean=_VGGFACE2_BGR)
_ARCFACE = Preprocessing((112, 112), "arcface")
_ANY_SIZE = (64, 64)  # what a network that takes any size is shown where shapes are asked for


def _image(how: Preprocessing) -> tuple[Shape]:
    """The inputs of a network that takes one image."""
    return (image_shape(how.size or _ANY_SIZE),)


def resnet50(state: Mapping[str, Any], known: Known) -> Plan:
    """torchvision's resnet50-*.pth (v1.5)."""
    tensors = tensors_of(descend(state, "state_dict"))
    module = ResNet(
        published_depth(known, stages_of(tensors), (3, 4, 6, 3)),
        shape_of(tensors, "conv1.weight", 4)[0],
        num_classes=shape_of(tensors, "fc.weight", 2)[0] if "fc.weight" in tensors else None,
    )
    return Plan(module, "torchvision_resnet", _IMAGENET, _image(_IMAGENET), tensors)


def vggface2(state: Mapping[str, Any], known: Known, se: bool) -> Plan:
    """VGGFace2-pytorch's *_weight.pkl (torchvision's names) and Oxford's *_pytorch.pth (Caffe's names).

    `channels`: 'BGR' (default: these files, converted from Caffe), or 'RGB' for albanie's *_dag.pth, whose first
    convolution was turned round; the tensors do not tell.
    """
    # Caffe's own separator is a slash, which converters kept or replaced.
    tensors = {name.replace("/", "_"): value for name, value in tensors_of(descend(state, "state_dict")).items()}
    caffe = "conv1_7x7_s2.weight" in tensors
    stem, top, names = (
        ("conv1_7x7_s2.weight", "classifier.weight", "caffe_resnet")
        if caffe
        else ("conv1.weight", "fc.weight", "vggface2_resnet")
    )
    # Some converters kept the last layer as the 1x1 convolution it is in Caffe.
    if top in tensors and shape_of(tensors, top, (2, 4))[2:] in ((), (1, 1)):
        tensors[top] = tensors[top].reshape(tensors[top].shape[:2])
    # Caffe counts the pooling as a stage, and blocks from 1.
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
    mean = _VGGFACE2_BGR if channels == "BGR" else _VGGFACE2_BGR[::-1]
    how = replace(_VGGFACE2, channels=channels, mean=mean)
    return Plan(module, names, how, _image(how), tensors)


def iresnet(state: Mapping[str, Any], known: Known, depths: tuple[int, ...]) -> Plan:
    """insightface arcface_torch's backbone.pth, or checkpoint_gpu_<i>.pt."""
    tensors = tensors_of(descend(state, "state_dict_backbone", "state_dict"))
    stages = published_depth(known, stages_of(tensors), depths)
    width = shape_of(tensors, "conv1.weight", 4)[0]
    features, flat = shape_of(tensors, "fc.weight", 2)
    side = 2 ** len(stages) * round((flat / shape_of(tensors, "bn2.weight", 1)[0]) ** 0.5)
    how = replace(_ARCFACE, size=(side, side))
    return Plan(IResNet(stages, width, features), "iresnet", how, _image(how), tensors)


def hopenet(state: Mapping[str, Any], known: Known) -> Plan:
    """deep-head-pose's hopenet_*.pkl; `fc_finetune` was for training and is left out."""
    tensors = tensors_of(descend(state, "state_dict"))
    tensors = {name: value for name, value in tensors.items() if not name.startswith("fc_finetune.")}
    bins = shape_of(tensors, f"fc_{ANGLES[0]}.weight", 2)[0]
    module = Hopenet(stages_of(tensors), shape_of(tensors, "conv1.weight", 4)[0], bins)
    how = replace(_IMAGENET, crop="hopenet")
    return Plan(module, "hopenet", how, _image(how), tensors)


def deep3d(state: Mapping[str, Any], known: Known) -> Plan:
    """Deep3DFaceRecon_pytorch's epoch_20.pth, under 'net_recon'."""
    tensors = tensors_of(descend(state, "net_recon"))
    heads: list[int] = []
    while f"final_layers.{len(heads)}.weight" in tensors:
        heads.append(shape_of(tensors, f"final_layers.{len(heads)}.weight", 4)[0])
    stages = stages_of(tensors, r"backbone\.layer(\d+)\.(\d+)\.")
    module = Deep3D(stages, shape_of(tensors, "backbone.conv1.weight", 4)[0], tuple(heads))
    how = Preprocessing((224, 224), "deep3d", low=0.0, high=1.0)
    return Plan(module, "deep3d", how, _image(how), tensors)


def sphere20(state: Mapping[str, Any], known: Known) -> Plan:
    """CosFace_pytorch's *_checkpoint.pth."""
    tensors = tensors_of(descend(state, "state_dict"))
    stages = published_depth(known, tuple(size - 2 for size in stages_of(tensors)), (1, 2, 4, 1))
    width = shape_of(tensors, "layer1.0.weight", 4)[0]
    features, flat = shape_of(tensors, "fc.weight", 2)
    cells = flat // (width * 2 ** (len(stages) - 1))
    rows, columns = round((cells * 7 / 6) ** 0.5), round((cells * 6 / 7) ** 0.5)
    size = (rows * 2 ** len(stages), columns * 2 ** len(stages))
    how = Preprocessing(size, "sphereface")
    return Plan(SphereFace(stages, width, features), "sphereface", how, _image(how), tensors)


def inception(state: Mapping[str, Any], known: Known) -> Plan:
    """pytorch-fid's pt_inception-2015-12-05-*.pth."""
    tensors = tensors_of(descend(state, "state_dict"))
    width = shape_of(tensors, "Conv2d_1a_3x3.conv.weight", 4)[0]
    module = InceptionFID(width, shape_of(tensors, "fc.weight", 2)[0])
    how = Preprocessing((299, 299), "whole", interpolation="bilinear")
    return Plan(module, "inception_fid", how, _image(how), tensors)


def lpips(state: Mapping[str, Any], known: Known) -> Plan:
    """LPIPS v0.1 on AlexNet or VGG16, told apart by their first convolution.

    Either the state dict of a whole `lpips.LPIPS(net='alex')` or 'vgg', or two files together: torchvision's
    alexnet-owt-*.pth or vgg16-*.pth (its classifier is left out) and lpips' own weights/v0.1/alex.pth or vgg.pth.
    Its v0.0 files have the same names and shapes but other weights: nothing tells them apart, so take v0.1's.
    """
    tensors = _lpips_tensors(tensors_of(descend(state, "state_dict")))
    whole = any(name.startswith("net.") for name in tensors)
    first = [f"net.slice{i}." if whole else "features." for i in range(1, 6)]
    kernel = shape_of(tensors, f"{first[0]}0.weight", 4)[-1]
    nets = {trunk.convs[0][0][0]: net for net, trunk in TRUNKS.items()}
    if kernel not in nets:
        raise WeightMismatch(f"misshapen (1): {first[0]}0.weight: kernels of {kernel} pixels, wanted one of {nets}")
    layers = [f"{prefix}{row[0]}" for prefix, row in zip(first, TRUNKS[nets[kernel]].positions(), strict=True)]
    module = LPIPS(nets[kernel], tuple(shape_of(tensors, f"{layer}.weight", 4)[0] for layer in layers))
    how = Preprocessing(None, "whole")  # LPIPS scales by itself
    return Plan(module, "lpips" if whole else "lpips_parts", how, _image(how) * 2, tensors)


def _lpips_tensors(tensors: State) -> State:
    """Without torchvision's classifier, and without LPIPS' constants and second copies, once they are as they must be.

    Raises WeightMismatch when they are not, and when one of the two files was not given.
    """
    fixed = {"scaling_layer.shift": SHIFT, "scaling_layer.scale": SCALE}
    kept: State = {}
    wrong: list[str] = []
    for name, value in tensors.items():
        if copy := re.fullmatch(r"lins\.(\d+\.model\.1\.weight)", name):
            wanted: Any = tensors.get(f"lin{copy[1]}")
        elif name in fixed:
            wanted = np.asarray(fixed[name], np.float32).reshape(1, 3, 1, 1)
        else:
            if not re.fullmatch(r"classifier\.\d+\.(weight|bias)", name):
                kept[name] = value
            continue
        wrong += [] if np.array_equal(value, wanted) else [name]
    if wrong:
        raise WeightMismatch(f"other values than LPIPS v0.1 has ({len(wrong)}): {'; '.join(wrong)}")
    trunk, lins = (any(re.match(start, name) for name in kept) for start in (r"features\.|net\.", r"lin\d"))
    if trunk and not lins:
        raise WeightMismatch(
            "missing: lin0.model.1.weight, ...; they are lpips' weights/v0.1/*.pth: give that file too"
        )
    if lins and not trunk:
        raise WeightMismatch("missing: features.0.weight, ...; they are torchvision's alexnet or vgg16: give it too")
    return kept


def dequantize(state: Mapping[str, np.ndarray]) -> State:
    """The weights of an ONNX graph with block-wise 8-bit weights, as its DequantizeLinear nodes compute them.

    `<name>_quantized` [n, m] has a scale and a zero point for every m / k columns, `<name>_scales` and
    `<name>_zero_point` [n, k] (without rows for a vector); value = (quantized - zero point) * scale in float32,
    reshaped to `<name>shape_of`. Other tensors are kept. Raises WeightMismatch when blocks do not fit.
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


def sface(state: Mapping[str, Any], known: Known) -> Plan:
    """OpenCV's face_recognition_sface_2021dec*.onnx: float, or block-quantised ('int8bq': dequantised here).

    The graph starts with (x - scalar_op1) * scalar_op2 on pixels in 0..255, which become mean and std. RGB, as
    cv2.FaceRecognizerSF feeds it.
    """
    try:
        tensors = dequantize(tensors_of(state))
    except KeyError as error:
        raise WeightMismatch(f"missing (1): {error.args[0]}") from error
    except (ValueError, IndexError, TypeError) as error:
        raise WeightMismatch(f"quantised weights that do not fit their shape: {error}") from error
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
    return Plan(module, "sface", how, _image(how), tensors)

"""LPIPS v0.1 (Zhang et al. 2018), as richzhang/PerceptualSimilarity publishes it, on torchvision's trunks."""

import re
from functools import partial
from typing import Any

import numpy as np

from smoothswap_jax.models.judges.lpips import LPIPS, SCALE, SHIFT, TRUNKS
from smoothswap_jax.weights.inspect import Known, State, image_shape, shape_of
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.spec import NameMap, NetworkSpec, Plan
from smoothswap_jax.weights.stored_tensor import Path, Shapes, StoredTensor, WeightMismatch, torch_leaf

_ANY_SIZE = (64, 64)  # of the images that shapes are inferred from: LPIPS takes any from 31 pixels on


def plan(tensors: State, known: Known) -> Plan:
    """LPIPS v0.1 on AlexNet or VGG16, recognised by the first convolution.

    Either the state dict of a whole `lpips.LPIPS(net='alex')` or 'vgg', or two files together: torchvision's
    alexnet-owt-*.pth or vgg16-*.pth (its classifier is left out) and lpips' own weights/v0.1/alex.pth or vgg.pth.
    Its v0.0 files have the same names and shapes but other weights, which nothing reveals: use those of v0.1.
    """
    tensors = _checked(tensors)
    whole = any(name.startswith("net.") for name in tensors)
    first = [f"net.slice{i}." if whole else "features." for i in range(1, 6)]
    kernel = shape_of(tensors, f"{first[0]}0.weight", 4)[-1]
    nets = {trunk.convs[0][0][0]: net for net, trunk in TRUNKS.items()}
    if kernel not in nets:
        raise WeightMismatch(f"misshapen (1): {first[0]}0.weight: kernels of {kernel} pixels, wanted one of {nets}")
    layers = [f"{prefix}{row[0]}" for prefix, row in zip(first, TRUNKS[nets[kernel]].positions(), strict=True)]
    module = LPIPS(nets[kernel], tuple(shape_of(tensors, f"{layer}.weight", 4)[0] for layer in layers))
    names = "lpips" if whole else "lpips_parts"
    return Plan(module, names, tensors, inputs=(image_shape(_ANY_SIZE),) * 2)


def _checked(tensors: State) -> State:
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
        raise WeightMismatch(f"not the values of LPIPS v0.1 ({len(wrong)}): {'; '.join(wrong)}")
    trunk, lins = (any(re.match(start, name) for name in kept) for start in (r"features\.|net\.", r"lin\d"))
    if trunk and not lins:
        raise WeightMismatch(
            "missing: lin0.model.1.weight, ...; they are lpips' weights/v0.1/*.pth: give that file too"
        )
    if lins and not trunk:
        raise WeightMismatch("missing: features.0.weight, ...; they are torchvision's alexnet or vgg16: give it too")
    return kept


def _tensors(module: Any, shapes: Shapes, whole: bool) -> dict[Path, StoredTensor]:
    """lin<i>.model.1, a 1x1 convolution to one channel; the trunk as torchvision's features.<i>.

    whole: the trunk in lpips' slices, net.slice<n>.<i>.
    """
    prefixes = {
        f"features_{p}": f"net.slice{n}.{p}" for n, row in enumerate(TRUNKS[module.net].positions(), 1) for p in row
    }
    tensors = {}
    for path, shape in shapes.items():
        if path[1].startswith("lin"):
            tensors[path] = StoredTensor(f"{path[1]}.model.1.weight", "dense_1x1")
        else:
            prefix = prefixes[path[1]] if whole else path[1].replace("_", ".")
            tensors[path] = torch_leaf(prefix, path[-1], len(shape))
    return tensors


SPECS = (
    NetworkSpec(
        "lpips",
        LPIPS,
        plan,
        (NameMap("lpips", partial(_tensors, whole=True)), NameMap("lpips_parts", partial(_tensors, whole=False))),
        Preprocessing(None, "whole"),  # the network scales by itself
        role="perceptual",
        licence="BSD-2-Clause",
    ),
)

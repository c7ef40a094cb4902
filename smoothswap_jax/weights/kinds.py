"""Published networks by kind: from a checkpoint's tensors to a module, its variables and its preprocessing.

`from_torch(kind, state, **known)` is the short form, `import_network` the one that tells everything. Widths, depths
and heads are read from names and shapes; `known` is for what these cannot tell. Which files: docs of each kind below.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from smoothswap_jax.models.deep3d import Deep3D
from smoothswap_jax.models.hopenet import ANGLES, Hopenet
from smoothswap_jax.models.inception_fid import InceptionFID
from smoothswap_jax.models.layers import FIR_1331, default_init
from smoothswap_jax.models.ncsnpp import NCSNpp
from smoothswap_jax.models.resnet import IdentityEmbedder, IResNet, ResNet
from smoothswap_jax.models.sface import SFace
from smoothswap_jax.models.sphereface import SphereFace
from smoothswap_jax.models.stylegan2 import Discriminator
from smoothswap_jax.weights import ncsnpp_shapes
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.source import WeightMismatch
from smoothswap_jax.weights.torch_names import strip_prefixes, to_variables

Shape = tuple[int, ...]
State = dict[str, np.ndarray]


@dataclass(frozen=True)
class Network:
    """An imported network.

    variables: float32 numpy arrays for `module.apply`. inputs: the shapes of its inputs, batch 1. fresh: leaves
    that are not the checkpoint's but newly initialised, as 'params/embed0/kernel'.
    """

    kind: str
    module: nn.Module
    variables: dict[str, Any]
    preprocessing: Preprocessing
    inputs: tuple[Shape, ...]
    fresh: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Plan:
    """What a kind makes of a checkpoint: the module to fill, by which name map, from which tensors."""

    module: nn.Module
    names: str
    preprocessing: Preprocessing
    inputs: tuple[Shape, ...]
    state: State
    fresh: tuple[str, ...] = ()


_REQUIRED = object()


class Known:
    """The caller's keywords. Each may be asked for once; what nobody asked for is an error."""

    def __init__(self, kind: str, values: Mapping[str, Any]) -> None:
        self.kind, self.values, self.asked = kind, dict(values), [""]

    def take(self, name: str, default: Any = _REQUIRED) -> Any:
        """Raises ValueError for a missing one without default."""
        self.asked.append(name)
        if name not in self.values and default is _REQUIRED:
            raise ValueError(f"{self.kind}: names and shapes do not tell {name}; say {name}=...")
        return self.values.get(name, default)

    def fields(self, *names: str) -> dict[str, Any]:
        """Those of `names` that were given."""
        self.asked += names
        return {name: self.values[name] for name in names if name in self.values}

    def finish(self) -> None:
        """Raises ValueError for keywords the kind has no use for."""
        if extra := sorted(set(self.values) - set(self.asked)):
            raise ValueError(f"{self.kind}: no use for {', '.join(extra)}; takes {', '.join(self.asked[1:]) or 'none'}")


# ---------------------------------------------------------------------------------------- looking into a state
def _shape(state: Mapping[str, np.ndarray], name: str, ndim: int | tuple[int, ...] | None = None) -> Shape:
    """Raises WeightMismatch when the tensor is missing, or has not one of `ndim` axes."""
    if name not in state:
        raise WeightMismatch(f"missing (1): {name}; found {_some(state)}")
    shape = tuple(state[name].shape)
    if ndim is not None and len(shape) not in np.atleast_1d(ndim):
        raise WeightMismatch(f"misshapen (1): {name}: found {shape}, wanted {ndim} axes")
    return shape


def _some(names: Mapping[str, Any]) -> str:
    """A few names, to recognise a file by."""
    first = list(map(str, names))[:6]
    return f"{', '.join(first)}{', ...' if len(names) > 6 else ''} ({len(names)} in all)" if first else "nothing"


def _stages(state: Mapping[str, np.ndarray], pattern: str = r"layer(\d+)\.(\d+)\.", first: int = 1) -> tuple[int, ...]:
    """Blocks of each stage, from names that hold a stage and a block number. `first`: the lowest stage."""
    sizes: dict[int, int] = {}
    for match in filter(None, (re.match(pattern, name) for name in state)):
        stage, block = int(match[1]) - first, int(match[2])
        sizes[stage] = max(sizes.get(stage, 0), block + 1)
    if not sizes or sorted(sizes) != list(range(len(sizes))):
        found = sorted(stage + first for stage in sizes) or f"none in {_some(state)}"
        raise WeightMismatch(f"wanted names of stages {first}, {first + 1}, ...; found {found}")
    return tuple(sizes[stage] for stage in range(len(sizes)))


def _published(known: Known, found: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """The depths found, which must be those the kind is named after unless `stage_sizes` says otherwise."""
    asked = tuple(known.take("stage_sizes", wanted))
    if found != asked:
        raise WeightMismatch(f"{known.kind}: found stages of {found} blocks, wanted {asked} (stage_sizes)")
    return found


def _descend(state: Mapping[str, Any], *parts: str) -> dict[str, Any]:
    """Into the first of `parts` that a training checkpoint has; a plain state dict is left as it is.

    Raises WeightMismatch when there are groups of tensors and none of them is known.
    """
    groups = [name for name, value in state.items() if isinstance(value, Mapping)]
    for part in parts:
        if part in groups:
            return dict(state[part])
    if groups:
        raise WeightMismatch(f"wanted a state dict, or one under {' or '.join(parts)}; found groups {groups}")
    return dict(state)


def _tensors(state: Mapping[str, Any]) -> State:
    """The arrays of a flat dict, without wrappers' prefixes; scalars such as an epoch are left out."""
    arrays = {str(name): value for name, value in state.items() if hasattr(value, "shape")}
    return strip_prefixes({name: np.asarray(value) for name, value in arrays.items()})


def _flat(state: Mapping[str, Any], prefix: str = "") -> State:
    """Nested dicts as {'a/b/c': array}."""
    flat: State = {}
    for name, value in state.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}/")
        elif hasattr(value, "shape"):
            flat[f"{prefix}{name}"] = np.asarray(value)
    return flat


def _images(size: Sequence[int]) -> Shape:
    return (1, size[0], size[1], 3)


# ------------------------------------------------------------------------------------------- residual networks
_IMAGENET = Preprocessing(
    (224, 224), "imagenet", low=0.0, high=1.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
_VGGFACE2_BGR = (91.4953, 103.8827, 131.0912)
_VGGFACE2 = Preprocessing((224, 224), "vggface2", "BGR", 0.0, 255.0, mean=_VGGFACE2_BGR)
_ARCFACE = Preprocessing((112, 112), "arcface")


def _resnet50(state: Mapping[str, Any], known: Known) -> _Plan:
    """torchvision's resnet50-*.pth (v1.5)."""
    tensors = _tensors(_descend(state, "state_dict"))
    module = ResNet(
        _published(known, _stages(tensors), (3, 4, 6, 3)),
        _shape(tensors, "conv1.weight", 4)[0],
        num_classes=_shape(tensors, "fc.weight", 2)[0] if "fc.weight" in tensors else None,
    )
    return _Plan(module, "torchvision_resnet", _IMAGENET, (_images(_IMAGENET.size),), tensors)


def _vggface2(state: Mapping[str, Any], known: Known, se: bool) -> _Plan:
    """VGGFace2-pytorch's *_weight.pkl (torchvision's names) and Oxford's *_pytorch.pth (Caffe's names).

    `channels`: 'BGR' (default: these files, converted from Caffe), or 'RGB' for albanie's *_dag.pth, whose first
    convolution was turned round; the tensors do not tell.
    """
    # Caffe's own separator is a slash, which converters kept or replaced.
    tensors = {name.replace("/", "_"): value for name, value in _tensors(_descend(state, "state_dict")).items()}
    caffe = "conv1_7x7_s2.weight" in tensors
    stem, top, names = (
        ("conv1_7x7_s2.weight", "classifier.weight", "caffe_resnet")
        if caffe
        else ("conv1.weight", "fc.weight", "vggface2_resnet")
    )
    # Some converters kept the last layer as the 1x1 convolution it is in Caffe.
    if top in tensors and _shape(tensors, top, (2, 4))[2:] in ((), (1, 1)):
        tensors[top] = tensors[top].reshape(tensors[top].shape[:2])
    if caffe:
        one_based = _stages(tensors, r"conv(\d+)_(\d+)_", 2)
        stages = tuple(size - 1 for size in one_based)  # Caffe counts blocks from 1
    else:
        stages = _stages(tensors)
    squeeze = "conv2_1_1x1_down.weight" if caffe else "layer1.0.conv4.weight"
    reduction = None
    if se:
        low, high, *_ = _shape(tensors, squeeze, 4)
        reduction = high // low
    width = _shape(tensors, stem, 4)[0]
    module = ResNet(
        _published(known, stages, (3, 4, 6, 3)),
        width,
        stride_on_first=True,
        ceil_mode=True,
        num_classes=_shape(tensors, top, 2)[0] if top in tensors else None,
        se_reduction=reduction,
    )
    channels = known.take("channels", "BGR")
    mean = _VGGFACE2_BGR if channels == "BGR" else _VGGFACE2_BGR[::-1]
    how = replace(_VGGFACE2, channels=channels, mean=mean)
    return _Plan(module, names, how, (_images(how.size),), tensors)


def _iresnet(state: Mapping[str, Any], known: Known, depths: tuple[int, ...]) -> _Plan:
    """insightface arcface_torch's backbone.pth, or checkpoint_gpu_<i>.pt."""
    tensors = _tensors(_descend(state, "state_dict_backbone", "state_dict"))
    stages = _published(known, _stages(tensors), depths)
    width = _shape(tensors, "conv1.weight", 4)[0]
    features, flat = _shape(tensors, "fc.weight", 2)
    side = 2 ** len(stages) * round((flat / _shape(tensors, "bn2.weight", 1)[0]) ** 0.5)
    how = replace(_ARCFACE, size=(side, side))
    return _Plan(IResNet(stages, width, features), "iresnet", how, (_images(how.size),), tensors)


def _hopenet(state: Mapping[str, Any], known: Known) -> _Plan:
    """deep-head-pose's hopenet_*.pkl; `fc_finetune` was for training and is left out."""
    tensors = _tensors(_descend(state, "state_dict"))
    tensors = {name: value for name, value in tensors.items() if not name.startswith("fc_finetune.")}
    bins = _shape(tensors, f"fc_{ANGLES[0]}.weight", 2)[0]
    module = Hopenet(_stages(tensors), _shape(tensors, "conv1.weight", 4)[0], bins)
    how = replace(_IMAGENET, crop="hopenet")
    return _Plan(module, "hopenet", how, (_images(how.size),), tensors)


def _deep3d(state: Mapping[str, Any], known: Known) -> _Plan:
    """Deep3DFaceRecon_pytorch's epoch_20.pth, under 'net_recon'."""
    tensors = _tensors(_descend(state, "net_recon"))
    heads: list[int] = []
    while f"final_layers.{len(heads)}.weight" in tensors:
        heads.append(_shape(tensors, f"final_layers.{len(heads)}.weight", 4)[0])
    stages = _stages(tensors, r"backbone\.layer(\d+)\.(\d+)\.")
    module = Deep3D(stages, _shape(tensors, "backbone.conv1.weight", 4)[0], tuple(heads))
    how = Preprocessing((224, 224), "deep3d", low=0.0, high=1.0)
    return _Plan(module, "deep3d", how, (_images(how.size),), tensors)


# ------------------------------------------------------------------------------------------------ other judges
def _sphere20(state: Mapping[str, Any], known: Known) -> _Plan:
    """CosFace_pytorch's *_checkpoint.pth."""
    tensors = _tensors(_descend(state, "state_dict"))
    stages = _published(known, tuple(size - 2 for size in _stages(tensors)), (1, 2, 4, 1))
    width = _shape(tensors, "layer1.0.weight", 4)[0]
    features, flat = _shape(tensors, "fc.weight", 2)
    cells = flat // (width * 2 ** (len(stages) - 1))
    rows, columns = round((cells * 7 / 6) ** 0.5), round((cells * 6 / 7) ** 0.5)
    size = (rows * 2 ** len(stages), columns * 2 ** len(stages))
    how = Preprocessing(size, "sphereface")
    return _Plan(SphereFace(stages, width, features), "sphereface", how, (_images(size),), tensors)


def _inception(state: Mapping[str, Any], known: Known) -> _Plan:
    """pytorch-fid's pt_inception-2015-12-05-*.pth."""
    tensors = _tensors(_descend(state, "state_dict"))
    width = _shape(tensors, "Conv2d_1a_3x3.conv.weight", 4)[0]
    module = InceptionFID(width, _shape(tensors, "fc.weight", 2)[0])
    how = Preprocessing((299, 299), "whole", interpolation="bilinear")
    return _Plan(module, "inception_fid", how, (_images(how.size),), tensors)


def dequantize(state: Mapping[str, np.ndarray]) -> State:
    """The weights of an ONNX graph with block-wise 8-bit weights, as its DequantizeLinear nodes compute them.

    `<name>_quantized` [n, m] has a scale and a zero point for every m / k columns, `<name>_scales` and
    `<name>_zero_point` [n, k] (without rows for a vector); value = (quantized - zero point) * scale in float32,
    reshaped to `<name>_shape`. Other tensors are kept. Raises WeightMismatch when blocks do not fit.
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


def _sface(state: Mapping[str, Any], known: Known) -> _Plan:
    """OpenCV's face_recognition_sface_2021dec*.onnx: float, or block-quantised ('int8bq': dequantised here).

    The graph starts with (x - scalar_op1) * scalar_op2 on pixels in 0..255, which become mean and std. RGB, as
    cv2.FaceRecognizerSF feeds it.
    """
    try:
        tensors = dequantize(_tensors(state))
    except KeyError as error:
        raise WeightMismatch(f"missing (1): {error.args[0]}") from error
    for name in ("scalar_op1", "scalar_op2"):
        _shape(tensors, name, 1)
    offset, factor = float(tensors.pop("scalar_op1")[0]), float(tensors.pop("scalar_op2")[0])
    layers: list[int] = []
    while f"conv_{len(layers) + 1}_conv2d_weight" in tensors:
        layers.append(_shape(tensors, f"conv_{len(layers) + 1}_conv2d_weight", 4)[0])
    features, flat = _shape(tensors, "pre_fc1_weight", 2)
    module = SFace(tuple(layers), features)
    halvings = sum(b > a for a, b in pairwise(layers[1:]))
    side = 2**halvings * round((flat / layers[-1]) ** 0.5)
    how = Preprocessing((side, side), "arcface", "RGB", 0.0, 255.0, (offset,) * 3, (1 / factor,) * 3)
    return _Plan(module, "sface", how, (_images(how.size),), tensors)


# -------------------------------------------------------------------------------- networks to start training from
_NCSNPP_FREE = ("fir", "skip_rescale", "emb_scale", "input_residual", "dropout", "init_scale")


def _generator_module(fields: dict[str, Any], levels: Sequence[int], size: int, known: Known) -> NCSNpp:
    attention = tuple(size >> level for level in levels)
    return NCSNpp(**fields, attn_resolutions=attention, **known.fields(*_NCSNPP_FREE))


def _faces(size: int) -> Preprocessing:
    return Preprocessing((size, size), "ffhq")


def _ncsnpp(state: Mapping[str, Any], known: Known) -> _Plan:
    """score_sde's checkpoints of NCSN++ with BigGAN blocks: PyTorch's checkpoint_<n>.pth, Flax's msgpack.

    `image_size` (256 for the FFHQ-256 model) is required, for Flax files also `attn_resolutions` ((16,)).
    `ema` True (default where there is one) takes the averaged weights, False the trained ones. The network was
    conditioned on Fourier features of the noise level. `dim` is the size of the identity embedding that takes their
    place: the kernel of the first dense layer is then new (score_sde's initialiser, `seed` 0 by default), and listed
    as fresh, while everything else, its bias included, is the checkpoint's. Without `dim` that kernel is kept too.
    fir and skip_rescale (True, as published), emb_scale, input_residual, dropout, init_scale: NCSNpp's fields.
    """
    size = known.take("image_size")
    tensors, flax = _score_sde_tensors(state, known.take("ema", None))
    if flax:
        fields = ncsnpp_shapes.from_flax_names(tensors)
        resolutions = tuple(known.take("attn_resolutions"))
        levels = [level for level in range(len(fields["ch_mult"])) if size >> level in resolutions]
    else:
        fields, levels = ncsnpp_shapes.from_torch_names(tensors)
    module = _generator_module(fields, levels, size, known)
    kernel, axis = ("Dense_0/kernel", 1) if flax else ("all_modules.1.weight", 0)
    shape = _shape(tensors, kernel, 2)
    dim, seed = known.take("dim", None), known.take("seed", 0)
    if dim is not None:
        fresh = np.asarray(default_init()(jax.random.key(seed), (dim, shape[axis])))
        tensors[kernel] = fresh if flax else fresh.T
    names = "score_sde_ncsnpp_flax" if flax else "score_sde_ncsnpp"
    inputs = (_images((size, size)), (1, dim or shape[1 - axis]))
    return _Plan(module, names, _faces(size), inputs, tensors, () if dim is None else ("params/embed0/kernel",))


def _score_sde_tensors(state: Mapping[str, Any], ema: bool | None) -> tuple[State, bool]:
    """The flat tensors of one set of weights, and whether they carry Flax's names."""
    if "params_ema" in state or ("optimizer" in state and "model" not in state):
        part = "optimizer" if ema is False else "params_ema"
        if not isinstance(state.get(part), Mapping):
            raise WeightMismatch(f"missing (1): {part}; found {_some(state)}")
        return _flat(_descend(state[part], "target") if part == "optimizer" else state[part]), True
    if "model" in state:
        tensors = _tensors(state["model"])
        if ema is False or (ema is None and "ema" not in state):
            return tensors, False
        if "ema" not in state:
            raise WeightMismatch(f"missing (1): ema; found {_some(state)}")
        return _shadow(tensors, state["ema"]), False
    if ema:
        raise WeightMismatch(f"missing: 'params_ema', or 'model' and 'ema'; found {_some(state)}")
    tensors = strip_prefixes(_flat(state))
    return tensors, any(name.startswith("ResnetBlockBigGANpp_") for name in tensors)


def _shadow(model: State, ema: Mapping[str, Any]) -> State:
    """score_sde's averaged weights: a list in the order of the model's trained parameters."""
    found = ema.get("shadow_params", ())
    shadow = [np.asarray(v) for v in (found.values() if isinstance(found, Mapping) else found)]
    names = [n for n in model if not re.fullmatch(r"sigmas|all_modules\.0\.W", n)]  # a buffer, a fixed parameter
    if len(shadow) != len(names):
        raise WeightMismatch(f"ema: {len(shadow)} averaged tensors for {len(names)} parameters of the model")
    wrong = [n for n, v in zip(names, shadow, strict=True) if v.shape != model[n].shape]
    if wrong:
        raise WeightMismatch(f"misshapen ({len(wrong)}): {'; '.join(f'ema of {name}' for name in wrong)}")
    return dict(zip(names, shadow, strict=True))


def _stylegan2(state: Mapping[str, Any], known: Known) -> _Plan:
    """rosinality/stylegan2-pytorch's checkpoints, under 'd'. `mbstd_group` is 4 there (default)."""
    tensors = _tensors(_descend(state, "d"))
    blocks = 0
    while f"convs.{blocks + 1}.conv1.0.weight" in tensors:
        blocks += 1
    size = 4 * 2**blocks
    channels = {size >> i: _shape(tensors, f"convs.{i + 1}.conv1.0.weight", 4)[1] for i in range(blocks)}
    features, last, *_ = _shape(tensors, "final_conv.0.weight", 4)
    for name in [name for name in tensors if name.endswith(".0.kernel")]:
        taps = np.asarray(FIR_1331) / sum(FIR_1331)
        if tensors[name].shape != (4, 4) or not np.allclose(tensors[name], np.outer(taps, taps), atol=1e-6):
            raise WeightMismatch(f"{name}: the blur is not that of {FIR_1331}")
    module = _discriminator_module(size, channels | {4: features}, last - features, known)
    return _Plan(module, "rosinality_discriminator", _faces(size), (_images((size, size)),), tensors)


def _discriminator_module(size: int, channels: dict[int, int], mbstd: int, known: Known) -> Discriminator:
    """By `channel_base` and `channel_max` where they give the channels found, else by the list."""
    free = known.fields("mbstd_group")
    base, most = size * channels[size], max(channels.values())
    if channels == {r: min(base // r, most) for r in channels}:
        return Discriminator(size, base, most, mbstd_features=mbstd, **free)
    return Discriminator(size, channels=channels, mbstd_features=mbstd, **free)


# --------------------------------------------------------------------------------------------------- our own files
def _own_embedder(state: Mapping[str, Any], known: Known) -> _Plan:
    """Our embedder. `image_size` is required; so is `stem` for a 3x3 first convolution (small, small2, small4)."""
    tensors = _flat(state)
    backbone = "params/backbone/"
    stages = _stages(tensors, backbone + r"layer(\d+)_(\d+)/")
    kernel = _shape(tensors, f"{backbone}conv1/kernel", 4)
    batch = any(name.startswith("batch_stats/") for name in tensors)
    module = IdentityEmbedder(
        stages,
        kernel[3],
        known.take("stem", "imagenet") if kernel[0] == 7 else known.take("stem"),
        "batch" if batch else "group",
        _shape(tensors, "params/dense0/kernel", 2)[1],
        _shape(tensors, "params/dense1/kernel", 2)[1],
    )
    size = known.take("image_size")
    return _Plan(module, "own", _faces(size), (_images((size, size)),), tensors)


def _own_generator(state: Mapping[str, Any], known: Known) -> _Plan:
    """Our generator. `image_size` is required; the fields of NCSNpp that shapes do not show may be given."""
    tensors = _flat(state)
    size = known.take("image_size")
    fields, levels = ncsnpp_shapes.from_own_names(tensors)
    module = _generator_module(fields, levels, size, known)
    dim = _shape(tensors, "params/embed0/kernel", 2)[0]
    return _Plan(module, "own", _faces(size), (_images((size, size)), (1, dim)), tensors)


def _own_discriminator(state: Mapping[str, Any], known: Known) -> _Plan:
    """Our discriminator."""
    tensors = _flat(state)
    names = [re.fullmatch(r"params/block(\d+)/conv1/kernel", name) for name in tensors]
    channels = {int(match[1]): _shape(tensors, match[0], 4)[2] for match in names if match}
    if not channels:
        raise WeightMismatch(f"missing: params/block<size>/conv1/kernel; found {_some(tensors)}")
    size = max(channels)
    *_, last, features = _shape(tensors, "params/final_conv/kernel", 4)
    module = _discriminator_module(size, channels | {4: features}, last - features, known)
    return _Plan(module, "own", _faces(size), (_images((size, size)),), tensors)


# -------------------------------------------------------------------------------------------------------- by kind
KINDS: dict[str, Callable[[Mapping[str, Any], Known], _Plan]] = {
    "resnet50": _resnet50,
    "vggface2-resnet50": lambda state, known: _vggface2(state, known, se=False),
    "vggface2-senet50": lambda state, known: _vggface2(state, known, se=True),
    "iresnet50": lambda state, known: _iresnet(state, known, (3, 4, 14, 3)),
    "iresnet100": lambda state, known: _iresnet(state, known, (3, 13, 30, 3)),
    "cosface-sphere20": _sphere20,
    "hopenet": _hopenet,
    "deep3d": _deep3d,
    "inception-fid": _inception,
    "sface": _sface,
    "ncsnpp": _ncsnpp,
    "stylegan2-discriminator": _stylegan2,
    "embedder": _own_embedder,
    "generator": _own_generator,
    "discriminator": _own_discriminator,
}


def import_network(kind: str, state: Mapping[str, Any], **known: Any) -> Network:
    """The network that a checkpoint holds.

    kind: a key of KINDS. state: what its file holds, names to arrays (numpy or CPU torch tensors), flat or nested as
    the training code saved it; DataParallel's prefixes may be there. known: what names and shapes cannot tell; which
    ones a kind takes is in the docstring of its function. Raises ValueError for an unknown kind (the message lists
    them), for missing or useless keywords, and WeightMismatch, with the names, for tensors that do not fit exactly.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, wanted one of {', '.join(KINDS)}")
    words = Known(kind, known)
    try:
        plan = KINDS[kind](state, words)
    except WeightMismatch as error:
        raise WeightMismatch(f"this is no {kind} checkpoint: {error}") from error
    words.finish()
    inputs = [jax.ShapeDtypeStruct(shape, np.float32) for shape in plan.inputs]
    variables = to_variables(plan.names, plan.state, plan.module, *inputs)
    return Network(kind, plan.module, variables, plan.preprocessing, plan.inputs, plan.fresh)


def from_torch(kind: str, state_dict: Mapping[str, Any], **known: Any) -> tuple[nn.Module, dict[str, Any]]:
    """`import_network` without the rest: the module and its variables, for `module.apply(variables, x)`."""
    network = import_network(kind, state_dict, **known)
    return network.module, network.variables

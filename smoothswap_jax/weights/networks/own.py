"""Our own embedder, generator and discriminator, under the names that our exports give their leaves."""

import re
from typing import Any

from smoothswap_jax.models.embedder import IdentityEmbedder
from smoothswap_jax.models.ncsnpp import NCSNpp
from smoothswap_jax.models.stylegan2 import Discriminator
from smoothswap_jax.weights.inspect import Known, State, image_shape, shape_of, some_names, stages_of
from smoothswap_jax.weights.networks import ncsnpp_shapes
from smoothswap_jax.weights.networks.ncsnpp import generator_module
from smoothswap_jax.weights.networks.stylegan2 import discriminator_module
from smoothswap_jax.weights.preprocessing import ffhq
from smoothswap_jax.weights.spec import NameMap, NetworkSpec, Plan
from smoothswap_jax.weights.stored_tensor import Path, Shapes, StoredTensor, WeightMismatch


def plan_embedder(tensors: State, known: Known) -> Plan:
    """Our embedder. Keywords: `image_size`, and for a 3x3 first convolution `stem` (small, small2 or small4)."""
    backbone = "params/backbone/"
    stages = stages_of(tensors, backbone + r"layer(\d+)_(\d+)/")
    kernel = shape_of(tensors, f"{backbone}conv1/kernel", 4)
    batch = any(name.startswith("batch_stats/") for name in tensors)
    module = IdentityEmbedder(
        stages,
        kernel[3],
        known.take("stem", str, "imagenet") if kernel[0] == 7 else known.take("stem", str),
        "batch" if batch else "group",
        shape_of(tensors, "params/dense0/kernel", 2)[1],
        shape_of(tensors, "params/dense1/kernel", 2)[1],
    )
    size = known.take("image_size", int)
    return Plan(module, "own", tensors, ffhq(size))


def plan_generator(tensors: State, known: Known) -> Plan:
    """Our generator. Keywords: `image_size` is required; fields of NCSNpp that shapes do not show may be given."""
    tensors, size = _with_params(tensors), known.take("image_size", int)
    fields, levels = ncsnpp_shapes.from_own_names(tensors)
    module = generator_module(fields, levels, size, known)
    dim = shape_of(tensors, "params/embed0/kernel", 2)[0]
    return Plan(module, "own", tensors, ffhq(size), (image_shape((size, size)), (1, dim)))


def plan_discriminator(tensors: State, known: Known) -> Plan:
    """Our discriminator."""
    tensors = _with_params(tensors)
    names = [re.fullmatch(r"params/block(\d+)/conv1/kernel", name) for name in tensors]
    channels = {int(match[1]): shape_of(tensors, match[0], 4)[2] for match in names if match}
    if not channels:
        raise WeightMismatch(f"missing: params/block<size>/conv1/kernel; found {some_names(tensors)}")
    size = max(channels)
    *_, last, features = shape_of(tensors, "params/final_conv/kernel", 4)
    projects = "params/projection/kernel" in tensors
    module = discriminator_module(size, channels | {4: features}, last - features, known, projects)
    image = image_shape((size, size))
    inputs = (image, (1, shape_of(tensors, "params/projection/kernel", 2)[0])) if projects else (image,)
    return Plan(module, "own", tensors, ffhq(size), inputs)


def _with_params(tensors: State) -> State:
    """The names that a network folder has; an export leaves out the collection, as these networks have only one."""
    whole = any(name.startswith("params/") for name in tensors)
    return tensors if whole else {f"params/{name}": value for name, value in tensors.items()}


def _tensors(module: Any, shapes: Shapes) -> dict[Path, StoredTensor]:
    """Our own names: the path of the leaf, joined by slashes."""
    return {path: StoredTensor("/".join(path)) for path in shapes}


_NAMES = (NameMap("own", _tensors),)
SPECS = (
    NetworkSpec("embedder", IdentityEmbedder, plan_embedder, _NAMES, role="identity", licence="that of its run"),
    NetworkSpec("generator", NCSNpp, plan_generator, _NAMES),
    NetworkSpec("discriminator", Discriminator, plan_discriminator, _NAMES),
)

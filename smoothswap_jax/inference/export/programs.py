"""The trained networks as programs: StableHLO for JAX on any device, ONNX for other runtimes.

StableHLO programs take the weights as an argument, one flat dict `{name: array}`, as `safetensors.numpy.load_file`
returns it; ONNX models contain them. Weights may be stored as float16; all programs compute in float32.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict
from jaxtyping import Array, Float

from smoothswap_jax.inference.restore import RestoredSwapper
from smoothswap_jax.training.networks import swap
from smoothswap_jax.weights.exported import ExportError

PyTree = Any
PLATFORMS = ("cpu", "cuda", "tpu")
ONNX_TOLERANCE = 1e-4
"""Largest difference from JAX, for images in [-1, 1], that an ONNX program may have. float32 runtimes sum
convolutions in other orders, which costs about 1e-5 here."""

ONNX_MISSING = (
    "ONNX needs {}, which is not installed: pip install 'smoothswap-jax[onnx]' && "
    "pip install --no-deps 'jax2onnx>=0.17,<0.18'"
)

Flat = Mapping[str, Float[Array, "..."]]


class Program(NamedTuple):
    """A function to export: `function(weights, *inputs)`.

    weights: flat, those whose names start with one of `prefixes`. example: inputs of batch size 1, pytrees of arrays
    whose leaves have the batch as leading axis.
    """

    function: Callable[..., PyTree]
    prefixes: tuple[str, ...]
    example: tuple[PyTree, ...]

    def weights(self, of_all: Flat) -> dict[str, Array]:
        """Those of `of_all` that the function takes."""
        return {name: value for name, value in of_all.items() if name.startswith(self.prefixes)}


def make_programs(restored: RestoredSwapper) -> dict[str, Program]:
    """The exported programs by name; images are [b size size 3] in [-1, 1], z is what the embedder gives, a pytree.

    swap: (weights, source, target) -> swap. embed: (weights, source) -> z. generate: (weights, target, z) -> swap.
    """
    networks = restored.networks

    def swap_pair(weights: Flat, source: Array, target: Array) -> Array:
        return swap(networks, _nested(weights), source, target)

    def embed(weights: Flat, source: Array) -> PyTree:
        return networks.embed(_nested(weights)["embedder"], source)

    def generate(weights: Flat, target: Array, z: PyTree) -> Array:
        return networks.generate(_nested(weights)["generator"], target, z)

    # Noise, so that every weight matters.
    rng = np.random.default_rng(0)
    source, target = rng.uniform(-1, 1, (2, 1, restored.size, restored.size, 3)).astype(np.float32)
    z = jax.device_get(jax.jit(networks.embed)(restored.variables["embedder"], source))
    return {
        "swap": Program(swap_pair, ("generator/", "embedder/"), (source, target)),
        "embed": Program(embed, ("embedder/",), (source,)),
        "generate": Program(generate, ("generator/",), (target, z)),
    }


def _nested(weights: Flat) -> dict[str, Any]:
    return unflatten_dict({name: value.astype(jnp.float32) for name, value in weights.items()}, sep="/")


def to_stablehlo(program: Program, weights: Flat) -> bytes:
    """Serialises `program` for any batch size and all of PLATFORMS."""
    (batch,) = jax.export.symbolic_shape("batch")
    inputs = jax.tree.map(lambda x: jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype), program.example)
    shapes = {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in weights.items()}
    with _no_paths():
        exported = jax.export.export(jax.jit(program.function), platforms=PLATFORMS)(shapes, *inputs)
        return bytes(exported.serialize())


@contextmanager
def _no_paths() -> Iterator[None]:
    """Source locations name files without their folders, which are nobody's business where an export is read."""
    name = "jax_hlo_source_file_canonicalization_regex"
    before = jax.config.values[name]
    jax.config.update(name, r".*/")
    try:
        yield
    finally:
        jax.config.update(name, before)


def to_onnx(path: Path, program: Program, weights: Flat) -> None:
    """Writes `program` with its weights inside as an ONNX model for one face: NHWC float32 images [1 size size 3].

    Its inputs and outputs are the leaves of the program's. The batch is one face: jax2onnx cannot pad arrays of a free
    batch size. Raises ImportError saying what to install.
    """
    try:
        import jax2onnx
        import onnxruntime  # noqa: F401  # the comparison needs it
    except ImportError as error:
        raise ImportError(ONNX_MISSING.format(error.name)) from error
    constant = {name: jnp.asarray(value) for name, value in weights.items()}
    leaves, structure = jax.tree.flatten(program.example)
    jax2onnx.to_onnx(
        lambda *inputs: program.function(constant, *jax.tree.unflatten(structure, inputs)),
        inputs=[jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves],
        model_name=path.stem,
        return_mode="file",
        output_path=str(path),
    )


def run_onnx(path: Path, inputs: PyTree) -> list[np.ndarray]:
    """The leaves of an ONNX model's outputs, by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    return session.run(None, dict(zip(names, jax.tree.leaves(inputs), strict=True)))


def difference(found: PyTree, wanted: PyTree) -> float:
    """The largest absolute difference between the leaves of two trees; NaN if one of them holds NaN."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    return float(np.max([np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in pairs]))


def check(name: str, found: PyTree, wanted: PyTree, tolerance: float, advice: str = "") -> float:
    """Their `difference`. Raises ExportError, with both figures, when it is above `tolerance` or NaN."""
    value = difference(found, wanted)
    if not value <= tolerance:
        raise ExportError(f"{name}: differs from the checkpoint by {value:.2e}, wanted at most {tolerance:.0e}{advice}")
    return value

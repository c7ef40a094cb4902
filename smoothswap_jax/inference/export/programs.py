"""The trained functions as programs: StableHLO for JAX on any device, ONNX for other runtimes.

Weights are arguments of the StableHLO programs, as one flat dict `{name: float32 array}`, exactly what
`safetensors.numpy.load_file` gives; ONNX keeps them inside.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict
from jaxtyping import Array, Float

from smoothswap_jax.inference.restore import Trained
from smoothswap_jax.training.networks import swap

PLATFORMS = ("cpu", "cuda", "tpu")
ONNX_TOLERANCE = 1e-4
"""Largest difference from JAX, in grey levels of [-1, 1], that an ONNX program may have. float32 runtimes sum
convolutions in other orders, which costs about 1e-5 here."""

ONNX_MISSING = (
    "ONNX needs {}, which is not installed: pip install 'smoothswap-jax[onnx]' && "
    "pip install --no-deps 'jax2onnx>=0.17,<0.18'"
)

Flat = Mapping[str, Float[Array, "..."]]


class ExportError(ValueError):
    """An exported file does not do what the checkpoint does, or cannot be made."""


def swap_program(trained: Trained) -> Callable[[Flat, Array, Array], Array]:
    """(flat weights, source, target) -> swap; images [b size size 3] in [-1, 1]."""
    return lambda weights, source, target: swap(
        trained.networks, unflatten_dict(dict(weights), sep="/"), source, target
    )


def embed_program(trained: Trained) -> Callable[[Flat, Array], Array]:
    """(flat weights, images [b size size 3] in [-1, 1]) -> unit-norm identity embeddings [b dim]."""
    return lambda weights, image: trained.networks.embed(unflatten_dict(dict(weights), sep="/")["embedder"], image)


def to_stablehlo(program: Callable, weights: Flat, size: int, images: int) -> bytes:
    """Serialises `program(weights, *images)` for any batch size and all of PLATFORMS."""
    (batch,) = jax.export.symbolic_shape("batch")
    image = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)
    shapes = {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in weights.items()}
    exported = jax.export.export(jax.jit(program), platforms=PLATFORMS)(shapes, *[image] * images)
    return bytes(exported.serialize())


def to_onnx(path: Path, program: Callable, weights: Flat, size: int, images: int) -> None:
    """Writes `program` with its weights inside as an ONNX model of NHWC float32 inputs [1 size size 3].

    The batch is one image: jax2onnx cannot pad arrays of a free batch size. Raises ImportError saying what to install.
    """
    try:
        import jax2onnx
        import onnxruntime  # noqa: F401  # the comparison needs it
    except ImportError as error:
        raise ImportError(ONNX_MISSING.format(error.name)) from error
    constant = {name: jnp.asarray(value) for name, value in weights.items()}
    jax2onnx.to_onnx(
        lambda *inputs: program(constant, *inputs),
        inputs=[jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)] * images,
        model_name=path.stem,
        return_mode="file",
        output_path=str(path),
    )


def onnx_difference(path: Path, wanted: np.ndarray, *images: np.ndarray) -> float:
    """Largest absolute difference between the ONNX model's outputs, image by image, and `wanted`: onnxruntime, CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    rows = ([image[i : i + 1] for image in images] for i in range(len(wanted)))
    found = np.concatenate([session.run(None, dict(zip(names, row, strict=True)))[0] for row in rows])
    return float(np.abs(found - wanted).max())


def example_images(batch: int, size: int, images: int) -> list[np.ndarray]:
    """Noise in [-1, 1] to compare programs with: every weight takes part."""
    rng = np.random.default_rng(0)
    return [rng.uniform(-1, 1, (batch, size, size, 3)).astype(np.float32) for _ in range(images)]


def compare(name: str, found: Any, wanted: Any, tolerance: float) -> float:
    """The largest absolute difference. Raises ExportError, with both figures, when it is above `tolerance`."""
    difference = float(np.abs(np.asarray(found) - np.asarray(wanted)).max())
    if not difference <= tolerance:
        raise ExportError(f"{name}: differs from the checkpoint by {difference:.2e}, wanted at most {tolerance:.0e}")
    return difference

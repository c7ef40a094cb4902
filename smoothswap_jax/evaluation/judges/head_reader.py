"""Reads the shape of a head, its expression and its pose off an aligned picture, by a small network.

The parameters are those of the synthetic world's own 3-D head model (`synthetic/heads.py`), as Smooth-Swap's paper
measures with those of a 3-D face model. The network was fitted to rendered people whom no training sees
(`make_heads_judge.py`), so how well it reads is known: the share of variance explained (R2) was measured for every
parameter, on people it never saw, in sharp and in soft pictures, and parameters below `KEEP` are never read.

Readings minimise the squared error, so they are shrunk towards the mean of all people: distances between readings are
smaller than between the true parameters. Compare them with those of strangers, or of true swaps, by the same reader.
"""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Bool, Float, UInt8

from smoothswap_jax.faces.photos import to_float
from smoothswap_jax.models.judges.heads import HeadNetwork
from smoothswap_jax.runtime import sharding
from smoothswap_jax.synthetic import heads, world

FILE = Path(__file__).with_name("heads.npz")
GROUPS = ("shape", "expression", "pose")
UNITS = {"shape": "mm", "expression": "standard deviations", "pose": "degrees"}
SIDE = 64
"""Of the pictures that the network sees, pixels; others are averaged down or enlarged."""
KEEP = 0.5
"""Least R2 of a parameter that is read, in both sharp and soft pictures."""


class Shape(NamedTuple):
    """Principal components of the neutral head, of coefficients [n, k] by `heads.SHAPE_NAMES`:
    `(coefficients - middle) @ matrix`.

    The length of a row is the root mean square distance of a head's points from those of the mean head, in mm.
    """

    middle: Float[np.ndarray, "k"]
    matrix: Float[np.ndarray, "k c"]


class HeadReader(NamedTuple):
    """A fitted reader.

    variables: of the network, whose outputs are parameters less `mean` over `deviation`. names: of all parameters by
    group; a component of shape is named by its number and what it changes most. r2, r2_soft: share of variance
    explained in sharp and soft pictures of unseen people; 1 is perfect, 0 is guessing the mean, and it may be negative.
    about: what it was fitted to, in words.
    """

    variables: Any
    shape: Shape
    names: dict[str, tuple[str, ...]]
    mean: Float[np.ndarray, "t"]
    deviation: Float[np.ndarray, "t"]
    r2: Float[np.ndarray, "t"]
    r2_soft: Float[np.ndarray, "t"]
    about: str


def predict(variables: Any, images: Float[Array, "n s s 3"]) -> Float[Array, "n t"]:
    """The network's outputs for pictures in [-1, 1] of any size."""
    targets = variables["params"]["out"]["bias"].shape[0]
    outputs = HeadNetwork(targets).apply(variables, _sized(images))
    assert isinstance(outputs, jax.Array)
    return outputs


def _sized(images: Float[Array, "n s s 3"]) -> Float[Array, "n r r 3"]:
    n, size = images.shape[:2]
    if size % SIDE == 0:
        step = size // SIDE
        return images.reshape(n, SIDE, step, SIDE, step, 3).mean((2, 4))
    return jax.image.resize(images, (n, SIDE, SIDE, 3), "linear")


def parameters(shape: Shape, factors: world.Factors) -> Float[np.ndarray, "n t"]:
    """The true parameters of rendered people: shape in mm, expression as `world.FIELDS` has it, pose in degrees."""
    coefficients = np.asarray(factors.identity, np.float64)[:, : len(heads.SHAPE_NAMES)]
    in_mm = (coefficients - shape.middle) @ shape.matrix
    return np.concatenate([in_mm, factors.expression, np.degrees(factors.pose)], axis=1)


def kept(reader: HeadReader) -> Bool[np.ndarray, "t"]:
    """Which parameters are read."""
    return np.minimum(reader.r2, reader.r2_soft) > KEEP


def kept_names(reader: HeadReader) -> dict[str, tuple[str, ...]]:
    """The parameters that are read, by group: the columns of readings, in their order."""
    chosen = dict(zip(GROUPS, np.split(kept(reader), _stops(reader)), strict=True))
    return {group: tuple(np.array(reader.names[group])[chosen[group]].tolist()) for group in GROUPS}


def make_read(reader: HeadReader, mesh) -> Callable[[UInt8[np.ndarray, "n s s 3"]], Float[np.ndarray, "n k"]]:
    """A function from aligned pictures to the parameters that are read, in `UNITS`, computed on the devices of `mesh`.

    Expression is in standard deviations of the world's photos from their mean.
    """
    compiled = jax.jit(predict)
    chosen = kept(reader)
    expression = np.split(np.arange(len(chosen)), _stops(reader))[GROUPS.index("expression")]
    scale, middle = reader.deviation.copy(), reader.mean.copy()
    scale[expression], middle[expression] = 1.0, 0.0
    # Weights are arguments, so that they are not constants of the program.
    run = sharding.in_chunks(lambda x: compiled(reader.variables, x), mesh)
    return lambda images: (middle + scale * run(to_float(images)))[:, chosen].astype(np.float32)


def explained(found: Float[np.ndarray, "n t"], wanted: Float[np.ndarray, "n t"]) -> Float[np.ndarray, "t"]:
    """R2: 1 - the mean squared error over the variance of what is wanted; 0 for what is the same everywhere."""
    variance = wanted.var(0)
    return np.where(variance > 0, 1.0 - np.square(found - wanted).mean(0) / np.maximum(variance, 1e-12), 0.0)


def _stops(reader: HeadReader) -> list[int]:
    return np.cumsum([len(reader.names[group]) for group in GROUPS])[:-1].tolist()


# --- the file -------------------------------------------------------------------------------------------------


def to_bytes(reader: HeadReader) -> bytes:
    """The reader as an .npz file without pickles, weights as float16; the same bytes for the same reader."""
    arrays: dict[str, Any] = {
        name: np.asarray(leaf, np.float16) for name, leaf in flatten_dict(reader.variables, sep="/").items()
    }
    arrays |= {name: getattr(reader, name).astype(np.float32) for name in ("mean", "deviation", "r2", "r2_soft")}
    arrays |= {f"names_{group}": np.array(reader.names[group]) for group in GROUPS}
    file = io.BytesIO()
    np.savez_compressed(
        file,
        **arrays,
        shape_names=np.array(heads.SHAPE_NAMES),
        shape_middle=reader.shape.middle,
        shape_matrix=reader.shape.matrix.astype(np.float32),
        about=np.array(reader.about),
    )
    return file.getvalue()


def from_bytes(data: bytes) -> HeadReader:
    """What `to_bytes` wrote. Raises ValueError for a reader of another head model than this version has."""
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        if found["shape_names"].tolist() != list(heads.SHAPE_NAMES):
            raise ValueError("heads judge: shape_names are not heads.SHAPE_NAMES; wanted a judge of this head model")
        weights = {tuple(name.split("/")): found[name].astype(np.float32) for name in found.files if "/" in name}
        mean, deviation, r2, r2_soft = (
            found[name].astype(np.float64) for name in ("mean", "deviation", "r2", "r2_soft")
        )
        return HeadReader(
            unflatten_dict(weights),
            Shape(found["shape_middle"].astype(np.float64), found["shape_matrix"].astype(np.float64)),
            {group: tuple(found[f"names_{group}"].tolist()) for group in GROUPS},
            mean,
            deviation,
            r2,
            r2_soft,
            found["about"].item(),
        )


@cache
def load_reader() -> HeadReader:
    """The reader that comes with the package."""
    return from_bytes(FILE.read_bytes())

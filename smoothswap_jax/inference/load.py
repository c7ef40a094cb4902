"""Loads a trained swapper from a run directory or an export: the user's, or the default that comes with the package.

The default is loaded as the programs of its export, which takes a tenth of the time: its networks need not be built and
traced, nor Flax, Optax and Orbax be imported. Other people's programs are not run, because StableHLO can do what code
can; their weights fill networks of ours.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from smoothswap_jax.provenance.credentials import Model
from smoothswap_jax.runtime import folders
from smoothswap_jax.runtime.checksums import arrays_digest
from smoothswap_jax.runtime.folders import DEFAULT
from smoothswap_jax.weights.exported import is_export, load_programs

if TYPE_CHECKING:
    from smoothswap_jax.inference.restore import RestoredSwapper

log = logging.getLogger(__name__)
PROGRAMS_ON = ("cpu",)
"""Where the programs of the default were compared with its networks: the same numbers to the bit, as XLA is set without
flags."""


class Loaded(NamedTuple):
    """What a `Swapper` runs.

    embed: (weights, images [b size size 3] in [-1, 1]) -> z. generate: (weights, images, z) -> images. embedder,
    generator: the weights they take, numpy arrays. identity: shapes of one z, [1 ...].
    """

    embed: Callable[..., Any]
    generate: Callable[..., Any]
    embedder: Any
    generator: Any
    identity: Any
    size: int
    model: Model


def load_functions(folder: str | os.PathLike[str] = DEFAULT, step: int | None = None) -> Loaded:
    """The swapper of a run directory or an export as two functions; arguments and errors are `load_swapper`'s."""
    if folder == DEFAULT and is_export(folders.PACKAGED) and jax.default_backend() in PROGRAMS_ON:
        return _default_programs(step)
    from smoothswap_jax.training.networks import image_shape
    from smoothswap_jax.weights.variables import params_digest

    found = load_swapper(folder, step)
    embedder, generator = found.variables["embedder"], found.variables["generator"]
    embed = jax.jit(found.networks.embed, inline=True)  # traced once, for the shapes of z and for the work
    return Loaded(
        embed,
        found.networks.generate,
        embedder,
        generator,
        jax.eval_shape(embed, embedder, image_shape(1, found.size)),
        found.size,
        Model(params_digest(generator), params_digest(embedder), found.step),
    )


def _default_programs(step: int | None) -> Loaded:
    """The packaged swapper, by the programs of its export."""
    programs, config = load_programs(folders.PACKAGED, ("embed", "generate"))
    _check_step(DEFAULT, config["step"], step)
    _say_default(config["size"])
    embed, generate = programs["embed"], programs["generate"]
    image = jax.ShapeDtypeStruct((1, config["size"], config["size"], 3), "float32")
    digest = lambda part, weights: arrays_digest({name.removeprefix(f"{part}/"): x for name, x in weights.items()})
    return Loaded(
        embed.function,
        generate.function,
        embed.weights,
        generate.weights,
        jax.eval_shape(embed.function, embed.weights, image),
        config["size"],
        Model(digest("generator", generate.weights), digest("embedder", embed.weights), config["step"]),
    )


def load_swapper(folder: str | os.PathLike[str] = DEFAULT, step: int | None = None) -> RestoredSwapper:
    """The networks of a run directory of stage 2, at its newest checkpoint or at `step`; or of an export, which has
    one.

    The packaged one, 'default', says in a warning what it is for.

    Raises CheckpointError when there is no such checkpoint or it is not a swapper's, ExportError when the export is
    damaged, and ValueError when it is of another step.
    """
    from smoothswap_jax.inference.export.export_folder import load_export
    from smoothswap_jax.inference.restore import restore_swapper
    from smoothswap_jax.runtime.checkpoint import CheckpointError

    folder, given = swapper_folder(folder), folder
    if fault := folders.mistake(folder, folders.SWAPPER, folders.EXPORT):
        raise CheckpointError(fault)
    if not is_export(folder):
        return restore_swapper(folder, step)
    found = load_export(folder)
    _check_step(folder, found.step, step)
    if given == DEFAULT:
        _say_default(found.size)
    return found


def _check_step(folder: str | os.PathLike[str], found: int, wanted: int | None) -> None:
    if wanted not in (None, found):
        raise ValueError(f"{os.fspath(folder)}: an export of step {found}; wanted step {wanted}")


def _say_default(size: int) -> None:
    log.warning("using the default swapper: %d px, a small one; train your own for better swaps", size)


def swapper_folder(given: str | os.PathLike[str]) -> Path:
    """The folder that a user named, who may say 'default'. Raises CheckpointError where none is packaged."""
    from smoothswap_jax.runtime.checkpoint import CheckpointError

    folder = folders.named(given)
    if given == DEFAULT and not is_export(folder):
        raise CheckpointError(
            f"{folder}: found no default swapper in this installation; wanted a folder: --checkpoint=DIR, or "
            "Swapper.load(DIR), of a run of stage swapper or of an export"
        )
    return folder

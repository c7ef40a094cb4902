"""Loads a trained swapper from a run directory or an export: the user's, or one that comes with the package.

Those are loaded as the programs of their exports, which takes a tenth of the time: networks need not be built and
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
from smoothswap_jax.runtime.folders import DEFAULT, PHOTOGRAPHS
from smoothswap_jax.weights.exported import is_export, load_programs

if TYPE_CHECKING:
    from smoothswap_jax.inference.restore import RestoredSwapper

log = logging.getLogger(__name__)
SAID = {  # of each packaged one, when it is loaded
    DEFAULT: "using the packaged swapper for rendered people: %d px; for photographs there is 'photographs'",
    PHOTOGRAPHS: "using the packaged swapper for photographs: %d px, a small one; train your own for better swaps",
}
PROGRAMS_ON = ("cpu",)
"""Where the programs of the packaged ones were compared with their networks: the same numbers to the bit, as XLA is set
without flags."""


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


def load_functions(folder: str | os.PathLike[str], step: int | None = None) -> Loaded:
    """The swapper of a run directory or an export as two functions; arguments and errors are `load_swapper`'s."""
    if folder in folders.PACKAGED and is_export(folders.named(folder)) and jax.default_backend() in PROGRAMS_ON:
        return _packaged_programs(str(folder), step)
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


def _packaged_programs(name: str, step: int | None) -> Loaded:
    """A packaged swapper, by the programs of its export."""
    programs, config = load_programs(folders.PACKAGED[name], ("embed", "generate"))
    _check_step(name, config["step"], step)
    log.warning(SAID[name], config["size"])
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


def load_swapper(folder: str | os.PathLike[str], step: int | None = None) -> RestoredSwapper:
    """The networks of a run directory of stage 2, at its newest checkpoint or at `step`; or of an export, which has
    one.

    The packaged ones, 'default' and 'photographs', say in a warning what they are for.

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
    if given in folders.PACKAGED:
        log.warning(SAID[str(given)], found.size)
    return found


def _check_step(folder: str | os.PathLike[str], found: int, wanted: int | None) -> None:
    if wanted not in (None, found):
        raise ValueError(f"{os.fspath(folder)}: an export of step {found}; wanted step {wanted}")


def swapper_folder(given: str | os.PathLike[str]) -> Path:
    """The folder that a user named, or of a packaged one. Raises CheckpointError where that is not packaged."""
    from smoothswap_jax.runtime.checkpoint import CheckpointError

    folder = folders.named(given)
    if given in folders.PACKAGED and not is_export(folder):
        raise CheckpointError(
            f"{folder}: found no such swapper in this installation; wanted a folder: --checkpoint=DIR, or "
            "Swapper.load(DIR), of a run of stage swapper or of an export"
        )
    return folder

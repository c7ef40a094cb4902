"""Loads a trained swapper from a run directory or an export: the user's, or the default that comes with the package."""

import logging
import os
from pathlib import Path

from smoothswap_jax.inference.export.export_folder import is_export, load_export
from smoothswap_jax.inference.restore import RestoredSwapper, restore_swapper
from smoothswap_jax.runtime import folders
from smoothswap_jax.runtime.checkpoint import CheckpointError
from smoothswap_jax.runtime.folders import DEFAULT

log = logging.getLogger(__name__)


def load_swapper(folder: str | os.PathLike[str] = DEFAULT, step: int | None = None) -> RestoredSwapper:
    """The swapper of a run directory of stage 2, at its newest checkpoint or at `step`; or of an export, which has one.

    The packaged one, 'default', says in a warning what it is for.

    Raises CheckpointError when there is no such checkpoint or it is not a swapper's, ExportError when the export is
    damaged, and ValueError when it is of another step.
    """
    folder, given = swapper_folder(folder), folder
    if fault := folders.mistake(folder, folders.SWAPPER, folders.EXPORT):
        raise CheckpointError(fault)
    if not is_export(folder):
        return restore_swapper(folder, step)
    found = load_export(folder)
    if step not in (None, found.step):
        raise ValueError(f"{os.fspath(folder)}: an export of step {found.step}; wanted step {step}")
    if given == DEFAULT:
        log.warning("using the default swapper: %d px, a small one; train your own for better swaps", found.size)
    return found


def swapper_folder(given: str | os.PathLike[str]) -> Path:
    """The folder that a user named, who may say 'default'. Raises CheckpointError where none is packaged."""
    folder = folders.named(given)
    if given == DEFAULT and not is_export(folder):
        raise CheckpointError(
            f"{folder}: found no default swapper in this installation; wanted a folder: --checkpoint=DIR, or "
            "Swapper.load(DIR), of a run of stage swapper or of an export"
        )
    return folder

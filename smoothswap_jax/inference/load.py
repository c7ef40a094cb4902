"""Loads a trained swapper from a run directory or an export."""

import os

from smoothswap_jax.inference.export.export_folder import is_export, load_export
from smoothswap_jax.inference.restore import RestoredSwapper, restore_swapper
from smoothswap_jax.runtime import folders
from smoothswap_jax.runtime.checkpoint import CheckpointError


def load_swapper(folder: str | os.PathLike[str], step: int | None = None) -> RestoredSwapper:
    """The swapper of a run directory of stage 2, at its newest checkpoint or at `step`; or of an export, which has one.

    Raises CheckpointError when there is no such checkpoint or it is not a swapper's, ExportError when the export is
    damaged, and ValueError when it is of another step.
    """
    if fault := folders.mistake(folder, folders.SWAPPER, folders.EXPORT):
        raise CheckpointError(fault)
    if not is_export(folder):
        return restore_swapper(folder, step)
    found = load_export(folder)
    if step not in (None, found.step):
        raise ValueError(f"{os.fspath(folder)}: an export of step {found.step}; wanted step {step}")
    return found

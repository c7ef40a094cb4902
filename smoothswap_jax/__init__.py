"""Smooth-Swap face swapping in JAX/Flax.

The names in `__all__` are the package's public API. Each is imported when it is first used, so `import smoothswap_jax`
is quick and needs none of the heavy libraries.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smoothswap_jax.config.errors import ConfigError
    from smoothswap_jax.config.load import load_config
    from smoothswap_jax.evaluation.compare import compare
    from smoothswap_jax.evaluation.evaluate import evaluate
    from smoothswap_jax.evaluation.settings import EvaluationSettings
    from smoothswap_jax.faces.align import align_face, ffhq_quad
    from smoothswap_jax.faces.photos import PhotoError, load_photo, save_photo
    from smoothswap_jax.faces.video_frames import VideoError
    from smoothswap_jax.inference.animations import swap_animation
    from smoothswap_jax.inference.choice import NoFaceError
    from smoothswap_jax.inference.export.export_folder import export_swapper
    from smoothswap_jax.inference.first_look import VideoOptions
    from smoothswap_jax.inference.swapper import Swapper
    from smoothswap_jax.inference.video import swap_frames, swap_video
    from smoothswap_jax.prepare.crops import PrepareSettings
    from smoothswap_jax.prepare.run import prepare as prepare_faces
    from smoothswap_jax.runtime.checkpoint import CheckpointError
    from smoothswap_jax.runtime.program_cache import keep_programs
    from smoothswap_jax.runtime.stopping import Stopped
    from smoothswap_jax.training.loop import train
    from smoothswap_jax.weights.exported import ExportError
    from smoothswap_jax.weights.network_folder import import_file, load_imported
    from smoothswap_jax.weights.preprocessing import preprocess

__all__ = [
    "CheckpointError",
    "ConfigError",
    "EvaluationSettings",
    "ExportError",
    "NoFaceError",
    "PhotoError",
    "PrepareSettings",
    "Stopped",
    "Swapper",
    "VideoError",
    "VideoOptions",
    "align_face",
    "compare",
    "evaluate",
    "export_swapper",
    "ffhq_quad",
    "import_file",
    "keep_programs",
    "load_config",
    "load_imported",
    "load_photo",
    "prepare_faces",
    "preprocess",
    "save_photo",
    "swap_animation",
    "swap_frames",
    "swap_video",
    "train",
]

# Public name: module and name in it. No public name may be that of a room (`prepare`, `config`), which becomes an
# attribute of the package as soon as something imports it.
_WHERE = {
    "CheckpointError": ("runtime.checkpoint", "CheckpointError"),
    "ConfigError": ("config.errors", "ConfigError"),
    "EvaluationSettings": ("evaluation.settings", "EvaluationSettings"),
    "ExportError": ("weights.exported", "ExportError"),
    "NoFaceError": ("inference.choice", "NoFaceError"),
    "PhotoError": ("faces.photos", "PhotoError"),
    "PrepareSettings": ("prepare.crops", "PrepareSettings"),
    "Stopped": ("runtime.stopping", "Stopped"),
    "Swapper": ("inference.swapper", "Swapper"),
    "VideoError": ("faces.video_frames", "VideoError"),
    "VideoOptions": ("inference.first_look", "VideoOptions"),
    "swap_animation": ("inference.animations", "swap_animation"),
    "swap_frames": ("inference.video", "swap_frames"),
    "swap_video": ("inference.video", "swap_video"),
    "align_face": ("faces.align", "align_face"),
    "compare": ("evaluation.compare", "compare"),
    "evaluate": ("evaluation.evaluate", "evaluate"),
    "export_swapper": ("inference.export.export_folder", "export_swapper"),
    "ffhq_quad": ("faces.align", "ffhq_quad"),
    "import_file": ("weights.network_folder", "import_file"),
    "keep_programs": ("runtime.program_cache", "keep_programs"),
    "load_config": ("config.load", "load_config"),
    "load_imported": ("weights.network_folder", "load_imported"),
    "load_photo": ("faces.photos", "load_photo"),
    "prepare_faces": ("prepare.run", "prepare"),
    "preprocess": ("weights.preprocessing", "preprocess"),
    "save_photo": ("faces.photos", "save_photo"),
    "train": ("training.loop", "train"),
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _WHERE[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

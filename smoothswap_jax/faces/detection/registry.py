"""Detectors by name. To add one, write its file with a `SPEC` (see `base.DetectorSpec`) and list it here."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path

from smoothswap_jax.faces.detection import dlib, mediapipe, upright, yunet
from smoothswap_jax.faces.detection.base import Detector, DetectorSpec, Face, UserModel
from smoothswap_jax.faces.photos import Photo

SPECS = (yunet.SPEC, dlib.SPEC, mediapipe.SPEC)
SureDetector = Callable[[Photo, upright.Choose], Face | None]
DETECTORS: dict[str, DetectorSpec] = {spec.name: spec for spec in SPECS}


def find_faces(photo: Photo) -> list[Face]:
    """The default detector: YuNet, for faces in any turn; see `upright.find_faces`."""
    return upright.find_faces(photo, detect=yunet.detect_faces, again=yunet.look_again)


def find_small_faces(photo: Photo) -> list[Face]:
    """`find_faces`, and in large photos also faces of less than a hundredth of the longer side, in tiles."""
    return upright.find_faces(photo, detect=yunet.detect_faces, again=yunet.look_again, tiles=True)


def make_detector(name: str, model: str | None = None) -> Detector:
    """The detector called `name`, a key of `DETECTORS`; it finds turned faces too (`upright.find_faces`).

    `model` is the path of its weights if no package brings them.

    The result can be pickled and sent to other processes; networks are loaded on its first call.

    Raises:
      ValueError: no such name; `model` is missing, not wanted, or not the detector's.
      FileNotFoundError: no file at `model`.
      ImportError: a package is missing; the text says what to install.
    """
    spec = _spec(name)
    _model_file(spec, model)
    given = {"model": model} if isinstance(spec.model, UserModel) else {}
    detect = functools.partial(spec.detect, **given)
    if spec.again is None:
        return detect
    return functools.partial(upright.find_faces, detect=detect, again=functools.partial(spec.again, **given))


def make_sure_detector(name: str, model: str | None = None) -> SureDetector | None:
    """`upright.sure_face` by the detector called `name`: for callers who want one face of each photo, a quicker way to
    most of them than `make_detector`. None where the detector has no such way. Raises as `make_detector` does.
    """
    spec = _spec(name)
    _model_file(spec, model)
    if spec.first_look is None or spec.again is None:
        return None
    return functools.partial(upright.sure_face, look=spec.first_look, again=spec.again)


def detector_facts(name: str, model: str | None = None) -> dict[str, str]:
    """What a manifest should record of a detector: `name`, `package`, `version`, `model`, `sha256`.

    Several packages are joined by commas, and so are their versions. `model` is the name of the weights file without
    its folder, `sha256` its digest. Raises as `make_detector` does.
    """
    spec = _spec(name)
    file = _model_file(spec, model)
    return {
        "name": name,
        "package": ", ".join(spec.packages),
        "version": ", ".join(_version(distributions) for distributions in spec.packages.values()),
        "model": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }


def _spec(name: str) -> DetectorSpec:
    if name not in DETECTORS:
        raise ValueError(f"detector: found {name!r}; wanted one of {', '.join(DETECTORS)}")
    return DETECTORS[name]


def _model_file(spec: DetectorSpec, model: str | None) -> Path:
    """The file with the detector's weights; raises all that `make_detector` does."""
    if isinstance(spec.model, UserModel):
        if model is None:
            raise ValueError(f"detector {spec.name}: found no model; wanted the path of {spec.model.wanted}")
        spec.model.check(model)
        return Path(model)
    if model is not None:
        raise ValueError(f"detector {spec.name}: found model {model!r}; wanted none, its weights come with a package")
    return spec.model()


def _version(distributions: Sequence[str]) -> str:
    for distribution in distributions:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"

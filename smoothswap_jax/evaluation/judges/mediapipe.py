"""MediaPipe's face mesh as a judge of pose and expression; `face_mesh.py` has the networks."""

import functools
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from smoothswap_jax.evaluation.judges import face_mesh
from smoothswap_jax.evaluation.judges.base import Judge, JudgeError, JudgeRequest, JudgeSpec
from smoothswap_jax.runtime import workers

_LANDMARKS, _BLENDSHAPES, _ROTATION = 478 * 3, len(face_mesh.BLENDSHAPES), 9
FEATURES = _LANDMARKS + _BLENDSHAPES + _ROTATION


def _load(request: JudgeRequest) -> Judge:
    if request.path == "mediapipe" and request.name != "mediapipe":
        raise JudgeError("judge mediapipe: found no model; wanted mediapipe=FILE, MediaPipe's face_landmarker.task")
    read_row = functools.partial(_row, face_mesh.make_mesh(request.path))
    measure = lambda images, points: np.stack([*workers.each(read_row, images, points)]).astype(np.float32)
    facts = {"kind": "mediapipe", **face_mesh.facts(request.path), "recipe": "1"}
    return Judge(request.name or "mediapipe", "mesh", facts, measure)


def _row(
    read: face_mesh.Mesh, image: UInt8[np.ndarray, "s s 3"], five: Float[np.ndarray, "5 2"]
) -> Float[np.ndarray, "1495"]:
    found = read(image, five)
    parts = (found.landmarks, found.blendshapes, found.rotation) if found else (np.full(FEATURES, np.nan),)
    return np.concatenate([np.ravel(part) for part in parts])


SPEC = JudgeSpec(
    "mediapipe",
    "mediapipe=FILE",
    lambda name, path: name == "mediapipe" or path == "mediapipe" or Path(path).suffix == ".task",
    _load,
)


def split_mesh(features: Float[np.ndarray, "n 1495"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Landmarks [n, 478, 3], blendshapes [n, 52] and rotations [n, 3, 3] of this judge's features."""
    n = len(features)
    cuts = [_LANDMARKS, _LANDMARKS + _BLENDSHAPES]
    landmarks, blendshapes, rotation = np.split(features.astype(np.float64), cuts, axis=1)
    return landmarks.reshape(n, 478, 3), blendshapes, rotation.reshape(n, 3, 3)

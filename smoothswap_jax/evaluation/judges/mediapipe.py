"""MediaPipe's face mesh as a judge of pose and expression; `face_mesh.py` has the networks."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from smoothswap_jax.evaluation.judges import face_mesh
from smoothswap_jax.evaluation.judges.base import Images, Judge, JudgeError, JudgeRequest, JudgeSpec, Points

_LANDMARKS, _BLENDSHAPES, _ROTATION = 478 * 3, len(face_mesh.BLENDSHAPES), 9
FEATURES = _LANDMARKS + _BLENDSHAPES + _ROTATION


def _load(request: JudgeRequest) -> Judge:
    if request.path == "mediapipe" and request.name != "mediapipe":
        raise JudgeError("judge mediapipe: found no model; wanted mediapipe=FILE, MediaPipe's face_landmarker.task")
    read = face_mesh.make_mesh(request.path)

    def measure(images: Images, points: Points) -> Float[np.ndarray, "n 1495"]:
        rows = []
        for image, five in zip(images, points, strict=True):
            found = read(image, five)
            parts = (found.landmarks, found.blendshapes, found.rotation) if found else (np.full(FEATURES, np.nan),)
            rows.append(np.concatenate([np.ravel(part) for part in parts]))
        return np.stack(rows).astype(np.float32)

    facts = {"kind": "mediapipe", **face_mesh.facts(request.path), "recipe": "1"}
    return Judge(request.name or "mediapipe", "mesh", facts, measure)


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

"""Swappers whose networks are functions of pixels, photos of noise, and detectors that see faces in them."""

import numpy as np

from smoothswap_jax.faces.detection.base import Detector, Face
from smoothswap_jax.faces.detection.yunet import detect_faces
from smoothswap_jax.inference.swapper import Swapper

POINTS = np.array([[-10.0, 0.0], [10.0, 0.0], [0.0, 12.0], [-7.0, 22.0], [7.0, 22.0]])


def grain(height: int = 160, width: int = 260, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(40, 200, (height, width, 3), np.uint8)


def marked(*faces: tuple[int, int, float]) -> Detector:
    """A detector that sees faces of the given centre and size wherever it looks."""

    def detect(photo: np.ndarray) -> list[Face]:
        found = []
        for x, y, zoom in sorted(faces, key=lambda face: -face[2]):
            points = POINTS * zoom + (x, y)
            box = np.array([x - 15 * zoom, y - 12 * zoom, x + 15 * zoom, y + 32 * zoom])
            found.append(Face(box, points, 0.9))
        return found

    return detect


def half_source(source, target):
    return 0.5 * source + 0.5 * target


def brighten(source, target):
    return target + 0.4


def pixel_swapper(network, size: int, detect: Detector = detect_faces) -> Swapper:
    """Of a function (source, target) -> swap: z is the source itself, in a tree, which is no [b d] array."""
    return Swapper(lambda source: {"code": (source,)}, lambda target, z: network(z["code"][0], target), size, detect)


def toy(network=half_source, *faces, size: int = 64) -> Swapper:
    return pixel_swapper(network, size, marked(*(faces or [(80, 70, 1.5)])))

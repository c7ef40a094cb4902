"""What every detector gives: boxes, five points, and how far the head is turned. (Coordinates: `align.py`.)"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from smoothswap_jax.faces.align import Points
from smoothswap_jax.faces.photos import Photo

NOSE_DEPTH = 0.55
"""How far the nose tip stands out before the eyes, over the distance of the eyes, for `face_yaw`. With it the
three-quarter views of the Face Research Lab London Set, meant to be 45 degrees, measure 42 in the mean."""


class Face(NamedTuple):
    """One detected face, in pixels of the photo it was found in."""

    box: Float[np.ndarray, "corners=4"]
    """x0, y0, x1, y1; may reach over the photo's edge."""
    points: Points
    """Left eye, right eye, nose tip, left and right mouth corner; left and right as the viewer sees them."""
    score: float
    """The detector's confidence, 0-1."""

    @property
    def area(self) -> float:
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


Detector = Callable[[Photo], list[Face]]
"""Any function from a photo to its faces, largest first."""


def distinct(faces: list[Face]) -> list[Face]:
    """Keeps of sightings of one face the one of highest score.

    Two are one face when they share 40% of their joint area, or when one lies 70% inside the other: in a
    close-up the fine search finds "faces" within the face.
    """
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        for other in kept:
            span = np.minimum(face.box[2:], other.box[2:]) - np.maximum(face.box[:2], other.box[:2])
            shared = float(np.prod(np.maximum(span, 0.0)))
            joint = face.area + other.area - shared
            if shared > 0.4 * joint or shared > 0.7 * min(face.area, other.area):
                break
        else:
            kept.append(face)
    return kept


def face_yaw(points: Points) -> float:
    """Estimates how far the head is turned, in degrees: 0 to the camera, positive to the viewer's right.

    The eyes' distance shrinks with cos(yaw), the nose tip's offset from their middle grows with sin(yaw)
    times its depth (`NOSE_DEPTH`). Good for telling views apart, not for measuring pose: the points of far
    eye and far mouth corner are guesses once they are hidden.
    """
    eyes = points[1] - points[0]
    # The axis across the face also uses the mouth, because in profile the eyes alone fix no direction.
    down = (points[3] + points[4] - points[0] - points[1]) / 2
    across = np.array([down[1], -down[0]]) / np.hypot(*down)
    offset = float((points[2] - (points[0] + points[1]) / 2) @ across)
    return float(np.degrees(np.arctan2(offset / NOSE_DEPTH, max(float(eyes @ across), 0.0))))

"""Pose and expression by MediaPipe's face mesh: head rotation, 478 points, 52 blendshapes; all to the target."""

import numpy as np

from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.judges.mediapipe import split_mesh
from smoothswap_jax.evaluation.measures.base import Features, Metric, Scored, judge_measure, of_finite_rows
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.metrics import per_pair


def _scores(judge: Judge, swaps: Features, known: Features, pairs: Pairs) -> Scored:
    from smoothswap_jax.evaluation.judges.face_mesh import LEFT_EYE, RIGHT_EYE

    eyes = np.array(LEFT_EYE), np.array(RIGHT_EYE)
    points = "mean distance of 478 points to the target's, laid on each other, over the distance of the eyes"
    # (measure, definition, part of `split_mesh`, distance)
    parts = (
        ("pose", "angle between the head poses of swap and target, degrees", 2, per_pair.geodesic_degrees),
        # Laying equal points on each other leaves 1e-16, which a table would show.
        ("expression (points)", points, 0, lambda a, b: np.round(per_pair.landmark_distance(a, b, *eyes), 12)),
        (
            "expression (blendshapes)",
            "L2 distance of 52 blendshapes (0-1) to the target's",
            1,
            per_pair.parameter_distance,
        ),
    )
    scored = []
    for name, about, part, distance in parts:
        apart = lambda a, b, i=part, distance=distance: distance(split_mesh(a)[i], split_mesh(b)[i])
        values = of_finite_rows(apart, swaps, known[pairs.target])
        scored.append((judge_measure(judge, name, "attributes", "lower", about, "target"), values))
    return scored


MESH = Metric("mesh", of_features=_scores)

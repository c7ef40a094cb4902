"""Where hair grows and what it falls over: two grids of points on the mean head, as arrays for `heads.npz`.

A point is a place on the mesh (a triangle's vertices and barycentric weights), so that it moves with any deformed head.
The *scalp* is a polar grid around the crown, whose last row is the hairline. The *drape* is a cylindrical grid around
the vertical axis through the skull, from the forehead to the shoulders, ears included: what hair that hangs has to stay
outside of.
"""

import numpy as np
from jaxtyping import Float, Int

CENTRE = np.array([0.0, 0.15, -0.65])  # of the skull on the mean head, decimetres
CROWN_TILT = np.radians(25.0)  # how far behind the vertical the whorl lies, seen from the centre
AZIMUTHS = np.radians(np.arange(-180.0, 180.0, 7.5))  # 0 is the front, 90 degrees the right of the image
SCALP_ROWS = np.array([0.0, 0.12, 0.25, 0.38, 0.5, 0.61, 0.7, 0.78, 0.85, 0.91, 0.96, 1.0])  # crown 0, hairline 1
HEIGHTS = np.arange(9, -17, -1) / 10.0  # of the drape's rows, decimetres
# The hairline of the right half of the image, from the forehead over temple and sideburn, above and behind the ear to
# the nape: points on the mean head, decimetres, set by eye.
HAIRLINE = np.array(
    [
        (0.0, 0.72, 0.08),
        (0.21, 0.71, 0.04),
        (0.38, 0.65, -0.05),
        (0.52, 0.52, -0.15),
        (0.59, 0.34, -0.23),
        (0.63, 0.15, -0.33),
        (0.66, -0.02, -0.42),
        (0.67, -0.08, -0.5),
        (0.69, 0.04, -0.62),
        (0.7, 0.1, -0.75),
        (0.69, 0.02, -0.9),
        (0.61, -0.28, -1.0),
        (0.48, -0.47, -1.07),
        (0.25, -0.6, -1.24),
        (0.0, -0.65, -1.32),
    ]
)


def polar_frame() -> Float[np.ndarray, "3 3"]:
    """Unit vectors from the centre of the skull: to the right of the image, to the crown, to the front."""
    sin, cos = np.sin(CROWN_TILT), np.cos(CROWN_TILT)
    return np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])


def hairline_angles() -> Float[np.ndarray, "a"]:
    """How far the hairline is from the crown at each of AZIMUTHS, radians as seen from the centre of the skull."""
    right, crown, front = polar_frame() @ (HAIRLINE - CENTRE).T
    azimuth = np.arctan2(right, front)
    return np.interp(np.abs(AZIMUTHS), azimuth, np.arctan2(np.hypot(right, front), crown))


def scalp_directions() -> Float[np.ndarray, "a r 3"]:
    """Unit vectors from the centre of the skull to the nodes of the scalp grid."""
    polar = hairline_angles()[:, None] * SCALP_ROWS
    azimuth = AZIMUTHS[:, None]
    along = np.stack(
        [np.sin(polar) * np.sin(azimuth), np.cos(polar), np.sin(polar) * np.cos(azimuth)],
        axis=-1,
    )
    return along @ polar_frame()


def scalp_arrays(
    mean: Float[np.ndarray, "v 3"],
    triangles: Int[np.ndarray, "t 3"],
    parts: Int[np.ndarray, "t"],
) -> dict[str, np.ndarray]:
    """Vertices (uint16) and weights (uint8, in 255ths) of the points of both grids.

    scalp_corners, scalp_weights: [48 azimuths, 12 rows, 3]. drape_corners, drape_weights: [48 azimuths, 26 heights, 3].
    Parts other than 0, the skin, are left out.
    """
    skin = np.asarray(triangles, np.int64)[parts == 0]
    scalp = [hits[-1] for hits in _hits(mean, skin, CENTRE, scalp_directions().reshape(-1, 3))]
    around = np.stack([np.sin(AZIMUTHS), np.zeros_like(AZIMUTHS), np.cos(AZIMUTHS)], axis=-1)
    drape = [hits[-1] for height in HEIGHTS for hits in _hits(mean, skin, np.array([0.0, height, CENTRE[2]]), around)]
    columns = np.arange(len(drape)).reshape(len(HEIGHTS), len(AZIMUTHS)).T.ravel()
    return {
        **_packed("scalp", scalp, len(SCALP_ROWS)),
        **_packed("drape", [drape[i] for i in columns], len(HEIGHTS)),
    }


Hit = tuple[np.ndarray, np.ndarray]  # a triangle's vertices, their weights


def _hits(mean, triangles, origin, rays) -> list[list[Hit]]:
    """Where each ray from the origin meets triangles, nearest first."""
    a, b, c = np.moveaxis(mean[triangles].astype(np.float64) - origin, 1, 0)
    # A ray's dot product with the normal of the plane through the origin and an edge is the weight of the third corner.
    volumes = np.stack([np.cross(b, c) @ rays.T, np.cross(c, a) @ rays.T, np.cross(a, b) @ rays.T], axis=-1)
    total = volumes.sum(-1)
    weights = volumes / np.where(total == 0, np.inf, total)[..., None]
    distance = (np.cross(a, b) * c).sum(-1)[:, None] / np.where(total == 0, np.inf, total)
    met = (weights.min(-1) >= -1e-9) & (total != 0) & (distance > 0)
    hits = []
    for ray in range(len(rays)):
        found = np.flatnonzero(met[:, ray])
        hits.append([(triangles[i], weights[i, ray]) for i in found[np.argsort(distance[found, ray])]])
    return hits


def _packed(name: str, hits: list[Hit], rows: int) -> dict[str, np.ndarray]:
    corners, weights = (np.stack(part) for part in zip(*hits, strict=True))
    rounded = np.rint(255 * np.clip(weights, 0.0, 1.0))
    rounded[:, 0] = 255 - rounded[:, 1] - rounded[:, 2]
    shape = (len(AZIMUTHS), rows, 3)
    return {
        f"{name}_corners": corners.astype(np.uint16).reshape(shape),
        f"{name}_weights": np.clip(rounded, 0, 255).astype(np.uint8).reshape(shape),
    }

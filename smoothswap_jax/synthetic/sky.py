"""How much of its surroundings each vertex of a mesh sees, as spherical harmonics of nine terms."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

DIRECTIONS = 400
CELLS = 160  # of a depth map's side
REACH = 2.4  # decimetres from its centre to its edge


def harmonics(direction: Float[Array, "*n 3"]) -> Float[Array, "*n 9"]:
    """The nine real spherical harmonics of orders 0, 1 and 2 of unit vectors (Ramamoorthi and Hanrahan 2001, eq. 3)."""
    x, y, z = jnp.moveaxis(direction, -1, 0)
    terms = (
        0.282095 * jnp.ones_like(x),
        0.488603 * y,
        0.488603 * z,
        0.488603 * x,
        1.092548 * x * y,
        1.092548 * y * z,
        0.315392 * (3 * z * z - 1),
        1.092548 * x * z,
        0.546274 * (x * x - y * y),
    )
    return jnp.stack(terms, axis=-1)


def visible_sky(vertices: Float[np.ndarray, "v 3"], triangles: Int[np.ndarray, "t 3"]) -> Float[np.ndarray, "v 9"]:
    """The harmonics of max(n . w, 0) / pi times what is seen in direction w: the transfer of precomputed radiance.

    The light that a matt white vertex sends out is the product of these nine numbers and those of the surroundings
    (Sloan, Kautz and Snyder 2002, sec. 4.1). All entries are within -1 and 1.
    """
    normals = mean_normals(vertices, triangles)
    points, origin = (
        np.concatenate([vertices, vertices[triangles].mean(1)]),
        np.concatenate([np.arange(len(vertices)), np.full(len(triangles), -1)]),
    )
    total = np.zeros((len(vertices), 9))
    for direction in fibonacci_sphere(DIRECTIONS):
        lit = np.maximum(normals @ direction, 0.0) * _seen(points, direction)[origin >= 0]
        total += lit[:, None] * np.asarray(harmonics(jnp.asarray(direction)))
    return total * 4.0 / DIRECTIONS


def fibonacci_sphere(n: int) -> Float[np.ndarray, "n 3"]:
    """n unit vectors, spread evenly."""
    z = 1 - (2 * np.arange(n) + 1) / n
    turn = np.pi * (1 + 5**0.5) * np.arange(n)
    flat = np.sqrt(1 - z * z)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)


def mean_normals(vertices: Float[np.ndarray, "v 3"], triangles: Int[np.ndarray, "t 3"]) -> Float[np.ndarray, "v 3"]:
    """Unit normals of the vertices of one mesh, each the mean of its triangles' by area."""
    a, b, c = np.moveaxis(vertices[triangles], 1, 0)
    facing = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], facing)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _seen(points: Float[np.ndarray, "n 3"], direction: Float[np.ndarray, "3"]) -> Float[np.ndarray, "n"]:
    """1 for the points that nothing hides from the direction, by a depth map of all of them; 0 for others."""
    side = np.cross(direction, [0.0, 1.0, 0.0] if abs(direction[1]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    up = np.cross(side, direction)
    column, row = (np.clip((points @ axis / REACH + 1) / 2 * CELLS, 0, CELLS - 1).astype(int) for axis in (side, up))
    depth = points @ direction
    nearest = np.full((CELLS, CELLS), -np.inf)
    np.maximum.at(nearest, (row, column), depth)
    return (depth > nearest[row, column] - 3 * REACH / CELLS).astype(float)

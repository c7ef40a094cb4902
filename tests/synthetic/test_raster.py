"""The rasteriser, against a plain one in numpy and against what geometry says."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.synthetic import raster
from smoothswap_jax.synthetic.raster import (
    Cutout,
    Samples,
    depth_map,
    interpolate,
    oversized,
    rasterize,
    visibility,
)

SIZE = 48
CENTRES = np.stack(np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5), axis=-1)  # [row, column, (x, y)]
INTERPOLATE, OVERSIZED = jax.jit(interpolate), jax.jit(oversized, static_argnums=2)
DEPTH_MAP, VISIBILITY = jax.jit(depth_map, static_argnums=1), jax.jit(visibility)
FLAT = partial(jax.jit(rasterize, static_argnames=("size", "cutouts", "perspective")), size=SIZE, perspective=False)
DEEP = partial(jax.jit(rasterize, static_argnames=("size", "cutouts", "perspective")), size=SIZE)


def soup(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of all sizes without common vertices, some of them partly or wholly outside the picture."""
    rng = np.random.default_rng(seed)
    middle = rng.uniform(-0.2 * SIZE, 1.2 * SIZE, (count, 1, 2))
    flat = middle + rng.normal(size=(count, 3, 2)) * rng.uniform(0.3, 15.0, (count, 1, 1))
    points = np.concatenate([flat, rng.uniform(0.2, 1.0, (count, 3, 1))], axis=-1)
    return points.reshape(-1, 3).astype(np.float32), np.arange(3 * count, dtype=np.int32).reshape(-1, 3)


def shares(corners: np.ndarray) -> np.ndarray:
    """Barycentric coordinates of all samples on the screen [row, column, 3], for the 3 x 2 corners of a triangle."""
    matrix = np.concatenate([corners.T, np.ones((1, 3))])
    return np.concatenate([CENTRES, np.ones((SIZE, SIZE, 1))], axis=-1) @ np.linalg.inv(matrix).T


def snapped(points: np.ndarray) -> np.ndarray:
    """In float64, and where the rasteriser puts the vertices: on 64ths of a sample."""
    exact = points.astype(np.float64)
    exact[:, :2] = np.round(exact[:, :2] * 64.0) / 64.0
    return exact


def layers(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Nearness of every triangle at every sample [t, row, column]; -inf where it does not cover it."""
    out = np.full((len(triangles), SIZE, SIZE), -np.inf)
    for i, corners in enumerate(snapped(points)[triangles]):
        if abs(np.linalg.det(corners[1:, :2] - corners[0, :2])) > 1e-9:
            share = shares(corners[:, :2])
            out[i] = np.where((share >= -1e-9).all(-1), share @ corners[:, 2], -np.inf)
    return out


@cache
def ball(rings: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """A closed unit sphere [v, 3] of triangles of many shapes."""
    up, around = np.meshgrid(np.linspace(0, np.pi, rings + 1), np.arange(2 * rings) * np.pi / rings, indexing="ij")
    points = np.stack([np.sin(up) * np.cos(around), np.cos(up), np.sin(up) * np.sin(around)], axis=-1)
    number = np.arange(points[..., 0].size).reshape(rings + 1, 2 * rings)
    a, b = number[:-1], number[1:]
    c, d = np.roll(a, -1, axis=1), np.roll(b, -1, axis=1)
    quads = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([c, b, d], -1).reshape(-1, 3)])
    return points.reshape(-1, 3), quads.astype(np.int32)


def turned(points: np.ndarray, seed: int) -> np.ndarray:
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return points @ turn.T


def seen_flat(points: np.ndarray, radius: float) -> np.ndarray:
    """By a parallel camera, in the middle of the picture."""
    return np.concatenate([points[:, :2] * radius + SIZE / 2, points[:, 2:]], axis=-1).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_sees_what_a_plain_rasteriser_sees(seed):
    points, triangles = soup(seed)
    seen = FLAT(points, triangles)
    triangle = np.asarray(seen.triangle)
    depth = layers(points, triangles)
    np.testing.assert_array_equal(triangle >= 0, np.isfinite(depth).any(0))
    hit = triangle >= 0
    assert 0.6 < hit.mean() < 1.0
    nearest = depth.max(0)
    own = np.take_along_axis(depth, np.maximum(triangle, 0)[None], axis=0)[0]
    quantum = 0.8 / 2**22  # the range of depths, and the bits that 300 triangles leave to them
    assert np.all(nearest[hit] - own[hit] <= 4 * quantum)
    np.testing.assert_allclose(np.asarray(seen.nearness)[hit], own[hit], atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_closed_surface_has_no_cracks(seed):
    points, triangles = ball()
    radius = 0.45 * SIZE
    seen = FLAT(seen_flat(turned(points, seed), radius), triangles)
    away = np.linalg.norm(CENTRES - SIZE / 2, axis=-1)
    triangle, nearness = np.asarray(seen.triangle), np.asarray(seen.nearness)
    inside = away < 0.97 * radius
    assert np.all(triangle[inside] >= 0)
    assert np.all(triangle[away > radius + 0.1] == -1)
    # and the back does not show through
    assert np.all(nearness[inside] > 0.0)


def test_every_sample_of_a_sheet_is_covered_in_the_smallest_triangles():
    side = 4 * SIZE
    rng = np.random.default_rng(5)
    grid = np.stack(np.meshgrid(np.linspace(-3, SIZE + 3, side), np.linspace(-3, SIZE + 3, side)), axis=-1)
    grid += rng.uniform(-0.1, 0.1, grid.shape)
    points = np.concatenate([grid, rng.uniform(0.4, 0.6, (side, side, 1))], axis=-1).reshape(-1, 3)
    number = np.arange(side**2).reshape(side, side)[:, : side // 2]  # the left half of the picture
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    triangle = np.asarray(FLAT(points.astype(np.float32), triangles.astype(np.int32)).triangle)
    assert np.all(triangle[:, : SIZE // 2 - 1] >= 0)
    assert np.all(triangle[:, SIZE // 2 + 1 :] == -1)


def test_samples_on_shared_edges_and_corners_are_seen():
    number = np.arange(25).reshape(5, 5)
    x, y = np.meshgrid(np.arange(5) * 8 + 0.5, np.arange(5) * 8 + 0.5)
    points = np.stack([x.ravel(), y.ravel(), np.full(25, 0.5)], axis=-1).astype(np.float32)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    triangle = np.asarray(FLAT(points, triangles.astype(np.int32)).triangle)
    expected = np.zeros((SIZE, SIZE), bool)
    expected[:33, :33] = True
    np.testing.assert_array_equal(triangle >= 0, expected)


def test_weights_sum_to_1_and_reproduce_the_sample():
    points, triangles = soup(7)
    seen = FLAT(points, triangles)
    hit = np.asarray(seen.triangle) >= 0
    weights = np.asarray(seen.weights)
    assert weights.min() >= 0.0
    np.testing.assert_allclose(weights.sum(-1), hit, atol=1e-6)
    at = np.asarray(INTERPOLATE(seen, jnp.asarray(snapped(points)[:, :2], jnp.float32), triangles))
    np.testing.assert_allclose(at[hit], CENTRES[hit], atol=1e-3)
    assert np.all(at[~hit] == 0.0)


def through_camera(points: np.ndarray) -> np.ndarray:
    """Seen from (0, 0, 0) along z with a focal length of half the picture."""
    near = 1.0 / points[:, 2:]
    return np.concatenate([points[:, :2] * near * SIZE / 2 + SIZE / 2, near], axis=-1).astype(np.float32)


def test_interpolates_linear_functions_of_space_in_perspective():
    floor = np.array([[-3.0, 1.0, 1.2], [3.0, 1.0, 1.2], [-3.0, 1.0, 9.0], [3.0, 1.0, 9.0]])
    triangles = np.array([[0, 1, 2], [2, 1, 3]], np.int32)
    seen = DEEP(through_camera(floor), triangles)
    values = np.asarray(INTERPOLATE(seen, jnp.asarray(floor, jnp.float32), triangles))
    hit = np.asarray(seen.triangle) >= 0
    assert hit.sum() > 300
    ray = (CENTRES - SIZE / 2) / (SIZE / 2)
    z = 1.0 / ray[..., 1]  # where the ray meets y = 1
    expected = np.stack([ray[..., 0] * z, np.ones_like(z), z], axis=-1)
    np.testing.assert_allclose(values[hit], expected[hit], rtol=0.02, atol=0.01)
    np.testing.assert_allclose(1.0 / np.asarray(seen.nearness)[hit], values[hit][:, 2], rtol=1e-4)


def test_cutouts_show_what_is_behind_them():
    corners = [(-9.0, -9.0), (SIZE + 60.0, -9.0), (-9.0, SIZE + 60.0)]
    points = np.array([(x, y, near) for near in (0.4, 0.8, 0.6) for x, y in corners], np.float32)
    triangles = np.arange(9, dtype=np.int32).reshape(3, 3)

    def keep(triangle, weights):
        return (triangle == 2) | (weights @ points[:3, 0] < SIZE / 2)

    seen = FLAT(points, triangles, cutouts=(Cutout(1, keep),))
    expected = np.where(np.arange(SIZE) < SIZE // 2, 1, 2)
    np.testing.assert_array_equal(seen.triangle, np.broadcast_to(expected, (SIZE, SIZE)))


def test_invisible_triangles_are_not_seen():
    points, triangles = soup(2)
    visible = np.arange(len(triangles)) % 3 > 0
    seen = FLAT(points, triangles, visible=visible)
    expected = FLAT(points, np.where(visible[:, None], triangles, 0))  # triangles without area
    np.testing.assert_array_equal(seen.triangle, expected.triangle)
    assert np.isin(seen.triangle, np.flatnonzero(visible)).any()
    assert np.all(np.asarray(FLAT(points, triangles, visible=np.zeros(len(triangles), bool)).triangle) == -1)


@pytest.mark.parametrize(("x", "y"), [(-1, 0), (1, 0), (0, -1), (0, 1), (1, 1)])
def test_nothing_wraps_around_the_picture(x, y):
    points, triangles = ball()
    flat = seen_flat(points, 6.0) + np.array([x * SIZE / 2, y * SIZE / 2, 0], np.float32)
    seen = np.asarray(FLAT(flat, triangles).triangle) >= 0
    centre = SIZE / 2 + np.array([x, y]) * SIZE / 2
    away = np.linalg.norm(CENTRES - centre, axis=-1)
    assert np.all(seen[away < 5.7]) and not np.any(seen[away > 6.1])
    gone = seen_flat(points, 6.0) + np.array([x * SIZE, y * SIZE, 0], np.float32)
    assert np.all(np.asarray(FLAT(gone, triangles).triangle) == -1)


def test_batches_see_what_single_images_see():
    triangles = soup(0)[1]
    points = jnp.stack([soup(seed)[0] * scale for seed, scale in ((0, 1.0), (1, 0.1), (2, 3.0))])
    one = partial(FLAT, triangles=triangles)
    mapped, batched = jax.lax.map(one, points), jax.vmap(one)(points)
    for i in range(len(points)):
        for name, alone, a, b in zip(Samples._fields, one(points[i]), mapped, batched, strict=True):
            np.testing.assert_array_equal(alone, a[i], err_msg=name)
            np.testing.assert_allclose(alone, b[i], rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(mapped.triangle, batched.triangle)


def test_long_lists_are_gone_through_in_several_chunks(monkeypatch):
    points, triangles = soup(3)
    whole = FLAT(points, triangles)
    monkeypatch.setattr(raster, "CHUNK", 64)
    strips = raster._set_up(points, triangles, SIZE, None).strips.sum()
    parts = rasterize(points, triangles, SIZE, perspective=False)
    assert strips > 20 * max(64, SIZE**2 // 16)
    np.testing.assert_array_equal(whole.triangle, parts.triangle)


def test_what_cannot_be_drawn_is_left_out_and_counted():
    points, triangles = soup(1)
    broken = points.copy()
    broken[0, 0], broken[3, 1], broken[6, 2], broken[9:12], broken[12, 0] = np.nan, np.inf, np.nan, -np.inf, 1e9
    broken[15:18, :2] = [[-300, 0], [300, 0], [0, 90]]
    assert int(OVERSIZED(points, triangles, SIZE)) == 0
    assert int(OVERSIZED(broken, triangles, SIZE)) == 6
    seen, expected = FLAT(broken, triangles), FLAT(points, np.where(np.arange(300)[:, None] < 6, 0, triangles))
    np.testing.assert_array_equal(seen.triangle, expected.triangle)
    assert np.all(np.isfinite(seen.weights)) and np.all(np.isfinite(seen.nearness))
    assert int(OVERSIZED(points * [20, 1, 1], triangles, SIZE)) > 0


@pytest.mark.parametrize("size", [512, 1024])
def test_the_largest_triangles_do_not_overflow(size):
    corners = [(0.0, 0.0, 0.5), (size, 0.0, 0.5), (0.0, size, 0.5), (size, size, 0.5)]
    points, triangles = np.array(corners, np.float32), np.array([[0, 1, 2], [3, 2, 1]], np.int32)
    triangle = np.asarray(jax.jit(rasterize, static_argnums=2)(points, triangles, size).triangle)
    below = np.arange(size)[:, None] + np.arange(size)[None, :] + 1 - size
    assert np.all(triangle[below < 0] == 0) and np.all(triangle[below > 0] == 1) and np.all(triangle >= 0)


def test_refuses_what_does_not_fit_its_integers():
    points, triangles = soup(0)
    with pytest.raises(ValueError, match="1024 samples a side, not 1025"):
        rasterize(points, triangles, 1025)
    with pytest.raises(ValueError, match="65536 triangles, not 90000"):
        rasterize(points, np.tile(triangles, (300, 1)), SIZE)


def test_depth_map_keeps_the_nearest_point_of_each_cell():
    points = np.array([(0.5, 0.5, 1.0), (0.9, 0.1, 3.0), (3.2, 2.7, -1.0), (-0.1, 1, 9), (4.0, 1, 9), (1, 5, 9)])
    expected = np.full((4, 4), -np.inf)
    expected[0, 0], expected[2, 3] = 3.0, -1.0
    np.testing.assert_array_equal(DEPTH_MAP(jnp.asarray(points), 4), expected)


def test_points_behind_a_cloud_are_in_smooth_shadow():
    x, y = np.meshgrid(np.arange(8, 16, 0.25), np.arange(0, 24, 0.25))
    board = np.stack([x.ravel(), y.ravel(), np.full(x.size, 2.0)], axis=-1)
    depths = DEPTH_MAP(jnp.asarray(board, jnp.float32), 24)
    across = np.linspace(-4.0, 28.0, 400)
    behind = jnp.asarray(np.stack([across, np.full(400, 12.0), np.zeros(400)], axis=-1), jnp.float32)
    lit = np.asarray(VISIBILITY(depths, behind, 0.2))
    assert np.all(lit[(across > 9.5) & (across < 14.5)] == 0.0)
    np.testing.assert_allclose(lit[(across < 6.5) | (across > 17.5)], 1.0, atol=1e-6)
    assert np.abs(np.diff(lit)).max() < 0.08
    np.testing.assert_allclose(lit[np.abs(across - 8.0).argmin()], 0.5, atol=0.06)


def test_shadows_begin_behind_the_bias():
    depths = jnp.ones((8, 8))
    z = jnp.asarray([1.5, 1.0, 0.91, 0.85, 0.79, -3.0])
    points = jnp.stack([jnp.full(6, 3.3), jnp.full(6, 4.6), z], axis=-1)
    np.testing.assert_allclose(VISIBILITY(depths, points, 0.1), [1, 1, 1, 0.5, 0, 0], atol=1e-5)
    biases = jnp.full(6, 0.3).at[4].set(0.1)
    np.testing.assert_allclose(VISIBILITY(depths, points, biases), [1, 1, 1, 1, 0, 0], atol=1e-5)

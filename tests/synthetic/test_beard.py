import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.synthetic import make_heads
from smoothswap_jax.synthetic.beard import (
    FIELDS,
    beard_cover,
    beard_mesh,
    beard_table,
    beard_triangles,
    keep_beard,
    paint_beard,
    stubble,
)
from smoothswap_jax.synthetic.sky import mean_normals

FULL = {
    "beard_length": 0.3,
    "beard_density": 1.0,
    "beard_area": 1.0,
    "moustache": 1.0,
    "strands": 0.3,
    "hair_grey": 0.0,
}
CHIN, UNDER_NOSE, JAW, NECK = (0.0, -1.0, 0.22), (0.08, -0.555, 0.36), (0.5, -0.75, -0.35), (0.0, -1.12, -0.2)
BARE = [(0.31, 0.0, 0.2), (0.0, -0.4, 0.4), (0.3, -0.3, 0.25), (0.0, -0.68, 0.35), (0.7, -0.2, -0.8), (0.0, 0.5, 0.2)]


def as_values(**changes):
    return {name: jnp.float32(value) for name, value in (FULL | changes).items()}


def cover(place, **changes):
    return float(beard_cover(as_values(**changes), jnp.array([place]))[0])


@pytest.fixture(scope="module")
def head():
    with np.load(make_heads.OUTPUT) as asset:
        return {name: asset[name] for name in ("mean", "triangles", "parts", "shape", "shape_scale")}


@pytest.fixture(scope="module")
def table(head):
    return beard_table(head["mean"], head["triangles"], head["parts"])


@pytest.fixture(scope="module")
def grow(head, table):
    mesh = jax.jit(lambda values, vertices, normals: beard_mesh(values, table, vertices, normals))

    def of(vertices=head["mean"], **changes):
        normals = mean_normals(vertices, head["triangles"].astype(int)).astype(np.float32)
        return mesh(as_values(**changes), vertices, normals)

    return of


def test_a_full_beard_covers_jaw_chin_lip_and_neck():
    assert min(cover(place) for place in (CHIN, UNDER_NOSE, JAW, NECK)) > 0.7
    assert max(cover(place) for place in BARE) == 0


def test_areas_are_added_one_by_one():
    assert cover(CHIN, beard_area=0.0) > 0.9 and cover(JAW, beard_area=0.0) == 0
    corner = (0.29, -0.75, 0.2)
    assert cover(corner, beard_area=0.0) < 0.1 < 0.5 < cover(corner, beard_area=0.5)
    assert cover(JAW, beard_area=0.5) == 0
    assert cover(UNDER_NOSE, moustache=0.0) == 0 and cover(CHIN, moustache=0.0) > 0.9


def test_stubble_darkens_in_the_beard_only():
    places = jnp.asarray(np.random.default_rng(0).uniform((-0.1, -1.05, 0.2), (0.1, -0.9, 0.25), (500, 3)), jnp.float32)
    grown = stubble(as_values(beard_length=0.0), places, 0.01)
    assert 0.1 < grown.mean() < 0.6 and grown.min() >= 0 and grown.max() <= 1
    assert stubble(as_values(beard_length=0.1), places, 0.01).mean() > 1.5 * grown.mean()
    assert float(grown.std()) > 2 * float(stubble(as_values(beard_length=0.0), places, 0.05).std())
    assert stubble(as_values(), jnp.array(BARE), 0.01).max() == 0


def test_triangles_fit_the_mesh(grow, table):
    triangles = beard_triangles(table)
    assert len(triangles) <= 3000
    assert triangles.max() == len(grow().vertices) - 1


def test_longer_beards_hang_lower(grow):
    lowest = [float(grow(beard_length=length).vertices[:, 1].min()) for length in (0.05, 0.3, 0.6)]
    assert lowest[0] > lowest[1] + 0.1 > lowest[2] + 0.3


@pytest.mark.parametrize("changes", [{"beard_length": 0.0}, {"beard_density": 0.0}])
def test_beards_without_length_or_hairs_are_not_seen(grow, changes):
    values = as_values(**changes)
    assert not np.asarray(keep_beard(values, grow(**changes).coordinates)).any()
    assert np.asarray(keep_beard(as_values(), grow().coordinates)).mean() > 0.3


def test_the_mean_beard_is_symmetric():
    places = np.random.default_rng(1).uniform((-0.8, -1.3, -0.9), (0.8, -0.3, 0.4), (400, 3)).astype(np.float32)
    mirrored = places * np.array([-1, 1, 1], np.float32)
    np.testing.assert_array_equal(beard_cover(as_values(), places), beard_cover(as_values(), mirrored))


def test_any_values_give_a_finite_mesh(head, grow):
    rng = np.random.default_rng(2)
    low, high = np.array(list(FIELDS.values())).T
    weights = rng.normal(0.0, 0.3, len(head["shape"])) * head["shape_scale"]
    vertices = (head["mean"] + np.tensordot(weights, head["shape"].astype(np.float64), 1)).astype(np.float32)
    for vector in (low, high, *rng.uniform(low, high, (6, len(low)))):
        mesh = grow(vertices, **dict(zip(FIELDS, vector, strict=True)))
        assert all(np.isfinite(part).all() for part in mesh)
        np.testing.assert_allclose(np.linalg.norm(mesh.tangents, axis=1), 1, atol=1e-3)
    surface = paint_beard(as_values(), jnp.array([0.06, 0.03, 0.016]), mesh.coordinates, 0.01)
    assert surface.albedo.shape == (len(mesh.vertices), 3) and np.isfinite(surface.albedo).all()


@pytest.mark.parametrize("field", FIELDS)
def test_beards_change_continuously(grow, field):
    step = 1e-3 * FIELDS[field][1]
    for share in (0.02, 0.4, 0.8):
        here = {name: share * high for name, (_, high) in FIELDS.items()}
        first, second = grow(**here), grow(**(here | {field: here[field] + step}))
        assert np.abs(np.asarray(first.vertices) - np.asarray(second.vertices)).max() < 0.01
        assert np.abs(np.asarray(first.coordinates) - np.asarray(second.coordinates)).max() < 0.05

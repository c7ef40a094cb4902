import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.synthetic import make_heads
from smoothswap_jax.synthetic.hair import FIELDS, hair_mesh, hair_triangles, scalp_table
from smoothswap_jax.synthetic.make_scalp import AZIMUTHS, CENTRE, HAIRLINE, HEIGHTS, scalp_arrays
from smoothswap_jax.synthetic.sky import mean_normals
from smoothswap_jax.synthetic.strands import keep_hair

pytestmark = pytest.mark.slow  # compiling takes most of a minute

PLAIN = dict.fromkeys(FIELDS, 0.0) | {"hair_length": 1.0, "hair_volume": 0.17, "sides": 0.5, "strands": 0.3}
STYLES = {
    "shorn": {"hair_length": 0.3, "hair_volume": 0.05},
    "crew": {"quiff": 0.4},
    "parted": {"hair_length": 1.2, "hair_volume": 0.2, "parted": 1.0, "parting": 0.6},
    "bob": {"hair_length": 2.0, "hair_volume": 0.2, "parted": 1.0, "parting": -0.4, "sides": 0.8},
    "long": {"hair_length": 2.8, "parted": 1.0, "sides": 0.7},
    "curly": {"hair_length": 1.9, "hair_volume": 0.4, "curl": 0.85, "sides": 1.0},
    "afro": {"hair_volume": 0.55, "curl": 1.0, "sides": 0.85},
    "tied": {"hair_length": 2.2, "hair_tied": 1.0},
    "balding": {"hairline": 0.8},
}
FACE = [(0.31, 0.0), (-0.31, 0.0), (0.3, 0.2), (-0.3, 0.2), (0.0, -0.4), (0.23, -0.68), (-0.23, -0.68), (0.0, -0.95)]


@pytest.fixture(scope="module")
def head():
    with np.load(make_heads.OUTPUT) as asset:
        return {name: asset[name] for name in asset.files}


@pytest.fixture(scope="module")
def arrays(head):
    return scalp_arrays(head["mean"], head["triangles"], head["parts"])


@pytest.fixture(scope="module")
def grow(head, arrays):
    """The mesh of a style, on the mean head or on a deformed one."""
    table = scalp_table(arrays, head["mean"])
    mesh = jax.jit(lambda values, vertices, normals: hair_mesh(values, table, vertices, normals))

    def of(style, vertices=head["mean"]):
        normals = mean_normals(vertices, head["triangles"].astype(int)).astype(np.float32)
        return mesh(as_values(style), vertices, normals)

    return of


def as_values(style):
    return {name: jnp.float32(value) for name, value in (PLAIN | style).items()}


def deformed(head, seed):
    weights = np.random.default_rng(seed).normal(0.0, 0.3, len(head["shape"])) * head["shape_scale"]
    return (head["mean"] + np.tensordot(weights, head["shape"].astype(np.float64), 1)).astype(np.float32)


def seen(mesh, limit=0.1):
    """The vertices at which hair is more than a few strands."""
    return np.asarray(mesh.vertices)[np.asarray(mesh.coordinates[:, 2]) > limit]


def covers(mesh, point):
    """Whether hair lies before a point of the front view."""
    triangles = hair_triangles()
    triangles = triangles[(np.asarray(mesh.coordinates[:, 2])[triangles] > 0.02).any(1)]
    corners = np.asarray(mesh.vertices, np.float64)[triangles]
    a, b, c = np.moveaxis(corners[..., :2] - np.array(point), 1, 0)
    cross = lambda p, q: p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
    areas = np.stack([cross(b, c), cross(c, a), cross(a, b)])
    inside = (areas >= 0).all(0) | (areas <= 0).all(0)
    return bool((inside & (corners[..., 2].mean(1) > -0.5) & (np.abs(areas).sum(0) > 1e-9)).any())


def test_grids_are_where_they_say(head, arrays):
    points = {
        grid: (head["mean"][arrays[f"{grid}_corners"]] * (arrays[f"{grid}_weights"] / 255)[..., None]).sum(2)
        for grid in ("scalp", "drape")
    }
    off = np.linalg.norm(points["scalp"][:, -1] - HAIRLINE[:, None], axis=-1).min(1)
    assert off.max() < 0.08
    assert np.abs(points["drape"][..., 1] - HEIGHTS).max() < 0.01
    azimuth = np.arctan2(points["drape"][..., 0], points["drape"][..., 2] - CENTRE[2])
    assert np.abs(np.sin((azimuth - AZIMUTHS[:, None]) / 2)).max() < 0.01


def test_the_drape_goes_over_the_ears_and_the_scalp_ends_above_them(head, arrays):
    ears = head["masks"][head["mask_names"].tolist().index("ears")] > 76
    share = {grid: ears[arrays[f"{grid}_corners"]].all(-1) for grid in ("scalp", "drape")}
    beside = np.abs(np.degrees(AZIMUTHS) - 105) < 5
    level = (HEIGHTS < -0.05) & (HEIGHTS > -0.25)
    assert share["drape"][beside][:, level].all()
    assert not share["scalp"].any()


def test_triangles_fit_the_mesh(grow):
    triangles = hair_triangles()
    assert len(triangles) <= 8000
    assert triangles.max() == len(grow({}).vertices) - 1 and triangles.min() == 0


@pytest.mark.parametrize("seed", range(3))
def test_any_values_give_a_finite_mesh(head, grow, seed):
    rng = np.random.default_rng(seed)
    low, high = np.array(list(FIELDS.values())).T
    vectors = [low, high, *np.where(rng.random((6, len(low))) < 0.5, low, high), *rng.uniform(low, high, (6, len(low)))]
    vertices = deformed(head, seed)
    for vector in vectors:
        mesh = grow(dict(zip(FIELDS, vector, strict=True)), vertices)
        assert all(np.isfinite(part).all() for part in mesh)
        assert np.abs(mesh.vertices).max() < 4.0


@pytest.mark.parametrize("style", STYLES)
def test_hair_stays_outside_the_head(head, grow, style):
    corners = head["triangles"][head["parts"] == 0].astype(int)
    for vertices in (head["mean"], deformed(head, 5)):
        normals = mean_normals(vertices, head["triangles"].astype(int))
        points = seen(grow(STYLES[style], vertices))
        points = points[(points[:, 1] > -1.2) & (points[:, 2] > -1.4)]  # not between shoulders, not in the knot
        middles = vertices[corners].mean(1)
        near = np.square(points[:, None] - middles).sum(-1).argmin(1)
        along = np.einsum("nx,nx->n", points - middles[near], normals[corners].mean(1)[near])
        assert along.min() > -0.03


@pytest.mark.parametrize("style", STYLES)
def test_the_face_is_not_covered(head, grow, style):
    mesh = grow(STYLES[style])
    assert not [point for point in FACE if covers(mesh, point)]


def test_a_fringe_covers_the_forehead_and_not_the_eyes(grow):
    assert not covers(grow({}), (0.0, 0.5))
    mesh = grow({"fringe": 0.35})
    assert covers(mesh, (0.0, 0.5))
    assert not [point for point in FACE if covers(mesh, point)]


def test_longer_hair_hangs_lower(head, grow):
    top = head["mean"][:, 1].max()
    lowest = [seen(grow({"hair_length": length, "parted": 1.0}))[:, 1].min() for length in (2.0, 2.4, 2.8)]
    np.testing.assert_allclose(lowest, top - np.array([2.0, 2.4, 2.8]), atol=0.3)
    assert np.all(np.diff(lowest) < -0.3)


def test_hair_of_no_length_is_not_seen(grow):
    for style in STYLES.values():
        values = style | {"hair_length": 0.0, "fringe": 0.5}
        assert not np.asarray(keep_hair(as_values(values), grow(values).coordinates)).any()


def test_balding_begins_in_front_and_leaves_the_sides(grow):
    front, side = np.array([0.0, 0.9, -0.1]), np.array([0.72, 0.2, -0.9])
    away = lambda style, point: np.linalg.norm(seen(grow(style)) - point, axis=1).min()
    assert away({}, front) < 0.2 < 0.4 < away({"hairline": 0.8}, front)
    assert away({"hairline": 0.8}, side) < 0.2


def test_tied_hair_makes_a_knot_behind_and_leaves_the_neck(grow):
    loose, tied = (seen(grow({"hair_length": 2.5, "hair_tied": tied})) for tied in (0.0, 1.0))
    assert tied[:, 2].min() < loose[:, 2].min() - 0.1
    assert tied[:, 1].min() > -0.8 > -1.2 > loose[:, 1].min()


def test_strands_run_back_from_the_face_or_away_from_the_parting(grow):
    def sideways(style):
        mesh = grow(style)
        vertices = np.asarray(mesh.vertices)
        above = (vertices[:, 1] > 0.85) & (np.abs(vertices[:, 0]) < 0.35) & (np.abs(vertices[:, 2] + 0.3) < 0.2)
        return np.abs(np.asarray(mesh.tangents))[above].mean(0)

    assert sideways({})[2] > 2 * sideways({})[0]
    assert sideways({"parted": 1.0})[0] > 2 * sideways({"parted": 1.0})[2]


def test_normals_point_outwards(grow):
    mesh = grow({})
    middle = np.array([0.0, 0.15, -0.65])
    outward = np.einsum("nx,nx->n", np.asarray(mesh.vertices) - middle, np.asarray(mesh.normals))
    visible = (np.asarray(mesh.coordinates[:, 2]) > 0.5) & (np.abs(mesh.normals).sum(1) > 0.5)
    assert (outward[visible] > 0).mean() > 0.98


@pytest.mark.parametrize("field", FIELDS)
def test_hair_changes_continuously(grow, field):
    rng = np.random.default_rng(3)
    low, high = np.array(list(FIELDS.values())).T
    step = 2e-4 * (FIELDS[field][1] - FIELDS[field][0])
    for vector in rng.uniform(low, high, (4, len(low))):
        here = dict(zip(FIELDS, vector, strict=True))
        there = here | {field: here[field] + step}
        first, second = grow(here), grow(there)
        assert np.abs(np.asarray(first.vertices) - np.asarray(second.vertices)).max() < 0.01
        assert np.abs(np.asarray(first.coordinates) - np.asarray(second.coordinates)).max() < 0.02


def test_another_seed_gives_other_locks(grow):
    one, other = grow({"strands": 0.2}), grow({"strands": 0.8})
    assert np.abs(np.asarray(one.vertices) - np.asarray(other.vertices)).max() > 0.01

"""Glasses on fifty heads: they fit without cutting into the face."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.synthetic import glasses
from smoothswap_jax.synthetic.glasses import FIELDS, FRAME, LENS, PARTS, RIM_STEPS, TEMPLE_STEPS, TRIANGLES
from smoothswap_jax.synthetic.heads import LASHES, SKIN, deform, load_heads

pytestmark = pytest.mark.slow  # compiling takes most of a minute

HEADS = 50
RIMS = slice(0, 2 * 4 * RIM_STEPS)
FRONT = slice(0, 2 * 4 * RIM_STEPS + 4 * glasses.BRIDGE_STEPS)  # rims and bridge
TEMPLES = slice(FRONT.stop, FRONT.stop + 2 * 4 * TEMPLE_STEPS)
PLAIN = {name: (low + high) / 2 for name, (low, high) in FIELDS.items()} | {"glasses": 1.0}


@pytest.fixture(scope="module")
def crowd() -> np.ndarray:
    """Vertices of fifty heads of all shapes and expressions."""
    keys = jax.random.split(jax.random.key(0), 3)
    heads = load_heads()
    shape = 0.4 * jax.random.normal(keys[0], (HEADS, len(heads.shape)))
    expression = 0.3 * jax.random.uniform(keys[1], (HEADS, 44))
    gaze = jax.random.uniform(keys[2], (HEADS, 2), minval=-0.3, maxval=0.3)
    return np.asarray(deform(heads, shape, expression, gaze))


@pytest.fixture(scope="module")
def worn(crowd) -> np.ndarray:
    """The vertices of glasses of all kinds on them."""
    kinds = jax.random.uniform(jax.random.key(1), (len(FIELDS), HEADS))
    values = {name: low + (high - low) * kinds[i] for i, (name, (low, high)) in enumerate(FIELDS.items())}
    values["glasses"] = jnp.ones(HEADS)
    return np.asarray(jax.jit(jax.vmap(fitted))(values, crowd))


def fitted(values, vertices):
    return glasses.glasses_mesh(values, glasses.anchors(vertices))


@pytest.fixture(scope="module")
def mean_pair():
    """The glasses on the mean head: for given factors."""
    compiled = jax.jit(fitted)
    mean = jnp.asarray(load_heads().mean)
    return lambda **values: np.asarray(compiled({k: jnp.float32(v) for k, v in (PLAIN | values).items()}, mean))


def surface_height(points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray, axis: int) -> np.ndarray:
    """The largest coordinate along an axis of a mesh over points of the other two; -inf beside it."""
    flat = [i for i in range(3) if i != axis]
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    (ax, ay), (bx, by), (cx, cy) = (corner[:, flat].T for corner in (a, b, c))
    x, y = points[:, flat[0], None], points[:, flat[1], None]
    area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    with np.errstate(divide="ignore", invalid="ignore"):
        v = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
        w = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
        inside = (v >= 0) & (w >= 0) & (v + w <= 1)
        height = a[:, axis] + v * (b - a)[:, axis] + w * (c - a)[:, axis]
    return np.where(inside, height, -np.inf).max(1)


def test_rims_and_bridge_stand_in_front_of_the_face(crowd, worn):
    heads = load_heads()
    mean = np.asarray(heads.mean)[heads.triangles].mean(1)
    near = np.isin(heads.parts, [SKIN, LASHES]) & (mean[:, 2] > -0.35) & (np.abs(mean[:, 1]) < 0.6)
    face = heads.triangles[near & (np.abs(mean[:, 0]) < 0.7)]
    gaps = np.concatenate(
        [g[FRONT, 2] - surface_height(g[FRONT], v, face, 2) for g, v in zip(worn, crowd, strict=True)]
    )
    assert np.isfinite(gaps).mean() > 0.8
    assert gaps.min() > 0.01


def test_lenses_are_as_far_from_the_eyes_as_opticians_put_them(crowd, worn):
    eyes = load_heads().eyes
    for vertices, mesh in zip(crowd, worn, strict=True):
        lenses = mesh[TEMPLES.stop :].reshape(2, -1, 3)
        for side in range(2):
            cornea = vertices[eyes[side], 2].max()
            assert 0.05 < lenses[side, 0, 2] - cornea < 0.35
            assert abs(lenses[side, 0, 0] - vertices[eyes[side], 0].mean()) < 0.2


def test_temples_pass_the_head_on_its_outside(crowd, worn):
    heads = load_heads()
    mean = np.asarray(heads.mean)[heads.triangles].mean(1)
    beside = (heads.parts == SKIN) & (np.abs(mean[:, 1]) < 0.4) & (mean[:, 2] > -0.6) & (mean[:, 2] < 0.2)
    head = heads.triangles[beside]
    along = np.arange(4 * TEMPLE_STEPS).reshape(TEMPLE_STEPS, 4)[1:4].ravel()  # from the hinge to before the ear
    for vertices, mesh in zip(crowd, worn, strict=True):
        for side, temple in zip((1, -1), mesh[TEMPLES].reshape(2, -1, 3), strict=True):
            mirror = np.array([side, 1, 1])
            skin = surface_height(temple[along] * mirror, vertices * mirror, head, 0)
            assert ((temple[along] * mirror)[:, 0] > skin).all()


def test_the_frame_is_symmetric_and_faces_outwards(mean_pair):
    mesh = mean_pair()
    left, right = mesh[RIMS].reshape(2, -1, 3)
    middle = (left + right)[:, 0] / 2
    assert np.ptp(middle) < 1e-5 and np.allclose(left[:, 1:], right[:, 1:], atol=1e-5)
    corners = mesh[TRIANGLES]
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (facing[PARTS == LENS, 2] > 0).all()
    rim = 8 * RIM_STEPS
    for piece in (slice(0, rim), slice(rim, 2 * rim)):
        centred = corners[piece] - corners[piece].mean((0, 1))
        assert (centred.mean(1) * facing[piece]).sum() > 0  # six times the volume of a closed mesh


def test_the_shape_follows_its_factors(mean_pair):
    extent = lambda mesh: np.ptp(mesh[: 4 * RIM_STEPS], axis=0)
    small, large = mean_pair(glasses_width=0.44), mean_pair(glasses_width=0.54)
    assert np.isclose(extent(large)[0] - extent(small)[0], 0.1, atol=0.01)
    low, high = mean_pair(glasses_height=0.3), mean_pair(glasses_height=0.5)
    assert np.isclose(extent(high)[1] - extent(low)[1], 0.2, atol=0.01)
    corner = lambda mesh: (mesh[: 4 * RIM_STEPS, :2] - mesh[: 4 * RIM_STEPS, :2].mean(0)).sum(1).max()
    assert corner(mean_pair(glasses_round=0.0)) > corner(mean_pair(glasses_round=1.0)) + 0.03


def test_no_glasses_are_a_single_point(mean_pair):
    off = mean_pair(glasses=0.0)
    assert len(off) == TRIANGLES.max() + 1
    assert (off == off[0]).all()
    assert len(TRIANGLES) <= 2000 and np.ptp(mean_pair()) > 0.5


def test_the_mesh_moves_little_when_the_head_does():
    mean = jnp.asarray(load_heads().mean)
    values = {name: jnp.float32(value) for name, value in PLAIN.items()}
    moved = mean + 1e-3 * jax.random.normal(jax.random.key(2), mean.shape)
    assert np.abs(np.asarray(fitted(values, moved) - fitted(values, mean))).max() < 0.01


@pytest.mark.parametrize(("tint", "share"), [(0.0, 0.0), (0.25, 0.25), (0.75, 0.75), (1.0, 1.0)])
def test_a_tinted_lens_hides_its_share_of_samples(tint, share):
    x, y = np.meshgrid(np.arange(8) + 0.5, np.arange(8) + 0.5)
    corners = np.array([[0.0, 0.0, 0.1], [16.0, 0.0, 0.2], [0.0, 16.0, 0.15]])
    screen = np.stack([1 - (x + y).ravel() / 16, x.ravel() / 16, y.ravel() / 16], axis=1)
    weights = screen * corners[:, 2]
    weights /= weights.sum(1, keepdims=True)
    kept = np.asarray(glasses.lens_kept(tint, jnp.broadcast_to(corners, (64, 3, 3)), jnp.asarray(weights)))
    assert kept.mean() == share
    blocks = kept.reshape(2, 4, 2, 4)
    assert (blocks == blocks[:1, :, :1]).all()


def test_frames_have_their_colour_and_lenses_are_dark():
    values = {name: jnp.float32(high) for name, (_, high) in FIELDS.items()}
    surface = glasses.paint_glasses(values, jnp.array([FRAME, LENS]))
    colour = [FIELDS[f"glasses_{name}"][1] for name in ("red", "green", "blue")]
    assert np.allclose(surface.albedo[0], colour)
    assert (np.asarray(surface.albedo[1]) < 0.1).all()
    assert surface.specular[1] > surface.specular[0]

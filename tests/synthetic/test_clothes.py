"""Clothes on the mean head: where the neckline runs, and what cloth is painted like."""

import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.synthetic.clothes import FIELDS, cloth_cover, cloth_shadow, dress, paint_cloth
from smoothswap_jax.synthetic.heads import SKIN, load_heads

pytestmark = pytest.mark.slow  # compiling takes most of a minute

PLAIN = {"cloth_red": 0.05, "cloth_green": 0.1, "cloth_blue": 0.3, "cloth_pattern": 0.0, "cloth_scale": 0.15}
CREW = PLAIN | {"collar": 0.0, "neckline_v": 0.0, "shirt_collar": 0.0}
PX = 0.01


@pytest.fixture(scope="module")
def skin() -> np.ndarray:
    heads = load_heads()
    return np.unique(heads.triangles[heads.parts == SKIN])


def covered(values, rest) -> np.ndarray:
    return np.asarray(cloth_cover(values, jnp.asarray(rest, jnp.float32), PX))


def neckline(values, x: float, z: float) -> float:
    """The height at which cloth begins, along a vertical line."""
    y = np.linspace(-2.2, -0.6, 1601)
    return y[covered(values, np.stack([np.full_like(y, x), y, np.full_like(y, z)], axis=1)) > 0.5].max()


FRONT, SIDE, NAPE = (0.0, -0.43), (0.7, -0.9), (0.0, -1.4)


@pytest.mark.parametrize("extreme", [{}, {"collar": 0.3}, {"collar": 0.3, "shirt_collar": 1.0}])
def test_cloth_covers_the_shoulders_and_no_face(skin, extreme):
    mean = np.asarray(load_heads().mean)[skin]
    cover = covered(CREW | extreme, mean)
    assert (cover[mean[:, 1] < -1.75] == 1).all()
    face = (mean[:, 1] > -1.1) & (mean[:, 2] > -0.6)
    assert face.sum() > 2000 and (cover[face] == 0).all()
    assert cover.min() >= 0 and cover.max() <= 1


def test_the_neckline_is_lower_in_front_than_beside_and_behind():
    front, side, nape = (neckline(CREW, *place) for place in (FRONT, SIDE, NAPE))
    assert front < side - 0.05 < nape - 0.1


def test_the_neckline_follows_its_factors():
    crew, v, shirt = CREW, CREW | {"neckline_v": 1.0}, CREW | {"shirt_collar": 1.0}
    assert np.isclose(neckline(CREW | {"collar": 0.1}, *FRONT) - neckline(crew, *FRONT), 0.1, atol=2e-3)
    assert neckline(v, *FRONT) < neckline(crew, *FRONT) - 0.3
    assert np.isclose(neckline(v, *NAPE), neckline(crew, *NAPE), atol=2e-3)
    beside = (0.25, FRONT[1])
    assert neckline(v, *FRONT) < neckline(v, *beside) < neckline(crew, *beside)
    assert neckline(shirt, *NAPE) > neckline(crew, *NAPE) + 0.1
    assert neckline(shirt, *FRONT) < neckline(crew, *FRONT)


def test_dressing_moves_cloth_outwards_and_leaves_the_face(skin):
    heads = load_heads()
    mean, normals = np.asarray(heads.mean), np.asarray(heads.normals)
    out = ((np.asarray(dress(CREW, mean, normals, mean)) - mean) * normals).sum(1)
    cover = covered(CREW, mean)
    assert (out[mean[:, 1] > -1.0] == 0).all()
    assert (out[skin][cover[skin] == 1] > 0.01).all() and out.max() < 0.06
    collar = ((np.asarray(dress(CREW | {"shirt_collar": 1.0}, mean, normals, mean)) - mean) * normals).sum(1)
    assert collar.max() > out.max() + 0.01


def test_cloth_darkens_only_the_skin_next_to_it():
    y = np.linspace(-1.6, -1.2, 9)
    shadow = np.asarray(cloth_shadow(CREW, jnp.asarray(np.stack([0 * y, y, 0 * y + FRONT[1]], axis=1))))
    assert (np.diff(shadow) >= 0).all() and np.isclose(shadow[0], 0.55) and shadow[-1] == 1


def patch(values, width: float, px: float) -> np.ndarray:
    """Colours of a square of the breast, `px` apart."""
    at = np.arange(0, width, px) + px / 2
    x, y = np.meshgrid(0.6 + at, -1.9 + at)
    rest = np.stack([x, y, np.full_like(x, -0.5)], axis=-1).reshape(-1, 3)
    return np.asarray(paint_cloth(values, jnp.asarray(rest, jnp.float32), px).albedo).reshape(*x.shape, 3)


def test_plain_cloth_has_its_colour_and_patterns_run_as_named():
    plain = patch(CREW, 0.3, 0.01)
    colour = np.array([PLAIN[f"cloth_{name}"] for name in ("red", "green", "blue")])
    assert np.allclose(plain.mean((0, 1)) / colour, 1, atol=0.25)
    ratio = plain / plain.sum(-1, keepdims=True)
    assert np.ptp(ratio, axis=(0, 1)).max() < 1e-5
    stripes, checks = (patch(CREW | {"cloth_pattern": kind}, 0.3, 0.01)[..., 1] for kind in (0.55, 0.75))
    assert stripes.mean(1).std() > 5 * stripes.mean(0).std()
    assert checks.mean(0).std() > 0.3 * checks.mean(1).std() > 0.01
    knitted = patch(CREW | {"cloth_pattern": 0.95}, 0.3, 0.002)[..., 1]
    assert 0.005 < knitted.std() < 0.1


@pytest.mark.parametrize(("kind", "px"), [(0.55, 0.07), (0.75, 0.07), (0.95, 0.011)])
def test_coarse_samples_blend_a_pattern_and_keep_its_mean(kind, px):
    values = CREW | {"cloth_pattern": kind}
    share = lambda px: (patch(values, 0.6, px) / patch(CREW, 0.6, px)).mean(-1)  # without the folds
    fine, coarse = share(0.004), share(px)
    assert np.isclose(fine.mean(), coarse.mean(), rtol=0.06)
    assert coarse.std() < 0.3 * fine.std()


@pytest.mark.parametrize("end", [0, 1])
def test_surfaces_stay_in_range_at_the_ends_of_all_factors(end, skin):
    values = {name: jnp.float32(bounds[end]) for name, bounds in FIELDS.items()}
    surface = paint_cloth(values, jnp.asarray(load_heads().mean)[skin], 0.04)
    for part in surface:
        assert part.shape[0] == len(skin) and np.isfinite(part).all() and (part >= 0).all()
    assert np.max(surface.albedo) <= 1 and np.max(surface.soft) == 0

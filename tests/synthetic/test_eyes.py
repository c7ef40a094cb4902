"""Painted eyeballs, lids, lashes and mouths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.synthetic import eyes, mouth

IRIS = jnp.array([0.10, 0.06, 0.03])
FINE = 0.01
paint = jax.jit(eyes.paint_eye)


def person(**changes) -> dict[str, jax.Array]:
    values = {name: (low + high) / 2 for name, (low, high) in eyes.FIELDS.items()}
    values |= {"eyeliner": 0.0, "eyeshadow": 0.0} | dict.fromkeys(mouth.OPENING_UNITS, 0.0)
    assert set(changes) <= set(values)
    return {name: jnp.float32(value) for name, value in (values | changes).items()}


def directions(radius: float, below: bool = False, n: int = 720) -> jax.Array:
    """Unit vectors on a circle around the line of sight; radius: of the circle, as a share of the eyeball's."""
    turn = jnp.linspace(-jnp.pi, 0.0, n) if below else jnp.linspace(-jnp.pi, jnp.pi, n)
    return jnp.stack([radius * jnp.cos(turn), radius * jnp.sin(turn), jnp.full(n, (1 - radius**2) ** 0.5)], axis=1)


def ring(radius: float, px: float = FINE, **changes) -> np.ndarray:
    """Mean colour of the lower half of a circle around the pupil, where no lid shades it."""
    return np.asarray(paint(person(**changes), IRIS, directions(radius, below=True), px).albedo).mean(0)


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("px", [0.005, 0.1, 1.0])
def test_everything_is_in_range_at_the_ends_of_all_factors(end, px):
    values = {name: jnp.float32(bounds[end]) for name, bounds in eyes.FIELDS.items()}
    local = jax.random.normal(jax.random.key(0), (4000, 3))
    local = jnp.concatenate([local, jnp.eye(3), -jnp.eye(3)])
    local = local / jnp.linalg.norm(local, axis=1, keepdims=True)
    surface = paint(values, jnp.ones(3), local, px)
    for field in surface:
        assert np.isfinite(field).all()
    assert surface.albedo.min() >= 0.0
    assert surface.albedo.max() <= 2.0  # a white iris: its fibres are brighter than their mean


def test_pupil_iris_and_white_follow_each_other_outwards():
    size = 0.44
    assert ring(0.5 * eyes.PUPIL * size).max() < 0.01
    np.testing.assert_allclose(ring(0.7 * size, limbal_ring=0.0), IRIS, rtol=0.25)
    assert ring(0.6).min() > 0.4


def test_iris_size_moves_its_rim():
    small, large = ring(0.44, iris_size=0.40), ring(0.44, iris_size=0.48)
    assert small.min() > 3 * large.max()


def test_the_limbal_ring_darkens_the_rim_of_the_iris():
    assert ring(0.93 * 0.44, limbal_ring=1.0).mean() < 0.6 * ring(0.93 * 0.44, limbal_ring=0.0).mean()


def test_the_iris_has_fibres_that_fade_with_resolution():
    albedo = lambda px: np.asarray(paint(person(), IRIS, directions(0.3, below=True), px).albedo[:, 0])
    assert albedo(FINE).std() > 0.15 * albedo(FINE).mean()
    assert albedo(0.2).std() < 0.02 * albedo(0.2).mean()


def test_the_white_is_redder_at_its_corners_and_darker_under_the_upper_lid():
    centre, corner, top = (
        np.asarray(paint(person(), IRIS, jnp.array([at]), 0.1).albedo[0])
        for at in ((0.6, 0.0, 0.8), (0.95, 0.0, 0.31), (0.46, 0.38, 0.8))
    )
    assert corner[0] / corner[1] > 1.15 * centre[0] / centre[1]
    assert top.mean() < 0.8 * centre.mean()


def test_coarse_samples_show_the_mean_of_fine_ones():
    """Over the lower half of the visible eyeball; .13 of it is a sample of a 64-pixel picture."""
    key = jax.random.key(2)
    radius = 0.8 * jnp.sqrt(jax.random.uniform(key, (20_000,)))
    turn = -jnp.pi * jax.random.uniform(jax.random.fold_in(key, 1), (20_000,))
    local = jnp.stack([radius * jnp.cos(turn), radius * jnp.sin(turn), jnp.sqrt(1 - radius**2)], axis=1)
    fine, coarse = (np.asarray(paint(person(), IRIS, local, px).albedo).mean(0) for px in (0.005, 0.13))
    np.testing.assert_allclose(coarse, fine, rtol=0.05)


def test_the_opening_of_the_lids_is_where_the_eyeball_is_seen():
    points = jnp.array([[0.288, -0.02, 0.15], [-0.288, -0.02, 0.15], [0.288, 0.06, 0.17], [0.46, -0.02, 0.1]])
    distance = np.asarray(eyes.opening_distance(points))
    assert (distance[:2] < 0.0).all()
    np.testing.assert_allclose(distance[2:], [0.04, 0.054], atol=0.004)


def test_eyeliner_lines_the_lid_and_eyeshadow_covers_it():
    upper = float(eyes.lid_edges(jnp.array([0.32]))[0][0])
    points = jnp.array([[0.32, upper + 0.004, 0.16], [0.32, upper + 0.03, 0.17], [0.32, 0.25, 0.2], [0.32, -0.3, 0.2]])
    _, shadow, liner = eyes.lid_make_up(person(eyeliner=1.0, eyeshadow=1.0), points, 0.002)
    assert liner[0] > 0.8
    assert shadow[1] > 0.5
    np.testing.assert_allclose([*liner[1:], *shadow[2:]], 0.0, atol=1e-6)
    for cover in eyes.lid_make_up(person(), points, 0.002)[1:]:
        np.testing.assert_array_equal(cover, 0.0)


def lash_share(distance: float, **changes) -> float:
    """The share of the upper strip, at a distance from the eye's centre, that is opaque."""
    across = jnp.linspace(-0.6, 0.6, 2000)
    rest = jnp.stack([eyes.EYE[0] + distance * jnp.sin(across), 0.0 * across, distance * jnp.cos(across)], axis=1)
    return float(eyes.lash_cover(person(**changes), rest).mean())


def test_lashes_thin_out_to_their_tips_and_mascara_makes_them_denser():
    root, middle, beyond = (lash_share(d) for d in (0.158, 0.185, 0.24))
    assert root > 1.5 * middle > 0.2
    assert beyond == 0.0
    assert lash_share(0.185, eyeliner=1.0) > 1.3 * middle


def teeth(x: float, y: float, px: float = 0.002) -> np.ndarray:
    angle = x / mouth.ARCH_RADIUS
    rest = jnp.array([[0.32 * np.sin(angle), y, mouth.ARCH_CENTRE + 0.32 * np.cos(angle)]])
    return np.asarray(mouth.paint_teeth(rest, px).albedo[0])


def test_teeth_are_ivory_with_gaps_and_gums():
    tooth, gap, gum = teeth(0.04, -0.62), teeth(0.085, -0.62), teeth(0.04, -0.52)
    assert tooth.min() > 0.45
    assert gap.mean() < 0.7 * tooth.mean()
    assert gum[0] > 2 * gum[1]
    assert teeth(0.05, -0.70).mean() < 0.7 * teeth(0.025, -0.70).mean()


def test_light_reaches_into_an_open_mouth_alone_and_not_into_the_throat():
    front, throat = jnp.array([[0.0, -0.62, 0.17], [0.0, -0.62, -0.3]])
    share = lambda at, **units: float(mouth.open_mouth_share(person(**units), at[None])[0])
    assert share(front, jawOpen=0.6) > 0.4
    assert share(front) < 0.05
    assert share(throat, jawOpen=0.6) == 0.0


def test_the_tongue_is_red_and_in_range():
    rest = jax.random.uniform(jax.random.key(3), (2000, 3), minval=-0.3, maxval=0.3)
    surface = mouth.paint_tongue(rest, 0.002)
    albedo = np.asarray(surface.albedo)
    assert albedo.min() > 0.0
    assert (albedo[:, 0] > 2 * albedo[:, 1]).all()
    assert surface.specular.min() > 0.1

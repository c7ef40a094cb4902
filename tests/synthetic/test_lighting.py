"""Light of the synthetic world: harmonics, what a head hides from itself, shading."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.synthetic import lighting
from smoothswap_jax.synthetic.camera import head_turn
from smoothswap_jax.synthetic.heads import LANDMARK_NAMES, load_heads
from smoothswap_jax.synthetic.lighting import FIELDS, light_of, open_share, rotated, sample_light, shade
from smoothswap_jax.synthetic.sky import fibonacci_sphere, harmonics
from smoothswap_jax.synthetic.surface import Surface

NEUTRAL = {name: jnp.float32(0.0) for name in FIELDS} | {"ambient": jnp.float32(1.0), "exposure": jnp.float32(1.0)}
GREY = jnp.full(3, 0.3)


def matt(n: int, albedo: float = 0.5) -> Surface:
    return Surface(jnp.full((n, 3), albedo), jnp.zeros(n), jnp.ones(n), jnp.zeros(n))


def test_harmonics_are_orthonormal():
    directions = jnp.asarray(fibonacci_sphere(4000))
    product = np.asarray(harmonics(directions).T @ harmonics(directions)) * 4 * np.pi / 4000
    np.testing.assert_allclose(product, np.eye(9), atol=0.01)


def test_rotating_the_coefficients_rotates_the_function():
    turn = head_turn(jnp.array([0.5, -0.3, 0.0]))
    coefficients = jax.random.normal(jax.random.key(0), (9,))
    directions = jnp.asarray(fibonacci_sphere(50))
    np.testing.assert_allclose(
        harmonics(directions) @ rotated(coefficients, turn), harmonics(directions @ turn.T) @ coefficients, atol=1e-4
    )


def test_a_matt_surface_under_a_uniform_sky_of_one_sends_its_albedo():
    normals = jnp.asarray(fibonacci_sphere(20))
    sent = shade(matt(20), light_of(NEUTRAL, GREY), normals, 0 * normals, jnp.ones(20), jnp.ones(20))
    np.testing.assert_allclose(sent, 0.5, atol=0.01)


def test_a_hard_lamp_lights_what_faces_it_and_nothing_in_its_shadow():
    values = NEUTRAL | {"ambient": jnp.float32(0.0), "lamp": jnp.float32(2.0)}
    normals = jnp.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.0, 0.0, 1.0]])
    lit = jnp.array([1.0, 1.0, 0.0])
    sent = np.asarray(shade(matt(3), light_of(values, GREY), normals, 0 * normals, jnp.ones(3), lit))
    np.testing.assert_allclose(sent[0], 1.0, atol=0.01)
    np.testing.assert_allclose(sent[1:], 0.0, atol=0.01)


def test_hair_is_brightest_where_its_strands_are_square_to_the_lamp():
    values = NEUTRAL | {"ambient": jnp.float32(0.0), "lamp": jnp.float32(1.0)}
    towards = jnp.array([[0.0, 0.0, 1.0]] * 2)
    tangents = jnp.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    sent = np.asarray(shade(matt(2), light_of(values, GREY), towards, tangents, jnp.ones(2), jnp.ones(2))).mean(1)
    assert sent[0] > 0.4 and sent[1] == pytest.approx(0.0, abs=1e-3)


def test_a_soft_lamp_sends_about_as_much_as_a_hard_one():
    normals = jnp.asarray(fibonacci_sphere(200))
    total = []
    for softness in (0.0, 1.0):
        values = NEUTRAL | {"ambient": jnp.float32(0.0), "lamp": jnp.float32(1.0), "softness": jnp.float32(softness)}
        total.append(
            float(shade(matt(200), light_of(values, GREY), normals, 0 * normals, jnp.ones(200), jnp.ones(200)).mean())
        )
    assert total[1] == pytest.approx(total[0], rel=0.1)


def test_the_head_hides_the_sky_from_nostrils_and_mouth_but_not_from_the_forehead():
    heads = load_heads()
    share = np.asarray(open_share(heads.sky, heads.normals, light_of(NEUTRAL, GREY), jnp.eye(3)))
    at = lambda name: share[heads.landmarks[LANDMARK_NAMES.index(name)]]
    assert at("forehead") > 0.85 and at("nose_tip") > 0.85
    assert at("left_nostril_base") < 0.8
    inside = heads.masks[:, 3] > 0.9
    assert share[inside].mean() < 0.3


def test_a_lamp_from_above_reaches_the_forehead_more_than_below_the_chin():
    values = NEUTRAL | {"ambient": jnp.float32(0.2), "lamp": jnp.float32(2.0), "softness": jnp.float32(1.0)}
    values |= {"elevation": jnp.float32(1.2)}
    heads = load_heads()
    light = light_of(values, GREY)
    share = np.asarray(open_share(heads.sky, heads.normals, light, jnp.eye(3)))
    n = len(heads.mean)
    sent = np.asarray(
        shade(matt(n), light, jnp.asarray(heads.normals), jnp.zeros((n, 3)), jnp.asarray(share), jnp.ones(n))
    ).mean(1)
    x, y, z = heads.mean.T
    below = (y > -1.2) & (y < -1.08) & (np.abs(x) < 0.2) & (z > -0.35) & (z < 0.05)
    assert sent[below].mean() < 0.5 * sent[heads.landmarks[LANDMARK_NAMES.index("forehead")]]


def test_sampled_light_stays_within_its_fields_and_fills_them():
    drawn = np.asarray(sample_light(jax.random.key(0), 2000))
    low, high = np.array(list(FIELDS.values())).T
    assert (drawn >= low).all() and (drawn <= high).all()
    assert (np.ptp(drawn, axis=0) > 0.9 * (high - low)).all()
    assert lighting.FIELDS["ambient"][0] > 0.0

"""Procedural noise: its statistics, that it is continuous, and that what is too fine to show keeps its mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.synthetic.noise import (
    bump,
    detail,
    inside,
    line,
    random_cell,
    smoothstep,
    spots,
    value_noise,
    wave,
)

POINTS = tuple(jax.random.uniform(jax.random.key(0), (3, 40_000), minval=-60.0, maxval=60.0))
DEVIATIONS = (0.50, 0.43, 0.37)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_value_noise_has_mean_0_and_the_stated_deviation(dimensions):
    values = np.asarray(value_noise(*POINTS[:dimensions]))
    assert np.abs(values).max() <= 1.0
    assert abs(values.mean()) < 0.05
    assert values.std() == pytest.approx(DEVIATIONS[dimensions - 1], abs=0.04)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_value_noise_is_continuous_over_cell_borders(dimensions):
    border = [jnp.round(p) for p in POINTS[:dimensions]]
    step = 1e-4
    jump = value_noise(*[p + step for p in border]) - value_noise(*[p - step for p in border])
    assert np.abs(jump).max() < 1e-3


def test_seeds_and_axes_give_unrelated_noise():
    x, y, z = POINTS
    first = np.asarray(value_noise(x, y, z))
    for other in (value_noise(x, y, z, seed=1), value_noise(y, x, z), value_noise(x, z, y), value_noise(-x, y, z)):
        assert abs(np.corrcoef(first, np.asarray(other))[0, 1]) < 0.03


def test_random_cells_are_uniform_and_neighbours_unrelated():
    row, column = jnp.meshgrid(jnp.arange(-100, 100), jnp.arange(-100, 100))
    values = np.asarray(random_cell(row, column))
    counts, _ = np.histogram(values, 10, (0.0, 1.0))
    assert counts.sum() == values.size
    assert np.abs(counts - values.size / 10).max() < 5 * (values.size / 10) ** 0.5
    assert abs(np.corrcoef(values[:, 1:].ravel(), values[:, :-1].ravel())[0, 1]) < 0.03


def test_detail_fades_before_samples_are_as_wide_as_cells():
    np.testing.assert_allclose(detail(jnp.array([0.1, 0.25, 0.625, 1.0, 9.0])), [1.0, 1.0, 0.5, 0.0, 0.0])


def test_spots_lie_wholly_in_their_cells():
    x, y, z = POINTS
    distance, number = spots(x, y, z)
    edge = jnp.min(jnp.stack([jnp.minimum(p - jnp.floor(p), 1 - p + jnp.floor(p)) for p in POINTS]), axis=0)
    assert (np.asarray(distance)[np.asarray(edge) < 1e-3] > 0.29).all()
    assert distance.min() < 0.05
    assert len(np.unique(np.round(number, 4))) > 5_000


def test_wave_is_near_a_sine():
    t = jnp.linspace(-3.0, 3.0, 997)
    np.testing.assert_allclose(wave(t), np.sin(2 * np.pi * t), atol=0.0561)


def test_smoothstep_rises_or_falls():
    x = jnp.linspace(-1.0, 2.0, 31)
    rising, falling = smoothstep(0.0, 1.0, x), smoothstep(1.0, 0.0, x)
    assert (np.diff(rising) >= 0).all()
    assert rising[0] == 0.0
    assert rising[-1] == 1.0
    np.testing.assert_allclose(rising + falling, 1.0, atol=1e-6)


@pytest.mark.parametrize("px", [0.02, 0.1, 0.4])
def test_lines_and_edges_keep_their_area_at_every_resolution(px):
    """A line's darkness and a shape's cover, summed over samples, do not depend on the samples' width."""
    x = jnp.arange(-3.0, 3.0, px) + 0.3 * px
    width = 0.05
    assert px * line(x, width, px).sum() == pytest.approx(width * 16 / 15, rel=0.12)
    assert px * inside(jnp.abs(x) - 0.7, px).sum() == pytest.approx(1.4, rel=0.03)


def test_bump_ends_at_its_width():
    np.testing.assert_allclose(bump(jnp.array([-2.0, -1.0, 0.0, 0.5, 1.0, 5.0]), 1.0), [0, 0, 1, 0.5625, 0, 0])

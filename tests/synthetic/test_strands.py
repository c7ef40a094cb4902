import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.synthetic.strands import keep_hair, paint_hair, scalp_stubble

VALUES = {"hair_length": 1.5, "curl": 0.2, "hair_grey": 0.0, "hairline": 0.0, "strands": 0.4}
BROWN = jnp.array([0.06, 0.03, 0.016])


def as_values(**changes):
    return {name: jnp.float32(value) for name, value in (VALUES | changes).items()}


def sheet(cover=0.5, light=1.0, n=200, size=1.0):
    """Coordinates of a square of hair, n by n samples of `size` dm together."""
    strand, along = np.meshgrid(np.linspace(0, size, n), np.linspace(0.5, 0.5 + size, n))
    full = lambda value: np.full(n * n, value)
    return jnp.asarray(np.stack([strand.ravel(), along.ravel(), full(cover), full(light)], 1), jnp.float32)


@pytest.mark.parametrize("curl", [0.0, 1.0])
def test_the_share_kept_is_the_cover(curl):
    kept = [
        float(keep_hair(as_values(curl=curl), sheet(cover, size=8.0)).mean()) for cover in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert kept[0] == 0.0 and kept[-1] == 1.0
    np.testing.assert_allclose(kept, [0.0, 0.25, 0.5, 0.75, 1.0], atol=0.12)


def test_gaps_run_along_straight_strands():
    kept = np.asarray(keep_hair(as_values(curl=0.0), sheet(0.5))).reshape(200, 200)
    edges = lambda axis: (np.diff(kept.astype(int), axis=axis) != 0).sum()
    assert edges(1) > 5 * edges(0)
    frizzy = np.asarray(keep_hair(as_values(curl=1.0), sheet(0.5))).reshape(200, 200)
    assert (np.diff(frizzy.astype(int), axis=0) != 0).sum() > 3 * edges(0)


def test_paint_keeps_the_mean_colour_and_the_ranges():
    surface = paint_hair(as_values(), BROWN, sheet(), 0.005)
    np.testing.assert_allclose(surface.albedo.mean(0), BROWN, rtol=0.3)
    for colour in (jnp.zeros(3), jnp.ones(3)):
        surface = paint_hair(as_values(hair_grey=0.5), colour, sheet(), 0.005)
        for part in surface:
            assert np.isfinite(part).all() and part.min() >= 0
        assert surface.albedo.max() <= 1 and surface.soft.max() <= 1


def test_strands_too_fine_to_show_fade():
    contrast = lambda px: float(paint_hair(as_values(), BROWN, sheet(size=4.0), px).albedo[:, 0].std())
    assert contrast(0.1) < 0.5 * contrast(0.002)


def test_grey_comes_in_strands():
    spread = lambda grey: float(paint_hair(as_values(hair_grey=grey), BROWN, sheet(), 0.002).albedo[:, 2].std())
    assert spread(0.5) > 1.5 * spread(0.0)


def test_inner_hair_is_darker():
    dark, lit = (paint_hair(as_values(), BROWN, sheet(light=light), 0.01).albedo.mean() for light in (0.5, 1.0))
    assert dark < 0.6 * lit


@pytest.mark.parametrize("place", [(0.0, 1.05, -0.5), (0.65, 0.5, -0.7), (0.0, 0.3, -1.64)])
def test_a_shorn_scalp_is_dark(place):
    shorn, grown = (float(scalp_stubble(as_values(hair_length=x), jnp.array([place]), 0.01)[0]) for x in (0.0, 1.0))
    assert 0.3 < shorn < grown <= 1.0


def test_faces_and_bald_tops_have_no_stubble():
    stubble = jax.jit(lambda values, rest: scalp_stubble(values, rest, 0.01))
    faces = jnp.array([(0.0, 0.5, 0.2), (0.3, -0.3, 0.2), (0.0, -1.0, 0.2), (0.5, 0.1, -0.1), (0.0, -1.2, -1.38)])
    assert np.all(np.asarray(stubble(as_values(), faces)) == 0)
    front, back = jnp.array([[0.0, 0.9, -0.1]]), jnp.array([[0.0, 0.0, -1.62]])
    assert float(stubble(as_values(), front)[0]) > 0.5 > 0.05 > float(stubble(as_values(hairline=1.0), front)[0])
    assert float(stubble(as_values(hairline=1.0), back)[0]) > 0.5

"""Colours of pigments, held against measured skin and against what everyone knows of hair and eyes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.synthetic import pigments
from smoothswap_jax.synthetic.pigments import (
    MOST_HAEMOGLOBIN,
    RGB_FROM_XYZ,
    hair_colour,
    iris_colour,
    lip_colour,
    rgb_of_spectrum,
    skin_colour,
    skin_reflectance,
)

SKINS = [
    x.ravel() for x in np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, MOST_HAEMOGLOBIN, 8), np.linspace(0, 1, 7))
]


def lab(rgb) -> np.ndarray:
    """CIE L*, a* and b* of linear RGB in daylight."""
    to_xyz = np.linalg.inv(RGB_FROM_XYZ)
    share = np.asarray(rgb) @ (to_xyz / to_xyz.sum(axis=1, keepdims=True)).T
    f = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def typology_angle(rgb) -> np.ndarray:
    """The Individual Typology Angle in degrees (Chardon et al. 1991): above 55 very light, below -30 dark."""
    lightness, _, yellowness = np.moveaxis(lab(rgb), -1, 0)
    return np.degrees(np.arctan2(lightness - 50, yellowness))


def test_white_reflects_white():
    np.testing.assert_allclose(rgb_of_spectrum(np.ones(31)), 1.0, atol=1e-12)


def test_green_light_is_green():
    """The matching functions and the matrix put a band around 540 nm into the second channel."""
    red, green, blue = rgb_of_spectrum(np.exp(-(((pigments.WAVELENGTHS - 540) / 25) ** 2)))
    assert green > 0.3 and red < 0.1 and blue < 0.2


def test_fast_skin_is_the_spectral_skin():
    exact = rgb_of_spectrum(skin_reflectance(*SKINS))
    error = np.asarray(skin_colour(*map(jnp.asarray, SKINS))) / exact - 1
    assert np.sqrt(np.square(error).mean()) < 0.015
    assert np.abs(error).max() < 0.08


def test_skin_spectrum_shows_the_two_bands_of_oxygenated_blood():
    """Reflectance has a dip at 540 and at 580 nm and a hump between them, as every measured spectrum of skin."""
    at = dict(zip(pigments.WAVELENGTHS, skin_reflectance(0.2, 0.5, 0.5), strict=True))
    assert at[540] < at[560] > at[580]
    assert at[650] > 1.5 * at[560]


@pytest.mark.parametrize(
    ("melanin", "lowest", "highest"),
    [(0.0, 55, 80), (0.3, 48, 65), (0.5, 28, 48), (0.65, 10, 28), (0.78, -30, 10), (0.95, -90, -30)],
)
def test_typology_angles_run_from_very_light_to_dark(melanin, lowest, highest):
    assert lowest < typology_angle(skin_colour(melanin, 0.45, 0.55)) < highest


def test_skin_has_measured_redness_and_yellowness():
    """Faces of four groups of people have about a* 8 to 13 and b* 14 to 19 in the mean (Xiao et al. 2017)."""
    _, red, yellow = lab(skin_colour(jnp.linspace(0.1, 0.85, 16), 0.45, 0.6)).T
    assert (red > 5).all() and (red < 15).all()
    assert (yellow > 11).all() and (yellow < 23).all()


def test_more_pigment_is_darker():
    steps = jnp.linspace(0, 1, 20)
    for colours in (
        skin_colour(steps, 0.4, 0.5),
        hair_colour(steps, 0.4, 0 * steps),
        hair_colour(0.3, steps, 0 * steps),
    ):
        assert (jnp.diff(colours, axis=0) < 0).all()
    assert (jnp.diff(skin_colour(0.3, MOST_HAEMOGLOBIN * steps, 0.5)[:, 1]) < 0).all()
    assert (jnp.diff(skin_colour(0.3, 0.4, steps)[:, 2]) < 0).all()


def test_blood_is_red_and_carotene_yellow():
    _, red, yellow = (lab(skin_colour(0.2, 0.8, 0.5)) - lab(skin_colour(0.2, 0.2, 0.5))).T
    assert red > 5
    _, red, yellow = (lab(skin_colour(0.2, 0.4, 1.0)) - lab(skin_colour(0.2, 0.4, 0.0))).T
    assert yellow > 2.5 and abs(red) < 1


def test_lips_are_redder_than_skin_of_anyone():
    melanin = jnp.linspace(0, 0.95, 12)
    skin, lips = lab(skin_colour(melanin, 0.45, 0.6)), lab(lip_colour(melanin, jnp.full(12, 0.45), jnp.full(12, 0.5)))
    assert (lips[:, 1] > skin[:, 1] + 2).all()
    assert lips[0, 0] < skin[0, 0] - 10, "darker than light skin"
    assert lips[-1, 0] > skin[-1, 0], "lighter than the darkest"


def test_kinds_of_hair():
    black, brown, blond, red = lab(
        hair_colour(jnp.array([0.97, 0.48, 0.20, 0.10]), jnp.array([0.3, 0.48, 0.38, 0.76]), jnp.zeros(4))
    )
    assert black[0] < 12 < 20 < brown[0] < 40 < 45 < blond[0]
    assert red[1] > brown[1] and red[2] > 2 * red[1] > 0, "red hair is a saturated orange brown"
    white = lab(hair_colour(jnp.float32(0.97), jnp.float32(0.3), jnp.float32(1.0)))
    assert white[0] > 75 and np.hypot(white[1], white[2]) < 8


def test_irises_run_from_blue_over_green_to_brown():
    colours = iris_colour(jnp.linspace(0, 1, 41))
    red, green, blue = colours.T
    blueness, greenest = blue > 1.2 * red, (green >= red) & (green >= blue)
    assert blueness[0] and greenest[4:12].any()
    assert (red[16:] > 1.1 * green[16:]).all() and (green[16:] > blue[16:]).all()
    assert colours[-1].max() < 0.08, "nearly black"
    assert (jnp.abs(jnp.diff(colours, axis=0)) < 0.03).all(), "continuous"


@pytest.mark.parametrize("value", [-0.5, 0.0, 1.0, 3.0])
def test_colours_and_their_gradients_are_finite_at_and_beyond_the_ends(value):
    def total(x):
        colours = (skin_colour(x, x, x), lip_colour(x, x, x), hair_colour(jnp.clip(x, 0, 1), jnp.clip(x, 0, 1), x))
        return sum(c.sum() for c in colours) + iris_colour(jnp.clip(x, 0, 1)).sum()

    assert np.isfinite(jax.grad(total)(jnp.float32(value)))
    skin = skin_colour(*[jnp.float32(value)] * 3)
    assert (skin > 0).all() and (skin < 1).all()

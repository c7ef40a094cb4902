"""Painted skin: what is where on the mean head, at any values of the factors and at any resolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.synthetic import brows, eyes, mouth, skin

pytestmark = pytest.mark.slow  # compiling takes most of a minute

COLOURS = skin.Colours(*(jnp.array(c) for c in ((0.60, 0.36, 0.25), (0.42, 0.17, 0.15), (0.06, 0.04, 0.03))))
FIELDS = skin.FIELDS | brows.FIELDS | eyes.FIELDS | mouth.FIELDS
MAKE_UP = ("blush", "lipstick", "eyeshadow", "eyeliner")
SIDED = ("browDown", "browOuterUp", "eyeSquint", "mouthSmile", "mouthUpperUp", "mouthLowerDown")
UNITS = ("browInnerUp", "jawOpen", "mouthFunnel", *(f"{name}{side}" for name in SIDED for side in ("Left", "Right")))
FINE = 0.004
paint = jax.jit(skin.paint_skin)


def person(**changes) -> dict[str, jax.Array]:
    """A person without marks, wrinkles and make-up and with a neutral expression, apart from `changes`."""
    values = {name: (low + high) / 2 for name, (low, high) in FIELDS.items()}
    values |= dict.fromkeys((*MAKE_UP, *UNITS, "freckles", "wrinkles"), 0.0)
    values |= {f"mole_{i}_size": -0.01 for i in (1, 2, 3)}
    assert set(changes) <= set(values)
    return {name: jnp.float32(value) for name, value in (values | changes).items()}


def no_masks(n: int) -> dict[str, jax.Array]:
    return dict.fromkeys(("lips", "lids", "ears", "mouth"), jnp.zeros(n))


def patch(x: float, y: float, width: float = 0.03, z: float = 0.3, samples: int = 400) -> jax.Array:
    """Places on the mean head, spread over a square seen from the front."""
    at = jax.random.uniform(jax.random.key(0), (samples, 2), minval=-0.5 * width, maxval=0.5 * width)
    return jnp.concatenate([at + jnp.array([x, y]), jnp.full((samples, 1), z)], axis=1)


def colour(values, x, y, px=FINE, width=0.03, **masks) -> np.ndarray:
    """Mean colour around a place. masks: constant values of those that are not 0."""
    rest = patch(x, y, width)
    given = no_masks(len(rest)) | {name: jnp.full(len(rest), value) for name, value in masks.items()}
    return np.asarray(paint(values, COLOURS, rest, given, px).albedo).mean(0)


def brightness(rgb: np.ndarray) -> float:
    return float(rgb.mean())


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("px", [0.001, 0.02, 0.3])
def test_everything_is_in_range_at_the_ends_of_all_factors(end, px):
    values = {name: jnp.float32(bounds[end]) for name, bounds in FIELDS.items()} | dict.fromkeys(
        UNITS, jnp.float32(end)
    )
    key = jax.random.key(1)
    rest = jax.random.uniform(key, (4000, 3), minval=-1.5, maxval=1.5)
    masks = {name: jax.random.uniform(jax.random.fold_in(key, i), (4000,)) for i, name in enumerate(no_masks(1))}
    surface = paint(values, COLOURS, rest, masks, px)
    height = np.asarray(jax.jit(skin.relief)(values, rest, masks, px))
    for field in surface:
        assert np.isfinite(field).all()
    assert surface.albedo.shape == (4000, 3)
    assert surface.albedo.min() >= 0.0
    assert surface.albedo.max() <= 1.0
    assert surface.specular.min() >= 0.0
    assert surface.specular.max() <= 1.0
    assert surface.sharpness.min() >= 10.0
    assert np.abs(height).max() < 0.06


def test_skin_keeps_about_the_colour_it_is_given():
    plain = np.mean([colour(person(), x, 0.3) for x in (-0.3, 0.0, 0.3)], axis=0)
    np.testing.assert_allclose(plain, COLOURS.skin, rtol=0.15)


def test_lips_are_redder_and_the_inside_of_the_mouth_darker_than_skin():
    redness = lambda rgb: rgb[0] / rgb[1]
    skin_rgb, lip_rgb = colour(person(), 0.1, -0.73), colour(person(), 0.1, -0.73, lips=1.0)
    assert redness(lip_rgb) > 1.2 * redness(skin_rgb)
    assert brightness(colour(person(), 0.1, -0.73, mouth=1.0)) < 0.5 * brightness(skin_rgb)


def test_lipstick_colours_the_lips_alone_and_by_its_hue():
    nude, plum = (person(lipstick=1.0, lipstick_hue=hue) for hue in (0.0, 1.0))
    assert brightness(colour(plum, 0.1, -0.73, lips=1.0)) < 0.5 * brightness(colour(nude, 0.1, -0.73, lips=1.0))
    np.testing.assert_allclose(colour(plum, 0.3, -0.5), colour(person(), 0.3, -0.5), rtol=1e-5)


def test_brows_are_dark_where_their_factors_put_them():
    values = person(brow_density=1.0)
    middle = float(brows.brow_middle(values, jnp.array([0.3]))[0])
    for x in (-0.3, 0.3):
        assert brightness(colour(values, x, middle)) < 0.5 * brightness(colour(values, x, middle + 0.12))
    raised = float(brows.brow_middle(person(brow_height=0.05), jnp.array([0.3]))[0])
    assert raised - float(brows.brow_middle(person(brow_height=-0.03), jnp.array([0.3]))[0]) == pytest.approx(0.08)
    thin, thick = (person(brow_thickness=t) for t in (0.03, 0.1))
    assert brightness(colour(thick, 0.3, middle + 0.03)) < 0.8 * brightness(colour(thin, 0.3, middle + 0.03))
    short, long = (person(brow_length=t, brow_density=1.0) for t in (0.36, 0.48))
    end = float(brows.brow_middle(long, jnp.array([0.48]))[0])
    assert brightness(colour(long, 0.48, end)) < 0.9 * brightness(colour(short, 0.48, end))


def test_both_halves_of_a_face_are_painted_alike_apart_from_noise():
    """Noise is of mean 0, so it goes with the mean over many people's noise."""
    side = jnp.array([[0.4, -0.35, 0.3], [0.27, -0.11, 0.2], [0.3, 0.2, 0.3], [0.15, -0.03, 0.2], [0.3, 0.5, 0.3]])
    seeds = jnp.linspace(0.0, 1.0, 400)
    values = person(wrinkles=0.5, eyeshadow=1.0, eyeliner=1.0, blush=1.0, freckles=0.5)
    many = {name: jnp.broadcast_to(value, seeds.shape) for name, value in values.items()} | {"skin_seed": seeds}

    def mean(rest):
        one = lambda v: skin.paint_skin(v, COLOURS, rest, no_masks(len(rest)), 0.1).albedo
        return np.asarray(jax.vmap(one)(many).mean(0))

    np.testing.assert_allclose(mean(side), mean(side * jnp.array([-1, 1, 1])), rtol=0.03)


def test_moles_are_where_and_as_large_as_asked():
    values = person(mole_2_x=-0.3, mole_2_y=-0.5, mole_2_size=0.02)
    assert brightness(colour(values, -0.3, -0.5, width=0.02)) < 0.5 * brightness(
        colour(person(), -0.3, -0.5, width=0.02)
    )
    np.testing.assert_allclose(colour(values, 0.3, -0.5), colour(person(), 0.3, -0.5), rtol=1e-5)
    rest = patch(-0.3, -0.5, 0.1, samples=20_000)
    dark = np.asarray(skin.mole_cover(values, rest, 0.001)) > 0.5
    assert dark.mean() * 0.1**2 == pytest.approx(np.pi * 0.02**2, rel=0.1)


@pytest.mark.parametrize("name", ["freckles", "redness", "wrinkles", "blush"])
def test_a_factor_changes_the_face_and_not_the_back_of_the_head(name):
    low, high = (person(**{name: FIELDS[name][end]}) for end in (0, 1))
    face = jnp.concatenate([patch(0.35, -0.3, 0.4), patch(0.0, 0.5, 0.4)])
    back = face * jnp.array([1.0, 1.0, 0.0]) + jnp.array([0.0, 0.0, -1.0])
    change = lambda rest: np.abs(
        paint(high, COLOURS, rest, no_masks(len(rest)), FINE).albedo
        - paint(low, COLOURS, rest, no_masks(len(rest)), FINE).albedo
    ).max()
    assert change(face) > 0.05
    assert change(back) < 1e-4


def test_smiles_and_raised_brows_fold_the_skin():
    fold = lambda values, rest: float(-skin.relief(values, rest, no_masks(len(rest)), 0.02).min())
    cheek, forehead = patch(0.26, -0.56, 0.1), patch(0.0, 0.5, 0.3)
    smiling = person(mouthSmileLeft=1.0)
    assert fold(smiling, cheek) > 2 * fold(person(), cheek)
    assert fold(smiling, cheek * jnp.array([-1.0, 1.0, 1.0])) == pytest.approx(
        fold(person(), cheek * jnp.array([-1.0, 1.0, 1.0]))
    )
    assert fold(person(browInnerUp=1.0), forehead) > 2 * fold(person(), forehead)


@pytest.mark.parametrize(
    ("x", "y", "width", "changes"),
    [
        (0.3, 0.2, 0.30, {"brow_density": 1.0}),
        (0.0, 0.5, 0.30, {"wrinkles": 1.0}),
        (0.3, 0.025, 0.08, {"eyeliner": 1.0, "eyeshadow": 1.0}),
        (-0.3, -0.5, 0.08, {"mole_1_x": -0.3, "mole_1_y": -0.5, "mole_1_size": 0.02}),
    ],
)
def test_coarse_samples_show_the_mean_of_fine_ones(x, y, width, changes):
    """A sample of a 64-pixel picture is .02 dm wide."""
    fine, coarse = (colour(person(**changes), x, y, px, width) for px in (0.001, 0.02))
    plain = colour(person(), x, y, 0.001, width)
    assert np.abs(fine - plain).max() > 0.02
    np.testing.assert_allclose(coarse - plain, fine - plain, atol=0.15 * np.abs(fine - plain).max())


def test_coarse_samples_show_the_mean_of_freckles():
    rest, seeds = patch(0.3, -0.3, 0.3), jnp.linspace(0.0, 1.0, 400)
    many = {name: jnp.broadcast_to(value, seeds.shape) for name, value in person(freckles=0.6).items()}
    cover = lambda px: float(jax.vmap(lambda v: skin.freckle_cover(v, rest, px))(many | {"skin_seed": seeds}).mean())
    assert cover(0.001) > 0.02
    assert cover(0.05) == pytest.approx(cover(0.001), rel=0.05)


def test_people_differ_in_their_blotches_and_change_without_jumps():
    rest, masks = patch(0.4, -0.4, 0.2), no_masks(400)
    albedo = lambda seed: np.asarray(paint(person(skin_seed=seed), COLOURS, rest, masks, FINE).albedo)
    assert np.abs(albedo(0.2) - albedo(0.7)).max() > 0.02
    assert np.abs(albedo(0.2) - albedo(0.2 + 1e-5)).max() < 0.005


def test_nostrils_are_dark_and_the_tip_of_the_nose_is_not():
    at = jnp.array([[0.097, -0.402, 0.297], [-0.097, -0.402, 0.297], [0.0, -0.40, 0.45], [0.16, -0.42, 0.25]])
    np.testing.assert_allclose(skin.nostrils(at), [1.0, 1.0, 0.0, 0.0], atol=1e-6)

"""Backgrounds: their range and statistics, and what each factor does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.synthetic.scenery import (
    FIELDS,
    KINDS,
    SHARES,
    paint_background,
    sample_background,
    surroundings,
)

SIZE = 64


@pytest.fixture(scope="module")
def paint():
    """Pictures [n, SIZE, SIZE, 3] of backgrounds, row by row from the top."""
    at = (np.arange(SIZE) + 0.5) * 2 / SIZE - 1
    x, y = (jnp.asarray(c.ravel(), jnp.float32) for c in np.meshgrid(at, -at))
    draw = jax.jit(lambda vectors: jax.lax.map(lambda v: paint_background(v, x, y, 2 / SIZE), vectors))

    def pictures(vectors) -> np.ndarray:
        vectors = np.asarray(vectors, np.float32)
        rows = np.resize(np.arange(len(vectors)), (64,))  # one compiled shape
        return np.asarray(draw(vectors[rows]))[: len(vectors)].reshape(-1, SIZE, SIZE, 3)

    return pictures


@pytest.fixture(scope="module")
def backgrounds() -> np.ndarray:
    return np.asarray(sample_background(jax.random.key(0), 64))


def plain(**values) -> np.ndarray:
    """A grey wall, [1, background], with some factors changed."""
    factors = dict.fromkeys(FIELDS, 0.0) | {
        **{f"{name}_light": -2.0 for name in ("top", "bottom", "patch", "ground")},
        **{"horizon": -1.6, "noise_size": 3.0, "patch_edge": 1.0, "spot_size": 1.0, "lights_size": 0.1},
        "blur": 0.005,
    }
    return np.array([list((factors | values).values())], np.float32)


def put(vectors: np.ndarray, name: str, value) -> np.ndarray:
    changed = vectors.copy()
    changed[:, list(FIELDS).index(name)] = value
    return changed


def test_pictures_are_in_range_varied_and_the_same_every_time(paint, backgrounds):
    pictures = paint(backgrounds)
    assert pictures.dtype == np.float32 and np.isfinite(pictures).all()
    assert pictures.min() >= 0 and pictures.max() <= 1
    assert np.array_equal(pictures, paint(backgrounds))
    means = pictures.mean((1, 2))
    assert 0.15 < means.mean() < 0.45 and means.mean(1).std() > 0.1
    # Mostly muted: strong colours are rare.
    saturation = np.ptp(means, axis=1) / means.max(1)
    assert np.median(saturation) < 0.35 and saturation.max() > 0.3


def test_samples_have_the_shares_of_their_kinds():
    vectors = np.asarray(sample_background(jax.random.key(1), 4000))
    column = lambda name: vectors[:, list(FIELDS).index(name)]
    assert abs((column("horizon") > -1.59).mean() - SHARES["outdoors"] / sum(SHARES.values())) < 0.02
    assert abs((column("chroma") > 0.1).mean() - SHARES["lights"] / sum(SHARES.values())) < 0.02
    assert np.array_equal(vectors, sample_background(jax.random.key(1), 4000))
    assert not np.array_equal(vectors, sample_background(jax.random.key(2), 4000))


def test_kinds_stay_within_the_ranges_of_the_fields():
    assert set(SHARES) == set(KINDS)
    for ranges in KINDS.values():
        for name, (low, high) in ranges.items():
            assert FIELDS[name][0] <= low <= high <= FIELDS[name][1], name


def test_noise_in_focus_has_the_spectrum_of_natural_images(paint):
    rows = [plain(grain=0.5, noise_size=5.0, noise_x=x, noise_y=y) for x, y in np.random.default_rng(0).random((64, 2))]
    light = np.log(paint(np.concatenate(rows)).mean(-1))
    window = np.hanning(SIZE)[:, None] * np.hanning(SIZE)
    power = np.square(np.abs(np.fft.fft2((light - light.mean((1, 2), keepdims=True)) * window))).mean(0)
    cycles = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(SIZE) * SIZE])).round()
    frequency = np.arange(2, 13)
    mean = [power[cycles == f].mean() for f in frequency]
    slope = np.polyfit(np.log(frequency), np.log(mean), 1)[0]
    assert -2.5 < slope < -1.5


def test_blur_takes_the_fine_detail(paint, backgrounds):
    roughness = lambda pictures: np.abs(np.diff(pictures, axis=2)).mean()
    assert roughness(paint(put(backgrounds, "blur", 0.15))) < 0.5 * roughness(paint(put(backgrounds, "blur", 0.005)))


def test_the_mean_colour_is_that_of_the_picture(paint, backgrounds):
    means = np.asarray(jax.jit(jax.vmap(surroundings))(backgrounds))
    assert np.abs(means - paint(backgrounds).mean((1, 2))).max() < 0.08


def test_gradient_ground_and_colours_are_where_they_are_asked(paint):
    picture = paint(plain(top_light=-1.0, bottom_light=-3.0))[0]
    assert (np.diff(picture[..., 0].mean(1)) <= 0).all() and picture[0].mean() > 2 * picture[-1].mean()
    picture = paint(plain(ground_light=-4.0, horizon=0.0))[0]
    assert np.allclose(picture[:24], picture[0, 0], atol=1e-3)
    assert picture[-1].mean() < 0.5 * picture[0].mean()
    red, green, blue = paint(plain(top_warmth=0.5, bottom_warmth=0.5))[0].mean((0, 1))
    assert red > green > blue
    red, green, blue = paint(plain(top_tint=0.5, bottom_tint=0.5))[0].mean((0, 1))
    assert green > red and np.isclose(red, blue, atol=1e-3)


def test_boxes_lights_patches_and_the_spot_appear_only_if_asked(paint):
    blank = paint(plain())[0]
    assert blank.std() < 1e-4
    asked = {"boxes": {"boxes": 1.0, "boxes_spread": 1.0}, "lights": {"lights": 0.8}, "spot": {"spot": 1.0}}
    asked |= {"patch": {"patch": 1.0, "patch_light": -4.0}, "chroma": {"chroma": 0.2}}
    for name, values in asked.items():
        assert paint(plain(**values))[0].std() > 0.01, name
    lit = paint(plain(lights=0.8))[0]
    assert (lit >= blank - 1e-5).all()


def test_pictures_are_continuous_in_all_but_the_seeds(paint, backgrounds):
    seeds = [i for i, name in enumerate(FIELDS) if name.endswith("seed")]
    width = np.array([high - low for low, high in FIELDS.values()], np.float32)
    step = 1e-4 * width * np.random.default_rng(3).choice([-1, 1], backgrounds.shape).astype(np.float32)
    step[:, seeds] = 0
    assert np.abs(paint(backgrounds + step) - paint(backgrounds)).max() < 0.03


def test_a_batch_paints_like_one_at_a_time(paint, backgrounds):
    at = (np.arange(SIZE) + 0.5) * 2 / SIZE - 1
    x, y = (jnp.asarray(c.ravel(), jnp.float32) for c in np.meshgrid(at, -at))
    batch = jax.jit(jax.vmap(lambda v: paint_background(v, x, y, 2 / SIZE)))(backgrounds[:4])
    assert np.allclose(np.asarray(batch).reshape(-1, SIZE, SIZE, 3), paint(backgrounds[:4]), atol=1e-4)

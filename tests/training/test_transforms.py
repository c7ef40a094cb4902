"""Transformations of images: their strengths, their derivatives, and that an image's draws are its own."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from smoothswap_jax.runtime import sharding
from smoothswap_jax.training import transforms
from smoothswap_jax.training.transforms import OFF, Transform, gaussian_blur, transform, transform_keys

MILD = Transform(shift=1 / 32, blur=0.5, noise=0.08, hole=6 / 32)
ALL = dataclasses.replace(MILD, backdrop=0.5, colour=0.1, scale=0.05)
COUNT = 64


def pictures(count=COUNT, size=32):
    return jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (count, size, size, 3)), jnp.float32)


def keys(count=COUNT, seed=0, step=0):
    return transform_keys(seed, step, (count,))


def single(**strength) -> Transform:
    return dataclasses.replace(OFF, **strength)


# --- strengths ----------------------------------------------------------------------------------------------------


def test_without_strengths_images_are_left_alone():
    images = pictures()
    assert transform(images, keys(), OFF) is images
    assert not OFF.on and not single(blur_sigma=3.0).on
    assert all(single(**{name: 0.1}).on for name in ("backdrop", "colour", "shift", "scale", "blur", "noise", "hole"))


def test_a_shift_by_whole_pixels_moves_rows_and_repeats_the_edge_and_by_half_a_pixel_is_the_mean():
    image = np.random.default_rng(1).normal(size=(8, 8))
    down = transforms._resampling(8, jnp.float32(2 / 8), jnp.float32(1)) @ image
    np.testing.assert_allclose(down, image[[0, 0, 0, 1, 2, 3, 4, 5]], rtol=1e-5, atol=1e-6)
    half = transforms._resampling(8, jnp.float32(-0.5 / 8), jnp.float32(1)) @ image
    np.testing.assert_allclose(half[:-1], (image[:-1] + image[1:]) / 2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [32, 64])
def test_shifts_go_in_all_directions_up_to_a_share_of_the_side(size):
    ramp = jnp.linspace(-1, 1, size)
    both = jnp.stack([*jnp.meshgrid(ramp, ramp, indexing="ij"), jnp.zeros((size, size))], axis=-1)
    moved = transform(jnp.broadcast_to(both, (COUNT, size, size, 3)), keys(), single(shift=1 / 8))
    middle = size // 2
    pixels = (both - moved)[:, middle, middle, :2] * (size - 1) / 2
    assert np.abs(pixels).max() <= size / 8 + 1e-3 and np.abs(pixels).max() > 0.8 * size / 8
    assert pixels.min() < 0 < pixels.max() and np.abs(np.corrcoef(pixels.T)[0, 1]) < 0.4


def test_a_change_of_size_keeps_the_centre_and_moves_the_rest_in_proportion():
    ramp = jnp.broadcast_to(jnp.linspace(-1, 1, 33)[None, :, None], (COUNT, 33, 33, 3))
    seen = transform(ramp, keys(), single(scale=0.2))
    np.testing.assert_allclose(seen[:, :, 16], 0, atol=1e-5)
    factors = ramp[0, 0, 20, 0] / seen[:, 16, 20, 0]
    assert 0.7999 < factors.min() < 0.85 and 1.15 < factors.max() < 1.2001


def test_the_blur_is_a_gaussian_of_which_a_random_share_is_mixed_in():
    spot = jnp.zeros((1, 33, 33, 1)).at[0, 16, 16].set(1.0)
    for sigma in (0.8, 2.0):
        blurred = np.asarray(gaussian_blur(spot, sigma))[0, :, :, 0]
        spread = (blurred.sum(0) * (np.arange(33) - 16.0) ** 2).sum()
        assert blurred.sum() == pytest.approx(1) and spread == pytest.approx(sigma**2, rel=0.1)
    np.testing.assert_allclose(gaussian_blur(jnp.full((2, 8, 8, 3), 0.3), 1.0), 0.3, rtol=1e-6)
    image = pictures(1)
    seen = transform(jnp.repeat(image, COUNT, 0), keys(), single(blur=0.5, blur_sigma=1.0))
    way = gaussian_blur(image, 1.0) - image
    shares = jnp.sum((seen - image) * way, (1, 2, 3)) / jnp.sum(way**2)
    np.testing.assert_allclose(seen, image + shares[:, None, None, None] * way, atol=1e-5)
    assert 0 <= shares.min() < 0.05 and 0.45 < shares.max() <= 0.5


def test_noise_is_gaussian_and_of_random_strength():
    noise = np.asarray(transform(jnp.zeros((COUNT, 32, 32, 3)), keys(), single(noise=0.08)))
    strengths = noise.std((1, 2, 3))
    assert strengths.max() < 0.084 and strengths.min() < 0.01 and strengths.mean() == pytest.approx(0.04, abs=0.008)
    unit = noise / strengths[:, None, None, None]
    assert abs(np.corrcoef(strengths, unit[:, 0, 0, 0])[0, 1]) < 0.4  # strength and pattern are drawn independently
    assert abs(unit.mean()) < 0.01 and (unit**4).mean() == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("size", [32, 64])
def test_a_hole_is_a_square_of_the_mean_wholly_inside(size):
    images = pictures(size=size)
    seen = np.asarray(transform(images, keys(), single(hole=6 / 32)))
    changed, places = np.any(seen != images, axis=-1), set()
    for image, one, where in zip(np.asarray(images), seen, changed, strict=True):
        rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
        assert where.sum() == len(rows) * len(columns) == (6 * size // 32) ** 2
        np.testing.assert_allclose(one[where], np.broadcast_to(image.mean((0, 1)), (where.sum(), 3)), atol=1e-6)
        places.add((rows[0], columns[0]))
    assert len(places) > COUNT / 2


@pytest.mark.parametrize("size", [32, 64])
def test_backdrops_are_exchanged_for_others_about_a_face_that_stays(size):
    images = jnp.zeros((COUNT, size, size, 3))
    seen = np.asarray(transform(images, keys(), single(backdrop=0.5)))
    exchanged = seen.any((1, 2, 3))
    assert 0.3 < exchanged.mean() < 0.7 and np.abs(seen).max() < 1.4
    clouds = seen[exchanged]
    face = slice(round(0.3 * size), round(0.8 * size)), slice(round(0.35 * size), round(0.65 * size))
    assert np.abs(clouds[:, face[0], face[1]]).max() < 0.1
    corners = clouds[:, [0, 0, -1, -1], [0, -1, 0, -1]].reshape(len(clouds), -1)
    assert len(np.unique(corners, axis=0)) == len(clouds) and corners.std() > 0.3
    shares = (np.abs(clouds).max(-1) > 0.05).mean((1, 2))
    assert shares.max() < 0.85 and shares.min() > 0.3 and shares.std() > 0.03


def test_colours_change_by_their_share_and_are_not_clipped():
    white = transform(jnp.ones((COUNT, 4, 4, 3)), keys(), single(colour=0.1))
    assert white.max() > 1.05 and white.min() < 0.95
    assert np.abs(np.asarray(white) - 1).max() < 2 * ((1.1**2) * 1.1 - 1)
    assert len(np.unique(np.asarray(white[0, 0, 0]))) == 3  # each channel by itself


# --- derivatives --------------------------------------------------------------------------------------------------


def test_everything_is_differentiable_under_jit():
    images = pictures(2, 8).astype(jnp.float32)
    check_grads(jax.jit(lambda x: transform(x, keys(2), ALL)), (images,), order=1, modes=("rev",), rtol=2e-2)
    bright = jnp.full((2, 8, 8, 3), 1.5)  # as a generator may give: no gradient is lost there
    whole = dataclasses.replace(ALL, hole=0.0, backdrop=0.0)
    gradient = jax.grad(lambda x: jnp.sum(transform(x, keys(2), whole) ** 2))(bright)
    assert np.all(gradient > 0)


# --- draws --------------------------------------------------------------------------------------------------------


def test_an_image_is_transformed_the_same_alone_in_a_batch_and_on_eight_devices():
    images, how = pictures(16), jax.jit(transform, static_argnums=2)
    whole = how(images, keys(16), ALL)
    np.testing.assert_allclose(how(images[5:6], keys(16)[5:6], ALL), whole[5:6], atol=1e-6)
    mesh = sharding.make_mesh(8)
    step = jax.jit(
        lambda x: transform(x, transform_keys(0, jnp.int32(0), (16,)), ALL), out_shardings=sharding.batched(mesh)
    )
    np.testing.assert_allclose(step(sharding.shard_rows(np.asarray(images), mesh)), whole, atol=1e-5)


def test_images_steps_and_seeds_differ_and_the_networks_get_other_keys():
    image = jnp.repeat(pictures(1), 4, 0)
    seen = [np.asarray(transform(image, keys(4, seed, step), MILD)) for seed, step in ((0, 0), (0, 1), (1, 0))]
    rows = np.concatenate(seen).reshape(12, -1)
    assert len(np.unique(rows, axis=0)) == 12
    data = lambda key: tuple(np.asarray(jax.random.key_data(key)).ravel().tolist())
    init = {data(jax.random.fold_in(jax.random.key(0), stream)) for stream in (0, 1)}
    assert data(jax.random.fold_in(jax.random.key(0), transforms.STREAM)) not in init


def test_switching_one_on_leaves_the_draws_of_the_others():
    image = pictures(4)
    noise = transform(image, keys(4), single(noise=0.08)) - image
    with_colour = single(noise=0.08, colour=0.1)
    coloured = transform(image, keys(4), single(colour=0.1))
    np.testing.assert_allclose(transform(image, keys(4), with_colour) - coloured, noise, atol=1e-5)


def test_numbers_of_any_precision_keep_it():
    for dtype in (jnp.float32, jnp.bfloat16):
        assert transform(pictures(2).astype(dtype), keys(2), ALL).dtype == dtype

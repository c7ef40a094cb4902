"""A face comes out the same alone and among others, on one device and on eight."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.inference.batching import CAPACITY, batch_size, in_steps, tile
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.runtime import sharding
from smoothswap_jax.training.networks import z_shape
from tests import tiny_runs
from tests.inference.random_swapper import faces, make_swapper

DEVICES = (1, 8)


@pytest.fixture(scope="module")
def restored():
    return make_swapper()


@pytest.fixture(scope="module", params=DEVICES)
def swapper(request, restored) -> Swapper:
    return on_devices(restored, request.param)


def on_devices(restored, devices: int, faces_at_once: int = 1) -> Swapper:
    mesh = sharding.make_mesh(devices)
    embed = in_steps(restored.networks.embed, restored.variables["embedder"], mesh, faces_at_once)
    generate = in_steps(restored.networks.generate, restored.variables["generator"], mesh, faces_at_once)
    return Swapper(embed, generate, restored.size)


def one_by_one(swapper: Swapper, targets: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.concatenate([swapper.generate(targets[i : i + 1], z[i : i + 1]) for i in range(len(targets))])


def test_32_faces_in_one_call_have_the_pixels_of_32_calls(swapper):
    sources, targets = faces(32, seed=1), faces(32, seed=2)
    z = swapper.embed(sources)
    np.testing.assert_array_equal(z, np.concatenate([swapper.embed(sources[i : i + 1]) for i in range(32)]))
    swaps = swapper.generate(targets, z)
    assert swaps.dtype == np.uint8 and swaps.shape == targets.shape
    np.testing.assert_array_equal(swaps, one_by_one(swapper, targets, z))
    assert len({image.tobytes() for image in swaps}) == 32
    assert not np.array_equal(swaps, swapper.generate(targets, np.roll(z, 1, axis=0)))


def test_the_number_of_devices_changes_no_pixel(restored):
    targets = faces(5, seed=2)
    one, eight = (on_devices(restored, devices) for devices in DEVICES)
    z = one.embed(faces(5, seed=1))
    np.testing.assert_array_equal(one.generate(targets, z), eight.generate(targets, z))


def test_several_faces_at_once_do_not_see_each_other(restored):
    swapper = on_devices(restored, 2, faces_at_once=3)
    targets, z = faces(8, seed=2), swapper.embed(faces(8, seed=1))
    np.testing.assert_array_equal(swapper.generate(targets, z), one_by_one(swapper, targets, z))
    with pytest.raises(ValueError, match="faces_at_once: found 0; wanted at least 1"):
        on_devices(restored, 1, faces_at_once=0)


@pytest.mark.parametrize("count", [1, 2, CAPACITY * 2, CAPACITY * 2 + 1])
def test_any_number_of_faces_in_order_and_any_tree(count):
    calls = in_steps(
        lambda weights, image, z: {"sum": image * weights["by"] + z[0][:, None], "z": (z[1],)},
        {"by": np.float32(10)},
        sharding.make_mesh(2),
    )
    image = np.arange(count * 3, dtype=np.float32).reshape(count, 3)
    z = (np.arange(count, dtype=np.float32), np.arange(count * 4, dtype=np.int32).reshape(count, 2, 2))
    found = calls(image, z)
    np.testing.assert_array_equal(found["sum"], image * 10 + z[0][:, None])
    np.testing.assert_array_equal(found["z"][0], z[1])
    assert found["z"][0].dtype == np.int32


def test_no_work_is_done_for_faces_that_are_not_there():
    seen = []

    def count(weights, x):
        jax.debug.callback(lambda _: seen.append(1), x)
        return x + weights

    run = in_steps(count, jnp.float32(1), sharding.make_mesh(1))
    np.testing.assert_array_equal(run(np.zeros((3, 2), np.float32)), np.ones((3, 2)))
    jax.effects_barrier()
    assert len(seen) == 3


def test_one_identity_goes_onto_all_targets_and_other_numbers_are_refused(swapper):
    targets, z = faces(3, seed=2), swapper.embed(faces(2, seed=1))
    np.testing.assert_array_equal(swapper.generate(targets, z[:1]), swapper.generate(targets, z[[0, 0, 0]]))
    with pytest.raises(ValueError, match="z: found 2 identities for 3 target faces; wanted one, or one per face"):
        swapper.generate(targets, z)
    with pytest.raises(
        ValueError, match=r"aligned target faces: found uint8 \[3, 16, 8, 3\]; wanted uint8 \[b, 16, 16"
    ):
        swapper.generate(targets[:, :, ::2], z[:1])
    with pytest.raises(ValueError, match=r"aligned source faces: found float32 \[3, 16, 16, 3\]"):
        swapper.embed(targets.astype(np.float32))


def test_batch_size_and_tile_look_at_the_leading_axis_only():
    z = {"a": np.arange(6.0).reshape(1, 2, 3), "b": (np.ones(1),)}
    assert batch_size(z) == 1
    tiled = tile(z, 3)
    assert batch_size(tiled) == 3
    np.testing.assert_array_equal(tiled["a"][2], z["a"][0])
    for wrong in ({"a": np.ones(2), "b": np.ones(3)}, np.float32(1), ()):
        with pytest.raises(ValueError, match="wanted one leading axis, the batch"):
            batch_size(wrong)


def test_an_identity_that_does_not_fit_is_refused_before_anything_runs(swapper, restored):
    checked = dataclasses.replace(
        swapper, identity=z_shape(restored.networks, restored.variables["embedder"], 1, tiny_runs.SIZE)
    )
    images = faces(2)
    z = checked.embed(jnp.asarray(images))  # arrays of JAX are arrays too
    assert checked.generate(images, z).shape == images.shape
    for wrong in (z[:, :5], {"a": z}, (z, z), z[:, :, None]):
        with pytest.raises(ValueError, match=r"^z: found .*; wanted \('b', 8\), as `embed` gives it"):
            checked.generate(images, wrong)
    for wrong in (3, None, (image for image in images)):
        with pytest.raises(ValueError, match=r"source photos: found .*; wanted a photo or a list of photos"):
            checked.embed(wrong)

"""The whole way of a photo through the Swapper, with toy networks in the place of a trained one."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces import photos
from smoothswap_jax.faces.detection.base import Face
from smoothswap_jax.faces.photos import PhotoError, save_photo
from smoothswap_jax.inference.choice import NoFaceError
from smoothswap_jax.inference.files import swap_files
from tests.inference.pixel_swappers import brighten, grain, half_source, marked, pixel_swapper, toy


def test_the_network_sees_batches_in_range():
    def network(source, target):
        for images in (source, target):
            assert images.shape == (1, 64, 64, 3) and images.dtype == np.float32
            assert -1 <= images.min() < -0.3 and 0.3 < images.max() <= 1
        return target

    toy(network).swap(grain(), grain(seed=1))


def test_generate_gives_the_pixels_of_the_network():
    swapper = toy()
    sources, targets = (np.stack([grain(64, 64, seed=seed) for seed in seeds]) for seeds in ((1, 2), (3, 4)))
    mean = (sources.astype(float) + targets) / 2
    found = swapper.generate(targets, swapper.embed(sources))
    assert found.dtype == np.uint8
    assert np.abs(found - mean).max() <= 0.5 + 1e-4


def test_choice_of_target_faces():
    photo = grain()
    swapper = toy(brighten, (50, 60, 1.0), (200, 60, 1.4))

    def changed(which):
        result = swapper.swap(photo, photo, target_face=which)
        return tuple(bool((result[70, x] != photo[70, x]).all()) for x in (50, 200))

    assert changed("largest") == changed(0) == (False, True)
    assert changed(1) == (True, False)
    assert changed("all") == (True, True)
    with pytest.raises(ValueError, match="target face: found 2; wanted 0 to 1"):
        changed(2)
    for wrong in (-1, "both", True, 0.0):
        with pytest.raises(ValueError, match="target face: found"):
            changed(wrong)
    with pytest.raises(ValueError, match="source face: found 'all'"):
        swapper.swap(photo, photo, source_face="all")


def test_no_face_names_the_photo(tmp_path):
    save_photo(tmp_path / "wall.png", grain())
    blind = pixel_swapper(half_source, 32, lambda photo: [])
    with pytest.raises(NoFaceError, match=r"wall\.png: found no face"):
        blind.swap(tmp_path / "wall.png", grain())
    with pytest.raises(NoFaceError, match="source array: found no face"):
        blind.swap(grain(), grain())
    source = toy().read_face(grain())
    with pytest.raises(NoFaceError, match="target image: found no face"):
        pixel_swapper(half_source, 64, lambda photo: []).swap_onto(source, Image.fromarray(grain()))


def test_bad_networks_and_photos():
    photo = grain()
    with pytest.raises(ValueError, match=r"generate_aligned: found shape \[1, 32, 32, 3\]; wanted \[1, 64, 64, 3\]"):
        toy(lambda source, target: target[:, ::2, ::2]).swap(photo, photo)
    with pytest.raises(ValueError, match="generate_aligned: found NaN"):
        toy(lambda source, target: target * np.nan).swap(photo, photo)
    with pytest.raises(PhotoError, match="target array: found float32"):
        toy().swap(photo, photo.astype(np.float32))
    with pytest.raises(ValueError, match="aligned source faces: found"):
        toy().swap_onto(np.zeros((8, 8, 3), np.uint8), photo)
    with pytest.raises(ValueError, match="paste: found 'glue'"):
        toy().swap(photo, photo, paste="glue")


def test_a_face_that_is_not_there_is_named_by_no_parameter_that_was_not_given():
    """`swap` has source_face and target_face, the others face, the command line --target-face."""
    swapper = toy()
    with pytest.raises(ValueError, match="target face: found 7; wanted 0 to 0"):
        swapper.swap_identity(swapper.embed(grain()), grain(), face=7)


def test_a_huge_photo_is_searched_reduced_and_swapped_whole(monkeypatch):
    searched = []

    def detect(photo: np.ndarray) -> list[Face]:
        searched.append(photo.shape)
        scale = photo.shape[1] / 260
        return [face._replace(points=(face.points + 0.5) * scale - 0.5) for face in marked((80, 70, 1.5))(photo)]

    photo, swapper = grain(), pixel_swapper(brighten, 64, detect)
    wanted = swapper.swap(photo, photo)
    monkeypatch.setattr(photos, "MAX_PIXELS", 160 * 260 // 4)
    np.testing.assert_array_equal(swapper.swap(photo, photo), wanted)
    assert searched == [(160, 260, 3)] * 2 + [(80, 130, 3)] * 2


def test_the_limit_of_size_is_the_swappers(tmp_path):
    save_photo(tmp_path / "a.png", grain())
    small = dataclasses.replace(toy(), max_pixels=160 * 260 - 1)
    for pair in ((tmp_path / "a.png", grain()), (grain(), tmp_path / "a.png")):
        with pytest.raises(PhotoError, match="found 260x160 pixels; wanted at most 41,599"):
            small.swap(*pair)
    with pytest.raises(PhotoError, match="max-megapixels"):
        swap_files(small, tmp_path / "a.png", tmp_path / "a.png", tmp_path / "b.png")

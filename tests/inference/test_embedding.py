"""Identities of sources: whose they are, how often they are computed, their means, and those part of the way."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces.photos import PhotoError, load_photo, save_photo
from smoothswap_jax.inference.choice import NoFaceError
from smoothswap_jax.inference.files import swap_files
from smoothswap_jax.inference.identities import mean_identity
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.metrics.smoothness import slerp
from smoothswap_jax.provenance import outputs
from tests.inference.pixel_swappers import grain, half_source, marked, pixel_swapper, toy


def test_the_identity_comes_from_the_chosen_source_face():
    source = np.zeros((160, 260, 3), np.uint8)
    source[:, 130:] = 255
    swapper = pixel_swapper(lambda source, target: source, 32, marked((50, 60, 1.0), (200, 60, 1.4)))
    photo = grain()
    assert swapper.swap(source, photo, paste="pixels")[70, 200].min() > 250
    assert swapper.swap(source, photo, source_face=1, paste="pixels")[70, 200].max() < 5


def counting(swapper: Swapper) -> tuple[Swapper, list[int]]:
    """The swapper, and how many faces each call of its embedder had."""
    calls: list[int] = []

    def embed(source):
        calls.append(len(source))
        return swapper.embed_aligned(source)

    return dataclasses.replace(swapper, embed_aligned=embed), calls


def test_the_source_is_embedded_once_for_all_faces_of_all_targets():
    faces = [(50, 60, 1.0), (200, 60, 1.4), (210, 70, 1.3)]
    swapper, calls = counting(toy(half_source, *faces))
    source, photos = grain(seed=1), [grain(seed=seed) for seed in (2, 3)]
    wanted = [swapper.swap(source, photo, target_face="all") for photo in photos]
    assert calls == [1, 1]
    z = swapper.embed(source)
    for photo, swapped in zip(photos, wanted, strict=True):
        np.testing.assert_array_equal(swapper.swap_identity(z, photo, face="all"), swapped)
    assert calls == [1, 1, 1]
    with pytest.raises(ValueError, match="z: found 2 identities for a photo; wanted one"):
        swapper.swap_identity(swapper.embed(photos), photos[0])


def test_photos_and_aligned_faces_have_the_same_identity(tmp_path):
    swapper, calls = counting(toy())
    photos = [grain(seed=seed) for seed in (1, 2, 3)]
    aligned = np.stack([swapper.read_face(photo) for photo in photos])
    wanted = swapper.embed(aligned)["code"][0]
    assert wanted.shape == (3, 64, 64, 3)
    save_photo(tmp_path / "a.png", photos[0])
    mixed = [tmp_path / "a.png", photos[1], Image.fromarray(photos[2])]
    np.testing.assert_array_equal(swapper.embed(mixed)["code"][0], wanted)
    assert calls == [3, 3]
    for one in (mixed[0], str(mixed[0]), photos[0], Image.fromarray(photos[0])):
        np.testing.assert_array_equal(swapper.embed(one)["code"][0], wanted[:1])
    with pytest.raises(ValueError, match="source photos: found none; wanted at least one"):
        swapper.embed([])


def test_a_bad_target_is_found_before_anything_is_embedded(tmp_path):
    swapper, calls = counting(toy())
    with pytest.raises(PhotoError, match=r"missing\.png"):
        swapper.swap(grain(), tmp_path / "missing.png")
    assert calls == []


def test_strength_goes_from_the_faces_own_identity_to_the_sources():
    """z is of unit norm, and its first number is how bright the swap gets."""

    def embed(faces):
        level = faces.mean(axis=(1, 2, 3)) / 2
        return np.stack([level, np.sqrt(1 - level**2)], axis=1).astype(np.float32)

    made = dataclasses.replace(
        toy(), embed_aligned=embed, generate_aligned=lambda faces, z: 0 * faces + z[:, :1, None, None]
    )
    dark, bright = (np.full((160, 260, 3), level, np.uint8) for level in (20, 230))
    at = lambda strength: int(made.swap(bright, dark, strength=strength)[70, 80, 0])
    z = [embed(photo[None].astype(np.float32) / 127.5 - 1) for photo in (dark, bright)]
    for strength in (0.0, 0.25, 1.0):
        wanted = 127.5 * (1 + slerp(z[0], z[1], strength)[0, 0])
        assert at(strength) == pytest.approx(wanted, abs=1.5)
    assert made.swap_identity(z[1], dark, strength=0.25)[70, 80, 0] == at(0.25)
    for strength in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"strength: found .*; wanted 0, the face's own identity, to 1"):
            at(strength)


def test_several_photos_of_a_person_give_their_mean(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs.Trail, "code", None)  # arrays get no watermark
    sources, target = [grain(seed=seed) for seed in (1, 2)], grain()
    made = toy()
    z = mean_identity(made.embed(sources))
    np.testing.assert_array_equal(made.swap(sources, target), made.swap_identity(z, target))
    for number, source in enumerate(sources):
        save_photo(tmp_path / f"{number}.png", source)
    save_photo(tmp_path / "t.png", target)
    (note,) = swap_files(made, [tmp_path / "0.png", tmp_path / "1.png"], tmp_path / "t.png", tmp_path / "out.png")
    assert note.startswith("the mean of 2 sources was taken")
    np.testing.assert_array_equal(load_photo(tmp_path / "out.png"), made.swap(sources, target))


def test_of_several_photos_the_one_without_a_face_is_named():
    photo = grain()
    seen = iter([toy().detect(photo), []])
    swapper = dataclasses.replace(toy(), detect=lambda _: next(seen))
    with pytest.raises(NoFaceError, match="photo 1 of 3, from 0: source array: found no face"):
        swapper.embed([photo, photo, photo])

"""What covers a face, on drawn faces."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from smoothswap_jax.inference.occlusion import keep_occluders

SKINS = {"pale": (233, 200, 182), "brown": (141, 92, 66), "dark": (70, 44, 34)}


def face(skin: tuple[int, int, int], *covers, size: int = 64) -> np.ndarray:
    """Backdrop, hair, a head with eyes, brows and lips, and `covers`: (shape, box in shares, colour)."""
    parts = [
        ("ellipse", (0.2, 0.08, 0.8, 0.85), (40, 28, 22)),
        ("ellipse", (0.26, 0.18, 0.74, 0.95), skin),
        ("ellipse", (0.32, 0.45, 0.44, 0.49), (245, 245, 245)),
        ("ellipse", (0.56, 0.45, 0.68, 0.49), (245, 245, 245)),
        ("rectangle", (0.31, 0.40, 0.45, 0.42), (40, 28, 22)),
        ("rectangle", (0.55, 0.40, 0.69, 0.42), (40, 28, 22)),
        ("ellipse", (0.41, 0.72, 0.59, 0.78), (165, 60, 65)),
        *covers,
    ]
    image = Image.new("RGB", (4 * size, 4 * size), (90, 110, 130))
    for shape, box, colour in parts:
        getattr(ImageDraw.Draw(image), shape)([4 * size * x for x in box], fill=colour)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


def kept(picture: np.ndarray) -> np.ndarray:
    (weights,) = keep_occluders(picture[None], picture[None])
    assert weights.shape == (64, 64) and weights.min() >= 0 and weights.max() <= 1
    return weights < 0.5


@pytest.mark.parametrize("size", [32, 64, 256])
@pytest.mark.parametrize("skin", SKINS.values(), ids=SKINS)
def test_a_bare_face_is_swapped_as_a_whole(skin, size):
    assert not kept(face(skin, size=size)).any()


@pytest.mark.parametrize("light", [0.8, 1.55])
def test_what_light_makes_of_skin_is_skin(light):
    cheek = tuple(np.rint(light * np.array(SKINS["brown"])).astype(int).tolist())
    assert not kept(face(SKINS["brown"], ("rectangle", (0.5, 0.5, 0.74, 0.7), cheek))).any()


@pytest.mark.parametrize("size", [32, 64, 256])
@pytest.mark.parametrize("skin", SKINS.values(), ids=SKINS)
def test_a_bar_is_kept_and_the_rest_is_swapped(skin, size):
    found = kept(face(skin, ("rectangle", (0.3, 0.55, 0.7, 0.65), (30, 60, 200)), size=size))
    assert found[36:41, 21:43].all()
    assert not found[:30].any() and not found[47:].any()


def test_what_covers_most_of_the_face_is_not_taken_for_its_skin():
    found = kept(face(SKINS["brown"], ("rectangle", (0.3, 0.35, 0.7, 0.85), (240, 240, 238))))
    assert found[25:52, 22:42].all() and not found[:18].any()


def test_eyes_and_lips_are_covered_with_what_covers_skin():
    found = kept(face(SKINS["pale"], ("rectangle", (0.0, 0.43, 1.0, 0.56), (20, 120, 40))))
    assert found[29:34, 18:46].all() and not found[42:].any()


def test_small_marks_and_things_beside_the_face_do_not_count():
    mole = ("ellipse", (0.44, 0.56, 0.51, 0.63), (60, 20, 20))
    lamp = ("rectangle", (0.85, 0.0, 1.0, 1.0), (255, 255, 0))
    assert not kept(face(SKINS["pale"], mole, lamp)).any()


def test_each_face_of_a_batch_is_looked_at_alone():
    bare = face(SKINS["pale"])
    bar = face(SKINS["dark"], ("rectangle", (0.3, 0.55, 0.7, 0.65), (30, 200, 200)))
    both = keep_occluders(np.stack([bare, bar]), np.stack([bare, bare]))
    np.testing.assert_array_equal(both[0], keep_occluders(bare[None], bare[None])[0])
    np.testing.assert_array_equal(both[1], keep_occluders(bar[None], bare[None])[0])

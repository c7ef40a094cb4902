"""Photos of one tone are told from photos in colour, and a change keeps to the tone."""

import io

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces.align import Patch
from smoothswap_jax.faces.tones import in_tone, matched, tint_of
from tests.faces.make_photos import grey_of, picture, sepia_of

QUAD = np.array([[30.0, 20.0], [30.0, 80.0], [90.0, 80.0], [90.0, 20.0]])


def _as_jpeg(rgb: np.ndarray, quality: int = 75) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file).convert("RGB"))


def _grey(rgb: np.ndarray) -> np.ndarray:
    return np.repeat(grey_of(rgb)[:, :, None], 3, axis=2)


def _pink() -> Patch:
    """Pink lips, as a network trained in colour paints them."""
    change = np.broadcast_to(np.float32([60, -10, 20]), (20, 30, 3))
    return Patch(slice(30, 50), slice(40, 70), change)


def test_colour_has_no_tint():
    assert tint_of(picture(), QUAD) is None
    assert tint_of(_as_jpeg(picture()), QUAD) is None


@pytest.mark.parametrize("coded", [lambda rgb: rgb, _as_jpeg])
def test_grey_stays_exactly_grey(coded):
    photo = coded(_grey(picture()))
    tint = tint_of(photo, QUAD)
    assert tint is not None and not tint.any()
    kept = in_tone(photo, _pink(), tint).change
    assert np.ptp(kept, axis=2).max() == 0
    np.testing.assert_allclose(kept, 60 * 0.299 - 10 * 0.587 + 20 * 0.114, atol=1e-3)


@pytest.mark.parametrize("coded", [lambda rgb: rgb, _as_jpeg])
def test_sepia_keeps_to_its_tones(coded):
    photo = coded(sepia_of(picture()))
    tint = tint_of(photo, QUAD)
    assert tint is not None and tint.any()
    patch = in_tone(photo, _pink(), tint)
    new = photo[patch.rows, patch.columns] + patch.change
    brightness = lambda rgb: rgb @ np.float32([0.299, 0.587, 0.114])
    tints = [rgb - brightness(rgb)[:, :, None] for rgb in (new, photo[patch.rows, patch.columns].astype(np.float32))]
    assert np.abs(tints[0] - tints[1]).max() < 8  # it does not turn pink, which is 20 to 50 off


def test_a_date_stamp_in_colour_does_not_make_a_photo_one_in_colour():
    photo = _grey(picture())
    photo[-3:, -8:] = (255, 120, 0)
    assert tint_of(photo, QUAD) is not None


def test_a_flat_photo_has_its_own_colour_as_tone():
    tint = tint_of(np.full((20, 30, 3), (200, 150, 100), np.uint8), QUAD / 4)
    np.testing.assert_allclose(tint, np.broadcast_to(np.float32([200, 150, 100]) - 159.25, (256, 3)), atol=0.1)


def test_a_small_face_in_colour_on_a_grey_wall_is_in_colour():
    photo = np.full((960, 1280, 3), 128, np.uint8)
    photo[20:80, 30:90] = picture()[20:80, 30:90]
    assert tint_of(photo, QUAD) is None
    photo[20:80, 30:90] = _grey(picture())[20:80, 30:90]
    photo[500:] = (200, 30, 90)
    assert tint_of(photo, QUAD) is not None


def test_matched_faces_have_the_tones_of_the_targets_and_the_rest_stays():
    rng = np.random.default_rng(0)
    targets = np.clip(rng.normal(0.2, 0.2, (2, 64, 64, 3)), -1, 1).astype(np.float32)
    swaps = np.clip(rng.normal((-0.4, -0.1, 0.1), 0.15, (2, 64, 64, 3)), -1, 1).astype(np.float32)
    found = matched(targets, swaps)
    face = (slice(None), slice(24, 48), slice(24, 40))
    for of in (np.mean, np.std):
        np.testing.assert_allclose(of(found[face], (1, 2)), of(targets[face], (1, 2)), atol=0.03)
        assert np.abs(of(swaps[face], (1, 2)) - of(targets[face], (1, 2))).max() > 0.04
    swaps[:, :20] = targets[:, :20]
    np.testing.assert_array_equal(matched(targets, swaps)[:, :5], targets[:, :5])
    below = matched(targets, swaps)[:, 60:].mean((1, 2))  # the neck goes with the face
    np.testing.assert_allclose(below, targets[:, 60:].mean((1, 2)), atol=0.15)
    np.testing.assert_allclose(matched(targets, targets), targets, atol=1e-5)
    # A flat face is not stretched without end.
    assert np.abs(matched(targets, swaps * 0.01)).max() <= np.abs(targets).max() + 1

"""What becomes of the photo around and under a swap."""

import dataclasses

import numpy as np
import pytest

from smoothswap_jax.faces.align import ffhq_quad, paste_mask
from tests.inference.pixel_swappers import brighten, grain, marked, toy


@pytest.mark.parametrize("size", [16, 64, 300])
def test_a_network_that_changes_nothing_returns_the_photo(size):
    photo = grain()
    result = toy(lambda source, target: target, (80, 70, 1.5), size=size).swap(grain(seed=1), photo)
    np.testing.assert_array_equal(result, photo)
    assert result is not photo


@pytest.mark.parametrize("paste", ["change", "pixels"])
def test_only_the_quad_changes(paste):
    photo = grain()
    before = photo.copy()
    result = toy(brighten).swap(grain(seed=1), photo, paste=paste)
    np.testing.assert_array_equal(photo, before)
    rows, columns, weights = paste_mask(photo.shape, ffhq_quad(marked((80, 70, 1.5))(photo)[0].points))
    touched = np.zeros(photo.shape[:2], bool)
    touched[rows, columns] = weights > 0
    np.testing.assert_array_equal(result[~touched], photo[~touched])
    assert (result[touched] != photo[touched]).mean() > 0.5


@pytest.mark.parametrize("paste", ["change", "pixels"])
def test_what_a_mask_covers_stays(paste):
    seen = []

    def left_half(targets, swaps):
        seen.append((targets.shape, targets.dtype, swaps.mean() > targets.mean()))
        return np.broadcast_to(np.arange(40) < 20, (len(targets), 40, 40))

    photo = grain()
    whole = toy(brighten).swap(photo, photo, paste=paste)
    half = dataclasses.replace(toy(brighten), mask=left_half).swap(photo, photo, paste=paste)
    assert seen == [((1, 64, 64, 3), np.uint8, True)]
    np.testing.assert_array_equal(half[:, 90:], photo[:, 90:])  # the middle of the square is at 80
    np.testing.assert_array_equal(half[:, :75], whole[:, :75])
    assert (whole[:, 90:] != photo[:, 90:]).any()
    for bad, said in (
        (np.zeros((1, 3, 4)), r"mask: found shape \[1, 3, 4\]"),
        (np.full((1, 4, 4), np.nan), "mask: found NaN"),
    ):
        with pytest.raises(ValueError, match=said):
            dataclasses.replace(toy(brighten), mask=lambda *_, bad=bad: bad).swap(photo, photo)


def test_change_keeps_grain_and_pixels_replace_it():
    photo = grain()
    inside = (slice(60, 90), slice(70, 95))
    kept = toy(brighten, size=24).swap(photo, photo).astype(int)[inside] - photo[inside]
    np.testing.assert_array_equal(kept, 51)  # 0.4 of 127.5
    replaced = toy(brighten, size=24).swap(photo, photo, paste="pixels")[inside]
    assert replaced.std() < 0.6 * photo[inside].std()


@pytest.mark.parametrize("paste", ["change", "pixels"])
def test_values_out_of_range_are_clipped(paste):
    photo = np.full((160, 260, 3), 100, np.uint8)
    result = toy(lambda source, target: target + 50).swap(photo, photo, paste=paste)
    assert result.max() == 255 and result[70, 80].min() == 255 and result[0, 0, 0] == 100

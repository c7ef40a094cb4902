"""Grey photos stay grey, and the tones of a face are the target's where asked."""

from pathlib import Path

import numpy as np
import pytest

from smoothswap_jax.faces.photos import load_photo, save_photo
from smoothswap_jax.inference.files import swap_files
from tests.faces import make_photos as made
from tests.inference.pixel_swappers import grain, toy


def redden(source, target):
    """What a network trained in colour does to grey faces: pink lips, brown skin."""
    return np.clip(target + np.float32([0.5, 0.1, -0.2]), -1, 1)


def chroma_spread(path: Path) -> int:
    """The largest difference between the channels of a pixel."""
    photo = load_photo(path).astype(int)
    return int((photo.max(2) - photo.min(2)).max())


@pytest.mark.parametrize("paste", ["change", "pixels"])
@pytest.mark.parametrize("draw", [made.grey, made.grey_in_rgb, made.deep_grey])
def test_grey_targets_stay_grey_unless_told(tmp_path, draw, paste):
    save_photo(tmp_path / "source.png", grain(seed=1))
    (tmp_path / "target").write_bytes(draw(made.picture(160, 260)))
    files = tmp_path / "source.png", tmp_path / "target", tmp_path / "swap.png"
    notes = swap_files(toy(redden), *files, paste=paste)
    assert len(notes) == 1 and "--color=free" in notes[0]
    assert chroma_spread(tmp_path / "swap.png") == chroma_spread(tmp_path / "target") == 0
    assert np.abs(load_photo(files[2]).astype(int) - load_photo(files[1])).max() > 10
    assert swap_files(toy(redden), *files, paste=paste, color="free", overwrite=True) == ()
    assert chroma_spread(tmp_path / "swap.png") > 60


def test_the_tones_of_a_face_in_colour_are_those_of_the_target_where_asked():
    """In grey photos, too, where there is no colour to match."""
    target = grain().copy()
    target[..., 2] //= 2
    off = lambda **how: np.abs(toy(redden).swap(grain(seed=1), target, **how).astype(float) - target).max()
    assert off() > 60 and off(color="match") < 5
    grey = np.repeat(grain()[:, :, :1], 3, axis=2)
    assert np.ptp(toy(redden).swap(grain(seed=1), grey, color="match"), axis=2).max() == 0
    with pytest.raises(ValueError, match="color: found True; wanted one of keep, match, free"):
        toy().swap(grain(), grain(), color=True)


def test_arrays_in_grey_stay_grey_too():
    grey = np.repeat(grain()[:, :, :1], 3, axis=2)
    assert np.ptp(toy(redden).swap(grain(seed=1), grey), axis=2).max() == 0
    assert np.ptp(toy(redden).swap(grain(seed=1), grey, color="free"), axis=2).max() > 60

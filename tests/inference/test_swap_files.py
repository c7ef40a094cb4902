"""From files to a file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces.align import ffhq_quad, paste_mask
from smoothswap_jax.faces.original import read_original
from smoothswap_jax.faces.photos import PhotoError, load_photo, save_photo
from smoothswap_jax.inference.files import swap_files
from smoothswap_jax.provenance import outputs
from tests.faces import make_photos as made
from tests.faces.make_videos import frames_of, write_animation
from tests.inference.pixel_swappers import brighten, grain, marked, toy


def test_files_arrays_and_pillow_images_agree(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs.Trail, "code", None)  # arrays get no watermark
    source, target = grain(seed=1), grain()
    save_photo(tmp_path / "source.png", source)
    save_photo(tmp_path / "target.png", target)
    wanted = toy().swap(source, target)
    np.testing.assert_array_equal(toy().swap(Image.fromarray(source), Image.fromarray(target)), wanted)
    swap_files(toy(), tmp_path / "source.png", tmp_path / "target.png", tmp_path / "swap.png", target_face="all")
    np.testing.assert_array_equal(load_photo(tmp_path / "swap.png"), wanted)


def test_an_output_that_exists_is_kept_unless_it_may_be_overwritten(tmp_path):
    for name in ("source.png", "target.png"):
        Image.fromarray(grain()).save(tmp_path / name)
    (tmp_path / "swap.png").write_text("old")
    paths = [tmp_path / name for name in ("source.png", "target.png", "swap.png")]
    with pytest.raises(FileExistsError, match=r"swap.png: exists already; wanted another name, or --overwrite"):
        swap_files(toy(), *paths)
    assert paths[2].read_text() == "old"
    swap_files(toy(), *paths, overwrite=True)
    assert Image.open(paths[2]).size == (260, 160)


def test_swap_files_checks_the_output_before_any_work(tmp_path):
    def never(source, target):
        raise AssertionError("worked before it looked at the output's name")

    for name in ("source.png", "target.png"):
        save_photo(tmp_path / name, grain())
    paths = tmp_path / "source.png", tmp_path / "target.png"
    with pytest.raises(PhotoError, match="wanted a name that ends in"):
        swap_files(toy(never), *paths, tmp_path / "swap.gif")
    for path in paths:
        with pytest.raises(PhotoError, match="found the output to be an input photo"):
            swap_files(toy(never), *paths, path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.png", "target.png"]


@pytest.mark.parametrize("moving", ["source", "target"])
def test_of_pictures_that_move_it_says_that_the_first_was_used(moving, tmp_path):
    files = {name: tmp_path / f"{name}.gif" for name in ("source", "target")}
    for name, path in files.items():
        write_animation(path, frames_of(2 if name == moving else 1, 260, 160))
    (said,) = swap_files(toy(), *files.values(), tmp_path / "swap.png")
    assert "pictures; the first was taken" in said and ("source.gif" in said) == (moving == "source")


@pytest.mark.parametrize(
    "name", ["alpha.png", "alpha.webp", "p3.png", "16-bit.png", "16-bit-alpha.png", "turned-6.jpg"]
)
def test_files_stay_what_they_were(tmp_path, name):
    """All of it in `tests/faces/test_original.py`; here, that swapping files goes that way."""
    pytest.importorskip("cv2")
    save_photo(tmp_path / "source.png", grain(seed=1))
    (tmp_path / name).write_bytes(made.KINDS[name](made.picture(160, 260)))
    output = tmp_path / f"swap{Path(name).suffix}"
    assert swap_files(toy(brighten), tmp_path / "source.png", tmp_path / name, output) == ()
    before, after = read_original(tmp_path / name), read_original(output)
    assert (after.space, after.alpha, after.values.dtype) == (before.space, before.alpha, before.values.dtype)
    assert after.metadata.dpi == before.metadata.dpi  # the rest: tests/provenance/test_outputs.py
    if name.endswith(("png", "webp")):
        rows, columns, weights = paste_mask(
            before.photo.shape, ffhq_quad(marked((80, 70, 1.5))(before.photo)[0].points)
        )
        outside = np.ones(before.photo.shape[:2], bool)
        outside[rows, columns] = weights == 0
        np.testing.assert_array_equal(after.values[outside], before.values[outside])
        assert (after.values != before.values).any()

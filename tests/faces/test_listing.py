"""Photos of a folder are told by their content; whatever else is there is named, not lost."""

from pathlib import Path

import pytest
from PIL import Image

from smoothswap_jax.faces import listing
from smoothswap_jax.faces.listing import is_photo, passed_over, photos_in
from tests.faces.make_videos import frames_of, write_animation

HEIC_START = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf"


@pytest.fixture
def album(tmp_path) -> Path:
    picture = Image.fromarray(frames_of(1)[0])
    for name, form in (("b.tif", "TIFF"), ("c", "JPEG"), ("a.mp4", "PNG"), ("e.JPG", "JPEG"), (".hidden", "PNG")):
        picture.save(tmp_path / name, form)
    (tmp_path / "d.HEIC").write_bytes(HEIC_START + bytes(99))
    (tmp_path / "damaged.png").write_bytes(b"rubbish")
    (tmp_path / "._e.jpg").write_bytes(b"what macOS leaves on other disks")
    (tmp_path / "notes.txt").write_text("none")
    write_animation(tmp_path / "moves.gif", frames_of(3))
    (tmp_path / "deeper").mkdir()
    picture.save(tmp_path / "deeper" / "f.png")
    return tmp_path


def test_photos_are_listed_by_content_in_the_order_of_their_names(album):
    found = photos_in(album)
    assert [path.name for path in found.photos] == [
        *("._e.jpg", "a.mp4", "b.tif", "c", "d.HEIC", "damaged.png", "e.JPG")
    ]
    assert [path.name for path in found.others] == ["deeper", "moves.gif", "notes.txt"]


def test_files_that_are_named_like_photos_are_not_opened(album, monkeypatch):
    opened = []
    monkeypatch.setattr(listing, "kind_of", lambda path: opened.append(Path(path).name) or "unknown")
    photos_in(album)
    assert sorted(opened) == ["a.mp4", "b.tif", "c", "d.HEIC", "deeper", "moves.gif", "notes.txt"]
    opened.clear()
    assert is_photo(album / "e.JPG") and not is_photo(album / "c") and opened == ["c"]


def test_what_is_passed_over_is_counted_and_the_first_are_named(album):
    others = photos_in(album).others
    assert passed_over(others, album) == (
        "3 files and folders are passed over, because they are no photos: deeper, moves.gif, notes.txt"
    )
    assert passed_over([*others, album / "deeper" / "x"], album).endswith("deeper, moves.gif, notes.txt and 1 more")
    assert passed_over([], album) == ""

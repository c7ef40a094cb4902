"""Where faces come from: what a config must name, and which files of a folder are read."""

import dataclasses
import io
import sys

import numpy as np
import pytest
from PIL import Image, features

from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.config.load import load_config
from smoothswap_jax.config.parse import parse
from smoothswap_jax.data import pipeline
from smoothswap_jax.data.augment import Augmentation
from smoothswap_jax.data.dataset import DataError, decode
from smoothswap_jax.data.reader import in_memory
from smoothswap_jax.data.sources import KINDS, from_folder, load_faces, missing_dir
from smoothswap_jax.runtime import sharding
from tests.faces import make_photos as made
from tests.tiny_runs import SIZE, make_people


@pytest.mark.parametrize("kind, content", [("folder", "DIR/<person>/<photo> of"), ("prepared", "that `smoothswap")])
def test_a_kind_that_needs_a_folder_asks_for_it(kind, content):
    data = dataclasses.replace(parse(load_config("swapper:tiny32", [])).data, kind=kind, dir=None)
    with pytest.raises(ConfigError, match=rf"config\.data\.dir is not set, wanted a folder {content}.*kind '{kind}'$"):
        load_faces(data, "train")
    assert missing_dir(dataclasses.replace(data, dir="album")) == ""


def test_the_other_kinds_need_none():
    data = parse(load_config("swapper:tiny32", [])).data
    for kind in set(KINDS) - {"folder", "prepared"}:
        assert missing_dir(dataclasses.replace(data, kind=kind, dir=None)) == ""


# --- a folder of photos ---------------------------------------------------------------------------------------------


def stored(rgb, form, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, form, **options)
    return file.getvalue()


FORMATS = {
    "TIFF": lambda rgb: stored(rgb, "TIFF"),
    "TIFF of 16 bits": lambda rgb: made.deep_grey(rgb, "TIFF"),
    "BMP": lambda rgb: stored(rgb, "BMP"),
    "GIF": lambda rgb: stored(rgb, "GIF"),
    "AVIF": lambda rgb: stored(rgb, "AVIF", quality=95),
    "HEIC": made.heic,
}


@pytest.mark.parametrize("form", FORMATS)
def test_photos_of_any_format_and_name_are_read_alike_by_both_feeds(form, tmp_path):
    if form == "HEIC":
        pytest.importorskip("pillow_heif")
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("needs a Pillow with AVIF")
    root, rgb = make_people(tmp_path, people=6, photos=1), made.picture(SIZE, SIZE)
    for person in range(6):
        (root / f"person{person}" / "0.png").unlink()
        (root / f"person{person}" / "DSC_0001").write_bytes(FORMATS[form](rgb))
    faces = from_folder(root, "train", SIZE, 2)
    assert faces.files == [f"{person}/DSC_0001" for person in faces.people] and len(faces) == 4
    (shown,) = np.unique(in_memory(faces)[0].images, axis=0)
    wanted = rgb[:, :, 1:2] if "16" in form else rgb
    assert np.abs(shown.astype(int) - wanted).mean() < (12 if form == "GIF" else 4)
    sampler, still, mesh = pipeline.PairSampler(0, 4, 1), Augmentation(flip=False), sharding.make_mesh(1)
    batches = [feed(faces, sampler, still, mesh, 0) for feed in (pipeline.memory_batches, pipeline.tf_batches)]
    ours, theirs = (next(each) for each in batches)
    np.testing.assert_array_equal(ours["source"], theirs["source"])
    for each in batches:
        each.close()


def test_a_folder_of_jpeg_and_png_is_listed_as_it_always_was(tmp_path):
    """Runs are resumed only with as many examples, and a step draws them by their numbers."""
    root = make_people(tmp_path, people=5, photos=3)
    (root / "person1" / "2.png").rename(root / "person1" / "A.PNG")
    (root / "person1" / "10.jpg").write_bytes(b"damaged")
    (root / "person1" / "._10.jpg").write_bytes(b"of macOS")
    (root / "person1" / "9.webp").write_bytes(b"damaged")
    faces = from_folder(root, "train", SIZE, 0)
    by_suffix = [
        f"{person.name}/{path.name}"
        for person in sorted(root.iterdir())
        for path in sorted(person.iterdir())
        if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp")
    ]
    assert faces.files == by_suffix and len(by_suffix) == 5 * 3 + 3


def test_what_is_passed_over_is_said_once(tmp_path, caplog):
    root = make_people(tmp_path, people=5, photos=1)
    for split in ("train", "test"):
        from_folder(root, split, SIZE, 2)
    assert not caplog.text
    for person in range(5):
        (root / f"person{person}" / "notes.txt").write_text("none")
    (root / "person2" / "more").mkdir()
    found = {split: from_folder(root, split, SIZE, 2) for split in ("train", "test")}
    assert len(found["train"]) == 3 and len(found["test"]) == 2
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{root}: 6 files and folders are passed over, because they are no photos: "
        "person0/notes.txt, person1/notes.txt, person2/more and 3 more"
    )


def test_a_photo_of_absurd_size_or_without_its_package_is_told(monkeypatch):
    bomb = stored(np.zeros((8, 8, 3), np.uint8), "BMP")
    bomb = bomb[:18] + (60_000).to_bytes(4, "little") + (60_000).to_bytes(4, "little") + bomb[26:]
    with pytest.raises(DataError, match=r"a/1: found 60000x60000 pixels; wanted an aligned face"):
        decode(bomb, 8, "a/1")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DataError, match=r'a/1: found a HEIC photo; .*"smoothswap-jax\[heic\]"'):
        decode(b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(99), 8, "a/1")

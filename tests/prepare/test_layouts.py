"""Miniature trees of people and of loose photos: what is listed, in which order, what is left out and why; and how the
layout is told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from smoothswap_jax.prepare.entries import MediaFile
from smoothswap_jax.prepare.layouts import LAYOUTS, list_source
from tests.prepare.listings import PERSONS, gates_of, items_of, make_tree

# --- people and flat --------------------------------------------------------------------------------------


def test_people_are_listed_in_order_with_an_answer_for_every_file(tmp_path: Path) -> None:
    files = [
        "zoë/2.jpg",
        "zoë/10.JPG",
        "zoë/1.heic",
        "李/写真.png",
        "anna/clip.MP4",
        "anna/noext",
        "anna/deep/er/x.jpg",
    ]
    files += ["loose.jpg", "anna/notes.txt", ".hidden/x.jpg", "anna/.DS_Store", "anna/deep/.x.jpg"]
    listing = list_source(make_tree(tmp_path, files))
    assert (listing.layout, listing.several) == ("people", "largest")
    assert items_of(listing) == [
        MediaFile("anna/clip.MP4", "anna", video=True),
        MediaFile("anna/noext", "anna"),
        MediaFile("zoë/1.heic", "zoë"),
        MediaFile("zoë/10.JPG", "zoë"),
        MediaFile("zoë/2.jpg", "zoë"),
        MediaFile("李/写真.png", "李"),
    ]
    assert gates_of(listing) == {
        "anna/deep/er/x.jpg": "misplaced",
        "anna/notes.txt": "unreadable",
        "loose.jpg": "misplaced",
    }


def test_flat_makes_each_photo_a_person(tmp_path: Path) -> None:
    root = make_tree(tmp_path, ["b.jpg", "a.jpg", "a.png", "c.mov", "x.txt"])
    assert list_source(root).layout == "flat"
    listing = list_source(make_tree(root, ["sub/d.jpg"]), "flat")
    assert [item.identity for item in items_of(listing)] == ["a.jpg", "a.png", "b.jpg", "c.mov"]
    assert [item.file for item in items_of(listing) if item.video] == ["c.mov"]
    assert gates_of(listing) == {"sub/d.jpg": "misplaced", "x.txt": "unreadable"}


def test_videos_are_told_by_their_content_and_only_then_by_their_names(tmp_path: Path) -> None:
    jpeg, mp4, gif = b"\xff\xd8\xff\xe0" + bytes(60), b"\0\0\0\x20ftypisom" + bytes(60), b"GIF89a" + bytes(60)
    files = {"a.mp4": jpeg, "b.jpg": mp4, "c": mp4, "d": jpeg, "e.mp4": bytes(64), "f.jpg": bytes(64), "g.gif": gif}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert [item.file for item in items_of(list_source(tmp_path)) if item.video] == ["b.jpg", "c", "e.mp4"]


def test_names_that_are_not_utf8_keep_their_bytes(tmp_path: Path) -> None:
    root = make_tree(tmp_path, ["p/a.jpg"])
    try:
        Path(os.fsdecode(os.fsencode(root / "p") + b"/\xff.jpg")).touch()
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    names = [os.fsencode(item.file) for item in items_of(list_source(root))]
    assert names == [b"p/a.jpg", b"p/\xff.jpg"]


def test_links_are_followed_to_a_person_and_no_deeper(tmp_path: Path) -> None:
    elsewhere = make_tree(tmp_path / "elsewhere", ["1.jpg", "deep/2.jpg"])
    root = make_tree(tmp_path / "root", ["anna/1.jpg", ".store/cleo/3.jpg"])
    for name, target in {
        "bert": elsewhere,
        "cleo": root / ".store/cleo",  # found through the link only
        "again": root / "anna",
        "loop": root,
        "up": tmp_path,
        "itself": root / "itself",
        "anna/album": elsewhere,
        "anna/loop": root / "anna",
        "anna/dead.jpg": root / "nowhere",
        "anna/linked.jpg": elsewhere / "1.jpg",
    }.items():
        (root / name).symlink_to(target)
    listing = list_source(root, "people")
    assert [item.file for item in items_of(listing)] == ["anna/1.jpg", "anna/linked.jpg", "bert/1.jpg", "cleo/3.jpg"]
    assert gates_of(listing) == {
        "again": "misplaced",
        "loop": "misplaced",
        "up": "misplaced",
        "itself": "misplaced",
        "anna/album": "misplaced",
        "anna/loop": "misplaced",
        "anna/dead.jpg": "unreadable",
        "bert/deep/2.jpg": "misplaced",
    }


def test_a_pipe_and_a_closed_folder_are_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tree(tmp_path, ["anna/1.jpg", "closed/1.jpg"])
    os.mkfifo(root / "anna/pipe.jpg")
    scandir = os.scandir

    def refusing(path: str) -> object:  # not chmod, which does not stop root
        if os.path.basename(path) == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    listing = list_source(root)
    assert [item.file for item in items_of(listing)] == ["anna/1.jpg"]
    assert gates_of(listing) == {"anna/pipe.jpg": "unreadable", "closed": "unreadable"}


def test_a_walk_is_lazy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tree(tmp_path, [f"{person}/1.jpg" for person in "abcdef"])
    walk = list_source(root).entries()
    looked = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looked.append(os.path.basename(path)) or scandir(path))
    next(walk)
    assert [name for name in looked if name in [*"abcdef"]] == ["a"]


def test_folders_nested_deeper_than_calls_may_be(tmp_path: Path) -> None:
    root = make_tree(tmp_path, ["anna/1.jpg"])
    at = os.open(root / "anna", os.O_RDONLY)
    for _ in range(1500):  # step by step: the whole path is near the system's limit
        os.mkdir("d", dir_fd=at)
        inner = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(os.open("x.jpg", os.O_CREAT, dir_fd=at))
    os.close(at)
    try:
        assert list(gates_of(list_source(root))) == ["anna/" + "d/" * 1500 + "x.jpg"]
    finally:
        subprocess.run(["rm", "-rf", str(root / "anna")], check=True)  # pytest's own cleanup recurses too deeply


# --- telling the layout, and errors -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "layout"),
    [
        (PERSONS, "vggface2"),
        (["data/" + PERSONS[0]], "vggface2"),
        (["data/n000002/0001_01.jpg"], "vggface2"),
        (["vggface2_train/" + PERSONS[0]], "vggface2"),
        (["images1024x1024/00000/00000.png"], "ffhq"),
        (["thumbnails128x128/00000.png", "LICENSE.txt"], "ffhq"),
        (["in-the-wild-images/00000/00000.png"], "ffhq"),
        (["img_celeba/000001.jpg", "identity_CelebA.txt"], "celeba"),
        (["Img/img_align_celeba/000001.jpg", "Anno/identity_CelebA.txt"], "celeba"),
        (["celeba/img_align_celeba/000001.jpg", "celeba/identity_CelebA.txt"], "celeba"),
        (["original_sequences/youtube/c23/videos/000.mp4"], "faceforensics"),
        (["manipulated_sequences/Face2Face/raw/videos/000_003.mp4"], "faceforensics"),
        (["anna/1.jpg", "bert/1.jpg"], "people"),
        (["loose.jpg", "bert/1.jpg"], "people"),
        (["train/anna.jpg", "test/bert.jpg"], "people"),
        (["1.jpg", "2.jpg", ".hidden/x"], "flat"),
    ],
)
def test_auto(tmp_path: Path, files: list[str], layout: str) -> None:
    assert layout in LAYOUTS
    assert list_source(make_tree(tmp_path, files)).layout == layout
    assert list_source(tmp_path, layout).layout == layout


@pytest.mark.parametrize(
    ("files", "layout", "texts"),
    [
        ([], "auto", ["found nothing in it"]),
        ([".hidden/x.jpg"], "people", ["found nothing in it"]),
        (["a/b/1.jpg"], "auto", ["found a, no files in its folders", "people: a folder"]),
        (["loose.jpg", "a/b/1.jpg"], "auto", ["a, loose.jpg"]),
        (["1.jpg"], "people", ["found 1.jpg", "<person>/<photo>"]),
        (["a/1.jpg"], "flat", ["found a", "wanted photos"]),
        (["a/1.jpg"], "vggface2", ["train/n000002"]),
        (["train/anna/1.jpg"], "vggface2", ["train/n000002"]),
        (["a/1.jpg"], "ffhq", ["images1024x1024"]),
        (["a/1.jpg"], "celeba", ["img_celeba"]),
        (["original_sequences/x/1.jpg"], "faceforensics", ["original_sequences/youtube"]),
        (["img_celeba/000001.jpg"], "auto", ["identity_CelebA.txt", "Anno/"]),
        (["vggface2_train.tar.gz"], "auto", ["vggface2_train.tar.gz", "extract it first"]),
        (["vggface2_train.tar.gz", PERSONS[1]], "vggface2", ["vggface2_train.tar.gz", "extract it first"]),
        (["a/1.jpg"], "vgg", ["found 'vgg'", "vggface2"]),
    ],
)
def test_errors_name_the_folder_and_what_is_wanted(
    tmp_path: Path, files: list[str], layout: str, texts: list[str]
) -> None:
    with pytest.raises(ValueError) as error:
        list_source(make_tree(tmp_path, files), layout)
    for text in [*texts, "layout: found" if layout == "vgg" else str(tmp_path), "wanted"]:
        assert text in str(error.value)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere: found no such folder"):
        list_source(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"photo\.jpg: found a file"):
        list_source(make_tree(tmp_path, ["photo.jpg"]) / "photo.jpg")

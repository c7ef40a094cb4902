"""Miniature trees of every layout: what is listed, for which split, in which order, and what is left out and why."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from smoothswap_jax.prepare.entries import GATES, MediaFile, Rejected
from smoothswap_jax.prepare.layouts import LAYOUTS, Listing, list_source


def _tree(root: Path, files: Iterable[str]) -> Path:
    """Empty files."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _entries(listing: Listing) -> list[MediaFile | Rejected]:
    """All entries; checks what holds for every listing: reproducible, no file twice, identities consecutive."""
    entries = list(listing.entries())
    assert list(listing.entries()) == entries
    assert max(Counter(entry.file for entry in entries).values(), default=1) == 1
    assert all(entry.gate in GATES for entry in entries if isinstance(entry, Rejected))
    order = [entry.identity for entry in entries if isinstance(entry, MediaFile)]
    changes = [here for here, before in zip(order, [None, *order], strict=False) if here != before]
    assert len(changes) == len(set(changes))
    return entries


def _items(listing: Listing) -> list[MediaFile]:
    return [entry for entry in _entries(listing) if isinstance(entry, MediaFile)]


def _gates(listing: Listing) -> dict[str, str]:
    return {entry.file: entry.gate for entry in _entries(listing) if isinstance(entry, Rejected)}


def _splits(listing: Listing) -> dict[str, str | None]:
    return {item.file: item.split for item in _items(listing)}


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
    listing = list_source(_tree(tmp_path, files))
    assert (listing.layout, listing.several) == ("people", "largest")
    assert _items(listing) == [
        MediaFile("anna/clip.MP4", "anna", video=True),
        MediaFile("anna/noext", "anna"),
        MediaFile("zoë/1.heic", "zoë"),
        MediaFile("zoë/10.JPG", "zoë"),
        MediaFile("zoë/2.jpg", "zoë"),
        MediaFile("李/写真.png", "李"),
    ]
    assert _gates(listing) == {
        "anna/deep/er/x.jpg": "misplaced",
        "anna/notes.txt": "unreadable",
        "loose.jpg": "misplaced",
    }


def test_flat_makes_each_photo_a_person(tmp_path: Path) -> None:
    root = _tree(tmp_path, ["b.jpg", "a.jpg", "a.png", "c.mov", "x.txt"])
    assert list_source(root).layout == "flat"
    listing = list_source(_tree(root, ["sub/d.jpg"]), "flat")
    assert [item.identity for item in _items(listing)] == ["a.jpg", "a.png", "b.jpg", "c.mov"]
    assert [item.file for item in _items(listing) if item.video] == ["c.mov"]
    assert _gates(listing) == {"sub/d.jpg": "misplaced", "x.txt": "unreadable"}


def test_videos_are_told_by_their_content_and_only_then_by_their_names(tmp_path: Path) -> None:
    jpeg, mp4, gif = b"\xff\xd8\xff\xe0" + bytes(60), b"\0\0\0\x20ftypisom" + bytes(60), b"GIF89a" + bytes(60)
    files = {"a.mp4": jpeg, "b.jpg": mp4, "c": mp4, "d": jpeg, "e.mp4": bytes(64), "f.jpg": bytes(64), "g.gif": gif}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert [item.file for item in _items(list_source(tmp_path)) if item.video] == ["b.jpg", "c", "e.mp4"]


def test_names_that_are_not_utf8_keep_their_bytes(tmp_path: Path) -> None:
    root = _tree(tmp_path, ["p/a.jpg"])
    try:
        Path(os.fsdecode(os.fsencode(root / "p") + b"/\xff.jpg")).touch()
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    names = [os.fsencode(item.file) for item in _items(list_source(root))]
    assert names == [b"p/a.jpg", b"p/\xff.jpg"]


def test_links_are_followed_to_a_person_and_no_deeper(tmp_path: Path) -> None:
    elsewhere = _tree(tmp_path / "elsewhere", ["1.jpg", "deep/2.jpg"])
    root = _tree(tmp_path / "root", ["anna/1.jpg", ".store/cleo/3.jpg"])
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
    assert [item.file for item in _items(listing)] == ["anna/1.jpg", "anna/linked.jpg", "bert/1.jpg", "cleo/3.jpg"]
    assert _gates(listing) == {
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
    root = _tree(tmp_path, ["anna/1.jpg", "closed/1.jpg"])
    os.mkfifo(root / "anna/pipe.jpg")
    scandir = os.scandir

    def refusing(path: str) -> object:  # not chmod, which does not stop root
        if os.path.basename(path) == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    listing = list_source(root)
    assert [item.file for item in _items(listing)] == ["anna/1.jpg"]
    assert _gates(listing) == {"anna/pipe.jpg": "unreadable", "closed": "unreadable"}


def test_a_walk_is_lazy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _tree(tmp_path, [f"{person}/1.jpg" for person in "abcdef"])
    walk = list_source(root).entries()
    looked = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looked.append(os.path.basename(path)) or scandir(path))
    next(walk)
    assert [name for name in looked if name in [*"abcdef"]] == ["a"]


def test_folders_nested_deeper_than_calls_may_be(tmp_path: Path) -> None:
    root = _tree(tmp_path, ["anna/1.jpg"])
    at = os.open(root / "anna", os.O_RDONLY)
    for _ in range(1500):  # step by step: the whole path is near the system's limit
        os.mkdir("d", dir_fd=at)
        inner = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(os.open("x.jpg", os.O_CREAT, dir_fd=at))
    os.close(at)
    try:
        assert list(_gates(list_source(root))) == ["anna/" + "d/" * 1500 + "x.jpg"]
    finally:
        subprocess.run(["rm", "-rf", str(root / "anna")], check=True)  # pytest's own cleanup recurses too deeply


# --- telling the layout, and errors -----------------------------------------------------------------------

PERSONS = ["train/n000002/0001_01.jpg", "test/n000001/0001_01.jpg"]


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
    assert list_source(_tree(tmp_path, files)).layout == layout
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
        list_source(_tree(tmp_path, files), layout)
    for text in [*texts, "layout: found" if layout == "vgg" else str(tmp_path), "wanted"]:
        assert text in str(error.value)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere: found no such folder"):
        list_source(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"photo\.jpg: found a file"):
        list_source(_tree(tmp_path, ["photo.jpg"]) / "photo.jpg")


# --- FFHQ -------------------------------------------------------------------------------------------------


def test_ffhq_takes_the_best_folder_and_its_own_split(tmp_path: Path) -> None:
    files = ["images1024x1024/62000/62999.png", "images1024x1024/63000/63000.png", "images1024x1024/00001.png"]
    files += ["thumbnails128x128/00000/00000.png", "in-the-wild-images/00000/00000.png", "ffhq-dataset-v2.json"]
    files += ["images1024x1024/LICENSE.txt", "images1024x1024/00000/cat.png", "images1024x1024/69000/70000.png"]
    files += ["images1024x1024/00000/deep/00002.png", "images1024x1024/mine/00003.png", "mine/00004.png", "me.png"]
    listing = list_source(_tree(tmp_path, files))
    assert listing.several == "largest"
    assert _items(listing) == [
        MediaFile("images1024x1024/00001.png", "00001", "train", aligned=True),
        MediaFile("images1024x1024/62000/62999.png", "62999", "train", aligned=True),
        MediaFile("images1024x1024/63000/63000.png", "63000", "test", aligned=True),
    ]
    assert _gates(listing) == {
        "images1024x1024/00000/cat.png": "misplaced",
        "images1024x1024/00000/deep/00002.png": "misplaced",
        "images1024x1024/69000/70000.png": "misplaced",
        "images1024x1024/mine/00003.png": "misplaced",
        "mine/00004.png": "misplaced",
        "me.png": "misplaced",
    }


@pytest.mark.parametrize(("tree", "aligned"), [("in-the-wild-images", False), ("thumbnails128x128", True)])
def test_ffhq_other_folders(tmp_path: Path, tree: str, aligned: bool) -> None:
    _tree(tmp_path, [f"{tree}/00000/00007.png"])
    (tmp_path / "images1024x1024").mkdir(exist_ok=True)  # made by the downloader, and empty
    wanted = MediaFile(f"{tree}/00000/00007.png", "00007", "train", aligned=aligned)
    assert _items(list_source(tmp_path)) == [wanted]
    # The folder itself would otherwise be taken for people of a thousand photos each.
    assert [item.aligned for item in _items(list_source(tmp_path / tree))] == [aligned]


# --- VGGFace2 ---------------------------------------------------------------------------------------------

HEADER = "NAME_ID,X,Y,W,H\n"


def test_vggface2_gives_boxes_and_splits(tmp_path: Path) -> None:
    files = [
        "train/n000003/0001_01.jpg",
        "train/n000003/0000_01.jpg",
        "train/n000002/0002_01.jpg",
        "train/n000002/0001_02.jpg",
    ]
    files += ["train/n000002/0001_01.jpg", "test/n000001/0001_01.jpg"]
    files += ["train/n000002/deep/1.jpg", "train/n000002/a.txt", "train/loose.jpg", "train/anna/1.jpg", "odd.jpg"]
    files += ["LICENSE.txt", "vggface2_train.tar.gz", "bb_landmark/loose_landmark_train.csv", "test/n000001/clip.mp4"]
    _tree(tmp_path, files)
    rows = '"n000003/0001_01",1,2,3,4\n"n000002/0001_01",-5,6,70,80\n'
    rows += '"n000002/0002_01",1,2,0,4\n"n999999/0001_01",1,2,3,4\n'
    _write(tmp_path / "bb_landmark/loose_bb_train.csv", HEADER + rows)  # unsorted
    _write(tmp_path / "bb_landmark/loose_bb_test.csv", HEADER + '"n000001/0001_01",10,20,30,40\n')
    listing = list_source(tmp_path)
    assert listing.several == "box"
    assert _items(listing) == [
        MediaFile("test/n000001/0001_01.jpg", "n000001", "test", box=(10, 20, 40, 60)),
        MediaFile("train/n000002/0001_01.jpg", "n000002", "train", box=(-5, 6, 65, 86)),
        MediaFile("train/n000002/0001_02.jpg", "n000002", "train"),  # not in the table
        MediaFile("train/n000002/0002_01.jpg", "n000002", "train"),  # an empty box
        MediaFile("train/n000003/0000_01.jpg", "n000003", "train"),
        MediaFile("train/n000003/0001_01.jpg", "n000003", "train", box=(1, 2, 4, 6)),
    ]
    assert _gates(listing) == {
        "test/n000001/clip.mp4": "misplaced",
        "train/n000002/a.txt": "unreadable",
        "train/n000002/deep/1.jpg": "misplaced",
        "train/loose.jpg": "misplaced",
        "train/anna/1.jpg": "misplaced",
        "odd.jpg": "misplaced",
    }


def test_vggface2_without_boxes(tmp_path: Path) -> None:
    listing = list_source(_tree(tmp_path, ["data/n000002/0001_01.jpg"]))
    assert listing.several == "largest"
    assert _items(listing) == [MediaFile("data/n000002/0001_01.jpg", "n000002", None)]
    _write(tmp_path / "meta/loose_bb_train.csv", HEADER)
    assert _items(list_source(tmp_path)) == [MediaFile("data/n000002/0001_01.jpg", "n000002", None)]


def test_vggface2_in_both_folders_is_a_conflict(tmp_path: Path) -> None:
    files = ["train/n000001/2.jpg", "test/n000001/1.jpg", "train/n000002/1.jpg", "test/n000003/1.jpg"]
    listing = list_source(_tree(tmp_path, files))
    assert _splits(listing) == {
        "test/n000001/1.jpg": "test",
        "train/n000002/1.jpg": "train",
        "test/n000003/1.jpg": "test",
    }
    assert _gates(listing) == {"train/n000001/2.jpg": "split conflict"}


@pytest.mark.parametrize("lists", ["txt", "csv"])
def test_vggface2_lists_decide_before_folders(tmp_path: Path, lists: str) -> None:
    files = ["train/n000001/1.jpg", "test/n000001/2.jpg", "test/n000002/1.jpg", "train/n000003/1.jpg"]
    _tree(tmp_path, files)
    if lists == "txt":
        _write(tmp_path / "train_list.txt", "n000002/1.jpg\nn000002/2.jpg\n\n")
        _write(tmp_path / "test_list.txt", "test/n000001/1.jpg\nn000001/2.jpg\n")
    else:
        rows = 'n000001, "Dalai_Lama, 14th", 424, 0, m\nn000002, "Zoë", 3, 1, f\n'
        _write(tmp_path / "meta/identity_meta.csv", "Class_ID, Name, Sample_Num, Flag, Gender\n" + rows)
    assert _splits(list_source(tmp_path)) == {
        "train/n000001/1.jpg": "test",
        "test/n000001/2.jpg": "test",
        "test/n000002/1.jpg": "train",
        "train/n000003/1.jpg": "train",  # in no list: its folder
    }


def test_vggface2_in_both_lists_is_a_conflict(tmp_path: Path) -> None:
    _tree(tmp_path, [f"data/n00000{person}/{photo}.jpg" for person in (1, 2) for photo in (1, 2)])
    _write(tmp_path / "train_list.txt", "n000002/1.jpg\nn000001/1.jpg\n")
    _write(tmp_path / "test_list.txt", "n000001/2.jpg\n")
    listing = list_source(tmp_path)
    assert _splits(listing) == {
        "data/n000001/2.jpg": "test",
        "data/n000002/1.jpg": "train",
        "data/n000002/2.jpg": "train",
    }
    assert _gates(listing) == {"data/n000001/1.jpg": "split conflict"}


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("loose_bb_train.csv", "NAME,X,Y\n", "header 'NAME,X,Y'"),
        ("loose_bb_train.csv", HEADER + '"n000002/0001_01",1,2,x,4\n', "damaged table"),
        ("loose_bb_train.csv", HEADER + '"n000002/0001_01",1,2\n', "damaged table"),
        ("train_list.txt", "n000002/0001_01.jpg\nanna.jpg\n", "line 2: found 'anna.jpg'"),
        ("test_list.txt", "anna/1.jpg\n", "line 1: found 'anna/1.jpg'"),
        ("identity_meta.csv", "Class_ID,Name\n", "Class_ID and Flag"),
        ("identity_meta.csv", "Class_ID,Name,Flag\nn000002,x,2\n", "line 2: found Flag '2'"),
    ],
)
def test_vggface2_damaged_lists(tmp_path: Path, file: str, text: str, found: str) -> None:
    _write(_tree(tmp_path, PERSONS) / file, text)
    with pytest.raises(ValueError) as error:
        list(list_source(tmp_path).entries())
    assert file in str(error.value) and found in str(error.value) and "wanted" in str(error.value)


# --- CelebA -----------------------------------------------------------------------------------------------


def _celeba(root: Path, tree: str, anno: str, evaluation: str) -> Path:
    _tree(root, [f"{tree}/00000{number}.jpg" for number in range(1, 8)])
    persons = {1: 20, 2: 3, 3: 20, 4: 3, 5: 100, 7: 100, 9: 5}
    parts = {1: 0, 2: 1, 3: 2, 4: 0, 5: 2, 9: 0}
    _write(root / anno / "identity_CelebA.txt", "".join(f"00000{n}.jpg {p}\n" for n, p in persons.items()))
    _write(root / evaluation / "list_eval_partition.txt", "".join(f"00000{n}.jpg {p}\n" for n, p in parts.items()))
    boxes = "7\nimage_id x_1 y_1 width height\n000002.jpg    95  71 226 313\n000003.jpg 0 0 0 0\n"
    _write(root / anno / "list_bbox_celeba.txt", boxes)
    return root


@pytest.mark.parametrize(
    ("tree", "anno", "evaluation"),
    [("img_celeba", "", ""), ("Img/img_celeba", "Anno", "Eval"), ("celeba/img_celeba", "celeba/Anno", "celeba")],
)
def test_celeba_by_person(tmp_path: Path, tree: str, anno: str, evaluation: str) -> None:
    _tree(_celeba(tmp_path, tree, anno, evaluation), [f"{tree}/deep/1.jpg", "odd.jpg", "img_align_celeba/000001.jpg"])
    listing = list_source(tmp_path)
    assert (listing.layout, listing.several) == ("celeba", "box")
    assert _items(listing) == [
        MediaFile(f"{tree}/000002.jpg", "3", "train", box=(95, 71, 321, 384)),
        MediaFile(f"{tree}/000004.jpg", "3", "train"),
        MediaFile(f"{tree}/000003.jpg", "20", "test"),  # its box is empty
        MediaFile(f"{tree}/000005.jpg", "100", "test"),
        MediaFile(f"{tree}/000007.jpg", "100", "test"),  # forgotten by the partition
    ]
    assert _gates(listing) == {
        f"{tree}/000001.jpg": "split conflict",
        f"{tree}/000006.jpg": "misplaced",  # nobody knows whose
        f"{tree}/deep/1.jpg": "misplaced",
        "odd.jpg": "misplaced",
    }


def test_celeba_aligned_has_no_boxes_and_is_not_aligned_as_ffhq(tmp_path: Path) -> None:
    listing = list_source(_celeba(tmp_path, "img_align_celeba/img_align_celeba", "", ""))
    assert listing.several == "largest"
    items = _items(listing)
    assert len(items) == 5 and not any(item.box or item.aligned for item in items)


def test_celeba_tables_with_commas_and_without_a_partition(tmp_path: Path) -> None:
    _tree(tmp_path, ["img_celeba/000001.jpg", "img_celeba/000002.jpg"])
    _write(tmp_path / "identity_CelebA.txt", "000001.jpg 1\n000002.jpg 2\n")
    _write(tmp_path / "list_bbox_celeba.csv", "image_id,x_1,y_1,width,height\n000001.jpg,1,2,3,4\n")
    first, second = _items(list_source(tmp_path))
    assert (first.split, first.box, second.box) == (None, (1, 2, 4, 6), None)
    _write(tmp_path / "list_eval_partition.csv", "image_id,partition\n000001.jpg,2\n000002.jpg,0\n")
    assert list(_splits(list_source(tmp_path)).values()) == ["test", "train"]


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("identity_CelebA.txt", "000001.jpg 1\n000002.jpg\n000003.jpg\n", "line 3"),
        ("identity_CelebA.txt", "000001.jpg x\n", "line 1: found '000001.jpg x'"),
        ("list_bbox_celeba.txt", "1\nimage_id x_1 y_1 width height\n000001.jpg 1 2 3\n", "line 3"),
        ("list_eval_partition.txt", "000001.jpg 3\n", "found 3 for 000001"),
    ],
)
def test_celeba_damaged_lists(tmp_path: Path, file: str, text: str, found: str) -> None:
    _write(_celeba(tmp_path, "img_celeba", "", "") / file, text)
    with pytest.raises(ValueError) as error:
        list(list_source(tmp_path).entries())
    assert file in str(error.value) and found in str(error.value) and "wanted" in str(error.value)


# --- FaceForensics++ --------------------------------------------------------------------------------------

YOUTUBE, ACTORS = "original_sequences/youtube/c23/videos", "original_sequences/actors/c23/videos"
DEEPFAKES = "manipulated_sequences/Deepfakes/c23/videos"
DETECTION = "manipulated_sequences/DeepFakeDetection/c23/videos"


def test_faceforensics_groups_what_is_swapped(tmp_path: Path) -> None:
    files = [f"{YOUTUBE}/{number}.mp4" for number in ("000", "003", "005", "009")]
    files += [f"{DEEPFAKES}/003_000.mp4", f"{DEEPFAKES}/005_003.mp4", "README.md", "splits/info.json"]
    files += [f"{ACTORS}/{name}.mp4" for name in ("01__a", "01__b", "02__a", "07__a")]
    files += [f"{DETECTION}/02_01__a__XY.mp4", "manipulated_sequences/Deepfakes/masks/videos/003_000.mp4"]
    files += [f"{YOUTUBE}/cat.mp4", f"{DEEPFAKES}/003.mp4", f"{YOUTUBE}/deep/1.mp4", "odd.mp4", f"{YOUTUBE}/005.png"]
    files += ["original_sequences/mine/c23/videos/000.mp4"]
    listing = list_source(_tree(tmp_path, files))
    assert listing.several == "largest"
    assert _items(listing) == [
        MediaFile(file, identity, None, group, video=True)
        for file, identity, group in [
            (f"{ACTORS}/01__a.mp4", "actors/01", "actors/01"),
            (f"{ACTORS}/01__b.mp4", "actors/01", "actors/01"),
            (f"{ACTORS}/02__a.mp4", "actors/02", "actors/01"),
            (f"{ACTORS}/07__a.mp4", "actors/07", "actors/07"),
            (f"{YOUTUBE}/000.mp4", "youtube/000", "youtube/000"),
            (f"{YOUTUBE}/003.mp4", "youtube/003", "youtube/000"),
            (f"{YOUTUBE}/005.mp4", "youtube/005", "youtube/000"),
            (f"{YOUTUBE}/009.mp4", "youtube/009", "youtube/009"),
            (f"{DETECTION}/02_01__a__XY.mp4", "DeepFakeDetection/02_01", "actors/01"),
            (f"{DEEPFAKES}/003_000.mp4", "Deepfakes/003_000", "youtube/000"),
            (f"{DEEPFAKES}/005_003.mp4", "Deepfakes/005_003", "youtube/000"),
        ]
    ]
    assert _gates(listing) == dict.fromkeys(
        [
            f"{YOUTUBE}/cat.mp4",
            f"{YOUTUBE}/005.png",
            f"{YOUTUBE}/deep/1.mp4",
            f"{DEEPFAKES}/003.mp4",
            "odd.mp4",
            "original_sequences/mine/c23/videos/000.mp4",
        ],
        "misplaced",
    )


@pytest.mark.parametrize("there", [("raw", "c23", "c40"), ("raw", "c40"), ("c40",)])
def test_faceforensics_takes_one_compression(tmp_path: Path, there: tuple[str, ...]) -> None:
    listing = list_source(_tree(tmp_path, [f"original_sequences/youtube/{c}/videos/000.mp4" for c in there]))
    chosen = "c23" if "c23" in there else there[0]
    assert [entry.file for entry in _entries(listing)] == [f"original_sequences/youtube/{chosen}/videos/000.mp4"]


@pytest.mark.parametrize("place", ["splits", ""])
def test_faceforensics_official_splits(tmp_path: Path, place: str) -> None:
    lists = {"train": [["000", "003"]], "val": [["010", "011"]], "test": [["020", "021"]]}
    for name, pairs in lists.items():
        _write(tmp_path / place / f"{name}.json", json.dumps(pairs))
    originals = ["000", "003", "010", "020", "021", "030", "031", "032", "040"]
    _tree(tmp_path, [f"{YOUTUBE}/{number}.mp4" for number in originals] + [f"{ACTORS}/01__a.mp4"])
    # 000_020 is of two splits; 030 belongs to the test split through 020; 031 to it and to 000, which is train.
    swaps = ["003_000", "011_010", "021_020", "000_020", "030_020", "031_000", "031_020", "032_003"]
    _tree(tmp_path, [f"{DEEPFAKES}/{name}.mp4" for name in swaps])
    listing = list_source(tmp_path)
    found = {item.identity: item.split for item in _items(listing)}
    train = ["youtube/000", "youtube/003", "youtube/010", "Deepfakes/003_000", "Deepfakes/011_010"]
    test = ["youtube/020", "youtube/021", "youtube/030", "youtube/031"]
    test += [f"Deepfakes/{name}" for name in ("021_020", "030_020", "031_020")]
    # 032 is in one group with 031 by 003 and 000, and so on the careful side.
    test += ["youtube/032"]
    assert found == (
        dict.fromkeys(train, "train") | dict.fromkeys(test, "test") | dict.fromkeys(["actors/01", "youtube/040"])
    )
    conflicts = [f"{DEEPFAKES}/{name}.mp4" for name in ("000_020", "031_000", "032_003")]
    assert _gates(listing) == dict.fromkeys(conflicts, "split conflict")


@pytest.mark.parametrize("text", ["[[", "[1]", '{"a": 1}', "[[1, 2]]", "3"])
def test_faceforensics_damaged_splits(tmp_path: Path, text: str) -> None:
    _write(_tree(tmp_path, [f"{YOUTUBE}/000.mp4"]) / "splits/train.json", text)
    with pytest.raises(ValueError, match=r"train\.json: found .*; wanted a list of pairs"):
        list(list_source(tmp_path).entries())

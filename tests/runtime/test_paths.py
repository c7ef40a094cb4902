"""Paths of buckets, as far as no bucket is asked, and what lies on the disk only."""

import importlib.util
import os
from pathlib import Path

import pytest

from smoothswap_jax.runtime import files, paths
from smoothswap_jax.training.loop import train
from tests import tiny_runs


@pytest.fixture
def reachable(monkeypatch):
    monkeypatch.setattr(paths, "WANTED", ())


def test_paths_keep_their_kind(reachable):
    assert type(paths.to_path("runs/one")) is type(Path("runs/one"))
    bucket = paths.to_path("gs://bucket/runs") / "one"
    assert os.fspath(bucket) == str(bucket) == "gs://bucket/runs/one" and paths.to_path(bucket) == bucket
    assert paths.resolved(bucket) == bucket and paths.resolved(Path("one")) == Path.cwd() / "one"
    assert paths.in_bucket(bucket) and not paths.in_bucket("gs:/bucket")
    assert bucket.name == "one" and str(bucket.parent) == "gs://bucket/runs"


def test_a_bucket_that_nothing_reaches_is_said_so(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"gs://bucket/run: buckets are reached by .* tensorflow is not installed; wanted"
    ):
        paths.to_path("gs://bucket/run")


def test_what_cannot_lie_in_a_bucket_is_refused(people, reachable):
    with pytest.raises(ValueError, match=r"gs://bucket/out: an evaluation cannot lie in a bucket; wanted a folder of"):
        paths.on_disk("gs://bucket/out", "an evaluation")
    with pytest.raises(ValueError, match=r"gs://bucket/run: a run that is traced .* cannot lie in a bucket"):
        train(tiny_runs.config("embedder", people), "gs://bucket/run", profile=(1, 1))


def test_files_are_found_in_all_folders(tmp_path):
    for name in ("b/2.txt", "a.txt", "b/c/1.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = list(paths.files_below(tmp_path))
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.txt", "b/2.txt", "b/c/1.txt"]
    assert [paths.size_of(path) for path in found] == [5, 7, 9]


def test_a_file_of_the_disk_is_written_where_it_is(tmp_path):
    with files.local_file(tmp_path / "a.png") as part:
        assert part == tmp_path / "a.png"

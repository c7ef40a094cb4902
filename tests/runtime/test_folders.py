"""What a folder is, and which one was probably meant."""

import json
import os

import pytest

from smoothswap_jax.runtime import folders


def run(folder, stage, step=2):
    meta = folder / "checkpoints" / str(step) / "meta"
    meta.mkdir(parents=True)
    (meta / "metadata").write_text(json.dumps({"config": {"stage": stage, "data": {"kind": "synthetic", "size": 32}}}))
    (folder / "config.json").write_text(json.dumps({"stage": stage}))
    return folder


@pytest.fixture
def demo(tmp_path):
    for name, stage in (("embedder", "embedder"), ("judge", "embedder"), ("swapper", "swapper")):
        run(tmp_path / "demo" / name, stage)
    run(tmp_path / "demo" / "swapper" / "embedder", "embedder")
    return tmp_path / "demo"


def test_kinds(demo, tmp_path):
    assert folders.kind_of(demo / "swapper") == folders.SWAPPER
    assert folders.kind_of(demo / "judge") == folders.EMBEDDER
    assert folders.kind_of(demo) == folders.DEMO
    for name, config, kind in (
        ("e", {"kind": "smoothswap", "training": {"data": {"kind": "folder"}}}, folders.EXPORT),
        ("n", {"module": "ResNet"}, folders.NETWORK),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "params.safetensors").touch()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        assert folders.kind_of(tmp_path / name) == kind
    assert folders.training_config(tmp_path / "e") == {"data": {"kind": "folder"}}
    assert folders.training_config(demo / "swapper")["data"] == {"kind": "synthetic", "size": 32}
    assert folders.kind_of(tmp_path) == folders.kind_of(tmp_path / "nothing") == folders.kind_of("\0") == ""


@pytest.mark.parametrize(
    "text", ["", "[" * 100_000, "[]", "null", '{"config": 3}', '{"config": {"stage": []}}', "\xff"]
)
def test_whatever_is_in_the_files_is_no_error(text, tmp_path):
    meta = run(tmp_path / "run", "swapper") / "checkpoints" / "2" / "meta" / "metadata"
    meta.write_text(text, encoding="latin-1")
    assert folders.kind_of(tmp_path / "run") == ""
    assert folders.mistake(tmp_path / "run", folders.SWAPPER) == ""  # reading the checkpoint says what is wrong


def test_the_newest_checkpoint_counts(tmp_path):
    run(tmp_path / "run", "embedder", step=9)
    run(tmp_path / "run", "swapper", step=10)
    assert folders.kind_of(tmp_path / "run") == folders.SWAPPER


def test_the_folder_that_was_meant_is_proposed(demo, tmp_path):
    wanted = (folders.SWAPPER, folders.EXPORT)
    assert folders.mistake(demo / "swapper", *wanted) == ""
    assert folders.mistake(demo, *wanted) == (
        f"{demo}: is what `smoothswap demo` wrote; wanted a run of stage swapper or an export; did you mean "
        f"{demo}/swapper?"
    )
    assert folders.mistake(demo / "embedder", *wanted).endswith(
        f"is a run of stage embedder; wanted a run of stage swapper or an export; did you mean {demo}/swapper?"
    )
    assert folders.mistake(demo / "swapper", folders.EMBEDDER).endswith(f"did you mean {demo}/swapper/embedder?")
    assert folders.mistake(demo / "swapper" / "embedder", *wanted).endswith(f"did you mean {demo}/swapper?")
    assert folders.mistake(demo / "swaper", *wanted).endswith(
        f"swaper: found no such folder; wanted a run of stage swapper or an export; did you mean {demo}/swapper?"
    )
    assert "did you mean" not in folders.mistake(tmp_path / "elsewhere" / "x", *wanted)
    (tmp_path / "new" / "checkpoints").mkdir(parents=True)
    (tmp_path / "new" / "config.json").write_text("{}")
    assert "is a run that has no checkpoint yet" in folders.mistake(tmp_path / "new", *wanted)


def test_pipes_are_not_waited_for(tmp_path):
    (tmp_path / "params.safetensors").touch()
    os.mkfifo(tmp_path / "config.json")
    assert folders.kind_of(tmp_path) == folders.EXPORT

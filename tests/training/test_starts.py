"""Starts that are refused or have nothing to do leave the run directory as it was; a run keeps to one embedder."""

import contextlib
import os
import shutil
import signal
from pathlib import Path

import jax
import pytest

from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.config.schema import FrozenEmbedderConfig
from smoothswap_jax.inference.restore import restore_swapper
from smoothswap_jax.runtime import checkpoint, metric_log
from smoothswap_jax.runtime.stopping import Stopped
from smoothswap_jax.training import loop
from smoothswap_jax.training.frozen_embedder import COPY, COPY_ALSO, frozen_embedder, frozen_embedders, keep_copy
from smoothswap_jax.training.resume import ResumeError
from tests import tiny_runs


def contents(folder: Path) -> dict[str, tuple]:
    """Of all files of a folder, their bytes and dates."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


# --- nothing to do --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [6, 4])
def test_a_run_that_has_its_steps_says_so_and_is_left_as_it_is(steps, people, embedder, swapper, caplog):
    caplog.set_level("INFO")
    for stage, run in (("embedder", embedder), ("swapper", swapper)):
        before = contents(run)
        evaluation = loop.train(tiny_runs.config(stage, people, embedder, steps=steps), run, devices=1)
        assert contents(run) == before
        assert tiny_runs.rows(run)[-1] == {"step": 6, **evaluation} and len(evaluation) >= 3
        assert f"{run}: already at step 6 of {steps}: nothing is trained" in caplog.text


# --- refused --------------------------------------------------------------------------------------------------


def test_a_folder_of_the_other_stage_is_named_and_left_as_it_is(people, embedder, swapper, tmp_path):
    for stage, run, other in (("swapper", embedder, "embedder"), ("embedder", swapper, "swapper")):
        before = contents(run)
        with pytest.raises(ResumeError) as refused:
            loop.train(tiny_runs.config(stage, people, embedder), run, devices=1)
        assert f"{run}: this folder holds a run of stage {other}; wanted one of stage {stage}" in str(refused.value)
        assert contents(run) == before
    begun = tmp_path / "begun"  # a run without a checkpoint yet, and a folder of something else
    begun.mkdir()
    for config, said in (
        ('{"stage": "embedder"}', "a run of stage embedder"),
        ("[1]", "a config.json that is no run's"),
    ):
        (begun / "config.json").write_text(config)
        with pytest.raises(ResumeError, match=said):
            loop.train(tiny_runs.config("swapper", people, embedder), begun, devices=1)
        assert [path.name for path in begun.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    "fields",
    [
        {"data.held_out_people": 1},  # seen when the pairs for evaluation are drawn
        {"generator_optimizer.name": "lion"},
        {"init.generator": "/nowhere"},
        {"batch": 7},
    ],
)
def test_a_refused_start_makes_no_folder(fields, people, embedder, tmp_path):
    run = tmp_path / "runs" / "run"
    with pytest.raises((ValueError, OSError)):
        loop.train(tiny_runs.config("swapper", people, embedder, **fields), run, devices=2)
    assert not run.parent.exists()


def test_other_values_and_other_data_leave_a_begun_run_as_it_is(people, embedder, swapper, tmp_path):
    run = shutil.copytree(swapper, tmp_path / "run")
    before = contents(run)
    with pytest.raises(ResumeError, match=r"config.generator.nf was 8 and is 16; config.seed was 0 and is 1; wanted"):
        loop.train(tiny_runs.config("swapper", people, embedder, seed=1, steps=9, **{"generator.nf": 16}), run)
    fewer = shutil.copytree(people, tmp_path / "people")
    shutil.rmtree(fewer / "person0")
    with pytest.raises(ResumeError, match="the data have 21 examples and had 24"):
        loop.train(tiny_runs.config("swapper", fewer, embedder, steps=9), run, devices=2)
    assert contents(run) == before


# --- one embedder -----------------------------------------------------------------------------------------------


def changed(run: Path, out: Path) -> Path:
    """A run of stage 1 with other parameters in its newest checkpoint."""
    parts, meta, step = checkpoint.load_parts(run, ("params", "batch_stats"))
    parts["params"] = jax.tree.map(lambda x: x + 1, parts["params"])
    with contextlib.closing(checkpoint.open_manager(out)) as manager:
        checkpoint.save(manager, step, parts, meta)
        checkpoint.finish(manager)
    return out


def test_another_embedder_is_refused_by_its_hash_at_the_start_and_on_resume(people, embedder, swapper, tmp_path):
    other, run = changed(embedder, tmp_path / "other"), tmp_path / "run"
    first = frozen_embedder(str(embedder), run)
    assert not run.exists()
    keep_copy(first, run)
    said = rf"other is embedder sha256 \w{{16}}, at step 6; the run is trained against {first.sha256[:16]} from"
    with pytest.raises(ConfigError, match=said):  # the copy alone, of a run that was killed before its first checkpoint
        frozen_embedder(str(other), run)
    before = contents(swapper)
    for steps in (6, 9):
        with pytest.raises(ConfigError, match=f"{said} {embedder}: wanted that one"):
            loop.train(tiny_runs.config("swapper", people, other, steps=steps), swapper, devices=2)
    assert contents(swapper) == before
    assert frozen_embedder(str(embedder), tmp_path / "new").sha256 == first.sha256
    assert frozen_embedder(str(other), tmp_path / "new").sha256 != first.sha256


def test_a_changed_file_under_the_same_name_and_a_changed_copy_are_refused(embedder, swapper, tmp_path):
    meta = checkpoint.load_parts(swapper, ())[1]
    assert meta["embedder"]["from"] == str(embedder)
    here = tmp_path / "embedder"
    here_before = meta | {"embedder": meta["embedder"] | {"from": str(here)}}
    with pytest.raises(ConfigError, match=f"is trained against {meta['embedder']['sha256'][:16]} from {here}"):
        frozen_embedder(str(changed(embedder, here)), swapper, here_before)
    run = tmp_path / "run"
    changed(embedder, run / COPY)
    with pytest.raises(ConfigError, match=f"{run / COPY} is embedder sha256"):
        frozen_embedder(None, run, meta)
    old = {name: value for name, value in meta.items() if name != "embedder"}  # a run of before hashes were recorded
    assert frozen_embedder(str(run / COPY), run, old).variables
    with pytest.raises(ConfigError, match=f"from {embedder}: wanted that one"):
        frozen_embedder(str(embedder), run, old)


def test_a_run_goes_on_with_its_copy_when_the_embedder_is_gone(embedder, swapper, tmp_path, caplog):
    meta = checkpoint.load_parts(swapper, ())[1]
    gone = str(tmp_path / "gone")
    found = frozen_embedder(gone, swapper, meta | {"embedder": meta["embedder"] | {"from": gone}})
    assert "found no such folder" in caplog.text and "goes on with its copy" in caplog.text
    assert found.sha256 == frozen_embedder(None, swapper, meta).sha256 == meta["embedder"]["sha256"]
    with pytest.raises(ConfigError, match=r"found no such folder.*; the run is trained against its copy .*: leave the"):
        frozen_embedder(gone, swapper, meta)
    with pytest.raises(ConfigError, match=r"config.embedder.checkpoint: .*gone: found no such folder; wanted a run"):
        frozen_embedder(gone, tmp_path / "run", meta)


@pytest.fixture(scope="module")
def two(people, embedder, tmp_path_factory):
    """A run of stage 2 against two embedders, the second one's run, and the config."""
    folder = tmp_path_factory.mktemp("two")
    second = changed(embedder, folder / "second")
    fields = {"embedder.also": second, "steps": 2, "log_images_steps": 0, "eval_steps": 0}
    config = tiny_runs.config("swapper", people, embedder, **fields)
    loop.train(config, folder / "run", devices=2)
    return folder / "run", second, config


def test_a_run_against_two_embedders_stands_alone_and_remembers_both(two, embedder):
    run, second, config = two
    meta = checkpoint.load_parts(run, ())[1]
    assert meta["config"]["embedder"] == {"checkpoint": str(embedder), "imported": None, "also": str(second)}
    assert {meta[name]["from"] for name in (COPY, COPY_ALSO)} == {str(embedder), str(second)}
    alone = frozen_embedders(FrozenEmbedderConfig(None, None, None), run, meta)
    for name, origin in ((COPY, embedder), (COPY_ALSO, second)):
        assert alone[name].sha256 == meta[name]["sha256"] == frozen_embedder(str(origin), run / "new").sha256
        assert alone[name].copied and (run / name / "checkpoints").is_dir()
    # Neither may judge its swaps.
    assert restore_swapper(run).trainers == tuple(meta[name]["sha256"] for name in (COPY, COPY_ALSO))
    before = contents(run)
    loop.train(config | {"embedder": {"checkpoint": None, "imported": None, "also": None}}, run, devices=2)
    assert contents(run) == before


def test_both_embedders_move_the_identity_loss(two, people, embedder, tmp_path):
    run, _, config = two
    loop.train(
        config | {"embedder": {"checkpoint": str(embedder), "imported": None, "also": None}},
        tmp_path / "one",
        devices=2,
    )
    assert not (tmp_path / "one" / COPY_ALSO).exists()
    found, single = (tiny_runs.rows(each)[1]["train/identity_loss"] for each in (run, tmp_path / "one"))
    assert found != single


def test_another_second_embedder_is_refused(two, people, embedder, swapper, tmp_path):
    run, second, config = two
    meta, before = checkpoint.load_parts(run, ())[1], contents(run)
    third = changed(second, tmp_path / "third")
    for steps in (2, 9):
        given = config | {"steps": steps, "embedder": {"checkpoint": str(embedder), "also": str(third)}}
        with pytest.raises(ConfigError, match=f"config.embedder.also={third} is embedder sha256 .* from {second}: wa"):
            loop.train(given, run, devices=2)
    with pytest.raises(ConfigError, match=f"{COPY_ALSO} is embedder sha256"):
        frozen_embedders(FrozenEmbedderConfig(None, None, None), run, meta | {COPY_ALSO: {"sha256": "0" * 64}})
    assert contents(run) == before
    before = contents(swapper)
    with pytest.raises(ConfigError, match=r"config.embedder.also is .*; the run is trained against one embedder: want"):
        loop.train(tiny_runs.config("swapper", people, embedder, **{"embedder.also": second}), swapper, devices=2)
    assert contents(swapper) == before
    with pytest.raises(ConfigError, match=r"the embedder of config.embedder.checkpoint; wanted another"):
        frozen_embedders(FrozenEmbedderConfig(str(embedder), None, str(embedder)), tmp_path / "new")
    with pytest.raises(
        ConfigError, match=r"config.embedder.also: .*no: found no such folder; wanted a run of stage em"
    ):
        frozen_embedders(FrozenEmbedderConfig(str(embedder), None, str(tmp_path / "no")), tmp_path / "new")


def test_an_embedder_that_was_trained_under_other_transformations_is_told(people, embedder, tmp_path, caplog):
    config = tiny_runs.config("swapper", people, embedder, steps=0)
    loop.train(config, tmp_path / "same", devices=2)
    assert "were trained" not in caplog.text and "was trained with" not in caplog.text
    config["objective"]["transform"]["noise"] = 0.5
    loop.train(config, tmp_path / "other", devices=2)
    assert "config.embedder.checkpoint was trained with config.objective.transform {'backdrop': 0.0" in caplog.text


@pytest.mark.parametrize("name, folder", [("tensorboard", False), ("metrics.jsonl", True), ("config.json", True)])
def test_what_lies_in_the_place_of_a_runs_own_is_named(name, folder, people, tmp_path):
    (tmp_path / name).mkdir() if folder else (tmp_path / name).touch()
    found = "folder; wanted the run's file" if folder else "file; wanted the run's folder"
    with pytest.raises(ResumeError, match=f"{name}: is a {found}"):
        loop.train(tiny_runs.config("embedder", people), tmp_path, devices=1)


def test_a_run_does_not_go_among_faces(people, tmp_path):
    with pytest.raises(ResumeError, match=r"is config.data.dir, the faces to train on; wanted another --workdir"):
        loop.train(tiny_runs.config("embedder", people), people, devices=1)
    (tmp_path / "ann").mkdir()
    with pytest.raises(ResumeError, match=r"holds other folders \(ann\); wanted a run directory"):
        loop.train(tiny_runs.config("embedder", people), tmp_path, devices=1)


# --- stopped ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number, at", [(signal.SIGINT, 3), (signal.SIGTERM, 6)])  # 6: when all steps are done
def test_who_calls_train_learns_of_a_signal_and_the_same_call_goes_on(
    number, at, people, embedder, tmp_path, monkeypatch
):
    config = tiny_runs.config("embedder", people)
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_check_finite", lambda step, *_: step == at and os.kill(os.getpid(), number))
        with pytest.raises(Stopped) as caught:
            loop.train(config, tmp_path, devices=2)
    stop = caught.value
    assert (stop.workdir, stop.steps, stop.signal) == (tmp_path, 6, number)
    assert at <= stop.step == tiny_runs.newest_step(tmp_path) and (stop.step == 6) == (at == 6)
    assert f"stopped by a signal at step {stop.step} of 6; the same command goes on from there" in str(stop)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    evaluation = loop.train(config, tmp_path, devices=2)
    assert (tmp_path / metric_log.NAME).read_bytes() == (embedder / metric_log.NAME).read_bytes()
    assert tiny_runs.rows(embedder)[-1] == {"step": 6, **evaluation}

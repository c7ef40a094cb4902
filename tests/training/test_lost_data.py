"""A shard that goes while a run reads it costs the steps since the last checkpoint, and no number of any of them."""

import shutil

import jax
import numpy as np
import pytest

from smoothswap_jax.runtime import checkpoint, metric_log
from tests import tiny_runs

STEPS, AT, EVERY = 60, 12, 5
"""Of the run, of the accident and between checkpoints. A dozen batches are read ahead."""
ACCIDENT = """
import os
from smoothswap_jax.runtime import metric_log
original = metric_log.RunLog.metrics
def accident(*args):
    original(*args)
    if args[1] == {step}:
        os.{what}
metric_log.RunLog.metrics = accident
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A prepared set of 180 faces, 40 a shard."""
    pytest.importorskip("apache_beam")
    from smoothswap_jax.prepare import builder, run
    from smoothswap_jax.prepare.crops import PrepareSettings

    folder = tmp_path_factory.mktemp("data")
    settings = PrepareSettings(size=16, aligned=True, min_side=8, min_sharpness=-120, duplicates=False, encoding="png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "RECORDS_PER_SHARD", 40)
        run.prepare(tiny_runs.make_people(folder / "people", people=60), folder / "set", settings, workers=1)
    return folder / "set"


@pytest.mark.slow
def test_a_shard_that_goes_in_the_middle_of_a_run_is_told_and_the_run_goes_on_once_it_is_back(data, tmp_path):
    fields = {"steps": STEPS, "eval_steps": 20, "checkpoint_steps": EVERY}
    kind = {"data.kind": "prepared", "data.feed": "tf"}
    arguments = tiny_runs.overrides("embedder", data, **fields, **kind)
    arguments = [text for text in arguments if "held_out_people" not in text]  # the set has its own
    train = lambda name, prelude="": tiny_runs.run_train("embedder", tmp_path / name, arguments, prelude)
    calm = train("calm")
    assert calm.returncode == 0, calm.stderr
    logged = (tmp_path / "calm" / metric_log.NAME).read_bytes()
    shard = sorted(data.glob("*train.array_record-*"))[1]
    backup = shutil.copy(shard, tmp_path / "backup")

    removed = train("removed", ACCIDENT.format(step=AT, what=f"unlink({str(shard)!r})"))
    assert removed.returncode == 0 and not shard.exists(), removed.stderr
    assert (tmp_path / "removed" / metric_log.NAME).read_bytes() == logged  # it was open
    shutil.copy(backup, shard)

    cut = train("run", ACCIDENT.format(step=AT, what=f"truncate({str(shard)!r}, 0)"))
    assert cut.returncode == 1, cut.stderr
    last = cut.stderr.splitlines()[-1]
    assert last.startswith(f"smoothswap train: {shard}: 40 of 40 records") and "put back what was prepared" in last
    assert "were replaced by others" not in cut.stderr
    newest = tiny_runs.newest_step(tmp_path / "run")
    assert AT - EVERY < newest < STEPS

    shard.unlink()
    missing = train("run")
    assert missing.returncode == 1 and missing.stderr.count("\n") == 1, missing.stderr
    assert f"{shard}: found no such shard (1 of 5 are missing); put back what was prepared" in missing.stderr
    assert tiny_runs.newest_step(tmp_path / "run") == newest

    shutil.copy(backup, shard)
    resumed = train("run")
    assert resumed.returncode == 0 and f"at step {newest}" in resumed.stderr, resumed.stderr
    assert (tmp_path / "run" / metric_log.NAME).read_bytes() == logged
    assert not (tmp_path / "run" / "broken").exists()
    names = ("params", "batch_stats", "optimizer")
    states = [checkpoint.load_parts(tmp_path / run, names)[0] for run in ("calm", "run")]
    jax.tree.map(np.testing.assert_array_equal, *states)

"""Runs that lie in a bucket: trained, resumed, read and exported there, through a local server that stands for it."""

import json
import os
import subprocess
import sys

import pytest

from smoothswap_jax.runtime.paths import WANTED
from tests.fake_bucket import fake_bucket
from tests.places import ROOT

pytestmark = [pytest.mark.slow]

CODE = """
import logging, sys
from pathlib import Path

import jax
import numpy as np

from smoothswap_jax.inference.export.export_folder import export_swapper
from smoothswap_jax.inference.load import load_swapper
from smoothswap_jax.runtime import checkpoint, folders, paths
from smoothswap_jax.training.loop import train
from tests import tiny_runs

folder = Path(sys.argv[1])
logging.basicConfig(level=logging.WARNING)
people = tiny_runs.make_people(folder / "people")
short = {"data.feed": "memory", "log_images_steps": 3}

# Resumed after four steps, with the same result as on the disk.
both = "gs://bucket/embedder", folder / "embedder"
for run in both:
    for steps in (4, 6):
        train(tiny_runs.config("embedder", people, steps=steps, **short), run, devices=1)
    assert checkpoint.steps_of(run) == [6, 4, 2]
lines = [(paths.to_path(run) / "metrics.jsonl").read_text() for run in both]
assert lines[0] == lines[1] and lines[0].count("step") > 6
parts = [checkpoint.load_parts(run, ("params",))[0] for run in both]
jax.tree.map(np.testing.assert_array_equal, *parts)

# A step that was not finished is none, and one that lacks a file is set aside.
bucket = paths.to_path("gs://bucket/embedder")
(bucket / "checkpoints" / "8" / "state").mkdir(parents=True)
(bucket / "checkpoints" / "8" / "state" / "part").write_bytes(b"half")
victim = next(path for path in paths.files_below(bucket / "checkpoints" / "6" / "state") if paths.size_of(path) > 99)
victim.unlink()
train(tiny_runs.config("embedder", people, steps=6, **short), "gs://bucket/embedder", devices=1)
assert checkpoint.find_intact("gs://bucket/embedder") == (6, {})
assert (bucket / "broken" / "6.0").is_dir()

# A swapper against it, and its export, read from the bucket.
config = tiny_runs.config("swapper", people, "gs://bucket/embedder", steps=2, **short)
train(config, "gs://bucket/swapper", devices=1)
assert folders.kind_of("gs://bucket/swapper") == folders.SWAPPER
assert [path.name for path in paths.to_path("gs://bucket/swapper/images").iterdir()] == ["0000000.png", "0000002.png"]
export_swapper("gs://bucket/swapper", "gs://bucket/export")
run, export = load_swapper("gs://bucket/swapper"), load_swapper("gs://bucket/export")
jax.tree.map(np.testing.assert_array_equal, run.variables, export.variables)
"""


def test_a_run_lives_in_a_bucket(tmp_path):
    for name in WANTED:
        pytest.importorskip(name)
    with fake_bucket(tmp_path / "certificate.pem") as bucket:
        done = subprocess.run(
            [sys.executable, "-c", CODE, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, **bucket.environment(), "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "checkpoint 6 is broken" in done.stderr and "found no such file" in done.stderr
    objects = {name.removeprefix("bucket/"): stored.data for name, stored in bucket.objects.items()}
    assert "ended" in json.loads(objects["embedder/lock"])
    assert "embedder/checkpoints/4/commit_success.txt" in objects and "swapper/embedder/checkpoints/6" in str(
        [*objects]
    )
    assert any(name.startswith("swapper/tensorboard/events") and data for name, data in objects.items())
    assert not any(".tmp" in name for name in objects)

"""One, two and four real processes give the same batch, also where their devices alternate in the mesh."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import tiny_runs
from tests.places import ROOT

CODE = """
import itertools, sys
import jax
jax.config.update("jax_platforms", "cpu")
port, processes, number, folder, out, alternating = sys.argv[1:]
if int(processes) > 1:
    jax.distributed.initialize(f"127.0.0.1:{port}", int(processes), int(number))
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from smoothswap_jax.runtime import sharding
from smoothswap_jax.data import pipeline
from smoothswap_jax.data.augment import Augmentation
from smoothswap_jax.data.records import from_prepared
faces, mesh = from_prepared(folder, "train", 16), sharding.make_mesh()
own = 8 // int(processes)
if alternating:  # as in the torus of a TPU, where a mesh's axis passes through several hosts
    mesh = jax.sharding.Mesh(mesh.devices.reshape(int(processes), -1).T, mesh.axis_names)
    rows = sharding.own_rows(mesh, 8)
    assert mesh.size == 2 * int(processes) and len(rows) == own and rows.max() - rows.min() > own - 1
found = {}
samplers = {"pairs": pipeline.PairSampler(5, 8, self_pairs=1), "identities": pipeline.IdentitySampler(5, 8, 2)}
for kind, sampler in samplers.items():
    batches = pipeline.tf_batches(faces, sampler, Augmentation(crop=0.8, colour=0.2), mesh, 3)
    for step, batch in enumerate(itertools.islice(batches, 2), 3):
        for name, array in batch.items():
            assert sum(len(shard.data) for shard in array.addressable_shards) == own
            found[f"{kind}-{step}-{name}"] = np.asarray(process_allgather(array, tiled=True))
if number == "0":
    np.savez(out, **found)
"""


def batches(folder: Path, processes: int, out: Path, alternating: bool = False) -> dict[str, np.ndarray]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    last = [str(folder), str(out), "alternating" if alternating else ""]
    env = {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={1 + alternating}",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, str(port), str(processes), str(number), *last],
            cwd=ROOT,
            env=env,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]
    with np.load(out) as found:
        return dict(found)


@pytest.mark.parametrize(
    "processes, alternating", [(2, False), (2, True), pytest.param(4, False, marks=pytest.mark.slow)]
)
def test_one_and_several_processes_give_the_same_batches(processes, alternating, tmp_path):
    pytest.importorskip("apache_beam")
    from smoothswap_jax.prepare import run
    from smoothswap_jax.prepare.crops import PrepareSettings

    people = tiny_runs.make_people(tmp_path / "people")
    settings = PrepareSettings(size=16, aligned=True, min_side=8, min_sharpness=-120, duplicates=False, encoding="png")
    run.prepare(people, tmp_path / "set", settings, workers=1)
    one = batches(tmp_path / "set", 1, tmp_path / "1.npz")
    assert len(one) == 2 * (3 + 2) and one["pairs-3-source"].shape == (8, 16, 16, 3)
    assert not np.array_equal(one["pairs-3-source"], one["pairs-4-source"])
    several = batches(tmp_path / "set", processes, tmp_path / "several.npz", alternating)
    assert several.keys() == one.keys()
    for name in one:
        # Rounding depends on which rows a device augments together; which images they are does not.
        np.testing.assert_allclose(several[name], one[name], atol=1e-6, err_msg=name)

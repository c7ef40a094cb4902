"""Where arrays live: by rules, evenly, and with an eighth of the state on each of eight devices."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from smoothswap_jax.runtime import sharding

SHAPES = {
    "generator": {"conv": {"kernel": (3, 3, 64, 128), "bias": (128,)}, "dense": {"kernel": (512, 512)}},
    "odd": {"kernel": (3, 3, 5, 7 * 13)},
    "tall": {"kernel": (4096, 2)},
    "wide_input": {"kernel": (512, 64)},
}


def shapes():
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s, jnp.float32), SHAPES, is_leaf=lambda x: isinstance(x, tuple))


def specs(rules=sharding.RULES, fsdp=4):
    places = sharding.placement(shapes(), sharding.make_mesh(8, fsdp), rules)
    return jax.tree.map(lambda place: place.spec, places)


def test_the_last_axis_that_divides_is_split_and_small_or_odd_arrays_stay_whole():
    found = specs()
    assert found["generator"]["conv"]["kernel"] == P(None, None, None, "fsdp")
    assert found["generator"]["dense"]["kernel"] == P(None, "fsdp")
    assert found["wide_input"]["kernel"] == P(None, "fsdp")  # not the larger axis, which it sums over
    assert found["tall"]["kernel"] == P("fsdp")  # 2 results cannot be split
    assert found["generator"]["conv"]["bias"] == found["odd"]["kernel"] == P()
    assert all(spec == P() for spec in jax.tree.leaves(specs(fsdp=1), is_leaf=lambda x: isinstance(x, P)))


def test_the_first_rule_that_matches_a_path_counts():
    found = specs([(r"^generator/dense", "replicate"), (r"kernel$", "fsdp"), (r".*", "replicate")])
    assert found["generator"]["dense"]["kernel"] == P() and found["tall"]["kernel"] == P("fsdp")
    with pytest.raises(ValueError, match=r"none matches tall/kernel; wanted a last rule"):
        specs([(r"generator|odd", "fsdp")])
    with pytest.raises(ValueError, match=r"config.mesh.rules: '.*' has rule 'split'; wanted one of"):
        specs([(r".*", "split")])


def test_what_stays_whole_is_logged(caplog):
    mesh = sharding.make_mesh(8, 8)
    with caplog.at_level(logging.INFO):
        sharding.log_placement(shapes(), sharding.placement(shapes(), mesh))
    assert "mesh data=1 fsdp=8: 1.5 MB of state split, 0.0 MB on every device (the largest: odd/kernel)" in caplog.text


@pytest.mark.parametrize(
    "devices, fsdp, message", [(8, 3, "mesh.fsdp is 3"), (8, 0, "mesh.fsdp is 0"), (9, 1, "sees 8")]
)
def test_a_mesh_that_cannot_be_is_refused(devices, fsdp, message):
    with pytest.raises(ValueError, match=message):
        sharding.make_mesh(devices, fsdp)


def test_rows_of_a_batch_lie_on_the_devices_in_order():
    mesh = sharding.make_mesh(8, 4)
    rows = np.arange(16)[:, None]
    for placed in (sharding.shard_rows(rows, mesh), sharding.shard_batch(rows, mesh)):
        held = {shard.device.id: shard.data[:, 0].tolist() for shard in placed.addressable_shards}
        assert held == {i: [2 * i, 2 * i + 1] for i in range(8)}
        np.testing.assert_array_equal(sharding.to_host(placed), rows)


def test_a_cluster_that_is_not_there_is_said_so():
    with pytest.raises(ValueError, match="wanted all of them or none"):
        sharding.start_processes("127.0.0.1:1", 2)

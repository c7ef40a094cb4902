"""Where arrays live: by rules, evenly, and with an eighth of the state on each of eight devices."""

import importlib.util
import logging
from dataclasses import dataclass, replace

import jax
import jax.experimental.topologies
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


@dataclass(frozen=True)
class Chip:
    """What a mesh looks at of a TPU."""

    id: int
    process_index: int
    coords: tuple[int, int, int]
    slice_index: int
    device_kind: str = "TPU v5 lite"
    platform: str = "tpu"
    core_on_chip: int = 0


def chips(width: int, height: int, slices: int = 1) -> list[Chip]:
    """Slices of width x height chips, four to a host, 2 x 2."""
    found = []
    for part in range(slices):
        for y in range(height):
            for x in range(width):
                host = (part * height // 2 + y // 2) * (width // 2) + x // 2
                found.append(Chip(len(found), host, (x, y, 0), part))
    return found


def is_line(group) -> bool:
    """Whether chips are neighbours along one axis of the torus."""
    places = sorted(chip.coords for chip in group)
    steps = np.diff(np.array(places), axis=0)
    return len(steps) == 0 or bool((steps == steps[0]).all() and steps[0].sum() == 1)


def test_the_axes_of_a_mesh_of_tpus_are_lines_of_the_torus():
    grid = sharding.make_mesh(fsdp=8, found=chips(8, 8)).devices
    assert grid.shape == (8, 8) and all(is_line(group) for group in (*grid, *grid.T))
    by_process = np.array(sorted(chips(8, 8), key=lambda chip: (chip.process_index, chip.id))).reshape(8, 8)
    assert not any(is_line(group) for group in by_process)  # as the devices of all other kinds are ordered


def test_several_slices_hold_whole_copies_of_the_state():
    grid = sharding.make_mesh(fsdp=4, found=chips(4, 4, slices=2)).devices
    assert grid.shape == (8, 4) and all(is_line(group) for group in grid)
    assert [{chip.slice_index for chip in group} for group in grid] == 4 * [{0}] + 4 * [{1}]


@pytest.mark.parametrize(
    "found, fsdp, message",
    [
        (chips(4, 4, 2), 32, "mesh.fsdp is 32; wanted a divisor of the 16 devices in each of the 2 TPU slices"),
        (chips(4, 4, 2)[:-8], 4, r"slices have \[16, 8\] devices; wanted slices of equal size"),
        (chips(2, 2)[:3], 1, r"data=3 fsdp=1 fits these 3 devices of kind TPU v5 lite, at \[\(0, 0, 0\)"),
        (chips(4, 4)[:6], 1, r"processes see \[4, 2\] devices; wanted the same number"),
    ],
    ids=["across slices", "unequal slices", "no box", "unequal processes"],
)
def test_a_mesh_that_does_not_fit_the_torus_is_refused(found, fsdp, message):
    with pytest.raises(ValueError, match=message):
        sharding.make_mesh(fsdp=fsdp, found=found)


@pytest.mark.parametrize("fsdp", [1, 2, 4, 8, 16, 64])
def test_every_row_of_a_batch_belongs_to_one_process(fsdp):
    mesh = sharding.make_mesh(fsdp=fsdp, found=chips(8, 8))
    shares = [sharding.own_rows(mesh, 128, process) for process in range(16)]
    assert {len(rows) for rows in shares} == {8}
    assert all((np.diff(rows) > 0).all() for rows in shares)
    np.testing.assert_array_equal(np.sort(np.concatenate(shares)), np.arange(128))
    blocks = np.arange(128).reshape(64, 2)
    for rows, process in zip(shares, range(16), strict=True):
        held = [block for chip, block in zip(mesh.devices.flat, blocks, strict=True) if chip.process_index == process]
        np.testing.assert_array_equal(rows, np.concatenate(held))


def test_devices_of_other_kinds_hold_rows_in_the_order_of_processes():
    found = [replace(chip, platform="gpu", device_kind="H200") for chip in chips(8, 8)]
    mesh = sharding.make_mesh(fsdp=8, found=found[::-1])
    assert [chip.process_index for chip in mesh.devices.flat] == sorted(chip.process_index for chip in found)
    for process in range(16):
        np.testing.assert_array_equal(sharding.own_rows(mesh, 64, process), 4 * process + np.arange(4))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu's descriptions of slices")
def test_meshes_of_real_slices(monkeypatch):
    for variable in ("TPU_SKIP_MDS_QUERY", "ALLOW_MULTIPLE_LIBTPU_LOAD"):
        monkeypatch.setenv(variable, "1")
    describe = jax.experimental.topologies.get_topology_desc
    line = sharding.make_mesh(fsdp=8, found=describe("v5e:8x8", "tpu").devices).devices
    assert all(len({chip.coords[1] for chip in group}) == 1 for group in line)
    plane = sharding.make_mesh(fsdp=16, found=describe("v5p:4x4x4", "tpu").devices).devices
    assert all(len({chip.coords[2] for chip in group}) == 1 for group in plane)
    two = sharding.make_mesh(fsdp=4, found=describe("v5e:4x4", "tpu", num_slices=2).devices)
    assert all(len({chip.slice_index for chip in group}) == 1 for group in two.devices)
    rows = np.concatenate([sharding.own_rows(two, 64, process) for process in range(8)])
    np.testing.assert_array_equal(np.sort(rows), np.arange(64))


def test_a_cluster_that_is_not_there_is_said_so():
    with pytest.raises(ValueError, match="wanted all of them or none"):
        sharding.start_processes("127.0.0.1:1", 2)

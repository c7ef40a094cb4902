"""Damaged, truncated and missing shards: a single record is replaced, a lost shard is an error."""

import os

import numpy as np
import pytest
from tensorflow_datasets.core.utils.shard_utils import FileInstruction

from smoothswap_jax.bench.data import write_shard
from smoothswap_jax.data.dataset import Faces, ShardError, mixture
from smoothswap_jax.data.reader import Reader
from smoothswap_jax.data.records import Records

COUNT, SIDE = 60, 20_000
"""Records of a shard, and bytes of each: more than a reader keeps in memory."""


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.bytes(SIDE) for _ in range(2 * COUNT)]


@pytest.fixture
def shards(images, tmp_path):
    """Two shards, of the halves of `images`."""
    paths = [tmp_path / "a", tmp_path / "b"]
    for path, part in zip(paths, (images[:COUNT], images[COUNT:]), strict=True):
        write_shard(path, part)
    return paths


def open_reader(shards, people=20):
    records = Records([FileInstruction(str(path), 0, COUNT, COUNT) for path in shards])
    starts = np.linspace(0, len(records), people + 1).astype(int)
    names = [str(i) for i in range(people)]
    return Reader(Faces(8, starts, names, records.names("train"), read=records.images))


def overwrite(path, place, count):
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes(count))


def place_of(path, image):
    return path.read_bytes().index(image[:100])


def lost(path, tried=COUNT):
    return rf"{path}: \d+ of {tried} records tried cannot be read \(.*\); put back what was prepared"


def test_a_missing_shard_is_named_with_what_to_do(shards):
    shards[1].unlink()
    with pytest.raises(ShardError, match=rf"{shards[1]}: found no such shard \(1 of 2 are missing\); put back what"):
        open_reader(shards)


def test_a_shard_that_is_open_may_be_removed_and_one_that_is_not_may_not(shards, images):
    reader = open_reader(shards)
    reader.read([3])
    for path in shards:
        path.unlink()
    assert reader.read([3, 59, 0])[0] == [images[3], images[59], images[0]]
    with pytest.raises(ShardError, match=lost(shards[1])):
        reader.read([3, COUNT])
    assert not reader.unreadable


def test_a_shard_that_is_back_gives_its_records_again(shards, images):
    reader, away = open_reader(shards), shards[1].with_suffix(".away")
    shards[1].rename(away)
    with pytest.raises(ShardError, match=lost(shards[1])):
        reader.read([COUNT])
    away.rename(shards[1])
    assert reader.read([1, COUNT, 2 * COUNT - 1])[0] == [images[1], images[COUNT], images[-1]]
    assert not reader.unreadable


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("how", ["cut", "cut to nothing", "lost its last byte", "zeroed", "a third zeroed"])
def test_the_rest_of_a_shard_is_read_or_its_loss_reported_and_nothing_is_replaced(how, opened, shards, images):
    reader = open_reader(shards)
    if opened:
        reader.read([COUNT])
    size = shards[1].stat().st_size
    match how:
        case "cut":
            os.truncate(shards[1], size // 2)
        case "cut to nothing":
            os.truncate(shards[1], 0)
        case "lost its last byte":
            os.truncate(shards[1], size - 1)
        case "zeroed":
            overwrite(shards[1], 0, size)
        case "a third zeroed":
            overwrite(shards[1], place_of(shards[1], images[2 * COUNT - 20]), size // 3)
    reported = 0
    for row in range(2 * COUNT):
        try:
            assert reader.read([row]) == ([images[row]], np.array([row]))
        except ShardError as error:
            assert str(error).startswith(str(shards[1])) and row >= COUNT
            reported += 1
    assert not reader.unreadable
    if how == "lost its last byte" and opened:
        assert not reported
    else:
        with pytest.raises(ShardError, match=lost(shards[1])):
            reader.read([0, 2 * COUNT - 18])


def test_damage_up_to_one_record_in_twenty_is_replaced_and_no_more(shards, images):
    for row in (5, 20, 40):
        overwrite(shards[0], place_of(shards[0], images[row]), 50)
    reader = open_reader(shards)
    assert reader.read([4, 5, 20])[0] == [images[4], images[0], images[21]]  # six photos a person
    assert list(reader.unreadable) == [5, 20]
    overwrite(shards[0], place_of(shards[0], images[50]), 50)
    with pytest.raises(ShardError, match=rf"{shards[0]}: 4 of 60"):
        reader.read([50])
    assert reader.read([COUNT])[0] == [images[COUNT]]
    alone = Records([FileInstruction(str(shards[0]), 50, 1, COUNT)])  # all there is
    with pytest.raises(ShardError, match=rf"{shards[0]}: 1 of 1"):
        alone.images([0])


def test_a_shard_of_a_mixture_is_named(shards):
    sets = [open_reader([path]).faces for path in shards]
    both = Reader(mixture(sets, (1.0, 3.0)))
    os.truncate(shards[1], 0)
    with pytest.raises(ShardError, match=lost(shards[1])):
        both.read([0, COUNT + 1])

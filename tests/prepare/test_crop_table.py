"""Who is held out: the hash decides, and of few people at least two are."""

import dataclasses

import numpy as np
import pytest

from smoothswap_jax.prepare.crop_table import CropTable, hold_out
from smoothswap_jax.prepare.entries import hash_of, split_by_hash


def album(people: int, photos: int | list[int], share: float, start: int = 0) -> tuple[CropTable, list[str]]:
    """Crops of people in the order of a listing."""
    names = [f"person {start + i}" for i in range(people)]
    person = np.repeat(np.arange(people), photos)
    held = np.array([split_by_hash(names[i], share) == "test" for i in person], bool)
    zeros, ones = np.zeros(len(person), np.int64), np.ones(len(person), np.float32)
    return CropTable(zeros, zeros, person, names, zeros, [], zeros, held, ones, zeros > 0, len(person), [], {}), names


def split(people: int, photos: int | list[int] = 3, share: float = 0.1, start: int = 0) -> tuple[set[str], set[str]]:
    """The people to train on, and those held out."""
    table, names = album(people, photos, share, start)
    held = hold_out(table, table.person, names)
    return tuple({names[i] for i in np.unique(table.person[held == side])} for side in (False, True))


@pytest.mark.parametrize("people", range(1, 24))
@pytest.mark.parametrize("start", [0, 100, 200])
def test_either_split_has_two_people_or_nobody_is_held_out(people, start):
    for share in (0.02, 0.2, 0.98):
        train, test = split(people, share=share, start=start)
        assert len(train) + len(test) == people and not train & test
        assert (len(test) == 0) if people < 4 else min(len(train), len(test)) >= 2


def test_a_set_with_enough_people_is_split_by_the_hash_alone():
    table, names = album(500, 2, 0.1)
    assert np.array_equal(hold_out(table, table.person, names), table.held_out)


def test_those_next_to_the_border_move_first_and_those_of_whom_there_are_several_photos():
    _, names = album(12, 3, 0.0)
    by_hash = sorted(names, key=hash_of)
    assert split(12, share=1e-9)[1] == set(by_hash[:2])
    single = [1 if name in by_hash[:3] else 2 for name in names]
    assert split(12, single, share=1e-9)[1] == set(by_hash[3:5])


def test_a_group_stays_together():
    """Of FaceForensics++, target, source and swap are one group of several people."""
    table, _ = album(6, 1, 0.0)
    group = np.array([0, 0, 0, 1, 1, 1])
    held = hold_out(table, group, ["a", "b"])
    assert held.tolist() in ([True] * 3 + [False] * 3, [False] * 3 + [True] * 3)
    assert not hold_out(dataclasses.replace(table), np.zeros(6, int), ["a"]).any()

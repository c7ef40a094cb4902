"""Rendered swaps: the exact swap of each pair that was drawn."""

import numpy as np
import pytest

from smoothswap_jax.data import rendered
from smoothswap_jax.data.dataset import DataError
from smoothswap_jax.synthetic import world

FIELDS = {"held_out_people": 3, "photos": 2, "seed": 5, "spread": 0.7}
SIZE = 16


def test_the_truth_has_the_sources_identity_and_everything_else_of_the_target():
    asked = []

    def draw(labels):
        asked.append(labels.tolist())
        return np.array([0, 5]), np.array([3, 1])

    swaps = rendered.swaps_with_truth(FIELDS, SIZE, draw)
    assert asked == [[0, 0, 1, 1, 2, 2]]
    assert swaps.rows.tolist() == [[0, 3], [5, 1]] and swaps.people.tolist() == [[0, 1], [2, 0]]
    everyone = rendered.synthetic_factors("test", 3, 2, 5, 0.7)
    source, target, truth = swaps.factors
    for name, values in zip(world.Factors._fields, everyone, strict=True):
        np.testing.assert_array_equal(getattr(source, name), values[swaps.rows[:, 0]])
        np.testing.assert_array_equal(getattr(target, name), values[swaps.rows[:, 1]])
        np.testing.assert_array_equal(getattr(truth, name), getattr(source if name == "identity" else target, name))
    for factors, images in zip(swaps.factors, swaps.images, strict=True):
        assert images.shape == (2, SIZE, SIZE, 3) and np.abs(images).max() <= 1
        np.testing.assert_array_equal(images, world.render_many(factors, SIZE))


def test_one_person_cannot_be_swapped():
    nobody = lambda labels: (np.zeros(0, int), np.zeros(0, int))
    with pytest.raises(DataError, match="the synthetic world has 1 held-out people; wanted at least 2"):
        rendered.swaps_with_truth({**FIELDS, "held_out_people": 1}, SIZE, nobody)


def test_the_world_of_a_run_is_read_from_its_data_fields():
    assert rendered.world_fields({}) == rendered.WORLD
    assert rendered.world_fields({**FIELDS, "kind": "synthetic", "people": 90}) == FIELDS

"""The measures of the world of people."""

import numpy as np
import pytest

from smoothswap_jax.bench.world import bench_world, fitted, gallery_rank1


def crowd(seed: int, within: np.ndarray, people: int = 60, photos: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(people), photos)
    return rng.normal(size=(people, len(within)))[labels] + within * rng.normal(size=(len(labels), len(within))), labels


def test_the_fit_finds_what_photos_of_a_person_share():
    """Six numbers are the person's own; three drown them until the fit weighs those down."""
    within = np.array([0.1] * 6 + [5.0] * 3)
    read = fitted(*crowd(0, within))
    values, labels = crowd(1, within)
    assert gallery_rank1(values, labels) < 0.4
    assert gallery_rank1(read(values), labels) > 0.9


def test_the_gallery_is_the_first_photo_of_each_person_and_no_probe():
    labels = np.array([7, 7, 9, 9])
    assert gallery_rank1(np.array([[0.0], [1.0], [10.0], [9.0]]), labels) == 1.0
    assert gallery_rank1(np.array([[0.0], [9.0], [10.0], [9.0]]), labels) == 0.5


@pytest.mark.slow
def test_a_small_world_is_measured_as_a_whole():
    found = bench_world(people=8, photos=2, size=128, seed=0, seconds=0.1)
    assert found["yunet finds"] > 0.8 and found["sface"]["roc auc"] > 0.8
    assert found["rank-1 by shape"] > 0.7 and min(found["images/s"].values()) > 0

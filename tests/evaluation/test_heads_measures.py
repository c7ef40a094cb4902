"""Measures of heads: distances in the units they name, and how far of the way of shape a swap goes."""

import dataclasses

import numpy as np
import pytest

from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.measures.heads import HEADS, way_of_shape
from tests.evaluation.stand_ins import identity_judge, judged, make_pairs, method_of, pictures, written

PARTS = {"shape": ("1: sex", "2: jaw"), "expression": ("jawOpen", "gaze_x"), "pose": ("yaw", "pitch", "roll")}
SHAPE = 2


def see(images, points):
    """Shape from the upper half of a picture, which is the person's, the rest from the lower half."""
    flat = images.reshape(len(images), -1).astype(np.float32) / 255
    return np.concatenate([flat[:, :SHAPE], flat[:, -5:]], axis=1)


@pytest.fixture(scope="module")
def pairs():
    return make_pairs()


def heads_judge(parts=PARTS) -> Judge:
    return Judge("heads", "heads", {"kind": "toy"}, see, parts=parts)


def scores_of(pairs, swaps, known=None, judge=None) -> dict[str, np.ndarray]:
    known = see(pairs.gallery.read(np.arange(len(pairs.gallery))), None) if known is None else known
    scored = HEADS.of_features(judge or heads_judge(), swaps, known, pairs)
    return {measure.name: values for measure, values in scored}


def test_distances_are_of_their_own_group_and_to_their_own_end(pairs):
    known = np.zeros((len(pairs.gallery), 7), np.float32)
    swaps = np.tile(np.array([3, 4, 1, 7, 2, 3, 6], np.float32), (len(pairs), 1))
    known[pairs.target, SHAPE:] = 0.0
    found = scores_of(pairs, swaps, known)
    np.testing.assert_allclose(found["heads: shape"], 5)  # mm add up
    np.testing.assert_allclose(found["heads: expression"], 5)  # sqrt((1 + 49) / 2)
    np.testing.assert_allclose(found["heads: pose"], 7)
    rows = np.random.default_rng(0).normal(size=(len(pairs.gallery), 7)).astype(np.float32)
    mixed = np.concatenate([rows[pairs.source, :SHAPE], rows[pairs.target, SHAPE:]], axis=1)
    for name in ("shape", "expression", "pose"):
        assert np.all(scores_of(pairs, mixed, rows)[f"heads: {name}"] == 0)
        assert np.all(scores_of(pairs, rows[pairs.truth], rows)[f"heads: {name}"] >= 0)
        assert np.any(scores_of(pairs, mixed[::-1], rows)[f"heads: {name}"] > 0)


def test_groups_of_which_nothing_is_read_have_no_measures(pairs):
    judge = heads_judge({"shape": (), "expression": PARTS["expression"], "pose": ()})
    known = np.random.default_rng(0).normal(size=(len(pairs.gallery), 2)).astype(np.float32)
    assert list(scores_of(pairs, known[pairs.target], known, judge)) == ["heads: expression"]


def test_the_way_of_shape_is_none_for_copies_whole_for_goals_and_half_between(pairs):
    rng = np.random.default_rng(0)
    target, goal = rng.normal(size=(2, 40, 6))
    for share in (0.0, 0.5, 1.0, -0.2):
        swap = target + share * (goal - target)
        assert way_of_shape(swap, target, goal).mean() == pytest.approx(share)
    aside = np.zeros((40, 6))
    aside[:, 0], aside[:, 1] = -(goal - target)[:, 1], (goal - target)[:, 0]  # at right angles to the way
    assert way_of_shape(target + aside, target, goal).mean() == pytest.approx(0)


def test_pairs_of_like_heads_hardly_count_on_the_way_of_shape():
    target, goal = np.zeros((2, 1)), np.array([[0.01], [1.0]])
    swap = np.array([[0.5], [0.5]])  # fifty times the way of the first pair
    assert way_of_shape(swap, target, goal).mean() == pytest.approx(0.505 / 1.0001)


def test_pairs_that_are_not_seen_have_no_way():
    target, goal = np.zeros((3, 2)), np.ones((3, 2))
    swap = np.array([[1.0, 1.0], [np.nan, 1.0], [0.0, 0.0]])
    np.testing.assert_array_equal(way_of_shape(swap, target, goal), [1.0, np.nan, 0.0])
    assert np.isnan(way_of_shape(swap, target, np.full((3, 2), np.nan))).all()


def test_the_way_leads_to_the_true_swap_where_it_is_known_else_to_the_source(pairs):
    known = np.random.default_rng(0).normal(size=(len(pairs.gallery), 7)).astype(np.float32)
    for some, end in ((pairs, pairs.truth), (dataclasses.replace(pairs, truth=None), pairs.source)):
        assert scores_of(some, known[end], known)["heads: way of shape"].mean() == pytest.approx(1)
        assert scores_of(some, known[some.target], known)["heads: way of shape"].mean() == pytest.approx(0)


def test_a_report_says_how_far_shape_goes(tmp_path, pairs):
    goals, targets = (pictures(pairs, rows).astype(float) for rows in (pairs.truth, pairs.target))
    half = method_of(pairs, np.rint((goals + targets) / 2).astype(np.uint8))
    result = judged(tmp_path, pairs, [half], [identity_judge(), heads_judge()])
    means = {name: scores["heads: way of shape"].mean() for name, scores in result.scores.items()}
    assert means["copy target"] == 0 and means["true swap"] == pytest.approx(1)
    assert means["fake"] == pytest.approx(0.5, abs=0.01)
    report = written(tmp_path, result)
    assert "By heads, the shape of fake's heads goes 50% of the way from the target's to the source's." in " ".join(
        report["verdicts"]
    )
    assert [judge["role"] for judge in report["judges"]] == ["identity", "heads"]

"""The rule that decides claims."""

import numpy as np
import pytest

from smoothswap_jax.reproduce.claims import FLOOR, RULE, Claim, Prediction, Rests, decide, decide_prediction

CLAIM = Claim("ours is smoother", "d_smooth", "ours", "theirs", "lower")
PEOPLE = np.repeat(np.arange(20), 2)
GOOD = {"ours": Rests("a", [0.995, 0.996]), "theirs": Rests("b", [0.999, 0.992])}


def scores(gap: float, spread: float = 0.01) -> dict:
    rng = np.random.default_rng(0)
    hard = rng.normal(size=20)[PEOPLE]
    of = lambda mean: mean + hard + spread * rng.normal(size=(2, 40))
    return {"d_smooth": {"ours": of(0.0), "theirs": of(gap)}}


@pytest.mark.parametrize(
    "gap, spread, word", [(0.1, 0.01, "supported"), (-0.1, 0.01, "not supported"), (0.0, 0.3, "cannot tell")]
)
def test_a_claim_is_decided_by_the_paired_interval(gap, spread, word):
    found = decide(CLAIM, scores(gap, spread), PEOPLE, GOOD)
    assert found.word == word and found.difference is not None
    assert found.difference.low <= found.difference.value <= found.difference.high


def test_seeds_that_disagree_decide_nothing():
    of = scores(0.0)["d_smooth"]
    of["theirs"] = of["ours"] + np.array([[0.3], [-0.1]])
    assert decide(CLAIM, {"d_smooth": of}, PEOPLE, GOOD).word == "cannot tell"


def test_an_embedder_that_does_not_do_its_job_decides_nothing():
    found = decide(CLAIM, scores(0.1), PEOPLE, GOOD | {"theirs": Rests("b", [0.999, 0.90])})
    assert (found.word, found.difference) == ("cannot tell", None)
    assert found.why == "b has ROC AUC 0.950 on unseen people, below 0.99"
    assert str(FLOOR) in RULE
    same = {"ours": Rests("b", [0.9, 0.9]), "theirs": Rests("b", [0.9, 0.9])}
    assert decide(CLAIM, scores(0.1), PEOPLE, same).word == "supported"  # it compares something else


@pytest.mark.parametrize("sign, word", [(-1, "supported"), (1, "not supported"), (0, "cannot tell")])
def test_a_prediction_is_decided_by_the_rank_correlation_with_the_error(sign, word):
    rng, objectives = np.random.default_rng(0), np.repeat(np.arange(6), 3)
    agreement = rng.normal(size=6)[objectives]
    errors = sign * agreement + (0.01 if sign else 1) * rng.normal(size=18)
    prediction = Prediction("agreement helps", "agreement", "higher")
    found = decide_prediction(prediction, {"agreement": agreement}, errors, objectives)
    assert found.text == "agreement helps" and found.word == word
    assert found.difference is not None and np.sign(round(found.difference.value)) == sign


def test_one_seed_of_what_was_trained_decides_nothing():
    one = {arm: rows[:1] for arm, rows in scores(0.1)["d_smooth"].items()}
    found = decide(CLAIM, {"d_smooth": one}, PEOPLE, GOOD)
    assert (found.word, found.difference) == ("cannot tell", None) and "one seed" in found.why


def test_what_was_not_trained_is_compared_over_people_alone():
    one = {arm: rows[:1] for arm, rows in scores(0.1)["d_smooth"].items()}
    found = decide(CLAIM, {"d_smooth": one}, PEOPLE, {})
    assert found.word == "supported" and found.difference is not None
    assert found.difference.value == pytest.approx(float(np.mean(one["ours"] - one["theirs"])))


@pytest.mark.parametrize("values", [np.full(6, 0.5), np.array([1, 2, np.nan, 4, 5, 6])])
def test_a_measure_that_says_nothing_decides_no_prediction(values):
    prediction = Prediction("agreement helps", "agreement", "higher")
    found = decide_prediction(prediction, {"agreement": values}, np.arange(6.0), np.repeat(np.arange(3), 2))
    assert (found.word, found.difference) == ("cannot tell", None) and "agreement" in found.why

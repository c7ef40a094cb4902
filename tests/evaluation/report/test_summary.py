"""What is said in words does not contradict the numbers beside it."""

import numpy as np
import pytest

from smoothswap_jax.evaluation.measures.base import Measure
from smoothswap_jax.evaluation.measures.pixels import CHANGE, ERROR
from smoothswap_jax.evaluation.report.summary import verdicts

COSINE = "eye: cosine to source"


def said(error: float, cosine: float) -> str:
    """Of a method beside its baselines, whose errors are 1 and whose cosines go from 0 to 1."""
    rows = lambda change, error, cosine: {
        name: np.full(4, value) for name, value in ((CHANGE.name, change), (ERROR.name, error), (COSINE, cosine))
    }
    methods = {"copy source": rows(1.0, 1.0, 1.0), "copy target": rows(0.0, 1.0, 0.0), "ours": rows(0.5, error, cosine)}
    kinds = {"copy source": "baseline", "copy target": "baseline", "ours": "method"}
    return " ".join(verdicts(methods, [Measure(COSINE, "identity", "higher", "")], kinds))


@pytest.mark.parametrize(
    "error, words",
    [(0.4, "is nearer to"), (0.98, "is nearer to"), (0.997, "is no nearer to"), (1.2, "is no nearer to")],
)
def test_an_error_that_rounds_to_that_of_the_target_is_no_nearer(error, words):
    assert f"ours {words} the true swap than its unchanged target: {error:.2f} of its error" in said(error, 0.5)


def test_nothing_goes_minus_zero_percent_of_the_way():
    assert "By eye, ours goes 0% of the way" in said(1.0, -0.001)


@pytest.mark.parametrize("own, bought", [(0.8, False), (0.9, False), (0.98, True)])
def test_what_a_judge_is_off_by_itself_is_no_price_of_the_swap(own, bought):
    """The true swap has .75 of the error, by a judge that reads it no better."""
    smile = "eye: expression"
    errors = {"copy source": 1.0, "copy target": 0.0, "true swap": 0.75, "ours": own}
    methods = {
        name: {smile: np.full(4, error), CHANGE.name: np.full(4, error), COSINE: np.full(4, error)}
        for name, error in errors.items()
    }
    kinds = {name: "method" if name == "ours" else "baseline" for name in errors}
    measures = [Measure(COSINE, "identity", "higher", ""), Measure(smile, "attributes", "lower", "")]
    words = " ".join(verdicts(methods, measures, kinds))
    assert (
        f"ours has {round(100 * own)}% of the error that copying the source has in '{smile}' (the true swap 75%)"
        in words
    )
    assert ("identity is bought" in words) == bought

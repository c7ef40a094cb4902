"""The bench of judges on made-up faces whose features are known."""

import numpy as np
import pytest

from smoothswap_jax.bench import judges as bench
from smoothswap_jax.evaluation.galleries import gallery_of_arrays
from smoothswap_jax.evaluation.judges.base import Judge, JudgeError

PEOPLE = 5


@pytest.fixture
def known():
    """Faces whose first pixel is who it is, and whose second is the view."""
    images = np.zeros((PEOPLE * 4, 16, 16, 3), np.uint8)
    names = []
    for person in range(PEOPLE):
        for place, view in enumerate(bench.VIEWS):
            images[person * 4 + place, 0, :2, 0] = person, place
            names.append(f"p{person}/{view}.jpg")
    gallery = gallery_of_arrays(images, names, [name.split("/")[0] for name in names])
    return gallery, {view: np.arange(PEOPLE) * 4 + place for place, view in enumerate(bench.VIEWS)}


def judge_of(role, features, **fields):
    """features: from who it is and the view to numbers."""
    measure = lambda images, points: np.stack([features(*image[0, :2, 0]) for image in images]).astype(np.float32)
    return Judge("j", role, {"source": "j.onnx", "file sha256": "0123456789", "licence": "MIT"}, measure, **fields)


def test_a_judge_that_knows_people_tells_all_apart(known):
    found = bench.identity_of(judge_of("identity", lambda who, view: np.eye(PEOPLE)[who]), *known)
    assert (found["AUC smile"], found["AUC turned"]) == (1, 1)
    assert found["same smile"] == pytest.approx(1) and found["strangers turned"] == pytest.approx(0)
    table = bench.identity_table([(judge_of("identity", None), found)])
    assert "| j | j.onnx, 01234567 | 1.0000, 1.0000 | 1.000, 0.000 | 1.000, 0.000 |" in table and "| MIT |" in table


def test_one_that_knows_people_from_the_front_only(known):
    def features(who, view):
        return np.eye(PEOPLE)[who] if view < 2 else np.ones(PEOPLE)

    found = bench.identity_of(judge_of("identity", features), *known)
    assert found["AUC smile"] == 1 and found["AUC turned"] == 0.5


def test_a_judge_of_expression_and_pose(known):
    """Expression is 3 in a smile, and differs between people by at most .5; the head turns by .7 to the sides."""
    features = lambda who, view: [3 * (view == 1) + who / 8, 0.7 * (view == 2) - 0.6 * (view == 3), 0, 0]
    judge = judge_of("coefficients", features, slices={"expression": (0, 1), "pose": (1, 4)})
    found = bench.measures_of(judge, *known)
    assert found["expression"]["smile"] == pytest.approx(3) and found["expression"]["AUC smile"] == 1
    assert found["expression"]["stranger"] == pytest.approx(0.25)
    assert (found["pose"]["left"], found["pose"]["right"]) == (pytest.approx(0.7), pytest.approx(0.6))
    table = bench.measures_table([(judge, found)])
    assert "| expression | 3 | 0, 0 | 0.25 | 1.000 |" in table and "| pose | 0 | 0.7, 0.6 | 0 | 0.500 |" in table


def test_tables_of_nothing_are_left_out(known):
    assert bench.identity_table([]) == "" and bench.measures_table([]) == ""
    compares = Judge("l", "perceptual", {}, compare=lambda a, b: a)
    assert bench.measures_table([(compares, bench.measures_of(compares, *known))]) == ""


def test_folders_without_people(tmp_path):
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(JudgeError, match="found 0 people with a face in each of neutral_front"):
            bench.people_by_view(folder)

"""What judges are worth on the very data: pairs of people and of strangers, in memory that does not grow with them."""

import itertools

import numpy as np
import pytest
import sklearn.metrics

from smoothswap_jax.evaluation.measures import identity
from smoothswap_jax.metrics import verification


def clouds(people: int, photos: int, spread: float = 1.0, dim: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(people, dim))
    labels = np.repeat(np.arange(people), photos)
    return centres[labels] + spread * rng.normal(size=(len(labels), dim)), labels.astype(str)


def each(people) -> list[str]:
    """Every picture is independent of the others."""
    return [str(i) for i in range(len(people))]


def test_it_is_the_area_under_the_curve_of_all_pairs():
    features, people = clouds(7, 4)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    pairs = list(itertools.combinations(range(len(unit)), 2))
    same = [people[i] == people[j] for i, j in pairs]
    cosines = [unit[i] @ unit[j] for i, j in pairs]
    found = identity.people_verification(features, people, each(people))
    assert found["ROC AUC"] == pytest.approx(sklearn.metrics.roc_auc_score(same, cosines))
    assert found["cosine, same person"] == pytest.approx(np.mean(np.array(cosines)[same]))
    assert found["cosine, strangers"] == pytest.approx(np.mean(np.array(cosines)[~np.array(same)]))


def test_of_many_pictures_a_random_choice_says_the_same(monkeypatch):
    features, people = clouds(40, 30)
    whole = identity.people_verification(features, people, each(people))
    monkeypatch.setattr(identity, "MOST_PAIRS", 3_000)
    drawn = []
    plain = verification._cosines
    monkeypatch.setattr(verification, "_cosines", lambda *a: drawn.append(len(a[1])) or plain(*a))
    part = identity.people_verification(features, people, each(people))
    assert drawn[0] == 40 * 66 and 2_800 < drawn[1] < 3_000  # 12 pictures of each person
    assert part["ROC AUC"] == pytest.approx(whole["ROC AUC"], abs=0.03) and part != whole
    assert identity.people_verification(features, people, each(people)) == part


def test_frames_of_one_recording_are_no_pairs():
    features, people = clouds(6, 4, spread=0.1)
    takes = np.array(["a", "a", "b", "b"] * 6)
    recordings = np.char.add(people, takes)
    assert identity.people_verification(features, people, recordings)["ROC AUC"] > 0.99
    assert set(identity.people_verification(features, people, people)) == {"cosine, strangers"}
    far = identity.people_verification(features + np.where(takes == "b", 5.0, 0.0)[:, None], people, recordings)
    assert far["cosine, same person"] < 0.5  # pairs within a recording, which are near 1, do not count


def test_a_judge_for_which_all_faces_are_one_tells_nobody_apart():
    _, people = clouds(6, 4)
    found = identity.people_verification(np.ones((24, 8)), people, each(people))
    assert found["ROC AUC"] == 0.5 and found["cosine, strangers"] == pytest.approx(1)


def test_pictures_that_show_nothing_do_not_count():
    features, people = clouds(6, 4)
    shown = np.arange(24) % 5 > 0
    spoilt = np.where(shown[:, None], features, np.nan)
    spoilt[5] = 0.0
    one = lambda x, who: identity.people_verification(x, who, each(who))
    assert one(spoilt, people) == one(features[shown], people[shown])
    assert one(np.full((4, 2), np.nan), list("aabb")) == {}
    assert set(one(features[:4], people[:4])) == {"cosine, same person"}

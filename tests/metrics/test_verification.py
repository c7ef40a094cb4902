"""Retrieval and verification: by hand, against scikit-learn, perfect and shuffled."""

import itertools

import numpy as np
import pytest
import sklearn.metrics

from smoothswap_jax.metrics import verification


def _embeddings(seed: int, n: int, d: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def rank_among(swaps, gallery, true, **how):
    """The rank where the gallery's own rows are the sources."""
    return verification.source_rank(swaps, gallery[true], gallery, true, **how)


def retrieval(swaps, gallery, true, k=1):
    return float(np.mean(verification.retrieved(rank_among(swaps, gallery, true), k)))


def test_source_rank_equals_brute_force() -> None:
    swaps, gallery = _embeddings(0, 40), _embeddings(1, 30)
    true = np.random.default_rng(2).integers(0, 30, size=40)
    expected = []
    for swap, index in zip(swaps.astype(np.float64), true, strict=True):
        similarity = [swap @ g / np.linalg.norm(swap) / np.linalg.norm(g) for g in gallery.astype(np.float64)]
        expected.append(sorted(similarity, reverse=True).index(similarity[index]) + 1)
    assert rank_among(swaps, gallery, true).tolist() == expected
    assert len(set(expected)) > 5


def test_source_rank_is_the_same_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    swaps, gallery, true = _embeddings(0, 40), _embeddings(1, 30), np.arange(40) % 30
    whole = rank_among(swaps, gallery, true)
    monkeypatch.setattr(verification, "_CHUNK", 7)
    assert rank_among(swaps, gallery, true).tolist() == whole.tolist()


def test_retrieval_is_perfect_for_the_sources_themselves_and_chance_when_shuffled() -> None:
    gallery = _embeddings(0, 50)
    true = np.arange(50)
    assert retrieval(gallery, gallery, true) == 1.0
    swaps = np.tile(gallery, (40, 1))
    shuffled = np.random.default_rng(1).integers(0, 50, size=2000)
    # Standard deviations of a share of 2000: 0.003 at chance 1/50, 0.007 at 5/50.
    assert retrieval(swaps, gallery, shuffled) == pytest.approx(1 / 50, abs=0.013)
    assert retrieval(swaps, gallery, shuffled, k=5) == pytest.approx(5 / 50, abs=0.028)
    assert retrieval(swaps, gallery, shuffled, k=50) == 1.0


def test_retrieved_serves_every_k_from_one_search() -> None:
    rank = np.array([1, 2, 5, 6, 1])
    assert verification.retrieved(rank).tolist() == [1, 0, 0, 0, 1]
    assert verification.retrieved(rank, 5).tolist() == [1, 1, 1, 0, 1]
    assert verification.retrieved(rank).dtype == np.float64
    with pytest.raises(ValueError, match="found 0 at 2"):
        verification.retrieved(np.array([1, 2, 0]))
    with pytest.raises(ValueError, match="at least 1"):
        verification.retrieved(rank, k=0)


def test_retrieval_equals_scikit_learns_top_k() -> None:
    swaps, gallery, true = _embeddings(0, 40), _embeddings(1, 30), np.arange(40) % 30
    scores = sklearn.metrics.pairwise.cosine_similarity(swaps, gallery)
    for k in (1, 5):
        expected = sklearn.metrics.top_k_accuracy_score(true, scores, k=k, labels=np.arange(30))
        assert retrieval(swaps, gallery, true, k) == pytest.approx(expected)


def test_a_collapsed_embedder_scores_zero_not_one() -> None:
    collapsed = np.tile(_embeddings(0, 1), (37, 1))
    assert np.all(rank_among(collapsed, collapsed, np.arange(37)) == 37)
    assert verification.rank1(collapsed, np.arange(37) // 2) == 0.0


def test_source_rank_is_of_the_very_picture_that_was_swapped_in_beside_other_people() -> None:
    gallery = np.array([[1.0, 0.0], [0.0, 1.0]])
    swap, source = np.array([[1.0, 0.6]]), np.array([[0.6, 1.0]])
    # Its person's own row, which is nearer still, does not count; without a row of its own it would.
    assert verification.source_rank(swap, source, gallery, np.array([0])).tolist() == [1]
    assert verification.source_rank(swap, source, gallery, np.array([1])).tolist() == [1]
    assert verification.source_rank(np.array([[1.0, 0.1]]), source, gallery, np.array([-1])).tolist() == [2]


def test_source_rank_by_the_dot_product_goes_by_length() -> None:
    gallery, swaps = np.array([[1.0, 0.0], [10.0, 10.0]]), np.array([[1.0, 0.1]])
    assert rank_among(swaps, gallery, np.array([0])).tolist() == [1]
    assert rank_among(swaps, gallery, np.array([0]), normalised=False).tolist() == [2]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_all_faces_alike_come_last_by_the_dot_product_too(scale: float) -> None:
    alike = np.tile(scale * np.random.default_rng(0).normal(size=512), (50, 1))
    assert np.all(rank_among(alike, alike, np.arange(50), normalised=False) == 50)


def test_source_rank_refuses_an_index_outside_the_gallery() -> None:
    swaps, gallery = _embeddings(0, 2), _embeddings(1, 4)
    with pytest.raises(ValueError, match=r"\[-1, 4\)"):
        verification.source_rank(swaps, swaps, gallery, np.array([0, 4]))
    with pytest.raises(ValueError, match="2 integers"):
        verification.source_rank(swaps, swaps, gallery, np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="at least 1"):
        retrieval(swaps, gallery, np.array([0, 1]), k=0)


def test_rank1_by_hand() -> None:
    angles = np.radians([0, 10, 90, 95, 30, 180])
    labels = np.array(["a", "a", "b", "b", "b", "c"])
    # 0 <-> 10 and 90 <-> 95 find each other, 30 finds 10 and misses, 180 is alone and no probe.
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert verification.rank1(points, labels) == pytest.approx(4 / 5)


def test_rank1_of_tight_clusters_and_of_noise() -> None:
    labels = np.repeat(np.arange(30), 3)
    tight = _embeddings(0, 30)[labels] + 0.01 * _embeddings(1, 90)
    assert verification.rank1(tight, labels) == 1.0
    # Chance: two of 89 others are right; 90 probes give a standard deviation of 0.016.
    assert verification.rank1(_embeddings(2, 90), labels) < 0.09


def test_rank1_lone_images_distract_but_do_not_probe() -> None:
    points = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.01], [0.01, 1.0]])
    assert verification.rank1(points, np.array([0, 0, 1, 2])) == 0.0
    with pytest.raises(ValueError, match="at least two images"):
        verification.rank1(points, np.arange(4))


def _tied_scores() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 9, size=31) / 8.0, rng.integers(-4, 6, size=53) / 8.0


def test_roc_auc_equals_brute_force_with_ties() -> None:
    rng = np.random.default_rng(0)
    genuine, impostor = rng.integers(0, 6, size=31) / 5.0, rng.integers(-2, 4, size=23) / 5.0
    wins = [(g > i) + 0.5 * (g == i) for g in genuine for i in impostor]
    assert verification.roc_auc(genuine, impostor) == pytest.approx(np.mean(wins))


def test_roc_auc_extremes_and_chance() -> None:
    low, high = np.linspace(-1, 0, 20), np.linspace(0.1, 1, 30)
    assert verification.roc_auc(high, low) == 1.0
    assert verification.roc_auc(low, high) == 0.0
    assert verification.roc_auc(np.zeros(5), np.zeros(7)) == 0.5
    noise = np.random.default_rng(0).normal(size=4000)
    assert verification.roc_auc(noise[:2000], noise[2000:]) == pytest.approx(0.5, abs=0.03)
    with pytest.raises(ValueError, match="non-empty"):
        verification.roc_auc(high, np.array([]))


@pytest.mark.parametrize("tied", [True, False])
def test_roc_equals_scikit_learn(tied: bool) -> None:
    genuine, impostor = _tied_scores() if tied else (_embeddings(0, 4).ravel() + 1, _embeddings(1, 5).ravel())
    labels = np.repeat([1, 0], [len(genuine), len(impostor)])
    scores = np.concatenate([genuine, impostor])
    expected = sklearn.metrics.roc_curve(labels, scores, drop_intermediate=False)
    for found, wanted in zip(verification.roc_curve(genuine, impostor), expected, strict=True):
        np.testing.assert_allclose(found, wanted)
    assert verification.roc_auc(genuine, impostor) == pytest.approx(sklearn.metrics.roc_auc_score(labels, scores))
    for far in (0.05, 0.1, 0.3, 0.9):
        assert verification.tar_at_far(genuine, impostor, far) == pytest.approx(expected[1][expected[0] <= far].max())


def test_tar_at_far_by_hand() -> None:
    impostor = np.array([0.1, 0.2, 0.3, 0.4])
    genuine = np.array([0.25, 0.35, 0.4, 0.5])
    # At 0.5 nothing false is accepted; one in four is down to 0.35, where three of four genuine pairs pass.
    assert verification.tar_at_far(genuine, impostor, 0.25) == 0.75
    assert verification.tar_at_far(genuine, impostor, 0.49) == 0.75
    assert verification.tar_at_far(genuine, impostor, 0.5) == 1.0
    assert verification.tar_at_far(np.full(4, 0.4), np.full(4, 0.4), 0.25) == 0.0  # all tied: accepted together or not


@pytest.mark.parametrize("denominator", [3, 1000, 10**6])
def test_tar_at_far_spends_the_last_impostor_that_far_allows(denominator: int) -> None:
    impostor = np.arange(float(denominator))
    genuine = np.array([denominator - 1.0, 0.5])  # the first ties with the best impostor
    assert verification.tar_at_far(genuine, impostor, 1 / denominator) == 0.5
    with pytest.raises(ValueError, match=f"at least {denominator} impostor pairs, found {denominator - 1}"):
        verification.tar_at_far(genuine, impostor[1:], 1 / denominator)


def test_tar_at_far_is_perfect_apart_and_chance_when_shuffled() -> None:
    low, high = np.linspace(-1, 0, 200), np.linspace(0.1, 1, 30)
    assert verification.tar_at_far(high, low, 0.01) == 1.0
    assert verification.tar_at_far(-high, -low, 0.01) == 0.0
    noise = np.random.default_rng(0).normal(size=20000)
    assert verification.tar_at_far(noise[:10000], noise[10000:], 0.1) == pytest.approx(0.1, abs=0.02)
    with pytest.raises(ValueError, match=r"\(0, 1\), found 1"):
        verification.tar_at_far(high, low, 1)


def test_pair_cosines_are_those_of_all_pairs() -> None:
    z, labels = _embeddings(3, 12), np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4])
    unit = z.astype(np.float64) / np.linalg.norm(z.astype(np.float64), axis=1, keepdims=True)
    cosines = {True: [], False: []}
    for i, j in itertools.combinations(range(12), 2):
        cosines[bool(labels[i] == labels[j])].append(unit[i] @ unit[j])
    genuine, impostor = verification.pair_cosines(z, labels)
    np.testing.assert_allclose(np.sort(genuine), np.sort(cosines[True]))
    np.testing.assert_allclose(np.sort(impostor), np.sort(cosines[False]))


def test_pair_cosines_keep_about_as_many_pairs_as_asked_for() -> None:
    z, labels = _embeddings(4, 200), np.repeat(np.arange(10), 20)
    whole = [side.mean() for side in verification.pair_cosines(z, labels)]
    genuine, impostor = verification.pair_cosines(z, labels, most=500)
    assert len(genuine) == 10 * 45 and 400 < len(impostor) < 500  # 10 images of each label
    again = verification.pair_cosines(z, labels, most=500)
    np.testing.assert_array_equal(genuine, again[0])
    np.testing.assert_array_equal(impostor, again[1])
    other = verification.pair_cosines(z, labels, most=500, seed=1)
    assert not np.array_equal(impostor[:100], other[1][:100])
    assert [side.mean() for side in (genuine, impostor)] == pytest.approx(whole, abs=0.05)


def test_pair_cosines_of_one_recording_or_one_person_are_empty_sides() -> None:
    z = _embeddings(5, 4)
    genuine, impostor = verification.pair_cosines(z, np.array(list("aabb")), np.array(list("xxyz")))
    assert len(genuine) == 1 and len(impostor) == 4
    genuine, impostor = verification.pair_cosines(z, np.array(list("aaaa")))
    assert len(genuine) == 6 and len(impostor) == 0
    with pytest.raises(ValueError, match="row 2"):
        verification.pair_cosines(z * np.array([[1], [1], [0], [1]]), np.arange(4))

"""Metrics against hand-computed values, an outside library, brute force, chance, and simulated coverage."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from smoothswap_jax.evaluation import metrics


def _images(seed: int, n: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, size=(n, 6, 5, 3)).astype(np.float32)


def _embeddings(seed: int, n: int, d: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


# --- pixels -----------------------------------------------------------------------------------------------


def test_mse_by_hand() -> None:
    a = np.zeros((2, 2, 1, 1), np.float32)
    b = np.array([[1.0, -1.0], [0.5, 0.0]], np.float32).reshape(2, 2, 1, 1)
    np.testing.assert_allclose(metrics.mse(a, b), [1.0, 0.125])


def test_psnr_equals_scikit_image() -> None:
    a, b = _images(0), _images(1)
    expected = [peak_signal_noise_ratio(x, y, data_range=2.0) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(metrics.psnr(a, b), expected, rtol=1e-6)


def test_equal_images_are_perfect() -> None:
    a = _images(0)
    assert np.all(metrics.mse(a, a) == 0)
    assert np.all(np.isposinf(metrics.psnr(a, a)))


def test_black_against_white_is_the_worst() -> None:
    white = np.ones((1, 4, 4, 3), np.float32)
    assert metrics.mse(white, -white) == 4.0
    assert metrics.psnr(white, -white) == 0.0


def test_pixel_metrics_refuse_integers_and_unequal_shapes() -> None:
    with pytest.raises(TypeError, match="uint8"):
        metrics.mse(np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 2, 2, 3), np.float32))
    with pytest.raises(ValueError, match="one shape"):
        metrics.mse(_images(0, n=1), _images(0, n=3))  # would broadcast
    with pytest.raises(ValueError, match=r"\[b, h, w, c\]"):
        metrics.mse(_images(0)[0], _images(0)[0])


# --- identity ---------------------------------------------------------------------------------------------


def test_cosine_by_hand_and_free_of_scale() -> None:
    a = np.array([[1.0, 0.0], [3.0, 4.0], [1.0, 1.0]])
    b = np.array([[2.0, 0.0], [4.0, 3.0], [-5.0, -5.0]])
    np.testing.assert_allclose(metrics.cosine(a, b), [1.0, 0.96, -1.0])


def test_cosine_refuses_a_zero_embedding_by_row() -> None:
    a = np.ones((3, 4))
    b = a.copy()
    b[1] = 0
    with pytest.raises(ValueError, match=r"b must .* row 1"):
        metrics.cosine(a, b)


def test_identity_rank_equals_brute_force() -> None:
    swaps, gallery = _embeddings(0, 40), _embeddings(1, 30)
    true = np.random.default_rng(2).integers(0, 30, size=40)
    expected = []
    for swap, index in zip(swaps.astype(np.float64), true, strict=True):
        similarity = [swap @ g / np.linalg.norm(swap) / np.linalg.norm(g) for g in gallery.astype(np.float64)]
        expected.append(sorted(similarity, reverse=True).index(similarity[index]) + 1)
    assert metrics.identity_rank(swaps, gallery, true).tolist() == expected
    assert len(set(expected)) > 5


def test_identity_rank_is_the_same_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    swaps, gallery, true = _embeddings(0, 40), _embeddings(1, 30), np.arange(40) % 30
    whole = metrics.identity_rank(swaps, gallery, true)
    monkeypatch.setattr(metrics, "_CHUNK", 7)
    assert metrics.identity_rank(swaps, gallery, true).tolist() == whole.tolist()


def test_retrieval_is_perfect_for_the_sources_themselves_and_chance_when_shuffled() -> None:
    gallery = _embeddings(0, 50)
    true = np.arange(50)
    assert metrics.retrieval_accuracy(gallery, gallery, true) == 1.0
    swaps = np.tile(gallery, (40, 1))
    shuffled = np.random.default_rng(1).integers(0, 50, size=2000)
    # Standard deviations of a share of 2000: 0.003 at chance 1/50, 0.007 at 5/50.
    assert metrics.retrieval_accuracy(swaps, gallery, shuffled) == pytest.approx(1 / 50, abs=0.013)
    assert metrics.retrieval_accuracy(swaps, gallery, shuffled, k=5) == pytest.approx(5 / 50, abs=0.028)
    assert metrics.retrieval_accuracy(swaps, gallery, shuffled, k=50) == 1.0


def test_a_collapsed_embedder_scores_zero_not_one() -> None:
    collapsed = np.tile(_embeddings(0, 1), (37, 1))
    assert np.all(metrics.identity_rank(collapsed, collapsed, np.arange(37)) == 37)
    assert metrics.rank1(collapsed, np.arange(37) // 2) == 0.0


def test_identity_rank_refuses_an_index_outside_the_gallery() -> None:
    with pytest.raises(ValueError, match=r"\[0, 4\)"):
        metrics.identity_rank(_embeddings(0, 2), _embeddings(1, 4), np.array([0, 4]))
    with pytest.raises(ValueError, match="2 integers"):
        metrics.identity_rank(_embeddings(0, 2), _embeddings(1, 4), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="at least 1"):
        metrics.retrieval_accuracy(_embeddings(0, 2), _embeddings(1, 4), np.array([0, 1]), k=0)


def test_rank1_by_hand() -> None:
    angles = np.radians([0, 10, 90, 95, 30, 180])
    labels = np.array(["a", "a", "b", "b", "b", "c"])
    # 0 <-> 10 and 90 <-> 95 find each other, 30 finds 10 and misses, 180 is alone and no probe.
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert metrics.rank1(points, labels) == pytest.approx(4 / 5)


def test_rank1_of_tight_clusters_and_of_noise() -> None:
    labels = np.repeat(np.arange(30), 3)
    tight = _embeddings(0, 30)[labels] + 0.01 * _embeddings(1, 90)
    assert metrics.rank1(tight, labels) == 1.0
    # Chance: two of 89 others are right; 90 probes give a standard deviation of 0.016.
    assert metrics.rank1(_embeddings(2, 90), labels) < 0.09


def test_rank1_lone_images_distract_but_do_not_probe() -> None:
    points = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.01], [0.01, 1.0]])
    assert metrics.rank1(points, np.array([0, 0, 1, 2])) == 0.0
    with pytest.raises(ValueError, match="at least two images"):
        metrics.rank1(points, np.arange(4))


def test_roc_auc_equals_brute_force_with_ties() -> None:
    rng = np.random.default_rng(0)
    genuine, impostor = rng.integers(0, 6, size=31) / 5.0, rng.integers(-2, 4, size=23) / 5.0
    wins = [(g > i) + 0.5 * (g == i) for g in genuine for i in impostor]
    assert metrics.roc_auc(genuine, impostor) == pytest.approx(np.mean(wins))


def test_roc_auc_extremes_and_chance() -> None:
    low, high = np.linspace(-1, 0, 20), np.linspace(0.1, 1, 30)
    assert metrics.roc_auc(high, low) == 1.0
    assert metrics.roc_auc(low, high) == 0.0
    assert metrics.roc_auc(np.zeros(5), np.zeros(7)) == 0.5
    noise = np.random.default_rng(0).normal(size=4000)
    assert metrics.roc_auc(noise[:2000], noise[2000:]) == pytest.approx(0.5, abs=0.03)
    with pytest.raises(ValueError, match="non-empty"):
        metrics.roc_auc(high, np.array([]))

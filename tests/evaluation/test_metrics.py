"""Metrics against hand-computed values, an outside library, brute force, chance, and simulated coverage."""

import numpy as np
import pytest
import sklearn.metrics
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from smoothswap_jax.evaluation import metrics


def _images(seed: int, n: int = 3, size: tuple[int, int] = (6, 5)) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, size=(n, *size, 3)).astype(np.float32)


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


def test_mse_is_computed_in_float64() -> None:
    a = np.full((1, 8, 8, 3), 1e-4, np.float16)
    assert metrics.mse(a, np.zeros_like(a)).tolist() == pytest.approx([float(a[0, 0, 0, 0]) ** 2])  # 0 in float16


def test_masked_mse_by_hand() -> None:
    a, b = np.zeros((1, 1, 3, 2), np.float32), np.array([[[[1.0, -1.0], [0.5, 0.5], [9.0, 9.0]]]], np.float32)
    assert metrics.masked_mse(a, b, np.array([[[True, True, False]]])) == pytest.approx((1 + 0.25) / 2)
    assert metrics.masked_mse(a, b, np.array([[[1.0, 0.25, 0.0]]])) == pytest.approx((1 + 0.25 * 0.25) / 1.25)


def test_masked_mse_splits_the_error_into_inside_and_outside() -> None:
    a, b = _images(0), _images(1)
    mask = np.random.default_rng(2).uniform(size=a.shape[:3])
    np.testing.assert_allclose(metrics.masked_mse(a, b, np.ones(a.shape[:3], bool)), metrics.mse(a, b))
    inside, outside = metrics.masked_mse(a, b, mask), metrics.masked_mse(a, b, 1 - mask)
    share = mask.mean(axis=(1, 2))
    np.testing.assert_allclose(share * inside + (1 - share) * outside, metrics.mse(a, b))
    assert np.all(metrics.masked_mse(a, a, mask) == 0)


def test_masked_mse_refuses_unfit_masks() -> None:
    a = _images(0)
    empty = np.ones(a.shape[:3])
    empty[1] = 0
    with pytest.raises(ValueError, match="row 1 is empty"):
        metrics.masked_mse(a, a, empty)
    with pytest.raises(ValueError, match=r"\[0, 1\], found 255\.0 to 255\.0"):
        metrics.masked_mse(a, a, np.full(a.shape[:3], 255, np.uint8))
    with pytest.raises(ValueError, match=r"\[0, 1\], found nan"):
        metrics.masked_mse(a, a, np.full(a.shape[:3], np.nan))
    with pytest.raises(ValueError, match=r"\(3, 6, 5\), found \(3, 6, 5, 1\)"):
        metrics.masked_mse(a, a, np.ones((*a.shape[:3], 1)))


@pytest.mark.parametrize("size", [(11, 11), (20, 33)])
def test_ssim_equals_scikit_image(size: tuple[int, int]) -> None:
    a = np.cumsum(_images(0, size=size), axis=1).astype(np.float64) / 4  # smooth one way, and partly beyond the range
    b = 0.7 * a + 0.2 * _images(1, size=size)
    ours = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = [structural_similarity(x, y, channel_axis=-1, data_range=2.0, **ours) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(metrics.ssim(a, b), expected, rtol=0, atol=1e-12)
    assert np.ptp(expected) > 1e-3


def test_ssim_of_equal_images_is_one_and_of_unrelated_ones_chance() -> None:
    a, b = _images(0, size=(48, 48)), _images(1, size=(48, 48))
    np.testing.assert_allclose(metrics.ssim(a, a), 1.0)
    np.testing.assert_allclose(metrics.ssim(a, b), 0.0, atol=0.03)


def test_ssim_of_flat_images_by_hand() -> None:
    # No variance: only the luminance is left, (2 x y + c1) / (x^2 + y^2 + c1) with c1 = (0.01 * 2)^2.
    x, y = np.full((1, 12, 12, 1), 0.5), np.full((1, 12, 12, 1), -0.25)
    assert metrics.ssim(x, y) == pytest.approx((-0.25 + 4e-4) / (0.3125 + 4e-4))


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="11 x 11 pixels, found 10 x 40"):
        metrics.ssim(np.zeros((1, 10, 40, 3)), np.zeros((1, 10, 40, 3)))


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


def test_distance_by_hand_and_against_cosine() -> None:
    a = np.array([[1.0, 0.0], [3.0, 4.0], [1.0, 1.0], [2.0, 0.0]])
    b = np.array([[2.0, 0.0], [4.0, 3.0], [-5.0, -5.0], [0.0, 7.0]])
    np.testing.assert_allclose(metrics.distance(a, b), [0.0, 0.08**0.5, 2.0, 2**0.5], rtol=0, atol=4e-15)
    a, b = _embeddings(0, 50), _embeddings(1, 50)
    np.testing.assert_allclose(metrics.distance(a, b) ** 2, 2 - 2 * metrics.cosine(a, b))


def test_distance_of_shuffled_pairs_is_that_of_strangers() -> None:
    z = _embeddings(0, 2000, d=64)
    assert metrics.distance(z, 3 * z).max() < 1e-7
    # Independent directions lie sqrt(2) apart, less some 1 / (8 d).
    shuffled = metrics.distance(z, z[np.random.default_rng(1).permutation(2000)])
    assert shuffled.mean() == pytest.approx(2**0.5, abs=0.01)


def test_distance_keeps_small_angles() -> None:
    a, b = np.array([[1.0, 0.0]]), np.array([[1.0, 1e-10]])
    assert metrics.distance(a, b) == pytest.approx(1e-10)  # the cosine of it is 1


def test_parameter_distance_by_hand_and_with_scale() -> None:
    a, b = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]), np.array([[1.0, 2.0, 2.0], [1.0, 2.0, 3.0]])
    np.testing.assert_allclose(metrics.parameter_distance(a, b), [3.0, 0.0])
    np.testing.assert_allclose(metrics.parameter_distance(10 * a, 10 * b), [30.0, 0.0])


def test_parameter_distance_refuses_what_does_not_pair() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3\) and \(2, 3\)"):
        metrics.parameter_distance(np.zeros((1, 3)), np.zeros((2, 3)))  # would broadcast
    with pytest.raises(ValueError, match="b must be finite; row 1"):
        metrics.parameter_distance(np.zeros((2, 2)), np.array([[0.0, 0.0], [0.0, np.inf]]))


@pytest.mark.parametrize("measure", [metrics.cosine, metrics.distance])
def test_embeddings_that_do_not_pair_are_refused(measure) -> None:
    with pytest.raises(ValueError, match=r"one shape, found \(3, 16\) and \(1, 16\)"):
        measure(_embeddings(0, 3), _embeddings(1, 1))  # would broadcast


def rank_among(swaps, gallery, true, **how):
    """The rank where the gallery's own rows are the sources."""
    return metrics.source_rank(swaps, gallery[true], gallery, true, **how)


def retrieval(swaps, gallery, true, k=1):
    return float(np.mean(metrics.retrieved(rank_among(swaps, gallery, true), k)))


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
    monkeypatch.setattr(metrics, "_CHUNK", 7)
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
    assert metrics.retrieved(rank).tolist() == [1, 0, 0, 0, 1]
    assert metrics.retrieved(rank, 5).tolist() == [1, 1, 1, 0, 1]
    assert metrics.retrieved(rank).dtype == np.float64
    with pytest.raises(ValueError, match="found 0 at 2"):
        metrics.retrieved(np.array([1, 2, 0]))
    with pytest.raises(ValueError, match="at least 1"):
        metrics.retrieved(rank, k=0)


def test_retrieval_equals_scikit_learns_top_k() -> None:
    swaps, gallery, true = _embeddings(0, 40), _embeddings(1, 30), np.arange(40) % 30
    scores = sklearn.metrics.pairwise.cosine_similarity(swaps, gallery)
    for k in (1, 5):
        expected = sklearn.metrics.top_k_accuracy_score(true, scores, k=k, labels=np.arange(30))
        assert retrieval(swaps, gallery, true, k) == pytest.approx(expected)


def test_a_collapsed_embedder_scores_zero_not_one() -> None:
    collapsed = np.tile(_embeddings(0, 1), (37, 1))
    assert np.all(rank_among(collapsed, collapsed, np.arange(37)) == 37)
    assert metrics.rank1(collapsed, np.arange(37) // 2) == 0.0


def test_source_rank_is_of_the_very_picture_that_was_swapped_in_beside_other_people() -> None:
    gallery = np.array([[1.0, 0.0], [0.0, 1.0]])
    swap, source = np.array([[1.0, 0.6]]), np.array([[0.6, 1.0]])
    # Its person's own row, which is nearer still, does not count; without a row of its own it would.
    assert metrics.source_rank(swap, source, gallery, np.array([0])).tolist() == [1]
    assert metrics.source_rank(swap, source, gallery, np.array([1])).tolist() == [1]
    assert metrics.source_rank(np.array([[1.0, 0.1]]), source, gallery, np.array([-1])).tolist() == [2]


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
        metrics.source_rank(swaps, swaps, gallery, np.array([0, 4]))
    with pytest.raises(ValueError, match="2 integers"):
        metrics.source_rank(swaps, swaps, gallery, np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="at least 1"):
        retrieval(swaps, gallery, np.array([0, 1]), k=0)


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


# --- verification -----------------------------------------------------------------------------------------


def _tied_scores() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 9, size=31) / 8.0, rng.integers(-4, 6, size=53) / 8.0


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


@pytest.mark.parametrize("tied", [True, False])
def test_roc_equals_scikit_learn(tied: bool) -> None:
    genuine, impostor = _tied_scores() if tied else (_embeddings(0, 4).ravel() + 1, _embeddings(1, 5).ravel())
    labels = np.repeat([1, 0], [len(genuine), len(impostor)])
    scores = np.concatenate([genuine, impostor])
    expected = sklearn.metrics.roc_curve(labels, scores, drop_intermediate=False)
    for found, wanted in zip(metrics.roc_curve(genuine, impostor), expected, strict=True):
        np.testing.assert_allclose(found, wanted)
    assert metrics.roc_auc(genuine, impostor) == pytest.approx(sklearn.metrics.roc_auc_score(labels, scores))
    for far in (0.05, 0.1, 0.3, 0.9):
        assert metrics.tar_at_far(genuine, impostor, far) == pytest.approx(expected[1][expected[0] <= far].max())


def test_tar_at_far_by_hand() -> None:
    impostor = np.array([0.1, 0.2, 0.3, 0.4])
    genuine = np.array([0.25, 0.35, 0.4, 0.5])
    # At 0.5 nothing false is accepted; one in four is down to 0.35, where three of four genuine pairs pass.
    assert metrics.tar_at_far(genuine, impostor, 0.25) == 0.75
    assert metrics.tar_at_far(genuine, impostor, 0.49) == 0.75
    assert metrics.tar_at_far(genuine, impostor, 0.5) == 1.0
    assert metrics.tar_at_far(np.full(4, 0.4), np.full(4, 0.4), 0.25) == 0.0  # all tied: accepted together or not


@pytest.mark.parametrize("denominator", [3, 1000, 10**6])
def test_tar_at_far_spends_the_last_impostor_that_far_allows(denominator: int) -> None:
    impostor = np.arange(float(denominator))
    genuine = np.array([denominator - 1.0, 0.5])  # the first ties with the best impostor
    assert metrics.tar_at_far(genuine, impostor, 1 / denominator) == 0.5
    with pytest.raises(ValueError, match=f"at least {denominator} impostor pairs, found {denominator - 1}"):
        metrics.tar_at_far(genuine, impostor[1:], 1 / denominator)


def test_tar_at_far_is_perfect_apart_and_chance_when_shuffled() -> None:
    low, high = np.linspace(-1, 0, 200), np.linspace(0.1, 1, 30)
    assert metrics.tar_at_far(high, low, 0.01) == 1.0
    assert metrics.tar_at_far(-high, -low, 0.01) == 0.0
    noise = np.random.default_rng(0).normal(size=20000)
    assert metrics.tar_at_far(noise[:10000], noise[10000:], 0.1) == pytest.approx(0.1, abs=0.02)
    with pytest.raises(ValueError, match=r"\(0, 1\), found 1"):
        metrics.tar_at_far(high, low, 1)

"""Metrics against hand-computed values, an outside library, brute force, chance, and simulated coverage."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from smoothswap_jax.metrics import per_pair


def _images(seed: int, n: int = 3, size: tuple[int, int] = (6, 5)) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, size=(n, *size, 3)).astype(np.float32)


def _embeddings(seed: int, n: int, d: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def test_mse_by_hand() -> None:
    a = np.zeros((2, 2, 1, 1), np.float32)
    b = np.array([[1.0, -1.0], [0.5, 0.0]], np.float32).reshape(2, 2, 1, 1)
    np.testing.assert_allclose(per_pair.mse(a, b), [1.0, 0.125])


def test_psnr_equals_scikit_image() -> None:
    a, b = _images(0), _images(1)
    expected = [peak_signal_noise_ratio(x, y, data_range=2.0) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(per_pair.psnr(a, b), expected, rtol=1e-6)


def test_equal_images_are_perfect() -> None:
    a = _images(0)
    assert np.all(per_pair.mse(a, a) == 0)
    assert np.all(np.isposinf(per_pair.psnr(a, a)))


def test_black_against_white_is_the_worst() -> None:
    white = np.ones((1, 4, 4, 3), np.float32)
    assert per_pair.mse(white, -white) == 4.0
    assert per_pair.psnr(white, -white) == 0.0


def test_mse_is_computed_in_float64() -> None:
    a = np.full((1, 8, 8, 3), 1e-4, np.float16)
    assert per_pair.mse(a, np.zeros_like(a)).tolist() == pytest.approx([float(a[0, 0, 0, 0]) ** 2])  # 0 in float16


def test_masked_mse_by_hand() -> None:
    a, b = np.zeros((1, 1, 3, 2), np.float32), np.array([[[[1.0, -1.0], [0.5, 0.5], [9.0, 9.0]]]], np.float32)
    assert per_pair.masked_mse(a, b, np.array([[[True, True, False]]])) == pytest.approx((1 + 0.25) / 2)
    assert per_pair.masked_mse(a, b, np.array([[[1.0, 0.25, 0.0]]])) == pytest.approx((1 + 0.25 * 0.25) / 1.25)


def test_masked_mse_splits_the_error_into_inside_and_outside() -> None:
    a, b = _images(0), _images(1)
    mask = np.random.default_rng(2).uniform(size=a.shape[:3])
    np.testing.assert_allclose(per_pair.masked_mse(a, b, np.ones(a.shape[:3], bool)), per_pair.mse(a, b))
    inside, outside = per_pair.masked_mse(a, b, mask), per_pair.masked_mse(a, b, 1 - mask)
    share = mask.mean(axis=(1, 2))
    np.testing.assert_allclose(share * inside + (1 - share) * outside, per_pair.mse(a, b))
    assert np.all(per_pair.masked_mse(a, a, mask) == 0)


def test_masked_mse_refuses_unfit_masks() -> None:
    a = _images(0)
    empty = np.ones(a.shape[:3])
    empty[1] = 0
    with pytest.raises(ValueError, match="row 1 is empty"):
        per_pair.masked_mse(a, a, empty)
    with pytest.raises(ValueError, match=r"\[0, 1\], found 255\.0 to 255\.0"):
        per_pair.masked_mse(a, a, np.full(a.shape[:3], 255, np.uint8))
    with pytest.raises(ValueError, match=r"\[0, 1\], found nan"):
        per_pair.masked_mse(a, a, np.full(a.shape[:3], np.nan))
    with pytest.raises(ValueError, match=r"\(3, 6, 5\), found \(3, 6, 5, 1\)"):
        per_pair.masked_mse(a, a, np.ones((*a.shape[:3], 1)))


@pytest.mark.parametrize("size", [(11, 11), (20, 33)])
def test_ssim_equals_scikit_image(size: tuple[int, int]) -> None:
    a = np.cumsum(_images(0, size=size), axis=1).astype(np.float64) / 4  # smooth one way, and partly beyond the range
    b = 0.7 * a + 0.2 * _images(1, size=size)
    ours = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = [structural_similarity(x, y, channel_axis=-1, data_range=2.0, **ours) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(per_pair.ssim(a, b), expected, rtol=0, atol=1e-12)
    assert np.ptp(expected) > 1e-3


def test_ssim_of_equal_images_is_one_and_of_unrelated_ones_chance() -> None:
    a, b = _images(0, size=(48, 48)), _images(1, size=(48, 48))
    np.testing.assert_allclose(per_pair.ssim(a, a), 1.0)
    np.testing.assert_allclose(per_pair.ssim(a, b), 0.0, atol=0.03)


def test_ssim_of_flat_images_by_hand() -> None:
    # No variance: only the luminance is left, (2 x y + c1) / (x^2 + y^2 + c1) with c1 = (0.01 * 2)^2.
    x, y = np.full((1, 12, 12, 1), 0.5), np.full((1, 12, 12, 1), -0.25)
    assert per_pair.ssim(x, y) == pytest.approx((-0.25 + 4e-4) / (0.3125 + 4e-4))


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="11 x 11 pixels, found 10 x 40"):
        per_pair.ssim(np.zeros((1, 10, 40, 3)), np.zeros((1, 10, 40, 3)))


def test_pixel_metrics_refuse_integers_and_unequal_shapes() -> None:
    with pytest.raises(TypeError, match="uint8"):
        per_pair.mse(np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 2, 2, 3), np.float32))
    with pytest.raises(ValueError, match="one shape"):
        per_pair.mse(_images(0, n=1), _images(0, n=3))  # would broadcast
    with pytest.raises(ValueError, match=r"\[b, h, w, c\]"):
        per_pair.mse(_images(0)[0], _images(0)[0])


def test_cosine_by_hand_and_free_of_scale() -> None:
    a = np.array([[1.0, 0.0], [3.0, 4.0], [1.0, 1.0]])
    b = np.array([[2.0, 0.0], [4.0, 3.0], [-5.0, -5.0]])
    np.testing.assert_allclose(per_pair.cosine(a, b), [1.0, 0.96, -1.0])


def test_cosine_refuses_a_zero_embedding_by_row() -> None:
    a = np.ones((3, 4))
    b = a.copy()
    b[1] = 0
    with pytest.raises(ValueError, match=r"b must .* row 1"):
        per_pair.cosine(a, b)


def test_distance_by_hand_and_against_cosine() -> None:
    a = np.array([[1.0, 0.0], [3.0, 4.0], [1.0, 1.0], [2.0, 0.0]])
    b = np.array([[2.0, 0.0], [4.0, 3.0], [-5.0, -5.0], [0.0, 7.0]])
    np.testing.assert_allclose(per_pair.distance(a, b), [0.0, 0.08**0.5, 2.0, 2**0.5], rtol=0, atol=4e-15)
    a, b = _embeddings(0, 50), _embeddings(1, 50)
    np.testing.assert_allclose(per_pair.distance(a, b) ** 2, 2 - 2 * per_pair.cosine(a, b))


def test_distance_of_shuffled_pairs_is_that_of_strangers() -> None:
    z = _embeddings(0, 2000, d=64)
    assert per_pair.distance(z, 3 * z).max() < 1e-7
    # Independent directions lie sqrt(2) apart, less some 1 / (8 d).
    shuffled = per_pair.distance(z, z[np.random.default_rng(1).permutation(2000)])
    assert shuffled.mean() == pytest.approx(2**0.5, abs=0.01)


def test_distance_keeps_small_angles() -> None:
    a, b = np.array([[1.0, 0.0]]), np.array([[1.0, 1e-10]])
    assert per_pair.distance(a, b) == pytest.approx(1e-10)  # the cosine of it is 1


def test_parameter_distance_by_hand_and_with_scale() -> None:
    a, b = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]), np.array([[1.0, 2.0, 2.0], [1.0, 2.0, 3.0]])
    np.testing.assert_allclose(per_pair.parameter_distance(a, b), [3.0, 0.0])
    np.testing.assert_allclose(per_pair.parameter_distance(10 * a, 10 * b), [30.0, 0.0])


def test_parameter_distance_refuses_what_does_not_pair() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3\) and \(2, 3\)"):
        per_pair.parameter_distance(np.zeros((1, 3)), np.zeros((2, 3)))  # would broadcast
    with pytest.raises(ValueError, match="b must be finite; row 1"):
        per_pair.parameter_distance(np.zeros((2, 2)), np.array([[0.0, 0.0], [0.0, np.inf]]))


@pytest.mark.parametrize("measure", [per_pair.cosine, per_pair.distance])
def test_embeddings_that_do_not_pair_are_refused(measure) -> None:
    with pytest.raises(ValueError, match=r"one shape, found \(3, 16\) and \(1, 16\)"):
        measure(_embeddings(0, 3), _embeddings(1, 1))  # would broadcast

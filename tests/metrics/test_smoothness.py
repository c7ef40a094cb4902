"""Interpolation on the sphere against exact angles, extended precision, scipy and brute force."""

import numpy as np
import pytest
from scipy.spatial import geometric_slerp

from smoothswap_jax.metrics import smoothness
from smoothswap_jax.metrics.smoothness import interpolation, slerp

RATIOS = np.linspace(0, 1, 11)


def _embeddings(seed: int, n: int, d: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def _unit(z: np.ndarray) -> np.ndarray:
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


# --- slerp ------------------------------------------------------------------------------------------------


def test_slerp_by_hand() -> None:
    a, b = np.array([[2.0, 0.0]]), np.array([[0.0, 5.0]])
    third = slerp(a, b, 1 / 3)
    np.testing.assert_allclose(third, [[np.cos(np.pi / 6), 0.5]])


def test_slerp_equals_scipy() -> None:
    a, b = _unit(_embeddings(0, 5)), _unit(_embeddings(1, 5))
    for x, y in zip(a, b, strict=True):
        found = slerp(np.tile(x, (11, 1)), np.tile(y, (11, 1)), RATIOS)
        np.testing.assert_allclose(found, geometric_slerp(x, y, RATIOS), rtol=0, atol=1e-14)


@pytest.mark.parametrize("angle", [0.0, 1e-300, 1e-16, 1e-9, 1e-4, 1.0, np.pi / 2, 3.0, np.pi - 1e-4, np.pi - 1e-6])
def test_slerp_by_angle(angle: float) -> None:
    a = np.array([[1.0, 0.0, 0.0]])
    b = np.array([[np.cos(angle), np.sin(angle), 0.0]])
    for r in RATIOS:
        found = slerp(a, b, float(r))[0]
        # Near pi the direction of b's remainder is known to 1e-16 / (pi - angle) only.
        tolerance = 4e-15 if angle < 3.1 else 1e-15 / (np.pi - angle)
        np.testing.assert_allclose(found, [np.cos(r * angle), np.sin(r * angle), 0], rtol=0, atol=tolerance)


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="needs more than 64 bits of a long double")
@pytest.mark.parametrize("angle", [1e-12, 1e-8, 1e-3, 1.0, 3.0, np.pi - 1e-3, np.pi - 1e-5])
def test_slerp_equals_the_formula_in_extended_precision(angle: float) -> None:
    a, aside = _unit(_embeddings(0, 20, d=512)), _embeddings(1, 20, d=512)
    aside = _unit(aside - np.sum(aside * a, axis=1, keepdims=True) * a)
    b = np.cos(angle) * a + np.sin(angle) * aside
    wide_a, wide_b = _unit(a.astype(np.longdouble)), _unit(b.astype(np.longdouble))
    between = 2 * np.arctan2(np.linalg.norm(wide_a - wide_b, axis=1), np.linalg.norm(wide_a + wide_b, axis=1))[:, None]
    for r in (0.1, 0.5, 0.9):
        r = np.longdouble(r)
        expected = (np.sin((1 - r) * between) * wide_a + np.sin(r * between) * wide_b) / np.sin(between)
        found = slerp(a, b, float(r))
        # Near pi a plain Gram-Schmidt step is off by twice this, because it leaves something along a.
        assert np.linalg.norm(found - expected, axis=1).max() < (4e-15 if angle < 3.1 else 2e-16 / (np.pi - angle))


@pytest.mark.parametrize("seed", range(3))
def test_slerp_keeps_unit_length_ends_and_even_steps(seed: int) -> None:
    a, b = _embeddings(seed, 40), _embeddings(seed + 10, 40)
    r = np.random.default_rng(seed).uniform(size=40)
    found = slerp(a, b, r)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=4e-15)
    np.testing.assert_allclose(slerp(a, b, 0.0), _unit(a), rtol=0, atol=4e-15)
    np.testing.assert_allclose(slerp(a, b, 1.0), _unit(b), rtol=0, atol=4e-15)
    np.testing.assert_allclose(found, slerp(b, a, 1 - r), rtol=0, atol=1e-14)
    whole = np.arccos(np.sum(_unit(a) * _unit(b), axis=1))
    np.testing.assert_allclose(np.arccos(np.sum(found * _unit(a), axis=1)), r * whole, rtol=0, atol=1e-12)


def test_slerp_of_opposite_directions_goes_through_the_furthest_axis() -> None:
    a = np.array([[0.0, 0.6, 0.8], [0.0, 1.0, 0.0]])
    for off in (0.0, 1e-9):  # rounding does not choose the way
        b = -a + np.array([0.0, off, -off])
        half = slerp(a, b, 0.5)
        np.testing.assert_allclose(half, [[1, 0, 0], [1, 0, 0]], rtol=0, atol=4e-15)
        quarter = slerp(a, b, 0.25)
        np.testing.assert_allclose(quarter, np.sqrt(0.5) * (a + np.array([1.0, 0, 0])), rtol=0, atol=4e-15)
        np.testing.assert_allclose(slerp(a, b, 1.0), b, rtol=0, atol=2e-9)
    many = _embeddings(0, 30)
    turned = slerp(many, -2 * many, 0.5)
    np.testing.assert_allclose(np.sum(turned * many, axis=1), 0, rtol=0, atol=1e-14)
    np.testing.assert_allclose(slerp(many, -many, 0.3), slerp(-many, many, 0.7), rtol=0, atol=4e-15)


def test_slerp_of_one_direction_stays_there() -> None:
    a = _embeddings(0, 30)
    np.testing.assert_allclose(slerp(a, 7 * a, 0.3), _unit(a), rtol=0, atol=4e-15)


def test_slerp_refuses_unfit_ratios_and_embeddings() -> None:
    a = _embeddings(0, 3)
    with pytest.raises(ValueError, match=r"\[0, 1\], found 0.5 to 1.5"):
        slerp(a, a, np.array([0.5, 1.5, 1.0]))
    with pytest.raises(ValueError, match=r"\[0, 1\], found nan"):
        slerp(a, a, float("nan"))
    with pytest.raises(ValueError, match=r"\(3,\), found \(2,\)"):
        slerp(a, a, np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match="two dimensions, found 1"):
        slerp(np.ones((1, 1)), -np.ones((1, 1)), 0.5)
    with pytest.raises(ValueError, match="one shape"):
        slerp(a, a[:1], 0.5)


# --- smoothness and novelty -------------------------------------------------------------------------------


def test_interpolation_by_hand() -> None:
    angles = np.radians([0, 20, 50, 90, 200])
    gallery = 3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    z_a, z_b = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 2.0], [-1.0, 0.0]])
    found = interpolation(z_a, z_b, gallery, ratios=(0.2, 0.5, 0.6))
    # From 0 to 90 degrees: 18 finds 20, 45 and 54 find 50. From 90 to 180: 108, 135 find 90, 144 finds 90 by 2 degrees.
    assert found.nearest.tolist() == [[1, 2, 2], [3, 3, 3]]
    chord = 2 * np.sin(np.radians([[2, 5, 4], [18, 45, 54]]) / 2)
    np.testing.assert_allclose(found.distance, chord)
    np.testing.assert_allclose(found.d_smooth, chord.mean(axis=1) / np.sqrt(2))
    assert found.novelty.tolist() == [2, 1]


def test_interpolation_equals_brute_force() -> None:
    z_a, z_b, gallery = _embeddings(0, 12), _embeddings(1, 12), _embeddings(2, 200)
    found = interpolation(z_a, z_b, gallery)
    for i in range(12):
        walk = geometric_slerp(_unit(z_a[i]), _unit(z_b[i]), np.arange(1, 10) / 10)
        apart = np.linalg.norm(walk[:, None] - _unit(gallery)[None], axis=2)
        assert found.nearest[i].tolist() == apart.argmin(axis=1).tolist()
        np.testing.assert_allclose(found.distance[i], apart.min(axis=1))
        pair = np.linalg.norm(_unit(z_a[i]) - _unit(z_b[i]))
        assert found.d_smooth[i] == pytest.approx(apart.min(axis=1).mean() / pair)
        assert found.novelty[i] == len(set(apart.argmin(axis=1).tolist()))
    assert found.novelty.min() < found.novelty.max()


def test_interpolation_is_the_same_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    z_a, z_b, gallery = _embeddings(0, 12), _embeddings(1, 12), _embeddings(2, 50)
    whole = interpolation(z_a, z_b, gallery)
    for block in (1, 5 * 50):
        monkeypatch.setattr(smoothness, "_BLOCK", block)
        for part, expected in zip(interpolation(z_a, z_b, gallery), whole, strict=True):
            np.testing.assert_allclose(part, expected)


def test_a_gallery_that_holds_the_way_is_perfectly_smooth() -> None:
    z_a, z_b = _embeddings(0, 4), _embeddings(1, 4)
    ways = np.stack([slerp(z_a, z_b, r) for r in smoothness.RATIOS], axis=1)
    found = interpolation(z_a, z_b, np.concatenate([_embeddings(2, 30), ways.reshape(36, 16)]))
    assert found.nearest.tolist() == (30 + np.arange(36).reshape(4, 9)).tolist()
    assert found.d_smooth.max() < 1e-12
    assert np.all(found.novelty == 9)


def test_a_gallery_of_one_face_has_no_novelty() -> None:
    found = interpolation(_embeddings(0, 5), _embeddings(1, 5), np.tile(_embeddings(2, 1), (40, 1)))
    assert np.all(found.nearest == 0)  # of equal rows the first
    assert np.all(found.novelty == 1)


def test_a_gallery_of_strangers_is_no_nearer_than_chance() -> None:
    # In 512 dimensions independent directions lie sqrt(2) apart, and so do the pairs; the best of 20 is nearer by 6%:
    # the largest of 20 cosines is 1.87 / sqrt(512) = 0.083 on average, and sqrt(2 - 2 * 0.083) / sqrt(2) = 0.96. The
    # nine points of a walk differ little, so nine walks are hardly more than one.
    found = interpolation(_embeddings(0, 50, 512), _embeddings(1, 50, 512), _embeddings(2, 20, 512))
    assert found.d_smooth.mean() == pytest.approx(0.94, abs=0.03)


@pytest.mark.parametrize("d", [16, 513])  # at 513 a matrix product gives some copies another last bit
def test_copies_in_the_gallery_count_once(d: int) -> None:
    z_a, z_b, gallery = _embeddings(0, 54, d), _embeddings(1, 54, d), _embeddings(2, 5, d)
    once = interpolation(z_a, z_b, gallery)
    many = interpolation(z_a, z_b, np.tile(gallery, (7, 1)))
    assert many.nearest.tolist() == once.nearest.tolist()
    assert many.novelty.tolist() == once.novelty.tolist()


def test_ratios_may_come_in_any_order() -> None:
    z_a, z_b, gallery = _embeddings(0, 12), _embeddings(1, 12), _embeddings(2, 200)
    order = [4, 0, 8, 2, 6, 1, 7, 3, 5]  # back and forth
    found = interpolation(z_a, z_b, gallery, [smoothness.RATIOS[i] for i in order])
    expected = interpolation(z_a, z_b, gallery)
    assert found.nearest.tolist() == expected.nearest[:, order].tolist()
    assert found.novelty.tolist() == expected.novelty.tolist()
    np.testing.assert_allclose(found.d_smooth, expected.d_smooth)


def test_interpolation_does_not_see_lengths() -> None:
    z_a, z_b, gallery = _embeddings(0, 5), _embeddings(1, 5), _embeddings(2, 30)
    lengths = np.random.default_rng(3).uniform(0.1, 10, size=(30, 1))
    found, expected = interpolation(4 * z_a, z_b / 3, gallery * lengths), interpolation(z_a, z_b, gallery)
    assert found.nearest.tolist() == expected.nearest.tolist()
    np.testing.assert_allclose(found.d_smooth, expected.d_smooth)


def test_interpolation_refuses_pairs_of_one_direction_and_unfit_shapes() -> None:
    z_a, z_b, gallery = _embeddings(0, 5), _embeddings(1, 5), _embeddings(2, 30)
    z_b[3] = 1.7 * z_a[3]
    with pytest.raises(ValueError, match="pair 3"):
        interpolation(z_a, z_b, gallery)
    with pytest.raises(ValueError, match="one dimension, found 16 and 8"):
        interpolation(z_a, z_b[::-1], gallery[:, :8])
    with pytest.raises(ValueError, match="one ratio"):
        interpolation(z_a, z_b[::-1], gallery, ratios=())
    gallery[7] = 0
    with pytest.raises(ValueError, match=r"gallery must .* row 7"):
        interpolation(z_a, -z_b, gallery)

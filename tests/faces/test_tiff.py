"""TIFFs that cannot be read, or would be read in other colours, are refused and called what they are."""

import struct
import warnings

import numpy as np
import pytest

from smoothswap_jax.faces import tiff
from smoothswap_jax.faces.photos import PhotoError, load_photo
from tests.faces import make_photos as made


@pytest.mark.parametrize(
    "how, said",
    [
        ({"planarconfig": "SEPARATE"}, "16-bit colours in separate planes"),
        ({"extrasamples": ["ASSOCALPHA"]}, "16-bit colours multiplied by their alpha"),
    ],
)
def test_tiffs_that_would_be_read_wrong_are_refused(how, said, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    values = np.random.default_rng(0).integers(0, 65535, (20, 30, 4 if "extrasamples" in how else 3), np.uint16)
    planes = np.moveaxis(values, 2, 0) if "planarconfig" in how else values
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="RGB", **how)
    with pytest.raises(PhotoError, match=f"a.tif: found a TIFF of {said}"):
        load_photo(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "kind, channels, how, said",
    [
        ("f4", 3, {"photometric": "RGB"}, "32-bit floats; wanted 8 or 16 bits a channel"),
        ("f4", 1, {"photometric": "MINISBLACK"}, "32-bit floats; wanted 8 or 16 bits a channel"),
        ("f2", 3, {"photometric": "RGB", "byteorder": ">"}, "16-bit floats; wanted 8 or 16 bits a channel"),
        ("f8", 3, {"photometric": "RGB", "bigtiff": True}, "64-bit floats; wanted 8 or 16 bits a channel"),
        ("u4", 3, {"photometric": "RGB"}, "32-bit integers; wanted 8 or 16 bits a channel"),
        ("u1", 5, {"photometric": "SEPARATED", "extrasamples": ["UNASSALPHA"]}, "8-bit CMYK with alpha; wanted RGB"),
        ("u2", 3, {"photometric": "CIELAB"}, "16-bit Lab; wanted RGB or grey"),
    ],
)
def test_tiffs_that_cannot_be_read_are_called_what_they_are(kind, channels, how, said, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    values = np.random.default_rng(0).integers(0, 255, (20, 30, channels)).astype(kind)
    tifffile.imwrite(tmp_path / "a.jpg", values[..., 0] if channels == 1 else values, **how)
    with pytest.raises(PhotoError, match=f"a.jpg: found a TIFF of {said}"):
        load_photo(tmp_path / "a.jpg")


def test_a_tiff_compressed_in_a_way_of_its_own_is_called_so(tmp_path):
    data = bytearray(made.deep_grey(made.picture(), "TIFF"))
    entry = data.index(struct.pack("<HHI", tiff.COMPRESSION, 3, 1))
    data[entry + 8 : entry + 10] = struct.pack("<H", 50002)  # JPEG XL
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(PhotoError, match=r"a\.tif: found a TIFF compressed by method 50002; wanted deflate"):
        load_photo(tmp_path / "a.tif")


def test_damaged_tiffs_of_floats_give_one_error(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "whole.tif", np.ones((4, 4, 3), "f4"), photometric="RGB")
    data = (tmp_path / "whole.tif").read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(300):
        spoilt = bytearray(data[: rng.integers(4, len(data))])
        for place in rng.integers(4, len(spoilt) + 1, 3 * (trial % 2)):
            spoilt[place - 1] = rng.integers(0, 256)
        (tmp_path / "a.tif").write_bytes(spoilt)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of what is cut off
            with pytest.raises(PhotoError, match=r"a\.tif: found "):
                load_photo(tmp_path / "a.tif")

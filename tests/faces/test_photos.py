"""Photos of every common mode are read correctly; bad files give one clear error; nothing is half-written."""

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin, features

from smoothswap_jax.faces import photos
from smoothswap_jax.faces.photos import PhotoError, check_output, load_photo, load_reduced, photo_from_pil, save_photo
from tests.faces import make_photos as made


@pytest.fixture
def rgb() -> np.ndarray:
    """A smooth colour picture, 20 high and 30 wide, with no symmetry."""
    y, x = np.mgrid[0:20, 0:30]
    return np.stack([x * 8, y * 12, 255 - x * 4 - y * 6], axis=2).astype(np.uint8)


def _saved(folder: Path, image: Image.Image, name: str, **options) -> Path:
    image.save(folder / name, **options)
    return folder / name


def test_rgb_png_is_exact(tmp_path, rgb):
    loaded = load_photo(_saved(tmp_path, Image.fromarray(rgb), "a.png"))
    assert loaded.dtype == np.uint8 and loaded.flags.writeable
    np.testing.assert_array_equal(loaded, rgb)


def test_grey_is_repeated(tmp_path, rgb):
    grey = rgb[:, :, 0]
    loaded = load_photo(_saved(tmp_path, Image.fromarray(grey), "a.png"))
    assert loaded.shape == (20, 30, 3)
    np.testing.assert_array_equal(loaded, np.repeat(grey[:, :, None], 3, axis=2))


def test_one_bit_is_black_and_white(tmp_path):
    loaded = load_photo(_saved(tmp_path, Image.fromarray(np.eye(9, dtype=bool)), "a.png"))
    np.testing.assert_array_equal(loaded[:, :, 1], np.eye(9, dtype=np.uint8) * 255)


def test_palette_gives_its_colours(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    loaded = load_photo(_saved(tmp_path, image, "a.png"))
    np.testing.assert_array_equal(loaded, [[[10, 20, 30], [200, 100, 50]]])


def test_alpha_is_composited_on_white(tmp_path, rgb):
    alpha = np.zeros((20, 30, 1), np.uint8)
    alpha[:, 10:20] = 128
    alpha[:, 20:] = 255
    loaded = load_photo(_saved(tmp_path, Image.fromarray(np.concatenate([rgb, alpha], axis=2)), "a.png"))
    assert (loaded[:, :10] == 255).all()
    half = 255 + (rgb[:, 10:20].astype(float) - 255) * 128 / 255
    assert np.abs(loaded[:, 10:20] - half).max() <= 1
    np.testing.assert_array_equal(loaded[:, 20:], rgb[:, 20:])


def test_transparent_palette_entry_is_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    loaded = load_photo(_saved(tmp_path, image, "a.png", transparency=0))
    np.testing.assert_array_equal(loaded, [[[255, 255, 255], [200, 100, 50]]])


def test_cmyk_jpeg(tmp_path, rgb):
    path = _saved(tmp_path, Image.fromarray(rgb).convert("CMYK"), "a.jpg", quality=100, subsampling=0)
    with Image.open(path) as image:
        assert image.mode == "CMYK"
    assert np.abs(load_photo(path).astype(int) - rgb).mean() < 2


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_16_bits_are_scaled_not_clipped(tmp_path, name):
    levels = np.linspace(0, 65535, 225).astype(np.uint16).reshape(15, 15)
    loaded = load_photo(_saved(tmp_path, Image.fromarray(levels), name))
    np.testing.assert_array_equal(loaded, np.rint(levels / 257)[:, :, None].repeat(3, axis=2))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(tmp_path, rgb, orientation):
    upright = Image.fromarray(rgb)
    # What a camera stores for each orientation tag: the inverse of the turn that the tag asks for.
    turn = Image.Transpose
    stored = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_90,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_270,
    }
    image = upright.transpose(stored[orientation]) if orientation in stored else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(load_photo(_saved(tmp_path, image, "a.png", exif=exif)), rgb)


def test_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = _saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert (load_photo(path) == (255, 0, 0)).all()


def test_srgb_profile_changes_nothing(tmp_path, rgb):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = _saved(tmp_path, Image.fromarray(rgb), "a.png", icc_profile=profile)
    np.testing.assert_array_equal(load_photo(path), rgb)


def test_other_profile_is_converted(tmp_path):
    # A profile that says: the first channel is green, the second is red.
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"tmp!").replace(b"gXYZ", b"rXYZ").replace(b"tmp!", b"gXYZ")
    profile = profile.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    stored = np.full((4, 4, 3), (100, 200, 60), np.uint8)
    loaded = load_photo(_saved(tmp_path, Image.fromarray(stored), "a.png", icc_profile=profile))
    assert np.abs(loaded.astype(int) - (200, 100, 60)).max() <= 2


def test_broken_profile_warns_and_keeps_the_pixels(tmp_path, rgb):
    path = _saved(tmp_path, Image.fromarray(rgb), "a.png", icc_profile=b"nonsense")
    with pytest.warns(UserWarning, match=r"a\.png: unusable colour profile"):
        np.testing.assert_array_equal(load_photo(path), rgb)


def _jpeg(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.tile(rgb, (8, 8, 1))).save(buffer, "JPEG")
    return buffer.getvalue()


def _png(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _png_header(width: int, height: int) -> bytes:
    """A PNG that promises a picture of this size and holds almost nothing."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        parts += [struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(kind + body))]
    return b"".join(parts)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("empty.jpg", lambda rgb: b"", "empty file"),
        ("text.jpg", lambda rgb: b"Dear Sir or Madam, this is no picture.", "no known image"),
        ("half.jpg", lambda rgb: _jpeg(rgb)[: len(_jpeg(rgb)) // 2], "damaged or truncated"),
        ("half.png", lambda rgb: _png(rgb)[: len(_png(rgb)) // 2], "damaged or truncated"),
        ("head.png", lambda rgb: _png(rgb)[:20], "image"),
    ],
)
def test_bad_content_is_a_photo_error(tmp_path, rgb, name, content, found):
    path = tmp_path / name
    path.write_bytes(content(rgb))
    with pytest.raises(PhotoError, match=found) as caught:
        load_photo(path)
    assert str(path) in str(caught.value) and "wanted" in str(caught.value)


def test_missing_folder_and_pipe(tmp_path):
    with pytest.raises(PhotoError, match="no such file"):
        load_photo(tmp_path / "none.jpg")
    with pytest.raises(PhotoError, match="found a folder"):
        load_photo(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PhotoError, match="pipe"):
        load_photo(tmp_path / "pipe.jpg")


@pytest.mark.parametrize("shape", [(10_000, 9_000), (50_000, 50_000)])  # just over ours; over Pillow's own limit
def test_absurd_size_is_refused_before_decoding(tmp_path, shape):
    path = tmp_path / "bomb.png"
    path.write_bytes(_png_header(*shape))
    with pytest.raises(PhotoError, match="wanted at most 80,000,000"):
        load_photo(path)


def test_the_limit_can_be_raised_and_says_so(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(_png_header(20_000, 15_000))
    with pytest.raises(PhotoError, match=r"found 20000x15000 pixels; wanted at most 80,000,000.*--max-megapixels"):
        load_photo(path)
    with pytest.raises(PhotoError, match="damaged or truncated"):  # it goes on to decode
        load_photo(path, max_pixels=300_000_000)


@pytest.mark.parametrize(("form", "sides"), [("JPEG", (24, 32)), ("PNG", (32, 43)), ("WEBP", (32, 43))])
def test_large_photos_are_read_reduced(tmp_path, monkeypatch, form, sides):
    """JPEG at a half, a quarter or an eighth as it is decoded; others at the least whole fraction, afterwards."""
    path, rgb = tmp_path / "a", made.picture()
    path.write_bytes(made.turned(rgb, 6, form) if form != "WEBP" else made.clear(rgb, form))
    whole = load_photo(path)
    np.testing.assert_array_equal(load_reduced(path), whole)
    monkeypatch.setattr(photos, "MAX_PIXELS", 96 * 128 // 7)
    small = load_reduced(path)
    assert small.shape == (*sides, 3) and small.dtype == np.uint8
    wanted = np.asarray(Image.fromarray(whole).resize(sides[::-1], Image.Resampling.BOX), float)
    assert np.abs(small - wanted).mean() < 2
    with pytest.raises(PhotoError, match="wanted at most 12,287"):
        load_reduced(path, max_pixels=96 * 128 - 1)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_108_megapixels(tmp_path, form):
    path = tmp_path / "phone"
    path.write_bytes(made.huge(form, middle=made.picture(900, 1200)))
    assert load_reduced(path).shape == (4500, 6000, 3)
    assert load_photo(path, max_pixels=500_000_000).shape == (9000, 12_000, 3)


def test_heic(tmp_path, rgb):
    pytest.importorskip("pillow_heif")
    (tmp_path / "phone.jpg").write_bytes(made.heic(made.picture()))  # told by its content
    assert np.abs(load_photo(tmp_path / "phone.jpg").astype(int) - made.picture()).mean() < 4


HEIC_START = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf"


def test_heic_without_its_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(HEIC_START + bytes(100))
    with pytest.raises(PhotoError, match=r'a\.heic: found a HEIC photo; .*pip install "smoothswap-jax\[heic\]"'):
        load_photo(tmp_path / "a.heic")


def test_avif(tmp_path):
    if not features.check("avif"):
        pytest.skip("needs a Pillow with AVIF")
    file = io.BytesIO()
    Image.fromarray(made.picture()).save(file, "AVIF", quality=95)
    (tmp_path / "a.png").write_bytes(file.getvalue())
    assert np.abs(load_photo(tmp_path / "a.png").astype(int) - made.picture()).mean() < 3


def test_avif_that_this_pillow_cannot_read(tmp_path, monkeypatch):
    monkeypatch.setattr(photos.features, "check", lambda name: False)
    (tmp_path / "a.avif").write_bytes(HEIC_START.replace(b"heic", b"avif") + bytes(100))
    with pytest.raises(PhotoError, match=r"found an AVIF photo; wanted Pillow 11\.3 or later"):
        load_photo(tmp_path / "a.avif")


@pytest.mark.parametrize(
    "start", [b"\0\0\0\x18ftypisom\0\0\2\0isommp42", b"\x1aE\xdf\xa3\1\2\3\4", b"RIFF\0\0\0\0AVI LIST"]
)
def test_videos_are_called_so(tmp_path, start):
    (tmp_path / "a.jpg").write_bytes(start + bytes(100))
    with pytest.raises(PhotoError, match=r"a\.jpg: found a video"):
        load_photo(tmp_path / "a.jpg")


def test_float_pixels_are_refused():
    with pytest.raises(PhotoError, match=r"target image: found float pixels"):
        photo_from_pil(Image.new("F", (4, 4)), "target image")


@pytest.mark.parametrize("name", ["b.png", "b.jpg", "B.JPEG", "b.webp", "b.tif"])
def test_save_and_load(tmp_path, rgb, name):
    save_photo(tmp_path / name, rgb)
    loaded = load_photo(tmp_path / name)
    assert np.abs(loaded.astype(int) - rgb).mean() < (0.001 if name.endswith(("png", "tif")) else 6)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["b.gif", "b", "b.png.exe", ".png"])
def test_unknown_suffix(tmp_path, rgb, name):
    with pytest.raises(PhotoError, match=r"wanted a name that ends in one of \.png, \.jpg"):
        check_output(tmp_path / name)
    with pytest.raises(PhotoError):
        save_photo(tmp_path / name, rgb)
    assert not list(tmp_path.iterdir())


def test_output_needs_a_folder_and_is_not_one(tmp_path):
    with pytest.raises(PhotoError, match="found no folder"):
        check_output(tmp_path / "none" / "b.png")
    (tmp_path / "c.png").mkdir()
    with pytest.raises(PhotoError, match="found a folder of this name"):
        check_output(tmp_path / "c.png")


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, rgb, monkeypatch):
    save_photo(tmp_path / "b.png", rgb)
    before = (tmp_path / "b.png").read_bytes()

    def broken(self, path, **options):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(photos.Image.Image, "save", broken)
    with pytest.raises(PhotoError, match="disk full"):
        save_photo(tmp_path / "b.png", rgb[::-1])
    assert (tmp_path / "b.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["b.png"]


def test_save_refuses_arrays_that_are_not_photos(tmp_path, rgb):
    with pytest.raises(PhotoError, match=r"found float64 \[20, 30, 3\]; wanted uint8"):
        save_photo(tmp_path / "b.png", rgb.astype(float))
    with pytest.raises(PhotoError, match="only PNG keeps them"):
        save_photo(tmp_path / "b.jpg", rgb, text={"a": "b"})


def test_too_little_memory_is_said(tmp_path, rgb, monkeypatch):
    path = _saved(tmp_path, Image.fromarray(rgb), "a.png")

    def no_memory(self):
        raise MemoryError

    monkeypatch.setattr(photos.Image.Image, "load", no_memory)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", no_memory)
    with pytest.raises(PhotoError, match=r"a\.png: found 30x20 pixels, for which the memory is not enough"):
        load_photo(path)


def test_programs_are_not_run(tmp_path, monkeypatch):
    """PostScript would be, by Ghostscript where it is installed."""
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.eps")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", None)
    with pytest.raises(PhotoError, match=r"photo.eps: found .* bytes in no known image format"):
        load_photo(tmp_path / "photo.eps")


def test_damaged_exif_says_nothing_of_the_picture(tmp_path):
    rgb = np.full((30, 40, 3), 90, np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.webp", lossless=True, exif=b"XM\0*\0\0\0\x08" + bytes(30))
    np.testing.assert_array_equal(load_photo(tmp_path / "a.webp"), rgb)


def test_an_avif_without_a_clock_is_damaged(tmp_path):
    pictures = [Image.fromarray(np.full((16, 24, 3), 60 * k, np.uint8)) for k in range(3)]
    pictures[0].save(tmp_path / "a.avif", save_all=True, append_images=pictures[1:])
    data = bytearray((tmp_path / "a.avif").read_bytes())
    at = data.index(b"mdhd") + 4
    at += 4 + (16 if data[at] else 8)
    data[at : at + 4] = bytes(4)  # ticks in a second
    (tmp_path / "a.avif").write_bytes(data)
    with pytest.raises(PhotoError, match=r"a.avif: found a damaged or truncated image \(division by zero\)"):
        load_photo(tmp_path / "a.avif")

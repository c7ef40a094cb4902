"""Photos keep what they were: each kind is read, changed in one place, written, and read again."""

import contextlib
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from smoothswap_jax.faces.align import Patch
from smoothswap_jax.faces.colours import Space
from smoothswap_jax.faces.original import Original, read_original, with_changes
from smoothswap_jax.faces.photos import PhotoError, load_photo
from smoothswap_jax.faces.writing import check_fits, save_original
from tests.faces import make_photos as made

ROWS, COLUMNS = slice(20, 60), slice(30, 80)
CHANGE = np.float32([25, -10, 15])


def patch(change=CHANGE) -> Patch:
    return Patch(ROWS, COLUMNS, np.broadcast_to(np.float32(change), (40, 50, 3)))


def outside(shape: tuple[int, ...]) -> np.ndarray:
    mask = np.ones(shape[:2], bool)
    mask[ROWS, COLUMNS] = False
    return mask


def read(folder: Path, content: bytes, name: str = "a") -> Original:
    (folder / name).write_bytes(content)
    return read_original(folder / name)


def changed(folder: Path, content: bytes, output: str, *, colour: bool = False, change=CHANGE):
    """(the photo before, the same after it was written and read, the notes)."""
    before = read(folder, content)
    notes = save_original(folder / output, with_changes(before, [patch(change)], colour=colour))
    return before, read_original(folder / output), notes


def facts(original: Original):
    return original.space, original.alpha, original.values.dtype, original.values.shape


LOSSLESS = {
    "rgb": (lambda rgb: _png(rgb), "o.png"),
    "alpha": (made.clear, "o.png"),
    "alpha, webp": (lambda rgb: made.clear(rgb, "WEBP"), "o.webp"),
    "palette": (made.palette, "o.png"),
    "p3": (lambda rgb: made.p3(rgb, "PNG"), "o.png"),
    "grey": (lambda rgb: made.grey(rgb, "PNG"), "o.png"),
    "grey with a profile": (lambda rgb: made.grey(rgb, "PNG", icc_profile=made.grey_profile()), "o.png"),
    "16-bit grey": (made.deep_grey, "o.png"),
    "16-bit grey, tiff": (lambda rgb: made.deep_grey(rgb, "TIFF"), "o.tif"),
    "16 bits": (made.deep_colours, "o.png"),
    "16 bits and alpha": (lambda rgb: made.deep_colours(rgb, alpha=True), "o.png"),
    "16 bits, tiff": (lambda rgb: made.deep_colours(rgb, "TIFF"), "o.tif"),
    "16 bits and alpha, tiff": (lambda rgb: made.deep_colours(rgb, "TIFF", alpha=True), "o.tif"),
    "inks": (made.inks, "o.tif"),
    "inks without a profile": (lambda rgb: made.inks(rgb, profile=False), "o.tif"),
}


def _png(rgb: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_files_stay_what_they_were_and_change_only_there(tmp_path, kind):
    pytest.importorskip("cv2")
    draw, output = LOSSLESS[kind]
    before, after, notes = changed(tmp_path, draw(made.picture()), output)
    assert facts(after) == facts(before) and notes == ()
    assert (before.values.dtype == np.uint16) == kind.startswith("16")
    assert before.alpha == ("alpha" in kind or kind == "palette")
    assert before.space.mode == ("L" if "grey" in kind else "CMYK" if "inks" in kind else "RGB")
    still = outside(before.values.shape)
    np.testing.assert_array_equal(after.values[still], before.values[still])
    if before.alpha:
        np.testing.assert_array_equal(after.values[..., -1], before.values[..., -1])
    # What is seen changed as it should: to 1 level where the file's values are those of sRGB, else to a few.
    opaque = before.photo[ROWS, COLUMNS] if not before.alpha else before.photo[ROWS, COLUMNS][:, :6]
    seen = after.photo[ROWS, COLUMNS][:, : opaque.shape[1]].astype(float) - opaque
    wanted = CHANGE @ np.float32([0.299, 0.587, 0.114]) if before.space.mode == "L" else CHANGE
    assert np.abs(seen - wanted).max() <= {"inks": 6, "p3": 2, "grey with a profile": 2}.get(kind, 1.1)


def test_16_bits_are_between_those_of_8(tmp_path):
    pytest.importorskip("cv2")
    before, after, _ = changed(tmp_path, made.deep_colours(made.picture()), "o.png", change=(0.25, 0.25, 0.25))
    difference = after.values[ROWS, COLUMNS].astype(int) - before.values[ROWS, COLUMNS]
    assert (difference == 64).all()  # 0.25 * 257


def test_colours_outside_of_srgb_stay(tmp_path):
    wide = np.full((96, 128, 3), (250, 20, 30), np.uint8)  # sRGB has no such red
    before, after, _ = changed(tmp_path, made.p3(wide, "PNG"), "o.png", change=(0, 30, 0))
    assert before.photo[0, 0, 0] == 255
    assert after.values[40, 50, 0] >= 245


def test_where_nothing_shows_nothing_changes(tmp_path):
    before = read(tmp_path, made.clear(made.picture()))
    whole = Patch(slice(0, 96), slice(0, 128), np.broadcast_to(CHANGE, (96, 128, 3)))
    after = with_changes(before, [whole])
    hidden = before.values[..., 3] == 0
    assert hidden.any()
    np.testing.assert_array_equal(after.values[hidden], before.values[hidden])
    assert (after.values[~hidden] != before.values[~hidden])[:, :3].all()


# --- JPEG


def _jpeg_facts(path: Path):
    with Image.open(path) as image:
        return image.quantization, JpegImagePlugin.get_sampling(image), bool(image.info.get("progressive")), image.mode


@pytest.mark.parametrize(
    "draw",
    [
        made.jpeg,
        lambda rgb: made.jpeg(rgb, quality=60, subsampling=1),
        lambda rgb: made.jpeg(rgb, quality=97, subsampling=0, progressive=True),
        made.grey,
        lambda rgb: made.inks(rgb, form="JPEG"),
        made.p3,
    ],
    ids=["4:2:0", "4:2:2", "4:4:4 progressive", "grey", "inks", "p3"],
)
def test_jpeg_keeps_its_tables_and_sampling(tmp_path, draw):
    before, after, notes = changed(tmp_path, draw(made.picture()), "o.jpg")
    assert _jpeg_facts(tmp_path / "o.jpg") == _jpeg_facts(tmp_path / "a")
    assert facts(after) == facts(before) and notes == ()
    still = outside(before.values.shape)
    still[:, :112] &= False  # blocks of 16 pixels that touch the change
    assert np.abs(after.values[still].astype(int) - before.values[still]).mean() < 1.5


def test_what_pillow_cannot_write_becomes_finer(tmp_path):
    pytest.importorskip("cv2")
    _, _, notes = changed(tmp_path, made.jpeg_411(made.picture()), "o.jpg")
    assert _jpeg_facts(tmp_path / "o.jpg")[:2] == (_jpeg_facts(tmp_path / "a")[0], 0) and notes == ()


# --- metadata


@pytest.mark.parametrize("orientation", range(1, 9))
def test_metadata_stay_and_the_orientation_is_applied(tmp_path, orientation):
    (tmp_path / "a.jpg").write_bytes(made.turned(made.picture(), orientation))
    before = read_original(tmp_path / "a.jpg")
    np.testing.assert_array_equal(before.photo, load_photo(tmp_path / "a.jpg"))
    for output in ("o.jpg", "o.png", "o.tif", "o.webp"):
        assert save_original(tmp_path / output, before) == ()
        with Image.open(tmp_path / output) as image:
            assert image.size == (128, 96)
            found = image.getexif()
            assert found[0x010F] == "Maker" and found.get(0x0112, 1) == 1
            inner = found.get_ifd(0x8769)
            assert inner[0x9003] == "2026:01:02 03:04:05" and inner[0x927C] == b"makers own"
            assert (inner[0xA002], inner[0xA003]) == (128, 96)
            assert found.get_ifd(0x8825)[2] == (51.0, 30.0, 0.0)
            assert b"a camera" in image.info["xmp"] and b"Orientation" not in image.info["xmp"]
            if output != "o.webp":
                assert tuple(map(float, image.info["dpi"])) == pytest.approx((300, 300), abs=0.01)


def test_16_bit_png_keeps_metadata(tmp_path):
    pytest.importorskip("cv2")
    before = read(tmp_path, made.deep_colours(made.picture()))
    told = read(tmp_path, made.turned(made.picture(), 6), "b").metadata
    profile = made.p3_profile()
    wide = dataclasses.replace(before, metadata=told, space=Space("RGB", profile))
    assert save_original(tmp_path / "o.png", wide) == ()
    after = read_original(tmp_path / "o.png")
    assert after.space.profile == profile and after.metadata.exif == told.exif and after.metadata.xmp == told.xmp
    np.testing.assert_allclose(after.metadata.dpi, told.dpi, atol=0.01)
    np.testing.assert_array_equal(after.values, before.values)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_16_bits_are_turned_upright(tmp_path, orientation):
    pytest.importorskip("cv2")
    upright = read(tmp_path, made.deep_colours(made.picture(24, 32)))
    turn = lambda channel: np.asarray(Image.fromarray(channel).transpose(made.STORED[orientation]))
    stored = np.stack([turn(upright.values[..., c]) for c in range(3)], axis=2)
    told = dataclasses.replace(upright.metadata, exif=made.exif(orientation).tobytes())
    save_original(tmp_path / "o.png", dataclasses.replace(upright, values=stored, metadata=told))
    found = read_original(tmp_path / "o.png")
    np.testing.assert_array_equal(found.values, upright.values)
    np.testing.assert_array_equal(found.photo, upright.photo)


def test_thumbnails_of_the_old_face_go(tmp_path):
    thumbnail = made.jpeg(made.picture(24, 32))
    head = made.exif().tobytes()
    file = io.BytesIO()
    exif = Image.Exif()
    exif.load(head)
    ifd = exif.get_ifd(0x0001)  # IFD1
    ifd[0x0201], ifd[0x0202] = len(head), len(thumbnail)
    Image.fromarray(made.picture()).save(file, "JPEG", exif=exif.tobytes() + thumbnail)
    before = read(tmp_path, file.getvalue())
    assert thumbnail in file.getvalue()
    save_original(tmp_path / "o.jpg", before)
    content = (tmp_path / "o.jpg").read_bytes()
    assert thumbnail not in content and content.count(b"\xff\xd8\xff") == 1
    assert Image.open(tmp_path / "o.jpg").getexif()[0x010F] == "Maker"


def test_xmp_of_further_pictures_is_left_out_and_said(tmp_path):
    xmp = made.XMP.replace(b"dc:source", b'hdrgm:Version="1.0" dc:source')
    _, after, notes = changed(tmp_path, made.jpeg(made.picture(), xmp=xmp), "o.jpg")
    assert after.metadata.xmp == b"" and len(notes) == 1 and "XMP" in notes[0]


def test_text_and_comments(tmp_path):
    before = read(tmp_path, made.jpeg(made.picture(), comment="by hand"))
    save_original(tmp_path / "o.png", before)
    assert read_original(tmp_path / "o.png").metadata.text == {"Comment": "by hand"}
    save_original(tmp_path / "o.jpg", read_original(tmp_path / "o.png"))
    assert Image.open(tmp_path / "o.jpg").info["comment"] == b"by hand"


# --- what a format cannot keep is said


@pytest.mark.parametrize(
    ("draw", "output", "said"),
    [
        (made.clear, "o.jpg", "transparent parts become white"),
        (made.deep_colours, "o.jpg", "16 bits a channel become 8"),
        (made.deep_grey, "o.webp", "16 bits a channel become 8"),
        (made.inks, "o.png", r"inks (CMYK) become sRGB"),
        (lambda rgb: made.grey(rgb, "PNG", icc_profile=made.grey_profile()), "o.webp", "its grey profile become"),
    ],
)
def test_losses_are_said_in_a_line_each(tmp_path, draw, output, said):
    pytest.importorskip("cv2")
    before, after, notes = changed(tmp_path, draw(made.picture()), output, change=(0, 0, 0))
    assert len(notes) == 1 and said in notes[0]
    assert np.abs(after.photo.astype(int) - before.photo).mean() < 4


def test_animations_say_that_one_picture_is_left(tmp_path):
    file = io.BytesIO()
    frames = [Image.fromarray(made.picture(seed=seed)) for seed in (0, 1, 2)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert read(tmp_path, file.getvalue()).notes == ("it has 3 pictures; the first was taken",)


def test_profiles_that_cannot_be_used(tmp_path):
    broken = read(tmp_path, made.jpeg(made.picture(), icc_profile=b"nonsense"))
    assert broken.space.profile is None and "cannot be used" in broken.notes[0]
    one_way = made.inks_profile(back=False)
    image = Image.fromarray(made.picture()).convert("CMYK")
    file = io.BytesIO()
    image.save(file, "TIFF", icc_profile=one_way)
    before, after, notes = changed(tmp_path, file.getvalue(), "o.tif", change=(0, 0, 0))
    assert before.space.mode == "RGB" and "becomes 8-bit sRGB" in notes[0]
    np.testing.assert_array_equal(after.photo, before.photo)


def test_grey_files_become_coloured_only_when_asked(tmp_path):
    for draw in (made.grey, made.deep_grey, lambda rgb: made.grey(rgb, "PNG", icc_profile=made.grey_profile())):
        before, after, _ = changed(tmp_path, draw(made.picture()), "o.png", colour=True)
        assert before.space.mode == "L" and after.space.mode == "RGB" and after.values.dtype == before.values.dtype
        seen = after.photo[ROWS, COLUMNS].astype(float) - before.photo[ROWS, COLUMNS]
        assert np.abs(seen - CHANGE).max() <= 1.1


def test_too_long_for_the_format_is_found_before_the_work(tmp_path):
    long = read(tmp_path, _png(np.zeros((1, 20_000, 3), np.uint8)))
    with pytest.raises(PhotoError, match=r"o\.webp: found a photo of 20000x1 pixels; wanted a \.png or \.tif name"):
        check_fits(tmp_path / "o.webp", long)
    check_fits(tmp_path / "o.jpg", long)


@pytest.mark.filterwarnings("ignore")  # Pillow's, on the way
@pytest.mark.parametrize("kind", ["16-bit.png", "16-bit.tif", "cmyk-plain.tif", "turned-6.jpg", "alpha.webp", "p3.png"])
def test_damaged_files_are_photo_errors(tmp_path, kind):
    whole = made.KINDS[kind](made.picture(24, 32))
    rng = np.random.default_rng(0)
    for _ in range(20):
        content = bytearray(whole[: rng.integers(1, len(whole))] if rng.random() < 0.3 else whole)
        for place in rng.integers(0, len(content), 8):
            content[place] = rng.integers(256)
        with contextlib.suppress(PhotoError):
            save_original(tmp_path / "o.png", read(tmp_path, bytes(content)))

"""Photos and videos told by their first bytes, whatever they are called."""

import io

import pytest
from PIL import Image

from smoothswap_jax.faces.kinds import ANIMATION, PHOTO, UNKNOWN, VIDEO, is_video, iso_format, kind_of
from tests.faces.make_videos import CONTAINERS, frames_of, write_animation, write_live, write_video


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_is_a_video_without_its_suffix(tmp_path, name):
    av = pytest.importorskip("av")
    container, codec, pixels = CONTAINERS[name]
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    write_video(tmp_path / "a.jpg", frames_of(4), container=container, codec=codec, pixels=pixels)
    assert kind_of(tmp_path / "a.jpg") == VIDEO


def test_a_live_recording_is_a_video(tmp_path):
    write_live(tmp_path / "a.webm", frames_of(4))
    assert kind_of(tmp_path / "a.webm") == VIDEO


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "BigTIFF", "JPEG2000", "PPM", "ICO"])
def test_photos_are_photos_whatever_they_are_called(tmp_path, form):
    options = {"big_tiff": True} if form == "BigTIFF" else {}
    Image.fromarray(frames_of(1)[0]).save(tmp_path / "a.mp4", form.replace("Big", ""), **options)
    assert kind_of(tmp_path / "a.mp4") == PHOTO and not is_video(tmp_path / "a.mp4")


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "avif"])
def test_pictures_that_move_and_those_that_do_not(tmp_path, suffix):
    if suffix == "avif" and not pytest.importorskip("PIL.features").check("avif"):
        pytest.skip("this Pillow has no AVIF")
    for count, kind in ((1, PHOTO), (3, ANIMATION)):
        write_animation(tmp_path / f"a.{suffix}", frames_of(count))
        assert kind_of(tmp_path / f"a.{suffix}") == kind and is_video(tmp_path / f"a.{suffix}") == (kind == ANIMATION)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_one_that_is_cut_anywhere_has_a_kind(tmp_path, suffix):
    write_animation(tmp_path / f"a.{suffix}", frames_of(3, 16, 16))
    data = (tmp_path / f"a.{suffix}").read_bytes()
    for length in range(len(data)):
        (tmp_path / "cut").write_bytes(data[:length])
        assert kind_of(tmp_path / "cut") in (PHOTO, ANIMATION, UNKNOWN)


def test_a_png_with_other_chunks_before_its_animation(tmp_path):
    file = io.BytesIO()
    first, *rest = [Image.fromarray(frame) for frame in frames_of(3)]
    first.save(file, "PNG", save_all=True, append_images=rest, dpi=(72, 72), icc_profile=b"x" * 400)
    (tmp_path / "a.png").write_bytes(file.getvalue())
    assert kind_of(tmp_path / "a.png") == ANIMATION


def test_only_what_nothing_tells_goes_by_its_name(tmp_path):
    for content in (b"", b"text", bytes(100), b"RIFF\0\0\0\0WAVE", b"G" + bytes(2000)):
        for name in ("a.jpg", "a.mp4", "a.TS", "a"):
            (tmp_path / name).write_bytes(content)
            assert kind_of(tmp_path / name) == UNKNOWN
            assert is_video(tmp_path / name) == (name in ("a.mp4", "a.TS"))
    assert kind_of(tmp_path / "none.jpg") == UNKNOWN == kind_of(tmp_path)


@pytest.mark.parametrize(
    "brands, kind, form",
    [
        (b"isomavc1", VIDEO, ""),
        (b"qt  ", VIDEO, ""),
        (b"M4V ", VIDEO, ""),
        (b"3gp5", VIDEO, ""),
        (b"M4A ", UNKNOWN, ""),
        (b"crx isom", PHOTO, ""),
        (b"heicmif1heic", PHOTO, "HEIC"),
        (b"mif1heic", PHOTO, "HEIC"),
        (b"hevsmif1", PHOTO, "HEIC"),
        (b"avifmif1", PHOTO, "AVIF"),
        (b"mif1avif", PHOTO, "AVIF"),
        (b"avisavifmsf1", ANIMATION, "AVIF"),
        (b"avifavis", ANIMATION, "AVIF"),
    ],
)
def test_brands(tmp_path, brands, kind, form):
    box = brands[:4] + bytes(4) + brands[4:]
    data = (8 + len(box)).to_bytes(4, "big") + b"ftyp" + box + b"\0\0\0\x08free" + bytes(64)
    (tmp_path / "a").write_bytes(data)
    assert (kind_of(tmp_path / "a"), iso_format(data)) == (kind, form)

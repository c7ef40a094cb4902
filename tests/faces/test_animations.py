"""Pictures that move, read and written."""

import io
import struct
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces.animation_writing import NEW_COLOURS, Shown, animation_bytes
from smoothswap_jax.faces.animations import (
    animated_frames,
    animation_facts,
    animation_times,
    animation_values,
    is_animation,
)
from smoothswap_jax.faces.video_frames import VideoError
from tests.faces.make_videos import frames_of, write_animation

RNG = np.random.default_rng(0)
CLOCK = [100, 30, 500, 0, 70]


def coloured(count: int, height: int = 40, width: int = 60) -> np.ndarray:
    """A picture of so many colours, each of them somewhere."""
    colours = np.stack(np.unravel_index(RNG.permutation(8000)[:count], (20, 20, 20)), 1) * 12 + 7
    places = np.concatenate([np.arange(count), RNG.integers(0, count // 4, height * width - count)])
    return colours[RNG.permutation(places)].reshape(height, width, 3).astype(np.uint8)


def written(path, frames, plays: int = 0, form: str = "GIF", **how):
    path.write_bytes(animation_bytes(frames, plays, form, **how))
    return path


def read(path) -> tuple[list[np.ndarray], list[int]]:
    found = list(animation_values(str(path)))
    return [one.values for one in found], [int(one.milliseconds) for one in found]


def shown(pictures, clock=CLOCK, changed=None) -> list[Shown]:
    changed = changed or [np.zeros(picture.shape[:2], bool) for picture in pictures]
    return [Shown(one, Fraction(t), mask) for one, t, mask in zip(pictures, clock, changed, strict=True)]


@pytest.mark.parametrize("form, suffix", [("GIF", "gif"), ("WEBP", "webp"), ("PNG", "png")])
@pytest.mark.parametrize("plays", [0, 1, 4])
def test_frames_times_and_how_often_they_are_shown_come_back(tmp_path, form, suffix, plays):
    pictures = [coloured(250) for _ in CLOCK]
    path = written(tmp_path / f"a.{suffix}", shown(pictures), plays, form)
    found, clock = read(path)
    assert clock == CLOCK
    for one, picture in zip(found, pictures, strict=True):
        np.testing.assert_array_equal(one[:, :, :3], picture)
        assert (one[:, :, 3] == 255).all()
    facts = animation_facts(str(path))
    assert facts == (form, 60, 40, 5, plays, True, False, False) and is_animation(str(path))


def test_frames_that_are_the_same_stay_apart_in_a_gif(tmp_path):
    picture = coloured(256)
    found, clock = read(written(tmp_path / "a.gif", shown([picture] * 5)))
    assert clock == CLOCK and all((one[:, :, :3] == picture).all() for one in found)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 5
    assert len((tmp_path / "a.gif").read_bytes()) < 8000  # what is the same is not written again


def test_a_part_of_a_gif_that_changes_has_the_palette_for_itself(tmp_path):
    first = coloured(256)
    second = first.copy()
    second[5:25, 5:25] = coloured(200, 20, 20)
    found, _ = read(written(tmp_path / "a.gif", shown([first, second], [50, 50])))
    np.testing.assert_array_equal(found[0][:, :, :3], first)
    np.testing.assert_array_equal(found[1][:, :, :3], second)


def test_new_colours_take_the_places_of_the_rarest(tmp_path):
    old = coloured(256)
    new, changed = old.copy(), np.zeros(old.shape[:2], bool)
    changed[:20, :20] = True
    new[changed] = coloured(300, 20, 20)[changed[:20, :20]]
    (found,), _ = read(written(tmp_path / "a.gif", shown([new], [50], [changed])))
    found = found[:, :, :3].astype(int)
    outside = np.unique(new[~changed], axis=0)
    same = (found == new).all(2)
    lost = outside[[(found[(new == one).all(2)] != one).any() for one in outside]]
    assert len(outside) - len(lost) == 256 - NEW_COLOURS
    assert same[~changed].mean() > 0.9  # the rarest are where the fewest pixels are
    assert np.abs(found - new)[changed].mean() < 16 and len(np.unique(found.reshape(-1, 3), axis=0)) <= 256


def test_a_gif_is_seen_through_wholly_or_not_at_all(tmp_path):
    pictures = []
    for k in range(3):
        alpha = np.full((40, 60, 1), 255, np.uint8)
        alpha[10 * k : 10 * k + 10] = (0, 100, 128)[k]
        pictures.append(np.concatenate([coloured(255), alpha], axis=2))
    found, _ = read(written(tmp_path / "a.gif", shown(pictures, [40] * 3)))
    for one, picture in zip(found, pictures, strict=True):
        seen = picture[:, :, 3] >= 128
        np.testing.assert_array_equal(one[:, :, 3], 255 * seen)
        np.testing.assert_array_equal(one[seen][:, :3], picture[seen][:, :3])


@pytest.mark.parametrize("form, suffix", [("WEBP", "webp"), ("PNG", "png")])
def test_alpha_is_kept_in_webp_and_png(tmp_path, form, suffix):
    pictures = [np.concatenate([coloured(900), RNG.integers(1, 256, (40, 60, 1), np.uint8)], axis=2) for _ in range(3)]
    found, _ = read(written(tmp_path / f"a.{suffix}", shown(pictures, [40] * 3), 0, form))
    for one, picture in zip(found, pictures, strict=True):
        np.testing.assert_array_equal(one, picture)


def test_colours_under_what_is_transparent_stay_in_a_webp_of_one_picture(tmp_path):
    picture = np.concatenate([coloured(900), np.zeros((40, 60, 1), np.uint8)], axis=2)
    (found,), _ = read(written(tmp_path / "a.webp", [Shown(picture, Fraction(40))], 0, "WEBP"))
    np.testing.assert_array_equal(found, picture)


def test_a_photo_in_a_gif_has_the_256_colours_that_suit_it(tmp_path):
    y, x = np.mgrid[:60, :80]
    photo = np.stack([3 * x, 4 * y, x + y], 2).astype(np.uint8)
    (found,), _ = read(written(tmp_path / "a.gif", [Shown(photo, Fraction(40))]))
    assert np.abs(found[:, :, :3].astype(int) - photo).mean() < 4


def test_times_of_a_gif_are_rounded_to_hundredths_without_drifting(tmp_path):
    clock = [Fraction(1000, 30)] * 30
    _, found = read(written(tmp_path / "a.gif", shown([coloured(16) for _ in clock], clock)))
    assert sum(found) == 1000 and set(found) == {30, 40}
    _, found = read(written(tmp_path / "b.gif", shown([coloured(16)], [10**7])))
    assert found == [655_350]


@pytest.mark.parametrize(
    "form, longest, most", [("GIF", 655_350, 65_536), ("WEBP", 2**24 - 1, 65_535), ("PNG", 65_535_000, 2**31 - 1)]
)
def test_a_format_is_given_no_more_than_it_holds(tmp_path, form, longest, most):
    for plays in (65_535, 65_536, 65_537, 70_000, 2**32 - 1):
        path = written(tmp_path / "a.bin", shown([coloured(16), coloured(16)], [10**9, 50]), plays, form)
        assert animation_facts(str(path)).plays == min(plays, most)
    clock = [10**12, 70_123, 50]
    _, found = read(written(tmp_path / "b.bin", shown([coloured(16) for _ in clock], clock), 0, form))
    assert found[0] == longest and found[2] == 50 and abs(found[1] - clock[1]) <= (5 if form == "GIF" else 1)


def test_what_an_encoder_refuses_is_said(monkeypatch):
    def fails(*_, **__):
        raise struct.error("no room")

    monkeypatch.setattr(Image.Image, "save", fails)
    with pytest.raises(VideoError, match=r"found 2 frames that cannot be written as WEBP \(no room\)"):
        animation_bytes(shown([coloured(16)] * 2, [50, 50]), 0, "WEBP")


def test_more_than_eight_bits_are_told(tmp_path):
    assert not animation_facts(str(written(tmp_path / "a.png", shown([coloured(16)] * 2, [50, 60]), 0, "PNG"))).deep
    grey = [Image.fromarray(np.full((8, 8), 9000 * k, np.uint16)) for k in range(3)]
    grey[0].save(tmp_path / "b.png", save_all=True, append_images=grey[1:])
    assert animation_facts(str(tmp_path / "b.png")).deep


def test_what_browsers_do_not_show_for_that_short_a_time_lasts_a_tenth_of_a_second(tmp_path):
    path = written(tmp_path / "a.gif", shown([coloured(16) for _ in CLOCK]))
    assert [float(time) for time, *_ in animated_frames(str(path))] == [0, 0.1, 0.13, 0.63, 0.73]


def test_the_picture_of_a_png_for_viewers_that_know_no_animation_is_no_frame(tmp_path):
    frames = [Image.fromarray(picture) for picture in frames_of(4)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], default_image=True, duration=50)
    found, _ = read(tmp_path / "a.png")
    assert animation_facts(str(tmp_path / "a.png")).frames == len(found) == 3
    assert [one[0, 0, 0] for one in found] == [6, 12, 18]


def test_a_gif_is_an_animation_if_of_one_picture_and_a_photo_is_none(tmp_path):
    for suffix in ("gif", "png", "webp"):
        write_animation(tmp_path / f"a.{suffix}", frames_of(1))
        assert is_animation(str(tmp_path / f"a.{suffix}")) == (suffix == "gif")
    assert not is_animation(str(tmp_path / "none.gif"))


def test_lossy_webp_is_told_from_lossless(tmp_path):
    picture = shown([coloured(900), coloured(900)], [40, 40])
    for lossless in (True, False):
        path = written(tmp_path / "a.webp", picture, 0, "WEBP", lossless=lossless)
        assert animation_facts(str(path)).lossless == lossless


def test_damaged_files_are_told(tmp_path):
    for suffix in ("gif", "webp"):
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(b"GIF89a" if suffix == "gif" else b"RIFF\x30\0\0\0WEBPVP8X")
        with pytest.raises(VideoError, match=rf"a\.{suffix}: found an animation that cannot be read"):
            animation_facts(str(path))


def small(form: str, **how) -> bytes:
    """A file of four little frames."""
    pictures, data = [Image.fromarray(one) for one in frames_of(4, 24, 16)], io.BytesIO()
    pictures[0].save(data, form, save_all=True, append_images=pictures[1:], duration=80, **how)
    return data.getvalue()


def gif(*frames, size=(12, 10), transparent: int | None = None) -> bytes:
    """A GIF of (left, top, width, height, colour's number, disposal), each of one colour of four greys."""
    palette = np.repeat(np.array([10, 80, 160, 240], np.uint8), 3).tobytes()
    data = b"GIF89a" + struct.pack("<HHBBB", *size, 0x81, 0, 0) + palette
    for left, top, width, height, colour, disposal in frames:
        image = Image.new("P", (min(width, 99), min(height, 99)), colour)
        image.putpalette(palette)
        one = io.BytesIO()
        image.save(one, "GIF", optimize=False, interlace=0)
        pixels = one.getvalue()
        flags = pixels[10]
        pixels = pixels[13 + (3 << (flags & 7) + 1) :]
        pixels = pixels[pixels.index(b",") + 10 : -1]
        seen_through = (0, 0) if transparent is None else (1, transparent)
        data += b"!\xf9\x04" + struct.pack("<BHBB", disposal << 2 | seen_through[0], 10, seen_through[1], 0)
        data += struct.pack("<BHHHHB", 0x2C, left, top, width, height, 0) + pixels
    return data + b";"


def everything(path) -> None:
    """All that is asked of an animation."""
    animation_facts(str(path)), animation_times(str(path)), list(animation_values(str(path)))
    for *_, photo in animated_frames(str(path)):
        photo()


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "AVIF"])
def test_whatever_is_damaged_the_file_is_named(tmp_path, form):
    upright = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x01" + bytes(6)
    whole = small(form, **({} if form == "GIF" else {"exif": upright}))
    path, rng, refused = tmp_path / "a.bin", np.random.default_rng(1), 0
    for k in range(150):
        data = bytearray(whole)
        for at in rng.integers(0, min(len(data), 700), 1 + k % 3):
            data[at] = rng.choice([0, 1, 255, data[at] ^ 1 << rng.integers(8)])
        path.write_bytes(data[: None if k % 5 else rng.integers(len(data))])
        try:
            everything(path)
        except VideoError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 5


def test_what_pillow_raises_for_damaged_files_of_each_kind(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(small("WEBP", exif=b"XM\0*\0\0\0\x08" + bytes(30)))  # no EXIF that can be read: upright
    assert animation_facts(str(path))[1:4] == (24, 16, 4) and len(list(animation_values(str(path)))) == 4
    everything(path)
    data = bytearray(small("AVIF"))
    at = data.index(b"mdhd") + 4
    at += 4 + (16 if data[at] else 8)
    data[at : at + 4] = bytes(4)  # no ticks in a second
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"a.bin: found no whole picture"):
        everything(path)
    data = small("PNG")
    path.write_bytes(data[: data.index(b"IDAT") + 20])
    with pytest.raises(VideoError, match=r"a.bin: found no whole picture"):
        everything(path)
    path.write_bytes(gif((0, 0, 12, 10, 1, 1), (0, 0, 60_000, 60_000, 2, 1)))
    assert animation_facts(str(path)).frames == 2 and len(list(animation_values(str(path)))) == 1


def test_a_frame_of_a_gif_that_reaches_beyond_it_is_cut_there(tmp_path):
    path = tmp_path / "a.gif"
    path.write_bytes(gif((0, 0, 12, 10, 1, 1), (8, 7, 30, 30, 3, 1)))
    first, second = read(path)[0]
    assert first.shape == second.shape == (10, 12, 4) and (first[:, :, :3] == 80).all()
    assert (second[7:, 8:, :3] == 240).all() and (second[:7, :, :3] == 80).all()
    everything(path)


@pytest.mark.parametrize("transparent", [None, 2])
def test_places_of_a_gif_without_a_frame_are_transparent_as_in_browsers(tmp_path, transparent):
    path = tmp_path / "a.gif"
    path.write_bytes(
        gif((2, 2, 6, 6, 1, 1), (4, 4, 4, 4, 3, 2), (0, 0, 3, 3, 3, 3), (0, 0, 1, 1, 3, 1), transparent=transparent)
    )
    wanted = np.zeros((10, 12), int)  # the grey of what is seen
    wanted[2:8, 2:8] = 80
    steps = [wanted.copy()]
    wanted[4:8, 4:8] = 240
    steps.append(wanted.copy())
    wanted[4:8, 4:8] = 0  # was cleared
    steps.append(wanted.copy())
    steps[-1][:3, :3] = 240
    wanted[0, 0] = 240  # after what was there has come back
    steps.append(wanted)
    for values, greys in zip(read(path)[0], steps, strict=True):
        np.testing.assert_array_equal(values[:, :, 3], 255 * (greys > 0))
        np.testing.assert_array_equal(values[:, :, 0], greys)

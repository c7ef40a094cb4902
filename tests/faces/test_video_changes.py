"""Changes of a photo come out of the frame that they were put into, and nothing else does."""

import numpy as np
import pytest

from smoothswap_jax.faces.align import Patch
from smoothswap_jax.faces.video_changes import add_changes, lines
from smoothswap_jax.faces.video_frames import VideoError, photo_of_frame
from smoothswap_jax.faces.videos import decoded_frames
from tests.faces.make_videos import frames_of, turned, write_video
from tests.faces.video_checks import TURNS

ROWS, COLUMNS = slice(8, 28), slice(12, 36)
FORMATS = {
    # pixel format, tags (matrix, range, transfer, primaries): how exact a smooth change is seen, in grey levels
    ("yuv420p", None): 4, ("yuv420p10le", (1, 1, 1, 1)): 4, ("yuv422p", (1, 2, 13, 1)): 4, ("yuv411p", None): 7,
    ("yuv444p", (1, 1, 1, 1)): 2.5, ("yuv444p", (1, 2, 13, 1)): 2.5, ("yuv444p", (5, 1, 6, 5)): 2.5,
    ("yuv444p", (9, 1, 14, 1)): 2.5, ("yuva420p", None): 4, ("yuv444p", (1, 1, 13, 12)): 3,
    ("yuv444p10le", (9, 1, 16, 9)): 2.5, ("yuv444p10le", (9, 1, 18, 9)): 2.5, ("yuv420p10le", (9, 1, 14, 9)): 5,
    ("bgr0", None): 1, ("bgra", None): 1, ("gbrp10le", None): 1.5,
}  # fmt: skip


def wave() -> Patch:
    y, x = np.mgrid[:20, :24]
    return Patch(ROWS, COLUMNS, np.stack([30 * np.sin(x / 6), -40 * np.cos(y / 7), 25 * np.sin((x + y) / 9)], -1))


def first(path):
    return next(iter(decoded_frames(str(path))))


def numbers(frame) -> list[np.ndarray]:
    return [lines(plane).copy() for plane in frame.planes]


@pytest.mark.parametrize("pixels, tags", FORMATS)
def test_a_change_is_seen_as_it_was_meant_in_all_colours_and_depths(tmp_path, pixels, tags):
    picture = frames_of(21)[20]
    if tags and tags[2] in (16, 18):
        picture = picture.astype(np.uint16) * 128
    write_video(tmp_path / "a.mkv", [picture] * 2, container="matroska", codec="ffv1", pixels=pixels, tags=tags)
    one = first(tmp_path / "a.mkv")
    photo = photo_of_frame(one.frame, one.told, "a")
    alpha = numbers(one.frame)[3] if pixels == "yuva420p" else None
    changed = add_changes(one.frame, photo, [wave()], one.told, "a")
    wanted = photo.astype(float)
    wanted[ROWS, COLUMNS] += wave().change
    error = np.abs(photo_of_frame(changed, one.told, "a") - np.clip(wanted, 0, 255))
    assert error[10:26, 14:34].max() <= FORMATS[pixels, tags]
    assert error[ROWS, COLUMNS].mean() < 1.6
    outside = np.ones(photo.shape[:2], bool)
    outside[4:32, 4:44] = False  # chroma of several pixels is interpolated when it is shown
    assert error[outside].max() <= 0.5
    assert np.abs(wanted - photo).mean() > 1
    if alpha is not None:
        np.testing.assert_array_equal(numbers(changed)[3], alpha)


def test_what_no_change_touches_keeps_its_numbers_and_black_and_white_are_the_limits(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (48, 64, 3)).astype(np.uint8)
    write_video(
        tmp_path / "a.mkv", [noise], container="matroska", codec="ffv1", pixels="yuv444p10le", tags=(1, 1, 1, 1)
    )
    one = first(tmp_path / "a.mkv")
    photo, before = photo_of_frame(one.frame, one.told, "a"), numbers(one.frame)
    far = Patch(ROWS, COLUMNS, np.full((20, 24, 3), 300.0))
    changed = add_changes(one.frame, photo, [far, far], one.told, "a")
    touched = np.zeros((48, 64), bool)
    touched[ROWS, COLUMNS] = True
    for old, new in zip(before, numbers(changed), strict=True):
        same = old.view("<u2") == new.view("<u2")
        assert same[:, :64][~touched].all() and not same[:, :64][touched].all()
    seen = photo_of_frame(changed, one.told, "a")
    assert seen[ROWS, COLUMNS].min() >= 253
    assert int(numbers(changed)[0].view("<u2")[ROWS, COLUMNS].max()) <= 945  # white is 940: not 300 levels above it
    assert changed.pts == one.frame.pts and changed.time_base == one.frame.time_base


@pytest.mark.parametrize("matrix", TURNS)
def test_changes_of_an_upright_photo_go_where_the_frame_has_them(tmp_path, matrix):
    write_video(tmp_path / "a.mp4", frames_of(3), container="mp4", codec="libx264", pixels="yuv444p")
    one = first(turned(tmp_path / "a.mp4", tmp_path / "t.mp4", matrix))
    photo = photo_of_frame(one.frame, one.told, "a")
    changed = add_changes(one.frame, photo, [wave()], one.told, "a")
    wanted = photo.astype(float)
    wanted[ROWS, COLUMNS] += wave().change
    assert np.abs(photo_of_frame(changed, one.told, "a") - np.clip(wanted, 0, 255)).max() < 4


def test_pixels_that_are_not_square(tmp_path):
    write_video(tmp_path / "a.mp4", frames_of(21)[20:], codec="libx264", pixels="yuv444p", aspect=(16, 11))
    one = first(tmp_path / "a.mp4")
    photo = photo_of_frame(one.frame, one.told, "a")
    assert photo.shape == (48, 93, 3)
    seen = photo_of_frame(add_changes(one.frame, photo, [wave()], one.told, "a"), one.told, "a").astype(float)
    inner = np.s_[10:26, 15:33]
    wanted = photo[inner] + wave().change[2:18, 3:21]
    assert np.abs(seen[inner] - wanted).max() < 6
    assert np.abs(seen - photo)[:, 44:].max() <= 1


def test_a_later_frame_does_not_see_the_change(tmp_path):
    """The decoder predicts frames from earlier ones, which it holds itself."""
    write_video(tmp_path / "a.mp4", [frames_of(9)[8]] * 6, container="mp4", codec="libx264")
    frames = decoded_frames(str(tmp_path / "a.mp4"))
    shown = []
    for one in frames:
        photo = photo_of_frame(one.frame, one.told, "a")
        shown.append(photo.astype(int))
        add_changes(one.frame, photo, [wave()], one.told, "a")
    assert len(shown) == 6 and max(np.abs(photo - shown[0]).max() for photo in shown) <= 4


def test_pixels_that_cannot_be_taken_apart_are_refused(tmp_path):
    write_video(tmp_path / "a.mkv", frames_of(1), container="matroska", codec="ffv1", pixels="yuv420p")
    one = first(tmp_path / "a.mkv")
    odd = one.frame.reformat(format="rgb565le")
    with pytest.raises(VideoError, match="a: found the pixel format rgb565le; wanted"):
        add_changes(odd, photo_of_frame(one.frame, one.told, "a"), [wave()], one.told, "a")

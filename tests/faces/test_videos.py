"""Which frames come of real encoded videos, of every kind that `make_videos` makes."""

import gc

import numpy as np
import pytest

from smoothswap_jax.faces import video_container, videos
from smoothswap_jax.faces.videos import VideoError, frames_at, read_frames, sampled_frames
from tests.faces.make_videos import CONTAINERS, LENGTH, write_animation, write_live, write_video
from tests.faces.video_checks import FRAMES, check_pictures, faults, numbers

av = pytest.importorskip("av")


@pytest.mark.parametrize("count, indices", [(1, [0]), (4, [0, 10, 20, 30]), (3, [0, 13, 26]), (100, list(range(40)))])
def test_evenly_spaced_frames_with_their_own_pictures(video, count, indices):
    found = list(sampled_frames(str(video), count))
    assert [frame.number for frame in found] == indices == videos.frame_numbers(str(video), count)
    for frame in found:
        assert frame.picture.shape == (48, 64, 3)
        np.testing.assert_allclose(frame.picture, FRAMES[frame.number].astype(float), atol=10)
    assert [number for number, _ in frames_at(str(video), [3, 39, 99])] == [3, 39]


@pytest.mark.parametrize("name", CONTAINERS)
def test_all_containers_by_their_content_alone(tmp_path, name):
    container, codec, pixels = CONTAINERS[name]
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    path = tmp_path / f"{name} without suffix".replace(".", " ")
    write_video(path, FRAMES, container=container, codec=codec, pixels=pixels)
    check_pictures(path, LENGTH, atol=1 if name == "ten bits.mkv" else 12)
    assert numbers(path) == [0, 8, 16, 24, 32] and not faults(path)


@pytest.mark.parametrize("name, codec", [("live.webm", "libvpx"), ("live.webm", "libvpx-vp9"), ("live.mkv", "libx264")])
def test_recordings_of_browsers_whose_header_has_no_length(tmp_path, name, codec):
    write_live(tmp_path / name, FRAMES, codec)
    with av.open(str(tmp_path / name)) as container:
        assert not container.duration and not container.streams.video[0].frames
    check_pictures(tmp_path / name, LENGTH)
    assert numbers(tmp_path / name) == [0, 8, 16, 24, 32] and not faults(tmp_path / name)


def test_frames_of_a_variable_rate_have_their_own_times(tmp_path):
    times = [0, 40, 300, 1000, 1010, 2500]
    write_video(tmp_path / "phone.mp4", FRAMES[:6], times=times, rate=1000)
    found = list(read_frames(str(tmp_path / "phone.mp4")))
    assert [round(1000 * frame.time) for frame in found] == times
    assert numbers(tmp_path / "phone.mp4", 3) == [0, 2, 4]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "avif"])
def test_pictures_that_move_are_videos(tmp_path, suffix):
    path = tmp_path / f"moving.{suffix}"
    if suffix == "avif" and not pytest.importorskip("PIL.features").check("avif"):
        pytest.skip("this Pillow has no AVIF")
    write_animation(path, FRAMES[:8])
    found = list(read_frames(str(path)))
    assert [float(frame.time) for frame in found] == [pytest.approx(k / 10) for k in range(8)]
    for frame in found:
        np.testing.assert_allclose(frame.picture, FRAMES[frame.number].astype(float), atol=12)
    assert numbers(path, 4) == [0, 2, 4, 6]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(VideoError, match=rf"moving\.{suffix}: found "):
        list(sampled_frames(str(path), 4))


def test_a_limit_of_frames(video, monkeypatch):
    monkeypatch.setattr(video_container, "MAX_FRAMES", 39)
    with pytest.raises(VideoError, match=r"clip\.mp4: found more than 39 frames"):
        list(sampled_frames(str(video), 4))
    with pytest.raises(VideoError, match=r"clip\.mp4: found more than 39 frames"):
        list(read_frames(str(video)))


def test_frames_that_were_read_are_not_kept(video):
    """Not even until Python looks for cycles, of which a frame would be part that was asked for its side data."""
    gc.collect()
    gc.disable()
    try:
        count = sum(frame.picture.size > 0 for frame in read_frames(str(video)))
        kept = sum(isinstance(one, av.VideoFrame) for one in gc.get_objects())
    finally:
        gc.enable()
    assert count == LENGTH and kept <= 3

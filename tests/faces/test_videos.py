"""Frames of real encoded videos."""

import shutil

import numpy as np
import pytest

from smoothswap_jax.faces.videos import VideoError, sampled_frames

cv2 = pytest.importorskip("cv2")


def write_video(path, frames, rate: int = 25) -> None:
    """MPEG-4 in .mp4; frames uint8 [h, w, 3] RGB."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, frames[0].shape[1::-1])
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
    writer.release()


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """40 frames of 64x48 pixels; the red of frame k is 6 k."""
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    write_video(path, [np.full((48, 64, 3), (6 * k, 0, 0), np.uint8) for k in range(40)])
    return path


@pytest.mark.parametrize("count, indices", [(1, [0]), (4, [0, 10, 20, 30]), (3, [0, 13, 26]), (100, list(range(40)))])
def test_evenly_spaced_frames_with_their_own_pictures(video, count, indices):
    found = list(sampled_frames(str(video), count))
    assert [index for index, _ in found] == indices
    for index, frame in found:
        assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8
        assert abs(int(frame[24, 32, 0]) - 6 * index) <= 5 and frame[24, 32, 2] <= 12  # red, not blue


def test_a_truncated_video_gives_the_frames_it_has_or_an_error(video, tmp_path):
    data = video.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])  # an .mp4 has its index at the end
    with pytest.raises(VideoError, match=r"cut.mp4: found no video with a length in frames"):
        list(sampled_frames(str(tmp_path / "cut.mp4"), 4))


@pytest.mark.parametrize("content", [b"", b"no video at all", np.random.default_rng(0).bytes(5000)])
def test_an_error_names_a_file_that_is_not_a_video(tmp_path, content):
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"bad\.mp4: found no"):
        list(sampled_frames(str(path), 4))
    with pytest.raises(VideoError, match="found no such file"):
        list(sampled_frames(str(tmp_path / "none.mp4"), 4))


def test_names_that_opencv_could_take_for_patterns(video, tmp_path):
    for name in ("100%d.mp4", "Ж ролик.mp4"):
        shutil.copy(video, tmp_path / name)
        assert len(list(sampled_frames(str(tmp_path / name), 2))) == 2

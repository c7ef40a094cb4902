"""What is no video, and names that FFmpeg could take for something else."""

import os
import shutil
import sys

import numpy as np
import pytest

from smoothswap_jax.faces import video_container
from smoothswap_jax.faces.videos import VideoError, sampled_frames
from tests.faces.video_checks import numbers

av = pytest.importorskip("av")

PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nclip.mp4\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    "content",
    [b"", b"no video at all", np.random.default_rng(0).bytes(5000), PLAYLIST, b"ffconcat version 1.0\nfile clip.mp4\n"],
)
def test_an_error_names_a_file_that_is_not_a_video(tmp_path, content):
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"bad\.mp4: found .*; wanted"):
        list(sampled_frames(str(path), 4))
    os.mkfifo(tmp_path / "pipe.mp4")
    for name in ("none.mp4", "pipe.mp4"):
        with pytest.raises(VideoError, match="found no such file"):
            list(sampled_frames(str(tmp_path / name), 4))


@pytest.mark.parametrize("cover", [False, True])
def test_sound_is_no_video_not_even_with_a_cover(tmp_path, cover):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as out:
        sound = out.add_stream("aac", rate=44100)
        sound.layout = "mono"
        if cover:
            picture = out.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            out.mux(picture.encode(av.VideoFrame(64, 48, "yuvj420p")))
            out.mux(picture.encode(None))
        for k in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, 1024 * k
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    with pytest.raises(VideoError, match=r"song\.mp4: found only sound; wanted a video"):
        list(sampled_frames(str(path), 4))


def test_names_that_ffmpeg_could_take_for_something_else(video, tmp_path):
    names = ["100%d.mp4", "%d.jpg", "Ж ролик.mp4", "a:b.mp4", "concat:a|b.mp4", "-i.mp4", os.fsdecode(b"\xff.mp4")]
    for name in names:
        shutil.copy(video, tmp_path / name)
        assert numbers(tmp_path / name, 2) == [0, 20]


def test_without_pyav_the_extra_is_named(video, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"reading videos needs av.*smoothswap-jax\[faces\]"):
        list(sampled_frames(str(video), 4))


def test_a_limit_of_pixels(video, monkeypatch):
    monkeypatch.setattr(video_container, "MAX_PIXELS", 3000)
    with pytest.raises(VideoError, match=r"clip\.mp4: found 64x48 pixels; wanted at most 3,000 in all"):
        list(sampled_frames(str(video), 4))

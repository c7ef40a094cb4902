"""Videos that are cut or damaged, and whether they say so."""

import re
import struct

import numpy as np
import pytest

from smoothswap_jax.faces.video_survey import survey
from smoothswap_jax.faces.videos import Frame, VideoError, read_frames, sampled_frames
from tests.faces import make_videos
from tests.faces.make_videos import LENGTH, cut, write_video
from tests.faces.video_checks import FRAMES, check_pictures, faults, numbers

av = pytest.importorskip("av")

FRAGMENTS = {"options": {"movflags": "frag_keyframe+empty_moov"}, "codec_options": {"g": "8"}}
FASTSTART = {"options": {"movflags": "faststart"}}


@pytest.mark.parametrize(
    "name, codec, made, length",
    [
        ("fragments.mp4", "libx264", FRAGMENTS, r"3\d or more"),
        ("faststart.mp4", "libx264", FASTSTART, "40"),
        ("faststart.mov", "mpeg4", FASTSTART, "40"),
        ("clip.mkv", "libx264", {}, "40"),
        ("clip.webm", "libvpx-vp9", {}, "40"),
        ("clip.avi", "mpeg4", {}, "40"),
        ("clip.flv", "flv", {}, "40"),
    ],
)
def test_a_video_cut_to_80_percent_is_sampled_evenly_and_says_where_it_ends(tmp_path, name, codec, made, length):
    container = "matroska" if name.endswith("mkv") else None
    write_video(tmp_path / name, FRAMES, container=container, codec=codec, **made)
    path = cut(tmp_path / name, tmp_path / f"cut {name}")
    held = survey(str(path)).frames
    assert LENGTH // 3 < held < LENGTH
    check_pictures(path, held, atol=12, late=3)
    assert numbers(path) == [k * held // 5 for k in range(5)]
    (fault,) = faults(path)
    assert re.fullmatch(rf"ended at frame {held} of {length}", fault)


@pytest.mark.parametrize("late", [0, 500, 5_000, 3_600_000, 100_000_000])
@pytest.mark.parametrize(
    "name, codec", [("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.flv", "flv"), ("b.flv", "libx264")]
)
def test_a_recording_that_begins_late_is_taken_for_one_that_is_cut_only_if_it_is(tmp_path, name, codec, late):
    container = "matroska" if name.endswith("mkv") else None
    times = [late + 40 * k for k in range(LENGTH)]
    write_video(tmp_path / name, FRAMES, container=container, codec=codec, times=times)
    assert survey(str(tmp_path / name)).faults == []
    (fault,) = survey(str(cut(tmp_path / name, tmp_path / f"cut {name}", 0.5))).faults
    assert re.fullmatch(r"ended at frame [12]\d of (3[5-9]|4[0-5])", fault)


def test_a_late_recording_whose_header_counts_as_ffmpeg_does_not_is_whole(tmp_path):
    times = [5_000 + 40 * k for k in range(LENGTH)]
    for name, codec, told, other in (("a.mkv", "libx264", 6.6, 1.6), ("a.flv", "flv", 1.6, 6.6)):
        container = "matroska" if name.endswith("mkv") else None
        write_video(tmp_path / name, FRAMES, container=container, codec=codec, times=times)
        scale = 1000 if name.endswith("mkv") else 1  # Matroska counts milliseconds
        data = (tmp_path / name).read_bytes()
        header = struct.pack(">d", told * scale)
        assert data.count(header) == 1
        (tmp_path / name).write_bytes(data.replace(header, struct.pack(">d", other * scale)))
        with av.open(str(tmp_path / name)) as found:
            assert found.duration == other * 1e6
        assert survey(str(tmp_path / name)).faults == []


@pytest.mark.parametrize("container, codec, share", [("mpegts", "mpeg2video", 0.8), ("asf", "wmv2", 0.6)])
def test_a_stream_has_no_length_to_fall_short_of(tmp_path, container, codec, share):
    write_video(tmp_path / "clip.ts", FRAMES, container=container, codec=codec)
    path = cut(tmp_path / "clip.ts", tmp_path / "cut.ts", share)
    held = survey(str(path)).frames
    assert LENGTH // 2 < held < LENGTH and numbers(path) == [k * held // 5 for k in range(5)] and not faults(path)


def test_a_stream_that_begins_in_the_middle_of_a_recording(tmp_path):
    """As sound does after an advertisement; PyAV raises an IndexError there."""
    write_video(tmp_path / "clip.ts", FRAMES, container="mpegts", codec="mpeg2video")
    data = bytearray((tmp_path / "clip.ts").read_bytes())
    starts = [at for at in range(0, len(data), 188) if data[at + 1] & 0x5F == 0x41 and data[at + 2] == 0]  # of frames
    data[starts[30] + 2] = 1  # this one becomes a stream of its own
    (tmp_path / "tv.ts").write_bytes(data)
    assert survey(str(tmp_path / "tv.ts")).frames == LENGTH - 1
    assert numbers(tmp_path / "tv.ts") == [0, 7, 15, 23, 31]


def test_an_mp4_without_its_index_is_refused_with_the_reason(video, tmp_path):
    with pytest.raises(VideoError, match=r"cut.mp4: found no video that can be opened .* has mostly lost its index"):
        list(sampled_frames(str(cut(video, tmp_path / "cut.mp4", 0.5)), 4))


@pytest.mark.parametrize("start", [0.0, 0.4])
def test_after_damage_in_the_middle_decoding_goes_on_and_others_stand_in(tmp_path, start):
    write_video(tmp_path / "clip.mp4", FRAMES, codec="libx264", codec_options={"g": "8"}, **FASTSTART)
    data = bytearray((tmp_path / "clip.mp4").read_bytes())
    body = data.index(b"mdat") + 4
    first = body + int(start * (len(data) - body))
    data[first : first + len(data) // 5] = bytes(len(data) // 5)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    assert survey(str(path)).frames == LENGTH
    found = [one for one in sampled_frames(str(path), 20) if isinstance(one, Frame)]
    assert len(found) == len({frame.number for frame in found}) == 20
    assert faults(path, 20)
    # Without the first frames the clock starts where the pictures do.
    lost = 0 if start else LENGTH - len(list(read_frames(str(path))))
    close = [
        np.abs(one.picture.astype(int) - FRAMES[round(one.time * make_videos.RATE) + lost]).mean() < 12 for one in found
    ]
    assert np.mean(close) > 0.7


def test_bytes_changed_at_random_end_in_frames_or_in_an_error_that_names_the_file(video, tmp_path):
    random = np.random.default_rng(0)
    path = tmp_path / "noise.mp4"
    for source in (video, tmp_path / "clip.mkv"):
        if not source.exists():
            write_video(source, FRAMES[:10], container="matroska", codec="libx264")
        whole = source.read_bytes()
        for _ in range(20):
            data = bytearray(whole)
            for place in random.integers(0, len(data), 30):
                data[place] = int(random.integers(256))
            path.write_bytes(data)
            try:
                assert list(sampled_frames(str(path), 3))
            except VideoError as error:
                assert "noise.mp4: found" in str(error)

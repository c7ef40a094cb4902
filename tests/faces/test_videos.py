"""Frames of real encoded videos, of every kind that `make_videos` makes."""

import gc
import os
import re
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from smoothswap_jax.faces import videos
from smoothswap_jax.faces.videos import Fault, Frame, VideoError, frames_at, read_frames, sampled_frames, survey
from tests.faces import make_videos
from tests.faces.make_videos import CONTAINERS, LENGTH, cut, frames_of, turned, write_animation, write_live, write_video

av = pytest.importorskip("av")
FRAMES = frames_of()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def video(folder) -> Path:
    """40 frames of 64x48 pixels in MPEG-4."""
    path = folder / "clip.mp4"
    write_video(path, FRAMES)
    return path


def faults(path: Path, count: int = 5) -> list[str]:
    return [one.reason for one in sampled_frames(str(path), count) if isinstance(one, Fault)]


def numbers(path: Path, count: int = 5) -> list[int]:
    return [one.number for one in sampled_frames(str(path), count) if isinstance(one, Frame)]


def check_pictures(path: Path, count: int, atol: int = 10, late: int = 0) -> None:
    """The first `count` frames come, each with its own picture and its time.

    late: how many frames may be missing in between, as those are that a cut has taken from before the last one.
    """
    found = list(read_frames(str(path)))
    assert [frame.number for frame in found] == list(range(count)) == list(range(survey(str(path)).frames))
    for frame in found:
        assert frame.picture.dtype == np.uint8
        shown = round(frame.time * make_videos.RATE)
        assert float(frame.time) == pytest.approx(shown / make_videos.RATE, abs=0.002)
        assert 0 <= shown - frame.number <= late
        np.testing.assert_allclose(frame.picture, FRAMES[shown].astype(float), atol=atol)


# --- which frames -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count, indices", [(1, [0]), (4, [0, 10, 20, 30]), (3, [0, 13, 26]), (100, list(range(40)))])
def test_evenly_spaced_frames_with_their_own_pictures(video, count, indices):
    found = list(sampled_frames(str(video), count))
    assert [frame.number for frame in found] == indices == videos.frame_numbers(str(video), count)
    for frame in found:
        assert frame.picture.shape == (48, 64, 3)
        np.testing.assert_allclose(frame.picture, FRAMES[frame.number].astype(float), atol=10)
    assert [number for number, _ in frames_at(str(video), [3, 39, 99])] == [3, 39]


@pytest.mark.parametrize("name", CONTAINERS)
def test_all_containers_by_their_content_alone(folder, name):
    container, codec, pixels = CONTAINERS[name]
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    path = folder / f"{name} without suffix".replace(".", " ")
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


def test_a_limit_of_pixels(video, monkeypatch):
    monkeypatch.setattr(videos, "MAX_PIXELS", 3000)
    with pytest.raises(VideoError, match=r"clip\.mp4: found 64x48 pixels; wanted at most 3,000 in all"):
        list(sampled_frames(str(video), 4))


def test_a_limit_of_frames(video, monkeypatch):
    monkeypatch.setattr(videos, "MAX_FRAMES", 39)
    with pytest.raises(VideoError, match=r"clip\.mp4: found more than 39 frames"):
        list(sampled_frames(str(video), 4))
    with pytest.raises(VideoError, match=r"clip\.mp4: found more than 39 frames"):
        list(read_frames(str(video)))


# --- cut and damaged --------------------------------------------------------------------------------------

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


# --- how frames look --------------------------------------------------------------------------------------

TURNS = {
    (0, 1, -1, 0): lambda picture: np.rot90(picture, -1),
    (-1, 0, 0, -1): lambda picture: np.rot90(picture, 2),
    (0, -1, 1, 0): lambda picture: np.rot90(picture, 1),
    (-1, 0, 0, 1): lambda picture: picture[:, ::-1],
    (1, 0, 0, -1): lambda picture: picture[::-1],
    (0, 1, 1, 0): lambda picture: np.swapaxes(picture, 0, 1),
}


@pytest.mark.parametrize("matrix", TURNS)
def test_frames_are_upright_as_the_container_says(video, tmp_path, matrix):
    path = turned(video, tmp_path / "turned.mp4", matrix)
    ((_, picture),) = frames_at(str(path), [20])
    np.testing.assert_allclose(picture, TURNS[matrix](FRAMES[20]).astype(float), atol=10)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_the_turn_is_pyavs(video, tmp_path, degrees):
    matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    with av.open(str(turned(video, tmp_path / "turned.mp4", matrix))) as container:
        assert next(container.decode(video=0)).rotation % 360 == -degrees % 360


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


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    write_video(tmp_path / "dv.mp4", FRAMES[:2], aspect=(16, 15))
    ((_, picture),) = frames_at(str(tmp_path / "dv.mp4"), [0])
    assert picture.shape == (48, 68, 3)


def patches(seed: int = 0, top: int = 255) -> np.ndarray:
    """Flat fields of random colours, 8x8 pixels each."""
    fields = np.random.default_rng(seed).integers(0, top + 1, (6, 8, 3))
    return np.kron(fields, np.ones((8, 8, 1), int)).astype(np.uint8)


def through(path: Path, picture: np.ndarray, pixels: str, tags=None) -> np.ndarray:
    """A picture after it was written losslessly and read."""
    write_video(path, [picture] * 2, container="matroska", codec="ffv1", pixels=pixels, tags=tags)
    return next(frames_at(str(path), [1]))[1].astype(int)


@pytest.mark.parametrize("pixels", ["yuv444p", "yuv444p10le", "yuv420p", "yuv420p10le"])
@pytest.mark.parametrize(
    "tags", [None, (1, 1, 1, 1), (1, 2, 13, 1), (5, 1, 6, 5), (6, 2, 6, 6), (7, 1, 7, 7), (4, 1, 1, 1), (9, 1, 14, 1)]
)
def test_colours_are_those_of_the_tags(tmp_path, tags, pixels):
    """Matrix and range, 8 and 10 bits; with half the chroma in the middle of the fields only."""
    found, picture = through(tmp_path / "a.mkv", patches(), pixels, tags), patches().astype(int)
    middle = np.s_[3::8, 3::8] if "420" in pixels else np.s_[:]
    atol = 13 if "420" in pixels else 2
    np.testing.assert_allclose(found[middle], picture[middle], atol=atol)
    if pixels == "yuv444p10le":
        assert np.abs(found - picture).mean() < 0.3  # rounded, not cut


def test_untagged_colours_are_told_by_the_size(tmp_path):
    """As players do: written by BT.709 without saying so."""
    for size, close in (((576, 720), False), ((720, 1280), True)):
        field = np.full((*size, 3), (200, 60, 30), np.uint8)
        write_video(tmp_path / "a.mkv", [field], container="matroska", codec="ffv1", matrix=1)
        ((_, picture),) = frames_at(str(tmp_path / "a.mkv"), [0])
        assert (np.abs(picture[9, 9].astype(int) - field[0, 0]).max() <= 2) == close


def light(picture: np.ndarray) -> np.ndarray:
    """Linear light of sRGB (IEC 61966-2-1)."""
    code = picture / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


# Linear sRGB -> BT.2020 and P3-D65, from the primaries' chromaticities.
def to_primaries(red, green, blue) -> np.ndarray:
    def rgb_to_xyz(*corners):
        white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
        xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in corners]).T
        return xyz * np.linalg.solve(xyz, white)

    srgb = rgb_to_xyz((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
    return np.linalg.solve(rgb_to_xyz(red, green, blue), srgb)


BT2020 = to_primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
P3 = to_primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))


def pq(nits: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084, of BT.2020."""
    power = (np.maximum(nits, 0) / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(nits: np.ndarray) -> np.ndarray:
    """ITU-R BT.2100, for a display of 1000 cd/m2."""
    display = np.maximum(nits, 0) / 1000
    scene = display * np.maximum(display @ (0.2627, 0.6780, 0.0593), 1e-9)[..., None] ** (1 / 1.2 - 1)
    logarithm = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), logarithm)


@pytest.mark.parametrize("transfer, curve", [(16, pq), (18, hlg)])
def test_hdr_keeps_the_tones_of_a_face_and_compresses_lights(tmp_path, transfer, curve):
    picture = patches(top=140)  # up to what tone mapping leaves alone; 140 is 27% of white, a face in plain light
    code = np.rint(curve(light(picture) @ BT2020.T * 203) * 65535).astype(np.uint16)
    found = through(tmp_path / "a.mkv", code, "yuv444p10le", (9, 1, transfer, 9))
    np.testing.assert_allclose(found, picture, atol=3)  # ten bits in the dark
    greys = np.linspace(0, 1000, 64)[None, :, None].repeat(16, 0).repeat(3, 2)
    found = through(
        tmp_path / "b.mkv", np.rint(curve(greys) * 65535).astype(np.uint16), "yuv444p10le", (9, 1, transfer, 9)
    )
    assert (np.diff(found[8, :, 1]) >= 0).all() and found[8, -1, 1] >= 254  # no light is clipped below 1000 cd/m2
    assert np.ptp(found, axis=2).max() <= 1  # grey stays grey


@pytest.mark.parametrize("tags, primaries", [((9, 1, 14, 9), BT2020), ((1, 1, 13, 12), P3)])
def test_wide_gamuts_become_srgb(tmp_path, tags, primaries):
    picture = patches()
    linear = light(picture) @ primaries.T
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)
    found = through(tmp_path / "a.mkv", np.rint(coded * 65535).astype(np.uint16), "yuv444p10le", tags)
    np.testing.assert_allclose(found, picture, atol=5)  # ten bits in the dark
    assert np.abs(found - picture).mean() < 0.5


@pytest.mark.parametrize("tags, found", [((1, 1, 9, 1), "a logarithmic curve"), ((8, 1, 1, 1), "matrix 8")])
def test_colours_without_a_conversion_are_refused(tmp_path, tags, found):
    write_video(tmp_path / "a.mkv", [patches()], container="matroska", codec="ffv1", tags=tags, matrix=1)
    with pytest.raises(VideoError, match=rf"a\.mkv: found colours .*{found}.*; wanted"):
        list(read_frames(str(tmp_path / "a.mkv")))


def test_interlaced_frames_are_made_whole(tmp_path):
    def bar(moment: float) -> np.ndarray:
        picture = np.full((64, 96, 3), 200, np.uint8)
        picture[:, int(8 + 6 * moment) : int(18 + 6 * moment)] = 20
        return picture

    frames = [np.where(np.arange(64)[:, None, None] % 2, bar(k + 0.5), bar(k)).astype(np.uint8) for k in range(12)]
    path = tmp_path / "camera.mkv"
    write_video(path, frames, container="matroska", codec="libx264", codec_options={"x264-params": "tff=1"})
    found = list(read_frames(str(path)))
    assert [round(25 * frame.time) for frame in found] == list(range(12))
    combs = lambda picture: np.abs(np.diff(picture[..., 1].astype(int), axis=0)).mean()
    assert combs(frames[5]) > 10 and max(combs(frame.picture) for frame in found) < 1
    write_video(path, [patches()] * 4, codec="libx264", tags=(1, 1, 1, 1), codec_options={"x264-params": "tff=1:qp=1"})
    middle = np.s_[3::8, 3::8]  # the tags outlive the filter
    for frame in list(read_frames(str(path)))[1:]:  # the first has none before it, and is less sharp
        np.testing.assert_allclose(frame.picture[middle].astype(int), patches()[middle], atol=16)


# --- what is no video -------------------------------------------------------------------------------------

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


def test_without_pyav_the_extra_is_named(video, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"reading videos needs av.*smoothswap-jax\[faces\]"):
        list(sampled_frames(str(video), 4))

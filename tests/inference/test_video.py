"""A video through the swapper, with toy networks and painted faces: what comes out is what went in, less the faces."""

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from smoothswap_jax.cli import swap as cli
from smoothswap_jax.cli.main import MISTAKE, main
from smoothswap_jax.faces import video_encoding, video_survey
from smoothswap_jax.faces.animations import is_animation
from smoothswap_jax.faces.detection.base import Face
from smoothswap_jax.faces.film import packets_beside
from smoothswap_jax.faces.photos import save_photo
from smoothswap_jax.faces.video_frames import VideoError
from smoothswap_jax.faces.videos import read_frames
from smoothswap_jax.inference import first_look, video
from smoothswap_jax.inference.animations import swap_animation
from smoothswap_jax.inference.choice import NoFaceError
from smoothswap_jax.inference.first_look import VideoOptions, VideoReport
from smoothswap_jax.inference.video import swap_frames, swap_video
from tests.faces.make_videos import cut, turned, write_animation, write_video
from tests.inference.painted_videos import (
    COUNT,
    CYAN,
    HEIGHT,
    MAGENTA,
    SWAPPER,
    TIMES,
    WIDTH,
    changed_people,
    film,
    frames,
    lossless,
    painted,
    paths,
    raw,
    streams,
)
from tests.inference.pixel_swappers import POINTS

av = pytest.importorskip("av")

pytestmark = pytest.mark.usefixtures("known_people")


def test_only_faces_change_and_all_other_pixels_are_the_same_bit_for_bit(tmp_path, source):
    target = lossless(tmp_path / "a.mkv", tags=(1, 1, 1, 1))
    report = swap_video(SWAPPER, source, target, tmp_path / "b.mkv", target_face="all")
    assert (report.frames, report.swapped) == (COUNT, COUNT)
    before, after = raw(target), raw(tmp_path / "b.mkv")
    for k, (old, new) in enumerate(zip(before, after, strict=True)):
        near = np.zeros((HEIGHT, WIDTH), bool)
        for x, y in paths(k).values():
            assert new[0][round(y) - 8, round(x) + 8] > old[0][round(y) - 8, round(x) + 8] + 10
            near[max(0, round(y) - 50) : round(y) + 50, max(0, round(x) - 45) : round(x) + 45] = True
        for one, other in zip(old, new, strict=True):
            far = ~near[:: HEIGHT // one.shape[0], :: WIDTH // one.shape[1]]
            np.testing.assert_array_equal(one[far], other[far])
    assert [frame.time for frame in read_frames(str(tmp_path / "b.mkv"))] == [Fraction(t, 1000) for t in TIMES]
    assert list(tmp_path.glob(".*")) == []  # nothing is left behind


def test_a_target_is_surveyed_once(tmp_path, source, monkeypatch):
    """Which reads a video to its end, and decodes a picture that moves."""
    targets, surveyed = [film(tmp_path / "a.mp4"), tmp_path / "a.gif"], []
    write_animation(targets[1], frames(4))
    monkeypatch.setattr(video_survey, "is_animation", lambda path: surveyed.append(path) or is_animation(path))
    swap_video(SWAPPER, source, targets[0], tmp_path / "b.mp4")
    swap_animation(SWAPPER, source, targets[1], tmp_path / "b.gif")
    assert [surveyed.count(str(target)) for target in targets] == [1, 1]


@pytest.mark.parametrize("which, name", [("largest", "magenta"), (1, "cyan"), ("left", "magenta")])
def test_a_person_is_the_same_through_moves_absences_and_cuts(tmp_path, source, which, name):
    target = lossless(tmp_path / "a.mkv")
    report = swap_video(SWAPPER, source, target, tmp_path / "b.mkv", target_face=which)
    assert report.people == 2
    for k, signs in enumerate(changed_people(frames(), tmp_path / "b.mkv")):
        there = any((colour == MAGENTA) == (name == "magenta") for colour in paths(k))
        assert signs == ({f"+{name}"} if there else set()), k


def test_each_person_gets_the_source_that_is_mapped_to_it(tmp_path, source, monkeypatch):
    target = lossless(tmp_path / "a.mkv")
    save_photo(tmp_path / "cyan.png", painted({CYAN: (80, 45)}))
    save_photo(tmp_path / "magenta.png", painted({MAGENTA: (80, 45)}))
    monkeypatch.setattr(video, "person_in", lambda which, *_: np.eye(128)[0 if "magenta" in str(which) else 1])
    wishes = {str(tmp_path / "cyan.png"): source, str(tmp_path / "magenta.png"): tmp_path / "dark.png"}
    swap_video(SWAPPER, wishes, target, tmp_path / "b.mkv")
    for k, signs in enumerate(changed_people(frames(), tmp_path / "b.mkv")):
        assert signs == {"-magenta"} | ({"+cyan"} if CYAN in paths(k) else set()), k
    monkeypatch.setattr(video, "person_in", lambda which, *_: np.eye(128)[5])
    with pytest.raises(NoFaceError, match=r"a.mkv: found no face like that of .*cyan.png: the nearest of 2 .* 0.00"):
        swap_video(SWAPPER, wishes, target, tmp_path / "c.mkv")
    monkeypatch.setattr(video, "person_in", lambda which, *_: np.eye(128)[0])
    with pytest.raises(ValueError, match=r"a.mkv: found one person for .*cyan.png and .*magenta.png"):
        swap_video(SWAPPER, wishes, target, tmp_path / "c.mkv")


def test_a_stream_of_frames(source):
    z = SWAPPER.embed(source)
    given = [*frames(), painted({})]
    found = list(swap_frames(SWAPPER, z, iter(given), face="all"))
    assert len(found) == COUNT + 1
    for k, (before, after) in enumerate(zip(given, found, strict=True)):
        places = paths(k).values() if k < COUNT else ()
        assert (before != after).any() == bool(places)
        for x, y in places:
            assert after[round(y) - 8, round(x) + 8].mean() > before[round(y) - 8, round(x) + 8].mean() + 10
    second = list(swap_frames(SWAPPER, z, iter(given), face=1))
    assert [(a != b).any() for a, b in zip(given, second, strict=True)] == [
        k < COUNT and CYAN in paths(k) for k in range(31)
    ]
    with pytest.raises(ValueError, match="target face: found 'big'"):
        next(swap_frames(SWAPPER, z, iter(given), face="big"))


# --- what goes with the pictures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, output, codec, sound, rotation",
    [("a.mp4", "b.mp4", "libx264", "aac", 90), ("a.mkv", "b.mkv", "libx264", "aac", 0),
     ("a.mov", "b.mov", "libx265", "aac", 180), ("a.mp4", "b.mkv", "libx265", "aac", 0),
     ("a.mkv", "b.webm", "libvpx-vp9", "libopus", 0), ("a.mkv", "b.mp4", "libsvtav1", "aac", 0)],
)  # fmt: skip
def test_times_sound_words_turn_and_colours_are_those_of_the_original(
    tmp_path, source, name, output, codec, sound, rotation
):
    subtitles = Path(name).suffix == Path(output).suffix
    target = film(tmp_path / name, codec, sound, rotation, subtitles)
    report = swap_video(SWAPPER, source, target, tmp_path / output, target_face="all")
    assert report.swapped == COUNT
    before, after = streams(target), streams(tmp_path / output)
    assert after.pop("seconds") == pytest.approx(before.pop("seconds"), abs=0.03)
    exact = 1 if Path(output).suffix in (".mkv", ".webm") else 16  # Matroska counts milliseconds
    for told in (before, after):
        # Matroska has no times before 0, as the first sound of an MP4 may have: all is later by that there.
        begin = told["times"][0]
        told["times"] = [round(float(time - begin) * 1000 * exact) / exact for time in told["times"]]
        for packets in told["packets"].values():
            packets[:] = [(round(float(time - begin) * 1000), data) for time, data in packets]
    assert after == before


def test_a_video_without_what_its_container_can_hold_says_so(tmp_path, source):
    target = film(tmp_path / "a.mkv")
    report = swap_video(SWAPPER, source, target, tmp_path / "b.mp4", target_face="all")
    assert any("a subtitle (subrip), which .mp4 cannot hold" in note for note in report.notes)
    with pytest.raises(VideoError, match=r"a.mkv: found stream 1, sound \(aac\), which .webm cannot hold; wanted .mkv"):
        swap_video(SWAPPER, source, target, tmp_path / "b.webm", target_face="all")
    assert not (tmp_path / "b.webm").exists()


@pytest.mark.parametrize("sound, container", [("pcm_s16le", ".avi"), ("flac", ".mkv")])
def test_sound_that_only_the_header_refuses_is_found_before_the_work(tmp_path, source, sound, container):
    target = tmp_path / f"a{container}"
    with av.open(str(target), "w") as out:
        picture, tone = out.add_stream("mpeg4", rate=25), out.add_stream(sound, rate=48000)
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for k, shown in enumerate(frames(10)):
            frame = av.VideoFrame.from_ndarray(shown, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            out.mux(picture.encode(frame))
        out.mux(picture.encode(None))
        noise = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 4096), np.int16), format="s16", layout="stereo")
        noise.sample_rate, noise.pts = 48000, 0
        out.mux(tone.encode(noise))
        out.mux(tone.encode(None))
    looked = []
    suffix = ".mov" if sound == "flac" else ".mp4"
    with pytest.raises(
        VideoError, match=rf"a{container}: found stream 1, sound .*, which {suffix} cannot hold; wanted"
    ):
        note = lambda *now: looked.append(now)
        swap_video(SWAPPER, source, target, tmp_path / f"b{suffix}", target_face="all", progress=note)
    assert looked == [] and not list(tmp_path.glob(".*"))
    swap_video(SWAPPER, source, target, tmp_path / "b.mkv", target_face="all")
    assert packets_beside(tmp_path / "b.mkv")["audio"]


@pytest.mark.parametrize("output", ["b.mkv", "b.mp4", "b.mov", "b.webm"])
@pytest.mark.parametrize("codec", ["ffv1", "libx264"])
def test_an_odd_size_is_kept_in_every_container(tmp_path, source, codec, output):
    odd = [picture[:95, :159] for picture in frames(6)]
    pixels = "yuv420p" if codec == "ffv1" else "yuv444p"
    write_video(tmp_path / "a.mov" if codec != "ffv1" else tmp_path / "a.mkv", odd, codec=codec, pixels=pixels)
    given = tmp_path / ("a.mkv" if codec == "ffv1" else "a.mov")
    swap_video(SWAPPER, source, given, tmp_path / output)
    with av.open(str(tmp_path / output)) as made:
        assert (made.streams.video[0].width, made.streams.video[0].height) == (159, 95)


def test_the_shape_of_pixels_is_kept_or_refused(tmp_path, source):
    write_video(tmp_path / "wide.mp4", frames(6), codec="libx264", aspect=(4, 3))
    for output in ("b.mkv", "b.mp4", "b.mov"):
        swap_video(SWAPPER, source, tmp_path / "wide.mp4", tmp_path / output)
        with av.open(str(tmp_path / output)) as made:
            assert made.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    for output, encoder in (("c.webm", ""), ("c.mkv", "ffv1")):
        with pytest.raises(VideoError, match=r"c\..*: found pixels of 4/3, a shape that .* does not store there"):
            swap = {"options": VideoOptions(encoder=encoder)}
            swap_video(SWAPPER, source, tmp_path / "wide.mp4", tmp_path / output, **swap)


@pytest.mark.parametrize("output", ["b.mp4", "b.mkv"])
@pytest.mark.parametrize("between", ["0", "2"])
def test_a_last_frame_that_is_shown_for_long_and_a_silent_video_keep_their_length(tmp_path, source, output, between):
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        options = {"bf": between, "b-pyramid": "none", "x264-params": "b-adapt=0"}
        stream = out.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        packets = []
        for k, shown in enumerate(frames(10)):
            frame = av.VideoFrame.from_ndarray(shown, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        packets[-1].duration = 9 + 75 + packets[0].dts - packets[-1].dts  # three seconds after the last begins
        out.mux(packets)
    swap_video(SWAPPER, source, tmp_path / "a.mp4", tmp_path / output)
    with av.open(str(tmp_path / output)) as made:
        assert made.duration / 1e6 == pytest.approx(0.36 + 3, abs=0.05)
        stream = made.streams.video[0]
        if stream.duration:
            assert float(stream.duration * stream.time_base) == pytest.approx(0.36 + 3, abs=0.05)


def test_a_part_of_a_video(tmp_path, source):
    target = film(tmp_path / "a.mp4")
    swap_video(SWAPPER, source, target, tmp_path / "b.mp4", options=VideoOptions(start=0.3, end=0.9))
    before, after = streams(target), streams(tmp_path / "b.mp4")
    kept = [time for time in before["times"] if Fraction(3, 10) <= time < Fraction(9, 10)]
    assert [round(float(time - kept[0]) * 1000) for time in kept] == [
        round(float(time) * 1000) for time in after["times"]
    ]
    assert after["seconds"] == pytest.approx(0.6, abs=0.06)
    sound = {data for _, data in after["packets"]["audio"]}
    assert sound < {data for _, data in before["packets"]["audio"]} and 25 <= len(sound) <= 32
    for options, said in (
        (VideoOptions(start=9), "found no frame from 9 s on"),
        (VideoOptions(start=2, end=1), "found a span from 2 to 1 s"),
    ):
        with pytest.raises(VideoError, match=said):
            swap_video(SWAPPER, source, target, tmp_path / "c.mp4", options=options)


@pytest.mark.parametrize("start, end, kept", [(0.2, 0.4, 5), (0.28, None, 5), (0.12, 0.24, 3), (0, 0.44, 11)])
def test_times_that_no_float_has_are_met_exactly(tmp_path, source, start, end, kept):
    write_video(tmp_path / "a.mkv", frames(12), container="matroska", codec="ffv1")
    report = swap_video(SWAPPER, source, tmp_path / "a.mkv", tmp_path / "b.mkv", options=VideoOptions(start, end))
    assert report.frames == kept


def test_a_turned_video_changes_where_its_faces_are(tmp_path, source):
    upright = [np.rot90(picture).copy() for picture in frames()]  # as a phone stores it that is held on its side
    write_video(tmp_path / "s.mp4", upright, codec="libx264", codec_options={"crf": "8"})
    target = turned(tmp_path / "s.mp4", tmp_path / "a.mp4", (0, 1, -1, 0))
    swap_video(SWAPPER, source, target, tmp_path / "b.mp4")
    for k, signs in enumerate(changed_people(frames(), tmp_path / "b.mp4")):
        assert signs == {"+magenta"}, k


# --- encodings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "codec, pixels, output, wanted",
    [("libx264", "yuv420p", "b.mp4", ("h264", "yuv420p")), ("libx265", "yuv420p10le", "b.mkv", ("hevc", "yuv420p10le")),
     ("ffv1", "yuv444p10le", "b.mkv", ("ffv1", "yuv444p10le")), ("ffv1", "bgra", "b.mkv", ("ffv1", "bgra")),
     ("libx264", "yuv444p", "b.mov", ("h264", "yuv444p")), ("mpeg4", "yuv420p", "b.mp4", ("h264", "yuv420p")),
     ("libvpx-vp9", "yuv420p", "b.webm", ("vp9", "yuv420p")),
     ("prores_ks", "yuv422p10le", "b.mov", ("prores", "yuv422p10le"))],
)  # fmt: skip
def test_an_original_of_a_kind_gives_a_video_of_that_kind(tmp_path, source, codec, pixels, output, wanted):
    write_video(tmp_path / "a.mkv", frames(6), container="matroska", codec=codec, pixels=pixels)
    swap_video(SWAPPER, source, tmp_path / "a.mkv", tmp_path / output)
    with av.open(str(tmp_path / output)) as found:
        context = found.streams.video[0].codec_context
        assert (context.codec.canonical_name, context.pix_fmt) == wanted
    assert len(list(read_frames(str(tmp_path / output)))) == 6


def test_encoders_can_be_chosen_and_what_they_lose_is_said(tmp_path, source):
    target = lossless(tmp_path / "a.mkv")
    swap = lambda output, **how: swap_video(SWAPPER, source, target, tmp_path / output, options=VideoOptions(**how))
    assert any("loses nothing and libx264 does" in note for note in swap("b.mp4").notes)
    swap("c.mkv", encoder="libx265", quality=40, pixels="yuv420p10le")
    swap("d.mkv", encoder="libx265", quality=4)
    assert (tmp_path / "c.mkv").stat().st_size < 0.7 * (tmp_path / "d.mkv").stat().st_size
    for output, how, said in (
        ("e.avi", {}, r"e.avi: found the suffix '.avi' for a video; wanted .mp4"),
        ("e.mp4", {"encoder": "ffv1"}, "--encoder: found 'ffv1' for .mp4; wanted one of libx264"),
        ("e.mp4", {"encoder": "libx264", "quality": 60}, "--quality: found 60; wanted 0, the best, to 51"),
        ("e.mkv", {"encoder": "ffv1", "quality": 6}, "--quality: found 6 with ffv1, which has none"),
        ("e.mp4", {"encoder": "libx264", "pixels": "rgb1"}, "--pixel-format: found 'rgb1'; libx264 has yuv420p"),
    ):
        with pytest.raises(VideoError, match=said):
            swap(output, **how)
    assert not list(tmp_path.glob("*e.*")) and not list(tmp_path.glob(".e*"))


@pytest.mark.parametrize("color, said", [("keep", 1), ("free", 0)])
@pytest.mark.parametrize("name", ["a.mkv", "a.gif"])
def test_faces_that_stay_grey_are_named_once(tmp_path, source, monkeypatch, name, color, said):
    grey = lambda k: np.repeat(painted({}, seed=k)[:, :, :1], 3, axis=2)
    monkeypatch.setattr(first_look, "CHUNK", 7)
    face = Face(np.array([65.0, 21.0, 95.0, 65.0]), np.array([80.0, 45.0]) + POINTS - POINTS[2], 0.9)
    swapper = dataclasses.replace(SWAPPER, detect=lambda photo: [face])
    pictures = [grey(k) for k in range(20)]
    if name.endswith("gif"):
        write_animation(tmp_path / name, pictures)
        report = swap_animation(swapper, source, tmp_path / name, tmp_path / "b.gif", target_face="all", color=color)
    else:
        write_video(tmp_path / name, pictures, container="matroska", codec="ffv1", pixels="yuv444p")
        report = swap_video(swapper, source, tmp_path / name, tmp_path / "b.mkv", target_face="all", color=color)
    assert report.swapped == 20 and sum("grey or sepia" in note for note in report.notes) == said


def test_a_job_that_goes_on_names_faces_that_stayed_grey_before(tmp_path, source, monkeypatch):
    monkeypatch.setattr(first_look, "CHUNK", 4)
    colours = frames(8)
    pictures = [np.repeat(one[:, :, :1], 3, axis=2) if k < 4 else one for k, one in enumerate(colours)]
    write_video(tmp_path / "a.mkv", pictures, container="matroska", codec="ffv1", pixels="yuv444p")
    face = Face(np.array([65.0, 21.0, 95.0, 65.0]), np.array([80.0, 45.0]) + POINTS - POINTS[2], 0.9)
    always = lambda photo: [face]
    monkeypatch.setattr(video, "find_faces", always)
    swapper = dataclasses.replace(SWAPPER, detect=always)

    def kill(stage, done, total):
        if stage == "swapping" and done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swap_video(swapper, source, tmp_path / "a.mkv", tmp_path / "b.mkv", target_face="all", progress=kill)
    report = swap_video(swapper, source, tmp_path / "a.mkv", tmp_path / "b.mkv", target_face="all")
    assert sum("grey or sepia" in note for note in report.notes) == 1


@pytest.mark.parametrize("profile", [ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), b""])
def test_a_picture_that_moves_does_not_lose_its_colour_profile_without_a_word(tmp_path, source, profile):
    first, *rest = [Image.fromarray(one) for one in frames(4)]
    first.save(tmp_path / "a.png", save_all=True, append_images=rest, duration=50, icc_profile=profile)
    report = swap_video(SWAPPER, source, tmp_path / "a.png", tmp_path / "b.mp4")
    assert sum("colour profile is left out" in note for note in report.notes) == bool(profile)


def test_the_command_names_the_encoders_that_there_are():
    held = {encoder for _, encoders in video_encoding.CONTAINERS.values() for encoder in encoders}
    assert set(cli.ENCODERS) == held


# --- bad files, the command, folders --------------------------------------------------------------------------------


def test_videos_that_cannot_be_swapped_say_why_and_leave_nothing(tmp_path, source):
    write_video(tmp_path / "empty.mkv", [painted({})] * 5, container="matroska", codec="ffv1")
    (tmp_path / "zero.mp4").write_bytes(b"")
    (tmp_path / "noise.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(np.random.default_rng(0).bytes(5000)))
    for name, error, said in (
        ("empty.mkv", NoFaceError, "empty.mkv: found no face in 5 frames"),
        ("zero.mp4", VideoError, "zero.mp4: found an empty file"),
        ("noise.mp4", VideoError, "noise.mp4: found no video that can be opened"),
        ("none.mp4", VideoError, "none.mp4: found no such file"),
    ):
        with pytest.raises(error, match=said):
            swap_video(SWAPPER, source, tmp_path / name, tmp_path / "b.mkv")
    with pytest.raises(VideoError, match=r"found no folder .*new; wanted an existing one"):
        swap_video(SWAPPER, source, tmp_path / "empty.mkv", tmp_path / "new" / "b.mkv")
    assert not (tmp_path / "b.mkv").exists() and not (tmp_path / ".b.mkv.swapping").exists()
    target = film(tmp_path / "a.mkv")
    report = swap_video(SWAPPER, source, cut(target, tmp_path / "cut.mkv", 0.7), tmp_path / "c.mkv")
    assert 5 < report.frames < COUNT and any("ended at frame" in note for note in report.notes)


def test_the_command_swaps_videos_and_refuses_their_options_elsewhere(tmp_path, source, monkeypatch, capsys):
    target = film(tmp_path / "a.mp4")
    monkeypatch.setattr("smoothswap_jax.inference.swapper.Swapper.load", lambda *_, **__: SWAPPER)
    given = ["swap", f"--source={source}", f"--target={target}"]
    assert main([*given, f"--output={tmp_path}/b.mp4", "--preview=0.5s", "--quality=20"]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == f"{tmp_path}/b.mp4" and "frames, " in said.err
    assert len(list(read_frames(f"{tmp_path}/b.mp4"))) == sum(time < 500 for time in TIMES)
    assert main([*given, f"--output={tmp_path}/b.mp4"]) == MISTAKE
    assert "b.mp4: exists already" in capsys.readouterr().err
    assert main([*given, f"--output={tmp_path}/c.png"]) == MISTAKE
    assert "c.png: found the suffix '.png' for a video; wanted .mp4" in capsys.readouterr().err
    photo = ["swap", f"--source={source}", f"--target={source}", f"--output={tmp_path}/c.png", "--preview=0:02"]
    assert main(photo) == MISTAKE
    assert "--preview: found 2.0 and" in capsys.readouterr().err
    for given, message in (
        (["--map", "a=b"], "--map: found 'a=b'; wanted SOURCE=PERSON, two photos that are there"),
        ([], "--source: found none; wanted a photo, or --map"),
        (["--map", f"{source}={source}", f"--source={source}"], "--map: found it with --source"),
    ):
        assert main(["swap", f"--target={target}", f"--output={tmp_path}/d.mp4", *given]) == MISTAKE
        assert message in capsys.readouterr().err


def test_a_folder_of_photos_and_videos(tmp_path, source, monkeypatch, capsys):
    album = tmp_path / "album"
    album.mkdir()
    film(album / "a.mp4")
    write_video(album / "b.avi", frames(9), container="avi", codec="mpeg4")
    save_photo(album / "c.png", painted({MAGENTA: (80, 45)}))
    write_video(album / "d.mkv", [painted({})] * 4, container="matroska", codec="ffv1")
    (album / "e.mp4").write_bytes(b"no video")
    monkeypatch.setattr("smoothswap_jax.inference.swapper.Swapper.load", lambda *_, **__: SWAPPER)
    given = ["swap", f"--source={source}", f"--target={album}", f"--output={tmp_path}/new", "--end=0.5"]
    assert main(given) == 1
    said = capsys.readouterr()
    names = ["a.mp4", "b.avi.mkv", "c.png"]
    assert said.out.split() == [f"{tmp_path}/new/{name}" for name in names]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted([*names, "b.avi.mkv.c2pa"])
    assert "d.mkv: found no face in 4 frames" in said.err and "e.mp4: found no video" in said.err
    assert "3 swapped, 0 there already, 2 left out" in said.err
    assert said.err.count("--end: for videos; photos and pictures that move are swapped without") == 1
    assert len(list(read_frames(f"{tmp_path}/new/a.mp4"))) == sum(time < 500 for time in TIMES)
    assert main(given) == 1
    assert "0 swapped, 3 there already, 2 left out" in capsys.readouterr().err


def test_stages_within_others_are_not_counted_twice(monkeypatch):
    clock = iter([0.0, 1.0, 4.0, 9.0])
    monkeypatch.setattr(first_look.time, "perf_counter", lambda: next(clock))
    report = VideoReport()
    with report.timed("encode"), report.timed("swap"):
        pass
    assert report.seconds == {"swap": 3.0, "encode": 6.0}

"""What HDR10 tells of a whole video: the display it was mastered on, and how light it is."""

import io
import struct
from fractions import Fraction

import numpy as np
import pytest

from smoothswap_jax.faces import video_encoding, video_writing
from smoothswap_jax.faces.mastering import Mastering, mastering_of, mastering_options
from smoothswap_jax.faces.videos import decoded_frames
from smoothswap_jax.inference import first_look, video
from smoothswap_jax.inference.first_look import VideoOptions
from smoothswap_jax.inference.video import swap_video
from tests.faces.make_videos import write_video
from tests.inference.painted_videos import SWAPPER, frames

av = pytest.importorskip("av")
pytestmark = pytest.mark.usefixtures("known_people")

PQ = (9, 1, 16, 9)
P3 = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
DISPLAY = tuple(Fraction(one, 50_000) for one in (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450))
LIGHT = (Fraction(50, 10_000), Fraction(1000))


def hdr(path, said: str, count: int = 20):
    parameters = f"log-level=none:{said}"
    write_video(
        path, frames(count), codec="libx265", pixels="yuv420p10le", tags=PQ, codec_options={"x265-params": parameters}
    )
    return path


def told(path) -> set[Mastering]:
    """What the frames tell from which a video can be played; FFmpeg gives it with no others of H.264."""
    return {mastering_of(one.frame) for one in decoded_frames(str(path)) if one.frame.key_frame}


@pytest.mark.parametrize("output, encoder", [("b.mp4", ""), ("b.mkv", ""), ("b.mov", "libx265"), ("b.mkv", "libx264")])
def test_the_numbers_of_an_hdr_video_come_back_as_they_were(tmp_path, source, monkeypatch, output, encoder):
    monkeypatch.setattr(first_look, "CHUNK", 7)
    target = hdr(tmp_path / "a.mkv", f"master-display={P3}L(10000000,50):max-cll=1000,400")
    wanted = Mastering((*DISPLAY, *LIGHT), (1000, 400))
    assert told(target) == {wanted}
    options = VideoOptions(encoder=encoder, start=0.2)
    report = swap_video(SWAPPER, source, target, tmp_path / output, target_face="all", options=options)
    assert told(tmp_path / output) == {wanted}
    assert not [note for note in report.notes if "HDR10" in note]


def test_av1_has_them_in_its_own_units(tmp_path, source):
    target = hdr(tmp_path / "a.mkv", f"master-display={P3}L(40000000,1):max-cll=4000,0")
    swap_video(SWAPPER, source, target, tmp_path / "b.mp4", options=VideoOptions(encoder="libsvtav1"))
    (found,) = told(tmp_path / "b.mp4")
    assert found.light == (4000, 0)
    for one, other in zip(found.display, (*DISPLAY, Fraction(1, 10_000), Fraction(4000)), strict=True):
        assert abs(one - other) <= Fraction(1, 1 << 15)
    swap_video(SWAPPER, source, tmp_path / "b.mp4", tmp_path / "c.mkv")  # from AV1 to AV1 nothing is rounded
    assert told(tmp_path / "c.mkv") == {found}
    swap_video(SWAPPER, source, tmp_path / "b.mp4", tmp_path / "d.mkv", options=VideoOptions(encoder="libx265"))
    assert told(tmp_path / "d.mkv") == {Mastering((*DISPLAY, Fraction(1, 10_000), Fraction(4000)), (4000, 0))}


def test_an_encoder_that_does_not_store_them_is_named(tmp_path, source):
    target = hdr(tmp_path / "a.mkv", "max-cll=1000,400", 6)
    report = swap_video(SWAPPER, source, target, tmp_path / "b.mkv", options=VideoOptions(encoder="ffv1"))
    held = "libx264, libx265, libsvtav1, libvpx-vp9, prores_ks"
    note = f"static HDR10 metadata is not stored with ffv1 (with {held} it is)"
    assert note in report.notes and told(tmp_path / "b.mkv") == {Mastering()}
    report = swap_video(SWAPPER, source, target, tmp_path / "b.mp4")
    assert told(tmp_path / "b.mp4") == {Mastering((), (1000, 400))} and note not in report.notes


def header(path) -> tuple[list, dict[str, bytes]]:
    """What a container says of its pictures and how it holds them; and its boxes of HDR10, or what FFmpeg makes of
    Matroska's elements."""
    made, how = io.BytesIO(), {"movflags": "empty_moov"}
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        form = "mov" if stream.codec_context.name == "prores" else "mp4"
        other = av.open(made, "w", format=form, options=how)
        other.add_stream_from_template(stream, opaque=True)
        other.start_encoding()
        other.close()
        context = stream.codec_context
        said = [context.extradata, context.codec_tag, context.width, context.height, context.pix_fmt, context.color_trc,
                context.colorspace, context.color_primaries, context.color_range, context.profile, stream.time_base,
                stream.sample_aspect_ratio, stream.average_rate, stream.base_rate]  # fmt: skip
        packets = [(one.pts, one.dts, one.duration, one.is_keyframe, bytes(one)) for one in file.demux(stream)]
    data = made.getvalue()
    found = {name: data.find(name.encode()) for name in ("mdcv", "clli")}
    boxes = {name: data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at])] for name, at in found.items() if at > 0}
    return [*said, packets, next(decoded_frames(str(path))).frame.rotation], boxes


@pytest.mark.parametrize(
    "output, encoder",
    [("b.mp4", "libx265"), ("b.mov", "libx265"), ("b.mkv", "libx265"), ("b.mp4", "libx264"), ("b.mkv", "libx264"),
     ("b.mp4", "libsvtav1"), ("b.mkv", "libsvtav1"), ("b.webm", "libsvtav1"), ("b.mp4", "libvpx-vp9"),
     ("b.mkv", "libvpx-vp9"), ("b.webm", "libvpx-vp9"), ("b.mov", "prores_ks"), ("b.mkv", "prores_ks")],
)  # fmt: skip
def test_the_containers_header_has_them_and_is_else_the_same(tmp_path, source, monkeypatch, output, encoder):
    shape = ":sar=4" if output in ("b.mp4", "b.mov") else ""
    first = hdr(tmp_path / "a.mkv", f"master-display={P3}L(10000000,50):max-cll=1000,400{shape}")
    with av.open(str(first)) as file, av.open(str(tmp_path / "a.mp4"), "w") as turned:
        stream = turned.add_stream_from_template(file.streams.video[0])
        stream.set_display_rotation(90)
        for packet in file.demux(file.streams.video[0]):
            if packet.size:
                packet.stream = stream
                turned.mux(packet)

    def twice(*given, **how):
        with monkeypatch.context() as patched:
            patched.setattr(video_writing, "add_encoded_stream", video_encoding.add_stream)
            video_writing.put_together(*given[:-1], tmp_path / f"without{given[-1].suffix}", **how)
        return video_writing.put_together(*given, **how)

    monkeypatch.setattr(video, "put_together", twice)
    swap_video(SWAPPER, source, tmp_path / "a.mp4", tmp_path / output, options=VideoOptions(encoder=encoder))
    said, boxes = header(tmp_path / output)
    plain, none = header(tmp_path / f"without{tmp_path.joinpath(output).suffix}")
    assert said == plain and not none
    if encoder != "libsvtav1":  # whose own numbers are other fractions
        assert told(tmp_path / output) == {Mastering((*DISPLAY, *LIGHT), (1000, 400))}
    red, green, blue, white = ((34000, 16000), (13250, 34500), (7500, 3000), (15635, 16450))
    assert boxes == {
        "mdcv": struct.pack(">8H2I", *green, *blue, *red, *white, 10_000_000, 50), "clli": struct.pack(">2H", 1000, 400)
    }  # fmt: skip


@pytest.mark.parametrize(
    "said",
    ["G(0,0)B(0,0)R(0,0)WP(0,0)L(0,0)", f"{P3}L(0,0)", f"{P3}L(4294967295,4294967295)", f"{P3}L(50,10000000)",
     "G(65535,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"],
)  # fmt: skip
def test_numbers_that_mean_nothing_are_left_out_and_said(tmp_path, source, said):
    target = hdr(tmp_path / "a.mkv", f"master-display={said}:max-cll=300,0", 6)
    report = swap_video(SWAPPER, source, target, tmp_path / "b.mkv")
    assert "static HDR10 metadata whose numbers mean nothing is left out" in report.notes
    assert told(tmp_path / "b.mkv") == {Mastering((), (300, 0))}


def test_a_display_whose_black_is_0_is_kept_and_levels_that_are_not_known_are_not_said(tmp_path, source):
    target = hdr(tmp_path / "a.mkv", f"master-display={P3}L(10000000,0):max-cll=0,0", 6)
    report = swap_video(SWAPPER, source, target, tmp_path / "b.mkv")
    assert told(tmp_path / "b.mkv") == {Mastering((*DISPLAY, Fraction(0), Fraction(1000)))}
    (only,) = report.notes
    assert "its credentials lie beside it" in only


class Told:
    """A frame with side data."""

    def __init__(self, **data: bytes):
        self.side_data = data


PAIRS = [(one.numerator, one.denominator) for one in (*DISPLAY, *LIGHT)]


def metadata(pairs) -> bytes:
    return struct.pack("<22i", *(number for pair in pairs for number in pair), 1, 1)


@pytest.mark.parametrize(
    "place, pair", [(0, (1, 0)), (3, (-1, 5)), (8, (1, -7)), (9, (2**31 - 1, 1)), (9, (1, 2**31 - 1)), (5, (7, 6))]
)
def test_odd_numbers_of_any_container_are_none(place, pair):
    found = mastering_of(Told(MASTERING_DISPLAY_METADATA=metadata(PAIRS)))
    assert found == Mastering((*DISPLAY, *LIGHT))
    pairs = [*PAIRS[:place], pair, *PAIRS[place + 1 :]]
    assert mastering_of(Told(MASTERING_DISPLAY_METADATA=metadata(pairs))) == Mastering(odd=True)


def test_data_of_another_length_and_levels_beyond_16_bits_are_none():
    assert mastering_of(Told()) == Mastering()
    assert mastering_of(Told(MASTERING_DISPLAY_METADATA=bytes(8))) == Mastering(odd=True)
    for data in (bytes(4), struct.pack("<2I", 1 << 16, 5), struct.pack("<2I", 7, 0xFFFFFFFF)):
        assert mastering_of(Told(CONTENT_LIGHT_LEVEL=data)) == Mastering(odd=True)


def test_huge_fractions_become_the_nearest_units():
    third = Fraction(2**30, 3 * 2**30 + 1)
    (parameters,) = mastering_options(Mastering((*[third] * 8, Fraction(1, 3), Fraction(2000, 3))), "libx265").values()
    assert parameters.endswith("WP(16667,16667)L(6666667,3333)")
    (parameters,) = mastering_options(
        Mastering((*[third] * 8, Fraction(1, 3), Fraction(2000, 3))), "libsvtav1"
    ).values()
    assert parameters.endswith("L(666.66666667,0.33333333)") and np.isfinite(float(third))

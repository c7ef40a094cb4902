"""What a video says of its length, whatever the order in which its pictures are decoded."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from smoothswap_jax.faces.video_encoding import Encoding, facts_of, write_segment
from smoothswap_jax.faces.video_survey import survey
from smoothswap_jax.faces.video_writing import Span, put_together
from smoothswap_jax.faces.videos import decoded_frames
from tests.faces.make_videos import frames_of, write_video

av = pytest.importorskip("av")

EVEN = [50 * k for k in range(12)]
VARIABLE = [0, 40, 73, 123, 163, 283, 323, 363, 396, 446, 486, 606]
SLOW_AT_FIRST = [0, *range(3000, 3550, 50)]


def _written(folder: Path, output: str, encoder: str, times: list[int], last: int, segments: int = 1) -> Path:
    """A video of frames at these times, in milliseconds, of which the last is shown for so many."""
    write_video(folder / "a.mkv", frames_of(12), container="matroska", codec="ffv1", pixels="yuv444p", times=times)
    first = next(decoded_frames(str(folder / "a.mkv")))
    facts, encoding = facts_of(first.frame, first.told, "a.mkv"), Encoding(encoder, "yuv420p", 20)
    frames = (one.frame for one in decoded_frames(str(folder / "a.mkv")))
    files = [folder / f"{k}.nut" for k in range(segments)]
    for file, ticks in zip(files, np.array_split(times, segments), strict=True):
        write_segment(file, (next(frames) for _ in ticks), ticks.tolist(), facts, encoding)
    span = Span(Fraction(0), None, False)
    put_together(str(folder / "a.mkv"), files, np.array(times), last, facts, encoding, span, folder / output)
    return folder / output


@pytest.mark.parametrize("times, last", [(EVEN, 3000), (VARIABLE, 3000), (SLOW_AT_FIRST, 50)])
@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
@pytest.mark.parametrize("output, segments", [("b.mp4", 1), ("b.mov", 2)])
def test_a_video_lasts_until_its_last_frame_ends(tmp_path, times, last, encoder, output, segments):
    made = _written(tmp_path, output, encoder, times, last, segments)
    wanted = Fraction(times[-1] + last, 1000)
    with av.open(str(made)) as container:
        stream = container.streams.video[0]
        assert stream.duration * stream.time_base == Fraction(container.duration, 1_000_000) == wanted
        assert any(packet.pts > packet.dts for packet in container.demux(stream) if packet.size)  # B-frames
    assert [one.time for one in decoded_frames(str(made))] == [Fraction(time, 1000) for time in times]
    assert survey(str(made)).seconds == float(wanted)

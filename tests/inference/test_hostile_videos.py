"""Folders of damaged videos: each is swapped or refused in one line, and nothing else is left.

To see every outcome: `python -m pytest tests/inference/test_hostile_videos.py -m slow -s`.
"""

import itertools
import json
import os
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from smoothswap_jax.faces.film import Film, write_film
from smoothswap_jax.faces.photos import save_photo
from smoothswap_jax.faces.video_frames import VideoError
from smoothswap_jax.faces.video_survey import survey
from smoothswap_jax.inference import first_look, video
from smoothswap_jax.inference.video import swap_video
from smoothswap_jax.provenance.credentials import sidecar_of
from tests import damage
from tests.faces.make_photos import picture
from tests.faces.make_videos import CONTAINERS, frames_of, write_live, write_video
from tests.inference.pixel_swappers import brighten, marked, pixel_swapper
from tests.places import ROOT

av = pytest.importorskip("av")

SIZE, COUNT = (128, 96), 16
EACH = 3
"""Kinds of damage that each video is given, in turns."""
SECONDS, MEBIBYTES = 60, 1500
"""What one video may take, of all processors together."""
LIMIT = 900
"""Seconds of the clock after which something hangs."""


def film(path: Path) -> Path:
    """With sound and subtitles."""
    write_film(path, Film(frames_of(COUNT, *SIZE), [40 * k for k in range(COUNT)], *SIZE), codec="libx264")
    return path


def sound_files(work: Path) -> dict[str, bytes]:
    """A video of every kind."""
    frames = frames_of(COUNT, *SIZE)
    for name, (container, codec, pixels) in CONTAINERS.items():
        write_video(work / name.replace(" ", "-"), frames, container=container, codec=codec, pixels=pixels)
    write_live(work / "live.webm", frames)
    fragments = {"movflags": "frag_keyframe+empty_moov"}
    write_video(work / "fragments.mp4", frames, codec="libx264", options=fragments, codec_options={"g": "8"})
    for name in ("film.mp4", "film.mkv", "film.mov"):
        film(work / name)
    return {path.name: path.read_bytes() for path in sorted(work.iterdir())}


def odd_files(folder: Path) -> None:
    """Videos that are whole, and yet not what one expects."""
    frames = frames_of(COUNT, *SIZE)
    for name, width, height in (("narrow", 2, 200), ("dot", 1, 1), ("uneven", 127, 95)):
        flat = [np.full((height, width, 3), 15 * k, np.uint8) for k in range(12)]
        write_video(folder / f"odd {name}.mkv", flat, codec="ffv1", pixels="yuv444p")
    for name, times in {
        "far": [40 * k + 10**9 * (k > 8) for k in range(COUNT)],
        "dense": list(range(COUNT)),
        "late": [10**8 + 40 * k for k in range(COUNT)],
    }.items():
        write_video(folder / f"odd times-{name}.mkv", frames, container="matroska", codec="libx264", times=times)
    with av.open(str(folder / "odd sound.mp4"), "w") as out:
        tone = out.add_stream("aac", rate=48_000)
        for k in range(20):
            block = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            block.sample_rate, block.pts = 48_000, 1024 * k
            out.mux(tone.encode(block))
        out.mux(tone.encode(None))


@pytest.fixture
def who(tmp_path) -> Path:
    save_photo(tmp_path / "who.png", picture(*SIZE[::-1], seed=9))
    return tmp_path / "who.png"


@pytest.mark.slow
def test_of_many_damaged_videos_each_is_accounted_for(tmp_path, who):
    rng = np.random.default_rng(0)
    folder, out, work = (tmp_path / name for name in ("in", "out", "work"))
    for made in (folder, work):
        made.mkdir()
    files = sound_files(work)
    names, kinds = list(files), itertools.cycle([kind for kind in damage.KINDS if kind != "empty"])
    (folder / "empty.mp4").write_bytes(b"")
    odd_files(folder)
    for name, data in files.items():
        (folder / f"sound {name}").write_bytes(data)
        for kind in itertools.islice(kinds, EACH):
            other = files[names[rng.integers(len(names))]]
            (folder / f"{kind} {name}").write_bytes(damage.damaged(data, kind, rng, other, SIZE))
        if b"moov" in data:
            (folder / f"no index {name}").write_bytes(damage.without_index(data))
            (folder / f"lying times {name}").write_bytes(damage.with_lying_times(data, rng))
    given = sorted(folder.iterdir())
    kind_of = {path: path.stem.rpartition(" ")[0] or path.stem for path in given}
    assert len(given) - len(files) > 70

    script = [sys.executable, "-m", "tests.inference.swap_hostile_videos", who, folder, out]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "SVT_LOG": "1"}
    job = subprocess.run(script, env=surroundings, capture_output=True, text=True, timeout=LIMIT, check=False)
    start, *told = map(json.loads, job.stdout.splitlines())
    assert job.returncode == 0, f"after {told[-1]['target'] if told else 'nothing'}: {job.stderr}"
    assert "Traceback" not in job.stderr

    found = Counter((kind_of[Path(one["target"])], "refused" if one["fault"] else "swapped") for one in told)
    print("\n".join(one["fault"] or f"{one['output']}: {', '.join(one['notes'])}" for one in told))
    print(damage.table(found))
    print(f"most of one: {max(one['seconds'] for one in told):.1f} s; {told[-1]['memory'] - start['memory']:.0f} MiB")
    for one in told:
        fault = one["fault"]
        assert not fault or (Path(one["target"]).name in fault and "\n" not in fault and len(fault) < 600), fault
        assert one["seconds"] < SECONDS and one["memory"] - start["memory"] < MEBIBYTES, one
        assert fault or 0 < one["frames"] <= 2 * COUNT + 8, one
        assert kind_of[Path(one["target"])] != "sound" or one["frames"] == COUNT, one
    assert [Path(one["target"]) for one in told] == given
    made = [Path(one["output"]) for one in told if not one["fault"]]
    assert {*out.iterdir()} == {*made, *filter(None, map(sidecar_of, made))}


def test_sound_that_goes_back_in_time_is_left_out_and_the_rest_is_kept(tmp_path, who):
    data = film(tmp_path / "a.mkv").read_bytes()
    (tmp_path / "twice.mkv").write_bytes(data + data)
    swapper = pixel_swapper(brighten, 32, marked((60, 40, 1.0)))
    report = swap_video(swapper, who, tmp_path / "twice.mkv", tmp_path / "b.mkv", target_face="all")
    assert any("packets of stream 1, sound (aac), whose times go back" in note for note in report.notes)
    assert survey(str(tmp_path / "b.mkv")).frames == report.frames >= COUNT


def test_frames_at_senseless_times_all_come_out(tmp_path, who):
    data = bytearray(film(tmp_path / "a.mp4").read_bytes())
    for box, value in ((b"mdhd", 2**31 - 1), (b"stts", 90_000)):  # of the pictures: all within a millisecond
        struct.pack_into(">I", data, data.index(box) + 16, value)
    (tmp_path / "b.mp4").write_bytes(data)
    swapper = pixel_swapper(brighten, 32, marked((60, 40, 1.0)))
    swap_video(swapper, who, tmp_path / "b.mp4", tmp_path / "c.mp4", target_face="all")
    assert survey(str(tmp_path / "c.mp4")).frames == COUNT


def test_a_video_that_cannot_be_read_again_as_a_whole_is_not_written(tmp_path, who, monkeypatch):
    monkeypatch.setattr(first_look, "CHUNK", 7)
    together = video.put_together
    without_last = lambda of, segments, *how, **words: together(of, segments[:-1], *how, **words)
    monkeypatch.setattr(video, "put_together", without_last)
    swapper = pixel_swapper(brighten, 32, marked((60, 40, 1.0)))
    with pytest.raises(VideoError, match=r"a.mp4: found frames at times that .mp4 cannot hold, of 16 only 14 can be"):
        swap_video(swapper, who, film(tmp_path / "a.mp4"), tmp_path / "c.mp4", target_face="all")
    assert not (tmp_path / "c.mp4").exists() and not list(tmp_path.glob(".*"))


def test_frames_that_no_camera_has_are_refused_before_they_are_encoded(tmp_path, who, monkeypatch):
    monkeypatch.setattr(video, "LARGEST", 128 * 96 - 1)
    swapper = pixel_swapper(brighten, 32, marked((60, 40, 1.0)))
    with pytest.raises(VideoError, match=r"a.mp4: found frames of 128x96 pixels; wanted at most 12,287 in all"):
        swap_video(swapper, who, film(tmp_path / "a.mp4"), tmp_path / "c.mp4", target_face="all")
    assert not list(tmp_path.glob("*c.mp4*")) and not list(tmp_path.glob(".*"))


def test_a_video_whose_pictures_are_lost_is_not_called_too_short(tmp_path, who):
    data = film(tmp_path / "a.mp4").read_bytes()
    begin = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    (tmp_path / "b.mp4").write_bytes(data[:begin] + bytes(end - begin) + data[end:])
    swapper = pixel_swapper(brighten, 32, marked((60, 40, 1.0)))
    with pytest.raises(VideoError, match=r"b.mp4: found no frame that can be decoded; wanted a whole video"):
        swap_video(swapper, who, tmp_path / "b.mp4", tmp_path / "c.mp4", target_face="all")

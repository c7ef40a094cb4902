"""`smoothswap swap` of a video, killed three times by SIGKILL, which nothing can catch: the same command goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import jax
import numpy as np
import pytest

from smoothswap_jax.data.rendered import render_bytes
from smoothswap_jax.faces.photos import save_photo
from smoothswap_jax.inference.first_look import CHUNK, LOOKED
from smoothswap_jax.inference.video import SEGMENT
from smoothswap_jax.synthetic import world
from tests.places import ROOT

av = pytest.importorskip("av")

SIDE, COUNT = 128, 2 * CHUNK + 20
BLOCK, BLOCKS = 64, 60_000
"""Samples of a packet of sound, and how many there are: so many take a second or more to be put beside the pictures."""


def write_target(path: Path, face: np.ndarray) -> None:
    """A face that moves, encoded picture by picture, and a long tone in short packets."""
    wide = np.pad(face, ((16, 16), (16, 16), (0, 0)), mode="edge")
    with av.open(str(path), "w") as out:
        picture, tone = out.add_stream("ffv1", rate=25), out.add_stream("pcm_s16le", rate=8000)
        picture.width = picture.height = SIDE
        picture.pix_fmt = "yuv444p"
        for k in range(COUNT):
            x, y = (round(16 + 12 * turn(k / 20)) for turn in (np.sin, np.cos))
            shown = np.ascontiguousarray(wide[y : y + SIDE, x : x + SIDE])
            frame = av.VideoFrame.from_ndarray(shown, format="rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            out.mux(picture.encode(frame))
        out.mux(picture.encode(None))
        for k in range(BLOCKS):
            block = av.AudioFrame.from_ndarray(np.full((1, BLOCK), k % 999, np.int16), format="s16", layout="mono")
            block.sample_rate, block.pts = 8000, k * BLOCK
            out.mux(tone.encode(block))


def kill_when(moment: Callable[[], bool], command: list[str]) -> None:
    """Starts the command and kills it at the moment."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as job:
        while not moment():
            if job.poll() is not None:
                pytest.fail(f"ended before the moment: {job.communicate()[0]}")
            time.sleep(0.001)
        job.send_signal(signal.SIGKILL)
        assert job.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_a_video_that_is_killed_three_times_becomes_the_same_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XLA_FLAGS", "")  # one device
    faces = render_bytes(world.sample_factors(jax.random.key(0), 2), SIDE)
    save_photo(tmp_path / "source.png", faces[0])
    write_target(tmp_path / "target.mkv", faces[1])

    def command(name: str) -> list[str]:
        given = {"source": tmp_path / "source.png", "target": tmp_path / "target.mkv", "output": tmp_path / name}
        return [sys.executable, "-m", "smoothswap_jax", "swap", *(f"--{key}={value}" for key, value in given.items())]

    subprocess.run(command("whole.mkv"), check=True, capture_output=True)
    work = tmp_path / ".killed.mkv.swapping"
    first, second = work / LOOKED.format(0), work / LOOKED.format(1)
    one, two = work / SEGMENT.format(0), work / SEGMENT.format(1)
    half = two.with_suffix(".part")
    moments = {
        "the first look": lambda: first.exists(),
        "the second segment": lambda: half.exists() and half.stat().st_size > one.stat().st_size / 2,
        "putting together": lambda: (work / "whole.mkv").exists(),
    }
    kept: dict[Path, int] = {}
    for name, moment in moments.items():
        kill_when(moment, command("killed.mkv"))
        done = sorted(path.name for path in work.iterdir() if path.suffix in (".npz", ".nut"))
        print(f"killed in {name}, with {', '.join(done)}")
        assert not (tmp_path / "killed.mkv").exists()
        if name == "the first look":
            assert first.exists() and not second.exists()
        elif name == "the second segment":
            assert one.exists() and half.exists() and not two.exists()
        else:
            assert two.exists() and (work / "whole.mkv").exists()
        for path, written in kept.items():
            assert path.stat().st_mtime_ns == written, f"{path.name} was made again"
        kept = {work / one: (work / one).stat().st_mtime_ns for one in done}
    subprocess.run(command("killed.mkv"), check=True, capture_output=True)
    assert (tmp_path / "killed.mkv").read_bytes() == (tmp_path / "whole.mkv").read_bytes()
    assert not work.exists() and os.path.getsize(tmp_path / "killed.mkv") > 1_000_000

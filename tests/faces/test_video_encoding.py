"""Encoded segments: the same pictures make the same bytes, and the process stays what it was."""

import os
import subprocess
import sys

import numpy as np
import pytest

from smoothswap_jax.faces.video_encoding import QUALITY, choose_encoding, facts_of, write_segment
from smoothswap_jax.faces.videos import decoded_frames
from tests.faces.make_videos import write_video

av = pytest.importorskip("av")


@pytest.mark.parametrize("encoder", QUALITY)
def test_the_same_pictures_make_the_same_bytes_whatever_lies_in_memory(tmp_path, encoder):
    rng = np.random.default_rng(2)
    blocks = lambda low, high, side: np.random.default_rng(2).integers(low, high, (96 // side, 160 // side, 3))
    first, second = (
        blocks(*of).repeat(of[2], 0).repeat(of[2], 1).astype(np.uint8) for of in ((0, 255, 8), (90, 130, 4))
    )
    pictures = [first, *(np.roll(second, k, 1) for k in range(1, 7))]
    write_video(tmp_path / "a.mkv", pictures, container="matroska", codec="ffv1")
    frames = list(decoded_frames(str(tmp_path / "a.mkv")))
    facts = facts_of(frames[0].frame, frames[0].told, "a.mkv")
    encoding, _ = choose_encoding(facts, tmp_path / "b.mkv", encoder)
    ticks = [int(one.time / one.told.tick) for one in frames]
    made = set()
    for _ in range(15):
        rng.integers(0, 256, rng.integers(1000, 3_000_000), np.uint8)
        write_segment(tmp_path / "b", [one.frame for one in frames], ticks, facts, encoding)
        made.add((tmp_path / "b").read_bytes())
    assert len(made) == 1


OF_ROOT = """
import os, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from smoothswap_jax.faces.video_encoding import choose_encoding, facts_of, write_segment
from smoothswap_jax.faces.video_writing import Span, put_together
from smoothswap_jax.faces.videos import decoded_frames
def say():
    print({os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")})
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
folder = Path(sys.argv[1])
original = str(folder / "a.mkv")
(one,) = decoded_frames(original)
facts = facts_of(one.frame, one.told, "a.mkv")
encoding, _ = choose_encoding(facts, "b.mp4", "libsvtav1")
say()
write_segment(folder / "segment", [one.frame], [0], facts, encoding)
say()
span = Span(Fraction(0), None, False)
put_together(original, [folder / "segment"], np.array([0]), 1, facts, encoding, span, folder / "b.mp4")
say()
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="SVT-AV1 raises the priority of root alone")
def test_av1_leaves_a_process_of_root_its_priority(tmp_path):
    write_video(tmp_path / "a.mkv", [np.zeros((64, 64, 3), np.uint8)], container="matroska", codec="ffv1")
    args = [sys.executable, "-c", OF_ROOT, str(tmp_path)]
    ended = subprocess.run(args, check=True, capture_output=True, text=True)
    assert (tmp_path / "b.mp4").is_file()
    assert ended.stdout.splitlines() == [f"{{{os.SCHED_OTHER}}}"] * 3

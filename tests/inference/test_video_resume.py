"""Videos whose swap is stopped or killed, and goes on."""

import dataclasses
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from smoothswap_jax.faces import video_encoding
from smoothswap_jax.faces.photos import load_photo, save_photo
from smoothswap_jax.faces.videos import read_frames
from smoothswap_jax.inference import first_look, video
from smoothswap_jax.inference.occlusion import keep_occluders
from smoothswap_jax.inference.video import swap_video
from tests.inference.painted_videos import (
    COUNT,
    CYAN,
    MAGENTA,
    SWAPPER,
    changed_people,
    film,
    frames,
    lossless,
    painted,
    paths,
    spotted,
)
from tests.places import ROOT

av = pytest.importorskip("av")
pytestmark = pytest.mark.usefixtures("known_people")


def test_a_job_that_is_stopped_anywhere_goes_on_to_the_same_file(tmp_path, source, monkeypatch):
    monkeypatch.setattr(first_look, "CHUNK", 7)
    target = film(tmp_path / "a.mkv")
    swap_video(SWAPPER, source, target, tmp_path / "whole.mkv", target_face="all")
    wanted = (tmp_path / "whole.mkv").read_bytes()

    class Killed(Exception):
        pass

    for moment in (5, 16, COUNT + 3, COUNT + 20):
        output = tmp_path / f"b{moment}.mkv"
        seen = iter(range(1000))

        def kill(stage, done, total, seen=seen, moment=moment):
            if next(seen) == moment:
                raise Killed

        with pytest.raises(Killed):
            swap_video(SWAPPER, source, target, output, target_face="all", progress=kill)
        assert not output.exists()
        again: list[tuple] = []
        note = lambda *now, again=again: again.append(now)
        swap_video(SWAPPER, source, target, output, target_face="all", progress=note)
        assert output.read_bytes() == wanted
        looked = sum(stage == "looking" for stage, _, _ in again)
        assert looked == (0 if moment >= COUNT else COUNT - moment // 7 * 7)
        assert len(again) - looked == (COUNT - max(0, moment - COUNT) // 7 * 7)


@pytest.mark.parametrize(
    "mask, looked", [(keep_occluders, 0), (lambda targets, swaps: np.ones((len(targets), 2, 2)), COUNT)]
)
def test_a_job_with_a_mask_goes_on_where_what_it_keeps_is_known(mask, looked, tmp_path, source, monkeypatch):
    monkeypatch.setattr(first_look, "CHUNK", 7)
    target, swapper = film(tmp_path / "a.mkv"), dataclasses.replace(SWAPPER, mask=mask)

    def kill(stage, done, total):
        if stage == "swapping":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swap_video(swapper, source, target, tmp_path / "b.mkv", progress=kill)
    again: list[tuple] = []
    swap_video(swapper, source, target, tmp_path / "b.mkv", progress=lambda *now: again.append(now))
    assert sum(stage == "looking" for stage, *_ in again) == looked


def spotted_in_tiles(photo):
    return spotted(photo)


def of_ones_own(photo):
    return spotted(photo)


@pytest.mark.parametrize(
    "before, after, looked",
    [
        (spotted, spotted, 0),
        (spotted_in_tiles, spotted_in_tiles, 0),
        (spotted, spotted_in_tiles, COUNT),
        (spotted_in_tiles, spotted, COUNT),
        (of_ones_own, of_ones_own, COUNT),
    ],
)
def test_a_job_goes_on_only_with_the_detector_that_it_began_with(before, after, looked, tmp_path, source, monkeypatch):
    monkeypatch.setattr(first_look, "CHUNK", 7)
    monkeypatch.setattr(video, "find_small_faces", spotted_in_tiles)
    target = film(tmp_path / "a.mkv")

    def kill(stage, done, total):
        if stage == "swapping":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swap_video(dataclasses.replace(SWAPPER, detect=before), source, target, tmp_path / "b.mkv", progress=kill)
    again: list[tuple] = []
    note = lambda *now: again.append(now)
    swap_video(dataclasses.replace(SWAPPER, detect=after), source, target, tmp_path / "b.mkv", progress=note)
    assert sum(stage == "looking" for stage, *_ in again) == looked


def test_a_chunk_that_is_damaged_is_made_again(tmp_path, source, monkeypatch):
    monkeypatch.setattr(first_look, "CHUNK", 7)
    target = lossless(tmp_path / "a.mkv")

    def kill(stage, done, total):
        if stage == "swapping":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swap_video(SWAPPER, source, target, tmp_path / "b.mkv", progress=kill)
    looked = sorted((tmp_path / ".b.mkv.swapping").glob("looked-*"))
    looked[0].write_bytes(bytes(500))
    looked[1].write_bytes(looked[1].read_bytes()[:-200])
    again: list[tuple] = []
    swap_video(SWAPPER, source, target, tmp_path / "b.mkv", progress=lambda *now: again.append(now))
    assert sum(stage == "looking" for stage, *_ in again) == 14
    swap_video(SWAPPER, source, target, tmp_path / "c.mkv")
    assert (tmp_path / "b.mkv").read_bytes() == (tmp_path / "c.mkv").read_bytes()


def test_another_person_under_the_same_name_is_another_job(tmp_path, source, monkeypatch):
    monkeypatch.setattr(first_look, "CHUNK", 7)
    monkeypatch.setattr(
        video, "person_in", lambda which, *_: np.eye(128)[0 if load_photo(which)[45, 80, 0] > 99 else 1]
    )
    target, who = lossless(tmp_path / "a.mkv"), tmp_path / "who.png"

    def kill(stage, done, total):
        if stage == "swapping" and done == 15:
            raise KeyboardInterrupt

    save_photo(who, painted({MAGENTA: (80, 45)}))
    with pytest.raises(KeyboardInterrupt):
        swap_video(SWAPPER, source, target, tmp_path / "b.mkv", target_face=who, progress=kill)
    save_photo(who, painted({CYAN: (80, 45)}))
    swap_video(SWAPPER, source, target, tmp_path / "b.mkv", target_face=who)
    for k, signs in enumerate(changed_people(frames(), tmp_path / "b.mkv")):
        assert signs == ({"+cyan"} if CYAN in paths(k) else set()), k


def test_what_was_begun_otherwise_is_not_gone_on_with(tmp_path, source, monkeypatch):
    monkeypatch.setattr(first_look, "CHUNK", 7)
    target = lossless(tmp_path / "a.mkv")

    def kill(stage, done, total):
        if stage == "swapping" and done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swap_video(SWAPPER, source, target, tmp_path / "b.mkv", progress=kill)
    swap_video(SWAPPER, tmp_path / "dark.png", target, tmp_path / "b.mkv")
    assert all(signs == {"-magenta"} for signs in changed_people(frames(), tmp_path / "b.mkv"))


def test_a_full_disk_loses_no_work(tmp_path, source, monkeypatch):
    target = lossless(tmp_path / "a.mkv")
    real = video.put_together

    def full(*given, **_):
        with video_encoding.writing(given[-1]):
            raise av.error.OSError(28, "No space left on device")

    monkeypatch.setattr(video, "put_together", full)
    with pytest.raises(OSError, match="No space left on device") as found:
        swap_video(SWAPPER, source, target, tmp_path / "b.mkv")
    assert not isinstance(found.value, ValueError) and str(found.value.filename).endswith("whole.mkv")
    assert list((tmp_path / ".b.mkv.swapping").glob("segment-*"))
    monkeypatch.setattr(video, "put_together", real)
    again: list[tuple] = []
    swap_video(SWAPPER, source, target, tmp_path / "b.mkv", progress=lambda *now: again.append(now))
    assert again == [] and (tmp_path / "b.mkv").is_file()


def test_a_killed_process_leaves_no_output_and_the_next_goes_on(tmp_path, source):
    """SIGKILL, which nothing can catch, in the middle of the second look."""
    target = lossless(tmp_path / "a.mkv")
    script = tmp_path / "job.py"
    script.write_text(
        "import os, sys, time\n"
        "from smoothswap_jax.inference import first_look, video\n"
        "from smoothswap_jax.inference.video import swap_video\n"
        "from tests.inference.painted_videos import SWAPPER\n"
        "first_look.CHUNK = 7\n"
        "video.find_faces = SWAPPER.detect\n"
        "def slow(stage, done, total):\n"
        "    if stage == 'swapping' and done == 16 and sys.argv[1] == 'slow':\n"
        "        print('now', flush=True); time.sleep(60)\n"
        f"swap_video(SWAPPER, {str(source)!r}, {str(target)!r}, {str(tmp_path / 'b.mkv')!r}, target_face='all', "
        "progress=slow)\n"
    )
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    job = subprocess.Popen([sys.executable, script, "slow"], env=surroundings, stdout=subprocess.PIPE)
    assert job.stdout is not None and job.stdout.readline() == b"now\n"
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert not (tmp_path / "b.mkv").exists()
    assert sorted(path.name for path in (tmp_path / ".b.mkv.swapping").glob("segment-*.nut")) == [
        "segment-000000.nut",
        "segment-000001.nut",
    ]
    subprocess.run([sys.executable, script, "on"], env=surroundings, check=True)
    whole = swap_video(SWAPPER, source, target, tmp_path / "c.mkv", target_face="all")
    assert whole.frames == COUNT
    assert [f.picture.tobytes() for f in read_frames(str(tmp_path / "b.mkv"))] == [
        f.picture.tobytes() for f in read_frames(str(tmp_path / "c.mkv"))
    ]

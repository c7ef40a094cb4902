"""The experiments behind the package's constants: that they start, and say what they need."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.bench import face_search, sharpness_gate
from smoothswap_jax.faces.detection.base import Face
from tests.faces.drawn_points import POINTS
from tests.places import ROOT


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["sharpness_gate", "alignment_agreement", "face_search"])
def test_help_says_which_photos_are_wanted(name, tmp_path):
    shown = run(f"smoothswap_jax.bench.{name}", "--help")
    assert shown.returncode == 0 and "photo" in shown.stdout and "--faces" in shown.stdout
    missing = run(f"smoothswap_jax.bench.{name}", f"--faces={tmp_path}")
    assert missing.returncode == 2 and "--faces: found no" in missing.stderr


def test_the_tables_find_copies_and_blurred_crops(tmp_path, monkeypatch, capsys):
    photo = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    files = [tmp_path / person / f"{k}.jpg" for person in ("ann", "bob") for k in range(5)]
    for k, file in enumerate(files):
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(np.roll(photo, 20 * k, axis=1)).save(file)
    monkeypatch.setattr(sharpness_gate, "detect_faces", lambda photo: [])
    assert sharpness_gate.aligned(photo) is None
    monkeypatch.setattr(sharpness_gate, "aligned", lambda image: sharpness_gate.enlarged(image, 256))
    monkeypatch.setattr(sys, "argv", ["sharpness_gate", f"--faces={tmp_path}", "--people=2"])
    sharpness_gate.main()
    rows = {line[:28].strip(): line[28:].split() for line in capsys.readouterr().out.splitlines()}
    assert rows["jpeg 60"][0] == "2" and float(rows["jpeg 60"][-1]) == 1  # one photo of each person; both found
    assert [rows[name][0] for name in ("one person", "different people")] == ["20", "25"]
    sharp, soft = (float(rows[name][4]) for name in ("sigma 0", "sigma 6"))
    assert rows["sigma 0"][0] == "4" and sharp > soft + 10


def test_turned_photos_take_their_points_along():
    photo = np.full((90, 120, 3), 200, np.uint8)
    photo[72, 40] = 0
    for degrees in (0, 90, 180, 270, 30):
        view, points = face_search.turned(photo, np.array([[40.0, 72.0]]), degrees)
        x, y = points[0].round().astype(int)
        assert view[y - 1 : y + 2, x - 1 : x + 2].min() < 120
    truth = Face(np.array([30.0, 35, 70, 85]), POINTS, 0.9)
    upright = lambda view: [truth] if view.shape[0] < view.shape[1] else []
    assert face_search.turned_outcomes(upright, [(photo, truth)], 0) == [1, 0, 0]
    assert face_search.turned_outcomes(upright, [(photo, truth)], 180) == [0, 1, 0]
    assert face_search.turned_outcomes(upright, [(photo, truth)], 90) == [0, 0, 1]

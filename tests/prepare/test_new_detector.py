"""A detector is one entry of `DETECTORS`: with it, everything that takes a detector's name takes the new one."""

import hashlib
import importlib.metadata
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.data import records
from smoothswap_jax.faces.align import align_face, ffhq_quad
from smoothswap_jax.faces.detection.base import DetectorSpec, Face, UserModel
from smoothswap_jax.faces.detection.registry import DETECTORS, detector_facts, make_detector
from smoothswap_jax.prepare import run
from smoothswap_jax.prepare.crops import PrepareSettings
from tests.faces.drawn_points import POINTS

SIZE = 32


def toy_detect(photo: np.ndarray) -> list[Face]:
    """One face, always in the same place."""
    return [Face(np.array([30.0, 35, 70, 85]), POINTS, 0.75)]


def toy_detect_by_file(photo: np.ndarray, *, model: str) -> list[Face]:
    """The points that the file `model` holds."""
    return [Face(np.array([30.0, 35, 70, 85]), np.array(json.loads(Path(model).read_text())), 0.75)]


def this_file() -> Path:
    return Path(__file__)


def check_points(model: str) -> None:
    if np.shape(json.loads(Path(model).read_text())) != (5, 2):
        raise ValueError(f"{model}: wanted five points")


PACKAGED = DetectorSpec("toy", toy_detect, this_file, {"numpy": ("no-such-wheel", "numpy"), "toylib": ("toylib",)})
BY_FILE = DetectorSpec("toy", toy_detect_by_file, UserModel("points.json", check_points), {"pillow": ("pillow",)})


@pytest.fixture
def points_file(tmp_path):
    path = tmp_path / "points.json"
    path.write_text(json.dumps((POINTS + 3).tolist()))
    return path


def prepared(folder: Path, **settings) -> tuple[dict, dict]:
    """The manifest of one prepared photo, and its record."""
    photo = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    (folder / "people" / "ann").mkdir(parents=True)
    Image.fromarray(photo).save(folder / "people" / "ann" / "a.png")
    loose = PrepareSettings(size=SIZE, detector="toy", min_sharpness=-120, encoding="png", test_share=0, **settings)
    run.prepare(folder / "people", folder / "out", loose, workers=1)
    (example,) = records.records_of(str(folder / "out"), "train").examples([0])
    points = np.array(example["points"].float_list.value).reshape(5, 2)
    image = Image.open(io.BytesIO(example["image"].bytes_list.value[0]))
    np.testing.assert_array_equal(np.asarray(image), align_face(photo, ffhq_quad(points), SIZE))
    return json.loads((folder / "out" / "manifest.json").read_text()), {"points": points, "score": example["score"]}


def test_a_detector_with_packaged_weights(monkeypatch, tmp_path):
    pytest.importorskip("apache_beam")
    with pytest.raises(ValueError, match="found 'toy'"):
        make_detector("toy")
    monkeypatch.setitem(DETECTORS, "toy", PACKAGED)
    (face,) = pickle.loads(pickle.dumps(make_detector("toy")))(np.zeros((9, 9, 3), np.uint8))
    assert face.score == 0.75
    facts = detector_facts("toy")
    assert facts == {
        "name": "toy",
        "package": "numpy, toylib",
        "version": f"{importlib.metadata.version('numpy')}, unknown",
        "model": this_file().name,
        "sha256": hashlib.sha256(this_file().read_bytes()).hexdigest(),
    }
    with pytest.raises(ValueError, match="detector toy: found model 'x'; wanted none"):
        make_detector("toy", "x")
    with pytest.raises(ValueError, match="wanted one of yunet, dlib, mediapipe, toy"):
        make_detector("toys")
    manifest, record = prepared(tmp_path)
    assert manifest["detector"] == facts and manifest["settings"]["detector"] == "toy"
    np.testing.assert_allclose(record["points"], POINTS)
    assert record["score"].float_list.value[0] == 0.75


def test_a_detector_whose_weights_the_user_gives(monkeypatch, points_file, tmp_path):
    pytest.importorskip("apache_beam")
    monkeypatch.setitem(DETECTORS, "toy", BY_FILE)
    for make in (make_detector, detector_facts):
        with pytest.raises(ValueError, match=r"detector toy: found no model; wanted the path of points\.json"):
            make("toy")
    (tmp_path / "bad.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match="wanted five points"):
        make_detector("toy", str(tmp_path / "bad.json"))
    (face,) = pickle.loads(pickle.dumps(make_detector("toy", str(points_file))))(np.zeros((9, 9, 3), np.uint8))
    np.testing.assert_array_equal(face.points, POINTS + 3)
    manifest, record = prepared(tmp_path, detector_model=str(points_file))
    assert manifest["detector"] == detector_facts("toy", str(points_file))
    np.testing.assert_allclose(record["points"], POINTS + 3)

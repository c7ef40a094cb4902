"""From swaps to a report: perfect input scores perfectly, baselines land where theory says, nothing is dropped."""

import csv
import dataclasses
import json
import re

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from smoothswap_jax.evaluation import evaluate as ev
from smoothswap_jax.evaluation import features as readings_lib
from smoothswap_jax.evaluation import methods
from smoothswap_jax.evaluation.cache import open_cache
from smoothswap_jax.evaluation.compare import compare
from smoothswap_jax.evaluation.features import Readings, read_faces
from smoothswap_jax.evaluation.judges.base import Judge, JudgeError
from smoothswap_jax.evaluation.judges.networks import network_judge
from smoothswap_jax.evaluation.judges.registry import check_judges, refuse_self_judges
from smoothswap_jax.evaluation.measures import coefficients as coefficients_lib
from smoothswap_jax.evaluation.measures import pixels, scoring
from smoothswap_jax.evaluation.measures.base import mean
from smoothswap_jax.evaluation.measures.pose import POSE as POSE_METRIC
from smoothswap_jax.evaluation.methods import MethodError
from smoothswap_jax.evaluation.pairs import only
from smoothswap_jax.evaluation.protocols.registry import PROTOCOLS
from smoothswap_jax.evaluation.settings import EvaluationSettings
from smoothswap_jax.models.embedder import IdentityEmbedder
from smoothswap_jax.runtime import sharding
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.spec import Network
from tests.evaluation.report.browser import browser, needs_browser
from tests.evaluation.report.schema import documented_keys, keys_of
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


def test_a_copy_of_the_source_has_a_perfect_identity_and_is_told_off_in_words(tmp_path, pairs):
    result = judged(tmp_path, pairs, [method_of(pairs, pictures(pairs, pairs.source))])
    assert np.all(result.scores["fake"]["eye: top-1"] == 1)
    words = " ".join(written(tmp_path, result)["verdicts"])
    assert "fake changes its targets as much as copying the source does" in words
    assert "does not keep the target's pose, expression and background" in words
    (scatter,) = json.loads((tmp_path / "report.json").read_text())["scatters"]
    value = lambda number: number["value"] if isinstance(number, dict) else number  # equal values have no interval
    at = {point["name"]: (value(point["x"]), value(point["y"])) for point in scatter["points"]}
    assert at["fake"] == pytest.approx(at["copy source"]) and at["fake"][1] > 3 * at["true swap"][1] + 0.01


def test_a_copy_of_the_target_is_said_not_to_swap(tmp_path, pairs):
    result = judged(tmp_path, pairs, [method_of(pairs, pictures(pairs, pairs.target))])
    assert any("fake hardly changes its targets" in words for words in written(tmp_path, result)["verdicts"])


def test_judges_that_disagree_are_named(tmp_path, pairs):
    """One judge sees the half that was swapped, the other the half that was not."""
    eye = identity_judge()
    lower = lambda images, points: images[:, SIZE // 2 :].reshape(len(images), -1).astype(np.float32) - 127.5
    mouth = dataclasses.replace(eye, name="mouth", facts={"params sha256": "m"}, measure=lower)
    result = judged(tmp_path, pairs, [method_of(pairs, pictures(pairs, pairs.truth))], [eye, mouth])
    words = written(tmp_path, result)["verdicts"]
    assert any(sentence.startswith("By eye, fake goes 100% of the way") for sentence in words)
    assert any("judges disagree about identity" in sentence for sentence in words)
    alone = judged(tmp_path, pairs, list(result.methods.values())[:1], [eye])
    assert not any("disagree" in sentence for sentence in written(tmp_path, alone)["verdicts"])


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


def test_a_target_that_shows_no_face_is_not_held_against_the_swap(searched):
    judge = identity_judge()
    originals = read_all(searched, [judge])
    blind = dataclasses.replace(originals, found=np.zeros(len(searched.gallery), bool))
    found = score_of(searched, blind.take(searched.truth), blind, [judge])
    assert not found["no face found"].any()


def test_faces_that_are_not_searched_for_are_not_said_to_be_found(tmp_path, pairs):
    """In the rendered world points are known, so noise would pass for a face."""
    noise = np.random.default_rng(0).integers(0, 256, (len(pairs), SIZE, SIZE, 3)).astype(np.uint8)
    report = written(tmp_path, judged(tmp_path, pairs, [method_of(pairs, noise)]))
    assert "no face found" not in {measure["name"] for measure in report["measures"]}
    (table,) = (t for t in report["tables"] if t["title"] == "Sanity checks")
    assert [row["found"] for row in table["rows"] if row["check"] == "faces found"] == [
        "not searched for: where the faces are is known"
    ]


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
    monkeypatch.setattr(readings_lib, "_seen", lambda images: rng.uniform(1, 9, (len(images), 5, 2)))
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


def test_the_network_that_trained_a_method_is_refused_as_its_judge():
    judges = [identity_judge("arc"), identity_judge("other")]
    trained_with = {"digest of arc": "the embedder that trained swap"}
    with pytest.raises(JudgeError, match=r"arc is the embedder that trained swap.*--allow-self-judge"):
        refuse_self_judges(judges, trained_with, [], allow=False)
    assert [j.name for j in refuse_self_judges(judges, trained_with, [], allow=True)] == ["arc (SELF-JUDGED)", "other"]
    assert refuse_self_judges(judges[1:], trained_with, [], allow=False) == judges[1:]


SHA = "0123456789ABCDEF" * 4


@pytest.mark.parametrize("declared", ["arc", "ARC", "iresnet50", "backbone.pth", "backbone", SHA, SHA.lower()])
def test_a_judge_is_declared_by_name_kind_file_or_digest(declared):
    # Two files' digests in one fact, as dlib's are.
    facts = {"kind": "iresnet50", "source": "backbone.pth", "sha256": f"{'f' * 64}, {SHA.lower()}"}
    judges = [Judge("arc", "identity", facts), identity_judge("other")]
    with pytest.raises(JudgeError, match=f"arc is declared by --trained-with={declared}"):
        refuse_self_judges(judges, {}, [declared], allow=False)
    marked = refuse_self_judges(judges, {}, [declared], allow=True)
    assert [bool(judge.self_judged) for judge in marked] == [True, False]


def test_a_declaration_that_means_no_judge_is_refused(tmp_path):
    with pytest.raises(JudgeError, match=r"--trained-with=arcface: found no such judge, but arc \(identity\)"):
        refuse_self_judges([identity_judge("arc")], {}, ["arcface"], allow=True)


@pytest.mark.parametrize("names", [["a", "a"], ["a:b"], ["a=b"]])
def test_names_of_judges_that_tables_could_not_tell_apart_are_refused(names):
    with pytest.raises(JudgeError, match="wanted different names without ':' and '='"):
        check_judges([identity_judge(name) for name in names])


def test_a_self_judge_that_is_allowed_is_marked_wherever_its_scores_are(tmp_path, pairs):
    judges = refuse_self_judges([identity_judge(), identity_judge("other")], {}, ["eye"], allow=True)
    method = method_of(pairs, pictures(pairs, pairs.truth))
    report = written(tmp_path, judged(tmp_path, pairs, [method], judges))
    assert any(text.startswith("eye (SELF-JUDGED): it is declared by") for text in report["intro"])
    heads = [column for table in report["tables"] for column in table["columns"] if column.startswith("eye")]
    assert heads and all(head.startswith("eye (SELF-JUDGED): ") for head in heads)
    assert any(sentence.startswith("By eye (SELF-JUDGED), fake goes") for sentence in report["verdicts"])
    assert report["scatters"][0]["x_label"].startswith("eye (SELF-JUDGED)")
    assert "eye (SELF-JUDGED): top-1" in (tmp_path / "scores.csv").read_text().splitlines()[0]
    assert [judge["self_judged"] for judge in report["judges"]] == [True, False]
    compared = compare([tmp_path], baselines=True)[0]
    assert {d.measure for d in compared if d.measure.startswith("eye")} >= {"eye (SELF-JUDGED): top-1"}


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


def test_every_pair_of_every_method_has_a_row(tmp_path, pairs):
    result = judged(tmp_path, pairs, [method_of(pairs, pictures(pairs, pairs.truth))])
    report = written(tmp_path, result)
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * len(pairs)
    mine = [float(row["change"]) for row in rows if row["method"] == "fake"]
    np.testing.assert_allclose(mine, result.scores["fake"]["change"])
    assert report["methods"][0]["means"]["change"] == pytest.approx(np.mean(mine))
    assert report["protocol"]["name"] == "synthetic-truth" and re.fullmatch(r"\w{64}", report["pairs"]["sha256"])


@needs_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_works_in_a_browser(tmp_path, pairs, width):
    written(tmp_path, judged(tmp_path, pairs, [method_of(pairs, pictures(pairs, pairs.truth) // 2)]))
    with browser(tmp_path / "report.html", width, 900) as view:
        assert view.console == []
        assert view.evaluate("document.documentElement.scrollWidth") <= width
        loaded = view.evaluate("[...document.images].map((image) => image.complete && image.naturalWidth > 0)")
        assert len(loaded) == 1 and all(loaded)
        names = "[...document.querySelectorAll('#table-1 tbody tr')].map((row) => row.cells[0].textContent)"
        before = view.evaluate(names)
        view.click("#table-1 thead th:nth-child(2) button")
        best_first = view.evaluate(names)
        assert best_first[-1] == "copy target" and best_first != before and set(best_first) == set(before)


def test_the_report_has_exactly_the_documented_keys(tmp_path, pairs):
    left_out = dataclasses.replace(pairs.gallery, left_out={"x.jpg": "no face found"})
    pairs = dataclasses.replace(pairs, gallery=left_out)
    whole = lambda images, points: images.reshape(len(images), -1).astype(np.float32) - 127.5
    judge = dataclasses.replace(identity_judge(), measure=whole)
    features = dataclasses.replace(judge, name="inception", role="distribution", facts={"kind": "x"})
    method = dataclasses.replace(method_of(pairs, pictures(pairs, pairs.truth)), facts={"swaps": "here"})
    report = written(tmp_path, judged(tmp_path, pairs, [method], [judge, features]))
    own, added = documented_keys(0), documented_keys(1)
    tops = {re.split(r"[.\[]", key)[0] for key in own}
    content = {key: value for key, value in report.items() if key not in tops}
    found = keys_of(content, "", set(added))
    assert {key for key, _ in found} | {"pairs.data.*"} == set(added)
    assert [(key, kind) for key, kind in found if kind not in added[key]] == []


def test_one_source_person_has_scores_without_intervals(tmp_path, pairs):
    alone = only(pairs, pairs.people[0] == "p0", "one person")
    report = written(tmp_path, judged(tmp_path, alone, [method_of(alone, pictures(alone, alone.truth) // 2)]))
    (table,) = (table for table in report["tables"] if table["title"] == "Against the true swap")
    assert all(isinstance(row["error / copy target"], float) for row in table["rows"])
    assert "one person" in report["intro"]


def test_a_judge_that_sees_no_original_at_all_leaves_a_report_without_its_numbers(tmp_path, pairs):
    nothing = lambda images, points: np.full((len(images), 4), np.nan, np.float32)
    judge = Judge("blind", "identity", {"kind": "x"}, nothing)
    report = written(tmp_path, judged(tmp_path, pairs, [method_of(pairs, pictures(pairs, pairs.truth))], [judge]))
    assert report["scatters"] == [] and "nan" not in " ".join(report["verdicts"])
    (table,) = (t for t in report["tables"] if t["title"] == "Identity by blind")
    assert all(row["blind: cosine to source"] is None for row in table["rows"])


def test_a_target_that_is_the_truth_itself_has_no_part_in_the_ratio(tmp_path, pairs):
    target = pairs.target.copy()
    target[:3] = pairs.truth[:3]
    odd = dataclasses.replace(pairs, target=target)
    report = written(tmp_path, judged(tmp_path, odd, [method_of(odd, pictures(odd, odd.source))]))
    (table,) = (t for t in report["tables"] if t["title"] == "Against the true swap")
    assert "leaves out 3 pairs" in table["caption"]
    copy = next(row for row in table["rows"] if row["method"] == "copy target")
    assert copy["error / copy target"] == pytest.approx({"value": 1, "low": 1, "high": 1})


def test_targets_that_are_all_their_truth_leave_no_ratio(tmp_path, pairs):
    same = dataclasses.replace(pairs, target=pairs.truth)
    report = written(tmp_path, judged(tmp_path, same, [method_of(same, pictures(same, same.source))]))
    (table,) = (t for t in report["tables"] if t["title"] == "Against the true swap")
    assert "error / copy target" not in table["columns"]


def test_without_judges_and_truth_pictures_are_ordered_by_change_and_nothing_is_called_best(tmp_path, pairs):
    plain = dataclasses.replace(pairs, truth=None)
    report = written(tmp_path, judged(tmp_path, plain, [method_of(plain, pictures(plain, plain.source))], []))
    assert [picture["title"] for picture in report["pictures"]] == ["fake: least, median and most"]


@pytest.mark.parametrize("names", [["a", "a"], ["copy target"], ["a/b"], [""], ["."], [".."]])
def test_names_that_are_taken_are_refused(names):
    with pytest.raises(MethodError, match="wanted different names"):
        ev._check_names(names)

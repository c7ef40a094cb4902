"""From swaps to a report: perfect input scores perfectly, baselines land where theory says, nothing is dropped."""

import csv
import dataclasses
import json
import re

import jax
import numpy as np
import pytest

from smoothswap_jax import sharding
from smoothswap_jax.evaluation import evaluate as ev
from smoothswap_jax.evaluation import methods, outcome, scores
from smoothswap_jax.evaluation.cache import open_cache
from smoothswap_jax.evaluation.compare import CompareError, compare, write_comparison
from smoothswap_jax.evaluation.judges import Judge, JudgeError, network_judge, refuse_self_judges
from smoothswap_jax.evaluation.methods import MethodError
from smoothswap_jax.evaluation.pairs import only
from smoothswap_jax.evaluation.protocols import PROTOCOLS
from smoothswap_jax.evaluation.readings import Readings, read_faces
from smoothswap_jax.evaluation.report import write_report
from smoothswap_jax.models.resnet import IdentityEmbedder
from smoothswap_jax.weights.kinds import Network
from smoothswap_jax.weights.preprocessing import Preprocessing
from tests.evaluation.browser import browser, needs_browser
from tests.evaluation.schema import documented_keys, keys_of
from tests.evaluation.stand_ins import SIZE, identity_judge, make_pairs, method_of, pictures


@pytest.fixture(scope="module")
def pairs():
    return make_pairs()


def judged(tmp_path, pairs, extra=(), judges=None, selves=frozenset()):
    """The result of judging some methods beside the baselines."""
    settings = ev.Settings("synthetic-truth", tmp_path)
    tmp_path.mkdir(exist_ok=True)
    everyone = [*extra, *methods.baselines(pairs)]
    judges = [identity_judge()] if judges is None else judges
    return ev.judge_methods(settings, PROTOCOLS["synthetic-truth"], pairs, everyone, judges, set(selves))


def written(tmp_path, result):
    """The report of a result, as programs read it."""
    outcome.write_scores(tmp_path, result)
    facts = outcome.how_it_was_made(result, ["eye"], 1.0)
    write_report(tmp_path, outcome.make_report(result, facts), outcome.machine_facts(result, tmp_path))
    return json.loads((tmp_path / "report.json").read_text())


def test_the_truth_as_the_swap_scores_perfectly(tmp_path, pairs):
    result = judged(tmp_path, pairs, [method_of(pairs, pictures(pairs, pairs.truth))])
    mine = result.scores["fake"]
    for error in ("error to the true swap", "error inside the face", "error outside the face"):
        assert np.all(mine[error] == 0)
    assert np.all(mine["PSNR"] == scores.MAX_PSNR)
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
    lost = pairs.truth == blank  # here the method's picture is the one that shows nothing, which is its fault
    np.testing.assert_allclose(result.scores["fake"]["mesh: pose"][~hidden], np.where(lost, 90.0, 0.0)[~hidden])
    report = written(tmp_path, result)
    (table,) = (t for t in report["tables"] if t["title"] == "Sanity checks")
    assert any(f"{hidden.sum()} targets show the judge nothing" in str(row) for row in table["rows"])


def test_swaps_without_a_face_are_failures_and_not_left_out(pairs):
    judge = identity_judge(distance=True)
    originals = read_all(pairs, judge, pairs.gallery.read, len(pairs.gallery), pairs.gallery.points)
    swaps = originals.take(pairs.truth)
    lost = np.arange(len(pairs)) % 2 == 0
    blind = Readings(swaps.points, ~lost, swaps.features)
    method = method_of(pairs, pictures(pairs, pairs.truth))
    found, _ = scores.score(method, blind, originals, pairs, [judge])
    assert all(len(values) == len(pairs) for values in found.values())
    np.testing.assert_array_equal(found["no face found"], lost)
    assert np.all(found["eye: cosine to source"][lost] == 0) and np.all(found["eye: cosine to source"][~lost] > 0.9)
    assert np.all(found["eye: top-1"][lost] == 0)
    assert np.all(found["eye: distance to source"][lost] == pytest.approx(2**0.5))


def read_all(pairs, judge, read, count, points):
    return read_faces(read, count, [judge], open_cache(":memory:"), points, known=True)


def test_a_target_that_shows_no_face_is_not_held_against_the_swap(pairs):
    judge = identity_judge()
    originals = read_all(pairs, judge, pairs.gallery.read, len(pairs.gallery), pairs.gallery.points)
    blind = Readings(originals.points, np.zeros(len(pairs.gallery), bool), originals.features)
    method = method_of(pairs, pictures(pairs, pairs.truth))
    found, _ = scores.score(method, blind.take(pairs.truth), blind, pairs, [judge])
    assert not found["no face found"].any()


@pytest.mark.parametrize("kind", ["reliableswap", "casia", "reface", "geodesic"])
def test_pose_conventions_by_hand(kind, pairs):
    """All logits in one bin: 3 degrees a bin, so the angles are known."""
    from smoothswap_jax.evaluation.conventions import POSE

    logits = lambda bins: np.stack([np.eye(66)[np.full(3, b)].ravel() * 1000 for b in bins]).astype(np.float32)
    rows = len(pairs.gallery)
    known = logits([33] * rows)
    swaps = logits([43] + [33] * (len(pairs) - 1))
    judge = Judge("hopenet", "pose", {}, pose=POSE[kind])
    ((measure, error),) = scores._pose(judge, swaps, known, pairs, np.zeros(len(pairs), bool))
    wanted = {
        "reliableswap": 1000 * 2**0.5 / 2,
        "reface": 30 * 3**0.5,
        "casia": 30 * 3**0.5,
        "geodesic": error[0],
    }[kind]
    assert error[0] == pytest.approx(wanted) and np.allclose(error[1:], 0, atol=1e-4)
    assert kind in measure.about
    if kind == "geodesic":
        assert 30 < error[0] < 30 * 3**0.5


def test_coefficients_are_cut_where_deep3d_puts_them(pairs):
    rng = np.random.default_rng(0)
    swaps, known = (rng.normal(size=(n, 257)).astype(np.float32) for n in (len(pairs), len(pairs.gallery)))
    found = {m.name: v for m, v in scores._coefficients(Judge("d", "coefficients", {}), swaps, known, pairs, None)}
    cuts = {
        "shape": (slice(0, 80), pairs.source),
        "expression": (slice(80, 144), pairs.target),
        "pose": (slice(224, 227), pairs.target),
    }
    for part, (columns, rows) in cuts.items():
        wanted = np.linalg.norm(swaps[:, columns].astype(np.float64) - known[rows][:, columns], axis=1)
        np.testing.assert_allclose(found[f"d: {part}"], wanted, err_msg=part)


def test_the_dot_product_ranks_by_length_where_the_cosine_does_not():
    gallery = np.array([[1.0, 0.0], [10.0, 10.0]])
    swaps, true = np.array([[1.0, 0.1]]), np.array([0])
    assert scores.identity_ranks(swaps, gallery, true, normalised=True) == [1]
    assert scores.identity_ranks(swaps, gallery, true, normalised=False) == [2]


def test_the_network_that_trained_a_method_is_refused_as_its_judge():
    judges = [identity_judge("arc"), identity_judge("other")]
    trained_with = {"digest of arc": "the embedder that trained swap"}
    with pytest.raises(JudgeError, match=r"arc is the embedder that trained swap.*--allow-self-judge"):
        refuse_self_judges(judges, trained_with, allow=False)
    assert refuse_self_judges(judges, trained_with, allow=True) == {"arc"}
    assert refuse_self_judges(judges[1:], trained_with, allow=False) == set()


def test_a_self_judge_that_is_allowed_is_marked_in_every_table(tmp_path, pairs):
    report = written(tmp_path, judged(tmp_path, pairs, selves={"eye"}))
    assert any("SELF-JUDGED: eye" in text for text in report["intro"])
    heads = [column for table in report["tables"] for column in table["columns"] if column.startswith("eye: ")]
    assert heads and all("(SELF-JUDGED)" in head for head in heads)
    assert report["judges"][0]["self_judged"] is True


def small_network(seed=0):
    module = IdentityEmbedder(stage_sizes=(1, 1), width=4, hidden=8, dim=8)
    shape = (1, SIZE, SIZE, 3)
    variables = jax.tree.map(np.asarray, dict(module.init(jax.random.key(seed), np.zeros(shape))))
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


@pytest.mark.parametrize("names", [["a", "a"], ["copy target"], ["a/b"], [""]])
def test_names_that_are_taken_are_refused(names):
    with pytest.raises(MethodError, match="wanted different names"):
        ev._check_names(names)


# --- compare ----------------------------------------------------------------------------------------------------


def two_evaluations(tmp_path, pairs, other=None):
    good = method_of(pairs, pictures(pairs, pairs.truth), "good")
    poor = method_of(pairs, pictures(pairs, pairs.source), "poor")
    for name, method, judges in (("a", good, None), ("b", poor, other)):
        written(tmp_path / name, judged(tmp_path / name, pairs, [method], judges))
    return tmp_path / "a", tmp_path / "b"


def test_compare_tells_better_worse_and_cannot_tell(tmp_path, pairs):
    differences, facts = compare(two_evaluations(tmp_path, pairs))
    said = {d.measure: d.verdict for d in differences}
    assert said["error to the true swap"] == "better" and said["SSIM"] == "better"
    assert said["eye: top-1"] == "cannot tell"  # both are perfect
    assert "change" not in said  # neither end is better
    page = write_comparison(tmp_path / "out", differences, facts)
    assert "good is better than poor in" in page.read_text()
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {d["verdict"] for d in report["differences"]} == {"better", "cannot tell"}


def test_compare_swaps_sides_with_the_order(tmp_path, pairs):
    a, b = two_evaluations(tmp_path, pairs)
    said = {d.measure: d.verdict for d in compare([b, a])[0]}
    assert said["error to the true swap"] == "worse"


def test_compare_refuses_other_judges_and_other_pairs(tmp_path, pairs):
    a, b = two_evaluations(tmp_path, pairs, [identity_judge("another")])
    with pytest.raises(CompareError, match="judges"):
        compare([a, b])
    other = make_pairs(seed=1)
    c = tmp_path / "c"
    shorter = dataclasses.replace(other, names=tuple(f"x{n}" for n in other.names))
    written(c, judged(c, shorter, [method_of(shorter, pictures(shorter, shorter.truth), "third")]))
    with pytest.raises(CompareError, match="pairs is"):
        compare([a, c])


def test_compare_refuses_what_is_no_evaluation_and_a_single_method(tmp_path, pairs):
    with pytest.raises(CompareError, match="no finished evaluation"):
        compare([tmp_path])
    a, _ = two_evaluations(tmp_path, pairs)
    with pytest.raises(CompareError, match="found 1 methods; wanted two"):
        compare([a])
    assert compare([a], baselines=True)[0]

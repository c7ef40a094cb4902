"""From swaps to a report: what it says in words, marks and leaves out, and which judges are refused."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from smoothswap_jax.evaluation import evaluate as ev
from smoothswap_jax.evaluation.compare import compare
from smoothswap_jax.evaluation.judges.base import Judge, JudgeError
from smoothswap_jax.evaluation.judges.registry import check_judges, refuse_self_judges
from smoothswap_jax.evaluation.measures import distributions
from smoothswap_jax.evaluation.methods import MethodError
from smoothswap_jax.evaluation.pairs import only
from smoothswap_jax.evaluation.settings import EvaluationSettings
from smoothswap_jax.inference.restore import RestoredSwapper
from tests.evaluation.report.browser import browser, needs_browser
from tests.evaluation.report.schema import documented_keys, keys_of
from tests.evaluation.stand_ins import SIZE, identity_judge, judged, make_pairs, method_of, pictures, written


@pytest.fixture(scope="module")
def pairs():
    return make_pairs()


def test_people_that_an_export_names_are_those_that_it_was_trained_on(tmp_path, capsys):
    gone = {"data": {"kind": "folder", "dir": str(tmp_path / "gone"), "size": 16, "held_out_people": 2}}
    named = RestoredSwapper(None, {}, gone, {}, 1, people=("anna",))
    assert ev._training_people(named) == ["anna"] and not capsys.readouterr().err
    assert ev._training_people(named._replace(people=None)) == []
    assert "cannot tell whom the method was trained on" in capsys.readouterr().err


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


def test_faces_that_are_not_searched_for_are_not_said_to_be_found(tmp_path, pairs):
    """In the rendered world points are known, so noise would pass for a face."""
    noise = np.random.default_rng(0).integers(0, 256, (len(pairs), SIZE, SIZE, 3)).astype(np.uint8)
    report = written(tmp_path, judged(tmp_path, pairs, [method_of(pairs, noise)]))
    assert "no face found" not in {measure["name"] for measure in report["measures"]}
    (table,) = (t for t in report["tables"] if t["title"] == "Sanity checks")
    assert [row["found"] for row in table["rows"] if row["check"] == "faces found"] == [
        "not searched for: where the faces are is known"
    ]


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
    second = dataclasses.replace(judge, name="second")
    report = written(tmp_path, judged(tmp_path, pairs, [method], [judge, second, features]))
    own, added = documented_keys(0), documented_keys(1)
    tops = {re.split(r"[.\[]", key)[0] for key in own}
    content = {key: value for key, value in report.items() if key not in tops}
    found = keys_of(content, "", set(added))
    assert {key for key, _ in found} | {"pairs.data.*"} == set(added)
    assert [(key, kind) for key, kind in found if kind not in added[key]] == []


def test_the_report_says_how_much_judges_agree(tmp_path, pairs):
    """The second is the first, the third sees the rest of the picture."""
    judge = identity_judge()
    lower = lambda images, points: images[:, 8:].reshape(len(images), -1).astype(np.float32) - 127.5
    low = Judge("low", "identity", {"params sha256": "another"}, lower)
    judges = [judge, dataclasses.replace(judge, name="twin"), low]
    noise = np.random.default_rng(0).integers(0, 256, (len(pairs), *pairs.gallery.read(np.arange(1)).shape[1:]))
    fake = method_of(pairs, ((pictures(pairs, pairs.source) + noise) // 2).astype(np.uint8))
    result = judged(tmp_path, pairs, [fake], judges)
    assert result.agreement["eye", "twin"] == {"strangers": pytest.approx(1), "fake": pytest.approx(1)}
    assert set(result.agreement) == {("eye", "twin"), ("eye", "low"), ("twin", "low")}
    apart = result.agreement["eye", "low"]
    rows = np.unique([pairs.source, pairs.target])
    cosines = []
    for one in (judge, low):
        x = one.measure(pairs.gallery.read(rows), None).astype(np.float64)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        people = np.array(pairs.gallery.people)[rows]
        a, b = np.triu_indices(len(rows), 1)
        # The pictures of a person are alike, so cosines tie but for rounding, which is another one in each BLAS.
        cosines.append(np.round((x @ x.T)[a, b][people[a] != people[b]], 9))
    assert apart["strangers"] == pytest.approx(scipy.stats.spearmanr(*cosines).statistic)
    report = written(tmp_path, result)
    (table,) = (t for t in report["tables"] if t["title"] == "How much the judges agree")
    assert [row["judges"] for row in table["rows"]] == ["eye and twin", "eye and low", "twin and low"]
    assert report["judges"][0]["agreement"] == {"twin": pytest.approx(1), "low": pytest.approx(apart["strangers"])}
    alone = judged(tmp_path, pairs, [fake], [judge])
    assert alone.agreement == {}


def test_too_few_faces_for_fid_are_said_so(tmp_path, pairs):
    whole = lambda images, points: images.reshape(len(images), -1)[:, :3].astype(np.float32)
    features = Judge("inception", "distribution", {"kind": "x"}, whole)
    report = written(tmp_path, judged(tmp_path, pairs, [method_of(pairs, pictures(pairs, pairs.truth))], [features]))
    (table,) = (t for t in report["tables"] if t["title"] == "Distribution")
    assert table["notes"][0].startswith(f"FID is of {len(pairs)} swaps and ") and "singular" in table["notes"][0]
    assert "singular" not in distributions.too_few(5_000, 3_000)[0]
    assert distributions.too_few(10_000, 12_000) == []


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
def test_names_that_are_taken_are_refused(names, tmp_path):
    # As `named` of the command line they are keys of two options, which may have one in common.
    both = [dict.fromkeys(names[:1], tmp_path), dict.fromkeys(names[1:], tmp_path)]
    settings = EvaluationSettings("synthetic-truth", tmp_path, checkpoints=both[0], swaps=both[1])
    with pytest.raises(MethodError, match="wanted different names"):
        ev.judge_swaps(settings)


@pytest.mark.parametrize(
    "protocol, given, said",
    [
        ("london-truth", {"options": {"pairs": "3"}}, "--pairs=3: is an option of synthetic-truth; found protocol"),
        ("synthetic-truth", {"options": {"pairs": "0"}}, "--pairs=0: wanted a number from 1 to 500"),
        ("london-truth", {}, "--data is missing"),
        ("ffhq", {"data": Path("gone")}, "--data=gone: found no such folder"),
        ("faceforensics", {"data": Path(), "options": {"split": "half"}}, "--split=half: wanted all"),
        ("synthetic-truth", {"swaps": {"theirs": Path("gone")}}, "--swaps=theirs=gone: found no such folder"),
        ("synthetic-truth", {"judges": ["nobody"]}, "judge 'nobody': found no such judge"),
        ("synthetic-truth", {"identity": "odd"}, "identity convention: found 'odd'"),
        ("synthetic-truth", {"pose": "odd"}, "pose convention: found 'odd'"),
    ],
)
def test_what_options_say_is_refused_before_anything_is_loaded(protocol, given, said, tmp_path, monkeypatch):
    for name in ("load_swapper", "load_judge"):
        monkeypatch.setattr(ev, name, lambda *_, name=name: pytest.fail(f"{name} was called"))
    settings = EvaluationSettings(protocol, tmp_path / "out", checkpoints={"ours": tmp_path}, **given)
    with pytest.raises(ValueError, match=said):
        ev.judge_swaps(settings)
    with pytest.raises(ValueError, match=said):
        ev.evaluate(settings)
    assert not (tmp_path / "out").exists()

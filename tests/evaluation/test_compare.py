"""Methods of one or several evaluations, pair by pair: what is compared, what is refused, what is said."""

import dataclasses
import hashlib
import json

import pytest

from smoothswap_jax.evaluation.compare import CompareError, as_text, check_out, compare, write_comparison
from smoothswap_jax.evaluation.pairs import only
from tests import mutations
from tests.evaluation.stand_ins import identity_judge, judged, make_pairs, method_of, pictures, written


@pytest.fixture(scope="module")
def pairs():
    return make_pairs()


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
    with pytest.raises(CompareError, match="cannot be compared: judges: only the second has another; wanted the same"):
        compare([a, b])
    other = make_pairs(seed=1)  # the same names, other pictures
    c = tmp_path / "c"
    written(c, judged(c, other, [method_of(other, pictures(other, other.truth), "third")]))
    with pytest.raises(CompareError, match="pairs is"):
        compare([a, c])


def test_what_differs_of_a_judge_is_one_short_line(tmp_path, pairs):
    a, b = two_evaluations(tmp_path, pairs)
    edited(b, "judges", lambda judges: judges[0]["facts"].update({"file sha256": "f" * 200}))
    edited(a, "judges", lambda judges: judges[0]["facts"].update({"file sha256": "0" * 200}))
    with pytest.raises(CompareError) as raised:
        compare([a, b])
    assert f"judges: eye: file sha256 is {'0' * 60}... and {'f' * 60}...; wanted" in str(raised.value)


def test_a_comparison_replaces_only_another_one_and_only_if_asked(tmp_path, pairs):
    evaluation, _ = two_evaluations(tmp_path, pairs)
    (evaluation / "pairs.csv").touch()
    with pytest.raises(FileExistsError, match="holds an evaluation, which a comparison must not replace"):
        check_out(evaluation, overwrite=True)
    for name in ("report.html", "report.json"):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / name).touch()
    with pytest.raises(FileExistsError, match="exists already"):
        check_out(tmp_path / "out")
    check_out(tmp_path / "out", overwrite=True)


def edited(folder, key, change):
    path = folder / "report.json"
    report = json.loads(path.read_text())
    change(report[key])
    path.write_text(json.dumps(report))


def test_compare_refuses_other_data_other_definitions_and_files_of_another_run(tmp_path, pairs):
    a, b = two_evaluations(tmp_path, pairs)
    edited(b, "pairs", lambda found: found["data"].update(detector="another"))
    with pytest.raises(CompareError, match="data: only the second has detector"):
        compare([a, b])
    a, b = two_evaluations(tmp_path, pairs)
    edited(b, "measures", lambda found: found[0].update(about="another way"))
    with pytest.raises(CompareError, match=r"measures: .*about is"):
        compare([a, b])
    a, b = two_evaluations(tmp_path, pairs)
    lines = (b / "scores.csv").read_text().splitlines()
    (b / "scores.csv").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    with pytest.raises(CompareError, match=r"scores\.csv: is not the file that report\.json was made with"):
        compare([a, b])
    digest = hashlib.sha256((b / "scores.csv").read_bytes()).hexdigest()
    edited(b, "scores", lambda found: found.update(sha256=digest))
    with pytest.raises(CompareError, match="in another order"):
        compare([a, b])


def test_compare_refuses_baselines_that_were_measured_otherwise(tmp_path, pairs):
    """A judge whose name and facts are the same but that sees otherwise, by another version of some library."""
    eye = identity_judge()
    other = dataclasses.replace(eye, measure=lambda images, points: eye.measure(images, points) + 40)
    a, b = two_evaluations(tmp_path, pairs, [other])
    with pytest.raises(CompareError, match=r"'copy target' has .* the same pictures were measured in different ways"):
        compare([a, b])
    (b / "scores.csv").unlink()
    with pytest.raises(CompareError, match="found no such file"):
        compare([a, b])


def test_compare_of_one_source_person_says_that_it_cannot_tell(tmp_path, pairs):
    alone = only(pairs, pairs.people[0] == "p0", "one person")
    differences, facts = compare(two_evaluations(tmp_path, alone))
    assert {d.verdict for d in differences} == {"cannot tell"}
    assert all(isinstance(d.difference, float) for d in differences)
    page = write_comparison(tmp_path / "out", differences, facts)
    assert "cannot tell" in page.read_text()
    assert "error to the true swap: -" in as_text(differences)
    told = json.loads((tmp_path / "out" / "report.json").read_text())["differences"]
    assert all(d["difference"]["low"] is None for d in told)


def test_compare_refuses_what_is_no_evaluation_and_a_single_method(tmp_path, pairs):
    with pytest.raises(CompareError, match="no finished evaluation"):
        compare([tmp_path])
    a, _ = two_evaluations(tmp_path, pairs)
    with pytest.raises(CompareError, match="found 1 methods; wanted two"):
        compare([a])
    assert compare([a], baselines=True)[0]


EVALUATION = ["report.json", "report.json", "report.json", "scores.csv"]


def seal(folder):
    """The hash of the scores that are there now, where report.json still has a place for it."""
    try:
        report = json.loads((folder / "report.json").read_bytes())
        report["scores"]["sha256"] = hashlib.sha256((folder / "scores.csv").read_bytes()).hexdigest()
        (folder / "report.json").write_text(json.dumps(report))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass


@pytest.fixture
def evaluation(tmp_path, pairs):
    methods = [
        method_of(pairs, pictures(pairs, rows), name) for name, rows in (("a", pairs.truth), ("b", pairs.source))
    ]
    written(tmp_path / "both", judged(tmp_path / "both", pairs, methods))
    return tmp_path / "both"


def test_a_sample_of_mutated_evaluations(evaluation, tmp_path):
    found = mutations.outcomes(evaluation, tmp_path, EVALUATION, 16, 1, seal, lambda folder: compare([folder]))
    assert sum(count for (_, word), count in found.items() if word == "refused") > 4


@pytest.mark.slow
def test_many_mutated_evaluations(evaluation, tmp_path):
    print(mutations.outcomes(evaluation, tmp_path, EVALUATION, 160, 2, seal, lambda folder: compare([folder])))

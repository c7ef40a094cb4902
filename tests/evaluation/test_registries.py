"""A new protocol or metric is one entry of a registry: it runs, is scored and is reported without any other change."""

import csv
import json

import numpy as np
import pytest

from smoothswap_jax.cli.main import main
from smoothswap_jax.evaluation.evaluate import evaluate, judge_swaps, write_pairs
from smoothswap_jax.evaluation.judges import registry as judges
from smoothswap_jax.evaluation.judges.base import Judge, JudgeSpec
from smoothswap_jax.evaluation.judges.registry import JUDGES
from smoothswap_jax.evaluation.measures.base import Measure, Metric, judge_measure, of_finite_rows
from smoothswap_jax.evaluation.measures.registry import METRICS
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.evaluation.protocols import registry as protocols
from smoothswap_jax.evaluation.protocols.base import Protocol, ProtocolError, Request
from smoothswap_jax.evaluation.protocols.registry import PROTOCOLS
from smoothswap_jax.evaluation.settings import EvaluationSettings
from smoothswap_jax.faces.detection import registry as detectors
from smoothswap_jax.faces.photos import save_photo
from tests.evaluation.stand_ins import make_pairs, pictures


def toy_pairs(request: Request) -> Pairs:
    """Made faces, other ones for each seed."""
    return make_pairs(seed=int(request.options.get("seed", "0")))


def brightness_judge(request) -> Judge:
    """Sees the mean of each colour."""
    see = lambda images, points: images.mean(axis=(1, 2)).astype(np.float32)
    return Judge(request.name or "brightness", "brightness", {"kind": "brightness"}, see)


def brightness_spec(load=brightness_judge) -> JudgeSpec:
    return JudgeSpec("brightness", "brightness", lambda name, path: path == "brightness", load)


TOY = Protocol("toy", 3, "Made faces.", toy_pairs, options={"seed": "0"})


def brightness(judge, swaps, known, pairs):
    away = of_finite_rows(lambda a, b: np.abs(a - b).mean(axis=1), swaps, known[pairs.target])
    about = "difference of brightness to the target, 0-255"
    return [(judge_measure(judge, "brightness", "attributes", "lower", about, "target"), away)]


def redness(method, pairs):
    reds = [method.read(np.array([i]))[..., 0].mean() for i in range(len(pairs))]
    return [(Measure("redness", "pixels", "", "mean of red, 0-255"), np.array(reds))]


def extremes(judge, swaps, targets):
    return {f"{judge.name}: range": float(np.abs(np.ptp(swaps) - np.ptp(targets)))}


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "toy", TOY)
    monkeypatch.setitem(JUDGES, "brightness", brightness_spec())


@pytest.fixture
def settings(tmp_path):
    """Swaps that copy their targets."""
    pairs = make_pairs()
    (tmp_path / "copies").mkdir()
    for name, image in zip(pairs.names, pictures(pairs, pairs.target), strict=True):
        save_photo(tmp_path / "copies" / f"{name}.png", image)
    return EvaluationSettings("toy@3", tmp_path / "out", swaps={"copies": tmp_path / "copies"}, judges=["brightness"])


def test_a_protocol_and_metrics_that_are_registered_run_and_are_reported(toy, settings, monkeypatch):
    monkeypatch.setitem(METRICS, "brightness", Metric("brightness", of_features=brightness, of_sets=extremes))
    monkeypatch.setitem(METRICS, "redness", Metric(of_pixels=redness))
    evaluate(settings)
    with (settings.out / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    own = [row for row in rows if row["method"] == "copies"]
    pairs = make_pairs()
    assert [row["pair"] for row in own] == list(pairs.names)
    assert all(float(row["brightness: brightness"]) == 0 for row in own)
    targets = pictures(pairs, pairs.target)
    np.testing.assert_allclose([float(row["redness"]) for row in own], targets[..., 0].mean(axis=(1, 2)))
    copied = [float(row["brightness: brightness"]) for row in rows if row["method"] == "copy source"]
    source, target = (pictures(pairs, rows).mean(axis=(1, 2)) for rows in (pairs.source, pairs.target))
    np.testing.assert_allclose(copied, np.abs(source - target).mean(axis=1), rtol=1e-4)
    report = json.loads((settings.out / "report.json").read_text())
    assert report["protocol"] == {"name": "toy", "version": 3, "about": "Made faces."}
    columns = {column for table in report["tables"] for column in table["columns"]}
    assert {"brightness: brightness", "redness", "brightness: range"} <= columns
    assert {"brightness: brightness", "redness"} <= {measure["name"] for measure in report["measures"]}
    method = next(one for one in report["methods"] if one["name"] == "copies")
    assert method["means"]["redness"] == pytest.approx(targets[..., 0].mean())
    assert method["distribution"] == {"brightness: range": 0}
    assert [judge["role"] for judge in report["judges"]] == ["brightness"]


def test_a_failure_costs_in_a_new_metric_what_it_costs_in_others(toy, settings, monkeypatch):
    pairs = make_pairs()

    def half_blind(request):
        lost = {image.tobytes() for image in pictures(pairs, pairs.target)[:3] // 2}
        plain = brightness_judge(request)

        def see(images, points):
            hidden = np.array([image.tobytes() in lost for image in images])
            return np.where(hidden[:, None], np.nan, plain.measure(images, points))

        return Judge("brightness", "brightness", {"kind": "half blind"}, see)

    monkeypatch.setitem(JUDGES, "brightness", brightness_spec(half_blind))
    monkeypatch.setitem(METRICS, "brightness", Metric("brightness", of_features=brightness))
    for name, image in zip(pairs.names[:3], pictures(pairs, pairs.target) // 2, strict=False):
        save_photo(settings.swaps["copies"] / f"{name}.png", image)
    scores = judge_swaps(settings).scores
    copied = scores["copy source"]["brightness: brightness"]
    np.testing.assert_array_equal(scores["copies"]["brightness: brightness"][:3], np.maximum(copied[:3], copied.mean()))


def test_a_protocol_may_have_a_run_of_its_own(settings, monkeypatch):
    asked = []
    run = lambda settings, progress: asked.append(settings.protocol) or settings.out / "report.html"
    monkeypatch.setitem(PROTOCOLS, "toy", Protocol("toy", 3, "No swaps.", run=run))
    assert evaluate(settings) == settings.out / "report.html" and asked == ["toy@3"]
    for other in (write_pairs, judge_swaps):
        with pytest.raises(ProtocolError, match="protocol toy@3: has no pairs to swap"):
            other(settings)


def test_options_belong_to_their_protocol(toy, settings):
    write_pairs(EvaluationSettings("toy", settings.out / "a", options={"split": "all", "seed": "1"}))  # a default
    write_pairs(EvaluationSettings("toy", settings.out / "b"))
    assert (settings.out / "a" / "pairs.csv").read_bytes() != (settings.out / "b" / "pairs.csv").read_bytes()
    for option, message in (
        ("split", "--split=1: is an option of faceforensics; found protocol toy"),
        ("colour", "--colour=1: is an option of no protocol; found protocol toy"),
    ):
        with pytest.raises(ProtocolError, match=message):
            write_pairs(EvaluationSettings("toy", settings.out / "c", options={option: "1"}))


def test_a_measure_that_no_table_would_show_is_refused():
    with pytest.raises(ValueError, match="measure 'x': found kind 'colour'; wanted one of identity, attributes"):
        Measure("x", "colour", "lower", "")


def test_the_command_line_names_every_protocol_and_takes_all_their_options(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    words = " ".join(capsys.readouterr().out.split()).replace("- ", "-")
    for protocol in PROTOCOLS.values():
        assert protocol.name in words
        for option, default in protocol.options.items():
            assert f"--{option}" in words and default in words


@pytest.mark.parametrize("registry", [judges, protocols, detectors])
def test_no_two_entries_share_a_name(registry):
    """The second would take the place of the first."""
    names = [spec.name for spec in registry.SPECS]
    assert len(set(names)) == len(names), names

"""The protocol `smoothness` end to end, on embedders of a few layers."""

import csv
import functools
import json

import jax
import numpy as np
import pytest

from smoothswap_jax.cli.main import main
from smoothswap_jax.evaluation.evaluate import evaluate
from smoothswap_jax.evaluation.judges.base import JudgeError
from smoothswap_jax.evaluation.protocols import smoothness
from smoothswap_jax.evaluation.protocols.base import ProtocolError
from smoothswap_jax.evaluation.settings import EvaluationSettings
from smoothswap_jax.runtime import checkpoint
from smoothswap_jax.training.networks import make_embedder
from tests.tiny_runs import config, make_people

SIZE = 16


def save_embedder(run, values, seed):
    """What a run directory holds of an untrained embedder, without the run."""
    module = make_embedder(values["embedder"])
    made = jax.jit(functools.partial(module.init, train=False))(
        jax.random.key(seed), np.zeros((2, SIZE, SIZE, 3), np.float32)
    )
    parts = {"params": {"embedder": made["params"]}, "batch_stats": made.get("batch_stats", {})}
    manager = checkpoint.open_manager(run)
    checkpoint.save(manager, 1, parts, {"config": values})
    manager.wait_until_finished()
    manager.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two embedders of the synthetic world."""
    root = tmp_path_factory.mktemp("runs")
    fields = {"data.kind": "synthetic", "data.people": 30, "data.held_out_people": 8, "data.photos": 3}
    for name, seed in (("one", 0), ("two", 1)):
        save_embedder(root / name, config("embedder", root, **{**fields, "data.dir": "", "seed": seed}), seed)
    return root


def test_two_embedders_are_compared_on_the_same_pairs(runs, tmp_path, capsys):
    arguments = ["evaluate", "--protocol=smoothness", f"--out={tmp_path}"]
    assert main([*arguments, f"--checkpoint=a={runs / 'one'}", f"--checkpoint=b={runs / 'two'}"]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    rows = report["tables"][0]["rows"]
    assert [row["embedder"] for row in rows] == ["a", "b"]
    assert all(1 <= row["novelty"]["value"] <= 9 and row["d_smooth"]["value"] > 0 for row in rows)
    assert rows[0]["d_smooth"]["value"] != rows[1]["d_smooth"]["value"]
    assert "smooth" in report["verdicts"][-1]
    # Untrained embedders tell nobody apart, and the first thing the report says is that they do not.
    worthless = [row["embedder"] for row in rows if row["ROC AUC"] < smoothness.WORTHLESS]
    told = [words.split()[0] for words in report["verdicts"] if "hardly tells people apart" in words]
    assert worthless and told == worthless
    assert report["protocol"]["name"] == "smoothness" and report["pairs"]["count"] > 10
    assert sum(picture["title"].startswith("Nearest faces") for picture in report["pictures"]) == smoothness.STRIPS
    pairs = (tmp_path / "pairs.csv").read_text().splitlines()
    assert len(pairs) == report["pairs"]["count"] + 1 and pairs[1].startswith("test-")
    with (tmp_path / "scores.csv").open() as file:
        scored = [float(row["d_smooth"]) for row in csv.DictReader(file) if row["embedder"] == "b"]
    assert np.mean(scored) == pytest.approx(rows[1]["d_smooth"]["value"])


def test_where_nobody_has_two_pictures_the_report_says_that_it_cannot_tell_more(runs, tmp_path):
    """As in FFHQ."""
    fields = {"data.kind": "synthetic", "data.people": 30, "data.held_out_people": 8, "data.photos": 1, "data.dir": ""}
    save_embedder(tmp_path / "run", config("embedder", runs, **fields), 0)
    evaluate(EvaluationSettings("smoothness", tmp_path / "out", checkpoints={"a": tmp_path / "run"}))
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "ROC AUC" not in report["tables"][0]["columns"]
    assert any("cannot be measured: nobody held out is shown in two" in words for words in report["verdicts"])


def test_a_collapsed_embedder_is_named(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(smoothness, "_embed", lambda judge, faces, *_: np.ones((len(faces), 4)))
    with pytest.raises(JudgeError, match=r"a: there is nothing between equal embeddings.*has collapsed"):
        evaluate(EvaluationSettings("smoothness", tmp_path, checkpoints={"a": runs / "one"}))


def test_one_that_has_collapsed_does_not_stop_the_others(runs, tmp_path, monkeypatch):
    embed = smoothness._embed
    collapse = lambda judge, faces, *rest: np.ones((len(faces), 4)) if judge.name == "b" else embed(judge, faces, *rest)
    monkeypatch.setattr(smoothness, "_embed", collapse)
    evaluate(EvaluationSettings("smoothness", tmp_path, checkpoints={"a": runs / "one", "b": runs / "two"}))
    report = json.loads((tmp_path / "report.json").read_text())
    assert [row["embedder"] for row in report["tables"][0]["rows"]] == ["a"]
    assert report["verdicts"][0].startswith("b has collapsed and is left out: there is nothing between equal")


def test_another_version_is_refused(runs, tmp_path):
    with pytest.raises(ProtocolError, match="smoothness@2"):
        evaluate(EvaluationSettings("smoothness@2", tmp_path, checkpoints={"a": runs / "one"}))


def test_a_judge_that_is_no_embedder_is_refused(runs, tmp_path, monkeypatch):
    from smoothswap_jax.evaluation.judges.base import Judge

    monkeypatch.setattr(smoothness, "load_judge", lambda *_: Judge("pose", "pose", {}))
    with pytest.raises(JudgeError, match="found a judge of pose; wanted an embedder"):
        evaluate(EvaluationSettings("smoothness", tmp_path, checkpoints={"pose": runs}))


def test_an_embedder_of_other_data_needs_data(runs, tmp_path):
    people = make_people(tmp_path / "people")
    save_embedder(tmp_path / "run", config("embedder", people), 0)
    with pytest.raises(ProtocolError, match="--data is missing"):
        evaluate(EvaluationSettings("smoothness", tmp_path / "out", checkpoints={"x": tmp_path / "run"}))

"""`smoothswap bench`: configs are found by name, from any folder. tests/bench has the measurements."""

import json

import pytest

from smoothswap_jax.bench import scaling, steps
from smoothswap_jax.cli import bench
from smoothswap_jax.cli.main import main


@pytest.fixture
def called(monkeypatch):
    calls = []

    def measure(*given):
        calls.append(given)
        return {}

    monkeypatch.setattr(steps, "bench_steps", measure)
    monkeypatch.setattr(scaling, "bench_scaling", measure)
    monkeypatch.setattr("smoothswap_jax.bench.table.table", lambda result: "a table")
    return calls


def test_configs_are_found_by_name(called, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "--what=steps"]) == 0
    chosen = ["--config=swapper:small64", "--embedder=embedder:small64", "--batch=4", "--dtype=bfloat16"]
    assert main(["bench", "--what=scaling", *chosen]) == 0
    (config, embedder, batches, dtypes, fsdp, *_), (other, other_embedder, batch, dtype, _) = called
    assert (config["data"]["size"], embedder["dim"], batches, dtypes, fsdp) == (32, 128, [8], ["float32"], 1)
    assert (other["data"]["size"], other_embedder["dim"], batch, dtype) == (64, 256, 4, "bfloat16")
    assert capsys.readouterr().out.splitlines() == ["a table", "{}"] * 2


def test_fields_of_the_swapper_can_be_overridden_where_they_are_read(called, capsys):
    assert main(["bench", "--what=steps", "--config.generator.nf=24"]) == 0
    assert called[0][0]["generator"]["nf"] == 24
    assert main(["bench", "--what=steps", "--config.generator.width=24"]) != 0
    assert main(["bench", "--what=data", "--config.generator.nf=24"]) != 0
    error = capsys.readouterr().err
    assert "no field generator.width" in error and "--config.generator.nf=24: not for --what=data" in error


def test_data_needs_no_config(monkeypatch, capsys):
    monkeypatch.setattr("smoothswap_jax.bench.data.bench_data", lambda *given: {"given": list(given)})
    monkeypatch.setattr("smoothswap_jax.bench.table.table", lambda result: "a table")
    monkeypatch.setattr(bench, "_bench_programs", None)
    assert main(["bench", "--what=data", "--source=photos", "--seconds=1"]) == 0
    assert '["photos", null, "yunet", null, 1.0]' in capsys.readouterr().out


def test_embedders_are_shown_side_by_side(monkeypatch, capsys):
    def measure(runs, people):
        each = {run: {"verification": {"roc auc": auc}} for run, auc in zip(runs, (0.9, 0.95), strict=True)}
        each["runs/b"]["gradient"] = {"transformed": 0.25}
        return {"people": people, "runs": each}

    monkeypatch.setattr("smoothswap_jax.bench.embedding.bench_embedding", measure)
    assert main(["bench", "--what=embedding", "--embedder=runs/a", "--embedder=runs/b", "--people=90"]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = [line.split() for line in lines[:-1]]
    assert ["runs", "runs/a,", "runs/b"] in words and ["people", "90"] in words
    assert ["roc", "auc", "0.9", "0.95"] in words and ["transformed", "-", "0.25"] in words
    assert json.loads(lines[-1])["runs"]["runs/b"]["verification"]["roc auc"] == 0.95


def test_embedders_to_measure_have_to_be_named_and_one_is_enough_elsewhere(called, capsys):
    assert main(["bench", "--what=embedding"]) != 0
    assert main(["bench", "--what=embedding", "--embedder=runs/a", "--config.batch=2"]) != 0
    assert main(["bench", "--what=steps", "--embedder=embedder:tiny32", "--embedder=embedder:small64"]) != 0
    error = capsys.readouterr().err
    assert "--embedder is missing" in error and "reads the runs' configs" in error
    assert "--embedder has 2 values; wanted one with --what=steps" in error and not called

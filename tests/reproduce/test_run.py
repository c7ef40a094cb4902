"""Experiments from plan to page, with trainings that are stand-ins; and one for real (slow)."""

import contextlib
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from smoothswap_jax.cli.main import MISTAKE, main
from smoothswap_jax.cli.reproduce import EXPERIMENTS as LISTED
from smoothswap_jax.config.parse import as_stored, parse
from smoothswap_jax.evaluation.methods import BASELINES
from smoothswap_jax.reproduce import mechanism, plan, run, smoothness, swappers
from smoothswap_jax.reproduce.claims import RULE, Rests, decide
from smoothswap_jax.reproduce.common import SCALES, Experiment, Measured, Scale
from smoothswap_jax.reproduce.experiments import EXPERIMENTS
from smoothswap_jax.reproduce.run import reproduce
from smoothswap_jax.reproduce.zoo import EMBEDDERS, RATES
from smoothswap_jax.runtime.checkpoint import Found
from smoothswap_jax.runtime.files import InUse, held

PARTS = ("backdrop", "colour", "shift", "scale", "blur", "noise", "hole")
SMALL = Scale("tiny32", 2, 2, 2, (2, 2), 2)


@pytest.mark.parametrize("scale", list(SCALES))
@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_every_run_of_every_plan_has_a_config_and_comes_after_what_it_needs(name, scale, tmp_path):
    made = EXPERIMENTS[name].plan(scale, SCALES[scale], {})
    names = [one.name for one in made.runs]
    assert len(set(names)) == len(names) and (names or made.methods)
    for i, one in enumerate(made.runs):
        config = one.config(tmp_path)
        assert config["stage"] == one.stage and config["seed"] == one.seed
        assert not one.against or names.index(one.against) < i
    arms = {one.arm for one in made.runs} or {*made.methods, *BASELINES}
    assert all({claim.arm, claim.than} <= arms for claim in made.claims)
    text = json.loads(made.text)
    assert text["rule"] == RULE and len(made.digest) == 64
    assert all(one["config"]["batch"] for one in text["runs"]) and text["smoothswap-jax"]  # presets are fixed, too


def test_the_help_lists_them_all():
    assert tuple(EXPERIMENTS) == LISTED


def test_arms_differ_in_their_objective_only():
    made = EXPERIMENTS["smoothness"].plan("laptop", SCALES["laptop"], {})
    configs = {one.arm: one.config(None) for one in made.runs if one.seed == 0}
    assert configs.keys() == EMBEDDERS.keys()
    assert all(not any(config["objective"]["transform"][name] for name in PARTS) for config in configs.values())
    for config in configs.values():
        for name in ("kind", "form", "margin", "temperature", "scale"):
            config["objective"].pop(name)
        assert config["optimizer"].pop("learning_rate") in RATES
    assert all(config == configs["contrastive"] for config in configs.values())


def trained_now(folder):
    (folder / "checkpoints" / "2").mkdir(parents=True)


@pytest.fixture
def stand_ins(monkeypatch):
    """Trainings that take no time, and scores in which the contrastive embedder is the smoothest but for one."""
    trained = []

    def measure(made, runs, out, progress):
        rng = np.random.default_rng(0)
        arms = dict.fromkeys(one.arm for one in made.runs)
        better = {"contrastive": -0.1, "triplet": -0.2}
        of = lambda sign: {arm: sign * better.get(arm, 0.0) + 0.01 * rng.normal(size=(2, 30)) for arm in arms}
        rests = {arm: Rests(arm, [0.995, 0.995]) for arm in arms} | {"softmax": Rests("softmax", [0.95, 0.96])}
        return Measured([], {"d_smooth": of(1), "novelty": of(-1)}, np.arange(30), rests)

    def train(config, folder):
        assert config["steps"] == 2
        trained_now(folder)
        trained.append(folder.name)

    monkeypatch.setitem(SCALES, "laptop", SMALL)
    monkeypatch.setattr(run, "train", train)
    monkeypatch.setattr(
        run, "find_intact", lambda folder: Found(2 if (folder / "checkpoints" / "2").is_dir() else None, {})
    )
    made = EXPERIMENTS["smoothness"]
    monkeypatch.setitem(EXPERIMENTS, "smoothness", Experiment(made.about, made.plan, measure))
    return trained


def test_an_experiment_trains_each_run_once_and_decides_its_claims(stand_ins, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["reproduce", "--experiment=smoothness", f"--out={out}"]) == 0
    assert stand_ins == [f"{name}-{seed}" for name in EMBEDDERS for seed in (0, 1)]
    own = out / "smoothness"
    found = {claim["text"]: claim for claim in json.loads((own / "report.json").read_text())["claims"]}
    word = lambda other: found[f"The contrastive embedder is smoother than {other}."]["verdict"]
    assert (word("arcface"), word("triplet"), word("softmax")) == ("supported", "not supported", "cannot tell")
    page, digest = (own / "report.html").read_text(), json.loads((own / "report.json").read_text())["plan"]["sha256"]
    assert "SUPPORTED: The contrastive embedder is smoother than arcface." in page and digest in page
    assert capsys.readouterr().err.count(f"SHA-256 {digest}") == 2
    assert main(["reproduce", "--experiment=smoothness", f"--out={out}"]) == 0
    assert len(stand_ins) == 2 * len(EMBEDDERS)  # nothing twice


def test_processes_share_the_trainings_and_one_measures(stand_ins, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    with contextlib.ExitStack() as other:
        plan.keep(EXPERIMENTS["smoothness"].plan("laptop", SMALL, {}), out / "smoothness", {})
        (out / "at_work" / "arcface-0").mkdir(parents=True)
        other.enter_context(held(out / "at_work" / "arcface-0"))
        monkeypatch.setattr(run.time, "sleep", lambda seconds: other.close())
        reproduce("smoothness", "laptop", out)
    assert stand_ins[-1] == "arcface-0" and len(set(stand_ins)) == len(stand_ins) == 2 * len(EMBEDDERS)
    said = capsys.readouterr().err
    assert said.count("waiting for what other processes are at: arcface-0") == 1
    page = out / "smoothness" / "report.html"
    for left_by_the_other in (True, False):
        page.unlink()
        with contextlib.ExitStack() as other:
            other.enter_context(held(out / "at_work" / "measuring-smoothness"))
            ends = lambda seconds: (left_by_the_other and page.write_text("theirs"), other.close())  # noqa: B023
            monkeypatch.setattr(run.time, "sleep", ends)
            assert reproduce("smoothness", "laptop", out) == page
        assert (page.read_text() == "theirs") == left_by_the_other
        assert "another process is measuring; waiting for its page" in capsys.readouterr().err


def test_a_run_that_somebody_else_trains_is_named(stand_ins, tmp_path, monkeypatch):
    def train(config, folder):
        raise InUse(f"{folder}: another process is using it")

    monkeypatch.setattr(run, "train", train)
    with pytest.raises(InUse, match="contrastive-0: another process is using it"):
        reproduce("smoothness", "laptop", tmp_path / "out")


def test_experiments_of_one_folder_share_their_embedders_if_they_are_the_same(stand_ins, tmp_path, monkeypatch):
    out = tmp_path / "out"
    reproduce("smoothness", "laptop", out)
    made = EXPERIMENTS["ablation"].plan("laptop", SMALL, {})
    stand_ins.clear()
    run._train_all(made, out / "runs", out / "at_work")
    assert stand_ins == [one.name for one in made.of("swapper")]
    assert plan.begun_before(out / "smoothness") == {}
    other = as_stored(parse(made.runs[0].config(out / "runs") | {"steps": 3, "batch": 98}))
    (out / "runs" / made.runs[0].name / "config.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match=r"contrastive-0.config.json: batch is 98; steps is 3; wanted 96, 2, or a new"):
        reproduce("ablation", "laptop", out)
    assert not (out / "ablation").exists()  # no plan stands in the way of another scale
    (out / "runs" / made.runs[0].name / "config.json").unlink()
    monkeypatch.setattr(run, "_check_judges", lambda plan: None)
    measure = EXPERIMENTS["smoothness"].measure
    scores = lambda made, *where: dataclasses.replace(
        measure(made, *where), scores=dict.fromkeys(swappers.MEASURES, some(made))
    )
    some = lambda made: {one.arm: np.random.default_rng(0).normal(size=(2, 30)) for one in made.of("swapper")}
    monkeypatch.setitem(EXPERIMENTS, "ablation", dataclasses.replace(EXPERIMENTS["ablation"], measure=scores))
    page = reproduce("ablation", "laptop", out)
    assert plan.begun_before(out / "ablation")["contrastive-0"] == 2 and "begun before" in page.read_text()


def test_an_embedder_that_has_collapsed_decides_nothing_and_stops_nothing(tmp_path, monkeypatch):
    """softmax has lost one seed of two, triplet both."""
    made, rng = EXPERIMENTS["smoothness"].plan("laptop", SMALL, {}), np.random.default_rng(0)
    collapsed = {"softmax-1": "there is nothing", "triplet-0": "there is nothing", "triplet-1": "not finite"}
    embedder = lambda name: SimpleNamespace(
        judge=SimpleNamespace(name=name),
        found=SimpleNamespace(d_smooth=rng.random(30), novelty=rng.integers(1, 9, 30)),
        verification={"ROC AUC": 0.995},
    )
    whole = [embedder(one.name) for one in made.runs if one.name not in collapsed]
    found = SimpleNamespace(embedders=whole, collapsed=collapsed, people=np.arange(30))
    monkeypatch.setattr(smoothness, "measure_smoothness", lambda settings, progress: found)
    monkeypatch.setattr(smoothness, "smoothness_blocks", lambda found: [])
    monkeypatch.setattr(smoothness, "newest_auc", lambda run: float("nan") if run.name == "triplet-1" else 0.5)
    measured = EXPERIMENTS["smoothness"].measure(made, tmp_path, tmp_path, None)
    table, left_out = measured.blocks
    assert {row[0]: row[-1] for row in table.rows} == {
        "contrastive": 2, "khosla": 2, "arcface": 2, "cosface": 2, "softmax": 1
    }  # fmt: skip
    assert left_out.paragraphs == [f"{name}: {why}." for name, why in collapsed.items()]
    outcomes = {
        claim.than: decide(claim, measured.scores, measured.people, measured.rests)
        for claim in made.claims
        if claim.measure == "d_smooth"
    }
    assert outcomes["arcface"].difference is not None
    for other in ("softmax", "triplet"):
        assert outcomes[other].word == "cannot tell" and outcomes[other].difference is None


def test_a_changed_plan_and_a_folder_of_others_are_refused(stand_ins, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    reproduce("smoothness", "laptop", out)
    monkeypatch.setitem(SCALES, "laptop", Scale("tiny32", 2, 2, 2, (3, 2), 2))
    with pytest.raises(ValueError, match=r"plan.json: is another plan: runs/.*; wanted a new --out"):
        reproduce("smoothness", "laptop", out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.png").touch()
    with pytest.raises(ValueError, match="mine: holds other files; wanted a new folder"):
        reproduce("smoothness", "laptop", tmp_path / "mine")
    assert main(["reproduce", "--experiment=figure9", f"--out={tmp_path / 'new'}"]) == MISTAKE
    assert "--experiment: found 'figure9'; wanted one of tuning, smoothness, ablation, " in capsys.readouterr().err
    assert main(["reproduce", "--experiment=tuning", "--scale=phone", f"--out={tmp_path / 'new'}"]) == MISTAKE
    assert not (tmp_path / "new").exists()


def test_only_the_comparison_takes_swappers(swapper, tmp_path, capsys):
    args = ["reproduce", f"--out={tmp_path / 'out'}", f"--checkpoint=mine={swapper}"]
    assert main([*args, "--experiment=smoothness"]) == MISTAKE
    assert "--checkpoint: found with --experiment=smoothness" in capsys.readouterr().err
    for name in ("default", "copy target"):
        with pytest.raises(ValueError, match=f"found the name '{name}', which is there already"):
            reproduce("comparison", "laptop", tmp_path / "out", {name: str(swapper)})
    assert not (tmp_path / "out").exists()
    made = EXPERIMENTS["comparison"].plan("laptop", SMALL, {"mine": plan.described(str(swapper))})
    assert made.methods["mine"]["folder"] == str(swapper)
    assert len({of["generator sha256"] for of in made.methods.values()}) == 2
    assert "mine has a better heads: way of shape than default." in [claim.text for claim in made.claims]


@pytest.mark.slow
def test_swappers_that_exist_are_compared(swapper, tmp_path, monkeypatch):
    monkeypatch.setitem(SCALES, "laptop", SMALL)
    out = tmp_path / "out"
    assert main(["reproduce", f"--out={out}", f"--checkpoint=mine={swapper}", "--experiment=comparison"]) == 0
    report = json.loads((out / "comparison" / "report.json").read_text())
    word = {claim["text"]: claim["verdict"] for claim in report["claims"]}
    assert word["mine has a better error to the true swap than default."] != "supported"  # it has trained 6 steps
    page = (out / "comparison" / "report.html").read_text()
    assert "What was given" in page and "What was trained" not in page and "copy target" in page


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "comparison"])
def test_an_experiment_runs_for_real(name, tmp_path, monkeypatch):
    monkeypatch.setitem(SCALES, "laptop", SMALL)
    few = {
        "data.people": 60,
        "data.photos": 2,
        "data.held_out_people": 20,
        "data.rendered_cache": str(tmp_path / "kept"),
    }
    monkeypatch.setattr(mechanism, "BENCH_PEOPLE", 80)
    usual = plan.Run.config
    monkeypatch.setattr(
        plan.Run, "config", lambda self, runs: usual(dataclasses.replace(self, fields={**self.fields, **few}), runs)
    )
    page = reproduce(name, "laptop", tmp_path / "out")
    report = json.loads(page.with_suffix(".json").read_text())
    made = EXPERIMENTS[name].plan("laptop", SMALL, {})
    assert [one["text"] for one in report["claims"]] == [one.text for one in (*made.claims, *made.predictions)]

"""Configs with which a run cannot be built or cannot learn: refused by name before anything is read or compiled."""

import json
import time

import pytest

from smoothswap_jax.cli.main import main
from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.config.load import load_config
from smoothswap_jax.config.parse import parse
from smoothswap_jax.data import pipeline, sources
from smoothswap_jax.training import stage
from smoothswap_jax.training.checks import check_run
from tests import tiny_runs
from tests.places import ROOT

FROZEN = json.loads((ROOT / "tests" / "golden" / "configs.json").read_text(encoding="utf-8"))


def refused(name: str, *overrides: str, devices: int = 1) -> str:
    """What is said of a shipped config with some of its fields overridden."""
    with pytest.raises(ConfigError) as raised:
        check_run(parse(load_config(name, " ".join(f"--config.{text}" for text in overrides).split())), devices)
    text = str(raised.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", FROZEN)
def test_every_variant_passes(name):
    overrides = ["--config.data.dir=faces"] if "256" in name else []
    check_run(parse(load_config(name, overrides)), 8)


EMBEDDER = [
    ("batch=7", "config.batch is 7 and config.images_per_identity 2"),
    ("batch=2", "config.batch is 2 and config.images_per_identity 2"),
    ("images_per_identity=1", "config.images_per_identity is 1, wanted at least 2: contrastive learns from pairs"),
    ("steps=-1 --config.optimizer.warmup_steps=0", "config.steps is -1, wanted a whole number, 0 to"),
    ("steps=99999999999 --config.optimizer.warmup_steps=0", "config.steps is 99999999999, wanted"),
    ("log_steps=0", "config.log_steps is 0, wanted a whole number, 1 to"),
    ("eval_images=0", "config.eval_images is 0, wanted a whole number, 1 to"),
    ("eval_images=4", "config.eval_images is 4, wanted more than the config.data.photos 6"),
    ("data.photos=0", "config.data.photos is 0, wanted a whole number, 1 to"),
    ("data.photos=1", "config.data.photos is 1, wanted at least 2"),
    ("data.people=47", "config.data.people is 47, wanted at least the 48 different people of a batch (config.batch 96"),
    ("data.people=9999999", "6 photos of 32 px are 184 GB, wanted what fits into this machine's"),
    ("data.held_out_people=0", "config.data.held_out_people is 0, wanted at least 2"),
    ("data.held_out_people=1", "config.data.held_out_people is 1, wanted at least 2"),
    ("data.size=4", "config.data.size is 4, wanted at least 8: config.embedder.stem 'small2' and 3 config.embedder.st"),
    ("data.size=100000", "config.data.size is 100000, wanted a whole number, 4 to 4096"),
    ("data.kind=video", "config.data.kind is 'video', wanted one of ('synthetic', 'prepared', 'folder', 'tfds')"),
    ("data.kind=folder", "config.data.dir is not set, wanted a folder DIR/<person>/<photo> of aligned faces"),
    ("data.kind=prepared", "config.data.dir is not set, wanted a folder that `smoothswap prepare` wrote"),
    (
        "data.kind=prepared --config.data.dir=a,b --config.data.weights=(1.0,)",
        "config.data.weights has 1 and config.data.dir 2 sets, wanted as many",
    ),
    ("data.feed=ram", "config.data.feed is 'ram', wanted one of ('memory', 'tf')"),
    ("augment.crop=2.0", "config.augment.crop is 2.0, wanted a number, 0.1 to 1"),
    ("optimizer.name=lion", "config.optimizer.name is 'lion', wanted one of ('adam', 'sgd')"),
    ("optimizer.schedule=step", "config.optimizer.schedule is 'step', wanted one of ('constant', 'cosine', 'linear')"),
    ("optimizer.learning_rate=0.0", "config.optimizer.learning_rate is 0.0, wanted a number, above 0 and at most 100"),
    ("optimizer.learning_rate=inf", "config.optimizer.learning_rate is inf, wanted a number, above 0"),
    ("optimizer.b1=1.0", "config.optimizer.b1 is 1.0, wanted a number, at least 0 and below 1"),
    ("optimizer.warmup_steps=1001", "config.optimizer.warmup_steps is 1001, wanted at most config.steps, 1000"),
    ("objective.kind=center", "config.objective.kind is 'center', wanted one of ('contrastive', 'arcface'"),
    ("objective.form=own", "config.objective.form is 'own', wanted one of ('smoothswap', 'khosla')"),
    ("objective.transform.hole=1.0", "config.objective.transform.hole is 1.0, wanted a number, 0 to 0.9"),
    ("objective.transform.blur_sigma=0", "config.objective.transform.blur_sigma is 0.0, wanted a number, 0.1 to 64"),
    ("objective.adversarial_steps=11", "config.objective.adversarial_steps is 11, wanted a whole number, 0 to 10"),
    ("objective.adversarial_radius=0", "config.objective.adversarial_radius is 0.0, wanted a number, above 0 and at m"),
    ("objective.temperature=nan", "config.objective.temperature is nan, wanted a number, 0.0001 to 100"),
    ("embedder.norm=layer", "config.embedder.norm is 'layer', wanted one of ('batch', 'group')"),
    ("embedder.stem=big", "config.embedder.stem is 'big', wanted one of ('imagenet', "),
    ("embedder.dtype=float12", "config.embedder.dtype is 'float12', wanted one of ('float32', 'bfloat16')"),
    ("embedder.hidden=1000000000", "config.embedder.hidden is 1000000000, wanted a whole number, 1 to 65536"),
    (
        "embedder.stage_sizes=()",
        "config.embedder.stage_sizes is (), wanted a tuple of 1 to 8 items, each a whole",
    ),
    ("keep_best=eval/acu", "config.keep_best is 'eval/acu', wanted one of ('eval/auc', "),
    ("mesh.rules=(('(','fsdp'),)", "config.mesh.rules: '(' is not a regular expression"),
    ("mesh.rules=(('.*','split'),)", "config.mesh.rules is 'split', wanted one of ('fsdp', 'replicate')"),
    ("mesh.fsdp=3", "config.mesh.fsdp is 3, wanted a divisor of the 1 devices"),
    ("seed=99999999999", "config.seed is 99999999999, wanted a whole number"),
]
SWAPPER = [
    ("objective.r1_interval=0", "config.objective.r1_interval is 0, wanted a whole number, 1 to"),
    ("objective.ema_decay=1.0", "config.objective.ema_decay is 1.0, wanted a number, at least 0 and below 1"),
    (
        "objective.identity_warmup_steps=9999",
        "config.objective.identity_warmup_steps is 9999, wanted at most con",
    ),
    ("objective.transform.shift=0.6", "config.objective.transform.shift is 0.6, wanted a number, 0 to 0.5"),
    ("objective.transform_samples=0", "config.objective.transform_samples is 0, wanted a whole number, 1 to 64"),
    ("generator.nf=-1", "config.generator.nf is -1, wanted a whole number, 1 to 1024"),
    ("generator.nf=1000000000", "config.generator.nf is 1000000000, wanted a whole number, 1 to 1024"),
    (
        "generator.ch_mult=(1,'a')",
        "config.generator.ch_mult is (1, 'a'), wanted a tuple of 1 to 10 items, each a",
    ),
    ("generator.attn_resolutions=(7,)", "config.generator.attn_resolutions has 7, wanted some of [32, 16, 8]"),
    ("generator.fir_kernel=(1,-1)", "config.generator.fir_kernel is (1.0, -1.0), wanted a sum above 0"),
    ("generator.dropout=1.0", "config.generator.dropout is 1.0, wanted a number, at least 0 and below 1"),
    (
        "generator.injection=film",
        "config.generator.injection is 'film', wanted one of ('add', 'adagn', ",
    ),
    ("generator.remat=True", "config.generator.remat is 'True', wanted one of ('off', "),
    (
        "generator.progressive=skip",
        "config.generator.progressive is 'skip', wanted one of ('none', 'output",
    ),
    (
        "generator.ch_mult=(1,1,1,1,1,1,1)",
        "config.data.size is 32, wanted a multiple of 64: config.gen",
    ),
    (
        "data.size=36 --config.generator.attn_resolutions=()",
        "config.data.size is 36, wanted a power of two from 8 up, for the discriminator",
    ),
    (
        "data.size=1024 --config.data.people=500 --config.generator.attn_resolutions=() "
        "--config.discriminator.channel_base=1024",
        "attention in the middle would be over 256 x 256 pixels; wanted at most 128",
    ),
    ("data.people=1", "config.data.people is 1, wanted at least 2"),
    ("discriminator.channel_base=16", "config.discriminator.channel_base is 16, wanted at least config.data.size, 32"),
    ("discriminator.mbstd_group=3", "config.batch is 8, wanted a multiple of config.discriminator.mbstd_group, 3"),
    ("grad_accum_steps=3", "config.grad_accum_steps is 3, wanted a divisor of the 8 rows"),
    ("batch=6", "config.batch is 6, wanted a multiple of config.discriminator.mbstd_group, 4"),
    ("batch=1", "config.self_pair_fraction is 0.125, which makes all 1 pairs of config.batch one face twice"),
    ("self_pair_fraction=1.0", "config.self_pair_fraction is 1.0, which makes all 8 pairs of config.batch one face"),
    ("data.held_out_people=1", "config.data.held_out_people is 1, wanted at least 2"),
]


@pytest.mark.parametrize(
    "name, override, said",
    [*(("embedder:tiny32", *case) for case in EMBEDDER), *(("swapper:tiny32", *case) for case in SWAPPER)],
)
def test_one_mistake_names_field_value_and_wish(name, override, said):
    text = refused(name, override)
    assert said in text and "mistakes" not in text


def test_several_samples_of_a_transformation_that_is_off_are_refused():
    text = refused("swapper:paper256", "data.dir=faces", "objective.transform_samples=4")
    assert "transform_samples is 4, wanted 1: all strengths of config.objective.transform are 0" in text
    on = ["data.dir=faces", "objective.transform_samples=4", "objective.transform.noise=0.1"]
    check_run(parse(load_config("swapper:paper256", [f"--config.{field}" for field in on])), 8)


def test_fields_that_do_not_fit_each_other_are_all_named():
    text = refused("swapper:tiny32", "objective.identity=0.0", "objective.change=0.0", "objective.adversarial=0.0")
    assert "identity, change and adversarial 0, wanted one above" in text
    text = refused("swapper:tiny32", "batch=6", "data.held_out_people=1", "generator.attn_resolutions=(7,)")
    assert text.startswith("3 mistakes: (1) ")
    text = refused("embedder:tiny32", "data.kind=a", "data.feed=b", "optimizer.name=c", "embedder.norm=d")
    assert text.startswith("4 mistakes: (1) config.data.kind is 'a'") and "config.embedder.norm is 'd'" in text


def test_the_number_of_devices_counts():
    assert "config.batch is 8, wanted a multiple of the 3 devices" in refused("swapper:tiny32", devices=3)
    text = refused("swapper:tiny32", "batch=16", "grad_accum_steps=4", devices=8)
    assert "config.grad_accum_steps is 4, wanted a divisor of the 2 rows of each of 8 devices (config.batch 16)" in text


def test_metrics_by_which_the_best_is_kept_are_those_of_the_runs(embedder, swapper):
    for run, name, kinds in ((embedder, "embedder", ()), (swapper, "swapper", stage.TRUTH_METRICS)):
        measured = {key for row in tiny_runs.rows(run) for key in row if key.startswith("eval/")}
        assert measured == {*stage.METRICS[name]} - {*kinds}


@pytest.mark.parametrize("override", ["embedder.norm=layer", "embedder.width=9", "batch=7"])
def test_nothing_is_read_or_written_before(override, tmp_path, monkeypatch, capsys):
    """Also channels that do not divide into groups, which only tracing the network shows."""
    read = lambda *_: pytest.fail("data were read")
    monkeypatch.setattr("smoothswap_jax.training.embedder_stage.load_faces", read)
    start = time.process_time()
    more = "--config.embedder.stage_sizes=(1,1,1,1)"
    arguments = ["train", "--config=embedder:tiny32", f"--workdir={tmp_path / 'run'}", "--devices=1", more]
    assert main([*arguments, f"--config.{override}"]) == 1
    assert time.process_time() - start < 5  # of all processors, which other load does not change
    assert "config." in capsys.readouterr().err
    if "width" not in override:
        assert not (tmp_path / "run").exists()


def test_the_names_are_those_that_the_code_looks_up():
    assert set(sources.KINDS) == {"synthetic", "prepared", "folder", "tfds"} and set(pipeline.FEEDS) == {"memory", "tf"}


def test_folders_to_start_from_are_looked_for_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("smoothswap_jax.training.swapper_stage.frozen_embedders", lambda *_: pytest.fail("was read"))
    init = f"--config.init.generator={tmp_path}/no"
    assert main(["train", "--config=swapper:tiny32", f"--workdir={tmp_path / 'run'}", "--devices=1", init]) == 1
    assert "/no: found no such folder; wanted an imported network or an export" in capsys.readouterr().err

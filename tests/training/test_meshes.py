"""Training gives the same numbers on any number of devices, and for a batch that is computed in parts."""

import jax
import numpy as np
import pytest

from smoothswap_jax.inference.export.export_folder import export_swapper
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.models.injection import INJECTIONS
from smoothswap_jax.runtime import checkpoint, metric_log, sharding
from smoothswap_jax.training import embedder_stage
from smoothswap_jax.training import loop as train_lib
from tests import tiny_runs

SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "stage, fsdp",
    [
        pytest.param("embedder", 1, marks=SLOW),
        ("embedder", 4),
        pytest.param("swapper", 1, marks=SLOW),
        ("swapper", 4),
    ],
)
def test_one_and_eight_devices_agree_over_three_steps(stage, fsdp, people, embedder, tmp_path, monkeypatch):
    monkeypatch.setattr(sharding, "SMALL", 64)  # the networks are small
    # Small SGD steps, since Adam's first steps turn the rounding of a near-zero gradient into a full step.
    names = ["optimizer"] if stage == "embedder" else ["generator_optimizer", "discriminator_optimizer"]
    sgd = {f"{name}.{field}": value for name in names for field, value in (("name", "sgd"), ("learning_rate", 0.002))}
    if stage == "swapper":  # both resamplings and attention, at the least size that has them
        sgd |= {"generator.ch_mult": "(1, 2)", "generator.attn_resolutions": "(8,)", "objective.r1_interval": 1}
        sgd["log_images_steps"] = 0
    config = tiny_runs.config(stage, people, embedder, steps=3, eval_steps=3, **sgd)
    train_lib.train(config, tmp_path / "1", devices=1)
    config["mesh"]["fsdp"] = fsdp
    train_lib.train(config, tmp_path / "8", devices=8)
    one, eight = (metric_log.read_metrics(tmp_path / d / metric_log.NAME) for d in ("1", "8"))
    assert [r.keys() for r in one] == [r.keys() for r in eight]
    for a, b in zip(one, eight, strict=True):
        for key in a:
            assert a[key] == pytest.approx(b[key], rel=2e-4, abs=2e-6), f"step {a['step']}: {key}"
    name = "params" if stage == "embedder" else "generator"
    trees = [checkpoint.load_parts(tmp_path / d, (name,))[0][name] for d in ("1", "8")]
    for a, b in zip(*map(jax.tree.leaves, trees), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_a_classifier_of_many_people_is_split_by_people(people, tmp_path, monkeypatch):
    """And trains as on one device; what was trained on one mesh goes on on another."""
    monkeypatch.setattr(sharding, "SMALL", 64)
    monkeypatch.setattr(embedder_stage, "WHOLE", 4)
    monkeypatch.setattr(embedder_stage, "MANY", 16)  # for 8 people
    fields = {"optimizer.name": "sgd", "optimizer.learning_rate": 0.002, "objective.kind": "arcface"}
    config = tiny_runs.config("embedder", people, steps=2, **fields)
    train_lib.train(config, tmp_path / "1", devices=1)
    config["mesh"]["fsdp"] = 4
    train_lib.train(config, tmp_path / "8", devices=8)
    one, eight = (checkpoint.load_parts(tmp_path / d, ("params",))[0]["params"] for d in ("1", "8"))
    assert one["classifier"]["kernel"].shape == (8, 16)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), one, eight)
    train_lib.train(config | {"steps": 4}, tmp_path / "1", devices=8)


def test_an_older_run_keeps_its_classifier(people, tmp_path, monkeypatch):
    """Which had a column for each of its many people."""
    fields = {"objective.kind": "arcface", "log_images_steps": 0}
    train_lib.train(tiny_runs.config("embedder", people, steps=1, **fields), tmp_path, devices=1)
    monkeypatch.setattr(embedder_stage, "WHOLE", 4)
    train_lib.train(tiny_runs.config("embedder", people, steps=2, **fields), tmp_path, devices=1)
    params = checkpoint.load_parts(tmp_path, ("params",))[0]["params"]
    assert params["classifier"]["kernel"].shape == (8, 8)


@pytest.mark.parametrize("stage", ["embedder", pytest.param("swapper", marks=SLOW)])
def test_a_batch_in_parts_trains_as_the_whole(stage, people, embedder, tmp_path):
    """With GroupNorm and without minibatch-stddev nothing differs but rounding."""
    names = ["optimizer"] if stage == "embedder" else ["generator_optimizer", "discriminator_optimizer"]
    fields = {
        f"{name}.{field}": value for name in names for field, value in (("name", "sgd"), ("learning_rate", 0.002))
    }
    # One program instead of two, and no pictures: compiling is most of this test.
    quick = {"discriminator.mbstd_group": 1, "objective.r1_interval": 1, "log_images_steps": 0}
    hardened = {"embedder.norm": "group", "objective.adversarial_steps": 1}
    fields |= hardened if stage == "embedder" else quick | {"objective.transform_samples": 2}
    for grad_accum_steps in (1, 2):
        config = tiny_runs.config(stage, people, embedder, steps=3, grad_accum_steps=grad_accum_steps, **fields)
        train_lib.train(config, tmp_path / str(grad_accum_steps), devices=2)
    for a, b in zip(*(metric_log.read_metrics(tmp_path / d / metric_log.NAME) for d in ("1", "2")), strict=True):
        for key in a:
            assert a[key] == pytest.approx(b[key], rel=2e-4, abs=2e-6), f"step {a['step']}: {key}"


@pytest.mark.parametrize(
    "injection", [pytest.param(name, marks=[] if name == "stylemap" else SLOW) for name in INJECTIONS if name != "add"]
)
def test_each_injection_trains_split_recomputed_and_in_parts_and_is_exported(
    injection, people, embedder, tmp_path, monkeypatch
):
    monkeypatch.setattr(sharding, "SMALL", 64)
    fields = {"generator.injection": injection, "generator.init_scale": 1.0, "generator.remat": "nothing_saveable"}
    fields |= {"mesh.fsdp": 2, "discriminator.projection": True, "objective.back": 1.0, "objective.r1_interval": 1}
    fields["objective.feature_matching"] = 1.0
    config = tiny_runs.config("swapper", people, embedder, steps=2, grad_accum_steps=2, log_images_steps=0, **fields)
    evaluation = train_lib.train(config, tmp_path / "run", devices=4)
    assert np.isfinite(list(evaluation.values())).all()
    export_swapper(tmp_path / "run", tmp_path / "exported")
    faces = np.random.default_rng(0).integers(0, 256, (2, 3, tiny_runs.SIZE, tiny_runs.SIZE, 3), np.uint8)
    made = [Swapper.load(tmp_path / name) for name in ("run", "exported")]
    swaps = [np.asarray(one.generate(faces[0], one.embed(faces[1]))) for one in made]
    np.testing.assert_array_equal(*swaps)
    assert np.any(swaps[0] != faces[0])

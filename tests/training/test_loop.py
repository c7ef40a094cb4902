"""The training loop: what a run writes, and clear aborts. (test_meshes.py: the same numbers on any devices.)"""

import contextlib
import dataclasses
import json
import logging
import re
import shutil

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file, save_file

from smoothswap_jax.cli.main import MISTAKE, main
from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.config.parse import parse
from smoothswap_jax.faces.photos import load_photo, save_photo
from smoothswap_jax.inference import restore
from smoothswap_jax.inference.export.export_folder import export_swapper, load_export
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.runtime import checkpoint, folders
from smoothswap_jax.training import frozen_embedder
from smoothswap_jax.training import loop as train_lib
from smoothswap_jax.training import networks as networks_lib
from smoothswap_jax.weights import network_folder
from smoothswap_jax.weights.exported import ExportError
from smoothswap_jax.weights.importing import import_network
from smoothswap_jax.weights.stored_tensor import WeightMismatch
from tests import tiny_runs


def networks_of(config, embedder):
    fields = frozen_embedder.load_embedder(embedder).fields
    size = config["data"]["size"]
    return networks_lib.swapper_networks(config["generator"], config["discriminator"], fields, size)


def test_a_run_writes_config_metrics_pictures_and_a_copy_of_its_embedder(embedder, swapper):
    assert {p.name for p in (swapper / "images").iterdir()} == {f"{s:07d}.png" for s in (0, 3, 6)}
    assert json.loads((swapper / "config.json").read_text())["generator"]["nf"] == 8
    assert list((swapper / "tensorboard").iterdir())
    assert tiny_runs.rows(swapper)[0]["eval/cosine_to_target"] == pytest.approx(1.0)  # G(x, z) == x before training
    original, copy = frozen_embedder.load_embedder(embedder), frozen_embedder.load_embedder(swapper / "embedder")
    assert original.fields == copy.fields
    jax.tree.map(np.testing.assert_array_equal, original.variables, copy.variables)


def test_training_returns_its_last_evaluation_and_lists_the_parameters(people, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        evaluation = train_lib.train(tiny_runs.config("embedder", people, steps=1), tmp_path, devices=1)
    assert tiny_runs.rows(tmp_path)[-1]["eval/auc"] == evaluation["eval/auc"]
    saved = flatten_dict(checkpoint.load_parts(tmp_path, ("params",))[0]["params"]["embedder"], sep="/")
    table = (tmp_path / "parameters.txt").read_text()
    assert saved and all(f"| {name} " in table for name in saved)
    assert f"embedder: {sum(x.size for x in saved.values()):,} parameters in {len(saved)} arrays" in caplog.text
    assert "+---" not in caplog.text


def test_the_frozen_embedder_is_the_trained_one_and_the_average_is_served(embedder, swapper):
    found = restore.restore_swapper(swapper)
    swap, size = restore.swap_function(found), found.size
    images = np.random.default_rng(0).uniform(-1, 1, (2, size, size, 3)).astype(np.float32)
    parts, meta, step = checkpoint.load_parts(swapper, ("generator", "generator_ema"))
    networks, _ = networks_of(meta["config"], embedder)
    z = networks.embed(frozen_embedder.load_embedder(embedder).variables, images[:1])
    outputs = {name: networks.generate(parts[name], images[1:], z) for name in parts}
    np.testing.assert_allclose(swap(images[:1], images[1:]), outputs["generator_ema"], atol=1e-5)
    assert np.abs(outputs["generator"] - outputs["generator_ema"]).max() > 1e-4
    assert step == 6
    served = Swapper.load(swapper)
    assert served.size == size
    found = served.generate_aligned(images[1:], served.embed_aligned(images[:1]))
    np.testing.assert_allclose(found, outputs["generator_ema"], atol=1e-5)


def strengthened(run, out):
    """A copy of a run whose network changes its targets so much that it shows in eight bits."""
    names = ("generator_ema", "generator")
    parts, meta, step = checkpoint.load_parts(run, names)
    for name in names:
        parts[name]["out_conv"]["kernel"] = parts[name]["out_conv"]["kernel"] * 100
    with contextlib.closing(checkpoint.open_manager(out)) as manager:
        checkpoint.save(manager, step, parts, meta)
        checkpoint.finish(manager)
    shutil.copytree(run / "embedder", out / "embedder")
    return out


def test_the_command_line_swaps_a_face_in_a_photo(swapper, tmp_path, capsys):
    astronaut = pytest.importorskip("skimage.data").astronaut()
    pytest.importorskip("cv2")
    strengthened(swapper, tmp_path / "run")
    photo, out = tmp_path / "a.png", tmp_path / "out.png"
    save_photo(photo, astronaut)
    arguments = ["swap", f"--checkpoint={tmp_path / 'run'}", f"--source={photo}", f"--output={out}"]
    assert main([*arguments, f"--target={photo}"]) == 0
    swapped = load_photo(out)
    assert swapped.shape == astronaut.shape and np.any(swapped != astronaut)
    np.testing.assert_array_equal(swapped[300:], astronaut[300:])  # her face ends far above
    assert main([*arguments, f"--target={tmp_path / 'missing.jpg'}", "--overwrite"]) == 1
    assert "missing.jpg" in capsys.readouterr().err


def test_nan_stops_the_run_naming_the_step_and_keeps_earlier_checkpoints(people, tmp_path):
    usual = parse(tiny_runs.config("embedder", people, checkpoint_steps=1, **{"optimizer.warmup_steps": 0}))
    beyond = dataclasses.replace(usual.optimizer, learning_rate=1e30)  # what no config file may say
    config = dataclasses.replace(usual, optimizer=beyond)
    with pytest.raises(train_lib.NotFiniteError) as caught:
        train_lib.train(config, tmp_path, devices=1)
    saved = [int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()]
    said = str(caught.value)
    assert saved and f"the last good checkpoint is step {max(saved)}" in said
    assert re.match(r"step \d: .*not finite: .*(params|optimizer)/.* more", said)
    parts, *_ = checkpoint.load_parts(tmp_path, ("params",))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(parts))  # what is not finite is never saved
    with pytest.raises(train_lib.NotFiniteError, match=r"run again, step \d fails in .*/smoothswap_jax/.*\.py:\d+ \("):
        train_lib.train(dataclasses.replace(config, checkpoint_steps=2, debug_nans=True), tmp_path, devices=1)


@pytest.mark.parametrize(
    "fields, error, message",
    [
        ({"embedder.norm": "bach"}, ValueError, "norm is 'bach'"),
        ({"embedder.dtype": "float8"}, ConfigError, "config.embedder.dtype is 'float8'"),
        ({"objective.kind": "centre"}, ValueError, "centre"),
        ({"optimizer.name": "lion"}, ConfigError, "'lion'"),
        ({"optimizer.schedule": "step"}, ConfigError, "'step'"),
        ({"data.kind": "lmdb"}, ConfigError, "config.data.kind is 'lmdb'"),
        ({"data.feed": "disk"}, ConfigError, "config.data.feed is 'disk'"),
        ({"batch": 6}, ConfigError, "config.batch is 6, wanted a multiple of the 4 devices"),
        ({"grad_accum_steps": 4}, ConfigError, "config.grad_accum_steps is 4, wanted a divisor of the 2 rows"),
    ],
)
def test_unusable_config_values_are_named(fields, error, message, people, tmp_path):
    with pytest.raises(error, match=message):
        train_lib.train(tiny_runs.config("embedder", people, **fields), tmp_path, devices=4)


def test_an_unknown_stage_is_named(people, tmp_path):
    with pytest.raises(ConfigError, match="is 'judge'"):
        train_lib.train(tiny_runs.config("embedder", people) | {"stage": "judge"}, tmp_path, devices=1)


def test_a_swapper_needs_a_run_of_an_embedder(people, embedder, tmp_path):
    with pytest.raises(ConfigError, match=r"config.embedder.checkpoint is not set"):
        train_lib.train(tiny_runs.config("swapper", people) | {"embedder": {"checkpoint": None}}, tmp_path, devices=1)
    with pytest.raises(ValueError, match="no: found no such folder; wanted a run of stage embedder"):
        train_lib.train(tiny_runs.config("swapper", people, tmp_path / "no"), tmp_path / "a", devices=1)


@pytest.mark.parametrize("kind", ["arcface", "cosface", "softmax"])
def test_classification_objectives_train(kind, people, tmp_path):
    config = tiny_runs.config("embedder", people, steps=2, **{"objective.kind": kind, "objective.scale": 16.0})
    evaluation = train_lib.train(config, tmp_path, devices=1)
    assert 0 <= evaluation["eval/auc"] <= 1
    parts, _, _ = checkpoint.load_parts(tmp_path, ("params",))
    assert parts["params"]["classifier"]["kernel"].shape == (8, 8)  # 8 training people


def test_a_run_starts_from_imported_weights(people, embedder, tmp_path):
    rng = np.random.default_rng(0)
    swapper = tiny_runs.config("swapper", people, embedder)
    _, (generator, discriminator) = networks_of(swapper, embedder)
    image, z = np.zeros((1, tiny_runs.SIZE, tiny_runs.SIZE, 3), np.float32), np.zeros((1, 8), np.float32)
    given = {}
    for kind, module, inputs, known in (
        ("generator", generator, (image, z), {"image_size": tiny_runs.SIZE}),
        ("discriminator", discriminator, (image, z), {}),
    ):
        shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
        given[kind] = jax.tree.map(lambda x: rng.normal(0, 0.1, x.shape).astype(np.float32), shapes)
        network_folder.save_network(tmp_path / kind, import_network(kind, given[kind], **known), {})
    starts = {f"init.{kind}": tmp_path / kind for kind in given}
    plain = tiny_runs.config("swapper", people, embedder, **starts, steps=0)
    train_lib.train(plain, tmp_path / "fresh", devices=2)
    parts, *_ = checkpoint.load_parts(tmp_path / "fresh", ("generator", "generator_ema", "discriminator"))
    jax.tree.map(np.testing.assert_array_equal, parts["generator"], given["generator"]["params"])
    jax.tree.map(np.testing.assert_array_equal, parts["generator_ema"], given["generator"]["params"])
    jax.tree.map(np.testing.assert_array_equal, parts["discriminator"], given["discriminator"]["params"])
    wider = tiny_runs.config("swapper", people, embedder, **starts, **{"generator.nf": 16})
    with pytest.raises(WeightMismatch, match="misshapen"):
        train_lib.train(wider, tmp_path / "wider", devices=2)


def test_a_run_goes_on_from_an_export(people, embedder, swapper, tmp_path, monkeypatch):
    """Both stages from the weights, and against the embedder, of an export, by path or as the packaged one."""
    out = tmp_path / "exported"
    export_swapper(swapper, out)
    exported = load_export(out)
    monkeypatch.setitem(folders.PACKAGED, "default", out)
    first = tiny_runs.config("embedder", people, steps=0, **{"init.embedder": "default"})
    train_lib.train(first, tmp_path / "embedder", devices=2)
    same = frozen_embedder.load_embedder(tmp_path / "embedder").variables
    jax.tree.map(np.testing.assert_array_equal, same, exported.variables["embedder"])
    second = tiny_runs.config("swapper", people, out, steps=0, **{"init.generator": out})
    train_lib.train(second, tmp_path / "swapper", devices=2)
    made = restore.restore_swapper(tmp_path / "swapper")
    jax.tree.map(np.testing.assert_array_equal, made.variables, exported.variables)
    assert made.trainers == exported.trainers
    third = tiny_runs.config("swapper", people, out, steps=1, **{"embedder.checkpoint": "default"})
    train_lib.train(third, tmp_path / "swapper", devices=2)  # the same embedder under its other name


def test_an_embedder_is_known_through_its_rounding(people, embedder, swapper, tmp_path, monkeypatch, caplog):
    """What was trained against the float16 export of an embedder was trained against that embedder."""
    out, run = tmp_path / "exported", tmp_path / "run"
    export_swapper(swapper, out, dtype="float16")
    original = frozen_embedder.load_embedder(embedder).sha256
    assert frozen_embedder.load_embedder(out).sha256 != original
    monkeypatch.setitem(folders.PACKAGED, "default", out)
    fields = {"steps": 0, "log_images_steps": 0}
    train_lib.train(tiny_runs.config("swapper", people, "default", **fields), run, devices=2)
    assert original in restore.restore_swapper(run).trainers
    export_swapper(run, tmp_path / "again", dtype="float16")
    assert original in load_export(tmp_path / "again").trainers  # and through that of a second
    both = tiny_runs.config("swapper", people, out, **{"embedder.also": embedder}, **fields)
    with pytest.raises(ConfigError, match=r"the embedder of config.embedder.checkpoint; wanted another"):
        train_lib.train(both, tmp_path / "both", devices=2)
    further = {**fields, "steps": 1}
    train_lib.train(tiny_runs.config("swapper", people, embedder, **further), run, devices=2)  # under its first name
    # A new version of the package brings another default: the run has its copy.
    other = changed_export(out, tmp_path / "other")
    monkeypatch.setitem(folders.PACKAGED, "default", other)
    train_lib.train(tiny_runs.config("swapper", people, "default", **{**fields, "steps": 2}), run, devices=2)
    assert "the packaged swapper is another now; the run goes on with the embedder of before" in caplog.text


def changed_export(folder, out):
    """An export of other weights, under another digest."""
    shutil.copytree(folder, out)
    weights = load_file(out / "params.safetensors")
    save_file({name: value * np.float16(0.5) for name, value in weights.items()}, out / "params.safetensors")
    config = json.loads((out / "config.json").read_text()) | {"embedder_sha256": "0" * 64}
    (out / "config.json").write_text(json.dumps(config))
    tiny_runs.seal_export(out)
    return out


@pytest.mark.parametrize(
    "weights, config, said",
    [
        ({"embedder": np.zeros(3, np.float32)}, {}, "embedder is an array; wanted arrays below embedder/params/"),
        (
            {"embedder/params": np.zeros(3, np.float32)},
            {},
            "embedder is an array; wanted arrays below embedder/params/",
        ),
        ({"embedder/batch_stats/x": np.zeros(3, np.float32)}, {}, "embedder has batch_stats; wanted params and batch_"),
        ({"embedder/params/x": np.zeros(3, np.float32)}, {}, "describes a network of more layers than the 1 arrays"),
        (
            {"embedder/params/x": np.zeros(3, np.float32)},
            {"step": -5},
            "embedder_run.step is -5, wanted a whole number",
        ),
        ({"embedder/params/x": np.zeros(3, np.float32)}, {"step": 10**30}, "embedder_run.step is 10000000"),
    ],
)
def test_exports_of_others_are_refused_in_words(weights, config, said, people, swapper, tmp_path, capsys):
    out = tmp_path / "exported"
    export_swapper(swapper, out)
    save_file(weights, out / "params.safetensors")
    described = json.loads((out / "config.json").read_text())
    described["embedder_run"] |= config
    (out / "config.json").write_text(json.dumps(described))
    tiny_runs.seal_export(out)
    given = tiny_runs.overrides("swapper", people, out)
    arguments = ["train", "--config=swapper:tiny32", f"--workdir={tmp_path / 'run'}", "--devices=2", *given]
    assert main(arguments) == MISTAKE
    assert said in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_exports_that_lack_what_a_start_needs_are_refused(people, embedder, swapper, tmp_path):
    out = tmp_path / "exported"
    export_swapper(swapper, out)
    run = tmp_path / "run"
    lacks = tiny_runs.config("swapper", people, embedder, **{"init.discriminator": out})
    with pytest.raises(ExportError, match=r"has no discriminator, only embedder, generator; wanted an export with it"):
        train_lib.train(lacks, run)
    wider = tiny_runs.config("embedder", people, **{"init.embedder": out, "embedder.width": 8})
    with pytest.raises(WeightMismatch, match=rf"config.init.embedder={out}: .*misshapen"):
        train_lib.train(wider, run)
    config = json.loads((out / "config.json").read_text())
    for found, said in ((None, "embedder_run is None: .* does not say how"), ({"config": {}, "step": 6}, "config")):
        (out / "config.json").write_text(json.dumps(config | {"embedder_run": found}))
        tiny_runs.seal_export(out)
        with pytest.raises(ConfigError, match=said):
            train_lib.train(tiny_runs.config("swapper", people, out), run)
    (out / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"config.json: its SHA-256 is not the one in SHA256SUMS"):
        train_lib.train(tiny_runs.config("swapper", people, out), run)
    assert not run.exists()

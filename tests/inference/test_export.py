"""Exports: the same numbers as the checkpoint, without this package, and refused when they are not."""

import dataclasses
import hashlib
import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import load_file

from smoothswap_jax.cli.main import main
from smoothswap_jax.data.sources import training_people
from smoothswap_jax.faces.photos import save_photo
from smoothswap_jax.inference import restore
from smoothswap_jax.inference.export import export_folder, programs
from smoothswap_jax.inference.export.export_folder import export_swapper, load_export
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.runtime import checkpoint
from smoothswap_jax.training import frozen_embedder
from smoothswap_jax.weights.exported import ExportError
from smoothswap_jax.weights.importing import import_network
from smoothswap_jax.weights.variables import params_digest
from tests import tiny_runs
from tests.inference import random_swapper
from tests.places import ROOT

PROGRAMS = {"swap.stablehlo", "embed.stablehlo", "generate.stablehlo"}
GREY_LEVEL = 2 / 255
FILES = {"params.safetensors", "config.json", *PROGRAMS, "MODEL_CARD.md", "SHA256SUMS"}


@pytest.fixture(scope="module")
def run(swapper):
    """A swapper trained for six steps on two devices, whose embedder has batch statistics; not to be changed."""
    return swapper


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "exported"
    report = out.parent / "report.json"
    report.write_text('{"title": "measured"}')
    export_swapper(run, out, with_discriminator=True, evaluation=report)
    return out


def faces(batch: int) -> tuple[np.ndarray, np.ndarray]:
    size = tiny_runs.SIZE
    source, target = np.random.default_rng(batch).uniform(-1, 1, (2, batch, size, size, 3)).astype(np.float32)
    return source, target


def swapped_by(swapper: Swapper, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    return swapper.generate_aligned(target, swapper.embed_aligned(source))


def program(folder, name: str):
    return jax.export.deserialize(bytearray((folder / f"{name}.stablehlo").read_bytes()))


def test_weights_are_those_of_the_checkpoint_bit_for_bit(run, exported):
    parts, *_ = checkpoint.load_parts(run, ("generator_ema", "discriminator"))
    embedder = frozen_embedder.load_embedder(run / "embedder").variables
    wanted = {"generator": parts["generator_ema"], "embedder": embedder, "discriminator": parts["discriminator"]}
    wanted = flatten_dict(wanted, sep="/")
    found = load_file(exported / "params.safetensors")
    assert found.keys() == wanted.keys()
    assert any(name.startswith("embedder/batch_stats/") for name in found)
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype == np.float32
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize(
    "kind, known", [("generator", {"image_size": 16}), ("embedder", {"image_size": 16}), ("discriminator", {})]
)
def test_each_network_of_an_export_can_be_imported(kind, known, exported):
    weights = load_file(exported / "params.safetensors")
    stem = {"stem": "small"} if weights["embedder/params/backbone/conv1/kernel"].shape[0] == 3 else {}
    made = import_network(kind, weights, **known, **(stem if kind == "embedder" else {}))
    for name, value in flatten_dict(made.variables, sep="/").items():
        theirs = f"embedder/{name}" if kind == "embedder" else f"{kind}/{name.removeprefix('params/')}"
        np.testing.assert_array_equal(value, weights.pop(theirs))
    assert not [name for name in weights if name.startswith(f"{kind}/")]


@pytest.mark.parametrize("batch", [1, 7])
def test_programs_do_what_the_checkpoint_does(run, exported, batch):
    source, target = faces(batch)
    found = restore.restore_swapper(run)
    weights = load_file(exported / "params.safetensors")
    part = lambda *names: {key: value for key, value in weights.items() if key.startswith(names)}
    swap, embed, generate = (program(exported, name) for name in ("swap", "embed", "generate"))
    assert swap.platforms == embed.platforms == generate.platforms == ("cpu", "cuda", "tpu")
    wanted = restore.swap_function(found)(source, target)
    np.testing.assert_allclose(swap.call(part("generator/", "embedder/"), source, target), wanted, atol=2e-5)
    z = found.networks.embed(found.variables["embedder"], source)
    np.testing.assert_allclose(embed.call(part("embedder/"), source), z, atol=2e-5)
    np.testing.assert_allclose(generate.call(part("generator/"), target, z), wanted, atol=2e-5)


def test_swapper_loads_an_export(run, exported):
    source, target = faces(2)
    np.testing.assert_array_equal(
        swapped_by(Swapper.load(exported), source, target), swapped_by(Swapper.load(run), source, target)
    )
    with pytest.raises(ValueError, match="an export of step 6; wanted step 2"):
        Swapper.load(exported, step=2)


def test_the_documents_lines_run_without_this_package(run, exported, tmp_path):
    text = (ROOT / "docs" / "swapping.md").read_text(encoding="utf-8")
    (lines,) = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "swap.stablehlo" in code]
    assert len(lines.strip().splitlines()) <= 12
    (tmp_path / "exported").symlink_to(exported)
    source, target = faces(3)
    np.savez(tmp_path / "faces.npz", source=source, target=target)
    blocked = "import sys; sys.modules['smoothswap_jax'] = sys.modules['flax'] = None\n"
    subprocess.run([sys.executable, "-c", blocked + lines], cwd=tmp_path, check=True, timeout=300)
    wanted = swapped_by(Swapper.load(run), source, target)
    np.testing.assert_allclose(np.load(tmp_path / "swapped.npy"), wanted, atol=2e-5)


def test_folder_says_what_it_is(exported):
    assert {file.name for file in exported.iterdir()} == FILES | {"evaluation.json"}
    assert len({file.stat().st_mode for file in exported.iterdir()}) == 1  # safetensors alone would write 0600
    sums = dict(reversed(line.split("  ")) for line in (exported / "SHA256SUMS").read_text().splitlines())
    assert sums.keys() == FILES - {"SHA256SUMS"} | {"evaluation.json"}
    for name, digest in sums.items():
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == digest
    config = json.loads((exported / "config.json").read_text())
    weights = load_file(exported / "params.safetensors")
    generator = sum(value.size for name, value in weights.items() if name.startswith("generator/"))
    assert config["parameters"]["generator"] == generator
    assert config["step"] == 6
    card = (exported / "MODEL_CARD.md").read_text()
    for name in PROGRAMS:
        assert f"| {name} |" in card
    for text in (f"generator {generator:,}", "6 steps of 8 pairs, seed 0", "cosine_to_source", "Misuse", "Licence"):
        assert text in card


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """A swapper none of whose weights is 0, its export in float16, and what the export says of its differences."""
    swapper, folder = random_swapper.make_swapper(), tmp_path_factory.mktemp("halved")
    (folder / "about.md").write_text("Trained on *one* machine.\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_folder, "restore_swapper", lambda *_, **__: swapper)
        patch.setattr(export_folder, "_embedder_run", lambda run: None)  # it has none
        checks = export_swapper(folder, folder / "out", dtype="float16", about=folder / "about.md")
    return swapper, folder / "out", checks


def test_float16_takes_half_the_room_and_is_close(halved):
    swapper, out, checks = halved
    full, half = flatten_dict(swapper.variables, sep="/"), load_file(out / "params.safetensors")
    assert {value.dtype for value in half.values()} == {np.dtype("float16")}
    assert 2 * sum(value.nbytes for value in half.values()) == sum(value.nbytes for value in full.values())
    rounding = max(np.abs(half[name].astype(np.float32) - value).max() for name, value in full.items())
    assert checks["params.safetensors"] == pytest.approx(rounding) and 0 < rounding < 1e-3
    source, target = faces(2)
    wanted, found = (restore.swap_function(one)(source, target) for one in (swapper, load_export(out)))
    assert np.abs(wanted - target).mean() > 0.1  # so a change of it could be seen
    assert 0 < np.abs(found - wanted).max() < GREY_LEVEL
    by_program = program(out, "swap").call(half, source, target)
    np.testing.assert_allclose(by_program, found, atol=2e-5)  # it computes in float32, too
    assert all(0 < checks[name] < GREY_LEVEL for name in PROGRAMS)


def test_float16_is_known_by_the_embedder_that_trained_it(halved):
    swapper, out, _ = halved
    assert load_export(out).trainers == swapper.trainers == (params_digest(swapper.variables["embedder"]),)
    assert load_export(out)._replace(embedder_sha256=None).trainers != swapper.trainers  # what it holds is rounded


def test_the_owners_words_are_in_the_card(halved):
    _, out, _ = halved
    card = (out / "MODEL_CARD.md").read_text()
    assert "## From its owner\n\nTrained on *one* machine.\n\n## " in card and "| float16, " in card


def test_weights_that_float16_does_not_hold_are_refused(run, tmp_path):
    with pytest.raises(ExportError, match=r"b: found values beyond 65504; wanted --dtype=float32"):
        export_folder._as_stored({"a": jnp.ones(2), "b": jnp.array([1.0, -7e4])}, "float16")
    with pytest.raises(ValueError, match="dtype: found 'int8'; wanted one of float32, float16"):
        export_swapper(run, tmp_path / "out", dtype="int8")


def test_an_export_does_not_say_where_weights_and_caches_lay():
    swapper = random_swapper.make_swapper()
    config = flatten_dict(swapper.config, sep=".") | {
        "embedder.checkpoint": "/home/me/runs/e",
        "data.dir": "/home/me/photos",
        "data.rendered_cache": "/home/me/cache",
        "compilation_cache": "~/.cache/xla",
    }
    swapper = swapper._replace(config=unflatten_dict(config, sep="."))
    training = export_folder._config(swapper, {}, "float32")["training"]
    assert training["embedder"]["checkpoint"] == "e" and training["compilation_cache"] == "~/.cache/xla"
    assert training["data"]["dir"] == "/home/me/photos" and training["data"]["rendered_cache"] == ""
    assert flatten_dict(training).keys() == flatten_dict(swapper.config).keys()


def test_programs_do_not_tell_where_the_package_lies(exported):
    for path in exported.glob("*.stablehlo"):
        assert str(ROOT).encode() not in path.read_bytes() and b"programs.py" in path.read_bytes()


def test_an_older_step_without_discriminator(run, tmp_path):
    assert main(["export", f"--checkpoint={run}", f"--out={tmp_path / 'out'}", "--step=4"]) == 0
    assert json.loads((tmp_path / "out" / "config.json").read_text())["step"] == 4
    assert not any(name.startswith("discriminator") for name in load_file(tmp_path / "out" / "params.safetensors"))
    assert load_export(tmp_path / "out").step == 4


def test_an_export_that_differs_is_not_left_behind(run, tmp_path, monkeypatch):
    monkeypatch.setattr(export_folder, "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match=r"swap\.stablehlo: differs from the checkpoint by .*, wanted at most"):
        export_swapper(run, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["embed", "generate"])
def test_each_program_is_compared(run, tmp_path, monkeypatch, name):
    check = programs.check
    strict = lambda file, found, wanted, tolerance: check(
        file, found, wanted, -1.0 if file == f"{name}.stablehlo" else tolerance
    )
    monkeypatch.setattr(programs, "check", strict)
    with pytest.raises(ExportError, match=rf"{name}\.stablehlo: differs from the checkpoint by .*, wanted at most"):
        export_swapper(run, tmp_path / "out")


def test_the_difference_of_trees_is_that_of_their_worst_leaf():
    a = {"x": np.zeros(3), "y": (np.ones((1, 2)),)}
    assert programs.difference(a, a) == 0
    assert programs.difference(a, {"x": np.zeros(3), "y": (np.array([[1, 1.5]]),)}) == 0.5
    with pytest.raises(ExportError, match=r"f: differs from the checkpoint by nan, wanted at most 1e\+00"):
        programs.check("f", {"x": np.array([0, 0, np.nan]), "y": (np.ones((1, 2)),)}, a, 1.0)


def test_z_may_be_any_tree():
    """Programs of networks whose z is a spatial code beside a vector."""
    swapper = random_swapper.make_swapper()
    networks = swapper.networks
    spatial = lambda variables, image: {"code": image[:, ::4, ::4], "vector": networks.embed(variables, image)}

    def generate(params, target, z):
        change = jnp.repeat(jnp.repeat(z["code"], 4, axis=1), 4, axis=2)
        return networks.generate(params, target, z["vector"]) + change

    swapper = swapper._replace(networks=dataclasses.replace(networks, embed=spatial, generate=generate))
    made = programs.make_programs(swapper)
    weights = flatten_dict(swapper.variables, sep="/")
    source, target = faces(3)
    call = lambda name, *inputs: jax.export.deserialize(
        bytearray(programs.to_stablehlo(made[name], made[name].weights(weights)))
    ).call(made[name].weights(weights), *inputs)
    z = call("embed", source)
    np.testing.assert_allclose(z["code"], source[:, ::4, ::4])
    np.testing.assert_allclose(call("generate", target, z), call("swap", source, target), atol=2e-5)


def test_an_export_of_an_older_version_is_loaded(run, exported, tmp_path):
    """Without generate.stablehlo, and with the names that config fields had."""
    for name in FILES - {"generate.stablehlo", "SHA256SUMS"}:
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    config = json.loads((exported / "config.json").read_text())
    training = config["training"]
    for old, new in (("accumulate", "grad_accum_steps"), ("keep", "max_to_keep")):
        training[old] = training.pop(new)
    training.pop("self_pair_fraction", None)
    (tmp_path / "config.json").write_text(json.dumps(config))
    digest = lambda name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    (tmp_path / "SHA256SUMS").write_text("".join(f"{digest(f.name)}  {f.name}\n" for f in tmp_path.iterdir()))
    found = load_export(tmp_path)
    assert found.config["grad_accum_steps"] == 1 and found.config["max_to_keep"] == training["keep"]
    assert found.config["self_pair_fraction"] == 0.125
    assert not {"accumulate", "keep"} & found.config.keys()
    source, target = faces(1)
    np.testing.assert_array_equal(
        swapped_by(Swapper.load(tmp_path), source, target), swapped_by(Swapper.load(run), source, target)
    )


def test_an_old_export_stays_until_the_new_one_is_whole(run, tmp_path, monkeypatch):
    old = tmp_path / "old"
    old.mkdir()
    for name in ("params.safetensors", "SHA256SUMS"):
        (old / name).write_text("old")
    monkeypatch.setattr(programs, "make_programs", lambda _: {})
    monkeypatch.setattr(export_folder, "model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_swapper(run, old, overwrite=True)
    assert {path.name: path.read_text() for path in old.iterdir()} == {"params.safetensors": "old", "SHA256SUMS": "old"}
    monkeypatch.setattr(export_folder, "model_card", lambda *_: "card")
    export_swapper(run, old, overwrite=True)
    assert (old / "MODEL_CARD.md").read_text() == "card" and [path.name for path in tmp_path.iterdir()] == ["old"]
    with pytest.raises(FileExistsError, match="replaces only a folder of the same kind, and this has no params"):
        export_swapper(run, run, overwrite=True)


def test_an_export_says_whom_it_was_trained_on(run, tmp_path, monkeypatch, caplog):
    """As evaluations pass them over, and the data need not be where the export is."""
    monkeypatch.setattr(programs, "make_programs", lambda _: {})
    monkeypatch.setattr(export_folder, "training_people", lambda data: ["anna", "ben"])
    export_swapper(run, tmp_path / "told")
    assert load_export(tmp_path / "told").people == ("anna", "ben")
    data = {"kind": "folder", "dir": str(tmp_path / "gone"), "size": 16, "held_out_people": 2}
    monkeypatch.setattr(export_folder, "training_people", lambda _: training_people(data))
    export_swapper(run, tmp_path / "gone")
    assert load_export(tmp_path / "gone").people is None
    assert "does not say whom it was trained on" in caplog.text and "found no such folder" in caplog.text
    config = json.loads((tmp_path / "told" / "config.json").read_text())
    (tmp_path / "told" / "config.json").write_text(json.dumps(config | {"people": ["anna", 3]}))
    tiny_runs.seal_export(tmp_path / "told")
    with pytest.raises(ExportError, match="wanted a list of digests"):
        load_export(tmp_path / "told")


@pytest.mark.parametrize("name", ["params.safetensors", "config.json"])
def test_a_damaged_export_is_refused(exported, tmp_path, name):
    for file in exported.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    data = bytearray((tmp_path / name).read_bytes())
    data[-20] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ExportError, match=f"{name}: its SHA-256 is not the one in SHA256SUMS"):
        Swapper.load(tmp_path)


def test_mistakes_are_named(run, exported, tmp_path, capsys):
    assert main(["export", f"--checkpoint={run}", f"--out={exported}"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["export", f"--checkpoint={run / 'embedder'}", f"--out={tmp_path / 'out'}"]) == 1
    assert f"is a run of stage embedder; wanted a run of stage swapper; did you mean {run}?" in capsys.readouterr().err
    save_photo(tmp_path / "photo.png", np.zeros((8, 8, 3), np.uint8))
    photos = [f"--source={tmp_path}/photo.png", f"--target={tmp_path}/photo.png", f"--output={tmp_path}/o.png"]
    assert main(["swap", f"--checkpoint={run}/embedder", *photos]) == 1
    assert f"wanted a run of stage swapper or an export; did you mean {run}?" in capsys.readouterr().err
    (tmp_path / "report.json").write_text("{")
    arguments = [f"--checkpoint={run}", f"--out={tmp_path / 'out'}", f"--evaluation={tmp_path / 'report.json'}"]
    assert main(["export", *arguments]) == 1
    assert "report.json: not a JSON file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_onnx_is_compared_and_refused_above_its_tolerance(run, tmp_path, monkeypatch):
    pytest.importorskip("jax2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    checks = export_swapper(run, tmp_path / "out", onnx=True)
    assert checks.keys() == {"params.safetensors", *PROGRAMS, "swap.onnx", "embed.onnx", "generate.onnx"}
    assert all(checks[f"{name}.onnx"] < programs.ONNX_TOLERANCE for name in ("swap", "embed", "generate"))
    source, target = faces(1)
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "swap.onnx"))
    names = [given.name for given in session.get_inputs()]
    (found,) = session.run(None, dict(zip(names, (source, target), strict=True)))
    np.testing.assert_allclose(found, swapped_by(Swapper.load(run), source, target), atol=1e-4)
    monkeypatch.setattr(programs, "ONNX_TOLERANCE", -1.0)
    with pytest.raises(ExportError, match=r"swap\.onnx: differs .* export without --onnx"):
        export_swapper(run, tmp_path / "again", onnx=True)
    assert not (tmp_path / "again").exists()

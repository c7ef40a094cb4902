"""The swappers that come with the package: found without a name, say what they are for, and are in every wheel."""

import os
import runpy
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import jax
import numpy as np
import pytest
import setuptools

from smoothswap_jax.cli.main import MISTAKE, main
from smoothswap_jax.config.load import load_config
from smoothswap_jax.faces.photos import load_photo, save_photo
from smoothswap_jax.inference import choice
from smoothswap_jax.inference import swapper as engine
from smoothswap_jax.inference.batching import in_steps
from smoothswap_jax.inference.export.export_folder import export_swapper
from smoothswap_jax.inference.load import load_functions
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.runtime import folders
from smoothswap_jax.runtime.checkpoint import CheckpointError
from smoothswap_jax.runtime.folders import PACKAGED
from smoothswap_jax.runtime.sharding import make_mesh
from smoothswap_jax.training.frozen_embedder import load_embedder
from smoothswap_jax.training.networks import image_shape, initial_variables, make_embedder, swapper_networks, z_shape
from tests.inference.pixel_swappers import grain, marked
from tests.places import ROOT
from tests.tiny_runs import SIZE

MOST_BYTES = 8_000_000
SAID = {
    "default": f"using the packaged swapper for rendered people: {SIZE} px; for photographs there is 'photographs'",
    "photographs": f"using the packaged swapper for photographs: {SIZE} px, a small one; "
    "train your own for better swaps",
}


each = pytest.mark.parametrize("name", list(PACKAGED))


@pytest.fixture(scope="module")
def exported(swapper, tmp_path_factory):
    """A stand-in; not to be changed."""
    out = tmp_path_factory.mktemp("default") / "default"
    export_swapper(swapper, out, dtype="float16")
    return out


@pytest.fixture
def packaged(exported, monkeypatch):
    for name in folders.PACKAGED:
        monkeypatch.setitem(folders.PACKAGED, name, exported)
    return exported


def photos(folder: Path) -> list[str]:
    for seed, name in enumerate(("a", "b")):
        save_photo(folder / f"{name}.png", grain(seed=seed))
    return [f"--source={folder}/a.png", f"--target={folder}/b.png"]


@pytest.mark.parametrize("name", ["", "photographs", "default"])
def test_a_swap_without_a_checkpoint_is_that_for_photographs(name, packaged, tmp_path, monkeypatch, caplog, capsys):
    for module in (choice, engine):
        monkeypatch.setattr(module, "found_faces", lambda _, photo: marked((80, 70, 1.5))(photo))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default").mkdir()  # a folder of this name is ./default
    options = [f"--checkpoint={name}"] if name else []
    given = photos(tmp_path)
    assert main(["swap", *given, f"--output={tmp_path}/ours.png", *options]) == 0
    assert [record.getMessage() for record in caplog.records] == [
        SAID[name or "photographs"]
    ] and not capsys.readouterr().err
    assert main(["swap", *given, f"--output={tmp_path}/theirs.png", f"--checkpoint={packaged}"]) == 0
    ours, theirs = (load_photo(tmp_path / f"{name}.png") for name in ("ours", "theirs"))
    np.testing.assert_array_equal(ours, theirs)
    assert len(caplog.records) == 1
    assert main(["swap", *given, f"--output={tmp_path}/o.png", "--checkpoint=./default"]) == MISTAKE
    assert "found neither checkpoints nor an export in it" in capsys.readouterr().err


def test_a_swapper_is_loaded_without_a_name(packaged, caplog):
    faces = np.random.default_rng(0).integers(0, 256, (2, 1, SIZE, SIZE, 3), np.uint8)
    found, wanted = Swapper.load(), Swapper.load(packaged)
    assert [record.getMessage() for record in caplog.records] == [SAID["photographs"]]
    swaps = [one.generate(faces[1], one.embed(faces[0])) for one in (found, wanted)]
    np.testing.assert_array_equal(*swaps)


def test_without_a_default_the_error_says_what_to_give(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(folders.PACKAGED, "photographs", tmp_path / "none")
    assert main(["swap", *photos(tmp_path), f"--output={tmp_path}/o.png"]) == MISTAKE
    error = capsys.readouterr().err
    assert "none: found no such swapper in this installation; wanted a folder: --checkpoint=DIR" in error
    assert error.count("\n") == 1 and not (tmp_path / "o.png").exists()
    with pytest.raises(CheckpointError, match=r"wanted a folder: .* Swapper\.load\(DIR\)"):
        Swapper.load()


@each
def test_wheels_contain_it(name, exported, monkeypatch):
    asked = {}
    monkeypatch.setattr(setuptools, "setup", lambda **given: asked.update(given))
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    package = PACKAGED[name].parent
    patterns = asked["package_data"]["smoothswap_jax.inference"]
    assert package == ROOT / "smoothswap_jax" / "inference" and "smoothswap_jax.inference" in asked["packages"]
    for file in exported.iterdir():
        path = (PACKAGED[name] / file.name).relative_to(package).as_posix()
        assert any(fnmatch(path, pattern) for pattern in patterns), path


@each
def test_the_packaged_ones_are_small_and_swap(name):
    files = list(PACKAGED[name].iterdir())
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES
    assert {"MODEL_CARD.md", "evaluation.json", "SHA256SUMS"} <= {file.name for file in files}
    found = Swapper.load(name)
    source, target = np.random.default_rng(0).integers(0, 256, (2, 1, found.size, found.size, 3), np.uint8)
    swap = found.generate(target, found.embed(source))
    assert swap.shape == target.shape and np.any(swap != target)


@each
def test_the_packaged_programs_give_what_the_networks_give(name):
    """But for rounding, as the suite turns XLA's optimisations off."""
    programs, networks = load_functions(name), load_functions(PACKAGED[name])
    assert programs.model == networks.model and programs.size == networks.size
    shapes = [jax.tree.map(lambda leaf: leaf.shape, one.identity) for one in (programs, networks)]
    assert shapes[0] == shapes[1] and programs.embedder.keys() != networks.embedder.keys()
    for found, wanted in zip(*map(jax.tree.leaves, map(made_by, (programs, networks))), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


@each
@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 8])
def test_as_a_user_runs_them_they_give_the_same_to_the_bit(devices, name):
    code = (
        "import jax, numpy; from tests.inference.test_default import PACKAGED, load_functions, made_by; "
        f"made = [made_by(load_functions(one)) for one in ({name!r}, PACKAGED[{name!r}])]; "
        "print([numpy.array_equal(*pair) for pair in zip(*map(jax.tree.leaves, made))])"
    )
    flags = f"--xla_force_host_platform_device_count={devices}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[True, True]"


def made_by(one):
    """(z, swaps) of random faces."""
    faces = np.random.default_rng(0).uniform(-1, 1, (2, 3, one.size, one.size, 3)).astype(np.float32)
    mesh = make_mesh()
    z = in_steps(one.embed, one.embedder, mesh)(faces[0])
    return z, in_steps(one.generate, one.generator, mesh)(faces[1], z)


@each
def test_the_packaged_ones_are_a_start_for_small64(name):
    """Of the real package: what docs/training.md says of `default` holds for them."""
    config = load_config("swapper:small64", [])
    found = load_embedder(name)
    size = config["data"]["size"]
    made, (generator, _) = swapper_networks(config["generator"], config["discriminator"], found.fields, size)
    z = z_shape(made, found.variables, 1, size)
    assert initial_variables(name, "generator", generator, image_shape(1, size), z)["params"]
    embedder = load_config("embedder:small64", [])["embedder"]
    assert initial_variables(name, "embedder", make_embedder(embedder), image_shape(2, size))["batch_stats"]

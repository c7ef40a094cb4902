"""The folder `smoothswap import` writes: what is in it, that it comes back exactly, and what is refused."""

import argparse
import hashlib
import json
import pickle
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from smoothswap_jax.cli import main
from smoothswap_jax.models.ncsnpp import NCSNpp
from smoothswap_jax.models.stylegan2 import Discriminator
from smoothswap_jax.runtime.files import new_folder
from smoothswap_jax.weights.importing import import_network
from smoothswap_jax.weights.network_folder import (
    FolderError,
    load_imported,
    load_network,
    make_module,
    module_classes,
    module_fields,
    save_network,
)
from smoothswap_jax.weights.stored_tensor import WeightMismatch
from tests import mutations
from tests.golden_files import Golden


@pytest.fixture(scope="module")
def network():
    return import_network("vggface2-resnet50", Golden("vggface2_resnet50w8_eval").group("sd/"))


@pytest.fixture
def saved(network, tmp_path):
    save_network(tmp_path / "net", network, {"file": "resnet50_ft_weight.pkl", "sha256": "0" * 64})
    return tmp_path / "net"


def test_it_comes_back_exactly(network, saved):
    module, variables, preprocessing = load_imported(saved)
    assert module == network.module and preprocessing == network.preprocessing
    jax.tree.map(np.testing.assert_array_equal, variables, network.variables)
    again = load_network(saved)
    assert (again.kind, again.inputs, again.fresh) == (network.kind, network.inputs, network.fresh)


def test_it_is_plain_safetensors_and_json(network, saved):
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "params.safetensors"]
    arrays = load_file(saved / "params.safetensors")
    assert {array.dtype for array in arrays.values()} == {np.dtype("float32")}
    kernel = network.variables["params"]["layer1_0"]["conv1"]["kernel"]
    np.testing.assert_array_equal(arrays["params/layer1_0/conv1/kernel"], kernel)
    assert "batch_stats/layer1_0/bn1/mean" in arrays
    config = json.loads((saved / "config.json").read_text())
    assert (config["format"], config["kind"], config["module"]) == (1, "vggface2-resnet50", "ResNet")
    assert config["fields"]["stage_sizes"] == [3, 4, 6, 3] and config["fields"]["dtype"] == "float32"
    assert config["preprocessing"]["mean"] == [91.4953, 103.8827, 131.0912]
    assert config["source"]["file"] == "resnet50_ft_weight.pkl"
    assert config["fresh"] == []


@pytest.mark.parametrize(
    "module",
    [
        Discriminator(16, channels={16: 8, 8: 24, 4: 16}, dtype=jax.numpy.bfloat16),
        NCSNpp(ch_mult=(1, 2), emb_scale=2.0),
        *(cls() for cls in module_classes().values()),
    ],
    ids=lambda module: type(module).__name__,
)
def test_fields_survive_json(module):
    fields = json.loads(json.dumps(module_fields(module)))
    assert make_module(type(module).__name__, fields) == module


def test_a_field_that_networks_no_longer_have_is_ignored_at_its_only_value():
    fields = json.loads(json.dumps(module_fields(NCSNpp(ch_mult=(1, 2)))))
    assert make_module("NCSNpp", fields | {"resblock": "biggan"}) == NCSNpp(ch_mult=(1, 2))
    with pytest.raises(FolderError, match="resblock"):
        make_module("NCSNpp", fields | {"resblock": "ddpm"})


def test_a_folder_that_exists_is_kept(network, saved):
    before = (saved / "params.safetensors").stat().st_mtime_ns
    with pytest.raises(FileExistsError, match="exists already"):
        save_network(saved, network, {})
    assert (saved / "params.safetensors").stat().st_mtime_ns == before
    (saved.parent / "empty").mkdir()
    save_network(saved.parent / "empty", network, {})
    assert load_imported(saved.parent / "empty")[0] == network.module


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="disk"), new_folder(tmp_path / "deep" / "net") as made:
        (made / "part").write_text("half")
        assert not (tmp_path / "deep" / "net").exists()
        raise OSError("disk is full")
    assert list((tmp_path / "deep").iterdir()) == []


def change(saved, **values):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | values))


def test_damaged_folders_are_named(saved, tmp_path):
    with pytest.raises(FolderError, match=r"nothing.*no imported network here"):
        load_imported(tmp_path / "nothing")
    for values, message in [
        ({"format": 2}, "format is 2, wanted 1"),
        ({"module": "Path"}, "module is 'Path', wanted one of"),
        ({"fields": {"depth": 3}}, "depth"),
        ({"preprocessing": {"size": [1, 1]}}, "crop|channels"),
        ({"inputs": 3}, "inputs are 3, wanted shapes"),
    ]:
        good = (saved / "config.json").read_text()
        change(saved, **values)
        with pytest.raises(FolderError, match=message):
            load_imported(saved)
        (saved / "config.json").write_text(good)
    arrays = load_file(saved / "params.safetensors")
    kernel = arrays.pop("params/conv1/kernel")
    save_file(arrays, saved / "params.safetensors")
    with pytest.raises(WeightMismatch, match=r"missing \(1\): params/conv1/kernel"):
        load_imported(saved)
    arrays = {name: array.copy() for name, array in load_file(saved / "params.safetensors").items()}
    arrays["params/layer1_0/conv1/kernel"][0] = np.nan
    save_file(arrays | {"params/conv1/kernel": kernel}, saved / "params.safetensors")
    with pytest.raises(FolderError, match=r"NaN or infinite \(1\): params/layer1_0/conv1/kernel: 64 of 64"):
        load_imported(saved)
    (saved / "params.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(FolderError, match=r"params\.safetensors"):
        load_imported(saved)
    (saved / "config.json").write_text("[1]")
    with pytest.raises(FolderError, match="format"):
        load_imported(saved)


def test_a_sample_of_mutated_folders(saved, tmp_path):
    found = mutations.outcomes(saved, tmp_path, ["*"], 10, 1, lambda folder: None, load_network)
    assert sum(count for (_, word), count in found.items() if word == "refused") > 4


@pytest.mark.slow
def test_many_mutated_folders(saved, tmp_path):
    print(mutations.outcomes(saved, tmp_path, ["*"], 160, 2, lambda folder: None, load_network))


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"width": 10**9}, "ResNet.width is 1000000000, wanted int, of at most 65,536 and 64 items"),
        ({"width": "64"}, "ResNet.width is '64', wanted int"),
        ({"stage_sizes": [1000, 1000]}, "more layers than the "),
        ({"stage_sizes": [3] * 65}, "ResNet.stage_sizes is a list of 65, wanted Sequence"),
        ({"dtype": "float12"}, "ResNet.dtype is 'float12'"),
        ({"norm": "layer"}, "the fields make no network (ResNet: norm is 'layer'"),
    ],
)
def test_absurd_fields_are_refused_before_anything_is_built(saved, fields, said):
    config = json.loads((saved / "config.json").read_text())
    change(saved, fields=config["fields"] | fields)
    with pytest.raises(FolderError) as raised:
        load_network(saved)
    assert said in str(raised.value) and "config.json" in str(raised.value)


# ---------------------------------------------------------------------------------------------- the command line
def run(*arguments):
    return main.main(["import", *map(str, arguments)])


@pytest.fixture
def reader():
    return pytest.importorskip("smoothswap_jax.weights.readers.checkpoint")


def test_the_command_imports_a_file(reader, network, tmp_path, capsys):
    weights = tmp_path / "net.npz"
    np.savez(weights, **Golden("vggface2_resnet50w8_eval").group("sd/"))
    assert run("--kind=vggface2-resnet50", "--weights", weights, "--out", tmp_path / "out") == 0
    assert "ResNet" in capsys.readouterr().out
    module, variables, _ = load_imported(tmp_path / "out")
    assert module == network.module
    jax.tree.map(np.testing.assert_array_equal, variables, network.variables)
    source = json.loads((tmp_path / "out" / "config.json").read_text())["source"]
    assert source == {"file": "net.npz", "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(), "known": {}}
    assert run("--kind=iresnet50", "--weights", weights, "--out", tmp_path / "no") == 1
    error = capsys.readouterr().err
    assert "not a checkpoint of kind iresnet50" in error and error.count("\n") == 1
    assert not (tmp_path / "no").exists()


def test_the_command_tells_what_it_read_and_skipped(reader, tmp_path, capsys):
    """A StyleGAN2 training state with its `args`: the discriminator, and not a word of it in tensors elsewhere."""
    state = {"module." + name: value for name, value in Golden("stylegan2_d32").group("sd/").items()}
    tree = {"g": {"w": np.ones(3, "f")}, "d": state, "args": argparse.Namespace(iter=3, path=Path("/x")), "p": 0.0}
    weights = tmp_path / "010000.pt"
    weights.write_bytes(pickle.dumps(tree))
    command = ("--kind=stylegan2-discriminator", "--weights", weights, "--out")
    assert run(*command, tmp_path / "out") == 0
    told = ["read group 'd', prefix 'module.'", "skipped, not being tensors: argparse.Namespace (1 in all)"]
    assert capsys.readouterr().out.splitlines()[1:] == told
    assert json.loads((tmp_path / "out" / "config.json").read_text())["source"]["notes"] == told
    assert run(*command, tmp_path / "no", "--known", "group=g") != 0
    error = capsys.readouterr().err
    assert f"{weights}: not a checkpoint of kind stylegan2-discriminator: " in error and error.count("\n") == 1
    assert "skipped, not being tensors: argparse.Namespace" in error and "ask for a state_dict" in error
    state["module.convs.0.0.weight"] = np.full_like(state["module.convs.0.0.weight"], np.nan)
    weights.write_bytes(pickle.dumps(tree))
    assert run(*command, tmp_path / "no") != 0
    error = capsys.readouterr().err
    assert f"{weights}: NaN or infinite (1): convs.0.0.weight: 48 of 48 values; " in error and error.count("\n") == 1
    assert not (tmp_path / "no").exists()


def test_values_that_are_not_finite_are_refused_in_a_folder(saved):
    arrays = load_file(saved / "params.safetensors")
    arrays["params/conv1/kernel"][0, 0, 0, 0] = np.inf
    save_file(arrays, saved / "params.safetensors")
    with pytest.raises(FolderError, match=r"params\.safetensors: NaN or infinite \(1\): params/conv1/kernel: 1 of"):
        load_imported(saved)


def test_our_own_files_are_checkpoints_too(reader, tmp_path):
    """A published discriminator to a folder, and that folder's arrays through our own kind."""
    golden = Golden("stylegan2_d32").group("sd/")
    np.savez(tmp_path / "d.npz", **golden)
    kinds = {"stylegan2-discriminator": tmp_path / "d.npz", "discriminator": tmp_path / "first" / "params.safetensors"}
    for (kind, weights), out in zip(kinds.items(), ("first", "second"), strict=True):
        assert run(f"--kind={kind}", "--weights", weights, "--out", tmp_path / out) == 0
    first, second = (load_imported(tmp_path / out) for out in ("first", "second"))
    assert first[0] == second[0]
    jax.tree.map(np.testing.assert_array_equal, first[1], second[1])


def test_the_command_imports_what_pytorch_saved(reader, tmp_path, capsys):
    """A whole training checkpoint of a score network, with the identity embedding in place of the noise level."""
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(value) for name, value in Golden("id_ncsnpp32").group("sd/").items()}
    torch.save({"model": state, "step": 5, "optimizer": {"state": {}}}, tmp_path / "checkpoint_5.pth")
    known = ("--known", "image_size=32", "dim=48", "--known", "input_residual=False")
    assert run("--kind=ncsnpp", "--weights", tmp_path / "checkpoint_5.pth", "--out", tmp_path / "out", *known) == 0
    assert "fresh, not from the file: params/embed0/kernel" in capsys.readouterr().out
    found = load_network(tmp_path / "out")
    assert found.fresh == ("params/embed0/kernel",) and found.module.input_residual is False
    wanted = import_network("ncsnpp", Golden("id_ncsnpp32").group("sd/"), image_size=32)
    stem = found.variables["params"]["stem"]["kernel"]
    np.testing.assert_array_equal(stem, wanted.variables["params"]["stem"]["kernel"])


def test_mistakes_are_one_line(tmp_path, capsys):
    for arguments, message in [
        (["--kind=resnet51"], "resnet51"),
        (["--kind=resnet50", "--known", "image_size"], "wanted KEY=VALUE"),
    ]:
        weights = tmp_path / "a.npz"
        np.savez(weights, a=np.zeros(1))
        pytest.importorskip("smoothswap_jax.weights.readers.checkpoint")
        assert run(*arguments, "--weights", weights, "--out", tmp_path / "out") == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1 and "Traceback" not in error


def test_every_module_of_a_kind_can_be_stored(network):
    assert type(network.module).__name__ in module_classes()

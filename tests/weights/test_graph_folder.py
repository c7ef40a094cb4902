"""`smoothswap import` of graphs: what is kept, how it is used, and what is refused."""

import contextlib
import dataclasses
import hashlib
import json

import numpy as np
import pytest

from smoothswap_jax.cli import main
from smoothswap_jax.weights.graphs.folder import graph_file, import_graph, is_graph_folder, load_graph, runner
from smoothswap_jax.weights.graphs.process import GraphError
from smoothswap_jax.weights.graphs.use import PRESETS, planned
from smoothswap_jax.weights.network_folder import FolderError, load_network
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.readers.graph import Graph
from smoothswap_jax.weights.registry import GRAPH_KINDS, GRAPH_PRESETS
from tests import mutations

pytest.importorskip("onnx")
from tests.weights import graph_files
from tests.weights.graph_files import SIDE, helper, weights

KNOWN = {"role": "identity", "crop": "whole"}
GRAPH = Graph("onnx", "NCHW", 1, 112, 112, {"a": 66, "b": 66, "617": 66})
ONE = dataclasses.replace(GRAPH, outputs={"a": 512})


@pytest.fixture
def onnx_file(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "face.onnx"
    path.write_bytes(graph_files.honest_onnx())
    return path


@pytest.fixture
def saved(onnx_file, tmp_path):
    import_graph("onnx", onnx_file, tmp_path / "net", KNOWN | {"licence": "MIT"})
    return tmp_path / "net"


# --- how a graph is used ------------------------------------------------------------------------------------------


def test_presets_are_named_where_the_help_needs_them():
    assert tuple(PRESETS) == GRAPH_PRESETS
    assert all(use.licence and use.preprocessing.size for use in PRESETS.values())


def test_a_preset_gives_all_and_keywords_override_it():
    assert planned("onnx", ONE, {"preset": "arcface112"}) == (
        "arcface112",
        dataclasses.replace(PRESETS["arcface112"], outputs=("a",)),
    )
    known = {"preset": "arcface112", "channels": "BGR", "mean": 127.5, "std": (1, 2, 3), "low": 0, "high": 255}
    _, use = planned("onnx", ONE, known | {"licence": "ours", "flip": True, "interpolation": "bilinear"})
    wanted = Preprocessing((112, 112), "arcface", "BGR", 0, 255, (127.5,) * 3, (1, 2, 3), "bilinear")
    assert use.preprocessing == wanted and use.licence == "ours" and use.flip


def test_keywords_alone_do():
    preset, use = planned("onnx", ONE, {"role": "identity", "crop": "vggface2"})
    assert preset == "" and use.preprocessing == Preprocessing((112, 112), "vggface2") and use.licence == "not stated"
    free = dataclasses.replace(ONE, height=None, width=None)
    assert planned("onnx", free, KNOWN | {"size": (112, 96)})[1].preprocessing.size == (112, 96)
    parts = {"role": "coefficients", "crop": "whole", "shape": (12, 52), "pose": (0, 9)}
    assert planned("onnx", ONE, parts)[1].parts == {"shape": (12, 52), "pose": (0, 9)}


@pytest.mark.parametrize(
    "given, names", [("a,617", ("a", "617")), ((617, "a"), ("617", "a")), (617, ("617",)), (["b"], ("b",))]
)
def test_outputs_are_named_as_the_command_line_gives_them(given, names):
    assert planned("onnx", GRAPH, KNOWN | {"outputs": given})[1].outputs == names


@pytest.mark.parametrize(
    "graph, known, said",
    [
        (ONE, {}, "give role="),
        (ONE, {"role": "identity"}, "give crop="),
        (ONE, {"preset": "arcface"}, "preset is 'arcface', wanted one of arcface112, adaface"),
        (ONE, KNOWN | {"role": "sex"}, "role is 'sex', wanted one of identity, pose, coefficients"),
        (GRAPH, KNOWN, r"outputs is not given, wanted names of a \(66\), b \(66\), 617 \(66\)"),
        (GRAPH, KNOWN | {"outputs": "c"}, "outputs is c, wanted names"),
        (GRAPH, KNOWN | {"outputs": "a,a"}, "outputs is a,a, wanted names"),
        (ONE, {"preset": "3ddfa_v2"}, r"size is \(120, 120\), but the graph takes images of \(112, 112\)"),
        (ONE, KNOWN | {"crop": "mtcnn"}, "crop is 'mtcnn', wanted one of arcface"),
        (dataclasses.replace(ONE, height=None, width=None), KNOWN, "does not say how large .*; give size=112"),
        *(
            (dataclasses.replace(ONE, height=None, width=None), KNOWN | {"size": size}, "wanted 1 to 1024 pixels")
            for size in (0, -1, 1025, 100_000, 112.0, float("nan"))
        ),
        *(
            (ONE, KNOWN | {name: value}, f"{name} is .* wanted .*finite number")
            for name in ("mean", "std", "low", "high")
            for value in (float("nan"), float("inf"), -float("inf"), 10**400)
        ),
        (ONE, KNOWN | {"mean": (1, 2, float("nan"))}, "mean is .* wanted finite numbers"),
        (ONE, KNOWN | {"licence": "x\x1b[2J"}, r"licence is 'x\\x1b\[2J', wanted up to 1000 characters of a line"),
        (ONE, KNOWN | {"mean": (1, 2)}, "mean is .* wanted a number or 3"),
        (ONE, KNOWN | {"std": 0}, "std above 0"),
        (ONE, KNOWN | {"low": 2.0, "high": 1.0}, "low below high"),
        (ONE, KNOWN | {"channels": "GBR"}, "wanted one of"),
        (ONE, KNOWN | {"colour": "BGR"}, "no use for colour; takes preset, role"),
        (ONE, KNOWN | {"role": "coefficients"}, "wants one of shape, expression, pose"),
        (ONE, KNOWN | {"role": "coefficients", "shape": (5, 5)}, "where it begins and ends"),
        (ONE, KNOWN | {"role": "coefficients", "pose": (0, 10)}, "pose is 10 numbers"),
        (ONE, KNOWN | {"shape": (0, 5)}, "no use for shape"),
        (
            dataclasses.replace(GRAPH, outputs={"a": 9}),
            {"preset": "arcface112", "role": "pose", "flip": True},
            "flip is",
        ),
    ],
)
def test_keywords_that_do_not_fit(graph, known, said):
    with pytest.raises(ValueError, match=said):
        planned("onnx", graph, known)


# --- the folder ---------------------------------------------------------------------------------------------------


def test_a_graph_is_kept_as_it_is(onnx_file, saved):
    data, sha256 = onnx_file.read_bytes(), hashlib.sha256(onnx_file.read_bytes()).hexdigest()
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "network.onnx"]
    assert (saved / "network.onnx").read_bytes() == data and is_graph_folder(saved)
    config = json.loads((saved / "config.json").read_text())
    assert (config["kind"], config["sha256"], config["role"], config["features"]) == ("onnx", sha256, "identity", 4)
    assert config["licence"] == "MIT" and config["outputs"] == ["numbers"]
    assert config["source"] == {"file": "face.onnx", "sha256": sha256, "known": KNOWN | {"licence": "MIT"}}
    found = load_graph(saved)
    assert (found.data, found.sha256, found.use.preprocessing.size) == (data, sha256, (SIDE, SIDE))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("batch", [1, 2, "n"])
def test_onnx_gives_what_its_layers_do(tmp_path, batch, layout):
    pytest.importorskip("onnxruntime")
    (tmp_path / "g.onnx").write_bytes(graph_files.honest_onnx(batch, layout))
    network = import_graph("onnx", tmp_path / "g.onnx", tmp_path / "net", KNOWN)
    images = np.random.default_rng(1).normal(size=(11, SIDE, SIDE, 3)).astype(np.float32)
    run, runtime = runner(network)
    taken = images.transpose(0, 3, 1, 2) if layout == "NCHW" else images
    np.testing.assert_allclose(run(images), taken.reshape(11, -1) @ weights().T, atol=1e-4)
    assert runtime.startswith("onnxruntime ")


def test_tflite_gives_what_its_layers_do(tmp_path):
    pytest.importorskip("ai_edge_litert")
    (tmp_path / "g.tflite").write_bytes(graph_files.honest_tflite(2))
    import_graph("tflite", tmp_path / "g.tflite", tmp_path / "net", KNOWN)
    images = np.random.default_rng(1).normal(size=(5, SIDE, SIDE, 3)).astype(np.float32)
    run, runtime = runner(load_graph(tmp_path / "net"))
    np.testing.assert_allclose(run(images), images.reshape(5, -1) @ weights().T, atol=1e-4)
    assert runtime.startswith("ai-edge-litert ")


def test_mean_and_std_come_from_a_second_file(onnx_file, tmp_path):
    known = {"role": "coefficients", "crop": "whole", "shape": (0, 4), "statistics": True}
    mean, std = np.arange(4, dtype="f"), np.arange(1, 5, dtype="f")
    np.savez(tmp_path / "s.npz", mean=mean, std=std)
    import_graph("onnx", [onnx_file, tmp_path / "s.npz"], tmp_path / "net", known)
    assert load_graph(tmp_path / "net").statistics == (tuple(mean), tuple(std))
    source = json.loads((tmp_path / "net" / "config.json").read_text())["source"]
    assert source["statistics"]["file"] == "s.npz"
    with pytest.raises(
        ValueError, match="found 1 files of --weights, wanted the graph, and the file with mean and std"
    ):
        import_graph("onnx", onnx_file, tmp_path / "other", known)
    with pytest.raises(ValueError, match="found 2 files of --weights, wanted the graph alone"):
        import_graph("onnx", [onnx_file, tmp_path / "s.npz"], tmp_path / "other", KNOWN)
    for arrays, said in [
        ({"mean": mean, "std": mean}, "std of 0"),
        ({"mean": mean}, "wanted mean and std, of 4 numbers"),
        ({"mean": mean[:3], "std": std[:3]}, "of 4 numbers"),
        ({"mean": mean * np.nan, "std": std}, "not finite"),
    ]:
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(ValueError, match=said):
            import_graph("onnx", [onnx_file, tmp_path / "bad.npz"], tmp_path / "other", known)


def _onnx(nodes, outputs, batch=2, stored=None):
    made = graph_files.model(nodes, [graph_files.image(batch)], outputs, stored)
    return made.SerializeToString()


@pytest.mark.parametrize(
    "nodes, outputs, said",
    [
        # softmax over the batch
        (
            [*graph_files.layer(given="x"), helper.make_node("Softmax", ["x"], ["numbers"], axis=0)],
            [graph_files.numbers(2)],
            "depends on the images beside it",
        ),
        (
            [*graph_files.layer(given="x"), helper.make_node("Sub", ["x", "x"], ["o"]),
             helper.make_node("Div", ["x", "o"], ["numbers"])],
            [graph_files.numbers(2)],
            "not finite",
        ),
        (
            [*graph_files.layer(given="x"), helper.make_node("Sub", ["x", "x"], ["numbers"])],
            [graph_files.numbers(2)],
            "gives the same numbers for different images",
        ),
        (
            [*graph_files.layer(given="x"), helper.make_node("ReduceMax", ["x"], ["numbers"], keepdims=0)],
            [helper.make_tensor_value_info("numbers", 1, None)],
            r"found outputs of shapes \[\(1,\)\]; wanted \[2, d\]",
        ),
        (
            [*graph_files.layer(given="x"), helper.make_node("Reshape", ["x", "eight"], ["numbers"])],
            [helper.make_tensor_value_info("numbers", 1, ["n", "m"])],
            r"found outputs of shapes \[\(8, 1\)\]",
        ),
        ([helper.make_node("Gemm", ["image", "w"], ["numbers"])], [graph_files.numbers(2)], "cannot be run"),
        ([helper.make_node("Florp", ["image", "w"], ["numbers"])], [graph_files.numbers(2)], "cannot be run"),
    ],
    ids=["batch", "NaN", "constant", "no row", "other rows", "rank", "unknown operator"],
)  # fmt: skip
def test_graphs_that_give_no_numbers_for_each_image(tmp_path, nodes, outputs, said):
    pytest.importorskip("onnxruntime")
    eight = graph_files.numpy_helper.from_array(np.array([8, 1], np.int64), "eight")
    stored = [graph_files.numpy_helper.from_array(weights(), "w"), eight]
    (tmp_path / "g.onnx").write_bytes(_onnx(nodes, outputs, stored=stored))
    with pytest.raises(GraphError, match=said) as error:
        import_graph("onnx", tmp_path / "g.onnx", tmp_path / "net", KNOWN)
    assert str(tmp_path / "g.onnx") in str(error.value) and not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    "known, said",
    [
        ({"role": "pose", "crop": "whole"}, "gives 4 numbers, wanted as many bins for yaw, pitch and roll"),
        ({"role": "coefficients", "crop": "whole", "shape": (2, 5)}, "gives 4 numbers, but shape ends at 5"),
    ],
)
def test_numbers_that_are_too_few_for_their_use(onnx_file, tmp_path, known, said):
    with pytest.raises(ValueError, match=said):
        import_graph("onnx", onnx_file, tmp_path / "net", known)


def test_a_folder_that_was_changed(saved):
    data = bytearray((saved / "network.onnx").read_bytes())
    data[-200] ^= 1
    (saved / "network.onnx").write_bytes(bytes(data))
    with pytest.raises(FolderError, match=r"network.onnx: its SHA-256 is not the one in config.json"):
        load_graph(saved)


@pytest.mark.parametrize(
    "field, value, said",
    [
        ("role", "x", "role is 'x'"),
        ("features", 1 << 40, "features is 1099511627776"),
        ("features", "4", "features is '4', wanted int"),
        ("outputs", ["x"], "outputs is"),
        ("outputs", [], "outputs is"),
        ("outputs", ["numbers", "numbers"], "outputs is .* wanted each name once"),
        ("features", 9, "features is 9, wanted 4, as the graph's outputs have"),
        ("licence", "x\x1b[31m", "licence is .* wanted up to 1000 characters of a line"),
        ("licence", "x" * 10**6, "licence is .* wanted up to 1000 characters of a line"),
        ("preset", "a\nb", "preset is .* wanted up to 1000 characters of a line"),
        ("parts", {"shape": [0, 2]}, "parts is"),
        ("statistics", [[1], [2]], "wanted mean and std, of 4 numbers"),
        ("licence", None, "licence is None, wanted str"),
        ("format", 9, "wanted format 1"),
        ("kind", "pb", "wanted format 1 and kind onnx or tflite"),
        ("preprocessing", {"size": [9, 9], "crop": "whole", "channels": "RGB"}, r"size is \(9, 9\), wanted \(8, 8\)"),
        ("preprocessing", {"size": [8, 8]}, "lacks"),
        ("preprocessing", {"size": [8, 8], "crop": "x", "channels": "RGB"}, "crop is 'x'"),
    ],
)
def test_a_config_that_does_not_fit(saved, field, value, said):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {field: value}))
    with pytest.raises(FolderError, match=said):
        load_graph(saved)


def test_the_size_of_a_config_is_bounded_where_the_graph_takes_any(tmp_path):
    pytest.importorskip("onnxruntime")
    image = helper.make_tensor_value_info("image", 1, [1, 3, None, None])
    nodes = [helper.make_node("ReduceMax", ["image"], ["numbers"], axes=[2, 3], keepdims=0)]
    made = graph_files.model(nodes, [image], [helper.make_tensor_value_info("numbers", 1, [1, None])], [])
    (tmp_path / "g.onnx").write_bytes(made.SerializeToString())
    network = import_graph("onnx", tmp_path / "g.onnx", tmp_path / "net", KNOWN | {"size": 9})
    config = json.loads((tmp_path / "net" / "config.json").read_text())
    config["preprocessing"]["size"] = [4096, 4096]
    (tmp_path / "net" / "config.json").write_text(json.dumps(config))
    with pytest.raises(FolderError, match=r"size is \(4096, 4096\), wanted at most 1024 pixels a side"):
        load_graph(tmp_path / "net")
    run, _ = runner(dataclasses.replace(network, features=7))
    with pytest.raises(GraphError, match="gives 3 numbers; wanted 7"):
        run(np.zeros((1, 9, 9, 3), np.float32))


def test_changed_folders_are_loaded_or_refused_in_words(saved, tmp_path):
    def seal(folder):
        """Makes the checksum that of the graph, so that it does not tell."""
        with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
            config = json.loads((folder / "config.json").read_text())
            sha256 = hashlib.sha256((folder / "network.onnx").read_bytes()).hexdigest()
            (folder / "config.json").write_text(json.dumps(config | {"sha256": sha256}))

    (tmp_path / "work").mkdir()
    found = mutations.outcomes(saved, tmp_path / "work", ["*"], 96, 0, seal, load_graph)
    assert sum(count for (_, word), count in found.items() if word == "refused") > 40


def test_graphs_are_no_networks_of_arrays(saved):
    with pytest.raises(FolderError, match="holds a graph of kind onnx, which only judges"):
        load_network(saved)


# --- the command line ---------------------------------------------------------------------------------------------


def test_import_prints_what_it_kept(onnx_file, tmp_path, capsys):
    arguments = ["import", "--kind=onnx", f"--weights={onnx_file}", f"--out={tmp_path / 'net'}", "--known"]
    assert main.main([*arguments, "role=identity", "crop=whole"]) == 0
    said = capsys.readouterr().out
    assert "onnx graph, 4 numbers of numbers: identity" in said and "licence: not stated" in said
    assert main.main([*arguments, "role=identity", "crop=whole"]) == 1
    assert "exists already" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    arguments[3] = f"--out={tmp_path / 'run'}"
    assert main.main([*arguments, "role=identity", "crop=whole", "--overwrite"]) == 1
    assert "this has no network.onnx" in capsys.readouterr().err


def test_a_runtime_that_is_missing_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "face.onnx").write_bytes(graph_files.honest_onnx())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    arguments = ["import", "--kind=onnx", f"--weights={tmp_path / 'face.onnx'}", f"--out={tmp_path / 'net'}"]
    assert main.main([*arguments, "--known", "role=identity", "crop=whole"]) == 1
    wanted = 'running face.onnx needs onnxruntime, which is not installed: pip install "smoothswap-jax[judges]"'
    assert wanted in capsys.readouterr().err


def test_names_of_a_file_do_not_reach_the_terminal(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    odd = "x\x1b[2J"
    made = graph_files.model(graph_files.layer(given=odd), [graph_files.image()], [graph_files.numbers(name=odd)])
    (tmp_path / "g.onnx").write_bytes(made.SerializeToString())
    arguments = ["import", "--kind=onnx", f"--weights={tmp_path / 'g.onnx'}", f"--out={tmp_path / 'net'}", "--known"]
    assert main.main([*arguments, "role=identity", "crop=whole", "outputs=y"]) == 1
    assert main.main([*arguments, "role=identity", "crop=whole"]) == 0
    broken = graph_files.model(
        [helper.make_node("Gemm", ["image", "w"], [odd])], [graph_files.image()], [graph_files.numbers(name=odd)]
    )
    (tmp_path / "g.onnx").write_bytes(broken.SerializeToString())
    assert main.main([*arguments, "role=identity", "crop=whole", "--overwrite"]) == 1
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err and "x\\x1b[2J" in said.out + said.err


def test_every_kind_has_its_file():
    assert {graph_file(kind) for kind in GRAPH_KINDS} == {"network.onnx", "network.tflite"}

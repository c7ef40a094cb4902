"""Graph files are looked at before a runtime sees them: what honest ones take and give, and what is refused."""

import tracemalloc

import pytest

from smoothswap_jax.weights.readers import graph
from smoothswap_jax.weights.readers.errors import WeightFileError
from smoothswap_jax.weights.readers.graph import Graph, checked_graph, read_graph

pytest.importorskip("onnx")
from tests.weights import graph_files


def test_an_honest_onnx_graph(tmp_path):
    (tmp_path / "g.onnx").write_bytes(graph_files.honest_onnx())
    found, data = read_graph(tmp_path / "g.onnx", "onnx")
    assert found == Graph("onnx", "NCHW", 1, 8, 8, {"numbers": 4}) and data == graph_files.honest_onnx()
    free = checked_graph(graph_files.honest_onnx("n", "NHWC"), "onnx", "g")
    assert free == Graph("onnx", "NHWC", None, 8, 8, {"numbers": 4})


def test_a_graph_whose_output_is_of_one_image_gets_one_at_a_time():
    """As insightface's, which say that they take any number."""
    model = graph_files.model(graph_files.layer(), [graph_files.image("n")], [graph_files.numbers(1)])
    assert checked_graph(model.SerializeToString(), "onnx", "g").batch == 1


def test_an_honest_tflite_graph():
    pytest.importorskip("ai_edge_litert")
    found = checked_graph(graph_files.honest_tflite(2), "tflite", "g")
    assert found == Graph("tflite", "NHWC", 2, 8, 8, {"numbers": 4})


def test_control_flow_of_two_levels_is_read():
    nodes = [graph_files.nested(2), *graph_files.layer("out 2")]
    model = graph_files.model(nodes, [graph_files.image()], [graph_files.numbers()])
    model.graph.initializer.append(graph_files.helper.make_tensor("yes", 9, [], [True]))
    assert checked_graph(model.SerializeToString(), "onnx", "g").outputs == {"numbers": 4}


@pytest.mark.parametrize("name, data, said", [pytest.param(*one, id=one[0]) for one in graph_files.lying_onnx()])
def test_what_no_runtime_may_see_of_onnx(name, data, said):
    with pytest.raises(WeightFileError) as error:
        checked_graph(data, "onnx", "g.onnx")
    assert said in str(error.value) and str(error.value).startswith("g.onnx: ")


def test_what_no_runtime_may_see_of_tflite():
    pytest.importorskip("ai_edge_litert")
    for name, data, said in graph_files.lying_tflite():
        with pytest.raises(WeightFileError) as error:
            checked_graph(data, "tflite", "g.tflite")
        assert said in str(error.value), f"{name}: {error.value}"
        assert str(error.value).startswith("g.tflite: ")


def test_what_looks_fit_is_read():
    """Appetite shows only in a runtime."""
    for name, data in [*graph_files.greedy_onnx(), ("a loop", graph_files.endless_onnx())]:
        assert checked_graph(data, "onnx", name).outputs == {"numbers": 4}


def test_files_that_are_none(tmp_path, monkeypatch):
    for path, said in ((tmp_path / "gone.onnx", "no such file"), (tmp_path, "no such file")):
        with pytest.raises(WeightFileError, match=said):
            read_graph(path, "onnx")
    monkeypatch.setattr(graph, "MAX_FILE_BYTES", 100)
    (tmp_path / "large.onnx").write_bytes(graph_files.honest_onnx())
    with pytest.raises(WeightFileError, match="more than 100 bytes"):
        read_graph(tmp_path / "large.onnx", "onnx")


def test_a_claim_of_much_memory_takes_none():
    data = dict((name, data) for name, data, _ in graph_files.lying_onnx())["a tensor that claims too much"]
    tracemalloc.start()
    with pytest.raises(WeightFileError):
        checked_graph(data, "onnx", "g")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()

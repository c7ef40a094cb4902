"""Readers of weight files: what honest files give, compared with the libraries that write them; and what is refused."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import flax.serialization
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from smoothswap_jax.weights.readers import numpy_files
from smoothswap_jax.weights.readers.checkpoint import read_checkpoint
from smoothswap_jax.weights.readers.errors import WeightFileError
from tests.weights.weight_files import (
    OLD_NUMPY_PICKLE,
    OLD_NUMPY_VALUES,
    onnx_model,
    onnx_tensor,
    same,
    save,
)

RNG = np.random.default_rng(0)
NUMBERS = {
    "kernel": RNG.normal(size=(3, 4, 2)).astype("f"),
    "fortran": np.asfortranarray(RNG.normal(size=(3, 5))),
    "count": np.array(7),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3), "f"),
    "big": np.arange(6, dtype=">i4").reshape(2, 3),
    "half": np.arange(4, dtype="f2"),
}


# ------------------------------------------------------------------------------------------------ plain pickles
@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_numpy_arrays(tmp_path, protocol):
    tree = OrderedDict(NUMBERS, nested={"scalar": np.float32(2.5), "text": "é", "list": [1, 2.5, None, True]})
    found = read_checkpoint(save(tmp_path / "w.pkl", pickle.dumps(tree, protocol)))
    same(found, dict(tree))


def test_a_pickle_of_python_2(tmp_path):
    """As cydonia999's resnet50_ft_weight.pkl: byte strings for names and elements."""
    same(read_checkpoint(save(tmp_path / "w.pkl", OLD_NUMPY_PICKLE)), OLD_NUMPY_VALUES)


def test_long_texts_of_a_pickle(tmp_path):
    """A large array in protocol 2 is one long text of characters of one and two bytes, decoded a piece at a time."""
    tree = {"w": np.array([1] + [255] * 1_500_000, "u1"), "v": np.arange(300_000), "note": "é" * 100_000}
    same(read_checkpoint(save(tmp_path / "w.pkl", pickle.dumps(tree, 2))), tree)


# --------------------------------------------------------------------------------------------- the other formats
@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_npz(tmp_path, write):
    tree = {
        **NUMBERS,
        "large": np.zeros(1 << 22, "f"),
        "noise": RNG.normal(size=400_000),
        "deep/name": np.array(["ab", "ü"]),
        "bytes": np.array([b"ab"]),
    }
    write(tmp_path / "w.npz", **tree)
    same(read_checkpoint(tmp_path / "w.npz"), tree)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("name", NUMBERS)
def test_npy(tmp_path, name, version):
    with open(tmp_path / "w", "wb") as file:
        np.lib.format.write_array(file, NUMBERS[name], version)
    same(read_checkpoint(tmp_path / "w"), NUMBERS[name])


def test_npy_header_of_python_2(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 1L), }"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + np.array([1, 2], "f").tobytes()
    same(read_checkpoint(save(tmp_path / "w", data)), np.array([[1], [2]], "f"))


def test_safetensors(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    kinds = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "u2", "u4", "u8", "?")
    tree = {f"layer.{kind}": (RNG.random((2, 3)) * 3).astype(kind) for kind in kinds} | {"empty": np.zeros((0, 2), "f")}
    tree["scalar"] = np.array(2.5, "f")
    library.save_file(tree, tmp_path / "w", metadata={"format": "np"})
    found = read_checkpoint(tmp_path / "w")
    same(dict(sorted(found.items())), dict(sorted(tree.items())))


def test_small_floats_in_safetensors(tmp_path):
    library = pytest.importorskip("safetensors.torch")
    torch = pytest.importorskip("torch")
    kinds = {"bfloat16": "bfloat16", "float8_e4m3fn": "float8_e4m3fn", "float8_e5m2": "float8_e5m2"}
    library.save_file({kind: torch.tensor([1.5, -2.0]).to(getattr(torch, kind)) for kind in kinds}, tmp_path / "w")
    found = read_checkpoint(tmp_path / "w")
    for kind in kinds:
        same(found[kind], np.array([1.5, -2.0], "f").astype(getattr(ml_dtypes, kind)))


def train_state():
    """As score_sde saves it: the state of a Flax dataclass with optimiser, averages and a random key."""
    params = {"GroupNorm_0": {"scale": jnp.ones(4)}, "Conv_0": {"kernel": jnp.asarray(NUMBERS["kernel"])}}
    return {
        "step": 3,
        "optimizer": {"target": params, "state": {"step": np.int32(3), "param_states": params}},
        "lr": 2e-4,
        "model_state": {"batch_stats": {"mean": jnp.zeros((2,), jnp.bfloat16)}},
        "ema_rate": 0.999,
        "params_ema": params,
        "rng": np.array([0, 2**32 - 1], np.uint32),
        "pair": (np.zeros((0, 2)), np.array(True)),
        "none": None,
        "numbers": {"negative": -5, "large": 2**40, "least": -(2**63)},
        "a name of more than thirty-one characters": np.array(1.5),
        "lengths of two bytes": [np.arange(200, dtype="f4"), "e" * 300, b"e" * 300, list(range(20))],
        "lengths of four bytes": [np.arange(20_000, dtype="f4"), "e" * 70_000, b"e" * 70_000],
    }


def test_a_flax_train_state(tmp_path):
    state = train_state()
    data = flax.serialization.to_bytes(state)
    found = read_checkpoint(save(tmp_path / "checkpoint_8", data))
    same(found, flax.serialization.msgpack_restore(data))
    assert "kernel" in found["params_ema"]["Conv_0"]


def test_complex_numbers_of_flax(tmp_path):
    data = flax.serialization.msgpack_serialize({"w": np.arange(3), "z": 1.5 - 2j})
    same(read_checkpoint(save(tmp_path / "w", data)), {"w": np.arange(3), "z": np.array(1.5 - 2j)})


def test_flax_arrays_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", 40)
    tree = {"small": np.arange(3), "w": np.arange(35, dtype="f").reshape(5, 7)}
    same(read_checkpoint(save(tmp_path / "w", flax.serialization.msgpack_serialize(tree))), tree)


def test_onnx_initialisers_in_the_graphs_order(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    arrays = {"z": NUMBERS["kernel"], "a": np.arange(3), "half": NUMBERS["half"], "flags": NUMBERS["flags"]}
    tensors = [numpy_helper.from_array(value, name) for name, value in arrays.items()]
    kinds = (
        "FLOAT",
        "DOUBLE",
        "INT64",
        "INT32",
        "UINT8",
        "INT8",
        "UINT16",
        "BOOL",
        "UINT64",
        "FLOAT16",
        "BFLOAT16",
        "COMPLEX64",
    )
    for kind in kinds:  # the typed fields rather than raw bytes
        values = [0, 1, 1, 0] if kind in ("BOOL", "UINT64", "UINT8", "UINT16") else [0, -1, 2, 3]
        tensors.append(helper.make_tensor(f"typed {kind}", getattr(onnx.TensorProto, kind), (2, 2), values))
    tensors.append(helper.make_tensor("scalar", onnx.TensorProto.FLOAT, (), [2.5]))
    tensors.append(numpy_helper.from_array(np.zeros((0, 3), "f"), "empty"))
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", 1, [1])], [], initializer=tensors)
    (tmp_path / "w.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    found = read_checkpoint(tmp_path / "w.onnx")
    same(found, {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors})


def test_hand_made_onnx(tmp_path):
    """Without the onnx library: the same bytes that the hostile files are made from are an honest model."""
    data = onnx_model([onnx_tensor("w", (2, 2), 1, np.arange(4, dtype="f").tobytes())])
    same(read_checkpoint(save(tmp_path / "w", data)), {"w": np.arange(4, dtype="f").reshape(2, 2)})


# ------------------------------------------------------------------------------------------------------ refusals
def refusal(path: Path, data: bytes | None = None) -> str:
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(WeightFileError) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def test_files_that_are_none(tmp_path):
    assert "no such file" in refusal(tmp_path / "missing")
    assert "a folder" in refusal(tmp_path)
    assert "empty file" in refusal(tmp_path / "empty", b"")
    os.mkfifo(tmp_path / "pipe")
    assert "a pipe" in refusal(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(tmp_path):
    save(tmp_path / "w", b"x").chmod(0)
    assert "cannot be read" in refusal(tmp_path / "w")


def test_other_formats_are_named_with_what_to_do(tmp_path):
    assert "HDF5" in refusal(tmp_path / "w.h5", b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert "web page" in refusal(tmp_path / "w", b"<!DOCTYPE html><html>")
    assert "git lfs pull" in refusal(tmp_path / "w", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    assert "gzip" in refusal(tmp_path / "w", b"\x1f\x8b" + bytes(20))
    assert r"b'\x00\x01junk" in refusal(tmp_path / "w", b"\x00\x01junk" + bytes(20))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("readme.txt", "hello")
    assert "'readme.txt'" in refusal(tmp_path / "w", archive.getvalue())


def test_object_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", o=np.array([{}], object))
    assert "Python objects" in refusal(tmp_path / "w.npz")
    assert "Python objects" in refusal(tmp_path / "w.pkl", pickle.dumps({"o": np.array([{}], object)}))


def test_stylegan_pickles_are_refused_with_advice(tmp_path):
    for name in ("dnnlib.tflib.network Network", "torch_utils.persistence _reconstruct_persistent_obj"):
        text = refusal(tmp_path / "w.pkl", b"\x80\x03c" + name.replace(" ", "\n").encode() + b"\n.")
        assert "NVIDIA" in text and "convert it to a rosinality-style .pt" in text


def test_the_callers_bound(tmp_path):
    np.save(tmp_path / "w.npy", np.zeros(10_000))
    assert read_checkpoint(tmp_path / "w.npy", max_bytes=100_000).shape == (10_000,)
    with pytest.raises(WeightFileError, match="more than 70,000 bytes"):
        read_checkpoint(tmp_path / "w.npy", max_bytes=70_000)


def test_a_fault_that_no_check_covers_is_still_one_error(tmp_path, monkeypatch):
    def fail(*_):
        raise IndexError("list index out of range")

    monkeypatch.setattr(numpy_files, "read_npy", fail)
    assert "damage of an unknown kind (IndexError" in refusal(tmp_path / "w", b"\x93NUMPY")
    monkeypatch.setattr(numpy_files, "read_npy", lambda *_: bytearray(1 << 60))
    assert "do not fit into memory" in refusal(tmp_path / "w")

"""Readers of weight files: what honest files give, compared with the libraries that write them."""

import argparse
import enum
import io
import os
import pickle
import zipfile
from collections import Counter, OrderedDict, defaultdict
from datetime import date
from functools import partial
from pathlib import Path, PurePosixPath

import flax.serialization
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from smoothswap_jax.weights.readers import numpy_files
from smoothswap_jax.weights.readers.checkpoint import read_checkpoint
from smoothswap_jax.weights.readers.errors import WeightFileError
from smoothswap_jax.weights.readers.tree import Skipped, skipped
from tests.weights.weight_files import (
    OLD_NUMPY_PICKLE,
    OLD_NUMPY_VALUES,
    legacy_file,
    onnx_model,
    onnx_tensor,
    rebuild_v2,
    storage,
    zip_file,
)
from tests.weights.weight_files import pickled as p

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


def same(found, wanted):
    """Equal in structure, values and element types (up to byte order)."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict) and list(found) == list(wanted)
        for key in wanted:
            same(found[key], wanted[key])
    elif isinstance(wanted, list | tuple):
        assert isinstance(found, list) and len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other)
    elif isinstance(wanted, np.ndarray | np.generic):
        wanted = np.asarray(wanted)
        assert isinstance(found, np.ndarray) and found.shape == wanted.shape
        assert found.dtype == wanted.dtype.newbyteorder("=") and found.dtype.isnative
        assert found.tobytes() == wanted.astype(found.dtype).tobytes()
    else:
        assert type(found) is type(wanted) and found == wanted


def save(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# ------------------------------------------------------------------------------------------------- real PyTorch
def as_numpy(tree, torch):
    """What torch holds, as the reader should give it."""
    if isinstance(tree, torch.Tensor):
        tree = tree.detach().contiguous()
        if tree.dtype in (torch.bfloat16, torch.float8_e5m2):
            bits, kind = {2: (torch.int16, "bfloat16"), 1: (torch.uint8, "float8_e5m2")}[tree.element_size()]
            return tree.view(bits).numpy().view(getattr(ml_dtypes, kind))
        return tree.numpy()
    if isinstance(tree, dict):
        return {key: as_numpy(value, torch) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [as_numpy(value, torch) for value in tree]
    return str(tree) if isinstance(tree, torch.dtype | torch.device) else tree


def torch_tree(torch, untyped: bool):
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4) / 7
    network = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.PReLU())
    optimizer = torch.optim.Adam(network.parameters(), amsgrad=True)
    network(torch.ones(1, 2, 5, 5)).sum().backward()
    optimizer.step()
    tree = {
        "state_dict": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "parameter": torch.nn.Parameter(base.clone()),
        "transposed": base.permute(2, 0, 1),
        "strided": base[:, ::2, 1:3],
        "tail": base.reshape(-1)[5:],
        "expanded": torch.tensor([1.5, 2.5]).reshape(2, 1).expand(2, 3),
        "one_axis": torch.zeros(3, 1, 2).as_strided((3, 1, 2), (2, 77, 1)),
        "scalar": torch.tensor(3.25),
        "empty": torch.zeros(0, 4),
        "shape": torch.Size([2, 3]),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "numpy": {"array": np.arange(6.0).reshape(2, 3), "scalar": np.float64(2.5)},
        "plain": [1, -(2**40), 2.5, None, True, "text", ("a", 3)],
        **{
            f"of {kind}": torch.tensor([0, 1, 3, 100]).to(getattr(torch, kind))
            for kind in (
                *("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"),
                *("complex64", "complex128"),
            )
        },
    }
    if untyped:  # torch's later element types have no typed storage, and the legacy layout none of them
        tree["of uint16"] = torch.tensor([1, 65535]).to(torch.uint16)
        tree["of float8"] = torch.tensor([1.0, 2.0]).to(torch.float8_e5m2)
    return tree


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_files_of_torch(tmp_path, zipped, protocol):
    torch = pytest.importorskip("torch")
    tree = torch_tree(torch, untyped=zipped)
    torch.save(tree, tmp_path / "w.bin", _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    found = read_checkpoint(tmp_path / "w.bin")
    same(found, as_numpy(tree, torch))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_tied_tensors_of_torch_come_out_as_one(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    weight = torch.rand(4, 5)
    torch.save({"a": weight, "b": weight, "row": weight[2]}, tmp_path / "w", _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(tmp_path / "w")
    assert found["a"] is found["b"]
    same(found["row"], weight[2].numpy())


def test_a_file_of_torch_without_checksums(tmp_path):
    torch = pytest.importorskip("torch")
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.arange(5)}, tmp_path / "w")
    finally:
        torch.serialization.set_crc32_options(True)
    same(read_checkpoint(tmp_path / "w"), {"w": np.arange(5)})


def test_whole_modules_and_torchscript_are_refused_by_name(tmp_path):
    torch = pytest.importorskip("torch")
    network = torch.nn.Linear(2, 3)
    for zipped in (True, False):
        torch.save(network, tmp_path / "module.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(WeightFileError, match=r"torch\.nn\.modules\.linear\.Linear: a whole pickled module"):
            read_checkpoint(tmp_path / "module.pt")
    torch.jit.save(torch.jit.script(network), str(tmp_path / "script.pt"))
    with pytest.raises(WeightFileError, match=r"TorchScript.*state_dict"):
        read_checkpoint(tmp_path / "script.pt")


class Mode(enum.Enum):
    FFHQ = "ffhq"


def namespace() -> argparse.Namespace:
    """What a command line leaves in a training state."""
    return argparse.Namespace(path=PurePosixPath("/data"), iter=8, mode=Mode.FFHQ, sizes={4, 8}, when=date(2020, 2, 2))


def beside() -> dict[str, object]:
    """Objects that training states have beside their tensors, of classes that every Python has."""
    return {
        "args": namespace(),
        "out": PurePosixPath("/runs/3"),
        "mode": Mode.FFHQ,
        "by_mode": {Mode.FFHQ: 1, (4, 8): 2, 0.5: 3, "kept": 4},
        "seen": {1, 2},
        "counts": Counter("abc"),
        "factory": partial(int, base=2),
        "rng": np.random.RandomState(0),
        "plain": defaultdict(list, lr=[0.1]),
    }


SKIPPED = {
    "args": Skipped("argparse.Namespace"),
    "out": Skipped("pathlib.PurePosixPath"),
    "mode": Skipped(f"{__name__}.Mode"),
    "by_mode": {"kept": 4},
    "seen": Skipped("builtins.set"),
    "counts": Skipped("collections.Counter"),
    "factory": Skipped("functools.partial"),
    "rng": Skipped("numpy.random._pickle.__randomstate_ctor"),
    "plain": {"lr": [0.1]},
}


@pytest.mark.parametrize(
    "layout, protocol", [("zip", 2), ("zip", 3), ("legacy", 2), *(("alone", protocol) for protocol in range(6))]
)
def test_objects_beside_tensors_are_skipped_without_being_built(tmp_path, layout, protocol):
    """As ten public StyleGAN2 trainers save their `args`; the layouts of PyTorch, without PyTorch."""
    values = np.arange(6, dtype="f")
    if layout == "alone":
        data = pickle.dumps({"w": values, **beside()}, protocol)
    else:
        # Later protocols number what they remember, so their pieces cannot be put together.
        parts = {name: pickle.dumps(value, protocol)[2:-1] for name, value in beside().items()}
        view = {} if layout == "zip" else {"view": None}
        body = p.dict({"d": p.dict({"w": rebuild_v2(storage("FloatStorage", "k", 6, **view), 0, (6,), (1,))}), **parts})
        data = zip_file(body, {"k": values.tobytes()}) if layout == "zip" else legacy_file(body, {"k": values})
    found = read_checkpoint(save(tmp_path / "state.pt", data))
    same(found["w"] if layout == "alone" else found["d"]["w"], values)
    assert {name: found[name] for name in SKIPPED} == SKIPPED
    assert list(skipped(found)) == [value.name for value in SKIPPED.values() if isinstance(value, Skipped)]


def test_a_file_that_is_one_object_is_refused_by_its_class(tmp_path):
    with pytest.raises(WeightFileError, match=r"argparse\.Namespace: a whole pickled module or another object"):
        read_checkpoint(save(tmp_path / "w", pickle.dumps(namespace(), 2)))


def test_torch_tensors_pickled_by_themselves_are_told(tmp_path):
    body = p.dict({"w": p.call("torch.storage", "_load_from_bytes", b"C\x01x")})
    with pytest.raises(WeightFileError, match=r"pickled without torch\.save; wanted a file that torch\.save wrote"):
        read_checkpoint(save(tmp_path / "w", p.whole(body)))


def test_training_states_of_torch(tmp_path):
    torch = pytest.importorskip("torch")
    network = torch.nn.Linear(2, 3)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    tree = {"g": network.state_dict(), "g_optim": optimizer.state_dict(), "schedule": optimizer, **beside()}
    for zipped in (True, False):
        torch.save(tree, tmp_path / "w", _use_new_zipfile_serialization=zipped)
        found = read_checkpoint(tmp_path / "w")
        same(found["g"]["weight"], network.weight.detach().numpy())
        assert {name: found[name] for name in SKIPPED} == SKIPPED
        assert found["schedule"] == Skipped("torch.optim.adam.Adam")


def test_sparse_and_quantised_tensors_are_refused_by_name(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.eye(3).to_sparse()}, tmp_path / "w")
    with pytest.raises(WeightFileError, match="_rebuild_sparse_tensor"):
        read_checkpoint(tmp_path / "w")


# -------------------------------------------------------------------------------- PyTorch's layouts, made by hand
def test_hand_made_torch_files_of_both_layouts(tmp_path):
    values = np.arange(6, dtype="f")
    tensor = rebuild_v2(storage("FloatStorage", "k", 6), 1, (2, 2), (2, 1))
    body = p.dict({"w": tensor})
    same(
        read_checkpoint(save(tmp_path / "z", zip_file(body, {"k": values.tobytes()}))), {"w": values[1:5].reshape(2, 2)}
    )
    data = legacy_file(
        p.dict({"w": rebuild_v2(storage("FloatStorage", "k", 6, view=None), 1, (2, 2), (2, 1))}), {"k": values}
    )
    same(read_checkpoint(save(tmp_path / "l", data)), {"w": values[1:5].reshape(2, 2)})


def test_big_endian_torch_files(tmp_path):
    values = np.arange(6, dtype=">f4")
    body = p.dict({"w": rebuild_v2(storage("FloatStorage", "k", 6), 0, (2, 3), (1, 2))})
    found = read_checkpoint(save(tmp_path / "z", zip_file(body, {"k": values.tobytes()}, byteorder=b"big")))
    same(found, {"w": values.reshape(3, 2).T})


def test_a_view_of_a_legacy_storage(tmp_path):
    values = np.arange(8, dtype="f")
    part = storage("cuda.FloatStorage", "k", 8, view=("v", 3, 4))
    data = legacy_file(p.dict({"w": rebuild_v2(part, 1, (3,), (1,))}), {"k": values})
    same(read_checkpoint(save(tmp_path / "l", data)), {"w": values[4:7]})


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

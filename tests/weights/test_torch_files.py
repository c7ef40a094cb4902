"""Files of PyTorch in either layout: what they give is what torch reads; objects beside tensors are never built."""

import argparse
import enum
import pickle
from collections import Counter, defaultdict
from datetime import date
from functools import partial
from pathlib import PurePosixPath

import ml_dtypes
import numpy as np
import pytest

from smoothswap_jax.weights.readers.checkpoint import read_checkpoint
from smoothswap_jax.weights.readers.errors import WeightFileError
from smoothswap_jax.weights.readers.tree import Skipped, skipped
from tests.weights.weight_files import (
    legacy_file,
    rebuild_v2,
    same,
    save,
    storage,
    zip_file,
)
from tests.weights.weight_files import pickled as p


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


def made(name: str, attributes: dict[str, bytes]) -> bytes:
    """The opcodes of an object of the class m.<name> with these attributes."""
    return p.name("m", name) + b")\x81" + p.dict(attributes) + b"b"


def module(name: str, parameters=None, buffers=None, modules=None, **more: bytes) -> bytes:
    parts = {"_parameters": parameters or {}, "_buffers": buffers or {}, "_modules": modules or {}}
    return made(name, {"training": b"\x89", **{part: p.dict(found) for part, found in parts.items()}, **more})


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_a_whole_pickled_module_gives_its_tensors_by_the_names_of_its_state_dict(tmp_path, layout):
    values = np.arange(12, dtype="f")
    view = {} if layout == "zip" else {"view": None}
    tensor = lambda start, size: rebuild_v2(storage("FloatStorage", "k", 12, **view), start, (size,), (1,))
    norm = module("BatchNorm", {"weight": tensor(0, 2)}, {"running_mean": tensor(2, 2)}, eps=p.int(1))
    layers = module("Sequential", modules={"0": norm, "1": module("ReLU")})
    hooks = p.dict({"x": p.call("m", "hook", tensor(0, 2))})
    network = module("Net", {"scale": tensor(4, 3), "bias": b"N"}, {}, {"layers": layers}, _forward_hooks=hooks)
    write = lambda body: (
        zip_file(body, {"k": values.tobytes()}) if layout == "zip" else legacy_file(body, {"k": values})
    )
    wanted = {"scale": values[4:7], "layers.0.weight": values[:2], "layers.0.running_mean": values[2:4]}
    same(read_checkpoint(save(tmp_path / "whole.tar", write(network))), wanted)
    beside = read_checkpoint(save(tmp_path / "beside.tar", write(p.dict({"net": network, "epoch": p.int(3)}))))
    same(beside["net"], wanted)
    assert beside["epoch"] == 3


def test_whole_modules_of_torch_are_their_state_dict(tmp_path):
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.ReLU())
    for zipped in (True, False):
        torch.save(network, tmp_path / "module.pt", _use_new_zipfile_serialization=zipped)
        found = read_checkpoint(tmp_path / "module.pt")
        same(found, {name: value.numpy() for name, value in network.state_dict().items()})


def test_modules_without_tensors_and_those_that_hold_themselves_are_refused(tmp_path):
    with pytest.raises(WeightFileError, match=r"m\.Net: an object that needs its own code"):
        read_checkpoint(save(tmp_path / "empty", zip_file(module("Net"), {})))
    # the object is stored as value 0 before it has attributes, and is its own part
    head = p.name("m", "Net") + b")\x81q\x00"
    inside = p.dict({"_parameters": b"}", "_buffers": b"}", "_modules": p.dict({"a": b"h\x00", "b": b"h\x00"})})
    with pytest.raises(WeightFileError, match=r"inside themselves"):
        read_checkpoint(save(tmp_path / "circle", zip_file(head + inside + b"b", {})))


def test_only_what_modules_keep_their_tensors_in_is_read(tmp_path):
    """Attributes of other objects are dropped, even tensors."""
    tensor = rebuild_v2(storage("FloatStorage", "k", 2), 0, (2,), (1,))
    for attributes in ({"w": tensor}, {"_parameters": p.dict({"w": tensor})}):
        body = p.dict({"d": p.dict({"w": tensor}), "o": made("Thing", attributes)})
        found = read_checkpoint(save(tmp_path / "w", zip_file(body, {"k": bytes(8)})))
        assert found["o"] == Skipped("m.Thing")


def test_torchscript_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), str(tmp_path / "script.pt"))
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
    with pytest.raises(WeightFileError, match=r"argparse\.Namespace: an object that needs its own code"):
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

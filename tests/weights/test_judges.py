"""Imported judges against PyTorch: small copies of each published architecture, of several widths and depths."""

import re

import jax
import numpy as np
import pytest

from smoothswap_jax.cli.main import main
from smoothswap_jax.models.judges.deep3d import split_coefficients
from smoothswap_jax.models.judges.hopenet import pose_degrees
from smoothswap_jax.weights.importing import from_torch, import_network
from smoothswap_jax.weights.network_folder import load_imported
from tests.golden_files import Golden, relative_error
from tests.models.helpers import quick_jit
from tests.weights.drawn import JUDGES, images

torch = pytest.importorskip("torch")
from tests.weights import torch_references as ref  # noqa: E402  (needs torch)
from tests.weights.make_judge_numbers import numbers  # noqa: E402


def run(module, variables, x):
    with jax.default_matmul_precision("highest"):
        return jax.tree.map(np.asarray, quick_jit(module.apply)(variables, x))


CASES = {
    "resnet50 4": ("resnet50", lambda: ref.ResNet((1, 2, 1, 1), 4, 7), (64, 64), (1, 2, 1, 1)),
    "resnet50 6, no head": ("resnet50", lambda: ref.ResNet((2, 1, 1), 6), (48, 64), (2, 1, 1)),
    "vggface2 4": ("vggface2-resnet50", lambda: ref.ResNet((1, 1, 2, 1), 4, 5, True), (71, 64), (1, 1, 2, 1)),
    "senet 16": ("vggface2-senet50", lambda: ref.ResNet((1, 2), 16, None, True, True), (64, 64), (1, 2)),
    "iresnet 4": ("iresnet50", lambda: ref.IResNet((1, 2, 1, 1), 4, 9), (112, 112), (1, 2, 1, 1)),
    "iresnet 6": ("iresnet100", lambda: ref.IResNet((2, 1, 3), 6, 5, 40), (40, 40), (2, 1, 3)),
    "sphere 6": ("cosface-sphere20", lambda: ref.Sphere((2, 0, 1, 3), 6, 5), (112, 96), (2, 0, 1, 3)),
}


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_those_of_pytorch(name):
    kind, build, size, depths = CASES[name]
    theirs, x = ref.draw(build()), images(*size)
    module, variables = from_torch(kind, theirs.state_dict(), stage_sizes=depths)
    assert module.stage_sizes == depths
    error = relative_error(run(module, variables, x), ref.outputs(theirs, x))
    print(f"{error:.1e}")
    assert error < 1e-5


def test_hopenet():
    theirs, x = ref.draw(ref.Hopenet((1, 1, 1, 1), 4)), images(64, 64)
    wrapped = {f"module.{name}": value for name, value in theirs.state_dict().items()}  # as DataParallel saves it
    module, variables = from_torch("hopenet", wrapped)
    logits, wanted = run(module, variables, x), ref.outputs(theirs, x)
    assert relative_error(logits, wanted) < 1e-5
    wanted = ref.degrees(torch.from_numpy(wanted)).numpy()
    np.testing.assert_allclose(pose_degrees(logits), wanted, atol=1e-4)
    assert wanted.min() > -99 and wanted.max() < 99
    sure = np.full((1, 3, 66), -1e4, "f")
    sure[0, :, 33] = 1e4  # the bin that starts at 0 degrees
    np.testing.assert_allclose(pose_degrees(sure), np.zeros((1, 3)), atol=1e-4)


def test_deep3d():
    theirs, x = ref.draw(ref.Deep3D((1, 2, 1, 1), 4)), images(64, 64)
    state = {"net_recon": theirs.state_dict(), "opt_00": {"state": {}}, "epoch": 20}
    module, variables = from_torch("deep3d", state)
    y, wanted = run(module, variables, x), ref.outputs(theirs, x)
    assert y.shape == (2, 257)
    assert relative_error(y, wanted) < 1e-5
    parts = split_coefficients(y)
    assert [part.shape[1] for part in parts] == [80, 64, 80, 3, 27, 3]
    np.testing.assert_array_equal(parts.expression, y[:, 80:144])
    np.testing.assert_array_equal(parts.angle, y[:, 224:227])
    with pytest.raises(ValueError, match="258 coefficients"):
        split_coefficients(np.zeros((1, 258)))


@pytest.mark.parametrize("net, widths, size", [("alex", (6, 5, 7, 4, 3), (67, 90)), ("vgg", (4, 3, 6, 5, 7), (35, 50))])
def test_lpips(net, widths, size, tmp_path):
    """As torch.save writes it whole, and in the two published files through the command line."""
    theirs, both = ref.lpips(net, widths), images(*size, batch=6)
    x, y = both[:3], both[3:]
    state, wanted = theirs.state_dict(), ref.outputs(theirs, x, y)
    torch.save(state, tmp_path / "whole.pth")
    trunk = {re.sub(r"net\.slice\d", "features", name): v for name, v in state.items() if name.startswith("net.")}
    torch.save(trunk | {"classifier.6.bias": torch.zeros(5)}, tmp_path / "trunk.pth")
    torch.save({name: v for name, v in state.items() if re.match(r"lin\d", name)}, tmp_path / "lins.pth")
    for out, names in (("one", ["whole"]), ("two", ["trunk", "lins"])):
        weights = [f"--weights={tmp_path / name}.pth" for name in names]
        assert main(["import", "--kind=lpips", *weights, f"--out={tmp_path / out}"]) == 0
        module, variables, _ = load_imported(tmp_path / out)
        with jax.default_matmul_precision("highest"):
            found = np.asarray(quick_jit(module.apply)(variables, x, y))
        error = relative_error(found, wanted)
        print(f"{error:.1e}")
        assert error < 1e-5


@pytest.mark.parametrize("name", JUDGES)
def test_stored_numbers_are_pytorch_s(name):
    assert relative_error(numbers(JUDGES[name]), Golden("judges")[name]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("width", [4, 8])
def test_inception(width):
    theirs, x = ref.draw(ref.Inception(width)), images(107, 139)
    module, variables = from_torch("inception-fid", theirs.state_dict())
    features, logits = run(module, variables, x)
    wanted = ref.outputs(theirs, x)
    assert features.shape == (2, 64 * width) and logits.shape == (2, 1008)
    error = relative_error(features, wanted[:, : 64 * width])
    print(f"{error:.1e}")
    assert error < 1e-5
    assert relative_error(logits, wanted[:, 64 * width :]) < 1e-5


@pytest.mark.parametrize(
    "kind, build, depths, size",
    [
        ("vggface2-senet50", lambda: ref.ResNet((1, 1), 8, 5, True, True), (1, 1), (64, 64)),
        ("deep3d", lambda: ref.Deep3D((1, 1), 4), None, (64, 64)),
        ("iresnet100", lambda: ref.IResNet((1, 1), 4, 8, 32), (1, 1), (32, 32)),
    ],
    ids=["senet", "deep3d", "iresnet"],
)
def test_a_file_of_pytorch_through_the_command_line(kind, build, depths, size, tmp_path):
    """torch.save, `smoothswap import`, load_imported: equal outputs."""
    pytest.importorskip("smoothswap_jax.weights.readers.checkpoint")
    theirs, x = ref.draw(build()), images(*size)
    state = {f"module.{name}": value for name, value in theirs.state_dict().items()}
    wrapped = (
        {"net_recon": theirs.state_dict(), "epoch": 20} if kind == "deep3d" else {"state_dict": state, "epoch": 20}
    )
    torch.save(wrapped, tmp_path / "epoch_20.pth")
    known = ["--known", f"stage_sizes={depths}"] if depths else []
    arguments = ["import", f"--kind={kind}", f"--weights={tmp_path / 'epoch_20.pth'}", f"--out={tmp_path / 'net'}"]
    assert main([*arguments, *known]) == 0
    module, variables, _ = load_imported(tmp_path / "net")
    error = relative_error(run(module, variables, x), ref.outputs(theirs, x))
    print(f"{error:.1e}")
    assert error < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "senet50", "iresnet100", "sphere20", "hopenet", "deep3d", "inception"])
def test_full_size(name):
    build, kind, size = {
        "resnet50": (lambda: ref.ResNet((3, 4, 6, 3), 64, 1000), "resnet50", (224, 224)),
        "senet50": (lambda: ref.ResNet((3, 4, 6, 3), 64, 8631, True, True), "vggface2-senet50", (224, 224)),
        "iresnet100": (lambda: ref.IResNet((3, 13, 30, 3), 64, 512), "iresnet100", (112, 112)),
        "sphere20": (lambda: ref.Sphere((1, 2, 4, 1), 64, 512), "cosface-sphere20", (112, 96)),
        "hopenet": (lambda: ref.Hopenet((3, 4, 6, 3), 64), "hopenet", (224, 224)),
        "deep3d": (lambda: ref.Deep3D((3, 4, 6, 3), 64), "deep3d", (224, 224)),
        "inception": (lambda: ref.Inception(32), "inception-fid", (299, 299)),
    }[name]
    theirs, x = ref.draw(build()), images(*size, batch=1)
    network = import_network(kind, theirs.state_dict())
    assert network.inputs == ((1, *size, 3),)
    y = run(network.module, network.variables, x)
    if name == "inception":
        y = np.concatenate(y, axis=1)
    error = relative_error(y, ref.outputs(theirs, x))
    print(f"{name}: {error:.1e}")
    assert error < 5e-5


def test_a_wrong_flatten_or_order_of_channels_fails():
    """What the comparisons above would not forgive: rows of the last layer in HWC order, and BGR for RGB."""
    theirs, x = ref.draw(ref.Sphere((1, 1, 0, 0), 4, 9)), images(112, 96)
    state, wanted = dict(theirs.state_dict()), ref.outputs(theirs, x)
    kind, depths = "cosface-sphere20", (1, 1, 0, 0)
    good = from_torch(kind, state, stage_sizes=depths)
    assert relative_error(run(*good, x), wanted) < 1e-5
    assert relative_error(run(*good, x[..., ::-1]), wanted) > 0.05
    maps = state["fc.weight"].reshape(9, 32, 7, 6)
    swapped = state | {"fc.weight": maps.permute(0, 2, 3, 1).reshape(9, -1)}
    assert relative_error(run(*from_torch(kind, swapped, stage_sizes=depths), x), wanted) > 0.05
    turned = state | {"fc.weight": maps.transpose(2, 3).reshape(9, -1)}  # a map of 6 rows and 7 columns
    assert relative_error(run(*from_torch(kind, turned, stage_sizes=depths), x), wanted) > 0.05

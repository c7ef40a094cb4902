"""LPIPS: narrow copies against a plain numpy statement of it, whole and in two files, and what is refused."""

import hashlib
import json

import jax
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import correlate

from smoothswap_jax.cli.main import main
from smoothswap_jax.models.judges.lpips import LPIPS, TRUNKS
from smoothswap_jax.weights.importing import from_torch, import_network
from smoothswap_jax.weights.network_folder import import_file, load_imported
from smoothswap_jax.weights.preprocessing import preprocess
from smoothswap_jax.weights.stored_tensor import WeightMismatch
from tests.models.helpers import count, quick_jit
from tests.weights.drawn import drawn, images

# torchvision's `features`, each layer by its number, and lpips' slices by the numbers they end before.
LAYERS = {
    "alex": "conv11/4+2 relu pool3 conv5+2 relu pool3 conv3+1 relu conv3+1 relu conv3+1 relu",
    "vgg": (
        "conv relu conv relu pool2 conv relu conv relu pool2 conv relu conv relu conv relu pool2 "
        "conv relu conv relu conv relu pool2 conv relu conv relu conv relu"
    ),
}
ENDS = {"alex": (2, 5, 8, 10, 12), "vgg": (4, 9, 16, 23, 30)}
WIDTHS = {"alex": (6, 5, 7, 4, 3), "vgg": (4, 3, 6, 5, 7)}
KERNELS = {"conv11/4+2": (11, 4, 2), "conv5+2": (5, 1, 2), "conv3+1": (3, 1, 1), "conv": (3, 1, 1)}


def two_files(net):
    """Tensors of the trunk under torchvision's names, with a classifier, and of lpips' own file."""
    trunk, lins, channels = {"classifier.1.weight": (5, 9), "classifier.1.bias": (5,)}, {}, 3
    for number, layer in enumerate(LAYERS[net].split()):
        if layer in KERNELS:
            width = WIDTHS[net][sum(number >= end for end in ENDS[net])]
            size = KERNELS[layer][0]
            trunk |= {f"features.{number}.weight": (width, channels, size, size), f"features.{number}.bias": (width,)}
            channels = width
    for i, width in enumerate(WIDTHS[net]):
        lins[f"lin{i}.model.1.weight"] = (1, width, 1, 1)
    return drawn(trunk), {name: np.abs(value) for name, value in drawn(lins).items()}


def whole(net):
    """The same tensors as the state dict of a whole lpips.LPIPS."""
    trunk, lins = two_files(net)
    state = {
        "scaling_layer.shift": np.float32([-0.030, -0.088, -0.188]).reshape(1, 3, 1, 1),
        "scaling_layer.scale": np.float32([0.458, 0.448, 0.450]).reshape(1, 3, 1, 1),
    }
    for name, value in trunk.items():
        if name.startswith("features."):
            _, number, leaf = name.split(".")
            state[f"net.slice{1 + sum(int(number) >= end for end in ENDS[net])}.{number}.{leaf}"] = value
    return state | lins | {name.replace("lin", "lins."): value for name, value in lins.items()}


def slices(net, trunk, image):
    """The maps [h, w, c] that LPIPS compares, of one image in [-1, 1]; float64."""
    h, found = (image - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450], []
    for number, layer in enumerate(LAYERS[net].split()):
        if layer == "relu":
            h = np.maximum(h, 0)
        elif layer.startswith("pool"):
            window = int(layer[4:])
            h = sliding_window_view(h, (window, window), axis=(0, 1))[::2, ::2].max(axis=(-2, -1))
        else:
            _, stride, pad = KERNELS[layer]
            padded = np.pad(h, ((pad, pad), (pad, pad), (0, 0)))
            kernels = np.asarray(trunk[f"features.{number}.weight"], np.float64).transpose(0, 2, 3, 1)
            maps = [correlate(padded, kernel, "valid", "direct")[::stride, ::stride, 0] for kernel in kernels]
            h = np.stack(maps, axis=-1) + trunk[f"features.{number}.bias"]
        if number + 1 in ENDS[net]:
            found.append(h)
    return found


def reference(net, trunk, lins, x, y):
    """The distances, one pair of images at a time."""
    distances = []
    for pair in zip(x, y, strict=True):
        total = 0.0
        for i, (a, b) in enumerate(zip(*(slices(net, trunk, np.float64(image)) for image in pair), strict=True)):
            a, b = (h / (np.sqrt((h**2).sum(-1, keepdims=True)) + 1e-10) for h in (a, b))
            total += ((a - b) ** 2 @ lins[f"lin{i}.model.1.weight"][0, :, 0, 0]).mean()
        distances.append(total)
    return np.array(distances)


def distances(module, variables, x, y):
    with jax.default_matmul_precision("highest"):
        return np.asarray(quick_jit(module.apply)(variables, x, y))


def pairs(height, width, batch=3):
    both = images(height, width, 2 * batch)
    return both[:batch], both[batch:]


@pytest.mark.parametrize("net, size", [("alex", (67, 90)), ("alex", (31, 32)), ("vgg", (35, 50)), ("vgg", (16, 17))])
def test_distances_are_those_of_plain_numpy(net, size):
    trunk, lins = two_files(net)
    module, variables = from_torch("lpips", trunk | lins)
    assert module == LPIPS(net, WIDTHS[net])
    x, y = pairs(*size)
    found, wanted = distances(module, variables, x, y), reference(net, trunk, lins, x, y)
    assert found.shape == (3,) and found.dtype == np.float32
    error = np.abs(found / wanted - 1).max()
    print(f"{error:.1e}")
    assert error < 1e-5
    assert wanted.min() > 0.1 and np.ptp(wanted) > 0.01


@pytest.mark.parametrize("net", LAYERS)
def test_a_whole_lpips_is_the_two_files(net):
    trunk, lins = two_files(net)
    apart, state = import_network("lpips", trunk | lins), whole(net)
    for spelling in (state, {"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 5}):
        network = import_network("lpips", spelling)
        assert (network.module, network.inputs) == (apart.module, ((1, 64, 64, 3),) * 2)
        jax.tree.map(np.testing.assert_array_equal, network.variables, apart.variables)


@pytest.mark.parametrize("net", LAYERS)
def test_what_a_distance_is(net):
    """0 between equal images, symmetric, of each pair alone, and larger the more noise there is."""
    module, variables = from_torch("lpips", whole(net))
    x, y = pairs(64, 64)
    found = distances(module, variables, x, y)
    # Not quite 0: some CPUs round a convolution by its place in the batch.
    np.testing.assert_allclose(distances(module, variables, x, x), 0, atol=1e-12)
    np.testing.assert_allclose(distances(module, variables, y, x), found, rtol=1e-5)
    np.testing.assert_allclose(distances(module, variables, x[1:2], y[1:2]), found[1:2], rtol=1e-5)
    noisy = [distances(module, variables, x, x + amount * (y - x)) for amount in (0.01, 0.03, 0.1, 0.3)]
    assert (np.diff([np.zeros(3), *noisy, found], axis=0) > 0).all()


@pytest.mark.parametrize("net, parameters", [("alex", 2_469_696 + 1152), ("vgg", 14_714_688 + 1472)])
def test_the_published_size(net, parameters):
    """torchvision's counts of `features`, and a weight a channel."""
    assert count(LPIPS(net), (1, 64, 64, 3), (1, 64, 64, 3)) == parameters


def test_images_keep_their_size():
    """No resizing before it: the field compares images as they are."""
    network = import_network("lpips", whole("alex"))
    x, y = pairs(67, 90)
    fed = [np.asarray(preprocess(image, network.preprocessing)) for image in (x, y)]
    np.testing.assert_allclose(fed, [x, y], atol=1e-6)
    assert (network.preprocessing.size, network.preprocessing.crop) == (None, "whole")


@pytest.mark.parametrize("net", LAYERS)
def test_wrong_images_are_named(net):
    module, least = LPIPS(net, WIDTHS[net]), TRUNKS[net].least
    variables = from_torch("lpips", whole(net))[1]
    x = images(least, least)
    assert distances(module, variables, x, x[::-1]).min() > 0
    with pytest.raises(ValueError, match=rf"{net} needs {least} a side"):
        module.apply(variables, x[:, 1:], x[:, 1:])
    with pytest.raises(ValueError, match="pairs of one shape"):
        module.apply(variables, x, x[:1])  # would broadcast
    with pytest.raises(ValueError, match="net is 'squeeze', wanted one of"):
        module.clone(net="squeeze").apply(variables, x, x)


# ------------------------------------------------------------------------------------------------- what is refused
def test_misfits_are_named():
    state = whole("alex")
    trunk, lins = two_files("alex")
    other = two_files("vgg")[1]
    shift, twin = "scaling_layer.shift", "lins.3.model.1.weight"
    zeros = lambda *shape: np.zeros(shape, "f")
    for tensors, message in [
        (trunk, r"missing: lin0\.model\.1\.weight.*lpips' weights/v0\.1"),
        (lins, r"missing: features\.0\.weight.*torchvision"),
        (trunk | other, r"misshapen \(\d\): lin0\.model\.1\.weight: found \(1, 4, 1, 1\), wanted \(1, 6, 1, 1\)"),
        ({**trunk, **lins, "features.0.weight": zeros(6, 3, 7, 7)}, r"features\.0\.weight: kernels of 7 pixels"),
        ({**trunk, **lins, "features.4.running_mean": zeros(6)}, r"extra \(1\): features\.4\.running_mean"),
        ({**trunk, **lins, "lin5.model.1.weight": zeros(1, 3, 1, 1)}, r"extra \(1\): lin5\.model\.1\.weight"),
        (trunk | state, r"extra \(10\): features\.0\."),
        (state | {shift: state[shift] + 0.01}, rf"not the values of LPIPS v0.1 \(1\): {shift}"),
        (state | {twin: state[twin] + 1}, rf"not the values of LPIPS v0.1 \(1\): {twin}"),
        (state | {"lins.7.model.1.weight": state[twin]}, r"not the values of LPIPS v0.1 \(1\): lins\.7"),
        ({n: v for n, v in state.items() if "slice4" not in n}, r"missing \(1\): net\.slice4\.8\.weight"),
        ({n: v for n, v in state.items() if n != "net.slice2.3.bias"}, r"missing \(1\): net\.slice2\.3\.bias"),
        ({n.replace("slice5", "slice4"): v for n, v in state.items()}, r"missing \(1\): net\.slice5\.10\.weight"),
    ]:
        with pytest.raises(WeightMismatch, match=message):
            import_network("lpips", tensors)
    with pytest.raises(ValueError, match="no use for net; takes none"):
        import_network("lpips", state, net="vgg")


# ------------------------------------------------------------------------------------------------ the command line
@pytest.fixture
def files(tmp_path):
    """alexnet.npz and alex.npz, as the two published files."""
    paths = [tmp_path / name for name in ("alexnet.npz", "alex.npz")]
    for path, tensors in zip(paths, two_files("alex"), strict=True):
        np.savez(path, **tensors)
    return paths


def command(out, *weights):
    return main(["import", "--kind=lpips", *(f"--weights={path}" for path in weights), f"--out={out}"])


def test_the_command_takes_both_files(files, tmp_path, capsys):
    """In either order; config.json lists both with their hashes, and the network is loaded from the folder."""
    wanted = import_network("lpips", whole("alex"))
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    for out, order in (("net", files), ("turned", files[::-1])):
        assert command(tmp_path / out, *order) == 0
        assert capsys.readouterr().out == f"{tmp_path / out}: LPIPS\n"
        config = json.loads((tmp_path / out / "config.json").read_text())
        listed = [{"file": path.name, "sha256": hashes[path.name]} for path in order]
        assert config["source"] == {"files": listed, "known": {}}
        assert config["preprocessing"]["size"] is None and len(config["inputs"]) == 2
        module, variables, how = load_imported(tmp_path / out)
        assert (module, how) == (wanted.module, wanted.preprocessing)
        jax.tree.map(np.testing.assert_array_equal, variables, wanted.variables)


def test_one_file_is_recorded_as_ever(tmp_path):
    path = tmp_path / "lpips.npz"
    np.savez(path, **whole("vgg"))
    for weights, out in ((path, "path"), (str(path), "text"), ([path], "list")):
        import_file("lpips", weights, tmp_path / out, {})
        source = json.loads((tmp_path / out / "config.json").read_text())["source"]
        assert source == {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "known": {}}


def test_files_that_do_not_go_together_are_refused(files, tmp_path, capsys):
    np.savez(tmp_path / "old.npz", **{"lin4.model.1.weight": np.zeros((1, 3, 1, 1), "f")})
    np.save(tmp_path / "array.npy", np.zeros(3, "f"))
    for weights, message in [
        ((*files, tmp_path / "old.npz"), "old.npz: names that an earlier file has too: lin4.model.1.weight (1 in all)"),
        (
            (files[1], files[1]),
            "alex.npz: names that an earlier file has too: lin0.model.1.weight, lin1.model.1.weight, ",
        ),
        ((files[0], tmp_path / "array.npy"), "array.npy holds a ndarray, wanted names with tensors"),
        ((files[0],), "give that file too"),
    ]:
        assert command(tmp_path / "out", *weights) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
        assert not (tmp_path / "out").exists()

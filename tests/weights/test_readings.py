"""Where in a checkpoint a network is found: groups, wrappers' prefixes, several that fit, and none."""

import re

import jax
import numpy as np
import pytest

from smoothswap_jax.models.embedder import ResNet
from smoothswap_jax.models.stylegan2 import Discriminator
from smoothswap_jax.weights import registry
from smoothswap_jax.weights.importing import import_network
from smoothswap_jax.weights.inspect import State
from smoothswap_jax.weights.readings import readings
from smoothswap_jax.weights.stored_tensor import WeightMismatch
from smoothswap_jax.weights.variables import stored_tensors

SIZES = {"stage_sizes": (1, 1, 1, 1)}


def state_of(names, module, *shape) -> State:
    tensors, shapes = stored_tensors(names, module, jax.ShapeDtypeStruct(shape, np.float32))
    rng = np.random.default_rng(0)
    return {t.name: rng.normal(size=t.stored_shape(shapes[path])).astype("f") for path, t in tensors.items()}


@pytest.fixture(scope="module")
def resnet() -> State:
    return state_of("torchvision_resnet", ResNet((1, 1, 1, 1), 4, num_classes=5), 1, 64, 64, 3)


def wrapped(state, prefix):
    return {f"{prefix}{name}": value for name, value in state.items()}


def kernel(network):
    return network.variables["params"]["layer4_0"]["conv3"]["kernel"]


@pytest.mark.parametrize(
    "group, prefix",
    [
        ("", ""),
        ("", "module."),
        ("state_dict", "model.backbone."),  # Lightning
        ("model", "backbone."),
        ("model_state_dict", ""),
        ("params_ema", ""),  # BasicSR
        ("g_ema", "_orig_mod.module."),
        ("ema/generator", "model."),
        ("net_recon", ""),
        ("what nobody has thought of", "a.b.c."),
    ],
)
def test_a_network_is_found_wherever_it_is(resnet, group, prefix):
    tree = wrapped(resnet, prefix)
    for name in reversed(group.split("/") if group else []):
        tree = {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": np.ones(4, "f")}}, "lr": 0.1}, name: tree}
    network = import_network("resnet50", tree, **SIZES)
    np.testing.assert_array_equal(kernel(network), resnet["layer4.0.conv3.weight"].transpose(2, 3, 1, 0))
    said = ", ".join([f"group {group!r}"] * bool(group) + [f"prefix {prefix!r}"] * bool(prefix))
    assert network.notes == ((f"read {said}",) if said else ())


def test_what_lies_beside_a_wrapped_network_is_left_aside_and_told(resnet):
    tree = {"state_dict": wrapped(resnet, "model.backbone.") | {"loss.margin": np.ones(3, "f")}, "epoch": 3}
    network = import_network("resnet50", tree, **SIZES)
    assert network.notes == (
        "read group 'state_dict', prefix 'model.backbone.'",
        "left aside, without this prefix: loss.margin (1 in all)",
    )


def test_the_discriminator_of_a_stylegan2_training_state():
    state = state_of("rosinality_discriminator", Discriminator(8, 256, 32), 1, 8, 8, 3)
    generator = {f"convs.{i}.conv.weight": np.ones((1, 4, 4, 3, 3), "f") for i in range(4)}
    tree = {"g": generator, "d": state, "g_ema": generator, "g_optim": {"state": {}}, "ada_aug_p": 0.0}
    assert import_network("stylegan2-discriminator", tree).notes == ("read group 'd'",)


def test_of_several_networks_the_user_chooses(resnet):
    """Trained and averaged weights: never one of them silently."""
    doubled = {name: 2 * value for name, value in resnet.items()}
    tree = {"state_dict": wrapped(resnet, "module."), "state_dict_ema": doubled}
    with pytest.raises(WeightMismatch) as error:
        import_network("resnet50", tree, **SIZES)
    offers = re.findall(r"--known (group=\S+(?: prefix=\S+)?)", str(error.value))
    assert offers == ["group=state_dict_ema", "group=state_dict prefix=module."]
    for offer, factor in zip(offers, (2, 1), strict=True):
        known = dict(part.split("=") for part in offer.split())
        network = import_network("resnet50", tree, **known, **SIZES)
        np.testing.assert_array_equal(kernel(network), factor * resnet["layer4.0.conv3.weight"].transpose(2, 3, 1, 0))
    both = wrapped(resnet, "student.") | wrapped(doubled, "teacher.")
    with pytest.raises(WeightMismatch, match=r"2 networks .*prefix=student\. or .*prefix=teacher\."):
        import_network("resnet50", both, **SIZES)
    assert import_network("resnet50", both, prefix="teacher", **SIZES).notes[0] == "read prefix 'teacher.'"


def test_where_nothing_fits_the_nearest_reading_is_told(resnet):
    short = {name: value for name, value in resnet.items() if name != "layer3.0.bn2.bias"}
    tree = {"generator": {"w": np.ones((3, 3), "f")}, "model": wrapped(short, "net."), "step": 4}
    with pytest.raises(WeightMismatch) as error:
        import_network("resnet50", tree, **SIZES)
    message = str(error.value)
    assert "missing (1): layer3.0.bn2.bias (in group 'model', prefix 'net.', which comes nearest)" in message
    assert f"groups and their numbers of tensors: 'generator' (1), 'model' ({len(short)})" in message
    assert "--known group=... prefix=..." in message
    # A depth that the kind does not have, in a wrapper: not that there is no conv1.weight without one.
    with pytest.raises(WeightMismatch, match=r"found stages of \(1, 1, 1, 1\) blocks.*\(in prefix 'net\.'"):
        import_network("resnet50", wrapped(resnet, "net."))


@pytest.mark.parametrize(
    "known, message",
    [
        ({"group": "weights"}, r"it has no group 'weights'; groups and their numbers of tensors: 'model' \(\d+\)"),
        ({"prefix": "net."}, r"it has no prefix 'net\.'"),
        ({"group": 3}, "group is 3, wanted a name"),
    ],
)
def test_a_group_or_prefix_that_is_not_there(resnet, known, message):
    with pytest.raises(ValueError, match=message):
        import_network("resnet50", {"model": resnet}, **known, **SIZES)


@pytest.mark.parametrize("kind", registry.kinds())
def test_no_error_shows_a_regular_expression(kind):
    known = {"image_size": 32} if kind in ("ncsnpp", "embedder", "generator") else {}
    for state in ({"weird.weight": np.zeros((3, 3), "f")}, {"layer3.1.weight": np.zeros((3, 3), "f")}):
        with pytest.raises(WeightMismatch) as error:
            import_network(kind, {"model": state}, **known)
        assert not re.search(r"\\|\(\?|\+\)", str(error.value))


def test_a_large_training_state_has_bounded_readings(resnet):
    """Optimisers number their parameters, and hostile names have any number of dots."""
    tree = {
        "optimizer": {"state": {i: {"exp_avg": np.zeros(1)} for i in range(10_000)}},
        "model": {f"{i}." + "a." * 20_000 + "w": np.zeros(1) for i in range(20)},
    }
    found = readings(tree)
    assert len(found) <= 1000
    assert max(len(reading.prefix) for reading in found) < 20


def test_names_out_of_a_file_are_shown_without_control_characters(resnet):
    tree = {"a\x1b[2J b": resnet, "c": resnet | {"d\n" + "e" * 5000: np.ones(1, "f")}, "f": resnet}
    with pytest.raises(WeightMismatch) as error:
        import_network("resnet50", tree, **SIZES)
    assert "--known 'group=a\\x1b[2J b' or --known group=f" in str(error.value)
    with pytest.raises(WeightMismatch) as error:
        import_network("resnet50", tree, group="c", **SIZES)
    message = str(error.value)
    assert "extra (1): d\\n" + "e" * 198 + "..." in message and message.isprintable() and len(message) < 800

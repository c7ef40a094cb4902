"""Name maps: what they refuse, what they ignore, and the Flax spelling of score_sde. The torch spellings are
proven by the golden tests of the models."""

import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.models.embedder import IdentityEmbedder, ResNet
from smoothswap_jax.models.judges.iresnet import IResNet
from smoothswap_jax.models.ncsnpp import NCSNpp
from smoothswap_jax.models.stylegan2 import Discriminator
from smoothswap_jax.weights.networks.ncsnpp import ncsnpp_order
from smoothswap_jax.weights.registry import name_maps
from smoothswap_jax.weights.stored_tensor import StoredTensor, WeightMismatch
from smoothswap_jax.weights.variables import stored_tensors, to_variables
from tests.golden_files import Golden, gradient_errors, relative_error, value_and_grads

X32, X64, X256 = (np.zeros((1, s, s, 3), "f") for s in (32, 64, 256))
RESNET = ResNet(width=8, num_classes=32)
NCSNPP = NCSNpp(
    nf=16, ch_mult=(1, 2, 2), num_res_blocks=1, attn_resolutions=(16,), progressive="output_skip",
    progressive_input="input_skip", emb_scale=1.0, input_residual=False,
)  # fmt: skip


@pytest.fixture
def state():
    return Golden("resnet50w8_eval").group("sd/")


def test_flax_score_sde_checkpoint_gives_its_outputs_and_gradients():
    """The whole score model: Fourier embedding of log sigma, input to [-1, 1], our net, output over sigma."""
    golden = Golden("jax_ncsnpp32_skip")
    x, sigma, params = golden["in/x"], golden["in/sigma"], golden.group("params/")
    angle = np.log(sigma)[:, None] * params["GaussianFourierProjection_0/W"] * 2 * np.pi
    z = np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)
    inputs = [2 * x - 1, z]
    del golden.arrays["gradnorm/GaussianFourierProjection_0/W"]  # fixed, and outside of our net
    variables = to_variables("score_sde_ncsnpp_flax", params, NCSNPP, *inputs)
    scale = sigma[:, None, None, None]
    got = value_and_grads(NCSNPP, variables, inputs, golden["in/proj"] / scale)
    errors = {
        "out": relative_error(got["out"] / scale, golden["out/y"]),
        "grad_in": relative_error(2 * got["inputs"][0], golden["grad_in/x"]),
        "params": max(gradient_errors(golden, "score_sde_ncsnpp_flax", NCSNPP, inputs, got["params"]).values()),
    }
    print(errors)
    assert errors["out"] < 2e-5 and errors["grad_in"] < 1e-4 and errors["params"] < 1e-4


def test_misfits_are_listed_by_name(state):
    del state["layer2.1.conv2.weight"], state["bn1.running_var"]
    state["fc.weight"] = state["fc.weight"].T
    state["surplus.weight"] = np.zeros(3)
    with pytest.raises(WeightMismatch) as error:
        to_variables("torchvision_resnet", state, RESNET, X64)
    message = str(error.value)
    assert "torchvision_resnet does not fit ResNet" in message
    assert "missing (2): " in message and "layer2.1.conv2.weight" in message and "bn1.running_var" in message
    assert "extra (1): surplus.weight" in message
    assert "misshapen (1): fc.weight: found (256, 32), wanted (32, 256)" in message


def test_another_network_s_checkpoint_is_refused(state):
    with pytest.raises(
        WeightMismatch, match=r"missing \(145\): .*; and 133 more \| extra \(16\): layer1\.0\.conv3\.weight"
    ):
        to_variables("iresnet", state, IResNet(width=8, num_features=32), np.zeros((1, 112, 112, 3), "f"))


def test_layouts_and_element_types_are_ours(state):
    variables = to_variables("torchvision_resnet", state, RESNET, X64)
    assert variables["params"]["conv1"]["kernel"].shape == (7, 7, 3, 8)
    assert variables["batch_stats"]["layer1_0"]["downsample_bn"]["var"].dtype == np.float32


def test_values_that_are_not_finite_are_refused_by_name(state):
    """NaN, infinity, and a float64 that float32 does not hold; what is not asked for may be anything."""
    state["bn1.num_batches_tracked"] = np.array(np.nan)
    to_variables("torchvision_resnet", state, RESNET, X64)
    state["conv1.weight"] = state["conv1.weight"].copy()
    state["conv1.weight"][0, 0, 0, :3] = [np.nan, np.inf, -np.inf]
    state["fc.bias"] = state["fc.bias"].astype(np.float64) + 1e300
    with pytest.raises(WeightMismatch) as error:
        to_variables("torchvision_resnet", state, RESNET, X64)
    message = str(error.value)
    assert "NaN or infinite (2): " in message
    assert "conv1.weight: 3 of 1,176 values" in message and "fc.bias: 32 of 32 values" in message


def test_flattened_features_are_permuted():
    """torch flattens channels first: entry (c, h, w) of a [2, 3, 3] map must meet our entry (h, w, c)."""
    features = np.random.default_rng(0).normal(size=(1, 2, 3, 3))
    weight = np.random.default_rng(1).normal(size=(5, 18))
    ours = StoredTensor("fc.weight", "dense_chw", 2).convert(weight)
    np.testing.assert_allclose(features.transpose(0, 2, 3, 1).reshape(1, -1) @ ours, features.reshape(1, -1) @ weight.T)


def test_an_unknown_name_map_names_the_known_ones():
    with pytest.raises(ValueError, match=r"name map is 'vgg'.*iresnet"):
        stored_tensors("vgg", RESNET, X64)
    maps = name_maps()
    assert len(maps) == len({names.tensors for names in maps.values()}) + 1  # VGGFace2 shares torchvision's spelling


def test_order_refuses_a_strange_submodule():
    with pytest.raises(ValueError, match="mid_extra"):
        ncsnpp_order({"stem", "down0_block0", "up0_block0", "up0_block1", "mid_extra"})


def test_residual_pyramids_have_score_sde_names():
    z = jnp.zeros((1, 32))
    net = NCSNPP.clone(progressive="residual", progressive_input="residual")
    tensors, _ = stored_tensors("score_sde_ncsnpp_flax", net, X32, z)
    names = {tensor.name for tensor in tensors.values()}
    assert tensors[("params", "down1_pyramid", "conv", "kernel")].name == "Downsample_1/Conv2d_0/w"
    assert tensors[("params", "up1_pyramid", "conv", "kernel")].name == "Upsample_0/Conv2d_0/w"  # deepest first
    # Two halvings and two doublings, each with the fused convolution's own spelling.
    for i in range(2):
        assert {f"Downsample_{i}/Conv2d_0/w", f"Upsample_{i}/Conv2d_0/b"} <= names
    plain = {s.name for s in stored_tensors("score_sde_ncsnpp_flax", net.clone(fir=False), X32, z)[0].values()}
    assert "Upsample_1/Conv_0/kernel" in plain
    # stem, the deepest level's head and the last convolution; norms before the latter two.
    assert {"Conv_2/kernel", "GroupNorm_1/scale"} <= names and "Conv_3/kernel" not in names


def test_names_of_full_size_networks():
    """Known names of the published checkpoints, at the ends of their lists."""
    ncsnpp = NCSNpp(
        nf=128, ch_mult=(1, 1, 2, 2, 2, 2, 2), attn_resolutions=(16,), progressive="output_skip",
        progressive_input="input_skip",
    )  # fmt: skip
    tensors, shapes = stored_tensors("score_sde_ncsnpp", ncsnpp, X256, np.zeros((1, 512), "f"))
    wanted = {tensor.name: tensor.stored_shape(shapes[path]) for path, tensor in tensors.items()}
    assert wanted["all_modules.1.weight"] == (512, 512)
    assert wanted["all_modules.3.weight"] == (128, 3, 3, 3)
    last = max(int(name.split(".")[1]) for name in wanted)
    assert wanted[f"all_modules.{last}.weight"] == (3, 128, 3, 3)

    tensors, shapes = stored_tensors("rosinality_discriminator", Discriminator(), X256)
    wanted = {tensor.name: tensor.stored_shape(shapes[path]) for path, tensor in tensors.items()}
    assert wanted["convs.6.conv2.1.weight"] == (512, 512, 3, 3)
    assert wanted["final_linear.0.weight"] == (512, 8192)

    tensors, shapes = stored_tensors("torchvision_resnet", ResNet(num_classes=1000), X64)
    assert len(tensors) == 320 - 53  # torchvision's state dict without num_batches_tracked
    assert tensors[("params", "layer4_2", "bn3", "scale")].name == "layer4.2.bn3.weight"


def test_backbone_of_an_embedder_is_not_a_published_kind(state):
    """The head has no counterpart, so the whole embedder is refused instead of being half filled."""
    module = IdentityEmbedder(width=8, hidden=16, dim=8)
    with pytest.raises(WeightMismatch, match="missing"):
        to_variables("torchvision_resnet", state, module, X64)

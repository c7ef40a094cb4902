"""from_torch: golden checkpoints whose architecture it finds, every configuration back from its shapes, and what is
refused."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from smoothswap_jax.models.embedder import IdentityEmbedder, ResNet
from smoothswap_jax.models.ncsnpp import NCSNpp
from smoothswap_jax.models.stylegan2 import Discriminator
from smoothswap_jax.weights import registry
from smoothswap_jax.weights.importing import from_torch, import_network
from smoothswap_jax.weights.stored_tensor import WeightMismatch
from smoothswap_jax.weights.variables import stored_tensors
from tests.golden_files import Golden, relative_error
from tests.models.helpers import quick_jit
from tests.weights.drawn import JUDGES, drawn, images

BARE = {"input_residual": False, "emb_scale": 1.0}


# ----------------------------------------------------------------------------------------------- golden numbers
@pytest.mark.parametrize(
    "name, kind, known, tolerance",
    [
        ("resnet50w8_eval", "resnet50", {}, 1e-5),
        ("vggface2_resnet50w8_eval", "vggface2-resnet50", {}, 1e-5),
        ("iresnet50w8_eval", "iresnet50", {}, 2e-5),
        ("id_ncsnpp32", "ncsnpp", {"image_size": 32, **BARE}, 2e-5),
        ("stylegan2_d32", "stylegan2-discriminator", {}, 2e-5),
    ],
)
def test_golden_outputs(name, kind, known, tolerance):
    golden = Golden(name)
    module, variables = from_torch(kind, golden.group("sd/"), **known)
    with jax.default_matmul_precision("highest"):
        y = quick_jit(module.apply)(variables, *golden.inputs())
    error = relative_error(y, golden.image("out/y"))
    print(f"{error:.1e}")
    assert error < tolerance


def fourier(golden):
    """What the published score network feeds its first dense layer: Fourier features of log sigma."""
    angle = np.log(golden["in/sigma"])[:, None] * golden["params/GaussianFourierProjection_0/W"] * 2 * np.pi
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)


@pytest.mark.parametrize("norms", [(-1,), (1, 1, 1, -1)], ids=["now", "before 0.3.6"])
def test_golden_flax_score_network(norms):
    """Also as score_sde's published checkpoints are, which a Flax wrote that kept GroupNorm as [1, 1, 1, c]."""
    golden = Golden("jax_ncsnpp32_skip")
    params = {n: v.reshape(norms) if "GroupNorm_" in n else v for n, v in golden.group("params/").items()}
    state = {"params_ema": params, "optimizer": {"target": {}}, "step": 3}
    known = {"image_size": 32, "attn_resolutions": (16,), **BARE}
    module, variables = from_torch("ncsnpp", state, **known)
    assert (module.progressive, module.progressive_input) == ("output_skip", "input_skip")
    x, sigma = golden["in/x"], golden["in/sigma"]
    with jax.default_matmul_precision("highest"):
        y = quick_jit(module.apply)(variables, 2 * x - 1, fourier(golden)) / sigma[:, None, None, None]
    assert relative_error(y, golden["out/y"]) < 2e-5


@pytest.mark.parametrize("name", JUDGES)
def test_judges_outputs(name):
    """Stored outputs of PyTorch; weights are drawn from the published names, so a wrong name changes the numbers."""
    kind, names, module, size, _ = JUDGES[name]
    state = drawn({name: value.shape for name, value in state_of(names, module, (1, *size, 3)).items()})
    known = {"stage_sizes": module.stage_sizes} if name in ("senet", "sphere20") else {}
    found, variables = from_torch(kind, state, **known)
    assert found == module
    with jax.default_matmul_precision("highest"):
        y = quick_jit(module.apply)(variables, images(*size))
    error = relative_error(np.concatenate(y, axis=1) if name == "inception" else y, Golden("judges")[name])
    print(f"{error:.1e}")
    assert error < 1e-5


def test_caffe_and_torchvision_names_are_one_network():
    """Oxford's spelling of the same tensors, with its slashes and with the last layer as a 1x1 convolution."""
    state = Golden("vggface2_resnet50w8_eval").group("sd/")
    parts = {"conv1": "1x1_reduce", "conv2": "3x3", "conv3": "1x1_increase", "downsample.0": "1x1_proj"}
    parts |= {"bn1": "1x1_reduce_bn", "bn2": "3x3_bn", "bn3": "1x1_increase_bn", "downsample.1": "1x1_proj_bn"}
    caffe = {}
    for name, value in state.items():
        layer, leaf = name.rsplit(".", 1)
        if layer.startswith("layer"):
            stage, block, part = layer[5:].split(".", 2)
            layer = f"conv{int(stage) + 1}_{int(block) + 1}_{parts[part]}"
        else:
            layer = {"conv1": "conv1_7x7_s2", "bn1": "conv1_7x7_s2_bn", "fc": "classifier"}[layer]
        caffe[f"{layer}.{leaf}"] = value
    module, wanted = from_torch("vggface2-resnet50", state)
    slashes = {name.replace("_bn.", "/bn."): value for name, value in caffe.items()}
    as_conv = caffe | {"classifier.weight": caffe["classifier.weight"][:, :, None, None]}
    for spelling in (caffe, slashes, as_conv):
        again, variables = from_torch("vggface2-resnet50", spelling)
        assert again == module
        jax.tree.map(np.testing.assert_array_equal, variables, wanted)


# --------------------------------------------------------------------------------- every configuration, by shapes
def state_of(names, module, *inputs, values=False):
    """Tensors under the published names; without memory unless `values`."""
    tensors, shapes = stored_tensors(names, module, *(jax.ShapeDtypeStruct(s, np.float32) for s in inputs))
    rng = np.random.default_rng(0)
    draw = (lambda s: rng.normal(size=s).astype("f")) if values else (lambda s: np.broadcast_to(np.float32(0), s))
    return {tensor.name: draw(tensor.stored_shape(shapes[path])) for path, tensor in tensors.items()}


SMALL = NCSNpp(nf=8, ch_mult=(1, 2, 2), num_res_blocks=1, attn_resolutions=(16,))
NCSNPPS = [
    NCSNpp(
        nf=128, ch_mult=(1, 1, 2, 2, 2, 2, 2), attn_resolutions=(16,), progressive="output_skip",
        progressive_input="input_skip",
    ),  # FFHQ-256
    SMALL.clone(progressive="residual", progressive_input="residual", attn_resolutions=(32, 8)),
    SMALL.clone(progressive_input="input_skip", combine="cat", num_res_blocks=2, attn_resolutions=()),
    SMALL.clone(progressive="output_skip", ch_mult=(2, 1, 3), num_res_blocks=2, attn_resolutions=(16, 8)),
    SMALL.clone(ch_mult=(1,), attn_resolutions=(32,)),
    SMALL.clone(ch_mult=(1, 2), progressive="residual", attn_resolutions=(16,)),
]  # fmt: skip


@pytest.mark.parametrize(
    "number, spelling",
    [
        *((i, "score_sde_ncsnpp") for i in range(len(NCSNPPS))),
        *((i, spelling) for i in range(1, len(NCSNPPS)) for spelling in ("score_sde_ncsnpp_flax", "own")),
    ],
)
def test_a_generator_is_read_from_its_shapes(number, spelling):
    module = NCSNPPS[number]
    size = 256 if module.nf > 8 else 32
    state = state_of(spelling, module, (1, size, size, 3), (1, 48))
    known = {"attn_resolutions": module.attn_resolutions} if spelling.endswith("flax") else {}
    kind = "generator" if spelling == "own" else "ncsnpp"
    network = import_network(kind, state, image_size=size, **known)
    assert network.module == module
    assert network.inputs == ((1, size, size, 3), (1, 48)) and network.fresh == ()


@pytest.mark.parametrize(
    "kind, spelling", [("stylegan2-discriminator", "rosinality_discriminator"), ("discriminator", "own")]
)
@pytest.mark.parametrize(
    "module",
    [
        Discriminator(),
        Discriminator(64, 1024, 48, mbstd_features=2),
        Discriminator(16, channels={16: 8, 8: 24, 4: 16}),
        Discriminator(8, 256, 32),
    ],
    ids=range(4),
)
def test_a_discriminator_is_read_from_its_shapes(module, kind, spelling):
    shape = (1, module.resolution, module.resolution, 3)
    state = state_of(spelling, module, shape)
    found = import_network(kind, {"d": state, "g": {}} if spelling != "own" else state).module
    sizes = [module.resolution >> i for i in range(module.resolution.bit_length() - 2)]
    assert {s: found.width(s) for s in sizes} == {s: module.width(s) for s in sizes}
    assert (found.resolution, found.mbstd_features) == (module.resolution, module.mbstd_features)


def test_a_projection_discriminator_of_ours_is_read_with_its_identities():
    module = Discriminator(16, 256, 32, projection=True)
    network = import_network("discriminator", state_of("own", module, (1, 16, 16, 3), (1, 12)))
    assert network.module == module and network.inputs == ((1, 16, 16, 3), (1, 12))


def test_an_embedder_is_read_from_its_shapes():
    for module in (
        IdentityEmbedder(),
        IdentityEmbedder((1, 2), 8, "small4", "batch", 16, 8),
        IdentityEmbedder((2, 1, 1), 4, norm="group", hidden=12, dim=6),
    ):
        state = state_of("own", module, (1, 64, 64, 3))
        known = {"stem": module.stem} if module.stem != "imagenet" else {}
        assert import_network("embedder", state, image_size=64, **known).module == module


# ------------------------------------------------------------------------------------- starting a training run
def score_sde_checkpoint(**wrapped):
    """Under all_modules.0 the Fourier frequencies; 'model' and 'ema' as score_sde saves them."""
    module = SMALL.clone(progressive_input="input_skip")
    state = state_of("score_sde_ncsnpp", module, (1, 32, 32, 3), (1, 16), values=True)
    model = {"sigmas": np.ones(4), "all_modules.0.W": np.ones(8, "f")} | state
    return module, state, {"model": {f"module.{n}": v for n, v in model.items()}, "step": 7, "optimizer": {}}


def test_an_identity_embedding_replaces_the_noise_level():
    """Only the kernel that meets the embedding is new; all else is the checkpoint's, exactly."""
    module, _, checkpoint = score_sde_checkpoint()
    kept = import_network("ncsnpp", checkpoint, image_size=32)
    fresh = import_network("ncsnpp", checkpoint, image_size=32, dim=24)
    assert (kept.module, kept.fresh, kept.inputs[1]) == (module, (), (1, 16))
    assert (fresh.module, fresh.fresh, fresh.inputs[1]) == (module, ("params/embed0/kernel",), (1, 24))
    flat = {n: flatten_dict(network.variables, sep="/") for n, network in (("kept", kept), ("fresh", fresh))}
    differ = [n for n in flat["kept"] if not np.array_equal(flat["kept"][n], flat["fresh"][n])]
    assert differ == ["params/embed0/kernel"]
    kernel = flat["fresh"]["params/embed0/kernel"]
    assert kernel.shape == (24, 32)
    assert np.abs(kernel).max() <= np.sqrt(6 / (24 + 32)) and kernel.std() > 0.1  # uniform, fan_avg
    again = import_network("ncsnpp", checkpoint, image_size=32, dim=24, seed=1)
    assert np.abs(again.variables["params"]["embed0"]["kernel"] - kernel).max() > 0.1


def test_averaged_weights_are_preferred_and_ordered():
    _, state, checkpoint = score_sde_checkpoint()
    checkpoint["ema"] = {"decay": 0.999, "num_updates": 7, "shadow_params": [2 * v for v in state.values()]}
    trained = import_network("ncsnpp", checkpoint, image_size=32, ema=False)
    for known in ({}, {"ema": True}):
        averaged = import_network("ncsnpp", checkpoint, image_size=32, **known)
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, 2 * b), averaged.variables, trained.variables)
    short = checkpoint | {"ema": {"shadow_params": [*state.values()][1:]}}
    with pytest.raises(WeightMismatch, match="averaged tensors for"):
        import_network("ncsnpp", short, image_size=32)
    mixed = checkpoint | {"ema": {"shadow_params": [*state.values()][::-1]}}
    with pytest.raises(WeightMismatch, match=r"misshapen .*ema of all_modules\.1\.weight"):
        import_network("ncsnpp", mixed, image_size=32)
    with pytest.raises(WeightMismatch, match=r"missing.*ema"):
        import_network("ncsnpp", checkpoint["model"], image_size=32, ema=True)


def test_flax_checkpoints_hold_averaged_and_trained_weights():
    state = state_of("score_sde_ncsnpp_flax", SMALL, (1, 32, 32, 3), (1, 16), values=True)
    nested = {}
    for name, value in state.items():  # as msgpack gives them
        *parents, leaf = name.split("/")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    doubled = jax.tree.map(lambda v: 2 * v, nested)
    checkpoint = {"step": 1, "optimizer": {"state": {"step": 1}, "target": nested}, "params_ema": doubled}
    known = {"image_size": 32, "attn_resolutions": (16,)}
    averaged = import_network("ncsnpp", checkpoint, **known)
    trained = import_network("ncsnpp", checkpoint, ema=False, **known)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, 2 * b), averaged.variables, trained.variables)
    fresh = import_network("ncsnpp", checkpoint, dim=24, **known)
    assert fresh.fresh == ("params/embed0/kernel",) and fresh.inputs[1] == (1, 24)


def test_another_blur_is_refused():
    golden = Golden("stylegan2_d32").group("sd/")
    name = next(name for name in golden if name.endswith(".0.kernel"))
    golden[name] = np.full((4, 4), 1 / 16, "f")
    with pytest.raises(WeightMismatch, match="blur"):
        from_torch("stylegan2-discriminator", golden)


# ------------------------------------------------------------------------------------------------------- refusals
@pytest.fixture
def resnet():
    module = ResNet((1, 1, 1, 1), 4, num_classes=5)
    return state_of("torchvision_resnet", module, (1, 64, 64, 3), values=True)


def test_misfits_are_listed(resnet):
    del resnet["bn1.running_var"], resnet["layer1.0.conv2.weight"]
    resnet["layer2.0.bn1.weight"] = np.zeros(9, "f")
    resnet["more.weight"] = np.zeros(3, "f")
    resnet["bn1.bias"] = np.zeros(4, "i")
    with pytest.raises(WeightMismatch) as error:
        from_torch("resnet50", resnet, stage_sizes=(1, 1, 1, 1))
    message = str(error.value)
    assert "missing (2): layer1.0.conv2.weight; bn1.running_var" in message or (
        "missing (2): bn1.running_var; layer1.0.conv2.weight" in message
    )
    assert "extra (1): more.weight" in message
    assert "misshapen (1): layer2.0.bn1.weight: found (9,), wanted (8,)" in message
    assert "not floating-point (1): bn1.bias: int32" in message


@pytest.mark.parametrize("kind", registry.kinds())
def test_every_kind_refuses_what_it_does_not_know(kind):
    known = {"image_size": 32} if kind in ("ncsnpp", "embedder", "generator") else {}
    for state in ({}, {"weird.weight": np.zeros((3, 3), "f")}, {"epoch": 1}, {"part": {"a": np.zeros(1)}}, [1]):
        with pytest.raises(WeightMismatch, match=rf"not a checkpoint of kind {kind}: ."):
            from_torch(kind, state, **known)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"layer9.0.conv1.weight": np.zeros((4, 4, 1, 1), "f")}, "9.0 without the numbers before"),
        ({"layer1.99999999.conv1.weight": np.zeros((4, 4, 1, 1), "f")}, "1.99999999"),
        ({"conv1.weight": np.zeros((0, 3, 7, 7), "f")}, r"misshapen \(1\): conv1.weight"),
        ({"conv1.weight": np.zeros(4, "f")}, r"misshapen \(1\): conv1.weight: found \(4,\)"),
        ({"layer5.0.conv1.weight": np.zeros((4, 4, 1, 1), "f")}, r"stages of \(1, 1, 1, 1, 1\) blocks"),
    ],
)
def test_names_and_shapes_that_tell_no_network(resnet, change, message):
    with pytest.raises(WeightMismatch, match=message):
        from_torch("resnet50", resnet | change, stage_sizes=(1, 1, 1, 1))


def test_shapes_that_no_layer_can_have():
    flax = state_of("score_sde_ncsnpp_flax", SMALL, (1, 32, 32, 3), (1, 16))
    sphere = state_of("sphereface", JUDGES["sphere20"].module, (1, 112, 96, 3))
    quantised = {f"w_{part}": np.ones((1, 1), "f") for part in ("quantized", "scales", "zero_point", "shape")}
    flat = {"ResnetBlockBigGANpp_1/Conv_0/kernel": np.zeros(3, "f")}
    for kind, state, known in [
        ("ncsnpp", flax | flat, {"image_size": 32, "attn_resolutions": (16,)}),
        ("cosface-sphere20", sphere | {"fc.weight": np.zeros((9, 1), "f")}, {}),
        ("sface", quantised | {"scalar_op1": np.ones(1, "f")}, {}),
    ]:
        with pytest.raises(WeightMismatch, match=f"not a checkpoint of kind {kind}"):
            from_torch(kind, state, **known)


def test_the_depth_in_a_kind_s_name_holds(resnet):
    with pytest.raises(WeightMismatch, match=r"found stages of \(1, 1, 1, 1\) blocks, wanted \(3, 4, 6, 3\)"):
        from_torch("resnet50", resnet)


@pytest.mark.parametrize(
    "kind, known, message",
    [
        ("resnet51", {}, "kind is 'resnet51', wanted one of resnet50, vggface2-resnet50"),
        ("resnet50", {"image_size": 64, "stage_sizes": (1, 1, 1, 1)}, "no use for image_size; takes stage_sizes"),
        ("resnet50", {"stage_sizes": 4}, "stage_sizes is 4, wanted numbers"),
        ("ncsnpp", {}, "names and shapes do not show image_size"),
        ("ncsnpp", {"image_size": "large"}, "image_size is 'large', wanted a whole number"),
        ("generator", {"image_size": True}, "image_size is True"),
        ("ncsnpp", {"image_size": 32, "ema": 1}, "ema is 1, wanted True or False"),
    ],
)
def test_keywords_are_checked(resnet, kind, known, message):
    with pytest.raises(ValueError, match=message):
        from_torch(kind, resnet, **known)


def test_score_networks_of_other_makes_are_refused():
    _, state, _ = score_sde_checkpoint()
    # Without Fourier features (positional embedding) all modules are one earlier.
    number = lambda name: int(name.split(".")[1])
    positional = {n.replace(f".{number(n)}.", f".{number(n) - 1}.", 1): v for n, v in state.items()}
    for strange in (positional, {n: v for n, v in state.items() if number(n) != 3}):
        with pytest.raises(WeightMismatch, match=r"all_modules\.1, \.2 and \.3"):
            from_torch("ncsnpp", strange, image_size=32)
    lost = {n: v for n, v in state.items() if not n.startswith("all_modules.4.")}
    with pytest.raises(WeightMismatch, match=r"the residual blocks are b*r[rb]* .* not those of NCSN"):
        from_torch("ncsnpp", lost, image_size=32)

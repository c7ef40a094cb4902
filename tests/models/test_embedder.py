"""Residual networks against torchvision's, VGGFace2's and insightface's numbers; the identity embedder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from smoothswap_jax.models.embedder import IdentityEmbedder, ResNet, max_pool
from smoothswap_jax.models.judges.iresnet import IResNet
from smoothswap_jax.weights.variables import stored_tensors, to_variables
from tests.golden_files import Golden, check_module, gradient_errors, nhwc, relative_error, value_and_grads
from tests.models.helpers import count, quick_jit, random_variables

RESNET = ResNet(width=8, num_classes=32)
VGGFACE2 = RESNET.clone(stride_on_first=True, ceil_mode=True)
TINY = IdentityEmbedder((1, 1), width=8, stem="small", hidden=16, dim=8)


def assert_stats(got, golden, names):
    """Activations by [mean, std, absmax]; the std of torch is the unbiased one."""
    for theirs, ours in names.items():
        h = np.asarray(got["intermediates"][ours]["__call__"][0])
        wanted = golden[f"actstat/{theirs}"]
        np.testing.assert_allclose([h.mean(), h.std(), np.abs(h).max()], wanted, rtol=2e-3, atol=1e-4 * wanted[2])


LAYERS = {"bn1": "bn1", **{f"layer{i + 1}": f"layer{i + 1}_{n - 1}" for i, n in enumerate((3, 4, 6, 3))}}


def test_torchvision_inference():
    golden = Golden("resnet50w8_eval")
    tolerance = {"out": 1e-5, "inputs": 5e-5, "params": 5e-5}
    got = check_module(golden, "torchvision_resnet", RESNET, tolerance)
    for theirs, ours in LAYERS.items():
        h = got["intermediates"][ours]["__call__"][0]
        assert relative_error(h, nhwc(golden[f"act/{theirs}"])) < 1e-5, theirs


@pytest.mark.parametrize("dtype, tolerance", [pytest.param("float32", 5e-4, marks=pytest.mark.slow), ("float64", 1e-6)])
def test_torchvision_training_and_running_statistics(dtype, tolerance):
    """Gradients are compared in float64 only: with 16 numbers a channel in the last stage, the rounding of
    float32 pushes a few ReLU inputs across zero, and each crossing moves the gradients by percents."""
    golden, x64 = Golden("resnet50w8_train"), dtype == "float64"
    x, proj = golden.image("in/x").astype(dtype), golden["in/proj"].astype(dtype)
    variables = to_variables("torchvision_resnet", Golden("resnet50w8_eval").group("sd/"), RESNET, x)
    variables = jax.tree.map(lambda a: a.astype(dtype), variables)
    with jax.enable_x64(x64):
        got = value_and_grads(RESNET.clone(dtype=dtype), variables, [x], proj, train=True)
    suffix = "64" if x64 else ""
    assert relative_error(got["out"], golden[f"out{suffix}/y"]) < tolerance
    if x64:
        assert relative_error(got["inputs"][0], golden.image("grad_in64/x")) < 1e-6
        # These are norms of the float32 run, whose own error is 1.1e-4.
        errors = gradient_errors(golden, "torchvision_resnet", RESNET, [x], got["params"])
        assert max(errors.values()) < 2e-4, errors
    sources, _ = stored_tensors("torchvision_resnet", RESNET, x)
    after = flatten_dict({"batch_stats": got["batch_stats"]})
    assert len(after) == sum(not k.endswith("tracked") for k in golden.group("after/"))
    for path, value in after.items():
        assert relative_error(value, golden[f"after/{sources[path].name}"]) < 1e-4, path


def test_vggface2_inference():
    golden = Golden("vggface2_resnet50w8_eval")
    tolerance = {"out": 1e-5, "inputs": 5e-5, "params": 5e-5}
    got = check_module(golden, "vggface2_resnet", VGGFACE2, tolerance)
    assert_stats(got, golden, LAYERS)


def test_iresnet_inference():
    golden, module = Golden("iresnet50w8_eval"), IResNet(width=8, num_features=32)
    got = check_module(golden, "iresnet", module, {"out": 2e-5, "inputs": 1e-4, "params": 1e-4})
    names = {
        "conv1": "conv1",
        "bn1": "bn1",
        "prelu": "prelu",
        "bn2": "bn2",
        "fc": "fc",
        "features": "features",
    }
    names |= {f"layer{i + 1}": f"layer{i + 1}_{n - 1}" for i, n in enumerate((3, 4, 14, 3))}
    assert_stats(got, golden, names)


def test_max_pool_sizes():
    x = np.arange(2 * 8 * 7).reshape(2, 8, 7, 1).astype("f")
    assert max_pool(x).shape == (2, 4, 4, 1)
    y = max_pool(x, ceil_mode=True)
    assert y.shape == (2, 4, 3, 1)
    assert y[0, -1, -1, 0] == x[0, 7, 6, 0]  # the last window hangs over the bottom edge


# --------------------------------------------------------------------------------------------------- embedder
def test_embedder_size():
    assert count(IdentityEmbedder(), (2, 256, 256, 3)) == 26_134_080


@pytest.fixture(scope="module")
def faces():
    return np.random.default_rng(0).uniform(-1, 1, (6, 32, 32, 3)).astype("f")


@pytest.mark.parametrize(
    "norm, stem", [("batch", "imagenet"), ("group", "small"), ("batch", "small2"), ("group", "small4")]
)
def test_embeddings_are_unit_vectors(faces, norm, stem):
    net = TINY.clone(norm=norm, stem=stem)
    variables = random_variables(net, faces)
    z = quick_jit(net.apply)(variables, faces)
    assert z.shape == (6, 8) and z.dtype == jnp.float32
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5)
    assert ("batch_stats" in variables) == (norm == "batch")


def test_initialisation_spreads_the_embeddings(faces):
    """In training mode a fresh embedder tells inputs apart: batch norm sees to that."""
    z, variables = quick_jit(lambda x: TINY.init_with_output(jax.random.key(1), x, True))(faces)
    assert np.abs(z @ z.T - np.eye(len(z))).max() < 0.99
    assert all(np.all(m == 0) for p, m in flatten_dict(variables["batch_stats"]).items() if p[-1] == "mean")


def test_training_uses_the_batch_and_inference_does_not(faces):
    variables = random_variables(TINY, faces)
    apply = quick_jit(lambda x, train: TINY.apply(variables, x, train, mutable=["batch_stats"]), static_argnums=1)
    z, changed = apply(faces, True)
    alone, _ = apply(faces[:2], True)
    assert np.abs(z[:2] - alone).max() > 1e-3
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), changed["batch_stats"], variables["batch_stats"])
    assert min(jax.tree.leaves(moved)) > 0
    frozen, unchanged = apply(faces, False)
    np.testing.assert_allclose(frozen[:2], apply(faces[:2], False)[0], atol=1e-5)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, unchanged["batch_stats"], variables["batch_stats"]))


def test_group_norm_embedder_ignores_the_rest_of_the_batch(faces):
    net = TINY.clone(norm="group")
    variables = random_variables(net, faces)
    apply = quick_jit(lambda x: net.apply(variables, x, True))
    np.testing.assert_allclose(apply(faces)[:2], apply(faces[:2]), atol=1e-5)


def test_gradient_reaches_the_image_even_of_a_dead_embedding(faces):
    variables = random_variables(TINY, faces)
    silence = {"norm1": jax.tree.map(jnp.zeros_like, variables["params"]["norm1"])}
    dead = {**variables, "params": variables["params"] | silence}
    grad = quick_jit(jax.grad(lambda x, v: TINY.apply(v, x)[:, 0].sum()))
    assert np.isfinite(grad(faces, dead)).all()
    assert np.abs(grad(faces, variables)).max() > 0


def test_bfloat16_embeddings_stay_close(faces):
    variables = random_variables(TINY, faces)
    z = quick_jit(TINY.apply)(variables, faces)
    half = quick_jit(TINY.clone(dtype=jnp.bfloat16).apply)(variables, faces)
    assert half.dtype == jnp.float32
    assert 0 < np.abs(half - z).max() < 0.1


def test_bad_options_are_named(faces):
    with pytest.raises(ValueError, match="stem is 'tiny'"):
        TINY.clone(stem="tiny").init(jax.random.key(0), faces)
    with pytest.raises(ValueError, match="norm is 'layer'"):
        TINY.clone(norm="layer").init(jax.random.key(0), faces)

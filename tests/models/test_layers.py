"""FIR resampling, minibatch-stddev and equalised-lr layers against the reference; norms by definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from smoothswap_jax.models import layers
from smoothswap_jax.models.stylegan2 import DiscriminatorBlock
from smoothswap_jax.weights.variables import to_variables
from tests.golden_files import Golden, relative_error

KERNELS = {"1331": (1, 3, 3, 1), "1234": (1, 2, 3, 4), "121": (1, 2, 1), "box": None}


@pytest.fixture(scope="module")
def fir():
    return Golden("fir_ops")


def assert_close(ours, golden, key, tolerance=1e-6):
    assert relative_error(ours, golden.image(f"out/{key}")) < tolerance, key


@pytest.mark.parametrize("name", KERNELS)
def test_fir_resampling_matches_score_sde(fir, name):
    x, k = fir.image("in/x"), KERNELS[name]
    assert_close(layers.upsample_2d(x, k), fir, f"upsample_2d_{name}")
    assert_close(layers.downsample_2d(x, k), fir, f"downsample_2d_{name}")
    for size in ("w1", "w3"):
        w = fir[f"in/{size}"].transpose(2, 3, 1, 0)
        assert_close(layers.conv_downsample_2d(x, w, k), fir, f"conv_downsample_2d_{size}_{name}")


def test_gain_and_naive_resampling(fir):
    x = fir.image("in/x")
    assert_close(layers.upsample_2d(x, (1, 3, 3, 1), gain=3), fir, "upsample_2d_1331_gain3")
    assert_close(layers.downsample_2d(x, (1, 3, 3, 1), gain=3), fir, "downsample_2d_1331_gain3")
    assert_close(layers.naive_upsample_2d(x), fir, "naive_upsample_2d")
    assert_close(layers.naive_downsample_2d(x), fir, "naive_downsample_2d")


@pytest.mark.parametrize(
    "key, up, down, pad",
    [
        ("u1d1p21", 1, 1, (2, 1)),
        ("u2d1p21", 2, 1, (2, 1)),
        ("u1d2p11", 1, 2, (1, 1)),
        ("u2d2pm13", 2, 2, (-1, 3)),
        ("u3d2p32", 3, 2, (3, 2)),
    ],
)
def test_general_upfirdn2d_with_a_2d_kernel(fir, key, up, down, pad):
    assert_close(layers.upfirdn2d(fir.image("in/x"), fir["in/k2d"], up, down, pad), fir, f"upfirdn2d_{key}")


def test_filter2d_of_an_asymmetric_kernel(fir):
    k = np.array([1.0, 2.0, 3.0, 4.0]) / 10
    assert_close(layers.upfirdn2d(fir.image("in/x"), k, pad=(2, 1)), fir, "ada_filter2d_1234")


def test_1d_and_2d_kernels_agree(fir):
    x, k = fir.image("in/x"), np.array([1.0, 2.0, 3.0])
    one = layers.upfirdn2d(x, k, 3, 2, (2, 3))
    two = layers.upfirdn2d(x, np.outer(k, k), 3, 2, (2, 3))
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name, function", [("up_fir", layers.upsample_2d), ("down_fir", layers.downsample_2d)])
def test_fir_gradients(name, function):
    golden = Golden(name)
    y, vjp = jax.vjp(lambda x: function(x, (1, 3, 3, 1)), golden.image("in/x"))
    assert relative_error(y, golden.image("out/y")) < 1e-6
    assert relative_error(vjp(golden.image("in/proj"))[0], golden.image("grad_in/x")) < 1e-6


@pytest.mark.parametrize("k", [(1, 3, 3, 1), (1, 2, 3, 4), (1, 2, 1)])
def test_upsample_conv_is_a_transposed_convolution_then_fir(k):
    """The definition, written with a dilated convolution, as StyleGAN2's `upsample_conv_2d`."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 6, 5, 3)).astype("f"), rng.normal(size=(3, 3, 3, 4)).astype("f")
    p = (len(k) - 2) - 2
    y = lax.conv_general_dilated(
        x, w, (1, 1), [(2, 2)] * 2, lhs_dilation=(2, 2), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    taps = np.array(k) / sum(k) * 2
    wanted = layers.upfirdn2d(y, taps, pad=((p + 1) // 2 + 1, p // 2 + 1))
    ours = layers.upsample_conv_2d(x, w, k)
    assert ours.shape == (2, 12, 10, 4)
    assert relative_error(ours, np.asarray(wanted)) < 2e-6


def test_upfirdn2d_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match=r"2 samples .* are shorter than 4 taps"):
        layers.upfirdn2d(jnp.ones((1, 2, 2, 1)), (1, 3, 3, 1))
    with pytest.raises(ValueError, match="3 axes"):
        layers.upfirdn2d(jnp.ones((1, 8, 8, 1)), np.ones((2, 2, 2)))


# -------------------------------------------------------------------------------------------------- StyleGAN2
@pytest.mark.parametrize("key, group, features", [
    ("b8_g4_f1", 4, 1), ("b12_g4_f1", 4, 1), ("b8_g4_f2", 4, 2), ("b2_g4_f1", 4, 1), ("b6_gNone_f1", None, 1),
])  # fmt: skip
def test_minibatch_stddev(key, group, features):
    golden = Golden("mbstd")
    y = layers.minibatch_stddev(golden.image(f"in/{key}"), group, features)
    assert_close(y, golden, key, 1e-5)


def test_minibatch_stddev_names_the_batch_that_does_not_divide():
    with pytest.raises(ValueError, match="batch 6 is not divisible by its group 4"):
        layers.minibatch_stddev(jnp.ones((6, 4, 4, 2)))
    with pytest.raises(ValueError, match="5 channels"):
        layers.minibatch_stddev(jnp.ones((4, 4, 4, 5)), num_features=2)


def test_equalised_dense():
    golden = Golden("stylegan2_layers")
    for key, module in {
        "lrmul001_lrelu": layers.EqualDense(7, lr_mul=0.01),
        "plain_biasinit1": layers.EqualDense(7, bias_init=1.0),
    }.items():
        params = {"kernel": golden[f"sd/{key}.weight"].T, "bias": golden[f"sd/{key}.bias"]}
        y = module.apply({"params": params}, golden[f"in/{key}"])
        y = layers.scaled_leaky_relu(y) if key.endswith("lrelu") else y
        assert relative_error(y, golden[f"out/{key}"]) < 1e-5, key


def test_equalised_initialisation():
    x = jnp.zeros((1, 400))
    p = layers.EqualDense(300, lr_mul=0.01, bias_init=1.0).init(jax.random.key(0), x)["params"]
    assert np.std(p["kernel"]) == pytest.approx(100, rel=0.02) and np.all(p["bias"] == 1)
    wide = layers.EqualDense(300, lr_mul=0.01, gain=2.0).apply(
        {"params": p}, jax.random.normal(jax.random.key(1), (64, 400))
    )
    assert np.std(wide) == pytest.approx(2.0, rel=0.05)


def test_equalised_convolutions():
    golden = Golden("stylegan2_layers")
    for key, module, names in [
        ("convlayer_3", layers.EqualConv(5, 3), ("0.weight", "1.bias")),
        ("convlayer_3_down", layers.EqualConv(5, 3, down=True), ("1.weight", "2.bias")),
        ("convlayer_1_down_lin", layers.EqualConv(5, 1, down=True, use_bias=False), ("1.weight",)),
    ]:
        state = dict(zip(("kernel", "bias"), (golden[f"sd/{key}.{n}"] for n in names), strict=False))
        state["kernel"] = state["kernel"].transpose(2, 3, 1, 0)
        y = module.apply({"params": state}, golden.image(f"in/{key}"))
        y = y if key.endswith("lin") else layers.scaled_leaky_relu(y)
        assert relative_error(y, golden.image(f"out/{key}")) < 1e-5, key


def test_discriminator_block():
    golden = Golden("stylegan2_layers")
    x, module = golden.image("in/resblock"), DiscriminatorBlock(5)
    variables = to_variables("rosinality_block", golden.group("sd/resblock."), module, x)
    assert relative_error(module.apply(variables, x), golden.image("out/resblock")) < 1e-5


# ------------------------------------------------------------------------------------------------------ norms
def test_group_norm_rule_and_large_means():
    """16 channels make 4 groups; a mean of 1000 must not eat the variance."""
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 16)).astype("f") + 1000
    module = layers.GroupNorm()
    y = module.apply(module.init(jax.random.key(0), x), x)
    g = x.astype("d").reshape(2, 25, 4, 4)
    wanted = (g - g.mean((1, 3), keepdims=True)) / g.std((1, 3), keepdims=True)
    np.testing.assert_allclose(y, wanted.reshape(x.shape), atol=1e-3)
    assert module.apply(module.init(jax.random.key(0), x), x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_batch_norm_keeps_the_unbiased_variance():
    x = np.random.default_rng(0).normal(2, 3, size=(6, 4)).astype("f")
    module = layers.BatchNorm()
    variables = module.init(jax.random.key(0), x, True)
    assert np.all(variables["batch_stats"]["mean"] == 0)  # initialising is not a training step
    y, new = module.apply(variables, x, True, mutable=["batch_stats"])
    np.testing.assert_allclose(y, (x - x.mean(0)) / x.std(0), atol=1e-5)
    np.testing.assert_allclose(new["batch_stats"]["mean"], 0.1 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(new["batch_stats"]["var"], 0.9 + 0.1 * x.var(0, ddof=1), rtol=1e-5)


def test_l2_normalize_is_safe_at_zero():
    x = jnp.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(layers.l2_normalize(x), [[0.6, 0.8], [0, 0]], atol=1e-6)
    grad = jax.grad(lambda x: layers.l2_normalize(x)[:, 0].sum())(x)
    assert np.isfinite(grad).all()


def test_default_init_is_fan_avg_uniform():
    w = layers.default_init()(jax.random.key(0), (3, 3, 40, 80))
    limit = np.sqrt(3 / (9 * (40 + 80) / 2))
    assert np.abs(w).max() <= limit and np.abs(w).max() > 0.99 * limit
    assert 0 < np.abs(layers.default_init(0)(jax.random.key(0), (40, 80))).max() < 1e-5

"""The discriminator against rosinality's numbers, first and second order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.models.stylegan2 import Discriminator
from smoothswap_jax.weights.variables import to_variables
from tests.golden_files import Golden, check_module, gradient_errors, nhwc, relative_error
from tests.models.helpers import count, quick_jit

KIND = "rosinality_discriminator"
NET = Discriminator(32, channel_base=512, channel_max=32)


@pytest.fixture(scope="module")
def golden():
    return Golden("stylegan2_d32")


@pytest.fixture(scope="module")
def variables(golden):
    return to_variables(KIND, golden.group("sd/"), NET, golden.image("in/x"))


def test_logits_gradients_and_activations(golden):
    got = check_module(golden, KIND, NET, {"out": 2e-5, "inputs": 2e-5, "params": 2e-5})
    blocks = {f"convs.{i}": f"block{64 >> i}" for i in (1, 2, 3)}
    for theirs, ours in blocks.items():
        h = got["intermediates"][ours]["__call__"][0]
        assert relative_error(h, nhwc(golden[f"act/{theirs}"])) < 2e-5, theirs


def test_r1_and_its_gradients(golden, variables):
    """Here `grad_x` is the first-order gradient whose square is penalised."""
    x = golden.image("in/x")

    def r1(params):
        grad = jax.grad(lambda x: NET.apply({"params": params}, x).sum())(x)
        return jnp.sum(grad**2, axis=(1, 2, 3)).mean(), grad

    with jax.default_matmul_precision("highest"):
        (value, grad), grads = quick_jit(jax.value_and_grad(r1, has_aux=True))(variables["params"])
    assert relative_error(grad, golden.image("r1/grad_x")) < 2e-5
    assert value == pytest.approx(float(golden["r1/value"][0]), rel=1e-5)
    errors = gradient_errors(golden, KIND, NET, [x], grads, "r1/")
    assert max(errors.values()) < 2e-4, errors


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 12])
def test_every_batch_size_that_groups(variables, batch):
    golden = Golden("stylegan2_d32_batches")
    y = quick_jit(NET.apply)(variables, golden.image(f"in/x{batch}"))
    assert relative_error(y, golden[f"out/y{batch}"]) < 2e-5


@pytest.mark.parametrize(
    "size, shape, message",
    [
        (32, (6, 32, 32, 3), "batch 6 is not divisible by its group 4"),
        (32, (4, 16, 16, 3), r"images are \(16, 16\), resolution is 32"),
        (48, (4, 48, 48, 3), "48 is not a power of two"),
    ],
)
def test_wrong_batch_and_size_are_named(size, shape, message):
    with pytest.raises(ValueError, match=message):
        count(NET.clone(resolution=size), shape)


def test_channel_rule_and_size_at_256():
    net = Discriminator()
    assert [net.width(2**i) for i in range(2, 9)] == [512, 512, 512, 512, 512, 256, 128]
    assert count(NET.clone(channels={8: 24}), (4, 32, 32, 3)) < count(NET, (4, 32, 32, 3)) == 72_561
    assert count(net, (4, 256, 256, 3)) == 28_864_129


@pytest.mark.parametrize("remat", ["nothing_saveable", "dots_saveable", True])  # True is of older checkpoints
def test_remat_changes_nothing(remat, golden, variables):
    x = golden.image("in/x")
    grad = quick_jit(jax.grad(lambda x: (NET.clone(remat=remat).apply(variables, x) * golden["in/proj"]).sum()))(x)
    assert relative_error(grad, golden.image("grad_in/x")) < 2e-5


def test_a_projection_adds_how_well_image_and_identity_fit():
    """Miyato and Koyama 2018, equation 3: the logit is linear in what the identity wants, on top of the plain one."""
    net, rng = NET.clone(projection=True), np.random.default_rng(0)
    x = rng.uniform(-1, 1, (4, 32, 32, 3)).astype("f")
    z = rng.normal(size=(4, 6)).astype("f") / np.sqrt(6)
    logits, variables = quick_jit(net.init_with_output)(jax.random.key(0), x, z)
    params = variables["params"]
    plain = {name: value for name, value in params.items() if name != "projection"}
    assert params["projection"]["kernel"].shape == (6, 32) and np.abs(logits).max() < 10
    apply = quick_jit(lambda params, z: net.apply({"params": params}, x, z))
    none = quick_jit(NET.apply)({"params": plain}, x)
    np.testing.assert_allclose(apply(params, jnp.zeros_like(z)), none, atol=1e-5)  # its bias starts at zero
    np.testing.assert_allclose(apply(params, 2 * z) - none, 2 * (logits - none), atol=1e-4)
    assert np.abs(logits - none).min() > 1e-4
    leaves = {"first": z[:, :2], "rest": z[:, 2:].reshape(4, 2, 2)}
    np.testing.assert_allclose(apply(params, leaves), logits, atol=1e-5)
    with pytest.raises(ValueError, match="z is None, wanted an identity, as projection is on"):
        net.apply(variables, x)


def test_bfloat16(golden, variables):
    x, wanted = golden.image("in/x"), golden["out/y"]
    y = quick_jit(NET.clone(dtype=jnp.bfloat16).apply)(variables, x)
    assert y.dtype == jnp.float32 and 1e-5 < relative_error(y, wanted) < 0.1


def test_logits_start_small():
    """Equalised lr keeps activations near unit variance from the first step."""
    x = np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 3)).astype("f")
    y, _ = quick_jit(NET.init_with_output)(jax.random.key(0), x)
    assert y.shape == (4, 1) and np.abs(y).max() < 10

"""The bench of training steps returns every number it promises and counts operations correctly. Speed is not tested."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.bench import steps as bench
from smoothswap_jax.bench.flops import count_flops
from smoothswap_jax.cli.main import main
from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.models.layers import REMAT
from smoothswap_jax.models.stylegan2 import Discriminator
from smoothswap_jax.runtime import compilation
from smoothswap_jax.training import networks
from tests import tiny_runs


def xla_flops(function, *arguments) -> float:
    return compilation.cost(jax.jit(function).lower(*arguments).compile())["operations"]


def test_operations_of_products_and_convolutions_by_hand():
    a, b = jnp.ones((5, 7)), jnp.ones((7, 11))
    assert count_flops(lambda a, b: a @ b, a, b) == 2 * 5 * 7 * 11
    x, k = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 4))
    conv = lambda padding: (
        lambda x, k: jax.lax.conv_general_dilated(x, k, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    )
    assert count_flops(conv("VALID"), x, k) == 2 * 2 * 6 * 6 * 3 * 3 * 3 * 4
    assert (
        count_flops(conv("SAME"), x, k) == 2 * 2 * 22 * 22 * 3 * 4
    )  # along each axis 22 of 24 taps meet a pixel, the other two padding
    assert count_flops(lambda x: jnp.sum(2 * x), x) == 2 * x.size


def test_operations_of_a_platforms_form_and_of_what_is_needed():
    a = jnp.ones((4, 4))
    once = count_flops(lambda a: a @ a, a)
    form = lambda a: jax.lax.platform_dependent(a, cpu=lambda a: a @ a, cuda=lambda a: a, default=lambda a: a @ a @ a)
    assert [count_flops(form, a, platform=name) for name in ("cpu", "gpu", "tpu")] == [once, 0, 2 * once]
    assert count_flops(form, a) == once
    assert count_flops(lambda a: (a @ a, a)[1], a) == 0


def test_operations_in_loops_branches_and_recomputation():
    a = jnp.ones((4, 4))
    once = count_flops(lambda a: a @ a, a)
    assert count_flops(lambda a: jax.lax.scan(lambda c, _: (c @ a, None), a, None, length=6)[0], a) == 6 * once
    branch = lambda a: jax.lax.cond(a[0, 0] > 0, lambda a: a @ a @ a, lambda a: a, a)
    assert count_flops(branch, a) == pytest.approx(2 * once, abs=2)
    value = lambda a: jnp.sum(jax.checkpoint(lambda a: (a @ a) @ a)(a))
    assert count_flops(jax.grad(value), a) > 2 * 2 * once  # forward, forward again, and the backward products


def test_remat_recomputes_as_much_as_its_policy_says():
    def value(v, x, net):
        return jnp.sum(net.apply(v, x))

    def penalty(v, x, net):  # R1
        return jnp.sum(jax.grad(value, 1)(v, x, net) ** 2)

    x = jnp.ones((4, 16, 16, 3))
    for function in (value, penalty):
        counted = {}
        for remat in REMAT:
            net = Discriminator(16, channel_base=128, remat=remat)
            variables = jax.eval_shape(net.init, jax.random.key(0), x)
            gradient = functools.partial(jax.grad(function), net=net)
            counted[remat] = count_flops(gradient, variables, x)
        off, dots = counted["off"], counted["dots_saveable"]
        assert off < dots < 1.03 * off < 1.2 * off < counted["nothing_saveable"]
    with pytest.raises(ValueError, match=r"DiscriminatorBlock: remat is 'some', wanted one of \('off', "):
        net.clone(remat="some").apply(variables, x)
    with pytest.raises(ConfigError, match=r"config.discriminator.remat is 'True', wanted one of \('off', "):
        networks.make_discriminator({"remat": "True"}, 16)


@pytest.mark.parametrize("stride", [1, 2])
def test_operations_of_a_convolutions_gradient_are_xlas(stride):
    x, k = jnp.ones((4, 16, 16, 8)), jnp.ones((3, 3, 8, 16))

    def value(x, k):
        return jnp.sum(jax.lax.conv_general_dilated(
            x, k, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))  # fmt: skip

    gradient = jax.value_and_grad(value, argnums=(0, 1))
    assert count_flops(gradient, x, k) == pytest.approx(xla_flops(gradient, x, k), rel=0.03)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    people = tmp_path_factory.mktemp("people")
    config = tiny_runs.config("swapper", people, people)
    embedder = tiny_runs.config("embedder", people)["embedder"]
    return bench.bench_steps(config, embedder, [8], ["float32"], 2, 2, 0.01)


@pytest.mark.slow
def test_every_number_is_there_and_makes_sense(found):
    assert found["mesh"] == "data 1, fsdp 2" and set(found["peaks of a device"]) == {"float32"}
    one = found["batch 8, float32"]
    assert one["images/s/device"] == pytest.approx(one["steps/s"] * 8 / 2)
    seconds = one["seconds"]
    assert seconds["mean, R1 every 2"] == pytest.approx((seconds["step"] + seconds["step with R1"]) / 2)
    assert one["TFLOP a step"]["counted, with R1"] > one["TFLOP a step"]["counted"] > 0
    memory = one["MB a device"]["step"]
    assert memory["peak"] == pytest.approx(memory["arguments"] + memory["outputs"] + memory["temporary"])
    assert one["compile s"]["cold"] > one["compile s"]["from the cache"] > 0
    assert {"embed the source", "generator forward", "discriminator", "R1"} < set(one["phases"])
    flat = json.dumps(found)
    assert np.all([word not in flat for word in ("NaN", "Infinity")])


@pytest.mark.slow
def test_the_count_of_the_whole_step_is_xlas(found):
    counted = found["batch 8, float32"]["TFLOP a step"]
    assert counted["counted"] == pytest.approx(counted["by XLA"], rel=0.1)  # some work is done on both devices


def test_the_command_line_prints_a_table_and_a_line_of_json(monkeypatch, capsys):
    monkeypatch.setattr(
        bench, "bench_steps", lambda config, embedder, *given: {"size": config["data"]["size"], "given": str(given)}
    )
    assert main(["bench", "--what=steps", "--batch", "4", "8", "--dtype=bfloat16", "--fsdp=2", "--devices=4"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert json.loads(last) == {"size": 32, "given": "([4, 8], ['bfloat16'], 2, 4, 4.0)"}

"""Both steps with transformations, adversarial images and a second embedder; and without them, as they were."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from smoothswap_jax.models.embedder import IdentityEmbedder
from smoothswap_jax.models.injection import identity_vector
from smoothswap_jax.models.layers import l2_normalize
from smoothswap_jax.training import losses, train_state
from smoothswap_jax.training.embedder_step import embedder_step
from smoothswap_jax.training.objectives import EmbedderObjective
from smoothswap_jax.training.swapper_step import SwapperNetworks, SwapperObjective, generator_loss, swapper_step
from smoothswap_jax.training.transforms import OFF, Transform, transform, transform_keys
from tests.golden_files import Golden
from tests.training.test_swapper_step import start, trajectory_networks

MILD = Transform(shift=1 / 8, blur=0.5, noise=0.08, hole=1 / 4)
OPTIMIZER = optax.sgd(0.1)


# --- all off ------------------------------------------------------------------------------------------------------


def paper_loss(swap, target, z_source, *, discriminate, embed, objective, identity_weight):
    """L_G as Smooth-Swap, sec. 4.4, has it."""
    identity = jnp.mean(losses.identity_loss(identity_vector(embed(swap)), identity_vector(z_source)))
    change = jnp.mean(losses.change_loss(swap, target))
    adversarial = jnp.mean(losses.generator_adversarial_loss(discriminate(swap)))
    return identity_weight * identity + objective.change * change + objective.adversarial * adversarial


def test_all_off_is_the_papers_loss_bit_for_bit_on_the_reference_networks():
    golden = Golden("train_traj32")
    networks, _, d, embedder = trajectory_networks(golden)
    source, target = (jnp.asarray(golden.image(f"in/{name}")) for name in ("src", "tgt"))
    swap, z = 0.9 * target + 0.1 * source, networks.embed(embedder, source)
    how = {
        "discriminate": lambda x: networks.discriminate(d, x, None),
        "embed": lambda x: networks.embed(embedder, x),
        "objective": SwapperObjective(),
        "identity_weight": 4.0,
    }
    ours = lambda swap: generator_loss(swap, target, z, **how)[0]
    papers = lambda swap: paper_loss(swap, target, z, **how)
    found, wanted = (jax.jit(jax.value_and_grad(loss))(swap) for loss in (ours, papers))
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


@pytest.mark.parametrize("grad_accum_steps", [1, 2])
@pytest.mark.parametrize("stage", ["embedder", "swapper"])
def test_only_what_is_on_draws_random_numbers(stage, grad_accum_steps):
    for how, random in ((OFF, False), (MILD, True)):
        if stage == "embedder":
            step, given = embedder_stepper(EmbedderObjective(transform=how), grad_accum_steps)
        else:
            step, given = swapper_stepper(SwapperObjective(transform=how), grad_accum_steps)
        program = str(jax.make_jaxpr(step)(*given, jnp.int32(0)))
        assert ("random_" in program) == random


# --- swapper ------------------------------------------------------------------------------------------------------


def toy(rows=4, size=8):
    """Networks of one number each."""
    networks = SwapperNetworks(
        generate=lambda p, target, z: target + p["w"] * z[:, None, None, :1],
        discriminate=lambda p, x, z: p["w"] * x.mean((1, 2, 3))[:, None],
        embed=lambda v, x: l2_normalize((x * v["pattern"]).mean((1, 2)) + v["shift"]),
    )
    rng = np.random.default_rng(0)
    image = lambda: jnp.asarray(rng.uniform(-1, 1, (rows, size, size, 3)), jnp.float32)
    batch = {"source": image(), "target": image(), "real": image()}
    embedder = lambda: {"pattern": jnp.asarray(rng.normal(size=(size, size, 3)), jnp.float32), "shift": 0.1}
    return networks, batch, embedder(), embedder()


def swapper_stepper(objective, grad_accum_steps=1, second=False):
    """(step of the seed and the second embedder, its arguments before the seed)."""
    networks, batch, embedder, also = toy()
    if second:
        networks = dataclasses.replace(networks, embed_also=networks.embed)
    before = start({"w": jnp.float32(0.3)}, {"w": jnp.float32(0.5)}, OPTIMIZER)
    step = functools.partial(
        swapper_step, networks=networks, objective=objective, generator_optimizer=OPTIMIZER,
        discriminator_optimizer=OPTIMIZER, with_r1=False, grad_accum_steps=grad_accum_steps,
    )  # fmt: skip
    with_second = lambda state, embedder, batch, seed: step(state, embedder, batch, seed, also if second else None)
    return with_second, (before, embedder, batch)


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("samples", [1, 3])
def test_the_identity_loss_is_a_mean_over_transformed_swaps_and_embedders_against_clean_sources(samples, second):
    objective = SwapperObjective(transform=MILD, transform_samples=samples)
    step, (before, embedder, batch) = swapper_stepper(objective, second=second)
    before = dataclasses.replace(before, step=jnp.int32(7))
    networks, _, _, also = toy()
    after, metrics = step(before, embedder, batch, 5)
    z = networks.embed(embedder, batch["source"])
    keys = transform_keys(5, 7, (4, samples))

    def identity(params):
        swap = networks.generate(params, batch["target"], z)
        seen = [transform(swap, keys[:, draw], MILD) for draw in range(samples)]
        return jnp.mean(jnp.stack([
            losses.identity_loss(networks.embed(judge, one), networks.embed(judge, batch["source"])).mean()
            for one in seen for judge in ([embedder, also] if second else [embedder])
        ]))  # fmt: skip

    def total(params):
        swap = networks.generate(params, batch["target"], z)
        adversarial = losses.generator_adversarial_loss(networks.discriminate(after.discriminator, swap, None)).mean()
        return 4.0 * identity(params) + losses.change_loss(swap, batch["target"]).mean() + adversarial

    np.testing.assert_allclose(metrics["train/identity_loss"], identity(before.generator), rtol=1e-5)
    want = before.generator["w"] - 0.1 * jax.grad(total)(before.generator)["w"]
    np.testing.assert_allclose(after.generator["w"], want, rtol=1e-5)
    other = step(dataclasses.replace(before, step=jnp.int32(8)), embedder, batch, 5)[1]["train/identity_loss"]
    assert other != metrics["train/identity_loss"] != step(before, embedder, batch, 6)[1]["train/identity_loss"]


@pytest.mark.parametrize("grad_accum_steps", [2, 4])
def test_a_batch_of_pairs_in_parts_gives_the_same_update(grad_accum_steps):
    objective = SwapperObjective(transform=MILD, transform_samples=2)
    (whole, wanted), (parts, found) = (
        step(*given, 3)
        for step, given in (swapper_stepper(objective, count, second=True) for count in (1, grad_accum_steps))
    )
    np.testing.assert_allclose(parts.generator["w"], whole.generator["w"], rtol=1e-6)
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-7, err_msg=name)


def test_the_loss_asks_for_keys():
    networks, batch, embedder, _ = toy()
    with pytest.raises(ValueError, match=r"keys is None, wanted some, as objective.transform is on"):
        generator_loss(
            batch["target"], batch["target"], networks.embed(embedder, batch["source"]), identity_weight=1.0,
            discriminate=lambda x: x[:, 0, 0, :1], embed=functools.partial(networks.embed, embedder),
            objective=SwapperObjective(transform=MILD),
        )  # fmt: skip


# --- embedder -----------------------------------------------------------------------------------------------------


def embedder_stepper(objective, grad_accum_steps=1):
    """(step of the seed, its arguments before the seed) of a linear embedder on eight images of four people."""
    rng = np.random.default_rng(1)
    batch = {
        "image": jnp.asarray(rng.uniform(-1, 1, (8, 8, 8, 3)), jnp.float32),
        "label": jnp.asarray(np.repeat(np.arange(4), 2)),
    }
    params = {"embedder": {"w": jnp.asarray(rng.standard_normal((192, 3)), jnp.float32)}}
    before = train_state.EmbedderState(jnp.int32(0), params, {}, OPTIMIZER.init(params))
    step = functools.partial(
        embedder_step, apply=linear, objective=objective, optimizer=OPTIMIZER, grad_accum_steps=grad_accum_steps
    )
    return step, (before, batch)


def linear(variables, images):
    return l2_normalize(images.reshape(len(images), -1) @ variables["params"]["w"]), {}


def loss_of(state, images, labels):
    z, _ = linear({"params": state.params["embedder"]}, images)
    return losses.contrastive_loss(z, labels).mean()


def test_the_embedder_is_trained_on_transformed_images_each_with_its_own_draws():
    step, (before, batch) = embedder_stepper(EmbedderObjective(transform=MILD))
    before = dataclasses.replace(before, step=jnp.int32(7))
    batch["image"] = batch["image"].at[1].set(batch["image"][0])  # two views of a person, equal before
    _, metrics = step(before, batch, 5)
    seen = transform(batch["image"], transform_keys(5, 7, (8,)), MILD)
    assert np.any(seen[0] != seen[1])
    np.testing.assert_allclose(metrics["train/loss"], loss_of(before, seen, batch["label"]), rtol=1e-5)
    assert "train/clean_loss" not in metrics


@pytest.mark.parametrize("how", [OFF, MILD])
def test_adversarial_images_raise_the_loss_that_is_then_trained_on(how):
    step, (before, batch) = embedder_stepper(EmbedderObjective(transform=how, adversarial_steps=2))
    _, metrics = step(before, batch, 5)
    seen = transform(batch["image"], transform_keys(5, 0, (8,)), how)
    clean = loss_of(before, seen, batch["label"])
    np.testing.assert_allclose(metrics["train/clean_loss"], clean, rtol=1e-5)
    assert metrics["train/loss"] > 1.2 * clean
    slope = jax.grad(lambda x: loss_of(before, x, batch["label"]))(seen)
    once, (before, batch) = embedder_stepper(EmbedderObjective(transform=how, adversarial_steps=1))
    edge = seen + 0.02 * slope / jnp.sqrt(jnp.mean(slope**2, (1, 2, 3), keepdims=True))
    found = once(before, batch, 5)[1]["train/loss"]
    np.testing.assert_allclose(found, loss_of(before, edge, batch["label"]), rtol=1e-4)


@pytest.mark.parametrize("adversarial_steps", [0, 1, 2])
def test_an_embedders_batch_in_parts_gives_the_same_update(adversarial_steps):
    objective = EmbedderObjective(transform=MILD, adversarial_steps=adversarial_steps)
    (whole, wanted), (parts, found) = (
        step(*given, 3) for step, given in (embedder_stepper(objective, count) for count in (1, 4))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), parts.params, whole.params)
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_network_in_bfloat16_is_trained_on_the_same_images():
    """Images and their change stay in float32: only what the network rounds differs."""
    found = {}
    for dtype in (jnp.float32, jnp.bfloat16):
        network = IdentityEmbedder(stage_sizes=(1,), width=4, stem="small", norm="group", hidden=8, dim=8, dtype=dtype)
        objective = EmbedderObjective(temperature=1.0, transform=MILD, adversarial_steps=1)
        _, (_, batch) = embedder_stepper(objective)
        before = train_state.init_embedder_state(jax.random.key(0), network, OPTIMIZER, 8)
        apply = lambda variables, images, network=network: (network.apply(variables, images, train=False), {})
        _, metrics = embedder_step(before, batch, 5, apply=apply, objective=objective, optimizer=OPTIMIZER)
        assert metrics["train/loss"].dtype == jnp.float32 and metrics["train/loss"] > metrics["train/clean_loss"]
        found[dtype] = metrics
    for name, value in found[jnp.float32].items():
        np.testing.assert_allclose(found[jnp.bfloat16][name], value, rtol=0.1, atol=0.02, err_msg=name)

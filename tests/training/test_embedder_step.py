"""The embedder's step: every objective trains, and a batch in parts gives the same update."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from smoothswap_jax.models.layers import l2_normalize
from smoothswap_jax.training import train_state
from smoothswap_jax.training.embedder_step import embedder_step
from smoothswap_jax.training.objectives import EmbedderObjective


@pytest.mark.parametrize("kind", ["contrastive", "softmax", "arcface", "cosface", "triplet"])
def test_each_embedder_objective_separates_four_identities(kind):
    """A linear embedder on four clusters: every objective must pull cosines of the same identity up."""
    rng = np.random.default_rng(0)
    centres, labels = rng.standard_normal((4, 12)), jnp.asarray(np.repeat(np.arange(4), 6))
    images = jnp.asarray(centres[labels] + 1.0 * rng.standard_normal((24, 12)), jnp.float32)
    objective = EmbedderObjective(kind=kind, scale=8.0, margin=0.2, temperature=0.3)
    optimizer = optax.adam(0.05)
    params = {"embedder": {"w": jnp.asarray(0.3 * rng.standard_normal((12, 3)), jnp.float32)}}
    if objective.needs_classes:
        params["classifier"] = {
            "kernel": jnp.asarray(rng.standard_normal((3, 4)), jnp.float32),
            "bias": jnp.zeros(4),
        }
    current = train_state.EmbedderState(jnp.int32(0), params, {}, optimizer.init(params))
    apply = lambda v, x: (l2_normalize(x @ v["params"]["w"]), {})
    step = jax.jit(lambda s: embedder_step(
        s, {"image": images, "label": labels}, apply=apply, objective=objective, optimizer=optimizer))  # fmt: skip
    current, first = step(current)
    for _ in range(60):
        current, last = step(current)
    gap = lambda m: m["train/cosine_same"] - m["train/cosine_other"]
    assert last["train/loss"] < 0.5 * first["train/loss"]
    assert gap(last) > gap(first) + 0.3


@pytest.mark.parametrize("kind", ["contrastive", "arcface"])
def test_an_embedders_batch_in_parts_gives_the_same_update(kind):
    """Negatives are those of the whole batch: parts by themselves would give another loss."""
    rng = np.random.default_rng(1)
    labels, images = jnp.asarray(np.repeat(np.arange(4), 2)), jnp.asarray(rng.standard_normal((8, 12)), jnp.float32)
    params = {"embedder": {"w": jnp.asarray(rng.standard_normal((12, 3)), jnp.float32)}}
    if kind == "arcface":
        params["classifier"] = {"kernel": jnp.asarray(rng.standard_normal((3, 4)), jnp.float32), "bias": jnp.zeros(4)}
    optimizer, objective = optax.sgd(0.1), EmbedderObjective(kind=kind, scale=8.0, margin=0.2)
    apply = lambda v, x: (l2_normalize(x @ v["params"]["w"]), {"seen": v["batch_stats"]["seen"] + 1})
    before = train_state.EmbedderState(jnp.int32(0), params, {"seen": jnp.zeros(())}, optimizer.init(params))
    run = lambda grad_accum_steps: embedder_step(
        before, {"image": images, "label": labels}, apply=apply, objective=objective, optimizer=optimizer,
        grad_accum_steps=grad_accum_steps,
    )  # fmt: skip
    (whole, wanted), (parts, found) = run(1), run(4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), parts.params, whole.params)
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert (float(whole.batch_stats["seen"]), float(parts.batch_stats["seen"])) == (1, 4)

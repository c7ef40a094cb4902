"""Embedder objectives: classes in columns, split or not, and the registry."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.models.layers import l2_normalize
from smoothswap_jax.runtime import sharding
from smoothswap_jax.training.objectives import OBJECTIVES, EmbedderObjective, ObjectiveSpec


@pytest.mark.parametrize("kind", ["softmax", "arcface", "cosface"])
def test_columns_without_a_person_change_nothing(kind):
    rng = np.random.default_rng(2)
    z = l2_normalize(jnp.asarray(rng.standard_normal((6, 5)), jnp.float32))
    labels, kernel = jnp.arange(6), jnp.asarray(rng.standard_normal((5, 6)), jnp.float32)
    wider = {"kernel": jnp.concatenate([kernel, z[:4].T], 1), "bias": jnp.full(10, 3.0).at[:6].set(0)}
    objective = EmbedderObjective(kind=kind, scale=8.0, margin=0.2)
    loss = lambda how, classifier: jnp.mean(how.loss(z, labels, classifier))
    wanted, slope = jax.value_and_grad(loss, argnums=1)(objective, {"kernel": kernel, "bias": jnp.zeros(6)})
    limited = dataclasses.replace(objective, classes=6)
    found, wider_slope = jax.value_and_grad(loss, argnums=1)(limited, wider)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_allclose(wider_slope["kernel"][:, :6], slope["kernel"], rtol=1e-5, atol=1e-7)
    assert not np.any(wider_slope["kernel"][:, 6:]) and loss(objective, wider) > wanted + 0.1


@pytest.mark.parametrize("fsdp", [4, 8])
@pytest.mark.parametrize("kind", ["softmax", "arcface", "cosface"])
def test_classes_stay_where_their_columns_are(kind, fsdp):
    """Each device has its classes' logits only, and nobody gathers the classifier."""
    mesh, (rows, dim, classes) = sharding.make_mesh(8, fsdp), (16, 32, 4096)
    place = lambda shape, *axes: jax.ShapeDtypeStruct(
        shape, jnp.float32 if len(shape) > 1 or shape == (classes,) else jnp.int32,
        sharding=jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes)),
    )  # fmt: skip
    classifier = {"kernel": place((dim, classes), None, "fsdp"), "bias": place((classes,), "fsdp")}
    given = place((rows, dim), ("data", "fsdp")), place((rows,), ("data", "fsdp")), classifier

    def compiled(how):
        slope = jax.jit(jax.grad(lambda z, labels, classifier: jnp.mean(how.loss(z, labels, classifier)), (0, 2)))
        return slope.lower(*given).compile().as_text()

    objective = EmbedderObjective(kind=kind, scale=8.0, margin=0.2)
    placed = dataclasses.replace(objective, place=sharding.placed_classes(mesh, classes), classes=classes - 5)
    whole = re.compile(rf"f32\[(?:{dim},{classes}|{classes},{dim}|{rows},{classes})\]")
    assert not whole.search(compiled(placed))
    if fsdp == 4:
        assert whole.search(compiled(objective))  # as XLA would do it by itself


def test_a_new_objective_is_one_entry(monkeypatch):
    spread = lambda how, z, labels, classifier: how.scale * (z @ z.T).mean(axis=1)
    monkeypatch.setitem(OBJECTIVES, "spread", ObjectiveSpec(spread, needs_classes=False))
    objective = EmbedderObjective(kind="spread", scale=2.0)
    z = l2_normalize(jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32))
    np.testing.assert_allclose(objective.loss(z, jnp.arange(4), None), 2 * (z @ z.T).mean(axis=1), rtol=1e-6)
    assert not objective.needs_classes


def test_unknown_objective_is_refused():
    with pytest.raises(ValueError, match=r"config.objective.kind is 'centre', wanted one of \('contrastive', "):
        EmbedderObjective(kind="centre")

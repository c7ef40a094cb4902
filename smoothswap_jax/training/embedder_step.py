"""The pure training step of stage 1, the embedder (Smooth-Swap, sec. 4.1). The network comes in as a function, so
nothing here knows an architecture, a config or a device."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from smoothswap_jax.training.adversarial import worst_images
from smoothswap_jax.training.microbatches import merge_microbatches, split_microbatches
from smoothswap_jax.training.objectives import EmbedderObjective
from smoothswap_jax.training.train_state import Batch, EmbedderState, Metrics
from smoothswap_jax.training.transforms import transform, transform_keys

PyTree = Any


def embedder_step(
    state: EmbedderState,
    batch: Batch,
    seed: int | Array = 0,
    *,
    apply: Callable[[PyTree, Array], tuple[Array, PyTree]],
    objective: EmbedderObjective,
    optimizer: optax.GradientTransformation,
    grad_accum_steps: int = 1,
) -> tuple[EmbedderState, Metrics]:
    """One update of the embedder on batch {"image": [n h w 3], "label": [n]}.

    Args:
      seed: of the random transformations, if the objective has any.
      apply: (variables, images) -> (unit-norm embeddings, new batch statistics), in training mode.
      grad_accum_steps: number of microbatches in which the images are embedded, one after the other. The loss is still
        that of the whole batch, negatives included (GradCache, Gao et al. 2021, at the price of a second forward pass);
        only BatchNorm sees microbatches.
    """

    def loss_of(z, classifier):
        return jnp.mean(objective.loss(z, batch["label"], classifier))

    def embed(embedder, batch_stats, images):
        return apply({"params": embedder, "batch_stats": batch_stats}, images)

    def embed_parts(images):
        if grad_accum_steps == 1:
            return embed(embedder, state.batch_stats, images)[0]
        part = jax.checkpoint(lambda images: embed(embedder, state.batch_stats, images)[0])
        return merge_microbatches(jax.lax.map(part, split_microbatches(images, grad_accum_steps)))

    embedder, classifier = state.params["embedder"], state.params.get("classifier")
    loss_of_images = lambda images: loss_of(embed_parts(images), classifier)
    images, extra = _hardened(batch["image"], seed, state.step, objective, loss_of_images)
    if grad_accum_steps == 1:
        z, vjp_fn, batch_stats = jax.vjp(lambda p: embed(p, state.batch_stats, images), embedder, has_aux=True)
        loss, (d_z, d_classifier) = jax.value_and_grad(loss_of, argnums=(0, 1))(z, classifier)
        (d_embedder,) = vjp_fn(d_z)
    else:
        parts = split_microbatches(images, grad_accum_steps)
        z = merge_microbatches(jax.lax.map(lambda part: embed(embedder, state.batch_stats, part)[0], parts))
        loss, (d_z, d_classifier) = jax.value_and_grad(loss_of, argnums=(0, 1))(z, classifier)

        def add(carry, part):
            total, batch_stats = carry
            _, vjp_fn, batch_stats = jax.vjp(lambda p: embed(p, batch_stats, part[0]), embedder, has_aux=True)
            return (jax.tree.map(jnp.add, total, vjp_fn(part[1])[0]), batch_stats), None

        start = jax.tree.map(jnp.zeros_like, embedder), state.batch_stats
        (d_embedder, batch_stats), _ = jax.lax.scan(add, start, (parts, split_microbatches(d_z, grad_accum_steps)))
    gradient = {"embedder": d_embedder} | ({} if classifier is None else {"classifier": d_classifier})
    updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
    new_state = EmbedderState(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        optimizer=optimizer_state,
    )
    metrics = {
        "train/loss": loss,
        "train/gradient_norm": optax.tree.norm(gradient),
        **extra,
        **_cosine_metrics(z, batch["label"]),
    }
    return new_state, metrics


def _hardened(
    images: Float[Array, "n h w 3"],
    seed: int | Array,
    step: Array,
    objective: EmbedderObjective,
    loss_of_images: Callable[[Array], Array],
) -> tuple[Float[Array, "n h w 3"], Metrics]:
    """Images as the objective wants them seen: transformed, then moved against the embedder."""
    if objective.transform.on:
        images = transform(images, transform_keys(seed, step, (len(images),)), objective.transform)
    if not objective.adversarial_steps:
        return images, {}
    rise = jax.value_and_grad(loss_of_images)
    images, clean = worst_images(images, rise, objective.adversarial_steps, objective.adversarial_radius)
    return images, {"train/clean_loss": clean}


def _cosine_metrics(z: Array, labels: Array) -> Metrics:
    similarity = z @ z.T
    same = labels[:, None] == labels[None, :]
    positive = same & ~jnp.eye(len(labels), dtype=bool)
    mean = lambda mask: jnp.sum(similarity * mask) / jnp.maximum(jnp.sum(mask), 1)
    return {"train/cosine_same": mean(positive), "train/cosine_other": mean(~same)}

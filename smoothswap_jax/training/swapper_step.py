"""The pure training step of stage 2, the swapper (Smooth-Swap, sec. 4.4). Networks come in as functions, so nothing
here knows an architecture, a config or a device."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from smoothswap_jax.models.injection import identity_vector
from smoothswap_jax.training import losses
from smoothswap_jax.training.microbatches import mean_over_microbatches, merge_microbatches, split_microbatches
from smoothswap_jax.training.train_state import Batch, Metrics, SwapperState
from smoothswap_jax.training.transforms import OFF, Transform, transform, transform_keys

PyTree = Any


@dataclass(frozen=True)
class SwapperNetworks:
    """The networks as pure functions.

    generate: (params, target [b h w 3], z_source) -> swap; discriminate: (params, image, z) -> logit [b 1]; embed:
    (variables, image) -> identity z, in inference mode. z is a pytree whose leaves have the batch as leading axis; the
    paper's is one array [b d]. projection: whether `discriminate` reads z, the identity that the image should show,
    which may be None otherwise. features: (params of `discriminate`, image) -> its deep features, each [b h w c].
    embed_also: as embed, of a second embedder that only the identity loss sees.
    """

    generate: Callable[[PyTree, Array, PyTree], Array]
    discriminate: Callable[[PyTree, Array, PyTree], Array]
    embed: Callable[[PyTree, Array], PyTree]
    projection: bool = False
    features: Callable[[PyTree, Array], list[Array]] | None = None
    embed_also: Callable[[PyTree, Array], PyTree] | None = None


@dataclass(frozen=True)
class SwapperObjective:
    """Loss weights (Smooth-Swap, sec. 4.4; `back` is ours), how the identity loss sees swaps, R1 regularisation
    (Mescheder et al. 2018) and the generator's average."""

    identity: float = 4.0  # lambda_id
    change: float = 1.0  # lambda_chg
    adversarial: float = 1.0  # lambda_adv
    back: float = 0.0  # of swapping back
    feature_matching: float = 0.0  # of SimSwap's loss
    identity_warmup_steps: int = 0
    transform: Transform = OFF
    transform_samples: int = 1  # of each swap, over which the identity loss is a mean
    r1_gamma: float = 1.0
    r1_interval: int = 16  # steps; lazy regularisation (StyleGAN2, sec. 3.1)
    ema_decay: float = 0.999


def reads_own(networks: SwapperNetworks, objective: SwapperObjective) -> bool:
    """Whether a step needs another photo of each target's person."""
    return networks.projection or objective.back > 0


def discriminator_gradient(
    params: PyTree,
    fake: Float[Array, "b h w 3"],
    real: Float[Array, "b h w 3"],
    z_fake: PyTree = None,
    z_real: PyTree = None,
    *,
    discriminate: Callable[[PyTree, Array, PyTree], Array],
    objective: SwapperObjective,
    with_r1: bool,
) -> tuple[PyTree, Metrics]:
    """Gradient of L_D = softplus(D(x_swap)) + softplus(-D(x_real)) + gamma / 2 R1(x_real).

    z_fake, z_real: the identities that the swaps and the real images should show, for a discriminator that reads them.
    R1 is computed only every `r1_interval` steps (`with_r1`) and then counts that many times.
    """

    def loss_fn(params):
        fake_logits = discriminate(params, fake, z_fake)
        if with_r1:
            real_logits, r1 = losses.logits_and_r1(lambda x: discriminate(params, x, z_real), real)
            penalty = 0.5 * objective.r1_gamma * objective.r1_interval * jnp.mean(r1)
            extra = {"train/r1": jnp.mean(r1)}
        else:
            real_logits, penalty, extra = discriminate(params, real, z_real), jnp.zeros(()), {}
        adversarial = jnp.mean(losses.discriminator_loss(real_logits, fake_logits))
        metrics = {
            "train/d_loss": adversarial,
            "train/d_real": jnp.mean(real_logits),
            "train/d_fake": jnp.mean(fake_logits),
            **extra,
        }
        return adversarial + penalty, metrics

    return jax.grad(loss_fn, has_aux=True)(params)


def discriminator_update(
    state: SwapperState,
    fake: Float[Array, "b h w 3"],
    real: Float[Array, "b h w 3"],
    z_fake: PyTree = None,
    z_real: PyTree = None,
    *,
    discriminate: Callable[[PyTree, Array, PyTree], Array],
    objective: SwapperObjective,
    optimizer: optax.GradientTransformation,
    with_r1: bool,
    grad_accum_steps: int = 1,
) -> tuple[SwapperState, Metrics]:
    """One update of the discriminator; its gradient is the mean over `grad_accum_steps` microbatches. z_fake, z_real:
    as of `discriminator_gradient`."""
    gradient_of = lambda *given: discriminator_gradient(
        state.discriminator, *given, discriminate=discriminate, objective=objective, with_r1=with_r1
    )
    given = fake, real, z_fake, z_real
    if grad_accum_steps == 1:
        gradient, metrics = gradient_of(*given)
    else:
        gradient, metrics = mean_over_microbatches(gradient_of, *split_microbatches(given, grad_accum_steps))
    updates, optimizer_state = optimizer.update(gradient, state.discriminator_optimizer, state.discriminator)
    metrics["train/d_gradient_norm"] = optax.tree.norm(gradient)
    new_state = dataclasses.replace(
        state,
        discriminator=optax.apply_updates(state.discriminator, updates),
        discriminator_optimizer=optimizer_state,
    )
    return new_state, metrics


def generator_loss(
    swap: Float[Array, "b h w 3"],
    target: Float[Array, "b h w 3"],
    z_source: PyTree,
    *,
    discriminate: Callable[[Array], Array],
    embed: Callable[[Array], PyTree],
    objective: SwapperObjective,
    identity_weight: float | Array,
    keys: Key[Array, "b k"] | None = None,
    also: tuple[Callable[[Array], PyTree], PyTree] | None = None,
    features: Callable[[Array], list[Array]] | None = None,
) -> tuple[Float[Array, ""], Metrics]:
    """L_G = lambda_id L_id + lambda_chg L_chg + lambda_adv L_adv of a batch of swaps, and its terms.

    Args:
      keys: of the k transformations under which the identity loss sees each swap; read if `objective.transform` is on.
      also: a second embedder, and the identity of each source by it: the identity loss is the mean over both.
      features: deep features of the discriminator; read if `objective.feature_matching` is not 0.
    """
    seen, count = swap, 1
    if objective.transform.on:
        if keys is None:
            raise ValueError("generator_loss: keys is None, wanted some, as objective.transform is on")
        count = keys.shape[1]
        seen = transform(_repeated(swap, count), keys.reshape(-1), objective.transform)
    identity = _identity_loss(embed, seen, z_source, count)
    if also is not None:
        identity = (identity + _identity_loss(also[0], seen, also[1], count)) / 2
    change = jnp.mean(losses.change_loss(swap, target))
    adversarial = jnp.mean(losses.generator_adversarial_loss(discriminate(swap)))
    total = identity_weight * identity + objective.change * change + objective.adversarial * adversarial
    metrics = {"train/identity_loss": identity, "train/change_loss": change, "train/g_adversarial": adversarial}
    if objective.feature_matching:
        if features is None:
            raise ValueError("generator_loss: features is None, wanted some, as objective.feature_matching is on")
        matching = jnp.mean(losses.feature_matching_loss(features(swap), features(target)))
        total = total + objective.feature_matching * matching
        metrics["train/feature_matching"] = matching
    return total, {"train/g_loss": total, **metrics}


def back_loss(
    params: PyTree,
    swap: Float[Array, "b h w 3"],
    target: Float[Array, "b h w 3"],
    z_target: PyTree,
    *,
    generate: Callable[[PyTree, Array, PyTree], Array],
) -> Float[Array, ""]:
    """Mean squared error of swaps that are swapped back to the target's identity, whose true swap is the target itself.

    The true swap of a real image is not known, but that of a made one is, so a generator can learn from its own swaps
    as translators learn from what they translated back (Sennrich et al. 2016). The given swaps are constants: a
    generator that could also change them would hide the target in them.
    """
    return jnp.mean(losses.change_loss(generate(params, jax.lax.stop_gradient(swap), z_target), target))


def _identity_loss(embed: Callable[[Array], PyTree], seen: Array, z_source: PyTree, count: int) -> Float[Array, ""]:
    """seen: images of `count` rows for each source."""
    z = identity_vector(z_source)
    return jnp.mean(losses.identity_loss(identity_vector(embed(seen)), z if count == 1 else _repeated(z, count)))


def _repeated(x: Float[Array, "b *rest"], count: int) -> Float[Array, "bk *rest"]:
    """Each row `count` times in a row."""
    return jnp.broadcast_to(x[:, None], (len(x), count, *x.shape[1:])).reshape(-1, *x.shape[1:])


def swapper_step(
    state: SwapperState,
    embedder: PyTree,
    batch: Batch,
    seed: int | Array = 0,
    also: PyTree = None,
    *,
    networks: SwapperNetworks,
    objective: SwapperObjective,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    with_r1: bool,
    grad_accum_steps: int = 1,
) -> tuple[SwapperState, Metrics]:
    """Discriminator update, then generator update against the new discriminator, then EMA.

    The source embedding and the swaps are computed once: the discriminator sees the swaps through which the generator's
    gradient is then propagated.

    Args:
      embedder: frozen variables of the identity embedder.
      batch: {"source", "target", "real"}: images [b h w 3] in [-1, 1]; for a projection discriminator and for swapping
        back also {"own"}: other photos of the people of "target", who are those of "real", since z holds a little of
        pose and light, too.
      seed: of the random transformations, if the objective has any.
      also: frozen variables of a second embedder, for `networks.embed_also`; None if there is none.
      grad_accum_steps: number of microbatches that are computed one after the other; above 1 the swaps are computed
        twice, and minibatch-stddev forms its groups within each microbatch.
    """
    target = batch["target"]
    embed = functools.partial(networks.embed, embedder)
    embed_also = None if networks.embed_also is None else functools.partial(networks.embed_also, also)
    keys = _keys_of_swaps(seed, state.step, len(target), objective)
    z_own = None
    if grad_accum_steps == 1:
        z_source = jax.lax.stop_gradient(embed(batch["source"]))
        if reads_own(networks, objective):
            z_own = jax.lax.stop_gradient(embed(batch["own"]))
        z_also = None if embed_also is None else jax.lax.stop_gradient(embed_also(batch["source"]))
        swap, vjp_fn = jax.vjp(lambda p: networks.generate(p, target, z_source), state.generator)
    else:
        sources, targets, keys = split_microbatches((batch["source"], target, keys), grad_accum_steps)
        z_sources = jax.lax.map(embed, sources)
        z_source = merge_microbatches(z_sources)
        if reads_own(networks, objective):
            z_own = merge_microbatches(jax.lax.map(embed, split_microbatches(batch["own"], grad_accum_steps)))
        z_also = None if embed_also is None else jax.lax.map(embed_also, sources)
        swap = merge_microbatches(
            jax.lax.map(lambda given: networks.generate(state.generator, *given), (targets, z_sources))
        )
    state, metrics = discriminator_update(
        state,
        jax.lax.stop_gradient(swap),
        batch["real"],
        *((z_source, z_own) if networks.projection else ()),
        discriminate=networks.discriminate,
        objective=objective,
        optimizer=discriminator_optimizer,
        with_r1=with_r1,
        grad_accum_steps=grad_accum_steps,
    )

    def loss_of(swap, target, z_source, keys, z_also):
        return generator_loss(
            swap,
            target,
            z_source,
            discriminate=lambda image: networks.discriminate(state.discriminator, image, z_source),
            embed=embed,
            objective=objective,
            identity_weight=identity_weight(objective, state.step),
            keys=keys,
            also=None if embed_also is None else (embed_also, z_also),
            features=None if networks.features is None else functools.partial(networks.features, state.discriminator),
        )

    back_of = functools.partial(back_loss, generate=networks.generate)
    if grad_accum_steps == 1:
        cotangent, generator_metrics = jax.grad(loss_of, has_aux=True)(swap, target, z_source, keys, z_also)
        (gradient,) = vjp_fn(cotangent)
        if objective.back:
            back, more = jax.value_and_grad(back_of)(state.generator, swap, target, z_own)
            gradient = jax.tree.map(lambda a, b: a + objective.back * b, gradient, more)
            generator_metrics = _with_back(generator_metrics, back, objective)
    else:

        def loss_of_params(params, target, z_source, keys, z_also, z_own):
            swap = networks.generate(params, target, z_source)
            total, metrics = loss_of(swap, target, z_source, keys, z_also)
            if not objective.back:
                return total, metrics
            back = back_of(params, swap, target, z_own)
            return total + objective.back * back, _with_back(metrics, back, objective)

        gradient_of = lambda *given: jax.grad(loss_of_params, has_aux=True)(state.generator, *given)
        z_owns = split_microbatches(z_own, grad_accum_steps)
        gradient, generator_metrics = mean_over_microbatches(gradient_of, targets, z_sources, keys, z_also, z_owns)
    updates, optimizer_state = generator_optimizer.update(gradient, state.generator_optimizer, state.generator)
    generator = optax.apply_updates(state.generator, updates)
    metrics |= generator_metrics | {"train/g_gradient_norm": optax.tree.norm(gradient)}
    new_state = dataclasses.replace(
        state,
        step=state.step + 1,
        generator=generator,
        generator_ema=optax.incremental_update(generator, state.generator_ema, 1.0 - objective.ema_decay),
        generator_optimizer=optimizer_state,
    )
    return new_state, metrics


def _with_back(metrics: Metrics, back: Array, objective: SwapperObjective) -> Metrics:
    return metrics | {"train/g_loss": metrics["train/g_loss"] + objective.back * back, "train/back_loss": back}


def _keys_of_swaps(seed: int | Array, step: Array, count: int, objective: SwapperObjective) -> Key[Array, "b k"] | None:
    return transform_keys(seed, step, (count, objective.transform_samples)) if objective.transform.on else None


def identity_weight(objective: SwapperObjective, step: Array) -> Array | float:
    """lambda_id, ramped up linearly over `identity_warmup_steps`."""
    if not objective.identity_warmup_steps:
        return objective.identity
    return objective.identity * jnp.minimum((step + 1) / objective.identity_warmup_steps, 1.0)

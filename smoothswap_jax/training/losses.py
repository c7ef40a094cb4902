"""Training losses as pure functions of arrays, one value per example, to be averaged by the caller."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from smoothswap_jax.models.layers import l2_normalize

FORMS = ("smoothswap", "khosla")
"""Of the contrastive loss."""

# --- embedder objectives -----------------------------------------------------------------------------------


def contrastive_loss(
    z: Float[Array, "n d"], labels: Int[Array, "n"], temperature: float = 0.07, form: str = "smoothswap"
) -> Float[Array, "n"]:
    """Supervised contrastive loss of every anchor, averaged over its positives.

    With s = <z_i, z_j> / temperature, P(i) the other examples of i's identity and N(i) those of other identities:

    - ``smoothswap`` (Smooth-Swap, sec. 4.1): mean_p -log(e^{s_ip} / (e^{s_ip} + sum_{N(i)} e^{s_in}));
    - ``khosla`` (Khosla et al. 2020, L_out): mean_p -log(e^{s_ip} / sum_{j != i} e^{s_ij}).

    An anchor that has no positive costs 0 and still counts in the caller's mean, as in Khosla's code.

    Args:
      z: unit-norm embeddings of the *global* batch.
      labels: identity of each embedding.

    Raises:
      ValueError: if `form` is neither of the two.
    """
    if form not in FORMS:
        raise ValueError(f"contrastive form {form!r}: want one of {FORMS}")
    similarity = jnp.matmul(z, z.T, precision="highest") / temperature
    same = labels[:, None] == labels[None, :]
    itself = jnp.eye(len(labels), dtype=bool)
    positive = same & ~itself
    rivals = ~same if form == "smoothswap" else ~itself
    log_rivals = jax.nn.logsumexp(jnp.where(rivals, similarity, -1e30), axis=1, keepdims=True)
    gap = log_rivals - similarity
    terms = jax.nn.softplus(gap) if form == "smoothswap" else gap
    return jnp.sum(jnp.where(positive, terms, 0.0), axis=1) / jnp.maximum(jnp.sum(positive, axis=1), 1)


def triplet_loss(z: Float[Array, "n d"], labels: Int[Array, "n"], margin: float = 0.2) -> Float[Array, "n"]:
    """Triplet loss of FaceNet (Schroff et al. 2015) of every anchor: max(0, |z - p|^2 - |z - n|^2 + margin).

    p is the anchor's farthest positive, n its nearest negative among those that are farther than p ("semi-hard"), or
    the farthest negative where none is. An anchor without positives or without negatives costs 0.
    """
    distance = 2.0 - 2.0 * jnp.matmul(z, z.T, precision="highest")
    same = labels[:, None] == labels[None, :]
    positive = same & ~jnp.eye(len(labels), dtype=bool)
    far = jnp.max(jnp.where(positive, distance, -jnp.inf), axis=1)
    semi_hard = ~same & (distance > far[:, None])
    nearest = jnp.min(jnp.where(semi_hard, distance, jnp.inf), axis=1)
    farthest = jnp.max(jnp.where(same, -jnp.inf, distance), axis=1)
    near = jnp.where(semi_hard.any(axis=1), nearest, farthest)
    complete = positive.any(axis=1) & (~same).any(axis=1)
    # Chosen before the subtraction: the gradient of inf - inf would be NaN even where it is not used.
    far, near = jnp.where(complete, far, 0.0), jnp.where(complete, near, margin)
    return jax.nn.relu(far - near + margin)


def cosine_logits(z: Float[Array, "n d"], weight: Float[Array, "d c"]) -> Float[Array, "n c"]:
    """Cosine of each embedding with each class centre, both normalised; in [-1, 1]."""
    return jnp.matmul(l2_normalize(z), l2_normalize(weight, axis=0), precision="highest")


def arcface_logits(
    cosine: Float[Array, "n c"], labels: Int[Array, "n"], scale: float = 64.0, margin: float = 0.5
) -> Float[Array, "n c"]:
    """ArcFace (Deng et al. 2019): scale * cos(theta + margin) for the labelled class, scale * cos(theta) elsewhere.

    The gradient is the true derivative; insightface's own code passes it straight through the margin. A label of
    -1 means that the row has no class and gets no margin.
    """
    cosine = jnp.clip(cosine, -1 + 1e-7, 1 - 1e-7)
    with_margin = cosine * jnp.cos(margin) - jnp.sqrt(1 - cosine**2) * jnp.sin(margin)
    return scale * jnp.where(_is_label(cosine, labels), with_margin, cosine)


def cosface_logits(
    cosine: Float[Array, "n c"], labels: Int[Array, "n"], scale: float = 64.0, margin: float = 0.4
) -> Float[Array, "n c"]:
    """CosFace (Wang et al. 2018): scale * (cos(theta) - margin) for the labelled class."""
    return scale * jnp.where(_is_label(cosine, labels), cosine - margin, cosine)


def cross_entropy(logits: Float[Array, "n c"], labels: Int[Array, "n"]) -> Float[Array, "n"]:
    """-log softmax(logits)[label]; rows with label -1 cost 0."""
    chosen = jnp.take_along_axis(logits, jnp.maximum(labels, 0)[:, None], axis=1)[:, 0]
    return jnp.where(labels >= 0, jax.nn.logsumexp(logits, axis=1) - chosen, 0.0)


def _is_label(cosine: Array, labels: Array) -> Array:
    return labels[:, None] == jnp.arange(cosine.shape[1])[None, :]


# --- swapper objectives (Smooth-Swap, sec. 4.4) -------------------------------------------------------------


def cosine(a: Float[Array, "b d"], b: Float[Array, "b d"]) -> Float[Array, "b"]:
    """Cosine similarity of rows."""
    return jnp.sum(l2_normalize(a) * l2_normalize(b), axis=-1)


def identity_loss(z_swap: Float[Array, "b d"], z_source: Float[Array, "b d"]) -> Float[Array, "b"]:
    """1 - cos(f_emb(x_swap), f_emb(x_src)) (Smooth-Swap, sec. 4.4)."""
    return 1.0 - cosine(z_swap, z_source)


def change_loss(swap: Float[Array, "b h w c"], target: Float[Array, "b h w c"]) -> Float[Array, "b"]:
    """Mean squared pixel change, ||x_swap - x_tgt||^2 / D (Smooth-Swap, sec. 4.4); images in [-1, 1]."""
    return jnp.mean(jnp.square(swap - target), axis=(1, 2, 3))


def feature_matching_loss(swap: Sequence[Array], target: Sequence[Array]) -> Float[Array, "b"]:
    """Weak feature matching (SimSwap, Chen et al. 2020): mean absolute difference of a discriminator's deep features
    [b h w c] of swap and target, summed over layers."""
    each = [jnp.mean(jnp.abs(a - b), axis=(1, 2, 3)) for a, b in zip(swap, target, strict=True)]
    return jnp.sum(jnp.stack(each), axis=0)


def generator_adversarial_loss(fake_logits: Float[Array, "b 1"]) -> Float[Array, "b"]:
    """Non-saturating generator loss, softplus(-D(x_swap)) (Goodfellow et al. 2014; StyleGAN2)."""
    return jax.nn.softplus(-fake_logits[:, 0])


def discriminator_loss(real_logits: Float[Array, "b 1"], fake_logits: Float[Array, "b 1"]) -> Float[Array, "b"]:
    """softplus(D(x_swap)) + softplus(-D(x_real)) (StyleGAN2, logistic loss)."""
    return jax.nn.softplus(fake_logits[:, 0]) + jax.nn.softplus(-real_logits[:, 0])


def logits_and_r1(
    discriminate: Callable[[Array], Array], real: Float[Array, "b h w c"]
) -> tuple[Float[Array, "b 1"], Float[Array, "b"]]:
    """D(x) and the R1 penalty ||d sum(D(x)) / dx_b||^2 of each real image (Mescheder et al. 2018), one forward pass.

    The caller multiplies by gamma / 2.
    """
    logits, vjp_fn = jax.vjp(discriminate, real)
    (gradient,) = vjp_fn(jnp.ones_like(logits))
    return logits, jnp.sum(jnp.square(gradient), axis=(1, 2, 3))

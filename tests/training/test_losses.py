"""Losses against the reference implementations' numbers (tests/golden) and hand-made cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.training import losses
from tests.golden_files import Golden


def supcon_case(golden, name):
    """(features, labels) as the flat batch that SupConLoss makes of [examples, views, d]."""
    features = golden[f"in/{name}"]
    examples, views, _ = features.shape
    labels = golden[f"in/{name}_labels"] if f"in/{name}_labels" in golden else np.arange(examples)
    flat = jnp.asarray(np.concatenate([features[:, v] for v in range(views)]))
    return flat, jnp.asarray(np.tile(labels, views)), examples


@pytest.mark.parametrize("key", [k for k in Golden("supcon").arrays if k.startswith("out/")])
def test_khosla_form_matches_supcontrast(key):
    golden = Golden("supcon").arrays
    name, temperature, base, mode = key.removeprefix("out/").rsplit("_", 3)
    temperature, base = float(temperature[1:]), float(base[4:])
    z, labels, examples = supcon_case(golden, name)
    anchors = examples if mode == "one" else len(z)

    def loss(z):
        per_anchor = losses.contrastive_loss(z, labels, temperature, "khosla")
        return per_anchor[:anchors].mean() * temperature / base

    value, gradient = jax.value_and_grad(loss)(z)
    np.testing.assert_allclose(value, golden[key][0], rtol=1e-5)
    if f"grad/{key[4:]}" in golden:
        want = golden[f"grad/{key[4:]}"]
        want = np.concatenate([want[:, v] for v in range(want.shape[1])])
        np.testing.assert_allclose(gradient, want, atol=1e-4 * np.abs(want).max())


def unit(rng, *shape):
    z = rng.standard_normal(shape)
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def test_smoothswap_form_is_the_papers_sum_over_positives():
    rng = np.random.default_rng(0)
    z, labels, tau = unit(rng, 7, 5), np.array([0, 0, 0, 1, 1, 2, 3]), 0.3
    e = np.exp(z @ z.T / tau)
    want = []
    for i in range(7):
        negatives = sum(e[i, n] for n in range(7) if labels[n] != labels[i])
        terms = [-np.log(e[i, p] / (e[i, p] + negatives)) for p in range(7) if p != i and labels[p] == labels[i]]
        want.append(np.mean(terms) if terms else 0.0)
    got = losses.contrastive_loss(jnp.asarray(z, jnp.float32), jnp.asarray(labels), tau, "smoothswap")
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_forms_differ_when_an_identity_has_three_images_and_agree_with_two():
    rng = np.random.default_rng(1)
    z = jnp.asarray(unit(rng, 6, 4), jnp.float32)
    both = lambda labels: [losses.contrastive_loss(z, jnp.asarray(labels), 0.5, f) for f in ("smoothswap", "khosla")]
    np.testing.assert_allclose(*both([0, 0, 1, 1, 2, 2]), rtol=1e-5)
    ours, khosla = both([0, 0, 0, 1, 1, 1])
    assert np.all(ours < khosla - 1e-3)


def test_contrastive_gradient_is_finite_without_negatives_or_positives():
    z = jnp.asarray(unit(np.random.default_rng(2), 4, 3), jnp.float32)
    for labels in ([0, 0, 0, 0], [0, 1, 2, 3]):
        gradient = jax.grad(lambda z, y: losses.contrastive_loss(z, y).sum())(z, jnp.asarray(labels))
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_contrastive_refuses_an_unknown_form():
    with pytest.raises(ValueError, match="smothswap"):
        losses.contrastive_loss(jnp.eye(3), jnp.arange(3), form="smothswap")


def test_triplets_are_of_the_farthest_positive_and_the_nearest_negative_beyond_it():
    rng = np.random.default_rng(3)
    z, labels = unit(rng, 40, 3), np.repeat(np.arange(10), 4)
    distance = np.square(z[:, None] - z[None]).sum(-1)
    wanted, fallbacks = [], 0
    for i in range(40):
        far = max(distance[i, j] for j in range(40) if j != i and labels[j] == labels[i])
        negatives = [distance[i, j] for j in range(40) if labels[j] != labels[i]]
        beyond = [d for d in negatives if d > far]
        fallbacks += not beyond
        wanted.append(max(0.0, far - (min(beyond) if beyond else max(negatives)) + 0.2))
    assert 0 < fallbacks < 40 and np.count_nonzero(wanted) > 0
    got = losses.triplet_loss(jnp.asarray(z, jnp.float32), jnp.asarray(labels), 0.2)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_anchors_without_triplets_cost_nothing_and_have_no_gradient():
    z = jnp.asarray(unit(np.random.default_rng(2), 4, 3), jnp.float32)
    for labels in ([0, 0, 0, 0], [0, 1, 2, 3]):
        value, gradient = jax.value_and_grad(lambda z, y: losses.triplet_loss(z, y).sum())(z, jnp.asarray(labels))
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))
        assert value == 0


MARGINS = [
    ("arcface_s64_m05", losses.arcface_logits, 64.0, 0.5),
    ("combined_1_05_0", losses.arcface_logits, 64.0, 0.5),
    ("arcface_s30_m03", losses.arcface_logits, 30.0, 0.3),
    ("cosface_s64_m04", losses.cosface_logits, 64.0, 0.4),
    ("combined_1_0_04", losses.cosface_logits, 64.0, 0.4),
]


@pytest.mark.parametrize("name, function, scale, margin", MARGINS)
def test_margin_logits_match_insightface(name, function, scale, margin):
    golden = Golden("arcface").arrays
    labels = jnp.asarray(golden["in/labels"])
    # insightface leaves cosines of exactly +-1 alone; ours stay 1e-7 inside, where arccos has a gradient.
    cosine = jnp.asarray(golden["in/cos"])

    logits = function(cosine, labels, scale, margin)
    np.testing.assert_allclose(logits, golden[f"out/{name}"], atol=1e-4)
    entropy = losses.cross_entropy(logits, labels).sum() / (labels >= 0).sum()
    np.testing.assert_allclose(entropy, golden[f"out/{name}_ce"][0], rtol=1e-5)
    gradient = jax.grad(
        lambda c: losses.cross_entropy(function(c, labels, scale, margin), labels).sum() / (labels >= 0).sum()
    )(cosine)
    # CosFace's margin is a constant, so insightface's straight-through gradient is the true one there.
    key = f"grad_analytic/{name}" if f"grad_analytic/{name}" in golden else f"grad_upstream/{name}"
    if key.startswith("grad_analytic") or function is losses.cosface_logits:
        np.testing.assert_allclose(gradient, golden[key], atol=1e-4 * np.abs(golden[key]).max())


def test_full_arcface_head_matches_insightface():
    golden = Golden("arcface").arrays
    cosine = losses.cosine_logits(jnp.asarray(golden["in/emb"]), jnp.asarray(golden["in/w"].T))
    logits = losses.arcface_logits(cosine, jnp.asarray(golden["in/labels"]), 64.0, 0.5)
    np.testing.assert_allclose(logits, golden["out/full_head_s64_m05"], atol=1e-4)


def test_gan_losses_match_stylegan2():
    golden = Golden("gan_losses").arrays
    real, fake = jnp.asarray(golden["in/real"]), jnp.asarray(golden["in/fake"])
    d, (d_real, d_fake) = jax.value_and_grad(lambda r, f: losses.discriminator_loss(r, f).mean(), (0, 1))(real, fake)
    g, g_fake = jax.value_and_grad(lambda f: losses.generator_adversarial_loss(f).mean())(fake)
    np.testing.assert_allclose(d, golden["out/d_logistic"][0], rtol=1e-6)
    np.testing.assert_allclose(g, golden["out/g_nonsat"][0], rtol=1e-6)
    for got, key in ((d_real, "d_real"), (d_fake, "d_fake"), (g_fake, "g_fake")):
        np.testing.assert_allclose(got, golden[f"grad/{key}"], atol=1e-6)


def test_identity_loss_is_zero_two_and_one_for_same_opposite_and_orthogonal():
    a = jnp.array([[2.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    b = jnp.array([[5.0, 0.0], [-3.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(losses.identity_loss(a, b), [0.0, 2.0, 1.0], atol=1e-6)
    assert np.isfinite(jax.grad(lambda a: losses.identity_loss(a, b).sum())(jnp.zeros((3, 2)))).all()


def test_change_loss_is_the_mean_square_of_each_image():
    swap = jnp.stack([jnp.zeros((2, 2, 3)), jnp.full((2, 2, 3), 0.5)])
    np.testing.assert_allclose(losses.change_loss(swap, jnp.zeros_like(swap)), [0.0, 0.25])


def test_r1_of_a_linear_discriminator_is_its_squared_weight():
    weight = jnp.asarray(np.random.default_rng(0).standard_normal((3, 3, 2)), jnp.float32)
    discriminate = lambda x: jnp.einsum("bhwc,hwc->b", x, weight)[:, None]
    logits, r1 = losses.logits_and_r1(discriminate, jnp.ones((4, 3, 3, 2)))
    np.testing.assert_allclose(r1, np.full(4, (weight**2).sum()), rtol=1e-6)
    np.testing.assert_allclose(logits[:, 0], np.full(4, weight.sum()), rtol=1e-5)

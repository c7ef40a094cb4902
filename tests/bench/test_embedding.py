"""The bench of embedders, by toy embedders of which is known what they see."""

import functools
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.bench import embedding
from smoothswap_jax.bench.embedding import Embedder, Moves, bench_embedding, make_material, measures
from smoothswap_jax.bench.probe_targets import (
    COMPONENTS,
    MEASURES,
    framed_heads,
    principal_components,
    probe_targets,
    shape_measures,
)
from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.data.rendered import synthetic_factors
from smoothswap_jax.runtime import sharding
from smoothswap_jax.synthetic import heads, world
from smoothswap_jax.synthetic.heads import SHAPE_NAMES
from smoothswap_jax.training.frozen_embedder import load_embedder
from smoothswap_jax.training.transforms import Transform

SHAPE = len(SHAPE_NAMES)


@functools.cache
def some_people() -> world.Factors:
    return synthetic_factors("train", 40, 1, 5)


def mean_colour(images: jax.Array) -> jax.Array:
    """An embedder that sees nothing but the mean colour."""
    return images.mean((1, 2)) + 0.01


def test_the_way_to_the_source_ends_at_the_true_swap():
    target = some_people()
    source = jax.tree.map(lambda values: values[::-1], target)
    on_the_way = functools.partial(embedding.on_the_way, source, target)
    whole, truth = on_the_way(1.0, slice(None)), world.swap_truth(source, target)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), whole, truth)
    half = on_the_way(0.5, slice(0, SHAPE)).identity
    middle = (source.identity + target.identity) / 2
    np.testing.assert_allclose(half[:, :SHAPE], middle[:, :SHAPE], atol=1e-5)
    np.testing.assert_array_equal(half[:, SHAPE:], target.identity[:, SHAPE:])


def test_components_are_the_directions_of_largest_variance():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(50, 3)) * [5.0, 2.0, 0.5]
    axes = np.linalg.qr(rng.normal(size=(200, 3)))[0]
    found = principal_components(hidden @ axes.T + rng.normal(size=200), 2)
    assert np.all(np.abs([np.corrcoef(found[:, i], hidden[:, i])[0, 1] for i in range(2)]) > 0.95)
    np.testing.assert_allclose(found.std(0), hidden.std(0)[:2], rtol=0.1)


def test_heads_are_measured_as_ffhq_frames_them():
    """From a distance, half the side of the crop is the larger of 2 eye distances and 1.8 times eyes to mouth."""
    points = framed_heads(np.asarray(some_people().identity)[:, :SHAPE])[1][..., :2]
    left, right, _, *mouth = np.moveaxis(heads.five_points(points), 1, 0)
    to_mouth = np.mean(mouth, axis=0) - (left + right) / 2
    half = np.maximum(2.0 * np.linalg.norm(right - left, axis=1), 1.8 * np.linalg.norm(to_mouth, axis=1))
    np.testing.assert_allclose(half, 1.0, atol=0.05)


def test_components_of_shape_change_the_measures_that_they_are_named_after():
    shape = np.zeros((3, SHAPE), np.float32)
    shape[1, SHAPE_NAMES.index("nose-scale-horiz")] = 0.5
    shape[2, SHAPE_NAMES.index("mouth-scale-horiz")] = 0.5
    vertices, points = framed_heads(shape)
    found = shape_measures(points)
    assert len(vertices[0]) > 2000 and set(found) == set(MEASURES)
    assert found["nose width"][1] > 1.03 * found["nose width"][0]
    assert found["mouth width"][2] > 1.03 * found["mouth width"][0]
    np.testing.assert_allclose(found["nose length"][1:], found["nose length"][0], rtol=0.03)


def test_every_target_has_a_value_for_each_photo():
    targets = probe_targets(some_people())
    assert list(targets) == ["shape components", "shape measures", "colours", "marks", "attributes"]
    assert len(targets["shape components"]) == COMPONENTS
    for group in targets.values():
        for values in group.values():
            assert values.shape == (40,) and np.isfinite(values).all()


def test_means_of_probes_are_those_of_their_groups():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 6))
    large, small = 10 * z[:, 0], rng.normal(size=400)
    targets = {"shape components": {"1": large, "2": small}, "colours": {"skin": z[:, 1]}}
    found = embedding.probes(z, targets, 300)
    components = found["shape components"]
    assert components["1"] > 0.99 and components["2"] < 0.2 and found["colours"]["skin"] > 0.99
    assert components["mean"] == pytest.approx((components["1"] + components["2"]) / 2)
    assert components["mean by variance"] > 0.95


def test_pairs_are_of_one_group_only():
    """Two groups whose people have the same embeddings: a pair across them would be an impostor at a cosine of 1."""
    z, labels = np.repeat(np.eye(16), 4, axis=0), np.repeat(np.arange(16), 4)
    found = embedding.verification([(z, labels), (z, labels)])
    assert found["roc auc"] == 1.0 and found["tar at far 1%"] == 1.0 and found["cosine, strangers"] == 0.0


def images(seed: int, n: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 16, 16, 3), np.uint8)


def test_the_cosine_rises_with_what_the_embedder_sees():
    """Colours go to the source's and shape, here the left half, does not move the mean colour of the right one."""
    z_of = lambda seen: np.asarray(seen[:, :, 8:].mean((1, 2)), np.float64)
    target, source = images(0) // 4, np.tile(np.array([250, 40, 0], np.uint8), (6, 16, 16, 1))
    shape, colours = target.copy(), target.copy()
    shape[:, :, :8], colours[:, :, 8:] = source[:, :, :8], source[:, :, 8:]
    truth = source
    found = embedding.moves(z_of, (source, target, truth), Moves([shape] * 4, [target] * 3 + [colours], [truth] * 4))
    assert found["true swap"] == pytest.approx(1.0) and found["target"] < 0.9
    assert found["shape"]["share of the rise"] == pytest.approx(0.0, abs=1e-9)
    assert found["colours"]["share of the rise"] == pytest.approx(1.0)
    assert found["colours"]["0.75 of the way"] == pytest.approx(found["target"])


def test_the_gradient_is_compared_with_each_change():
    """The embedder sees the mean of the left half: its gradient points to what changes there."""
    embed = lambda seen: jnp.stack([seen[:, :, :8].mean((1, 2, 3)), jnp.ones(len(seen))], axis=1)
    target, source = np.full((4, 16, 16, 3), 100, np.uint8), np.full((4, 16, 16, 3), 250, np.uint8)
    shape, colours = target.copy(), target.copy()
    shape[:, :, :8], colours[:, :, 8:] = 200, 200
    given = (source, target, shape), Moves([shape], [colours], [shape]), sharding.make_mesh()
    found = embedding.gradient(Embedder(embed, Transform()), *given)
    assert list(found) == ["plain"]
    for kind, sign in (("true swap", 1), ("shape only", 1), ("colours only", -1)):
        for name, value in found["plain"][kind].items():
            assert value == pytest.approx(0 if name == "standard error" else sign, abs=1e-3)
    shifted = embedding.gradient(Embedder(embed, Transform(shift=0.5)), *given)["transformed"]["true swap"]
    assert 0.2 < shifted["low-pass 0 px"] < 0.99


def test_draws_of_transformations_are_averaged():
    """Noise that multiplies the slope averages out over draws."""
    embed = lambda seen: jnp.stack([jnp.sum(seen**2, (1, 2, 3)), jnp.full(len(seen), 10.0)], axis=1)
    source, target = np.ones((2, 8, 8, 3), np.float32), np.full((2, 8, 8, 3), 0.1, np.float32)
    slope = lambda draws: embedding.mean_gradient(
        embed, Transform(noise=0.2), draws, source, target, sharding.make_mesh()
    )
    one, many = slope(1), slope(16)
    assert one.shape == target.shape and 0 < many.std() < 0.5 * one.std()
    assert many.mean() == pytest.approx(one.mean(), rel=0.3)


def test_a_smooth_embedder_keeps_the_direction_of_its_gradient():
    """One sees the mean of the left half; to the other's pixels every small step is another turn."""
    smooth = lambda seen: jnp.stack([seen[:, :, :8].mean((1, 2, 3)), jnp.ones(len(seen))], axis=1)
    rough = lambda seen: jnp.sin(300 * seen.reshape(len(seen), -1)) + 0.1
    target = images(1) // 4
    source, way = target + 180, [np.uint8(target + share * 90) for share in embedding.STEPS]
    given = (source, target, source), Moves(way, way, way), sharding.make_mesh()
    smooth, rough = (embedding.smoothness(embed, *given) for embed in (smooth, rough))
    assert smooth["gradients of neighbours, correlation"] > 0.99
    assert abs(rough["gradients of neighbours, correlation"]) < 0.3
    assert rough["Lipschitz constant"] > 100 * smooth["Lipschitz constant"]


def test_linear_embeddings_are_explained_by_their_factors():
    rng = np.random.default_rng(0)
    identities, attributes = rng.normal(size=(300, 5)), rng.normal(size=(160, 4))
    material = SimpleNamespace(identities=identities, attributes=attributes, fit=200)
    of = lambda factors, noise: (
        factors @ rng.normal(size=(factors.shape[1], 8)) + noise * rng.normal(size=(len(factors), 8))
    )
    people = np.repeat(10 * rng.normal(size=(40, 8)), embedding.PHOTOS, axis=0)
    found = embedding.linear(of(identities, 0), people + of(attributes, 0), material)
    assert found["between people"] > 0.99 and found["within people"] > 0.7  # lengths are made equal
    found = embedding.linear(of(identities, 9), people + of(attributes, 9), material)
    assert found["between people"] < 0.3 and found["within people"] < 0.3
    assert embedding.linear(np.ones((300, 8)), people, material)["between people"] == 0.0


def test_fewer_people_than_are_needed_are_refused():
    with pytest.raises(ValueError, match="--people: wanted at least 80 with --what=embedding, found 8"):
        bench_embedding([], 8)


def test_a_run_that_trained_on_the_people_of_the_bench_is_refused(embedder, monkeypatch):
    found = load_embedder(embedder)
    config = found.meta["config"]
    changed = {**config, "data": {**config["data"], "kind": "synthetic", "seed": embedding.SEED}}
    monkeypatch.setattr(embedding, "load_embedder", lambda run: found._replace(meta={"config": changed}))
    with pytest.raises(ConfigError, match=r"embedder: config.data.seed is 18000, that of the people of this bench"):
        bench_embedding([str(embedder)], 80)


@pytest.fixture(scope="module")
def material():
    return make_material(100, 16, 0.25)


@pytest.mark.slow
def test_runs_are_measured_as_a_whole(embedder, material, monkeypatch):
    monkeypatch.setattr(embedding, "make_material", lambda people, size, spread, cache: material)
    found = bench_embedding([str(embedder)], 100)
    json.dumps(found, allow_nan=False)
    (result,) = found["runs"].values()
    assert list(result)[3:] == [
        "verification",
        "verification, same colours",
        "probes",
        "gradient",
        "moves",
        "smoothness",
        "linear",
    ]
    assert found["attributes implied by identity"]["hair length"] > found["attributes implied by identity"]["yaw"]


@pytest.mark.slow
def test_an_embedder_of_mean_colours_holds_colours_and_no_shape(material):
    """And neither verifies people of the same colours nor sees a move of shape."""
    found = measures(Embedder(mean_colour, Transform(noise=0.05)), material)
    assert found["probes"]["shape components"]["mean"] < 0.15
    assert found["probes"]["colours"]["melanin"] > 0.1
    assert found["verification"]["roc auc"] > found["verification, same colours"]["roc auc"] + 0.02
    assert found["moves"]["colours"]["share of the rise"] > 0.5 > found["moves"]["shape"]["share of the rise"]
    assert set(found["gradient"]) == {"plain", "transformed"}
    assert embedding.implied_by_identity(material)["yaw"] < 0.2

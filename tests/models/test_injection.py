"""The injections: equal budgets, what each one does to features, and a toy one with a spatial identity."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.config.load import load_config
from smoothswap_jax.models import injection
from smoothswap_jax.models.injection import INJECTIONS, LayerInstanceNorm, identity_vector
from smoothswap_jax.models.layers import GroupNorm
from smoothswap_jax.models.ncsnpp import NCSNpp
from smoothswap_jax.training import networks
from tests.places import ROOT

FIELDS = dict(nf=4, ch_mult=(1,), num_res_blocks=1, attn_resolutions=(), init_scale=1.0)


OURS = tuple(INJECTIONS)


class ToyMap:
    """z = {'map': [b 4 4 c], 'gain': [b 1]}: the map, resized to the block's features, is added and scaled."""

    spatial = False

    def encode(self, z, nf, scale):
        return {"map": nn.Dense(nf, name="map")(z["map"]), "gain": z["gain"]}

    def condition(self, h, code, dtype):
        spatial = jax.image.resize(code["map"], (*h.shape[:3], code["map"].shape[-1]), "nearest")
        h = h + nn.Dense(h.shape[-1], dtype=dtype, name="from_map")(spatial)
        return GroupNorm(name="norm1")(h) * (1 + code["gain"])[:, None, None]


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(injection.INJECTIONS, "toy", ToyMap())


def given():
    rng = np.random.default_rng(0)
    normal = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    return normal(2, 8, 8, 3), {"map": normal(2, 4, 4, 5), "gain": normal(2, 1)}


def test_a_new_injection_takes_a_pytree_and_its_gradient_reaches_every_leaf_also_when_recomputed(toy):
    x, z = given()
    nets = [NCSNpp(**FIELDS, injection="toy", remat=remat) for remat in ("off", "nothing_saveable")]
    params = jax.jit(nets[0].init)(jax.random.key(0), x, z)["params"]
    assert "from_map" in params["down0_block0"] and "embed" not in params["down0_block0"]
    values = [lambda z, p, net=net: jnp.sum(net.apply({"params": p}, x, z) ** 2) for net in nets]
    (gradient, of_params), again = (jax.jit(jax.grad(value, (0, 1)))(z, params) for value in values)
    for leaf in jax.tree.leaves(gradient):
        assert np.all(np.abs(np.asarray(leaf)).reshape(2, -1).max(1) > 1e-6)
    assert np.abs(of_params["up0_block0"]["from_map"]["kernel"]).max() > 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), gradient, again[0])


def test_an_unknown_injection_is_named():
    with pytest.raises(
        ValueError, match=r"injection is 'film', wanted one of \('add', 'adagn', 'adalin', 'map2d', 'styl"
    ):
        injection.find_injection("film")


# --- ours -----------------------------------------------------------------------------------------------------


def identity(name: str, rng: np.random.Generator, rows: int = 2, dim: int = 6):
    normal = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    z = normal(rows, dim) / np.sqrt(dim)
    return {"vector": z, "map": normal(rows, 4, 4, 10)} if INJECTIONS[name].spatial else z


def parameters(variant: str, name: str) -> int:
    """Of the whole generator of a preset."""
    swapper, embedder = (load_config(str(ROOT / "configs" / f"{s}.py:{variant}"), []) for s in ("swapper", "embedder"))
    generator, size = {**swapper["generator"], "injection": name}, swapper["data"]["size"]
    made, (module, _) = networks.swapper_networks(generator, swapper["discriminator"], embedder["embedder"], size)
    z = networks.z_shape(made, networks.embedder_shapes(embedder["embedder"], size), 1, size)
    shapes = networks.shapes_of("generator", module, networks.image_shape(1, size), z)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize("variant", ["tiny32", "small64", "paper256"])
def test_all_injections_have_the_budget_of_the_papers_within_5_percent(variant):
    counts = {name: parameters(variant, name) for name in OURS}
    assert all(abs(count / counts["add"] - 1) < 0.05 for count in counts.values()), counts


@pytest.mark.parametrize("name", OURS)
def test_gradients_reach_every_parameter_and_every_part_of_the_identity_in_either_precision(name):
    rng = np.random.default_rng(0)
    x, z = jnp.asarray(rng.uniform(-1, 1, (2, 16, 16, 3)), jnp.float32), identity(name, rng)
    fields = dict(nf=8, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(), init_scale=1.0, injection=name)
    found = []
    for dtype, remat in (("float32", "off"), ("bfloat16", "nothing_saveable")):
        net = NCSNpp(**fields, dtype=jnp.dtype(dtype), remat=remat)
        params = jax.jit(net.init)(jax.random.key(0), x, z)["params"]
        value = lambda p, z, net=net: jnp.mean(jnp.square(net.apply({"params": p}, x, z) - 0.3))
        found.append(jax.jit(jax.grad(value, (0, 1)))(params, z))
    leaves = jax.tree_util.tree_leaves_with_path(found[0])
    most = max(np.abs(leaf).max() for _, leaf in leaves)
    # Attention does not see the bias of its keys.
    names = {jax.tree_util.keystr(path): np.abs(leaf).max() / most for path, leaf in leaves}
    assert not [name for name, size in names.items() if size < 1e-6 and "['key']['bias']" not in name]
    exact, half = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(of_z)]) for _, of_z in found)
    assert np.dot(exact, half) / np.linalg.norm(exact) / np.linalg.norm(half) > 0.98


@pytest.mark.parametrize("name", OURS)
def test_a_new_generator_gives_the_target_whatever_the_identity(name):
    rng = np.random.default_rng(0)
    x, z = jnp.asarray(rng.uniform(-1, 1, (2, 16, 16, 3)), jnp.float32), identity(name, rng)
    net = NCSNpp(nf=8, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(), init_scale=0.0, injection=name)
    variables = jax.jit(net.init)(jax.random.key(0), x, z)
    np.testing.assert_allclose(net.apply(variables, x, z), x, atol=1e-4)


@pytest.mark.parametrize("name", OURS)
def test_only_maps_say_different_things_of_different_places(name):
    """Features that are the same everywhere stay so under a vector."""
    rng = np.random.default_rng(0)
    z, one = identity(name, rng), INJECTIONS[name]

    class Block(nn.Module):
        @nn.compact
        def __call__(self, h):
            return one.condition(h, one.encode(z, 8, None), jnp.float32)

    h = jnp.broadcast_to(jnp.asarray(rng.normal(size=(2, 1, 1, 16)), jnp.float32), (2, 12, 12, 16))
    out = Block().init_with_output(jax.random.key(0), h)[0]
    spread = np.asarray(out).std(axis=(1, 2)).max()
    assert spread > 0.05 if name in ("map2d", "stylemap") else spread < 1e-4
    assert np.asarray(out).std(axis=0).max() > 0.05  # and the two identities differ


def test_layer_instance_norm_mixes_the_two_norms_by_its_share():
    rng = np.random.default_rng(0)
    h = jnp.asarray(rng.normal(1.0, 2.0, (2, 5, 7, 3)) * np.asarray([1.0, 3.0, 0.2]), jnp.float32)
    normalised = lambda axes: (h - h.mean(axes, keepdims=True)) / np.sqrt(h.var(axes, keepdims=True) + 1e-5)
    layer, instance = normalised((1, 2, 3)), normalised((1, 2))
    for rho, share in ((np.log(9.0), 0.9), (-40.0, 0.0), (40.0, 1.0), (0.0, 0.5)):
        found = LayerInstanceNorm().apply({"params": {"rho": jnp.full(3, rho, jnp.float32)}}, h)
        np.testing.assert_allclose(found, share * instance + (1 - share) * layer, atol=1e-5)
    fresh = LayerInstanceNorm().init(jax.random.key(0), h)["params"]["rho"]
    np.testing.assert_allclose(nn.sigmoid(fresh), 0.9, rtol=1e-6)


def test_the_vector_of_an_identity_is_what_cosines_are_taken_of():
    rng = np.random.default_rng(0)
    z = identity("stylemap", rng)
    np.testing.assert_array_equal(identity_vector(z), z["vector"])
    parts = {"a": z["vector"], "b": z["map"]}
    assert identity_vector(parts).shape == (2, 6 + 160)
    np.testing.assert_array_equal(identity_vector(z["vector"]), z["vector"])

"""Adding an injection is one class and one line: a toy one with a spatial identity goes through the generator."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.models import injection
from smoothswap_jax.models.layers import GroupNorm
from smoothswap_jax.models.ncsnpp import NCSNpp

FIELDS = dict(nf=4, ch_mult=(1,), num_res_blocks=1, attn_resolutions=(), init_scale=1.0)


class ToyMap:
    """z = {'map': [b 4 4 c], 'gain': [b 1]}: the map, resized to the block's features, is added and scaled."""

    def encode(self, z, nf, scale):
        return {"map": nn.Dense(nf, name="map")(z["map"]), "gain": z["gain"]}

    def condition(self, h, code, dtype):
        spatial = jax.image.resize(code["map"], (*h.shape[:3], code["map"].shape[-1]), "nearest")
        h = h + nn.Dense(h.shape[-1], dtype=dtype, name="from_map")(spatial)
        return GroupNorm(name="norm1")(h) * (1 + code["gain"])[:, None, None]


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(injection.INJECTIONS, "toy", ToyMap())


def given():
    rng = np.random.default_rng(0)
    normal = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    return normal(2, 8, 8, 3), {"map": normal(2, 4, 4, 5), "gain": normal(2, 1)}


def test_a_new_injection_takes_a_pytree_and_its_gradient_reaches_every_leaf_also_when_recomputed():
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
    with pytest.raises(ValueError, match=r"injection is 'film', wanted one of \('add', 'toy'\)"):
        injection.find_injection("film")

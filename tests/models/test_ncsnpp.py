"""The generator against score_sde's numbers, its presets, and its behaviour at initialisation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.models.ncsnpp import (
    COMBINE,
    PROGRESSIVE,
    PROGRESSIVE_INPUT,
    AttnBlockpp,
    Combine,
    NCSNpp,
    ResnetBlockBigGANpp,
)
from smoothswap_jax.weights.networks.ncsnpp import ncsnpp_order
from smoothswap_jax.weights.variables import to_variables
from tests.golden_files import Golden, check_module, nhwc, relative_error
from tests.models.helpers import count, quick_jit, random_variables, shapes_of

BLOCK = {"out": 1e-5, "inputs": 2e-5, "params": 2e-5}
NET = {"out": 2e-5, "inputs": 5e-5, "params": 1e-4}
TINY = {"nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (8,)}
GOLDEN = NCSNpp(
    nf=16, ch_mult=(1, 2, 2), num_res_blocks=1, attn_resolutions=(16,), progressive="output_skip",
    progressive_input="input_skip", emb_scale=1.0, input_residual=False,
)  # fmt: skip


@pytest.mark.parametrize(
    "name, module",
    [
        ("resblock_same", ResnetBlockBigGANpp(16)),
        ("resblock_widen", ResnetBlockBigGANpp(24)),
        ("resblock_up", ResnetBlockBigGANpp(16, "up")),
        ("resblock_down", ResnetBlockBigGANpp(16, "down")),
        ("resblock_naive_up", ResnetBlockBigGANpp(16, "up", fir=False, skip_rescale=False)),
        ("attn_c32", AttnBlockpp()),
    ],
)
def test_blocks_match_score_sde(name, module):
    check_module(Golden(name), "score_sde_block", module, BLOCK)


@pytest.mark.parametrize("method", ["sum", "cat"])
def test_combine_matches_score_sde(method):
    tolerance = {"out": 1e-6, "inputs": 1e-6, "params": 1e-6}
    check_module(Golden(f"combine_{method}"), "score_sde_block", Combine(method), tolerance)


def test_net_with_pyramids_matches_score_sde():
    golden = Golden("id_ncsnpp32")
    got = check_module(golden, "score_sde_ncsnpp", GOLDEN, NET, state=golden.group("sd/net."))
    order = dict(enumerate(ncsnpp_order(set(got["params"])), start=1))
    stored = golden.group("act/")
    assert len(stored) == len(order)
    for name, wanted in stored.items():
        ours = got["intermediates"][order[int(name[:2])]]["__call__"][0]
        assert relative_error(ours, nhwc(wanted)) < 2e-5, name


def test_plain_net_matches_score_sde():
    golden = Golden("id_ncsnpp32_plain")
    net = GOLDEN.clone(progressive="none", progressive_input="none")
    got = check_module(golden, "score_sde_ncsnpp", net, NET, state=golden.group("sd/net."))
    order = dict(enumerate(ncsnpp_order(set(got["params"])), start=1))
    for name, wanted in golden.group("actstat/").items():
        h = np.asarray(got["intermediates"][order[int(name[:2])]]["__call__"][0])
        np.testing.assert_allclose([h.mean(), h.std(ddof=0), np.abs(h).max()], wanted, rtol=1e-3, atol=1e-5)


# --------------------------------------------------------------------------------------- the Smooth-Swap side
@pytest.fixture(scope="module")
def faces_and_z():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 16, 16, 3)).astype("f"), rng.normal(size=(2, 32)).astype("f")


@pytest.fixture(scope="module")
def pair():
    golden = Golden("id_ncsnpp32")
    return golden.image("in/x"), golden["in/emb"]


def test_residual_and_embedding_scale_are_what_the_docstring_says(pair):
    x, z = pair
    variables = to_variables("score_sde_ncsnpp", Golden("id_ncsnpp32").group("sd/net."), GOLDEN, x, z)
    swap = quick_jit(GOLDEN.clone(input_residual=True, emb_scale=None).apply)(variables, x, z / np.sqrt(64))
    np.testing.assert_allclose(swap, x + Golden("id_ncsnpp32").image("out/y"), atol=1e-4)


def test_preset_sizes():
    image, z = (1, 256, 256, 3), (1, 512)
    ncsnpp256 = NCSNpp(
        nf=128, ch_mult=(1, 1, 2, 2, 2, 2, 2), attn_resolutions=(16,), progressive="output_skip",
        progressive_input="input_skip",
    )  # fmt: skip
    assert count(ncsnpp256, image, z) == 65_705_493
    assert count(NCSNpp(), image, z) == 27_513_155  # paper256


@pytest.mark.parametrize("progressive", ["none", "output_skip"])
def test_starts_as_the_identity(faces_and_z, progressive):
    """And no longer with the layers awake that init_scale has put to sleep.

    Scale 1e-10 leaves weights near 1e-6 in the last layer, hence about 1e-5 in the output.
    """
    x, z = faces_and_z
    net = NCSNpp(**TINY, progressive=progressive, progressive_input="input_skip")
    apply, variables = quick_jit(net.apply), quick_jit(net.init)(jax.random.key(2), x, z)
    np.testing.assert_allclose(apply(variables, x, z), x, atol=5e-5, rtol=0)
    awake = apply(random_variables(net, x, z), x, z)
    assert np.abs(awake - x).max() > 0.1


def test_every_option_combination_has_the_right_shape():
    x, z = jax.ShapeDtypeStruct((2, 16, 24, 3), np.float32), jax.ShapeDtypeStruct((2, 32), np.float32)
    sizes = {}
    for options in itertools.product(PROGRESSIVE, PROGRESSIVE_INPUT, COMBINE):
        net = NCSNpp(**TINY, **dict(zip(("progressive", "progressive_input", "combine"), options, strict=True)))
        y, variables = jax.eval_shape(net.init_with_output, jax.random.key(0), x, z)
        assert y.shape == x.shape and y.dtype == jnp.float32, options
        assert set(ncsnpp_order(set(variables["params"]))) == set(variables["params"])
        sizes[options] = sum(leaf.size for leaf in jax.tree.leaves(variables))
        if options[0] == options[1]:
            naive = jax.eval_shape(net.clone(fir=False).init_with_output, jax.random.key(0), x, z)
            assert naive[0].shape == x.shape
            assert sum(leaf.size for leaf in jax.tree.leaves(naive[1])) == sizes[options]
    # `combine` matters only with the input skip: 3 * 3 combinations, and 3 more.
    assert len(set(sizes.values())) == 12


def test_residual_pyramids_condition_and_differentiate(faces_and_z):
    net = NCSNpp(**TINY, progressive="residual", progressive_input="residual")
    x, z = faces_and_z
    loss = lambda variables, z: jnp.sum(net.apply(variables, x, z) ** 2)
    grads = quick_jit(jax.grad(loss, argnums=(0, 1)))(random_variables(net, x, z), z)
    for path, g in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(g).all() and np.abs(g).max() > 0, path


@pytest.mark.parametrize("remat", ["nothing_saveable", "dots_saveable"])
def test_remat_changes_nothing_even_with_dropout(remat, faces_and_z):
    x, z = faces_and_z
    net = NCSNpp(**{**TINY, "ch_mult": (1,)}, dropout=0.5)
    variables = random_variables(net, x, z)

    def run(module):
        rngs = {"dropout": jax.random.key(3)}
        loss = lambda v: jnp.sum(module.apply(v, x, z, True, rngs=rngs) ** 2)
        return quick_jit(jax.value_and_grad(loss))(variables)

    plain, again = run(net), run(net.clone(remat=remat))
    assert jax.tree.structure(plain) == jax.tree.structure(again)
    largest = max(np.abs(a).max() for a in jax.tree.leaves(plain[1]))
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * largest)


def test_dropout_acts_in_training_only():
    x, emb = jnp.ones((1, 4, 4, 8)) * jnp.arange(8), jnp.ones((1, 6))
    block = ResnetBlockBigGANpp(8, dropout=0.5)
    variables = random_variables(block, x, emb)
    apply = lambda train: block.apply(variables, x, emb, train, rngs={"dropout": jax.random.key(0)})
    np.testing.assert_array_equal(apply(False), block.clone(dropout=0.0).apply(variables, x, emb, True))
    assert np.abs(apply(True) - apply(False)).max() > 0.01


def test_bfloat16_keeps_float32_parameters_and_output(pair):
    x, z = pair
    half = GOLDEN.clone(dtype=jnp.bfloat16)
    variables = to_variables("score_sde_ncsnpp", Golden("id_ncsnpp32").group("sd/net."), half, x, z)
    y = quick_jit(half.apply)(variables, x, z)
    assert y.dtype == jnp.float32
    assert 1e-4 < relative_error(y, Golden("id_ncsnpp32").image("out/y")) < 0.1
    traced = lambda v: half.apply(v, x, z, capture_intermediates=True, mutable=["intermediates"])[1]
    layers = jax.eval_shape(traced, variables)["intermediates"]
    del layers["__call__"]
    wide = {name for name, calls in layers.items() if calls["__call__"][0].dtype == jnp.float32}
    assert {name for name in wide if not name.endswith("_norm")} == {"embed0", "embed1"}
    shapes = shapes_of(half, x.shape, z.shape)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    "fields, size, message",
    [
        ({"progressive": "skip"}, 16, "progressive is 'skip'"),
        ({"combine": "add"}, 16, "combine is 'add'"),
        ({"injection": "film"}, 16, "injection is 'film', wanted one of"),
        ({}, 15, "not divisible by 2"),
    ],
)
def test_bad_options_are_named(fields, size, message):
    net = NCSNpp(**{**TINY, **fields})
    with pytest.raises(ValueError, match=message):
        count(net, (1, size, size, 3), (1, 8))

"""Published networks of identity as the embedder that a swapper is trained against."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.evaluation.judges.base import JudgeRequest
from smoothswap_jax.evaluation.judges.networks import SPEC as IMPORTED_JUDGE
from smoothswap_jax.evaluation.judges.registry import JudgeError, refuse_self_judges
from smoothswap_jax.faces import alignments
from smoothswap_jax.faces.alignments import judge_crop, mean_crop, mean_points
from smoothswap_jax.faces.photos import to_float
from smoothswap_jax.inference.export.export_folder import export_swapper, load_export
from smoothswap_jax.inference.restore import restore_swapper, swap_function
from smoothswap_jax.models.injection import INJECTIONS, READS_IDENTITY
from smoothswap_jax.models.judges.sface import SFace
from smoothswap_jax.models.ncsnpp import NCSNpp
from smoothswap_jax.runtime import sharding
from smoothswap_jax.runtime.checkpoint import CheckpointError, load_parts
from smoothswap_jax.training import frozen_embedder, loop, networks
from smoothswap_jax.training.frozen_embedder import COPY
from smoothswap_jax.weights import network_folder
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.spec import Network
from smoothswap_jax.weights.stored_tensor import WeightMismatch
from tests import tiny_runs
from tests.faces.drawn_points import waves


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A folder of `smoothswap import` with a small SFace of random weights; not to be changed."""
    module = SFace((4, 8, 8), 6)
    inputs = ((1, 28, 28, 3),)
    variables = jax.jit(module.init)(jax.random.key(0), jnp.zeros(inputs[0]))
    rng = np.random.default_rng(0)
    shaken = jax.tree.map(lambda x: np.abs(np.asarray(x) + 0.1 * rng.standard_normal(x.shape, np.float32)), variables)
    how = Preprocessing((28, 28), "arcface", "BGR", 0.0, 255.0, (127.5,) * 3, (128.0,) * 3)
    out = tmp_path_factory.mktemp("imported") / "sface"
    network_folder.save_network(out, Network("sface", module, shaken, how, inputs), {"file": "sface.onnx"})
    return out


@pytest.fixture(scope="module")
def run(imported, people, tmp_path_factory):
    """A run against it; not to be changed."""
    out = tmp_path_factory.mktemp("against") / "run"
    loop.train(config(people, imported), out, devices=2)
    return out


def config(people, imported, **fields):
    return tiny_runs.config("swapper", people, None, **{"embedder.imported": imported, "log_images_steps": 0, **fields})


@pytest.mark.parametrize(
    "kind, size", [("arcface", (112, 112)), ("sphereface", (112, 96)), ("vggface2", (224, 224)), ("deep3d", (224, 224))]
)
def test_the_crop_of_the_mean_face_is_the_judges(kind, size):
    image = waves(64, 64, 30)
    wanted = to_float(judge_crop(image, mean_points(64)[0], kind, size))
    found = mean_crop(to_float(image[None]), kind, size)[0]
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found[4:-4, 4:-4], wanted[4:-4, 4:-4], atol=0.05)


def test_what_lies_outside_of_the_image_is_black(monkeypatch):
    monkeypatch.setattr(alignments, "MEAN_POINTS", alignments.MEAN_POINTS - 0.4)  # a face at the upper left edge
    found = mean_crop(jnp.full((1, 64, 64, 3), 0.7), "arcface", (112, 112))[0]
    np.testing.assert_allclose(found[3, 3], -1.0, atol=1e-5)
    np.testing.assert_allclose(found[-3, -3], 0.7, atol=1e-5)


def test_a_swapper_is_trained_against_it_and_keeps_its_own_copy(imported, run, people):
    rows = [row for row in tiny_runs.rows(run) if "train/identity_loss" in row]
    assert all(np.isfinite(row["train/g_loss"]) for row in rows)
    original, copy = (frozen_embedder.load_embedder(f, frozen_embedder.KINDS) for f in (imported, run / COPY))
    assert original.sha256 == copy.sha256 == restore_swapper(run).trainers[0]
    faces = to_float(np.stack([waves(tiny_runs.SIZE, tiny_runs.SIZE, n) for n in (7, 11)]))
    embed = networks.embed_of(original.fields)
    z = embed(original.variables, faces)
    np.testing.assert_allclose(jnp.linalg.norm(z, axis=-1), 1, rtol=1e-5)
    gradient = jax.grad(lambda x: embed(original.variables, x)[0, 0])(faces)
    assert np.abs(gradient[0]).max() > 1e-6 and not np.any(gradient[1])
    evaluation = loop.train(config(people, run / COPY, steps=8), run, devices=2)  # resumed against the copy
    assert np.isfinite(evaluation["eval/cosine_to_source"])


def test_its_export_needs_nothing_else_and_names_the_network(run, tmp_path):
    export_swapper(run, tmp_path / "out")
    made = load_export(tmp_path / "out")
    faces = to_float(np.stack([waves(tiny_runs.SIZE, tiny_runs.SIZE, n) for n in (7, 11)]))
    ours, theirs = (swap_function(one)(faces, faces[::-1]) for one in (restore_swapper(run), made))
    np.testing.assert_array_equal(ours, theirs)
    assert "sface, an imported network" in (tmp_path / "out" / "MODEL_CARD.md").read_text()


def test_weights_of_another_embedder_start_all_but_the_layers_that_read_its_identity(
    imported, swapper, people, tmp_path
):
    export_swapper(swapper, tmp_path / "export", with_discriminator=True)  # of identities of 8 numbers, not 6
    fields = {f"init.{part}": tmp_path / "export" for part in ("generator", "discriminator")} | {
        "discriminator.projection": True,
        "steps": 0,
    }
    with pytest.raises(
        WeightMismatch, match=r"config.init.generator=.*embed0/kernel: found \(8, 32\), wanted \(6, 32\)"
    ):
        loop.train(config(people, imported, **fields), tmp_path / "as_is", devices=2)
    loop.train(config(people, imported, **fields, **{"init.new_identity": True}), tmp_path / "run", devices=2)
    before, _, _ = load_parts(swapper, ("generator_ema", "discriminator"))  # an export's generator is the average
    after, _, _ = load_parts(tmp_path / "run", ("generator", "discriminator"))
    for part, old, other in (
        ("generator", "generator_ema", "embed0"),
        ("discriminator", "discriminator", "projection"),
    ):
        assert set(after[part]) == set(before[old]) | {other}
        for layer in set(after[part]) - {other}:
            jax.tree.map(np.testing.assert_array_equal, after[part][layer], before[old][layer])
    alone = config(people, imported, **{"init.new_identity": True})
    with pytest.raises(ConfigError, match=r"init.new_identity is True, wanted init.generator or init.discriminator"):
        loop.train(alone, tmp_path / "alone", devices=2)


@pytest.mark.parametrize("injection", INJECTIONS)
def test_all_layers_that_read_an_identity_are_known(injection):
    """Identities of another width change no other layer's shape."""

    def shapes(width: int):
        z = jax.ShapeDtypeStruct((1, width), jnp.float32)
        if INJECTIONS[injection].spatial:
            z = {"vector": z, "map": jax.ShapeDtypeStruct((1, 4, 4, 2 * width), jnp.float32)}
        module = NCSNpp(nf=8, ch_mult=(1, 1), num_res_blocks=1, attn_resolutions=(), injection=injection)
        image = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
        return jax.eval_shape(module.init, jax.random.key(0), image, z)["params"]

    one, other = shapes(6), shapes(10)
    changed = {name for name in one if one[name] != other[name]}
    assert changed and changed <= {*READS_IDENTITY}


def test_it_cannot_judge_what_it_trained(imported, run):
    judge = IMPORTED_JUDGE.load(JudgeRequest("sface", str(imported), sharding.make_mesh(1)))
    trained = {digest: "the embedder" for digest in restore_swapper(run).trainers}
    with pytest.raises(JudgeError, match="sface is the embedder: a method scores well with"):
        refuse_self_judges([judge], trained, (), False)


def test_what_is_no_network_of_identity_is_refused_before_anything_is_written(imported, embedder, people, tmp_path):
    out = tmp_path / "run"
    network = network_folder.load_network(imported)
    other = tmp_path / "other"
    network_folder.save_network(other, dataclasses.replace(network, kind="hopenet"), {})
    damaged = tmp_path / "damaged"
    network_folder.save_network(damaged, network, {})
    description = json.loads((damaged / "config.json").read_text())
    description["fields"]["num_features"] = 7
    (damaged / "config.json").write_text(json.dumps(description))
    for folder, more, error, said in (
        (tmp_path / "none", {}, ConfigError, r"config.embedder.imported: .*none: found no such folder; wanted an imp"),
        (embedder, {}, ConfigError, "is a run of stage embedder; wanted an imported network"),
        (other, {}, ConfigError, "a network of kind 'hopenet', wanted one that knows people: .*sface"),
        (damaged, {}, ConfigError, r"params.safetensors: own does not fit SFace.*params/pre_fc1"),
        (imported, {"embedder.checkpoint": embedder}, ConfigError, "wanted one of them"),
        (imported, {"generator.injection": "stylemap"}, ConfigError, "injection is 'stylemap', wanted another"),
    ):
        with pytest.raises(error, match=said):
            loop.train(config(people, folder, **more), out, devices=2)
    with pytest.raises((ConfigError, CheckpointError), match="is an imported network; wanted"):
        loop.train(tiny_runs.config("swapper", people, imported), out, devices=2)
    assert not out.exists()
